//! What the time in which no server ran does to a run: it counts for nothing.

use super::{Lifecycle, Run, Wanted};
use crate::Timestamp;

impl Lifecycle {
    /// Goes on after a restart of the server that no replica has survived. What served comes up again like one that wakes:
    /// requests wait for it instead of hearing that it is broken. What was starting has its whole deploy timeout again.
    #[must_use]
    pub fn resumed_without_replicas(self, now: Timestamp) -> Self {
        let run = match (self.wanted, self.run) {
            (Wanted::Running, Run::Serving { .. }) => Run::Waking { since: now },
            (Wanted::Running, Run::Starting { .. }) => Run::Starting { since: now },
            (Wanted::Running | Wanted::Inactive, run) => run,
        };
        Self { run, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Build, Reason};

    const BEFORE: Timestamp = Timestamp(1_000);
    const NOW: Timestamp = Timestamp(90_000_000);

    fn lifecycle(run: Run) -> Lifecycle {
        let build = Build::Succeeded { at: BEFORE, artifact: "artifact".into() };
        Lifecycle { build, run, first_ready: Some(BEFORE), ..Lifecycle::pushed(BEFORE) }
    }

    #[test]
    fn what_served_wakes_up_and_keeps_what_it_once_was() {
        let resumed = lifecycle(Run::Serving { since: BEFORE }).resumed_without_replicas(NOW);
        assert_eq!(resumed, lifecycle(Run::Waking { since: NOW }));
    }

    #[test]
    fn a_deploy_timeout_does_not_count_the_time_without_a_server() {
        let resumed = lifecycle(Run::Starting { since: BEFORE }).resumed_without_replicas(NOW);
        assert_eq!(resumed, lifecycle(Run::Starting { since: NOW }));
    }

    #[test]
    fn rest_failure_and_zero_stay_what_they_are() {
        let reason = Reason { message: "`load` raised".into(), hint: None, detail: None };
        let runs = [
            Run::Idle,
            Run::AtZero { since: BEFORE },
            Run::Waking { since: BEFORE },
            Run::Failed { at: BEFORE, reason },
        ];
        for run in runs {
            assert_eq!(lifecycle(run.clone()).resumed_without_replicas(NOW), lifecycle(run));
        }
        let resting = Lifecycle { wanted: Wanted::Inactive, ..lifecycle(Run::Serving { since: BEFORE }) };
        assert_eq!(resting.clone().resumed_without_replicas(NOW), resting);
    }
}
