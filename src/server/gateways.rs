//! Lets the controller steer the gateway, so that neither room knows the other.

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
use gateway::Gateway;

/// The one gateway of this process.
pub struct OwnGateway(pub Gateway);

#[async_trait]
impl controller::Gateways for OwnGateway {
    async fn publish(&self, table: Table) {
        self.0.publish(table);
    }

    fn loads(&self) -> HashMap<DeploymentId, Load> {
        self.0.loads()
    }

    fn measures(&self) -> HashMap<DeploymentId, Measures> {
        self.0.measures()
    }

    fn counted(&self) -> Vec<Counted> {
        self.0.counted()
    }

    fn accesses(&self) -> Accesses {
        self.0.accesses()
    }

    async fn accessed(&self) {
        self.0.accessed().await;
    }

    async fn activity(&self) {
        self.0.activity().await;
    }
}
