//! Which of the machine's GPUs a replica has to itself. Its folder says so: whoever lives and has one there keeps it, also while no server
//! runs. All locations on the machine share its GPUs.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    time::{Duration, Instant},
};

use api::{
    id::ReplicaId,
    internal::replica::{Device, Gpus, Phase, Spec, Status, file},
};

use super::{
    Local,
    machine::Gpu,
    replicas::{ids_in, read_json},
};

/// How long to wait for GPUs of replicas that have just ended.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Why a replica cannot have the GPUs that it asks for.
#[derive(Debug, thiserror::Error)]
enum NoGpus {
    #[error(
        "it needs {needed} x {flavor}, and this machine has {there}: let `locations` in the configuration name what there is, and \
             look at the server's log for GPUs that do not answer"
    )]
    Missing { needed: u32, flavor: String, there: usize },
    #[error(
        "it needs {needed} x {flavor}, and of the {there} on this machine {free} are free: all locations on one machine share its GPUs"
    )]
    Taken { needed: u32, flavor: String, there: usize, free: usize },
    #[error("cannot tell which GPUs are free: {0}")]
    Unknown(#[from] io::Error),
}

impl Local {
    /// Says which GPUs a replica has, where it asks for some, and does `then`, after which its folder must tell of them: nobody else
    /// chooses meanwhile. Waits a little for those of replicas that are ending.
    pub(super) async fn with_gpus<T>(
        &self,
        spec: &mut Spec,
        then: impl FnOnce(&Spec) -> io::Result<T>,
    ) -> io::Result<T> {
        if spec.gpus.is_none() {
            return then(spec);
        }
        let since = Instant::now();
        loop {
            let choosing = self.shared.choosing.lock().await;
            match self.choose_gpus(spec) {
                Ok(()) => return then(spec),
                Err(NoGpus::Taken { .. }) if since.elapsed() < PATIENCE => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            drop(choosing);
            // polls for a condition
            tokio::time::sleep(LOOK).await;
        }
    }

    fn choose_gpus(&self, spec: &mut Spec) -> Result<(), NoGpus> {
        let Some(asked) = &mut spec.gpus else { return Ok(()) };
        asked.devices = choose(&self.shared.gpus, &self.gpus_in_use()?, asked)?;
        Ok(())
    }

    /// The ids of those that replicas have. What cannot be read is an error: it may have one.
    fn gpus_in_use(&self) -> io::Result<BTreeSet<String>> {
        let mut in_use = BTreeSet::new();
        for folder in self.replica_folders() {
            for id in none_where_missing(ids_in(&folder))? {
                let has_some = !self.has_ended(&folder, &id) && (self.is_starting(&id) || self.lives_in(&folder, &id));
                if has_some && let Some(spec) = none_where_missing(read_spec(&folder.join(id.as_str())).map(Some))? {
                    in_use.extend(spec.gpus.into_iter().flat_map(|gpus| gpus.devices).map(|device| device.id));
                }
            }
        }
        Ok(in_use)
    }

    /// Whether a replica's model has ended, by its own word; its process may take a little longer.
    fn has_ended(&self, folder: &Path, id: &ReplicaId) -> bool {
        let status: Option<Status> = read_json(&folder.join(id.as_str()).join(file::STATUS));
        status.is_some_and(|status| matches!(status.phase, Phase::Exited(_)))
    }
}

fn read_spec(folder: &Path) -> io::Result<Spec> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join(file::SPEC))?)?)
}

/// What is not there has nothing.
fn none_where_missing<T: Default>(read: io::Result<T>) -> io::Result<T> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        read => read,
    }
}

/// The first that are free, of those that are asked for.
fn choose(all: &[Gpu], in_use: &BTreeSet<String>, asked: &Gpus) -> Result<Vec<Device>, NoGpus> {
    let there = all.iter().filter(|gpu| gpu.flavor.as_str() == asked.flavor).count();
    let is_free = |gpu: &&Gpu| gpu.flavor.as_str() == asked.flavor && !in_use.contains(&gpu.device.id);
    let free: Vec<Device> = all.iter().filter(is_free).map(|gpu| gpu.device.clone()).collect();
    let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
    let (needed, flavor) = (asked.count, asked.flavor.clone());
    match free.len() {
        _ if there < count => Err(NoGpus::Missing { needed, flavor, there }),
        enough if enough >= count => Ok(free.into_iter().take(count).collect()),
        free => Err(NoGpus::Taken { needed, flavor, there, free }),
    }
}

#[cfg(test)]
mod tests {
    use planner::policy::Name;

    use super::*;

    #[track_caller]
    fn check(in_use: &[&str], flavor: &str, count: u32, expected: Result<&[u32], &str>) {
        let gpu = |(number, (id, flavor)): (u32, (&str, &str))| Gpu {
            device: Device { id: id.into(), number },
            flavor: Name::parse("gpu", flavor).expect("a name"),
            memory_mib: None,
        };
        let all: Vec<Gpu> = (0..).zip([("a", "t4"), ("b", "h200"), ("c", "t4"), ("d", "t4")]).map(gpu).collect();
        let in_use = in_use.iter().map(|id| (*id).to_owned()).collect();
        let asked = Gpus { flavor: flavor.into(), count, devices: Vec::new() };
        match (choose(&all, &in_use, &asked), expected) {
            (Ok(chosen), Ok(expected)) => {
                assert_eq!(chosen.iter().map(|device| device.number).collect::<Vec<_>>(), expected);
            }
            (Err(error), Err(expected)) => assert!(error.to_string().starts_with(expected), "{error}"),
            (chosen, expected) => panic!("{chosen:?} is not {expected:?}"),
        }
    }

    #[test]
    fn a_replica_has_gpus_of_its_kind_that_nobody_else_has() {
        check(&[], "t4", 1, Ok(&[0]));
        check(&["a"], "t4", 2, Ok(&[2, 3]));
        check(&["a", "c"], "t4", 2, Err("it needs 2 x t4, and of the 3 on this machine 1 are free"));
        check(&[], "a100", 1, Err("it needs 1 x a100, and this machine has 0"));
    }
}
