//! Which of the machine's GPUs a replica has to itself. Its folder says so: whoever lives and has one there keeps it, also while no server
//! runs. All locations on the machine share its GPUs.

use std::{collections::BTreeSet, io};

use api::internal::replica::{Gpus, Spec, file};

use super::{
    Local,
    machine::Gpu,
    replicas::{ids_in, read_json},
};

impl Local {
    /// Says which GPUs a replica has; nothing for one that asks for none. Until its folder tells of them, no other may choose.
    pub(super) fn choose_gpus(&self, spec: &mut Spec) -> io::Result<()> {
        let Some(asked) = &mut spec.gpus else { return Ok(()) };
        asked.devices = choose(&self.shared.gpus, &self.gpus_in_use(), asked)?;
        Ok(())
    }

    fn gpus_in_use(&self) -> BTreeSet<String> {
        let folders = self.replica_folders();
        let held = folders.into_iter().flat_map(|folder| {
            let ids = ids_in(&folder).unwrap_or_default().into_iter();
            let held = ids.filter_map(move |id| {
                let spec: Spec = read_json(&folder.join(id.as_str()).join(file::SPEC))?;
                let devices = spec.gpus?.devices;
                (self.is_starting(&id) || self.lives_in(&folder, &id)).then_some(devices)
            });
            held.collect::<Vec<_>>()
        });
        held.flatten().collect()
    }
}

/// The first that are free, of those that are asked for.
fn choose(all: &[Gpu], in_use: &BTreeSet<String>, asked: &Gpus) -> io::Result<Vec<String>> {
    let kind = || all.iter().filter(|gpu| gpu.flavor.as_str() == asked.flavor);
    let free: Vec<&Gpu> = kind().filter(|gpu| !in_use.contains(&gpu.id)).collect();
    let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
    if free.len() < count {
        return Err(io::Error::other(format!(
            "it needs {count} x {}, and of the {} on this machine {} are free: let `locations` in the configuration name no more \
             than there are, and start again where some were added",
            asked.flavor,
            kind().count(),
            free.len()
        )));
    }
    Ok(free.into_iter().take(count).map(|gpu| gpu.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use planner::policy::Name;

    use super::*;

    #[track_caller]
    fn check(in_use: &[&str], flavor: &str, count: u32, expected: Result<&[&str], &str>) {
        let gpu = |(id, flavor): (&str, &str)| Gpu {
            id: id.into(),
            flavor: Name::parse("gpu", flavor).expect("a name"),
            memory_mib: None,
        };
        let all = [("a", "t4"), ("b", "h200"), ("c", "t4"), ("d", "t4")].map(gpu);
        let in_use = in_use.iter().map(|id| (*id).to_owned()).collect();
        let asked = Gpus { flavor: flavor.into(), count, devices: Vec::new() };
        match (choose(&all, &in_use, &asked), expected) {
            (Ok(chosen), Ok(expected)) => assert_eq!(chosen, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().starts_with(expected), "{error}"),
            (chosen, expected) => panic!("{chosen:?} is not {expected:?}"),
        }
    }

    #[test]
    fn a_replica_has_gpus_of_its_kind_that_nobody_else_has() {
        check(&[], "t4", 1, Ok(&["a"]));
        check(&["a"], "t4", 2, Ok(&["c", "d"]));
        check(&["a", "c"], "t4", 2, Err("it needs 2 x t4, and of the 3 on this machine 1 are free"));
        check(&[], "a100", 1, Err("it needs 1 x a100, and of the 0 on this machine 0 are free"));
    }
}
