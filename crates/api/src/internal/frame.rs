//! Frames: how our own processes on one machine carry many exchanges over one stream. The gateway and a replica speak them on a
//! [link](super::link), a replica and its Python worker on the worker's data socket.
//!
//! A frame is a header of 16 bytes (little endian: `id` u32, `kind` u8, `flags` u8, `detail` u16, `meta_len` u32, `body_len`
//! u32), then the meta, then the body. Every [`Kind::Request`] is answered by exactly one of [`Kind::Response`], [`Kind::End`]
//! or [`Kind::Abort`]; only then may its id be used again. Meta is a list of texts, each ended by a zero byte: name, value, name,
//! value.

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
    /// On a link, to the gateway: the request came too late and has not been looked at; another replica may have it.
    NotTaken = 21,
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
            21 => Kind::NotTaken,
            _ => return None,
        })
    }
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
    /// Bits that the two ends have agreed on.
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

/// Bytes that the other end never writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A kind that is not in the table.
    #[error("a frame has the unknown kind {0}")]
    Kind(u8),
    /// More than was agreed.
    #[error("a frame of {length} bytes is longer than the {limit} that were agreed")]
    Length {
        /// As announced.
        length: usize,
        /// The most that is taken.
        limit: usize,
    },
}

/// Cuts the first frame off `input`, when it is complete. One longer than `limit` bytes is refused before it is waited for.
pub fn decode(input: &mut BytesMut, limit: usize) -> Result<Option<Frame>, Malformed> {
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
    let kind = Kind::from_wire(kind).ok_or(Malformed::Kind(kind))?;
    let length = HEADER_LENGTH.saturating_add(meta_length).saturating_add(body_length);
    if length > limit {
        return Err(Malformed::Length { length, limit });
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_given_out_only_when_it_is_complete() {
        let mut whole = BytesMut::new();
        encode(&mut whole, 9, Kind::Chunk, 0, 0, b"", b"hello");
        let mut input = BytesMut::new();
        for byte in &whole[..whole.len() - 1] {
            input.put_u8(*byte);
            assert_eq!(decode(&mut input, 1 << 20).unwrap(), None);
        }
        input.put_u8(b'o');
        let frame = decode(&mut input, 1 << 20).unwrap().unwrap();
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
    fn what_nobody_should_write_is_an_error() {
        assert_eq!(decode(&mut BytesMut::from(&[0; 16][..]), 1 << 20), Err(Malformed::Kind(0)));
        let mut long = BytesMut::new();
        encode(&mut long, 1, Kind::Chunk, 0, 0, b"", &[0; 100]);
        long.truncate(HEADER_LENGTH);
        assert_eq!(decode(&mut long, 115), Err(Malformed::Length { length: 116, limit: 115 }));
        assert_eq!(decode(&mut long, 116), Ok(None));
    }
}
