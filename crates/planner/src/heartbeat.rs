//! Whether a location is healthy: it is asked at even moments, and one that does not answer several times in a row is not. Who asks,
//! and what follows for replicas, is left to others.

use crate::Timestamp;

/// A location is not healthy after so many questions in a row without an answer.
const MISSES: u32 = 3;

/// How a location has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answers, or has only just stopped.
    Healthy {
        /// Questions without an answer since its last one.
        misses: u32,
    },
    /// It does not answer.
    Unhealthy {
        /// Since when it counts as such.
        since: Timestamp,
        /// What it last said, or what came instead of an answer.
        reason: String,
    },
}

impl Default for Health {
    /// It is healthy until it fails to answer: a server that starts does not wait for the first answers.
    fn default() -> Self {
        Self::Healthy { misses: 0 }
    }
}

impl Health {
    /// Whether it may get replicas.
    pub fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy { .. })
    }

    /// Its health after a question; an `Err` is the reason that there was no good answer. One good answer mends all.
    #[must_use]
    pub fn after(&self, now: Timestamp, answer: Result<(), String>) -> Self {
        match (self, answer) {
            (_, Ok(())) => Self::default(),
            (Self::Healthy { misses }, Err(_)) if misses + 1 < MISSES => Self::Healthy { misses: misses + 1 },
            (Self::Healthy { .. }, Err(reason)) => Self::Unhealthy { since: now, reason },
            (Self::Unhealthy { since, .. }, Err(reason)) => Self::Unhealthy { since: *since, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The health after answers (`.`) and misses (`x`), five seconds apart.
    fn after(answers: &str) -> Health {
        let moments = (1..).map(|beat| Timestamp(5_000 * beat));
        moments.zip(answers.chars()).fold(Health::default(), |health, (now, answer)| {
            health.after(now, if answer == '.' { Ok(()) } else { Err(format!("no answer at {}", now.0)) })
        })
    }

    #[test]
    fn a_location_that_misses_three_beats_in_a_row_is_not_healthy_and_says_since_when_and_why() {
        assert!(after("xx").is_healthy());
        assert!(after("xx.xx").is_healthy(), "an answer in between begins anew");
        let unhealthy = |since, at| Health::Unhealthy { since: Timestamp(since), reason: format!("no answer at {at}") };
        assert_eq!(after(".xxx"), unhealthy(20_000, 20_000));
        assert_eq!(after(".xxxx"), unhealthy(20_000, 25_000));
    }

    #[test]
    fn one_answer_makes_it_healthy_again() {
        assert_eq!(after("xxxxx."), Health::default());
        assert!(after("xxxxx.xx").is_healthy());
    }
}
