//! Things to decide about, for unit tests.

use api::{
    id::{DeploymentId, ModelId, ReplicaId, TeamId},
    internal::{
        replica::Protocol,
        routes::{Address, Endpoint, RequestLimits},
    },
};
use planner::{
    Timestamp, autoscale,
    lifecycle::{Lifecycle, Status},
    promotion::{Cleanup, Hold, Mode, Room, Seen, Settings, Side, State, Targets},
    replica_set,
};
use store::domain::{Archive, Deployment, DeploymentKind, Environment, Model, Origin, PRODUCTION, Promotion, Replica};

use crate::routes::Deployed;

pub const MODEL: u128 = 1;

pub fn model(n: u128, team: u128) -> Model {
    Model {
        id: ModelId::from_entropy(n),
        team_id: TeamId::from_entropy(team),
        name: format!("model-{n}"),
        created_at: Timestamp(1),
        archive_download_disabled: false,
    }
}

pub fn deployment(n: u64, kind: DeploymentKind, target: Option<&str>) -> Deployment {
    Deployment {
        id: DeploymentId::from_entropy(n.into()),
        model_id: ModelId::from_entropy(MODEL),
        name: format!("deployment-{n}"),
        created_at: Timestamp(n),
        kind,
        labels: None,
        config: serde_json::json!({}),
        raw_config: None,
        user_env: None,
        archive: Archive { key: "archives/a".into(), bytes: 1 },
        deploy_timeout_ms: 1,
        instance_type: "1x2".into(),
        autoscaling: autoscale::Settings::default(),
        backpressure: None,
        patches: None,
        target_environment: target.map(Into::into),
        keep_previous: false,
        lifecycle: Lifecycle::pushed(Timestamp(n)),
        target_replicas: 0,
        replica_memory: replica_set::Memory::default(),
        generation: 1,
    }
}

/// A replica that has just been ordered.
pub fn replica(n: u128, of: u128) -> Replica {
    Replica {
        id: ReplicaId::from_entropy(n),
        deployment_id: DeploymentId::from_entropy(of),
        created_at: Timestamp(1),
        stopping_since: None,
        status: None,
        seen_at: None,
        log_cursor: 0,
        environment: None,
        instance_type: "1x2".into(),
        waits_for: None,
        tries_patch: false,
        location: None,
    }
}

pub fn production(current: Option<u64>) -> Environment {
    Environment {
        model_id: ModelId::from_entropy(MODEL),
        name: PRODUCTION.into(),
        created_at: Timestamp(1),
        current: current.map(|n| DeploymentId::from_entropy(n.into())),
        autoscaling: autoscale::Settings::default(),
        backpressure: None,
        promotion_settings: serde_json::json!({}),
        generation: 1,
    }
}

pub fn deployed(deployment: &Deployment, status: Status) -> Deployed<'_> {
    let limits = RequestLimits {
        queue_ms: 1,
        first_byte_ms: 1,
        idle_ms: 1,
        max_body_bytes: 1,
        max_queued: 1,
        max_queued_bytes: u64::MAX,
        waits_when_full: true,
    };
    Deployed {
        deployment,
        status,
        recovers: false,
        endpoints: Vec::new(),
        slots_per_replica: 1,
        limits,
        protocol: Protocol::Http,
    }
}

pub fn endpoints(count: usize) -> Vec<Endpoint> {
    let endpoint = |n: usize| Endpoint {
        replica_id: ReplicaId::from_entropy(n as u128),
        address: Address::Unix(format!("/{n}").into()),
        start: Default::default(),
    };
    (0..count).map(endpoint).collect()
}

/// A promotion to production that has just begun.
pub fn promotion(candidate: u64, previous: Option<u64>) -> Promotion {
    let settings = Settings {
        mode: Mode::Immediate,
        cleanup: Cleanup::ScaleToZero,
        room: Room::Beside,
        deploy_timeout_ms: 600_000,
        min_ready_ms: 0,
    };
    let side = Side { ready: 1, alive: 1, wanted: 1, is_built: true, has_been_ready: true, failure: None };
    let seen = Seen {
        candidate: side,
        previous: previous.map(|_| side),
        load: autoscale::Load::default(),
        autoscaling: &autoscale::Settings::default(),
        published_percent: None,
    };
    let id = |n: u64| DeploymentId::from_entropy(n.into());
    Promotion {
        id: 1,
        model_id: ModelId::from_entropy(MODEL),
        environment: PRODUCTION.into(),
        candidate: id(candidate),
        previous: previous.map(id),
        origin: Origin::Person,
        started_at: Timestamp(1),
        ended_at: None,
        state: State::begin(Timestamp(1), &settings, &seen),
        settings,
        targets: Targets { candidate: Hold { min: 1, max: 1 }, previous: None, candidate_percent: 0 },
        why: String::new(),
        command: None,
        requested_by: None,
        generation: 1,
    }
}
