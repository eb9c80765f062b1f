//! Things to store.

use std::num::NonZeroU32;

use api::id::{DeploymentId, ModelId, ReplicaId, TeamId, UserId};
use planner::{
    Timestamp, autoscale,
    policy::{Policy, written},
    promotion::{Cleanup, Hold, Mode, Room, Seen, Settings, Side, State, Targets},
};
use serde_json::json;
use store::{
    Candidate, Installation, NewDeployment, NewPromotion, Store,
    domain::{
        ApiKey, ApiKeyKind, Archive, AuditEvent, Deployment, DeploymentKind, Doer, Environment, KeyOwner, Model,
        Organization, Origin, PRODUCTION, Replica, Team, User,
    },
};

pub const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub fn installation() -> Installation {
    Installation {
        organization: Organization { id: "org".into(), name: "Ours".into() },
        team: Team { id: team(), name: "default".into(), is_default: true, created_at: NOW },
        admin: person(1, true),
        admin_key: key("adminkey", None, KeyOwner::User(user())),
    }
}

pub fn team() -> TeamId {
    TeamId::from_entropy(1)
}

pub fn user() -> UserId {
    UserId::from_entropy(1)
}

/// Somebody without a team.
pub fn person(number: u128, is_admin: bool) -> User {
    let joined = NOW.plus(number as u64);
    User { is_admin, ..User::new(UserId::from_entropy(number), format!("{number}@localhost"), joined) }
}

pub fn key(prefix: &str, name: Option<&str>, owner: KeyOwner) -> ApiKey {
    ApiKey {
        prefix: prefix.into(),
        hash: [9; 32],
        name: name.map(str::to_owned),
        kind: ApiKeyKind::WorkspaceInvoke,
        owner,
        model_ids: Some(vec![ModelId::from_entropy(1)]),
        environment_names: Some(vec!["staging".into()]),
        requests_per_minute: NonZeroU32::new(60),
        expires_at: None,
        created_at: NOW,
    }
}

pub fn model(number: u128, name: &str) -> Model {
    let id = ModelId::from_entropy(number);
    Model {
        id,
        team_id: team(),
        name: name.into(),
        created_at: NOW.plus(number as u64),
        archive_download_disabled: false,
    }
}

pub fn environment(model: &Model, name: &str) -> Environment {
    Environment {
        model_id: model.id.clone(),
        name: name.into(),
        created_at: NOW,
        current: None,
        autoscaling: autoscale::Settings::default(),
        backpressure: None,
        promotion_settings: json!({"redeploy_on_promotion": false}),
        generation: 1,
    }
}

pub fn push(model: &Model, number: u128) -> NewDeployment {
    NewDeployment {
        id: DeploymentId::from_entropy(number),
        model_id: model.id.clone(),
        name: None,
        created_at: NOW.plus(number as u64),
        kind: DeploymentKind::Published,
        labels: json!({"stage": "β", "nested": {"n": 1}}).as_object().cloned(),
        config: json!({"model_name": "m", "resources": {"cpu": "1"}}),
        raw_config: Some("model_name: m\n".into()),
        user_env: None,
        archive: Archive { key: format!("archives/{number}"), bytes: 10 },
        deploy_timeout_ms: 3_600_000,
        instance_type: "1x2".into(),
        autoscaling: autoscale::Settings::default(),
        backpressure: None,
        target_environment: None,
        keep_previous: false,
        missing_environments: Vec::new(),
        first_log_line: "waiting for a build".into(),
    }
}

/// A person's promotion that begins now.
pub fn promotion(
    model: &Model,
    environment: &str,
    candidate: Candidate,
    previous: Option<&DeploymentId>,
) -> NewPromotion {
    let settings = Settings {
        mode: Mode::Immediate,
        cleanup: Cleanup::ScaleToZero,
        room: Room::Beside,
        deploy_timeout_ms: 600_000,
        min_ready_ms: 0,
    };
    let side = Side { ready: 0, alive: 0, wanted: 0, is_built: false, has_been_ready: false, failure: None };
    let seen = Seen {
        candidate: side,
        previous: None,
        load: autoscale::Load::default(),
        autoscaling: &autoscale::Settings::default(),
        published_percent: None,
    };
    NewPromotion {
        model_id: model.id.clone(),
        environment: environment.into(),
        candidate,
        previous: previous.cloned(),
        origin: Origin::Person,
        started_at: NOW,
        state: State::begin(NOW, &settings, &seen),
        settings,
        targets: Targets { candidate: Hold { min: 1, max: 1 }, previous: None, candidate_percent: 0 },
        why: "waiting for the candidate".into(),
        requested_by: Some("adminkey".into()),
        difference: None,
    }
}

pub fn replica(number: u128, deployment: &Deployment) -> Replica {
    Replica {
        id: ReplicaId::from_entropy(number),
        deployment_id: deployment.id.clone(),
        created_at: NOW,
        stopping_since: None,
        status: None,
        seen_at: None,
        log_cursor: 0,
        environment: None,
        instance_type: deployment.instance_type.clone(),
        waits_for: None,
        tries_patch: false,
        location: None,
    }
}

pub fn event(event_type: &str) -> AuditEvent {
    AuditEvent {
        at: NOW,
        event_type: event_type.into(),
        event_data: json!({"by": "test"}),
        doer: Doer {
            api_key_prefix: Some("adminkey".into()),
            email: Some("ada@example.com".into()),
            ..Doer::default()
        },
        model_id: None,
    }
}

/// An installed store with one model and its first deployment.
pub async fn with_model(store: &Store) -> (Model, Deployment) {
    store.ensure_installed(&installation()).await.unwrap();
    let model = model(1, "first");
    let first = store.create_model(&model, &environment(&model, PRODUCTION), &push(&model, 1), None).await.unwrap();
    (model, first)
}

/// Lets an environment point at a deployment.
pub async fn serve(store: &Store, model: &Model, environment: &str, id: &DeploymentId) {
    let mut environment = store.environment(&model.id, environment).await.unwrap();
    environment.current = Some(id.clone());
    store.save_environment(&mut environment, None).await.unwrap();
}

/// A policy that allows one country.
pub fn policy(name: &str, country: &str) -> Policy {
    let entry = written::Entry { kind: Some("country".into()), name: country.into() };
    let written =
        written::Policy { name: name.into(), kind: "location".into(), locations: vec![entry], ..Default::default() };
    written.try_into().unwrap()
}
