//! Why a promotion is where it is, in words for people.

use std::fmt;

use super::Ending;

/// Why a promotion is where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The candidate's build has not ended.
    WaitingForBuild,
    /// Too few of the candidate's replicas are ready.
    WaitingForCandidate {
        /// So many are.
        ready: u32,
        /// So many are needed.
        needed: u32,
    },
    /// The candidate is ready, and has not been so for long enough.
    Proving {
        /// For how long it has to be, in milliseconds.
        min_ready_ms: u64,
    },
    /// There is no room for both: the previous deployment ends first.
    MakingRoom {
        /// So many of its replicas still hold something.
        alive: u32,
    },
    /// The gateways do not have the share yet.
    WaitingForGateways {
        /// The candidate's share.
        percent: u8,
    },
    /// The share is watched before the next step.
    Stabilizing {
        /// The candidate's share.
        percent: u8,
    },
    /// The next stage of a canary has not come yet.
    BetweenStages {
        /// The candidate's share.
        percent: u8,
    },
    /// Somebody paused it.
    Paused {
        /// The candidate's share.
        percent: u8,
    },
    /// Somebody wants the candidate to have everything.
    RollingForward,
    /// The share goes back as the previous deployment can carry it.
    RampingDown {
        /// Ready replicas of the previous deployment.
        ready: u32,
        /// So many are needed.
        needed: u32,
        /// Why it goes back.
        ending: Ending,
    },
    /// There is no room for both: the candidate ends first, then the previous deployment starts again.
    Restoring {
        /// So many of the candidate's replicas still hold something.
        alive: u32,
        /// Why it goes back.
        ending: Ending,
    },
    /// The previous deployment has everything, as soon as the gateways have that.
    Returning {
        /// Why.
        ending: Ending,
    },
    /// It is over.
    Ended {
        /// How.
        ending: Ending,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Succeeded => f.write_str("the candidate is the environment's current deployment"),
            Ending::Failed { reason } | Ending::Canceled { reason } => f.write_str(reason),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::WaitingForBuild => f.write_str("waiting for the candidate's build"),
            Why::WaitingForCandidate { ready, needed } => {
                write!(f, "waiting for the candidate: {ready} of {needed} replicas are ready")
            }
            Why::Proving { min_ready_ms } => {
                write!(
                    f,
                    "the candidate is ready, and has to be so for {} s before it gets traffic",
                    secs(*min_ready_ms)
                )
            }
            Why::MakingRoom { alive: 1 } => {
                f.write_str("there is no room for both: waiting for 1 replica of the previous deployment to end")
            }
            Why::MakingRoom { alive } => {
                write!(f, "there is no room for both: waiting for {alive} replicas of the previous deployment to end")
            }
            Why::WaitingForGateways { percent } => {
                write!(f, "waiting for the gateways to send {percent} % to the candidate")
            }
            Why::Stabilizing { percent } => write!(f, "watching the candidate with {percent} % of the traffic"),
            Why::BetweenStages { percent } => {
                write!(f, "the candidate has {percent} % of the traffic until the next stage")
            }
            Why::Paused { percent } => write!(f, "paused with {percent} % of the traffic at the candidate"),
            Why::RollingForward => f.write_str("rolling forward as soon as one of the candidate's replicas is ready"),
            Why::RampingDown { ready, needed, ending } => {
                write!(
                    f,
                    "giving traffic back, {ready} of {needed} replicas of the previous deployment are ready: {ending}"
                )
            }
            Why::Restoring { alive: 0, ending } => {
                write!(f, "starting the previous deployment again: {ending}")
            }
            Why::Restoring { alive, ending } => {
                write!(f, "waiting for the candidate's replicas to end, {alive} are left: {ending}")
            }
            Why::Returning { ending } => write!(f, "waiting for the gateways to give all traffic back: {ending}"),
            Why::Ended { ending } => ending.fmt(f),
        }
    }
}

fn secs(ms: u64) -> u64 {
    ms.div_ceil(1_000)
}
