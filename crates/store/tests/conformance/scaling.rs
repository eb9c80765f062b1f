//! Decisions about numbers of replicas.

use planner::{Timestamp, autoscale};
use store::domain::ScalingDecision;

use crate::{fixtures::*, support::Database};

pub async fn the_newest_decisions_are_kept_until_their_deployment_goes(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let deployment_id = deployment.id;
    let decision = |n: u32| ScalingDecision {
        deployment_id: deployment_id.clone(),
        at: Timestamp(u64::from(n)),
        replicas: n,
        why: autoscale::Why::LoadAboveTarget,
        inputs: autoscale::Inputs { average_milli: 12_500, asked: n, ..autoscale::Inputs::default() },
    };
    for n in 0..210 {
        store.add_scaling_decision(&decision(n)).await.unwrap();
    }
    assert_eq!(store.scaling_decisions(&deployment_id, 2).await.unwrap(), [decision(209), decision(208)]);
    assert_eq!(store.scaling_decisions(&deployment_id, 1_000).await.unwrap().len(), 200);
    store.delete_deployment(&deployment_id, None).await.unwrap();
    assert_eq!(store.scaling_decisions(&deployment_id, 1_000).await.unwrap(), []);
}
