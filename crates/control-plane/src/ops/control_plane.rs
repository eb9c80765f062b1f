//! The state behind every operation. Its parts are for operations only, so that no handler reaches the store past them.

use std::sync::Arc;

use planner::{Timestamp, time::Clock};
use store::{Blobs, Store};
use tokio_util::sync::CancellationToken;
use uploads::Issuer;

use super::{listening::Seats, policies::Refusals};
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
    stopping: CancellationToken,
    /// One for each who listens.
    seats: Arc<Seats>,
    refusals: Refusals,
}

impl ControlPlane {
    /// Puts the parts together. When `stopping` is cancelled, answers that would go on for ever end.
    pub fn new(
        settings: Settings,
        store: Store,
        blobs: Blobs,
        issuer: Issuer,
        clock: Clock,
        stopping: CancellationToken,
    ) -> Self {
        let seats = Arc::default();
        Self(Arc::new(Inner { settings, store, blobs, issuer, clock, stopping, seats, refusals: Refusals::default() }))
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

    /// Cancelled when the server is told to stop.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// What policies have refused.
    pub fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// The places of those who listen.
    pub(super) fn seats(&self) -> &Arc<Seats> {
        &self.0.seats
    }

    /// The instance type that stands in where nothing says which.
    pub(super) fn default_instance_type(&self) -> &str {
        let types = self.settings().instance_types.types();
        types.first().map_or("", |smallest| smallest.id.as_str())
    }
}
