//! Translates the configuration into what each room is told.

use std::sync::Arc;

use backends::local;
use planner::time::Clock;
use store::{Bucket, Location};

use super::places::Places;
use crate::{
    config::{self, BlobStore},
    failure::{Failure, Kind, Result, while_doing},
};

/// Where archives are kept.
pub fn location(settings: &config::Server) -> Location {
    match &settings.blobs {
        BlobStore::Folder => Location::Folder(settings.data_dir.join("blobs")),
        BlobStore::S3 { bucket, region, endpoint, access_key_id, secret_access_key } => Location::S3(Bucket {
            endpoint: endpoint.clone(),
            region: region.clone(),
            name: bucket.clone(),
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.as_str().into(),
        }),
    }
}

/// How the gateway treats its connections.
pub fn gateway(settings: &config::Server) -> gateway::Settings {
    gateway::Settings {
        drain_limit: settings.shutdown_grace,
        sticky_header: settings.sticky_header.clone(),
        access_log: settings.access_log,
        ..Default::default()
    }
}

/// How the management API behaves.
pub fn management(settings: &config::Server, places: &Places) -> Result<control_plane::Settings> {
    let mut management = control_plane::Settings::new(settings.public_url.as_deref(), places.instance_types());
    management.archive_limits = archive_limits(settings);
    management.capacity = settings.capacity.clone();
    management.location_capacities = places.capacities();
    management.min_ready = settings.min_ready;
    management.measure_interval = settings.metrics_interval;
    management.prices = settings.prices.clone();
    management.inventory = places.inventory();
    management.sign_in.lifetime = settings.sign_in_lifetime;
    if let Some(config::Oidc { provider, name, domains }) = &settings.oidc {
        let provider = oidc::Provider::new(provider.clone()).map_err(|error| {
            Failure::new(Kind::Usage, format!("`oidc.issuer` in the configuration: {error}"))
                .hint("write it as the provider's ID tokens have it, such as https://login.example.com")
        })?;
        management.sign_in.provider = Some((Arc::new(provider), name.clone()));
        management.sign_in.domains = domains.clone();
    }
    Ok(management)
}

fn archive_limits(settings: &config::Server) -> archive::Limits {
    archive::Limits {
        total_bytes: settings.max_archive_unpacked,
        file_bytes: settings.max_archive_unpacked,
        entries: settings.max_archive_entries,
        ..Default::default()
    }
}

/// How the local backend builds and runs.
pub fn backend(settings: &config::Server, clock: Clock) -> Result<local::Settings> {
    let program = std::env::current_exe().map_err(while_doing("cannot find this program"))?;
    let replica = program.with_file_name("greenroom-replica");
    if !replica.is_file() {
        return Err(Failure::new(Kind::Failed, format!("{} is missing", replica.display()))
            .hint("greenroom-replica belongs beside greenroom; `make build` makes both"));
    }
    let mut local = local::Settings::new(settings.data_dir.join("local"), replica, clock, config::variables());
    local.hidden.push(settings.data_dir.clone());
    local.hidden.extend(settings.secrets.files().cloned());
    local.python = settings.python;
    local.uv = settings.uv.clone();
    local.standby = settings.standby;
    local.archive_limits = archive_limits(settings);
    if let Some(cache) = &settings.cache {
        local.cache = cache.clone();
    }
    Ok(local)
}

/// How the controller keeps things going.
pub fn controller(settings: &config::Server, places: &Places) -> Result<controller::Settings> {
    let work_dir = settings.data_dir.join("tmp");
    std::fs::create_dir_all(&work_dir).map_err(while_doing(format!("cannot make {}", work_dir.display())))?;
    let mut controller = controller::Settings::new(work_dir);
    controller.builds_at_once = settings.concurrent_builds;
    controller.max_body_bytes = settings.max_body;
    controller.request_timeout = settings.request_timeout;
    controller.drain_delay = settings.drain_delay;
    controller.max_queued = settings.max_queued;
    controller.max_queued_bytes = settings.max_queued_bytes;
    controller.log_retention = settings.log_retention;
    controller.log_max_bytes = settings.log_max_bytes;
    controller.measure_retention = settings.metrics_retention;
    controller.measure_interval = settings.metrics_interval;
    controller.shutdown_limit = settings.shutdown_grace;
    controller.instance_types = places.instance_types();
    controller.capacity = settings.capacity.clone();
    controller.enforcement = settings.enforcement;
    controller.min_ready = settings.min_ready;
    Ok(controller)
}
