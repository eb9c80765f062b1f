//! What becomes of a deployment that nobody counts on any more: one that an environment served, or was about to.

use super::{Build, Lifecycle, Run, Wanted};
use crate::Timestamp;

impl Lifecycle {
    /// Lets it rest because of what has happened to it, in words.
    #[must_use]
    pub fn deactivated_because(self, reason: impl Into<String>) -> Self {
        match self.wanted {
            Wanted::Inactive => self,
            Wanted::Running => Self { rests_because: Some(reason.into()), ..self.deactivate() },
        }
    }

    /// At zero from this moment on, until somebody asks for it: while its replicas leave it is not broken, and the next server does
    /// not bring it back. One that has never been active cannot be woken, so that it is not said to be at zero: it is deactivated,
    /// for this reason. What has failed keeps its failure; what is being built again is left to that.
    #[must_use]
    pub fn retired(self, now: Timestamp, reason: impl Into<String>) -> Self {
        let is_out_of_order = self.failure().is_some() || matches!(self.build, Build::Stopped { .. });
        match (self.wanted, self.first_ready, &self.build, &self.run) {
            (Wanted::Inactive, ..) => self,
            (Wanted::Running, ..) if is_out_of_order => self,
            (Wanted::Running, None, ..) => self.deactivated_because(reason),
            (Wanted::Running, Some(_), Build::Succeeded { .. }, Run::AtZero { .. }) => self,
            (Wanted::Running, Some(_), Build::Succeeded { .. }, _) => Self { run: Run::AtZero { since: now }, ..self },
            (Wanted::Running, Some(_), ..) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Observed, Reason, Status, status};

    const THEN: Timestamp = Timestamp(1_000);
    const NOW: Timestamp = Timestamp(2_000);

    /// What becomes of a deployment in this run, and whether it says why.
    #[track_caller]
    fn check(lifecycle: Lifecycle, expected: Status, says_why: bool) {
        let retired = lifecycle.clone().retired(NOW, "its promotion was canceled");
        assert_eq!(status(&retired, &Observed::default()), expected, "{lifecycle:?}");
        assert_eq!(retired.rests_because.is_some(), says_why, "{lifecycle:?}");
        assert_eq!(retired.clone().retired(NOW.plus(1), "again"), retired, "once is enough");
    }

    fn built(run: Run, first_ready: Option<Timestamp>) -> Lifecycle {
        let built = Lifecycle::pushed(THEN).build_finished(THEN, THEN, Ok("artifact".into()));
        Lifecycle { run, first_ready, ..built }
    }

    #[test]
    fn what_has_been_active_goes_to_zero() {
        for run in [
            Run::Idle,
            Run::Starting { since: THEN },
            Run::Serving { since: THEN },
            Run::Waking { since: THEN },
            Run::AtZero { since: THEN },
        ] {
            check(built(run, Some(THEN)), Status::ScaledToZero, false);
        }
    }

    #[test]
    fn what_has_never_been_active_is_deactivated_and_says_why() {
        check(Lifecycle::pushed(THEN), Status::Inactive, true);
        check(built(Run::Idle, None), Status::Inactive, true);
        check(built(Run::Starting { since: THEN }, None), Status::Inactive, true);
    }

    #[test]
    fn what_failed_was_stopped_or_rests_stays_as_it_is() {
        let reason = || Reason { message: "boom".into(), hint: None, detail: None };
        check(built(Run::Failed { at: THEN, reason: reason() }, None), Status::DeployFailed, false);
        check(Lifecycle::pushed(THEN).build_finished(THEN, THEN, Err(reason())), Status::BuildFailed, false);
        check(Lifecycle::pushed(THEN).stop_build(THEN).expect("it is being built"), Status::BuildStopped, false);
        check(built(Run::Idle, Some(THEN)).deactivate(), Status::Inactive, false);
        check(built(Run::Idle, Some(THEN)).artifact_lost(THEN), Status::Building, false);
    }

    #[test]
    fn somebodys_wish_needs_no_reason() {
        let retired = Lifecycle::pushed(THEN).retired(NOW, "its promotion was canceled");
        assert_eq!(retired.clone().activate(NOW).expect("it rests").rests_because, None);
        assert_eq!(retired.deactivate().rests_because, None);
    }
}
