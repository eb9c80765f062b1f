//! The handle that the rest of the server holds: routes go in, load comes out.

use std::{collections::HashMap, sync::Arc};

use api::{
    id::DeploymentId,
    internal::routes::{Load, Table},
};
use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::Settings;

/// One gateway. Cheap to clone; all clones are the same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    settings: Settings,
    table: ArcSwapOption<Table>,
    demand: Arc<Notify>,
}

impl Gateway {
    /// A gateway without routes: until the first [`Gateway::publish`] it answers 503 to every request for a model.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner { settings, table: ArcSwapOption::empty(), demand: Arc::default() }))
    }

    /// How its connections are treated.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Replaces all routes at once. When this returns, no new request is bound to a replica that `table` does not list;
    /// requests already on such a replica finish there. Unchanged deployments and replicas keep their counters and connections.
    pub fn publish(&self, table: Table) {
        self.0.table.store(Some(Arc::new(table)));
    }

    /// The version of the routes in use, none before the first publication.
    pub fn version(&self) -> Option<u64> {
        self.0.table.load().as_ref().map(|table| table.version)
    }

    /// What is on its hands for each deployment it has routes for.
    pub fn loads(&self) -> HashMap<DeploymentId, Load> {
        let table = self.0.table.load();
        table.iter().flat_map(|table| table.deployments.keys()).map(|id| (id.clone(), Load::default())).collect()
    }

    /// Completes when somebody asks for a deployment that has no replica, by a request or by a wake call, since the last time
    /// this completed. For one listener: a demand wakes one of several.
    pub async fn activity(&self) {
        self.0.demand.notified().await;
    }
}
