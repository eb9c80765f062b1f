//! Frames on the data socket between the replica and its Python worker. The same table is in `greenroom_worker/protocol.py`.
//!
//! A frame is a header of 16 bytes (little endian: `id` u32, `kind` u8, `flags` u8, `detail` u16, `meta_len` u32, `body_len`
//! u32), then the meta, then the body. Every [`Kind::Request`] is answered by exactly one of [`Kind::Response`], [`Kind::End`]
//! or [`Kind::Abort`]; only then may its id be used again. Meta is a list of texts, each ended by a zero byte: name, value, name,
//! value. Large bodies lie in shared memory ([`crate::arena`]) and their frame carries a reference.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a frame means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To the worker: a request. `detail` is an [`Operation`].
    Request = 1,
    /// To the worker: nobody waits for the answer any more.
    Cancel = 2,
    /// Either way: the reader is slow, make no more chunks or messages.
    Pause = 3,
    /// Either way: go on after a pause.
    Resume = 4,
    /// To the worker: the referenced block of its arena has been read.
    Free = 5,
    /// Either way: a text message of a websocket.
    Text = 8,
    /// Either way: a binary message of a websocket.
    Binary = 9,
    /// Either way: a websocket closes. `detail` is the code, the body the reason.
    Close = 10,
    /// To the replica: a whole answer. `detail` is the HTTP status.
    Response = 16,
    /// To the replica: the start of a streamed answer. `detail` is the HTTP status.
    Head = 17,
    /// To the replica: a piece of a streamed answer.
    Chunk = 18,
    /// To the replica: a stream or websocket is complete; `detail` and body as in [`Kind::Close`].
    End = 19,
    /// To the replica: a stream broke, or a cancelled request is over.
    Abort = 20,
}

impl Kind {
    fn from_wire(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Request,
            2 => Kind::Cancel,
            3 => Kind::Pause,
            4 => Kind::Resume,
            5 => Kind::Free,
            8 => Kind::Text,
            9 => Kind::Binary,
            10 => Kind::Close,
            16 => Kind::Response,
            17 => Kind::Head,
            18 => Kind::Chunk,
            19 => Kind::End,
            20 => Kind::Abort,
            _ => return None,
        })
    }
}

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

/// Length of a header.
pub const HEADER_LENGTH: usize = 16;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The exchange it belongs to.
    pub id: u32,
    /// What it means.
    pub kind: Kind,
    /// Bits of [`flag`].
    pub flags: u8,
    /// A status, an operation or a close code, by kind.
    pub detail: u16,
    /// Headers.
    pub meta: Bytes,
    /// The body, or a reference to it.
    pub body: Bytes,
}

/// Appends a frame to `out`.
pub fn encode(out: &mut BytesMut, id: u32, kind: Kind, flags: u8, detail: u16, meta: &[u8], body: &[u8]) {
    out.reserve(HEADER_LENGTH + meta.len() + body.len());
    out.put_u32_le(id);
    out.put_u8(kind as u8);
    out.put_u8(flags);
    out.put_u16_le(detail);
    out.put_u32_le(meta.len() as u32);
    out.put_u32_le(body.len() as u32);
    out.put_slice(meta);
    out.put_slice(body);
}

/// Bytes that no version of the worker writes.
#[derive(Debug, thiserror::Error)]
#[error("the worker sent a frame of unknown kind {0}")]
pub struct UnknownKind(u8);

/// Cuts the first frame off `input`, when it is complete.
pub fn decode(input: &mut BytesMut) -> Result<Option<Frame>, UnknownKind> {
    if input.len() < HEADER_LENGTH {
        return Ok(None);
    }
    let mut header = &input[..HEADER_LENGTH];
    let id = header.get_u32_le();
    let kind = header.get_u8();
    let flags = header.get_u8();
    let detail = header.get_u16_le();
    let meta_length = header.get_u32_le() as usize;
    let body_length = header.get_u32_le() as usize;
    let kind = Kind::from_wire(kind).ok_or(UnknownKind(kind))?;
    let length = HEADER_LENGTH + meta_length + body_length;
    if input.len() < length {
        input.reserve(length - input.len());
        return Ok(None);
    }
    input.advance(HEADER_LENGTH);
    let meta = if meta_length == 0 { Bytes::new() } else { input.split_to(meta_length).freeze() };
    let body = if body_length == 0 { Bytes::new() } else { input.split_to(body_length).freeze() };
    Ok(Some(Frame { id, kind, flags, detail, meta, body }))
}

/// Appends a name and a value to meta.
pub fn put_meta(meta: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    meta.extend_from_slice(name);
    meta.push(0);
    meta.extend_from_slice(value);
    meta.push(0);
}

/// The names and values in meta.
pub fn meta_pairs(meta: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut texts = meta.split(|byte| *byte == 0);
    std::iter::from_fn(move || {
        let name = texts.next().filter(|name| !name.is_empty())?;
        Some((name, texts.next()?))
    })
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

    #[test]
    fn a_frame_is_given_out_only_when_it_is_complete() {
        let mut whole = BytesMut::new();
        encode(&mut whole, 9, Kind::Chunk, 0, 0, b"", b"hello");
        let mut input = BytesMut::new();
        for byte in &whole[..whole.len() - 1] {
            input.put_u8(*byte);
            assert_eq!(decode(&mut input).unwrap(), None);
        }
        input.put_u8(b'o');
        let frame = decode(&mut input).unwrap().unwrap();
        assert_eq!((frame.id, frame.kind, &frame.body[..]), (9, Kind::Chunk, &b"hello"[..]));
        assert!(input.is_empty());
    }

    #[test]
    fn meta_keeps_names_and_values_apart() {
        let mut meta = Vec::new();
        put_meta(&mut meta, b"a", b"");
        put_meta(&mut meta, b"b", b"c");
        assert_eq!(meta_pairs(&meta).collect::<Vec<_>>(), [(&b"a"[..], &b""[..]), (b"b", b"c")]);
    }

    #[test]
    fn an_unknown_kind_is_an_error() {
        let mut input = BytesMut::from(&[0; 16][..]);
        assert!(decode(&mut input).is_err());
    }
}
