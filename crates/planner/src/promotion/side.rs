//! What a promotion sees of a deployment, from its facts.

use super::Side;
use crate::{
    lifecycle::{Build, Lifecycle, Observed, Run, Wanted},
    replica_set,
};

/// Failed starts in a row, without a ready replica, after which a side counts as broken.
const PATIENCE: u32 = 3;

impl<'a> Side<'a> {
    /// A deployment, seen as a side of a promotion. `target` is how many replicas should run, as last decided.
    pub fn of(lifecycle: &'a Lifecycle, observed: &Observed, target: u32, starts: &'a replica_set::Memory) -> Self {
        Self {
            ready: observed.ready,
            alive: observed.alive(),
            wanted: target,
            is_built: matches!(lifecycle.build, Build::Succeeded { .. }),
            has_been_ready: lifecycle.first_ready.is_some(),
            failure: failure(lifecycle, observed, starts),
        }
    }
}

fn failure<'a>(lifecycle: &'a Lifecycle, observed: &Observed, starts: &'a replica_set::Memory) -> Option<&'a str> {
    if lifecycle.wanted == Wanted::Inactive {
        return Some("it is deactivated");
    }
    if let Some(reason) = lifecycle.failure() {
        return Some(&reason.message);
    }
    if matches!(lifecycle.build, Build::Stopped { .. }) {
        return Some("its build was stopped");
    }
    // What failed before it came to rest says nothing about its next start.
    let tries = matches!(lifecycle.run, Run::Starting { .. } | Run::Serving { .. } | Run::Waking { .. });
    let keeps_ending = tries && starts.failures >= PATIENCE && observed.ready == 0;
    keeps_ending.then(|| starts.last_failure.as_deref().unwrap_or("its replicas keep ending"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timestamp, lifecycle::Reason};

    const NOW: Timestamp = Timestamp(1_000_000);

    #[track_caller]
    fn check(lifecycle: &Lifecycle, ready: u32, failures: u32, expected: Option<&str>) {
        let observed = Observed { ready, ..Observed::default() };
        let last_failure = (failures > 0).then(|| "killed by signal 9".to_owned());
        let starts = replica_set::Memory { failures, last_failure, ..replica_set::Memory::default() };
        assert_eq!(Side::of(lifecycle, &observed, 1, &starts).failure, expected);
    }

    #[test]
    fn a_side_is_broken_when_it_certainly_cannot_serve() {
        let reason = Reason { message: "boom".into(), hint: None, detail: None };
        let pushed = Lifecycle::pushed(NOW);
        let built = pushed.clone().build_finished(NOW, NOW, Ok("artifact".into()));
        check(&pushed, 0, 0, None);
        check(&pushed.clone().build_finished(NOW, NOW, Err(reason.clone())), 0, 0, Some("boom"));
        check(&pushed.clone().stop_build(NOW).expect("it is being built"), 0, 0, Some("its build was stopped"));
        check(&built.clone().deactivate(), 0, 0, Some("it is deactivated"));
        check(&Lifecycle { run: Run::Failed { at: NOW, reason }, ..built.clone() }, 0, 0, Some("boom"));
        let serving = Lifecycle { run: Run::Serving { since: NOW }, ..built.clone() };
        check(&serving, 0, 2, None);
        check(&serving, 0, 3, Some("killed by signal 9"));
        check(&serving, 1, 3, None);
        check(&Lifecycle { run: Run::AtZero { since: NOW }, ..built }, 0, 3, None);
    }
}
