//! The end of a replica: a drain that ends nothing that was accepted, and why a model process ended otherwise.

use std::{pin::Pin, time::Duration};

use api::internal::replica::{Exit, ExitCause, Level, Phase};
use tokio::time::{sleep, timeout};

use crate::{life::Life, limits::exceeded, process::End, start::Running};

/// How long a model process may take to end by itself when nothing is left to do.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

impl Life<'_> {
    /// Why the process ended by itself.
    pub async fn explain(&self, running: &mut Running, end: End) -> Exit {
        // It may have said why just before; the receiver closes with its socket.
        while let Ok(Some(event)) = timeout(Duration::from_secs(1), running.events.recv()).await {
            if let Some(exit) = self.hear(running, event) {
                return exit;
            }
        }
        if self.ground.limits.ran_out_of_memory() {
            return self.memory_exit(None);
        }
        let (cause, message) = match end {
            End::Code(code) => (ExitCause::Code { code }, format!("the model process exited with code {code}")),
            End::Signal(number) => {
                let name = nix::sys::signal::Signal::try_from(number).map_or("unknown", |signal| signal.as_str());
                (
                    ExitCause::Signal { signal: number },
                    format!("the model process was ended by signal {number} ({name})"),
                )
            }
            End::Unknown => {
                (ExitCause::Signal { signal: libc::SIGKILL }, "the model process was ended from outside".into())
            }
        };
        Exit { cause, message, detail: self.ground.log.last_lines() }
    }

    /// Completes when a watched process is over its memory limit.
    pub async fn out_of_memory(&self, process: nix::unistd::Pid) -> Exit {
        match self.order.spec.limits.memory_bytes {
            Some(limit) if !self.ground.limits.limits_memory() => {
                let used = exceeded(process, limit).await;
                self.memory_exit(Some(used))
            }
            _ => std::future::pending().await,
        }
    }

    fn memory_exit(&self, used: Option<u64>) -> Exit {
        const MIB: u64 = 1 << 20;
        let limit = self.order.spec.limits.memory_bytes.unwrap_or_default() / MIB;
        let used = used.map(|used| format!(" with {} MiB", used / MIB)).unwrap_or_default();
        let message = format!("the model went{used} over its memory limit of {limit} MiB");
        Exit { cause: ExitCause::OutOfMemory, message, detail: self.ground.log.last_lines() }
    }

    /// Drains and ends the model process.
    pub async fn stop(
        &self,
        running: &mut Running,
        limit: Duration,
        mut out_of_memory: Pin<&mut impl Future<Output = Exit>>,
    ) -> Exit {
        let was_serving = self.board.serves();
        if was_serving {
            sleep(Duration::from_millis(self.order.spec.drain_delay_ms)).await;
        }
        self.save(self.board.enter(Phase::Draining));
        if was_serving {
            tokio::select! {
                drained = timeout(limit, self.board.idle()) => if drained.is_err() {
                    self.ground.log.say(Level::Warning, format!("requests were still running after {} s", limit.as_secs_f64()));
                },
                end = running.process.ended() => return self.explain(running, end).await,
                exit = &mut out_of_memory => return exit,
            }
            match &running.worker {
                Some(worker) => worker.channel.finish(),
                None => running.process.terminate().await,
            }
            let _ = timeout(STOP_PATIENCE, running.process.ended()).await;
        }
        Exit { cause: ExitCause::Stopped, message: "stopped as asked".into(), detail: None }
    }
}
