//! Finds the end of an HTTP/1.1 answer, by content length or chunks, and nothing more.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads answers one after the other from one connection.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads one whole answer, drops it, and returns its status.
    pub async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<u16> {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill(stream).await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head]).context("the head of the answer is not text")?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).context("no status in the answer")?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        match length {
            Some(length) => self.skip(stream, head + length).await?,
            None => self.skip_chunks(stream, head).await?,
        }
        Ok(status)
    }

    async fn skip_chunks(&mut self, stream: &mut (impl AsyncRead + Unpin), head: usize) -> anyhow::Result<()> {
        self.buffer.drain(..head);
        loop {
            let line = loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    break end;
                }
                self.fill(stream).await?;
            };
            let size =
                std::str::from_utf8(&self.buffer[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let size = size.context("neither a content length nor chunks")?;
            self.skip(stream, line + 2 + size + 2).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn skip(&mut self, stream: &mut (impl AsyncRead + Unpin), bytes: usize) -> anyhow::Result<()> {
        let mut left = bytes;
        while left > self.buffer.len() {
            left -= self.buffer.len();
            self.buffer.clear();
            self.fill(stream).await?;
        }
        self.buffer.drain(..left);
        Ok(())
    }

    async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
        self.buffer.reserve(64 * 1024);
        if stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the connection was closed in the middle of an answer");
        }
        Ok(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
