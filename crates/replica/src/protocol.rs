//! What the replica and its Python worker say to each other, beyond what every frame has ([`api::internal::frame`]): flags,
//! operations and references to shared memory. The same table is in `greenroom_worker/protocol.py`. Large bodies lie in shared
//! memory ([`crate::arena`]) and their frame carries a reference.

pub use api::internal::frame::{Frame, Kind, decode, encode, meta_pairs, put_meta};

/// The longest frame: its lengths are written with 32 bits each, and nothing that a model answers is refused for its size.
pub const LONGEST_FRAME: usize = usize::MAX;

/// Bits of [`Frame::flags`].
pub mod flag {
    /// The body is msgpack, not JSON.
    pub const BINARY: u8 = 1;
    /// A stream must be collected into one JSON string.
    pub const GATHER: u8 = 2;
    /// The body is a [`super::Block`] in the sender's arena.
    pub const SHARED: u8 = 4;
    /// Meta holds all headers of the answer; otherwise its content type follows from [`BINARY`].
    pub const HEADERS: u8 = 8;
    /// The gap between the chunks of this stream is limited.
    pub const TIMED: u8 = 16;
    /// Where the value of `x-baseten-error-code` lies: none, 500, 600 or 700.
    pub const ERROR_SHIFT: u8 = 6;
}

/// Which method of the model a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// `predict`, with `preprocess` and `postprocess` around it.
    Predict = 0,
    /// `chat_completions`.
    ChatCompletions = 1,
    /// `completions`.
    Completions = 2,
    /// `embeddings`.
    Embeddings = 3,
    /// `messages`.
    Messages = 4,
    /// `responses`.
    Responses = 5,
    /// `websocket`.
    Websocket = 6,
}

/// Where a body lies in an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// From the start of the arena.
    pub offset: u64,
    /// Of the body.
    pub length: u32,
}

impl Block {
    /// As it travels.
    pub fn to_wire(self) -> [u8; 12] {
        let mut wire = [0; 12];
        wire[..8].copy_from_slice(&self.offset.to_le_bytes());
        wire[8..].copy_from_slice(&self.length.to_le_bytes());
        wire
    }

    /// From the body of a frame with [`flag::SHARED`].
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let (offset, length) = wire.split_first_chunk::<8>()?;
        Some(Self { offset: u64::from_le_bytes(*offset), length: u32::from_le_bytes(length.try_into().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn hex_of(kind: Kind, flags: u8, detail: u16, meta: &[u8], body: &[u8]) -> String {
        let mut out = BytesMut::new();
        encode(&mut out, 7, kind, flags, detail, meta, body);
        hex::encode(out)
    }

    #[test]
    fn frames_travel_as_both_ends_expect() {
        let mut meta = Vec::new();
        put_meta(&mut meta, b"x-baseten-request-id", b"r1");
        insta::assert_snapshot!(hex_of(Kind::Request, flag::BINARY, 0, &meta, b"{}"), @"07000000010100001800000002000000782d6261736574656e2d726571756573742d6964007231007b7d");
        insta::assert_snapshot!(hex_of(Kind::Response, 0, 200, b"", b"null"), @"070000001000c80000000000040000006e756c6c");
        insta::assert_snapshot!(hex_of(Kind::End, 0, 1000, b"", b""), @"070000001300e8030000000000000000");
        insta::assert_snapshot!(hex::encode(Block { offset: 1 << 20, length: 300_000 }.to_wire()), @"0000100000000000e0930400");
    }
}
