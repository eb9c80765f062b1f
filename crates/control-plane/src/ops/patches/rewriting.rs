//! From one archive in the blob store to the next, as a stream: no archive is in memory.

use std::io::{self, Read, Write};

use api::truss_config::TrussConfig;
use archive::Changes;
use bytes::Bytes;
use store::domain::Archive;
use tokio::sync::mpsc;

use crate::ops::{ControlPlane, Error, uploads};

/// So much is handed over at a time, and so many times before the other end has to take it.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// Writes the archive anew with changes made, checked as an upload is.
pub(super) async fn rewrite(
    control_plane: &ControlPlane,
    key: &str,
    changes: Changes,
    config: &TrussConfig,
) -> Result<Archive, Error> {
    let limits = control_plane.settings().archive_limits;
    let (sender, mut pieces) = mpsc::channel(PIECES);
    let work = move |bytes: &mut dyn Read| {
        let mut output = Pieces { sender: sender.clone(), piece: Vec::with_capacity(PIECE) };
        let done = archive::rewrite(bytes, &changes, &limits, &mut output);
        if done.is_err() {
            // What has been written so far must not pass for all of it.
            let _ = sender.blocking_send(Err(io::Error::other("the archive was not written to its end")));
        }
        done
    };
    let next = ::uploads::archive_key_like(key, rand::random());
    let content = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
    let put = control_plane.blobs().put(&next, content, u64::MAX);
    let (rewritten, put) = futures::join!(uploads::read(control_plane, key, work), put);
    rewritten?.map_err(|error| match error {
        archive::Error::Read(_) | archive::Error::Write { .. } => Error::internal("rewrite an archive", error),
        its_own_fault => Error::Invalid(format!("patch_ops: {its_own_fault}")),
    })?;
    let archive = Archive { key: next, bytes: put? };
    uploads::inspect(control_plane, &archive.key, config).await?;
    Ok(archive)
}

/// Hands what is written to whoever stores it.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
