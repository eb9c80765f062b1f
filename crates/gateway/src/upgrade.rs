//! A connection that has become something else (a websocket): bytes both ways until one side ends or both are silent too long.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const BUFFER_BYTES: usize = 16 * 1024;

/// Passes bytes between `client` and `replica`. Ends when either side does, when one fails, or after `idle` without a byte.
/// `slot` is given back then, before leave is taken: a client may take its time for that.
pub(crate) async fn tunnel<C, R>(client: C, replica: R, idle: Duration, slot: impl Send)
where
    C: AsyncRead + AsyncWrite,
    R: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_replica, mut to_replica) = tokio::io::split(replica);
    let moved = AtomicBool::new(false);
    // Whichever side ends, what it sent before has been passed on; the other has nobody to talk to.
    let ended = tokio::select! {
        ended = pass(&mut from_client, &mut to_replica, &moved) => ended,
        ended = pass(&mut from_replica, &mut to_client, &moved) => ended,
        () = silence(idle, &moved) => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an upgraded connection broke");
    }
    drop(slot);
    // Either may be gone, which is then what the shutdown would have told it.
    let _ = tokio::join!(to_client.shutdown(), to_replica.shutdown());
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        moved.store(true, Ordering::Relaxed);
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}

/// Completes after a whole period in which nothing moved.
async fn silence(period: Duration, moved: &AtomicBool) {
    loop {
        tokio::time::sleep(period).await;
        if !moved.swap(false, Ordering::Relaxed) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, time::Instant};

    use super::*;
    use crate::linger::Lingering;

    const IDLE: Duration = Duration::from_secs(100);

    #[tokio::test]
    async fn what_a_side_sent_before_it_ended_arrives() {
        let ((mut client, inner), (outer, mut replica)) = (duplex(64), duplex(64));
        let tunnel = tokio::spawn(tunnel(inner, outer, IDLE, ()));
        replica.write_all(b"last words").await.unwrap();
        drop(replica);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "last words");
        tunnel.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn only_silence_of_both_sides_ends_it() {
        let ((mut client, inner), (outer, mut replica)) = (duplex(64), duplex(64));
        let tunnel = tokio::spawn(tunnel(inner, outer, IDLE, ()));
        let start = Instant::now();
        for _ in 0..5 {
            tokio::time::advance(IDLE * 9 / 10).await;
            replica.write_all(b"x").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
        }
        assert!(!tunnel.is_finished());
        tunnel.await.unwrap();
        assert!(start.elapsed() > IDLE * 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_time_to_leave_keeps_no_slot() {
        let ((client, inner), (outer, replica)) = (duplex(64), duplex(64));
        let (slot, given_back) = tokio::sync::oneshot::channel::<()>();
        let leave = Duration::from_secs(10);
        let start = Instant::now();
        let tunnel = tokio::spawn(tunnel(Lingering::new(inner, leave), outer, IDLE, slot));
        drop(replica);
        assert!(given_back.await.is_err(), "the slot is dropped");
        assert!(start.elapsed() < leave && !tunnel.is_finished());
        tunnel.await.unwrap();
        assert_eq!(start.elapsed(), leave);
        drop(client);
    }
}
