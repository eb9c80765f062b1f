//! A socket that is closed with patience. Closing one while the other side still sends makes the kernel throw away what that
//! side has not read yet: the refusal of a body that is too large would never be seen. So the end is announced first, and what
//! still arrives is read and dropped for a while.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

const SCRATCH_BYTES: usize = 16 * 1024;

/// A stream whose shutdown lasts until the other side has ended too, at most for `limit`.
pub(crate) struct Lingering<S> {
    stream: S,
    limit: Duration,
    /// Set once our side has ended.
    farewell: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, farewell: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.farewell = Some(Box::pin(sleep(self.limit)));
        }
        let mut scratch = [0; SCRATCH_BYTES];
        loop {
            let farewell = self.farewell.as_mut().expect("set above");
            if farewell.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_still_arrives_is_read_until_the_other_side_ends() {
        let (ours, mut theirs) = duplex(16);
        let mut ours = Lingering::new(ours, LIMIT);
        ours.write_all(b"refused").await.unwrap();
        let closing = tokio::spawn(async move { ours.shutdown().await });
        theirs.write_all(&[0; 100_000]).await.unwrap();
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "refused");
        drop(theirs);
        closing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_never_ends_is_not_waited_for_without_end() {
        let (ours, _theirs) = duplex(16);
        let start = Instant::now();
        Lingering::new(ours, LIMIT).shutdown().await.unwrap();
        assert!(start.elapsed() >= LIMIT && start.elapsed() < LIMIT * 2);
    }
}
