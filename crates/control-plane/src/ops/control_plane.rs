//! The state behind every operation. Its parts are for operations only, so that no handler reaches the store past them.

use std::sync::Arc;

use planner::{Timestamp, time::Clock};
use store::{Blobs, Store};
use uploads::Issuer;

use crate::Settings;

/// The control plane. A cheap handle.
#[derive(Clone)]
pub struct ControlPlane(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    blobs: Blobs,
    issuer: Issuer,
    clock: Clock,
}

impl ControlPlane {
    /// Puts the parts together.
    pub fn new(settings: Settings, store: Store, blobs: Blobs, issuer: Issuer, clock: Clock) -> Self {
        Self(Arc::new(Inner { settings, store, blobs, issuer, clock }))
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Whether the store answers.
    pub async fn is_ready(&self) -> bool {
        self.store().ping().await.is_ok()
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// The instance type that stands in where nothing says which.
    pub(super) fn default_instance_type(&self) -> &str {
        let types = &self.settings().instance_types;
        types.first().map_or("", |smallest| smallest.id.as_str())
    }
}
