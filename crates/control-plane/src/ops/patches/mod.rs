//! Live reload of a development deployment. Staging a patch keeps it, as a new archive; syncing asks for what is staged to run and
//! waits for what becomes of it. Building it and trying it is the controller's.

mod edits;
mod rewriting;

use std::time::Duration;

use api::{
    id::ModelId,
    v1::patches::{DeploymentPatchOp, DeploymentPatchPoint},
};
use planner::{lifecycle::Reason, reload::Reload};
use serde_json::{Value, json};
use store::{
    Topic,
    domain::{AuditEvent, Deployment, DeploymentKind, Model, Patches, PendingPatch},
};
use tokio::time::{Instant, timeout_at};

use super::{
    Caller, ControlPlane, Error, audit,
    deployments::{self, Target},
    uploads,
};

/// What the audit log calls a patch that is kept, and one that is to run.
const STAGED: &str = "MODEL_DEPLOYMENT_PATCH_STAGED";
const SYNCED: &str = "MODEL_DEPLOYMENT_PATCH_SYNCED";

/// Clients wait for two minutes at most.
const PATIENCE: Duration = Duration::from_secs(110);

/// Where the patches of a deployment stand.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What runs.
    pub running: DeploymentPatchPoint,
    /// What is staged and does not run yet.
    pub pending: Option<DeploymentPatchPoint>,
    /// Whether anything has been patched since the push.
    pub is_patched: bool,
    /// Whether what runs is what was pushed.
    pub runs_what_was_pushed: bool,
}

impl State {
    /// What the next patch builds on.
    pub fn base(&self) -> &DeploymentPatchPoint {
        self.pending.as_ref().unwrap_or(&self.running)
    }
}

/// A patch that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// The source after it.
    pub point: DeploymentPatchPoint,
    /// Why only a push can make this change, where that is so.
    pub needs_push: Option<String>,
}

/// A patch to stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// The hash of the point that it builds on.
    pub prev_hash: String,
    /// The source after it.
    pub next: DeploymentPatchPoint,
    /// What it changes.
    pub operations: Vec<DeploymentPatchOp>,
}

/// What became of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What was staged runs.
    InSync,
    /// Only a push can make this change.
    NeedsPush(String),
    /// It is broken. What ran before runs on.
    Failed(Reason),
}

/// The hash that names a point.
pub fn hash(point: &DeploymentPatchPoint) -> String {
    archive::hash_of_all(&point.content_hashes)
}

/// Where the patches of a development deployment stand.
pub async fn state(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<State, Error> {
    let (_, deployment) = find(control_plane, caller, model, target).await?;
    look(control_plane, &deployment).await
}

/// Keeps a patch. Nothing runs differently yet.
pub async fn stage(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    patch: Patch,
) -> Result<Staged, Error> {
    let (model, deployment) = find(control_plane, caller, model, target).await?;
    if patch.operations.is_empty() {
        return Err(Error::Invalid("patch_ops: it is empty: a patch changes at least one thing".into()));
    }
    let stale = || {
        Error::Stale(format!(
            "prev_patch_hash: the source of deployment {} has changed meanwhile: read its patch state and make the patch anew",
            deployment.id
        ))
    };
    if hash(look(control_plane, &deployment).await?.base()) != patch.prev_hash {
        return Err(stale());
    }
    let more = json!({
        "patch_hash": hash(&patch.next), "previous_settings": { "patch_hash": patch.prev_hash },
        "operations": patch.operations.len(),
    });
    let event = audit::of_deployment(caller, control_plane.now(), STAGED, (&model, &deployment), more);
    let before = deployment.patches.clone();
    let pending = before.as_ref().and_then(|patches| patches.pending.as_ref());
    let (archive, config) =
        pending.map_or((&deployment.archive, &deployment.config), |pending| (&pending.archive, &pending.config));
    let config = config.as_object().cloned().unwrap_or_default();
    let edited = edits::apply(&config, &patch.next, &patch.operations)?;
    let archive = rewriting::rewrite(control_plane, &archive.key, edited.changes, &edited.checked).await?;
    let staged = PendingPatch {
        point: patch.next.clone(),
        archive,
        config: Value::Object(edited.config),
        raw_config: edited.raw_config,
        keeps_process: patch.operations.iter().all(DeploymentPatchOp::keeps_process)
            && pending.is_none_or(|pending| pending.keeps_process),
        reload: Reload::Staged,
    };
    let store = control_plane.store();
    store
        .change_deployment(&deployment.id, Some(&event), |now| {
            if now.patches != before || now.archive != deployment.archive {
                return Err(stale());
            }
            let running = now.patches.take().and_then(|patches| patches.running);
            now.patches = Some(Patches { running, pending: Some(staged.clone()) });
            Ok(())
        })
        .await?;
    Ok(Staged { needs_push: edits::reason_to_push(&deployment.config, &staged.config), point: patch.next })
}

/// Asks for what is staged to run, and waits until it does or is known not to.
pub async fn sync(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<Verdict, Error> {
    let (model, deployment) = find(control_plane, caller, model, target).await?;
    if deployment.lifecycle.pending_build().is_some() {
        return Err(Error::NotYet(format!("deployment {} is still being built from its push", deployment.id)));
    }
    let Some(pending) = deployment.patches.as_ref().and_then(|patches| patches.pending.as_ref()) else {
        return Ok(Verdict::InSync);
    };
    if let Some(reason) = edits::reason_to_push(&deployment.config, &pending.config) {
        return Ok(Verdict::NeedsPush(reason));
    }
    let archive = pending.archive.clone();
    let more = json!({ "patch_hash": hash(&pending.point) });
    let event = audit::of_deployment(caller, control_plane.now(), SYNCED, (&model, &deployment), more);
    // Before the wish is recorded: what becomes of it must not pass unheard.
    let mut changes = control_plane.store().changes(&[Topic::Deployments]);
    ask(control_plane, &deployment, &event).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = control_plane.store().deployment(&deployment.id).await?;
        match now.patches.as_ref().and_then(|patches| patches.pending.as_ref()) {
            None if now.archive == archive => return Ok(Verdict::InSync),
            Some(pending) if pending.archive == archive => match &pending.reload {
                Reload::Failed { reason, .. } => return Ok(Verdict::Failed(reason.clone())),
                Reload::Staged | Reload::Building { .. } | Reload::Starting { .. } => {}
            },
            _ => return Err(Error::NotYet("another patch has been staged meanwhile".into())),
        }
        if timeout_at(deadline, changes.wait()).await.is_err() {
            return Err(Error::NotYet(format!("the patch of deployment {} is still being applied", deployment.id)));
        }
    }
}

/// Records the wish, unless it stands already.
async fn ask(control_plane: &ControlPlane, deployment: &Deployment, event: &AuditEvent) -> Result<(), Error> {
    let now = control_plane.now();
    let change = |deployment: &mut Deployment| {
        deployment.change_reload(|reload| match reload {
            Reload::Staged | Reload::Failed { .. } => Reload::Building { since: now },
            Reload::Building { .. } | Reload::Starting { .. } => reload,
        });
        Ok::<_, Error>(())
    };
    control_plane.store().change_deployment(&deployment.id, Some(event), change).await?;
    Ok(())
}

/// What is told of a patch that failed.
pub fn failure(reason: &Reason) -> String {
    let detail = reason.detail.as_ref().map(|detail| format!("\n{detail}")).unwrap_or_default();
    let hint = reason.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("the patch does not work, and what ran before runs on: {}{hint}{detail}", reason.message)
}

async fn find(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(Model, Deployment), Error> {
    let (model, deployment) = deployments::find_to_change(control_plane, caller, model, target).await?;
    if deployment.kind != DeploymentKind::Development {
        return Err(Error::Invalid(format!(
            "deployment {} is published, and what is published never changes: only a development deployment can be patched",
            deployment.id
        )));
    }
    Ok((model, deployment))
}

async fn look(control_plane: &ControlPlane, deployment: &Deployment) -> Result<State, Error> {
    let (running, pending) = match &deployment.patches {
        Some(Patches { running, pending }) => (running.clone(), pending.as_ref().map(|pending| pending.point.clone())),
        None => (None, None),
    };
    Ok(State {
        is_patched: deployment.patches.is_some(),
        runs_what_was_pushed: running.is_none(),
        pending,
        running: match running {
            Some(point) => point,
            None => pushed(control_plane, deployment).await?,
        },
    })
}

/// The point that a push has made.
pub async fn pushed(control_plane: &ControlPlane, deployment: &Deployment) -> Result<DeploymentPatchPoint, Error> {
    let content_hashes = uploads::content_hashes(control_plane, deployment).await?;
    let file = deployment.config.get("requirements_file").and_then(Value::as_str);
    let requirements = match file {
        Some(file) => uploads::content(control_plane, deployment, file).await?,
        None => None,
    };
    Ok(DeploymentPatchPoint {
        content_hashes,
        config: deployment.raw_config.clone().unwrap_or_default(),
        requirements: requirements
            .map(|file| DeploymentPatchPoint::requirements_in(&String::from_utf8_lossy(&file)))
            .unwrap_or_default(),
    })
}
