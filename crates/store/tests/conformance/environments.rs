//! Environments and what is on stage in them.

use serde_json::json;
use store::{
    Error,
    domain::{Deployment, PRODUCTION},
};

use crate::{fixtures::*, support::Database};

pub async fn a_deleted_environment_is_nobodys_target(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    store.create_environment(&environment(&model, "staging"), None).await.unwrap();
    serve(&store, &model, "staging", &first.id).await;
    let mut push = push(&model, 2);
    push.target_environment = Some("staging".into());
    let aimed = store.add_deployment(&push, None).await.unwrap();
    store.delete_environment(&model.id, "staging", NOW, None).await.unwrap();
    assert_eq!(store.deployment(&aimed.id).await.unwrap().target_environment, None);
    assert!(matches!(store.environment(&model.id, "staging").await, Err(Error::NotFound { .. })));
    assert!(matches!(store.delete_environment(&model.id, "staging", NOW, None).await, Err(Error::NotFound { .. })));
    store.deployment(&first.id).await.unwrap();
}

pub async fn a_deleted_environment_retires_what_no_other_serves(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    for name in ["staging", "canary"] {
        let mut environment = environment(&model, name);
        environment.autoscaling.min_replica = 1;
        store.create_environment(&environment, None).await.unwrap();
        serve(&store, &model, name, &first.id).await;
    }
    let has_been_active = |deployment: &mut Deployment| {
        deployment.lifecycle.first_ready = Some(NOW);
        Ok::<(), Error>(())
    };
    let (served, ()) = store.change_deployment(&first.id, None, has_been_active).await.unwrap();
    store.delete_environment(&model.id, "staging", NOW, None).await.unwrap();
    assert_eq!(store.deployment(&first.id).await.unwrap(), served, "canary serves it");
    store.delete_environment(&model.id, "canary", NOW, None).await.unwrap();
    assert_eq!(store.deployment(&first.id).await.unwrap().autoscaling.min_replica, 0);
}

pub async fn saved_settings_reach_what_is_served(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    serve(&store, &model, PRODUCTION, &first.id).await;
    let before = store.deployment(&first.id).await.unwrap();
    let mut production = store.environment(&model.id, PRODUCTION).await.unwrap();
    production.promotion_settings = json!({"rolling_deploy": true});
    store.save_environment(&mut production, None).await.unwrap();
    assert_eq!(store.deployment(&first.id).await.unwrap(), before, "nothing has changed for it");
    production.autoscaling.max_replica = 7;
    store.save_environment(&mut production, None).await.unwrap();
    let after = store.deployment(&first.id).await.unwrap();
    assert_eq!(after.autoscaling, production.autoscaling);
    assert!(after.generation > before.generation);
}

pub async fn names_are_unique_within_a_model(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let taken = store.create_environment(&environment(&model, PRODUCTION), None).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");
    let nowhere = store.create_environment(&environment(&crate::fixtures::model(9, "no"), "staging"), None).await;
    assert!(matches!(nowhere, Err(Error::NotFound { kind: "model", .. })), "{nowhere:?}");
}

pub async fn a_save_of_an_older_generation_is_refused(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut one = store.environment(&model.id, PRODUCTION).await.unwrap();
    let mut two = one.clone();
    one.autoscaling.max_replica = 7;
    one.promotion_settings = json!({"rolling_deploy": true});
    store.save_environment(&mut one, None).await.unwrap();
    two.autoscaling.max_replica = 8;
    let late = store.save_environment(&mut two, None).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    assert_eq!(store.environment(&model.id, PRODUCTION).await.unwrap(), one);
}
