//! What is stored: facts and intent, never a status. Times are wall-clock milliseconds.

mod access;
mod difference;
mod measured;
mod promotion;
mod sign_in;
mod workspace;

use std::collections::BTreeMap;

use api::{
    id::{DeploymentId, ModelId, ReplicaId, SecretId, TeamId, UserId},
    internal::replica::{LogLine, Phase, StartTimes, Status as ReplicaStatus},
    v1::{backpressure::RequestBackpressurePolicy, patches::DeploymentPatchPoint},
};
use planner::{
    Timestamp, autoscale, capacity::Claim, lifecycle::Lifecycle, policy::Policy, reload::Reload, replica_set,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    access::{ApiKey, ApiKeyKind, ClientCredential, KeyOwner, Organization, Role, Team, User, UserKind},
    difference::{Change, ChangeKind, Difference, Part},
    measured::{Durations, Sample, Standing, Total, UsageDay, Use, Used},
    promotion::{Origin, Promotion},
    sign_in::{Device, SignIn, SignInState},
    workspace::WorkspaceSettings,
};

/// The environment that every model has from the start.
pub const PRODUCTION: &str = "production";

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Stays when the value changes.
    pub id: SecretId,
    /// Its team.
    pub team_id: TeamId,
    /// As it was written; compared after folding everything that is not a letter or digit.
    pub name: String,
    /// When it was first set.
    pub created_at: Timestamp,
}

/// A model: a name, with deployments and environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Part of a host name.
    pub id: ModelId,
    /// Its team.
    pub team_id: TeamId,
    /// Unique within the team; can be changed.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Fixed when the model is made.
    pub archive_download_disabled: bool,
}

/// One push of a model: what it is (fixed) and what has happened to it (facts).
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Part of a path.
    pub id: DeploymentId,
    /// Its model.
    pub model_id: ModelId,
    /// Unique within the model; can be changed.
    pub name: String,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// Published or development.
    pub kind: DeploymentKind,
    /// Any JSON object.
    pub labels: Option<serde_json::Map<String, Value>>,
    /// The config as pushed.
    pub config: Value,
    /// The same as the user wrote it, where it is small and valid.
    pub raw_config: Option<String>,
    /// What the client said of itself.
    pub user_env: Option<Value>,
    /// The uploaded archive.
    pub archive: Archive,
    /// How long a start may take before it counts as failed.
    pub deploy_timeout_ms: u64,
    /// From the catalogue.
    pub instance_type: String,
    /// How it scales.
    pub autoscaling: autoscale::Settings,
    /// What happens to requests when every replica is busy; none means that they wait.
    pub backpressure: Option<RequestBackpressurePolicy>,
    /// The environment that takes it when it is first ready, if it was pushed for one.
    pub target_environment: Option<String>,
    /// Whether what that environment serves goes on running when this has taken its place, whatever its settings say.
    pub keep_previous: bool,
    /// What has been patched into it since it was pushed; none of a published one.
    pub patches: Option<Patches>,
    /// What has happened to it.
    pub lifecycle: Lifecycle,
    /// How many replicas should run, as last decided.
    pub target_replicas: u32,
    /// What is remembered of failed starts.
    pub replica_memory: replica_set::Memory,
    /// Grows with every change; a save with an older one is refused.
    pub generation: u64,
}

impl Deployment {
    /// What has been staged runs from now on.
    pub fn take_over(&mut self, staged: &PendingPatch) {
        self.archive = staged.archive.clone();
        self.config = staged.config.clone();
        self.raw_config = staged.raw_config.clone();
        self.patches = Some(Patches { running: Some(staged.point.clone()), pending: None });
    }

    /// How far what is staged is.
    pub fn reload(&self) -> Option<&Reload> {
        Some(&self.patches.as_ref()?.pending.as_ref()?.reload)
    }

    /// What is staged cannot be had in the process that runs.
    pub fn needs_process(&mut self) {
        if let Some(pending) = self.patches.as_mut().and_then(|patches| patches.pending.as_mut()) {
            pending.keeps_process = false;
        }
    }

    /// Changes how far what is staged is, where anything is.
    pub fn change_reload(&mut self, change: impl FnOnce(Reload) -> Reload) {
        if let Some(pending) = self.patches.as_mut().and_then(|patches| patches.pending.as_mut()) {
            pending.reload = change(pending.reload.clone());
        }
    }
}

/// Patches of a development deployment since it was pushed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patches {
    /// What runs, as its client sees it; none while that is what was pushed.
    pub running: Option<DeploymentPatchPoint>,
    /// What is to run; none while that does.
    pub pending: Option<PendingPatch>,
}

/// A source that is staged to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingPatch {
    /// As its client sees it.
    pub point: DeploymentPatchPoint,
    /// All of it.
    pub archive: Archive,
    /// Its config.
    pub config: Value,
    /// The same as the user wrote it, where it is known.
    pub raw_config: Option<String>,
    /// Whether the process that runs is to go on with it: all that has changed is code, and its author wants that.
    #[serde(default)]
    pub keeps_process: bool,
    /// How far it is.
    pub reload: Reload,
}

/// Published deployments are immutable; a model has at most one development deployment, overwritten in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentKind {
    /// Immutable.
    Published,
    /// For live patching.
    Development,
}

/// An archive in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Its key there.
    pub key: String,
    /// Size.
    pub bytes: u64,
}

/// A stable endpoint with settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Its model.
    pub model_id: ModelId,
    /// Unique within the model.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it serves. Only ever a deployment that has been active.
    pub current: Option<DeploymentId>,
    /// How what it serves scales.
    pub autoscaling: autoscale::Settings,
    /// What happens to requests for what it serves when every replica is busy; none means that they wait.
    pub backpressure: Option<RequestBackpressurePolicy>,
    /// How promotions into it go (the contract's `promotion_settings`).
    pub promotion_settings: Value,
    /// Grows with every change.
    pub generation: u64,
}

/// The environments of one name in all models of a team, and who may change them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentGroup {
    /// The team.
    pub team_id: TeamId,
    /// The environments' name.
    pub name: String,
    /// Whether only administrators and the users below may change them.
    pub is_restricted: bool,
    /// Those users.
    pub user_ids: Vec<UserId>,
}

/// A replica that was ordered, and what was last seen of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Replica {
    /// Which copy.
    pub id: ReplicaId,
    /// Of what.
    pub deployment_id: DeploymentId,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// When it was told to stop.
    pub stopping_since: Option<Timestamp>,
    /// What it last said of itself; none until it is first seen.
    pub status: Option<ReplicaStatus>,
    /// When that was first seen.
    pub seen_at: Option<Timestamp>,
    /// Where its log has been read to.
    pub log_cursor: u64,
    /// The environment that it was last told it is in; none when it is in none.
    pub environment: Option<String>,
    /// From the catalogue, as it was ordered: that says what it uses.
    pub instance_type: String,
    /// What keeps it from being started, in a sentence; none once it may be, or has been.
    pub waits_for: Option<String>,
    /// Whether it runs what is staged, to try it. It answers nothing and counts for nothing until that takes over.
    pub tries_patch: bool,
    /// The location it was sent to; none until there is a place for it, and of those from before there were locations.
    pub location: Option<String>,
}

impl Replica {
    /// Whether its end is known.
    pub fn has_ended(&self) -> bool {
        self.status.as_ref().is_some_and(|status| matches!(status.phase, Phase::Exited(_)))
    }

    /// What it takes of the machines, or waits for; none when it has ended.
    pub fn claim(&self) -> Option<Claim<'_>> {
        (!self.has_ended()).then_some(Claim {
            deployment: &self.deployment_id,
            instance_type: &self.instance_type,
            location: self.location.as_deref(),
            waits: self.waits_for.is_some(),
        })
    }
}

/// A change of the number of replicas that a deployment should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalingDecision {
    /// Of what.
    pub deployment_id: DeploymentId,
    /// When.
    pub at: Timestamp,
    /// Replicas from then on.
    pub replicas: u32,
    /// Why so many.
    pub why: autoscale::Why,
    /// What it was worked out from.
    pub inputs: autoscale::Inputs,
}

/// A start of a replica that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// Of which copy.
    pub replica_id: ReplicaId,
    /// Of what.
    pub deployment_id: DeploymentId,
    /// The environment that it was in; none when it was in none.
    pub environment: Option<String>,
    /// When it was ordered.
    pub started_at: Timestamp,
    /// When it was seen to be ready, or to have failed.
    pub ended_at: Timestamp,
    /// How it went.
    pub outcome: StartOutcome,
    /// How long its parts took, as far as it came.
    pub times: StartTimes,
}

/// How a start went, with the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StartOutcome {
    /// It became ready.
    Success,
    /// It ended before.
    Failed,
    /// It took longer than it may.
    Stalled,
}

/// A stored log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Whose.
    pub deployment_id: DeploymentId,
    /// Which copy's; none for build and platform lines.
    pub replica_id: Option<ReplicaId>,
    /// Where it comes from.
    pub component: Component,
    /// The line.
    pub line: LogLine,
}

/// Where a log line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The build.
    Build,
    /// The platform, about a deployment.
    Deploy,
    /// The model.
    Model,
    /// The gateway, about one request.
    Access,
}

impl Component {
    const ALL: [Self; 4] = [Self::Build, Self::Deploy, Self::Model, Self::Access];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Deploy => "deploy",
            Self::Model => "model",
            Self::Access => "access",
        }
    }

    /// The one of this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|component| component.name().eq_ignore_ascii_case(name))
    }
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Ascending; also the cursor for the next page.
    pub id: u64,
    /// What happened.
    pub event: AuditEvent,
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// The contract's event name.
    pub event_type: String,
    /// The event's data.
    pub event_data: Value,
    /// Who did it.
    pub doer: Doer,
    /// The model it concerns, if one.
    pub model_id: Option<ModelId>,
}

/// A policy as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPolicy {
    /// The policy.
    pub policy: Policy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// How many environments it is attached to.
    pub environments: u64,
    /// How many deployments it is attached to.
    pub deployments: u64,
}

/// What a policy is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyUse {
    /// An environment.
    Environment {
        /// Its model.
        model_id: ModelId,
        /// Its name.
        environment: String,
    },
    /// A deployment.
    Deployment {
        /// Which.
        deployment_id: DeploymentId,
    },
}

/// Who did something and by what, as it was known then. Nobody is the platform itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Doer {
    /// The key's public part.
    pub api_key_prefix: Option<String>,
    /// The key's name.
    pub api_key_name: Option<String>,
    /// Whose key it was, for a personal one.
    pub user_id: Option<UserId>,
    /// Their address.
    pub email: Option<String>,
    /// The program that asked for it.
    pub client: ClientProgram,
}

/// A program that calls the API, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientProgram {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What groups its calls.
    pub session_id: Option<String>,
    /// Whether somebody looks at it in a browser.
    pub is_dashboard: bool,
}

/// Values of secrets by folded name, as a deployment may have them.
pub type SecretValues = BTreeMap<String, secrecy::SecretString>;

/// A secret's name as it is compared: letters and digits stay, every other character is an underscore.
pub fn fold_secret_name(name: &str) -> String {
    name.chars().map(|character| if character.is_alphanumeric() { character } else { '_' }).collect()
}
