//! Policies and what they are attached to.

use store::{
    Error, PoliciesOf,
    domain::{PRODUCTION, PolicyUse},
};

use crate::{fixtures::*, support::Database};

pub async fn what_is_attached_reads_back_in_order_and_goes_with_what_it_is_attached_to(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    let (us, fr) = (policy("us", "us"), policy("fr", "fr"));
    for one in [&us, &fr] {
        store.add_policy(one, NOW, Some(&event("POLICY_CREATED"))).await.unwrap();
    }
    let taken = store.add_policy(&us, NOW, None).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");

    store.create_environment(&environment(&model, "staging"), None).await.unwrap();
    let staging = PoliciesOf::Environment(&model.id, "staging");
    let of_deployment = PoliciesOf::Deployment(&deployment.id);
    store.attach_policies(staging, &["us".into(), "fr".into()], None).await.unwrap();
    store.attach_policies(of_deployment, &["fr".into()], None).await.unwrap();
    assert_eq!(store.policies_of(staging).await.unwrap(), ["us", "fr"]);
    assert!(store.policies_of(PoliciesOf::Environment(&model.id, PRODUCTION)).await.unwrap().is_empty());
    let in_use = store.delete_policy("fr", false, None).await;
    assert!(matches!(in_use, Err(Error::InUse { .. })), "{in_use:?}");
    let uses = store.uses_of_policy("fr").await.unwrap();
    assert_eq!(uses[1], PolicyUse::Deployment { deployment_id: deployment.id.clone() });

    let changed = policy("us", "de");
    store.replace_policy(&changed, NOW, None).await.unwrap();
    let listed = store.policies().await.unwrap();
    assert_eq!((&listed[1].policy, listed[0].environments, listed[0].deployments), (&changed, 1, 1));

    store.delete_environment(&model.id, "staging", NOW, None).await.unwrap();
    assert!(store.policies_of(staging).await.unwrap().is_empty());
    store.delete_policy("us", false, None).await.unwrap();
    store.delete_policy("fr", true, None).await.unwrap();
    assert!(store.policies_of(of_deployment).await.unwrap().is_empty());
    assert!(matches!(store.delete_policy("fr", true, None).await, Err(Error::NotFound { .. })));
}
