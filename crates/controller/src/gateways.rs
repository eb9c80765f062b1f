//! What the controller needs of the gateways. Implemented where both rooms are known, so that neither knows the other.

use std::collections::HashMap;

use api::{
    id::DeploymentId,
    internal::{
        access::Accesses,
        measures::Measures,
        routes::{Load, Table},
        tokens::Counted,
    },
};
use async_trait::async_trait;

/// All gateways together, however many there are.
#[async_trait]
pub trait Gateways: Send + Sync + 'static {
    /// Replaces the routes of every gateway. When this returns, no new request goes to a replica that `table` does not list.
    async fn publish(&self, table: Table);

    /// What all gateways together have on their hands, by deployment. A deployment that is not listed has nothing.
    fn loads(&self) -> HashMap<DeploymentId, Load>;

    /// What all gateways together have counted since they began, by deployment. A deployment that is not listed has had nothing.
    fn measures(&self) -> HashMap<DeploymentId, Measures>;

    /// How many tokens each gateway has counted where policies limit them, in the newest window of each limit.
    fn counted(&self) -> Vec<Counted>;

    /// What all gateways together have to write down of single requests since the last time.
    fn accesses(&self) -> Accesses;

    /// Completes when there is something to write down.
    async fn accessed(&self);

    /// Completes when somebody asks for a deployment that has no replica, since the last time this completed.
    async fn activity(&self);
}
