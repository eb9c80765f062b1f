//! What is stored, in memory: every pass looks at one moment of all of it, and bringing it up to date costs what has changed.
//! Collections are shared between moments; one that has not changed is the same one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::tokens::Metered,
    truss_config::{self, TrussConfig},
};
use planner::{
    policy::Policy,
    reload::{self, Reload},
};
use store::{
    Delta, Rows, Store,
    domain::{ApiKey, Deployment, Environment, Model, Promotion, Replica, User},
};
use tokio::sync::Mutex;

use crate::Error;

/// Replicas of each deployment, oldest first; those of deleted deployments are among them.
pub(crate) type Replicas = HashMap<DeploymentId, Arc<Vec<Replica>>>;
/// Every deployment by id.
pub(crate) type Entries = BTreeMap<DeploymentId, Arc<Entry>>;

/// Every policy by name.
pub(crate) type Policies = BTreeMap<String, Policy>;

/// One deployment, as last read.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub deployment: Deployment,
    pub config: Arc<TrussConfig>,
}

impl Entry {
    /// The same deployment as it will be when what is staged has taken over; none while nothing is.
    pub fn staged(&self) -> Option<Entry> {
        let pending = self.deployment.patches.as_ref()?.pending.as_ref()?;
        let mut deployment = self.deployment.clone();
        deployment.take_over(pending);
        if let Reload::Starting { since, artifact } = &pending.reload {
            (deployment.lifecycle, _) = reload::taken_over(deployment.lifecycle, *since, artifact.clone());
        }
        Some(Entry { config: Arc::new(parse(&deployment)), deployment })
    }
}

/// All that is stored of what tasks decide on, in one moment. Cheap to clone.
///
/// How far a replica's log has been read is not part of it: [`Replica::log_cursor`] is as old as the row.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub models: Arc<Vec<Model>>,
    pub entries: Arc<Entries>,
    /// By model, oldest first.
    pub environments: Arc<Vec<Environment>>,
    /// Those under way, in the order of their beginnings.
    pub promotions: Arc<Vec<Promotion>>,
    pub replicas: Arc<Replicas>,
    pub keys: Arc<Vec<ApiKey>>,
    pub users: Arc<Vec<User>>,
    pub policies: Arc<Policies>,
    /// The names of the policies of environments and deployments.
    pub attached: Arc<BTreeMap<Metered, Arc<[String]>>>,
    /// Whose each replica is.
    owners: Arc<HashMap<ReplicaId, DeploymentId>>,
}

impl View {
    /// The replicas of one deployment.
    pub fn replicas_of(&self, id: &DeploymentId) -> &[Replica] {
        self.replicas.get(id).map_or(&[][..], |replicas| replicas.as_slice())
    }

    /// Every replica.
    pub fn all_replicas(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.values().flat_map(|replicas| replicas.iter())
    }

    /// The replica of this id.
    pub fn replica(&self, id: &ReplicaId) -> Option<&Replica> {
        self.replicas.get(self.owners.get(id)?)?.iter().find(|replica| replica.id == *id)
    }

    fn take(&mut self, delta: Delta) {
        merge(&mut self.models, delta.models, |model| model.id.clone(), |model| model.id.clone());
        merge(
            &mut self.environments,
            delta.environments,
            |environment| (environment.model_id.clone(), environment.name.clone()),
            |environment| (environment.model_id.clone(), environment.created_at, environment.name.clone()),
        );
        merge(&mut self.promotions, delta.promotions, |promotion| promotion.id, |promotion| promotion.id);
        merge(&mut self.keys, delta.keys, |key| key.prefix.clone(), |key| key.prefix.clone());
        merge(&mut self.users, delta.users, |user| user.id.clone(), |user| user.id.clone());
        replace(&mut self.policies, delta.policies);
        let attached = delta.attached.into_iter().map(|(of, names)| (of, names.map(Into::into)));
        replace(&mut self.attached, attached.collect());
        self.take_deployments(delta.deployments);
        self.take_replicas(delta.replicas);
    }

    fn take_deployments(&mut self, changed: Rows<DeploymentId, Deployment>) {
        if changed.is_empty() {
            return;
        }
        let entries = Arc::make_mut(&mut self.entries);
        for (id, row) in changed {
            match row {
                Some(deployment) => {
                    let entry = enter(deployment, entries.get(&id));
                    entries.insert(id, Arc::new(entry));
                }
                None => drop(entries.remove(&id)),
            }
        }
    }

    fn take_replicas(&mut self, changed: Rows<ReplicaId, Replica>) {
        if changed.is_empty() {
            return;
        }
        let (replicas, owners) = (Arc::make_mut(&mut self.replicas), Arc::make_mut(&mut self.owners));
        for (id, row) in changed {
            let owner = match &row {
                Some(replica) => Some(replica.deployment_id.clone()),
                None => owners.get(&id).cloned(),
            };
            let Some(owner) = owner else { continue };
            let of_owner = Arc::make_mut(replicas.entry(owner.clone()).or_default());
            of_owner.retain(|replica| replica.id != id);
            match row {
                Some(replica) => {
                    let age = |replica: &Replica| (replica.created_at, replica.id.clone());
                    let at = of_owner.partition_point(|other| age(other) < age(&replica));
                    of_owner.insert(at, replica);
                    owners.insert(id, owner);
                }
                None => {
                    let is_last = of_owner.is_empty();
                    owners.remove(&id);
                    if is_last {
                        replicas.remove(&owner);
                    }
                }
            }
        }
    }
}

/// Takes changed rows over into a list that is sorted by `rank`.
fn merge<K: Ord, T: Clone, R: Ord>(
    list: &mut Arc<Vec<T>>,
    changed: Rows<K, T>,
    key: impl Fn(&T) -> K,
    rank: impl Fn(&T) -> R,
) {
    if changed.is_empty() {
        return;
    }
    let list = Arc::make_mut(list);
    list.retain(|row| !changed.contains_key(&key(row)));
    list.extend(changed.into_values().flatten());
    list.sort_by_cached_key(rank);
}

/// Takes changed rows over into those that stand under their keys.
fn replace<K: Ord + Clone, T: Clone>(rows: &mut Arc<BTreeMap<K, T>>, changed: Rows<K, T>) {
    if changed.is_empty() {
        return;
    }
    let rows = Arc::make_mut(rows);
    for (key, row) in changed {
        match row {
            Some(row) => drop(rows.insert(key, row)),
            None => drop(rows.remove(&key)),
        }
    }
}

fn enter(deployment: Deployment, before: Option<&Arc<Entry>>) -> Entry {
    let same_config = before.filter(|before| before.deployment.config == deployment.config);
    let config = same_config.map_or_else(|| Arc::new(parse(&deployment)), |before| before.config.clone());
    Entry { deployment, config }
}

/// Configs are checked when they are pushed. One that a later version of this program does not read any more keeps running with
/// the defaults, which is told once.
fn parse(deployment: &Deployment) -> TrussConfig {
    truss_config::from_value(deployment.config.clone()).unwrap_or_else(|error| {
        tracing::error!(deployment.id = %deployment.id, %error, "cannot read a stored config; using the defaults");
        TrussConfig::default()
    })
}

/// Follows the store.
pub(crate) struct Mirror {
    store: Store,
    /// None until it is first read: then all there is.
    latest: Mutex<Option<(u64, View)>>,
}

impl Mirror {
    pub fn new(store: Store) -> Self {
        Self { store, latest: Mutex::default() }
    }

    /// All that is stored now.
    pub async fn look(&self) -> Result<View, Error> {
        let mut latest = self.latest.lock().await;
        let (delta, mut view) = match &*latest {
            Some((moment, view)) => (self.store.changed_since(*moment).await?, view.clone()),
            None => (self.store.everything().await?, View::default()),
        };
        // Collections that are about to change must not be shared with what they were, where nobody else looks at that.
        *latest = None;
        let moment = delta.moment;
        view.take(delta);
        *latest = Some((moment, view.clone()));
        Ok(view)
    }

    /// Begins anew: while another server led, changes that were not read may have been forgotten.
    pub async fn forget(&self) {
        *self.latest.lock().await = None;
    }

    /// Lets the store forget the changes that have been read.
    pub async fn prune(&self) -> Result<(), Error> {
        let moment = self.latest.lock().await.as_ref().map(|(moment, _)| *moment);
        match moment {
            Some(moment) => Ok(self.store.forget_changes(moment).await?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use planner::Timestamp;
    use store::domain::DeploymentKind;

    use super::*;
    use crate::fixtures::{self, deployment, production};

    fn replica(n: u128, of: u128, created_at: u64) -> Replica {
        Replica { created_at: Timestamp(created_at), ..fixtures::replica(n, of) }
    }

    fn replicas(rows: &[(u128, Option<Replica>)]) -> Delta {
        let rows = rows.iter().map(|(n, row)| (ReplicaId::from_entropy(*n), row.clone()));
        Delta { replicas: rows.collect(), ..Delta::default() }
    }

    #[test]
    fn replicas_stand_under_their_deployment_oldest_first_until_they_are_gone() {
        let mut view = View::default();
        view.take(replicas(&[(1, Some(replica(1, 7, 20))), (2, Some(replica(2, 7, 10))), (3, Some(replica(3, 8, 5)))]));
        let ids = |view: &View, of: u128| -> Vec<ReplicaId> {
            view.replicas_of(&DeploymentId::from_entropy(of)).iter().map(|replica| replica.id.clone()).collect()
        };
        let id = ReplicaId::from_entropy;
        assert_eq!((ids(&view, 7), ids(&view, 8)), (vec![id(2), id(1)], vec![id(3)]));
        assert_eq!(view.replica(&id(3)).map(|replica| replica.created_at), Some(Timestamp(5)));
        let before = view.clone();
        view.take(replicas(&[(2, None), (3, None), (4, None)]));
        assert_eq!((ids(&view, 7), ids(&view, 8), view.replica(&id(3))), (vec![id(1)], vec![], None));
        assert_eq!(ids(&before, 8), [id(3)], "an earlier moment stays as it was");
    }

    #[test]
    fn what_has_not_changed_is_the_same_as_before() {
        let mut view = View::default();
        let entry = |n: u64| deployment(n, DeploymentKind::Published, None);
        let rows = |numbers: &[u64]| Delta {
            deployments: numbers.iter().map(|n| (entry(*n).id, Some(entry(*n)))).collect(),
            ..Delta::default()
        };
        view.take(rows(&[1, 2]));
        let before = view.clone();
        view.take(rows(&[2]));
        let same = |n: u64| Arc::ptr_eq(&before.entries[&entry(n).id], &view.entries[&entry(n).id]);
        assert_eq!((same(1), same(2)), (true, false));
        assert!(Arc::ptr_eq(&before.environments, &view.environments));
    }

    #[test]
    fn environments_come_by_model_and_age() {
        let mut view = View::default();
        let environment = |name: &str, created_at: u64| Environment {
            name: name.into(),
            created_at: Timestamp(created_at),
            ..production(None)
        };
        let rows = |changed: &[(&str, Option<u64>)]| Delta {
            environments: changed
                .iter()
                .map(|(name, at)| ((production(None).model_id, (*name).to_owned()), at.map(|at| environment(name, at))))
                .collect(),
            ..Delta::default()
        };
        let names = |view: &View| view.environments.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        view.take(rows(&[("a", Some(3)), ("b", Some(1)), ("c", Some(2))]));
        assert_eq!(names(&view), ["b", "c", "a"]);
        view.take(rows(&[("c", None), ("d", Some(2))]));
        assert_eq!(names(&view), ["b", "d", "a"]);
    }
}
