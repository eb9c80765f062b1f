//! The replica's hold on the model process: start it through the guardian, hear of its end, end it.

use std::{io, os::fd::AsRawFd as _, process::Stdio, rc::Rc};

use nix::{
    fcntl::OFlag,
    sys::signal::{Signal, killpg},
    unistd::{Pid, pipe2},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::unix::pipe,
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
};

use crate::{
    guard::{ARGUMENT, Launch, Report},
    limits::Enforced,
    log::Log,
};

/// A model process that runs, or did.
pub struct Process {
    guardian: Child,
    input: Option<ChildStdin>,
    reports: Lines<BufReader<pipe::Receiver>>,
    output: Vec<JoinHandle<()>>,
    pid: Pid,
    /// Why it is not in a sandbox, when it is not.
    pub unsandboxed: Option<String>,
}

/// How the model process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// The guardian ended without a word, and the model process with it.
    Unknown,
}

impl Process {
    /// Starts what `launch` says under `limits`; its output goes to the log.
    pub async fn start(launch: &Launch, limits: &Enforced, log: &Rc<Log>) -> io::Result<Self> {
        let (receiver, sender) = pipe2(OFlag::O_CLOEXEC)?;
        nix::fcntl::fcntl(&sender, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
        let mut guardian = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .arg(sender.as_raw_fd().to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(sender);
        if let Some(guardian) = guardian.id() {
            // Before the guardian knows what to start, so that nothing escapes.
            limits.take_in(Pid::from_raw(guardian as i32))?;
        }
        let output = [
            guardian
                .stdout
                .take()
                .map(|output| tokio::task::spawn_local(log.clone().follow(output))),
            guardian
                .stderr
                .take()
                .map(|output| tokio::task::spawn_local(log.clone().follow(output))),
        ];
        let mut input = guardian.stdin.take().expect("standard input is piped");
        let mut line = serde_json::to_vec(launch)?;
        line.push(b'\n');
        input.write_all(&line).await?;
        let mut reports = BufReader::new(pipe::Receiver::from_owned_fd(receiver)?).lines();
        match next_report(&mut reports).await {
            Some(Report::Started { pid, unsandboxed }) => Ok(Self {
                guardian,
                input: Some(input),
                reports,
                output: output.into_iter().flatten().collect(),
                pid: Pid::from_raw(pid),
                unsandboxed,
            }),
            Some(Report::NotStarted { reason }) => Err(io::Error::other(reason)),
            Some(Report::Exited { .. }) | None => {
                Err(io::Error::other("the guardian ended without starting the model"))
            }
        }
    }

    /// The process, which is also the group.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> End {
        match next_report(&mut self.reports).await {
            Some(Report::Exited { code: Some(code), .. }) => End::Code(code),
            Some(Report::Exited {
                signal: Some(signal), ..
            }) => End::Signal(signal),
            _ => End::Unknown,
        }
    }

    /// Asks the group to end.
    pub fn terminate(&self) {
        let _ = killpg(self.pid, Signal::SIGTERM);
    }

    /// Ends the group.
    pub fn kill(&mut self) {
        self.input = None;
    }

    /// Waits until the guardian is gone and all output has been logged. The process must have ended or been killed.
    pub async fn finish(mut self) {
        self.kill();
        let _ = self.guardian.wait().await;
        for follower in self.output {
            let patience = std::time::Duration::from_secs(1); // a process that left the group may keep the pipe open
            let _ = tokio::time::timeout(patience, follower).await;
        }
    }
}

async fn next_report(reports: &mut Lines<BufReader<pipe::Receiver>>) -> Option<Report> {
    let line = reports.next_line().await.ok()??;
    serde_json::from_str(&line).ok()
}
