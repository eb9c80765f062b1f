//! How a connection becomes a link.

use std::{io, path::Path};

use api::internal::link::{PATH, PROTOCOL};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::READ_BYTES;

/// The longest head of the answer to an opening.
const LONGEST_HEAD: usize = 4 << 10;

/// Connects and makes the connection a link. Gives what came after the answer, too.
pub(super) async fn shake_hands(path: &Path) -> io::Result<(UnixStream, BytesMut)> {
    let mut stream = UnixStream::connect(path).await?;
    let request =
        format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = BytesMut::with_capacity(READ_BYTES);
    let end = loop {
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if answer.len() > LONGEST_HEAD || stream.read_buf(&mut answer).await? == 0 {
            return Err(io::Error::other("the answer to the request for a link has no end"));
        }
    };
    let head = answer.split_to(end);
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(io::Error::other("the replica refused the link"));
    }
    Ok((stream, answer))
}
