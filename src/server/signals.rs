//! The two wishes a running server can be sent: end well, and end at once.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::failure::{Result, while_doing};

/// Hears SIGTERM and SIGINT from the moment it is made.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(while_doing("cannot listen for signals"));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Turns `stopping` true at the first signal, and completes at the second.
    pub async fn watch(mut self, stopping: watch::Sender<bool>) {
        self.next().await;
        tracing::info!("stopping: requests under way may finish; a second signal ends them");
        stopping.send_replace(true);
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
