//! The replica's hold on the model process: start it through the guardian, hear of its end, end it.

use std::{collections::BTreeMap, io, os::fd::AsRawFd as _, process::Stdio, rc::Rc};

use nix::{
    fcntl::OFlag,
    unistd::{Pid, pipe2},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::unix::pipe,
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
};

use crate::{
    guard::{ARGUMENT, Launch, Report, Request},
    limits::Enforced,
    log::Log,
    namespace::Isolation,
};

/// What it means that there is no file system of the model's own.
const NO_FILES: &str = "no private file system here, so /app and the like are not at their places";

/// A model process that runs, or did.
pub struct Process {
    guardian: Child,
    input: Option<ChildStdin>,
    reports: Lines<BufReader<pipe::Receiver>>,
    output: Vec<JoinHandle<()>>,
    guardian_pid: Pid,
    /// The end, where it was heard of by who waited for something else.
    end: Option<End>,
    /// How far it is set apart from the machine.
    pub isolation: Isolation,
    /// What a person should know about that.
    pub notes: Vec<String>,
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
    /// Starts what `launch` says under `limits`, as far apart from the machine as that allows; its output goes to the log.
    pub async fn start(launch: &Launch, limits: &Enforced, log: &Rc<Log>) -> io::Result<Self> {
        let mut refusals = Vec::new();
        for (isolation, otherwise) in [
            (Isolation::Whole, "the model sees other processes of its user"),
            (Isolation::Files, NO_FILES),
            (Isolation::None, "the model cannot be started"),
        ] {
            match Self::try_start(launch, isolation, limits, log).await? {
                Ok(mut started) => {
                    started.notes.splice(0..0, refusals);
                    return Ok(started);
                }
                Err(reason) => refusals.push(format!("{otherwise}: {reason}")),
            }
        }
        Err(io::Error::other(refusals.join("; ")))
    }

    /// One try. Gives the reason where there is no such isolation.
    async fn try_start(
        launch: &Launch,
        isolation: Isolation,
        limits: &Enforced,
        log: &Rc<Log>,
    ) -> io::Result<Result<Self, String>> {
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
        let guardian_pid = guardian.id().ok_or_else(|| io::Error::other("the guardian ended at once"))?;
        let guardian_pid = Pid::from_raw(guardian_pid as i32);
        // Before the guardian knows what to start, so that nothing escapes.
        limits.take_in(guardian_pid)?;
        let output = [
            guardian.stdout.take().map(|output| tokio::task::spawn_local(log.clone().follow(output))),
            guardian.stderr.take().map(|output| tokio::task::spawn_local(log.clone().follow(output))),
        ];
        let mut input = guardian.stdin.take().expect("standard input is piped");
        let mut line = serde_json::to_vec(&(isolation, launch))?;
        line.push(b'\n');
        input.write_all(&line).await?;
        let mut reports = BufReader::new(pipe::Receiver::from_owned_fd(receiver)?).lines();
        match next_report(&mut reports).await {
            Some(Report::Started { notes }) => Ok(Ok(Self {
                guardian,
                input: Some(input),
                reports,
                output: output.into_iter().flatten().collect(),
                guardian_pid,
                end: None,
                isolation,
                notes,
            })),
            Some(Report::NotIsolated { reason }) => {
                guardian.wait().await?;
                Ok(Err(reason))
            }
            Some(Report::NotStarted { reason }) => Err(io::Error::other(reason)),
            Some(Report::Exited { .. } | Report::SecretsGiven(_)) | None => {
                Err(io::Error::other("the guardian ended without starting the model"))
            }
        }
    }

    /// The ancestor of all processes of the model.
    pub fn ancestor(&self) -> Pid {
        self.guardian_pid
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> End {
        if let Some(end) = self.end {
            return end;
        }
        end_of(next_report(&mut self.reports).await)
    }

    /// Asks the group to end.
    pub async fn terminate(&mut self) {
        let _ = self.ask(&Request::Terminate).await; // a guardian that is gone has ended it
    }

    /// Makes these the files that hold its secrets. Nobody may wait for its end meanwhile.
    pub async fn give_secrets(&mut self, secrets: &BTreeMap<String, String>) -> io::Result<()> {
        self.ask(&Request::Secrets(secrets.clone())).await?;
        match next_report(&mut self.reports).await {
            Some(Report::SecretsGiven(given)) => given.map_err(io::Error::other),
            other => {
                self.end = Some(end_of(other));
                Err(io::Error::other("the model process ended before it had them"))
            }
        }
    }

    async fn ask(&mut self, request: &Request) -> io::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        input.write_all(&line).await
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

fn end_of(report: Option<Report>) -> End {
    match report {
        Some(Report::Exited { code: Some(code), .. }) => End::Code(code),
        Some(Report::Exited { signal: Some(signal), .. }) => End::Signal(signal),
        _ => End::Unknown,
    }
}

async fn next_report(reports: &mut Lines<BufReader<pipe::Receiver>>) -> Option<Report> {
    let line = reports.next_line().await.ok()??;
    serde_json::from_str(&line).ok()
}
