//! What has changed since a moment.

use api::internal::{
    replica::{Phase, StartTimes, Status},
    tokens::Metered,
};
use store::{Candidate, Delta, PoliciesOf, Rows, Store, domain::PRODUCTION};

use crate::{fixtures::*, support::Database};

/// A copy that follows the store by what has changed.
struct Copy(Delta);

impl Copy {
    async fn follow(&mut self, store: &Store) {
        fn merge<K: Ord, T>(rows: &mut Rows<K, T>, changed: Rows<K, T>) {
            for (key, row) in changed {
                match row {
                    Some(row) => drop(rows.insert(key, Some(row))),
                    None => drop(rows.remove(&key)),
                }
            }
        }
        let delta = store.changed_since(self.0.moment).await.unwrap();
        self.0.moment = delta.moment;
        merge(&mut self.0.models, delta.models);
        merge(&mut self.0.deployments, delta.deployments);
        merge(&mut self.0.environments, delta.environments);
        merge(&mut self.0.promotions, delta.promotions);
        merge(&mut self.0.replicas, delta.replicas);
        merge(&mut self.0.keys, delta.keys);
        merge(&mut self.0.users, delta.users);
        merge(&mut self.0.policies, delta.policies);
        merge(&mut self.0.attached, delta.attached);
    }
}

pub async fn a_copy_that_follows_has_everything_there_is(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    let mut copy = Copy(store.everything().await.unwrap());
    let check = async |copy: &mut Copy| {
        copy.follow(&store).await;
        assert_eq!(copy.0, store.everything().await.unwrap());
    };
    let (model, deployment) = with_model(&store).await;
    check(&mut copy).await;
    store.create_environment(&environment(&model, "staging"), None).await.unwrap();
    let replica = replica(1, &deployment);
    store.add_replica(&replica).await.unwrap();
    let ready = Status { sequence: 1, phase: Phase::Ready, in_flight: 0, start: StartTimes::default(), pid: 1 };
    store.see_replica(&replica.id, &ready, NOW).await.unwrap();
    check(&mut copy).await;
    let new = promotion(&model, PRODUCTION, Candidate::Existing(deployment.id.clone()), None);
    store.begin_promotion(&new, None).await.unwrap();
    check(&mut copy).await;
    assert_eq!((copy.0.promotions.len(), copy.0.replicas.len(), copy.0.environments.len()), (1, 1, 2));
    for name in ["one", "two", "three"] {
        store.add_policy(&policy(name, "us"), NOW, None).await.unwrap();
    }
    let (staging, own) = (PoliciesOf::Environment(&model.id, "staging"), PoliciesOf::Deployment(&deployment.id));
    store.attach_policies(staging, &["two".into(), "one".into()], None).await.unwrap();
    store.attach_policies(own, &["three".into()], None).await.unwrap();
    check(&mut copy).await;
    let of_staging = &copy.0.attached[&Metered::Environment(model.id.clone(), "staging".into())];
    assert_eq!(of_staging.as_deref(), Some(&["two".to_owned(), "one".to_owned()][..]));
    store.replace_policy(&policy("one", "fr"), NOW, None).await.unwrap();
    store.delete_policy("two", true, None).await.unwrap();
    check(&mut copy).await;
    assert_eq!((copy.0.policies.len(), copy.0.attached.len()), (2, 2));

    store.delete_environment(&model.id, "staging", NOW, None).await.unwrap();
    store.delete_model(&model.id, None).await.unwrap();
    store.delete_replica(&replica.id).await.unwrap();
    store.revoke_key("adminkey", None).await.unwrap();
    for name in ["one", "three"] {
        store.delete_policy(name, false, None).await.expect("it is attached to nothing any more");
    }
    check(&mut copy).await;
    // Somebody administers the organization always.
    let users = [(user(), Some(person(1, true)))].into();
    assert_eq!(copy.0, Delta { moment: copy.0.moment, users, ..Delta::default() });

    store.forget_changes(copy.0.moment).await.unwrap();
    with_model(&store).await;
    copy.follow(&store).await;
    assert_eq!(copy.0.models.len(), 1, "what comes after the forgotten is seen");
}

pub async fn policies_and_what_they_are_attached_to_are_followed(database: Database) {
    let store = database.open().await;
    let mut copy = Copy(store.everything().await.unwrap());
    let (model, deployment) = with_model(&store).await;
    let check = async |copy: &mut Copy, policies: usize, environments: usize, deployments: usize| {
        copy.follow(&store).await;
        assert_eq!(copy.0, store.everything().await.unwrap());
        let delta = &copy.0;
        let of_environments = delta.attached.keys().filter(|of| matches!(of, Metered::Environment(..))).count();
        let counts = (delta.policies.len(), of_environments, delta.attached.len() - of_environments);
        assert_eq!(counts, (policies, environments, deployments));
    };
    for name in ["us", "fr"] {
        store.add_policy(&policy(name, name), NOW, None).await.unwrap();
    }
    let production = PoliciesOf::Environment(&model.id, PRODUCTION);
    store.attach_policies(production, &["us".into(), "fr".into()], None).await.unwrap();
    store.attach_policies(PoliciesOf::Deployment(&deployment.id), &["fr".into()], None).await.unwrap();
    check(&mut copy, 2, 1, 1).await;
    store.attach_policies(production, &["fr".into()], None).await.unwrap();
    store.replace_policy(&policy("us", "de"), NOW, None).await.unwrap();
    check(&mut copy, 2, 1, 1).await;
    store.delete_policy("fr", true, None).await.unwrap();
    check(&mut copy, 1, 0, 0).await;
    store.attach_policies(PoliciesOf::Deployment(&deployment.id), &["us".into()], None).await.unwrap();
    check(&mut copy, 1, 0, 1).await;
    store.delete_model(&model.id, None).await.unwrap();
    check(&mut copy, 1, 0, 0).await;
}

pub async fn nothing_is_missed_while_many_write(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut copy = Copy(store.everything().await.unwrap());
    let writers: Vec<_> = (0..8_u128)
        .map(|writer| {
            let (store, model) = (store.clone(), model.clone());
            tokio::spawn(async move {
                for n in 0..10 {
                    store.add_deployment(&push(&model, 1_000 * (writer + 1) + n), None).await.unwrap();
                }
            })
        })
        .collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        copy.follow(&store).await;
    }
    copy.follow(&store).await;
    assert_eq!(copy.0, store.everything().await.unwrap());
    assert_eq!(copy.0.deployments.len(), 81);
}

pub async fn how_far_a_log_is_read_is_no_change(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let replica = replica(1, &deployment);
    store.add_replica(&replica).await.unwrap();
    let before = store.everything().await.unwrap().moment;
    store.append_replica_log(&replica.id, 0, 10, &[]).await.unwrap();
    assert_eq!(store.changed_since(before).await.unwrap(), Delta { moment: before, ..Delta::default() });
    assert_eq!(store.log_cursor(&replica.id).await.unwrap(), Some(10));
}
