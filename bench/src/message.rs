//! Finds the end of an HTTP/1.1 message, by content length or chunks, and nothing more.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads messages one after the other from one connection.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads one whole answer, drops it, and returns its status.
    ///
    /// # Errors
    ///
    /// The connection ended, or what came is no answer.
    pub async fn answer(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<u16> {
        let head = self.head(stream).await?;
        let text = std::str::from_utf8(&self.buffer[..head]).context("the head of the answer is not text")?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).context("no status in the answer")?;
        match header(text, "content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => self.skip(stream, head + length).await?,
            None => self.skip_chunks(stream, head).await?,
        }
        Ok(status)
    }

    /// Reads one whole request and drops it.
    ///
    /// # Errors
    ///
    /// The connection ended, or what came is no request.
    pub async fn request(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
        let head = self.head(stream).await?;
        let text = std::str::from_utf8(&self.buffer[..head]).context("the head of the request is not text")?;
        if header(text, "transfer-encoding").is_some() {
            return self.skip_chunks(stream, head).await;
        }
        let length = header(text, "content-length").and_then(|length| length.parse::<usize>().ok());
        self.skip(stream, head + length.unwrap_or(0)).await
    }

    /// Reads until the buffer holds a head; its length.
    async fn head(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<usize> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(end + 4);
            }
            self.fill(stream).await?;
        }
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
            bail!("the connection was closed where a message was expected");
        }
        Ok(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}
