//! `greenroom watch DIR`: keeps a model's development deployment in line with its folder while that is edited.

mod patch;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use api::v1::{
    deployments::Deployment,
    patches::{
        CreateDeploymentPatchResponse, DeploymentPatchPointWithHash, GetDeploymentPatchesStateResponse,
        SyncDeploymentPatchesRequest, SyncDeploymentPatchesResponse,
    },
};
use notify::{EventKind, RecursiveMode, Watcher as _};
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

use self::patch::{Difference, Now};
use super::{
    Context,
    source::{FolderArgs, Source},
    tail::Tail,
    target::{Choice, Target},
    wait,
};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
    printer::Printer,
    words,
};

/// Editors save in several steps: a change is over when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(30);
/// Between two calls that keep the deployment awake.
const KEEP_AWAKE: Duration = Duration::from_secs(30);
/// How often a patch is made anew that somebody else's has overtaken, and a sync that the server could not answer is asked again.
const TRIES: u32 = 5;
/// The pause before that.
const PAUSE: Duration = Duration::from_secs(1);

/// Reload a model's development deployment live while its folder is edited
///
/// Each saved change is built and started beside what runs, and answers as soon as it is ready; one that does not work is shown with
/// its traceback, and what ran before runs on. `greenroom push --watch` makes the deployment first.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Let the deployment go to zero while nobody calls it
    #[arg(long)]
    allow_sleep: bool,
    #[command(flatten)]
    manner: Manner,
}

/// How changes are carried over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Manner {
    /// Keep the process, and what `load` has put into the model, where only code has changed: the new class takes over its state
    #[arg(long)]
    hot_reload: bool,
}

/// Whether the deployment may go to zero while it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    /// When nobody calls it.
    Allowed,
    /// It is kept awake.
    Never,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let (_, name) = args.folder.read()?;
    let development = Choice { development: true, ..Choice::default() };
    let found = Target { model: name, choice: development }.find(&client).await;
    let (_, deployment) = found.map_err(|failure| match failure.kind {
        Kind::NotFound => failure.hint("`greenroom push --watch` makes a development deployment and watches it"),
        _ => failure,
    })?;
    let sleep = if args.allow_sleep { Sleep::Allowed } else { Sleep::Never };
    let watch = Watch { dir: &args.folder.dir, client: &client, deployment: &deployment, printer: context.printer };
    watch.follow(sleep, args.manner).await
}

/// What became of a change.
#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    /// It answers.
    InForce { seconds: f64 },
    /// It does not work.
    Failed { message: String },
    /// Only a push can carry it over.
    NeedsPush { message: String },
}

/// A folder and the development deployment that is to be in line with it.
pub struct Watch<'a> {
    /// The folder.
    pub dir: &'a Path,
    /// To whom the deployment belongs.
    pub client: &'a Client,
    /// The deployment.
    pub deployment: &'a Deployment,
    /// Where it says what becomes of changes.
    pub printer: Printer,
}

impl Watch<'_> {
    /// Carries over each change, until interrupted.
    pub async fn follow(&self, sleep: Sleep, manner: Manner) -> Result {
        let Watch { dir, client, deployment, printer } = *self;
        let source = Source::read(dir)?;
        // Before the first look: what changes after it must not pass unseen.
        let mut changes = Changes::of(source.folders())?;
        self.wake().await;
        let args = wait::WaitArgs::default();
        let tail = Tail::from_end(client, deployment).await?;
        wait::until_active(client, printer, deployment.clone(), tail, &args).await?;
        printer.say(&format!("Watching {} for changes; Ctrl-C ends it", dir.display()));
        let mut folder = archive::Folder::default();
        let carrying = async {
            loop {
                self.carry_over(&mut folder, manner).await?;
                changes.next().await;
            }
        };
        // Beside it, not in between: what has been heard of a change must not be dropped.
        tokio::select! {
            failed = carrying => failed,
            never = self.keep_awake(), if sleep == Sleep::Never => never,
        }
    }

    /// Carries over what has changed and says what became of it. Only what makes watching pointless is an error.
    async fn carry_over(&self, folder: &mut archive::Folder, manner: Manner) -> Result {
        let outcome = match self.try_to_carry_over(folder, manner).await {
            Ok(None) => return Ok(()),
            Ok(Some(outcome)) => outcome,
            Err(failure) => match failure.kind {
                Kind::Auth | Kind::NotFound | Kind::OutputClosed => return Err(failure),
                _ => Outcome::Failed { message: failure.message },
            },
        };
        if self.printer.is_json() {
            return self.printer.json_line(&outcome);
        }
        self.printer.say(&match outcome {
            Outcome::InForce { seconds } => {
                format!("In force after {}", words::seconds(Duration::from_secs_f64(seconds)))
            }
            Outcome::Failed { message } => format!("Not in force: {message}"),
            Outcome::NeedsPush { message } => format!("Not in force: {message} (`greenroom push --watch`)"),
        });
        Ok(())
    }

    /// None when there was nothing to do.
    async fn try_to_carry_over(&self, folder: &mut archive::Folder, manner: Manner) -> Result<Option<Outcome>> {
        let began = Instant::now();
        for _ in 0..TRIES {
            let needs_push = match self.stage(folder, manner).await? {
                Staged::Nothing => return Ok(None),
                Staged::OnlyByPush(reason) => Some(reason),
                Staged::Something => self.sync().await?,
                // The next patch builds on the other's.
                Staged::Overtaken => continue,
            };
            let in_force = || Outcome::InForce { seconds: began.elapsed().as_secs_f64() };
            return Ok(Some(needs_push.map_or_else(in_force, |message| Outcome::NeedsPush { message })));
        }
        Err(Failure::new(Kind::Failed, "others keep patching the same deployment"))
    }

    async fn stage(&self, folder: &mut archive::Folder, manner: Manner) -> Result<Staged> {
        let source = Source::read(self.dir)?;
        let snapshot = source.look(folder)?;
        let (base, is_staged) = self.base().await?;
        let now =
            Now { hashes: &snapshot.hashes, config: &source.config, document: &source.document, text: &source.text };
        let read = |path: &str| snapshot.content(path).map_err(|error| Failure::new(Kind::Failed, error));
        match patch::between(&base, &now, read)? {
            Difference::OnlyByPush(reason) => Ok(Staged::OnlyByPush(reason)),
            Difference::Nothing if is_staged => Ok(Staged::Something),
            Difference::Nothing => Ok(Staged::Nothing),
            Difference::Patch(mut patch) => {
                if manner.hot_reload {
                    patch::ask_to_keep_process(&mut patch.patch_ops);
                }
                let staged: Result<CreateDeploymentPatchResponse> =
                    self.client.post_patiently(&self.path(&["patches"]), &patch).await;
                match staged {
                    Ok(_) => Ok(Staged::Something),
                    Err(_) if self.base().await?.0 != base => Ok(Staged::Overtaken),
                    Err(failure) => Err(failure),
                }
            }
        }
    }

    /// What the next patch builds on, and whether that is staged and does not run yet.
    async fn base(&self) -> Result<(DeploymentPatchPointWithHash, bool)> {
        let state: GetDeploymentPatchesStateResponse = self.client.get(&self.path(&["patches", "state"])).await?;
        let is_staged = state.pending_patch_point.is_some();
        Ok((state.pending_patch_point.unwrap_or(state.running_patch_point), is_staged))
    }

    /// Why it needs a push, if it does.
    async fn sync(&self) -> Result<Option<String>> {
        let path = self.path(&["patches", "sync"]);
        let mut tries = 1;
        loop {
            let answer = self.client.post_patiently(&path, &SyncDeploymentPatchesRequest {}).await;
            match answer {
                Ok(SyncDeploymentPatchesResponse { needs_full_deploy_reason }) => return Ok(needs_full_deploy_reason),
                Err(failure) if failure.kind == Kind::Server && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Wakes it again and again, for ever.
    async fn keep_awake(&self) -> Result {
        let mut due = tokio::time::interval(KEEP_AWAKE);
        loop {
            due.tick().await;
            self.wake().await;
        }
    }

    /// Wakes it, or keeps it awake. What comes of that shows elsewhere.
    async fn wake(&self) {
        let path = ["models", &self.deployment.model_id, "deployment", &self.deployment.id, "wake"];
        let _ = self.client.infer(&path, Vec::new()).await;
    }

    fn path<'p>(&'p self, rest: &[&'p str]) -> Vec<&'p str> {
        let Deployment { model_id, id, .. } = self.deployment;
        [&["v1", "models", model_id.as_str(), "deployments", id.as_str()][..], rest].concat()
    }
}

/// What came of looking for changes.
enum Staged {
    Nothing,
    Something,
    OnlyByPush(String),
    /// Somebody else has patched it meanwhile.
    Overtaken,
}

/// Tells when something in folders has changed.
struct Changes {
    _watcher: notify::RecommendedWatcher,
    events: mpsc::UnboundedReceiver<()>,
}

impl Changes {
    fn of(folders: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let cannot = |error: notify::Error| Failure::new(Kind::Failed, format!("cannot watch the folder: {error}"));
        let (sender, events) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // What cannot be told may have been a change.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                let _ = sender.send(());
            }
        })
        .map_err(cannot)?;
        for folder in folders {
            watcher.watch(&folder, RecursiveMode::Recursive).map_err(cannot)?;
        }
        Ok(Self { _watcher: watcher, events })
    }

    /// Completes when a change has come and is over.
    async fn next(&mut self) {
        if self.events.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        while let Ok(Some(())) = timeout(QUIET, self.events.recv()).await {}
    }
}
