//! Which replicas do not have the values that their team's secrets have now, and giving them those. Nothing of it is stored: a server
//! that starts gives each replica its secrets once more, and one that has them takes no harm.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use api::{
    id::{ReplicaId, TeamId},
    internal::replica::Secrets,
};
use futures::FutureExt as _;
use store::{
    Changes, Topic,
    domain::{Replica, SecretValues},
};

use crate::{Error, mirror::View, shared::Shared, template};

/// What replicas have been given.
pub(crate) struct Given {
    changes: Changes,
    hasher: RandomState,
    /// A fingerprint of what each was last given.
    given: HashMap<ReplicaId, u64>,
    /// Those that have what there has been since the secrets last changed.
    up_to_date: HashSet<ReplicaId>,
}

/// A replica and what it is to be given.
pub(crate) struct Due {
    pub replica: ReplicaId,
    pub secrets: Secrets,
    fingerprint: u64,
}

impl Given {
    pub fn new(shared: &Shared) -> Self {
        Self {
            changes: shared.parts.store.changes(&[Topic::Secrets]),
            hasher: RandomState::new(),
            given: HashMap::new(),
            up_to_date: HashSet::new(),
        }
    }

    /// What those of `running` are to be given whose model declares secrets. One that tries a patch has what that declares.
    pub async fn due(&mut self, shared: &Shared, view: &View, running: &[&Replica]) -> Result<Vec<Due>, Error> {
        if self.changes.wait().now_or_never().is_some() {
            self.up_to_date.clear();
        }
        self.given.retain(|id, _| view.replica(id).is_some());
        self.up_to_date.retain(|id| view.replica(id).is_some());
        let mut values: HashMap<TeamId, SecretValues> = HashMap::new();
        let mut due = Vec::new();
        for replica in running {
            let Some(entry) = view.entries.get(&replica.deployment_id) else { continue };
            let is_concerned = !entry.config.secrets.is_empty() && !replica.tries_patch;
            if !is_concerned || self.up_to_date.contains(&replica.id) {
                continue;
            }
            let team = match shared.parts.store.model(&entry.deployment.model_id).await {
                Ok(model) => model.team_id,
                // Deleted in this moment; the next pass sees that.
                Err(store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if !values.contains_key(&team) {
                match shared.parts.store.secret_values(&team).await {
                    Ok(found) => drop(values.insert(team.clone(), found)),
                    // Said at the start of the server, and by each deployment that cannot start; what runs keeps what it has.
                    Err(store::Error::Damaged { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            let secrets = template::secrets(&entry.config, &values[&team]);
            let fingerprint = self.hasher.hash_one(&secrets.0);
            if self.given.get(&replica.id) == Some(&fingerprint) {
                self.up_to_date.insert(replica.id.clone());
            } else {
                due.push(Due { replica: replica.id.clone(), secrets, fingerprint });
            }
        }
        Ok(due)
    }

    /// Notes down that a replica has what was due. If they have changed since, the next pass sees to it.
    pub fn note(&mut self, due: Due) {
        self.given.insert(due.replica.clone(), due.fingerprint);
        self.up_to_date.insert(due.replica);
    }
}
