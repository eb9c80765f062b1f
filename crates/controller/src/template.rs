//! What a deployment's config means for its replicas and for the requests to them. Pure.

use std::num::NonZeroU32;

use api::{
    id::ReplicaId,
    internal::{
        replica::{Gpus, HealthLimits, Limits, Secrets},
        routes::RequestLimits,
    },
    truss_config::TrussConfig,
    v1::backpressure::RequestBackpressurePolicy,
};
use backends::ReplicaTemplate;
use planner::{Timestamp, policy::gpu_flavor};
use secrecy::ExposeSecret;
use store::domain::{Deployment, SecretValues, fold_secret_name};

use crate::{Settings, holds::InForce};

/// Requests that a lone replica may hold beyond those inside `predict`, so that it is never idle between two.
const READ_AHEAD: u32 = 64;

/// What a replica of `deployment` is started with.
pub(crate) fn replica(
    id: ReplicaId,
    deployment: &Deployment,
    config: &TrussConfig,
    environment: Option<&str>,
    ordered_at: Timestamp,
    settings: &Settings,
) -> ReplicaTemplate {
    ReplicaTemplate {
        replica_id: id,
        deployment_id: deployment.id.clone(),
        model_id: deployment.model_id.clone(),
        environment: environment.map(self::environment),
        program: (),
        environment_variables: config
            .allowed_environment_variables()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        predict_concurrency: config.runtime.predict_concurrency.max(1),
        streaming_read_timeout_ms: streaming_read_timeout_ms(config),
        request_timeout_ms: settings.request_timeout_ms(),
        start_timeout_ms: start_timeout_ms(deployment, config),
        drain_delay_ms: settings.drain_delay_ms(),
        max_body_bytes: settings.max_body_bytes,
        limits: limits(deployment, config, settings),
        gpus: gpus(deployment, settings),
        health: health(config),
        sandbox: Default::default(),
        ordered_at_ms: ordered_at.0,
    }
}

/// An environment as its model sees it.
pub(crate) fn environment(name: &str) -> serde_json::Value {
    serde_json::json!({ "name": name })
}

/// The values of the secrets that the config declares, where the team has them. Nothing that is not declared.
pub(crate) fn secrets(config: &TrussConfig, values: &SecretValues) -> Secrets {
    let value = |name: &String| {
        let value = values.get(&fold_secret_name(name))?;
        Some((name.clone(), value.expose_secret().to_owned()))
    };
    Secrets(config.secrets.keys().filter_map(value).collect())
}

/// How many requests a gateway gives one replica at a time. While others could share the work, a request that is not inside
/// `predict` waits at the gateway, where the next free replica finds it; a lone replica reads ahead instead, unless nobody is to
/// wait.
pub(crate) fn slots_per_replica(deployment: &Deployment, in_force: &InForce, config: &TrussConfig) -> u32 {
    let useful = config.runtime.predict_concurrency.max(in_force.settings.concurrency_target).max(1);
    match in_force.most() {
        0 | 1 if waits_when_full(deployment) => useful.saturating_add(READ_AHEAD),
        _ => useful,
    }
}

/// Limits of one request: the config's timeouts, as far as the server lets it take that long. How long a generator may be silent,
/// the replica knows and sees to: other bodies may be.
pub(crate) fn request_limits(deployment: &Deployment, config: &TrussConfig, settings: &Settings) -> RequestLimits {
    // One that cannot be read has been refused when it was pushed.
    let timeouts = config.own().unwrap_or_default().timeouts;
    let most = settings.request_timeout_ms();
    let or_most = |seconds: Option<NonZeroU32>| seconds.map_or(most, |it| (u64::from(it.get()) * 1000).min(most));
    RequestLimits {
        queue_ms: or_most(timeouts.queue_seconds),
        first_byte_ms: or_most(timeouts.first_byte_seconds),
        idle_ms: or_most(timeouts.idle_seconds),
        max_body_bytes: settings.max_body_bytes,
        max_queued: settings.max_queued,
        max_queued_bytes: settings.max_queued_bytes,
        waits_when_full: waits_when_full(deployment),
    }
}

fn waits_when_full(deployment: &Deployment) -> bool {
    deployment.backpressure != Some(RequestBackpressurePolicy::RejectOnFull)
}

fn streaming_read_timeout_ms(config: &TrussConfig) -> u64 {
    u64::from(config.runtime.streaming_read_timeout.max(1)) * 1000
}

/// The config's thresholds, or the contract's.
fn health(config: &TrussConfig) -> HealthLimits {
    let checks = &config.runtime.health_checks;
    let or = |seconds: Option<u32>, otherwise: u64| seconds.map_or(otherwise, |seconds| u64::from(seconds) * 1000);
    let otherwise = HealthLimits::default();
    HealthLimits {
        interval_ms: otherwise.interval_ms,
        stop_traffic_ms: or(checks.stop_traffic_threshold_seconds, otherwise.stop_traffic_ms),
        restart_ms: or(checks.restart_threshold_seconds, otherwise.restart_ms),
        restart_delay_ms: or(checks.restart_check_delay_seconds, otherwise.restart_delay_ms),
    }
}

/// A config may give up earlier than its deployment does, not later.
fn start_timeout_ms(deployment: &Deployment, config: &TrussConfig) -> u64 {
    let threshold = config.runtime.health_checks.startup_threshold_seconds.map(|seconds| u64::from(seconds) * 1000);
    threshold.map_or(deployment.deploy_timeout_ms, |threshold| threshold.min(deployment.deploy_timeout_ms))
}

fn limits(deployment: &Deployment, config: &TrussConfig, settings: &Settings) -> Limits {
    let (memory_bytes, millicpu) = match settings.instance_types.get(&deployment.instance_type) {
        Some(kind) => (kind.memory_mib << 20, kind.millicpu),
        None => (config.resources.memory.bytes(), config.resources.cpu.millicpu()),
    };
    Limits { memory_bytes: Some(memory_bytes), millicpu: Some(millicpu), open_files: settings.open_files }
}

/// The GPUs of its instance type.
fn gpus(deployment: &Deployment, settings: &Settings) -> Option<Gpus> {
    let kind = settings.instance_types.get(&deployment.instance_type)?;
    let flavor = gpu_flavor(kind.gpu_type.as_deref()?)?;
    Some(Gpus { flavor: flavor.to_string(), count: kind.gpu_count, devices: Vec::new() })
}

#[cfg(test)]
mod tests {
    use store::domain::DeploymentKind;

    use super::*;
    use crate::{fixtures::deployment, holds::Holds};

    #[test]
    fn a_body_may_be_silent_for_as_long_as_a_request_may_take() {
        let settings = Settings::new("work");
        let deployment = deployment(1, DeploymentKind::Published, None);
        let limits = request_limits(&deployment, &TrussConfig::default(), &settings);
        assert_eq!(limits.idle_ms, settings.request_timeout_ms());
    }

    #[test]
    fn a_config_shortens_what_the_server_lets_requests_take_and_never_lengthens_it() {
        let settings = Settings { request_timeout: std::time::Duration::from_secs(60), ..Settings::new("work") };
        let timeouts = serde_json::json!({ "queue_seconds": 5, "first_byte_seconds": 90 });
        let config = serde_json::json!({ "model_metadata": { "greenroom": { "timeouts": timeouts } } });
        let config = api::truss_config::from_value(config).unwrap();
        let limits = request_limits(&deployment(1, DeploymentKind::Published, None), &config, &settings);
        assert_eq!((limits.queue_ms, limits.first_byte_ms, limits.idle_ms), (5_000, 60_000, 60_000));
    }

    #[test]
    fn a_lone_replica_reads_ahead_unless_nobody_is_to_wait() {
        let mut deployment = deployment(1, DeploymentKind::Published, None);
        let slots = |deployment: &Deployment| {
            slots_per_replica(deployment, &Holds::new(&[], &[]).of(deployment), &TrussConfig::default())
        };
        assert_eq!(slots(&deployment), 1 + READ_AHEAD);
        deployment.backpressure = Some(RequestBackpressurePolicy::RejectOnFull);
        assert_eq!(
            (
                slots(&deployment),
                request_limits(&deployment, &TrussConfig::default(), &Settings::new("work")).waits_when_full
            ),
            (1, false)
        );
    }
}
