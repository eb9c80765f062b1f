//! Watches a deployment until it serves or has failed, and says meanwhile what it does. A failure ends with the reason, the last
//! lines of the log, and a hint.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use api::v1::{
    deployments::{Deployment, DeploymentStatus},
    logs::Log,
};

use super::tail::Tail;
use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
    printer::{Printer, Progress},
    words,
};

/// How many lines a failure ends with.
const LAST_LINES: usize = 20;
/// How long the server may be away while we watch.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to wait.
#[derive(Debug, Default, clap::Args)]
pub struct WaitArgs {
    /// Return at once; do not wait until the deployment is active
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after this long; the deployment goes on [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "no_wait")]
    timeout: Option<Duration>,
    /// Print the log of the build and the start as it comes
    #[arg(long, short)]
    verbose: bool,
}

impl WaitArgs {
    /// How long to wait at most.
    pub fn limit(&self) -> Option<Duration> {
        self.timeout
    }
}

/// A deployment as it ended up, and how long each status on the way lasted.
pub struct Watched {
    /// As last seen.
    pub deployment: Deployment,
    /// What was waited for, and for how long, in order.
    pub phases: Vec<(&'static str, Duration)>,
}

/// What a status means to somebody who waits.
enum Meaning {
    Pending(&'static str),
    Serves,
    Failed,
    Stopped,
}

fn meaning(status: DeploymentStatus) -> Meaning {
    match status {
        DeploymentStatus::Building => Meaning::Pending("build"),
        DeploymentStatus::Deploying | DeploymentStatus::Updating | DeploymentStatus::WakingUp => {
            Meaning::Pending("start")
        }
        DeploymentStatus::LoadingModel => Meaning::Pending("load"),
        DeploymentStatus::Active | DeploymentStatus::ScaledToZero => Meaning::Serves,
        DeploymentStatus::BuildFailed
        | DeploymentStatus::DeployFailed
        | DeploymentStatus::Failed
        | DeploymentStatus::Unhealthy => Meaning::Failed,
        DeploymentStatus::BuildStopped | DeploymentStatus::Deactivating | DeploymentStatus::Inactive => {
            Meaning::Stopped
        }
    }
}

/// Waits as `args` say, with `tail` as the log to show. Without waiting, the deployment comes back as it is.
pub async fn until_active(
    client: &Client,
    printer: Printer,
    deployment: Deployment,
    tail: Tail,
    args: &WaitArgs,
) -> Result<Watched> {
    if args.no_wait {
        return Ok(Watched { deployment, phases: Vec::new() });
    }
    let name = deployment.name.clone();
    let watching = Watch::new(client, printer, deployment, tail, args.verbose).run();
    match args.timeout {
        None => watching.await,
        Some(limit) => tokio::time::timeout(limit, watching).await.unwrap_or_else(|_| {
            let message = format!("{name} is not active after {}", words::seconds(limit));
            Err(Failure::new(Kind::TimedOut, message)
                .hint("it goes on without us; `greenroom status` shows how it is and why"))
        }),
    }
}

/// Where a deployment stands, and why.
fn label(deployment: &Deployment) -> String {
    let Deployment { name, status, status_reason, .. } = deployment;
    let why = status_reason.as_deref().map(|why| format!(", {}", words::short(why))).unwrap_or_default();
    format!("{name}: {}{why}", words::name(status))
}

struct Watch<'a> {
    client: &'a Client,
    deployment: Deployment,
    progress: Progress,
    tail: Tail,
    last_lines: VecDeque<String>,
    phases: Vec<(&'static str, Duration)>,
    verbose: bool,
}

impl<'a> Watch<'a> {
    fn new(client: &'a Client, printer: Printer, deployment: Deployment, tail: Tail, verbose: bool) -> Self {
        Self {
            client,
            progress: printer.spinner(&label(&deployment)),
            tail,
            deployment,
            last_lines: VecDeque::new(),
            phases: Vec::new(),
            verbose,
        }
    }

    async fn run(mut self) -> Result<Watched> {
        let mut last_contact = Instant::now();
        let started = Instant::now();
        loop {
            match self.look().await {
                Ok(()) => last_contact = Instant::now(),
                // A server that restarts is away for a moment; the deployment is not.
                Err(failure) if failure.kind == Kind::Server && last_contact.elapsed() < PATIENCE => {}
                Err(failure) => return Err(failure),
            }
            match meaning(self.deployment.status) {
                Meaning::Pending(phase) => {
                    let pause = if started.elapsed() < Duration::from_secs(5) { 100 } else { 500 };
                    let before = Instant::now();
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    self.spent(phase, before.elapsed());
                }
                Meaning::Serves => {
                    return Ok(Watched { deployment: self.deployment, phases: self.phases });
                }
                Meaning::Failed => return Err(self.failure()),
                Meaning::Stopped => {
                    let label = label(&self.deployment);
                    return Err(Failure::new(Kind::Failed, format!("stopped before it served: {label}")));
                }
            }
        }
    }

    async fn look(&mut self) -> Result {
        let Deployment { model_id, id, .. } = &self.deployment;
        let before = label(&self.deployment);
        let deployment = self.client.get(&["v1", "models", model_id, "deployments", id]).await?;
        self.deployment = deployment;
        let now = label(&self.deployment);
        if now != before {
            self.progress.label(&now);
        }
        for line in self.tail.read(self.client).await? {
            self.keep(line);
        }
        Ok(())
    }

    fn keep(&mut self, line: Log) {
        let message = line.message.trim_end();
        if self.verbose {
            self.progress.say(&format!("  {message}"));
        }
        self.progress.detail(message.lines().last().unwrap_or_default());
        self.last_lines.extend(message.lines().map(str::to_owned));
        while self.last_lines.len() > LAST_LINES {
            self.last_lines.pop_front();
        }
    }

    fn spent(&mut self, phase: &'static str, duration: Duration) {
        match self.phases.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, total)) => *total += duration,
            None => self.phases.push((phase, duration)),
        }
    }

    /// Shows the end of the log, and says why it failed.
    fn failure(self) -> Failure {
        let Deployment { name, status, failure_reason, .. } = self.deployment;
        if !self.last_lines.is_empty() && !self.verbose {
            self.progress.say("The last lines of its log:");
            for line in &self.last_lines {
                self.progress.say(&format!("  {line}"));
            }
        }
        let reason = failure_reason.as_ref().map_or_else(|| words::name(&status), |reason| reason.message.clone());
        let failure = Failure::new(Kind::DeployFailed, format!("{name} failed ({}): {reason}", words::name(&status)));
        match failure_reason.and_then(|reason| reason.hint) {
            Some(hint) => failure.hint(hint),
            None => failure.hint("`greenroom logs` shows the whole log; mend the model and push again"),
        }
    }
}
