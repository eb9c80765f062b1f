//! A promotion as it is stored, and what the settings of its environment mean for it.

use api::{
    id::{DeploymentId, ModelId},
    v1::promotion::{PromotionCleanupStrategy, PromotionSettings},
};
use planner::{
    Timestamp,
    promotion::{Cleanup, Command, Mode, Room, Settings, State, Step, Targets},
};
use serde::{Deserialize, Serialize};

use super::Environment;
use crate::Error;

/// A deployment on its way into an environment, or one that has arrived there, or has not.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    /// Ascending in the order of their beginnings.
    pub id: u64,
    /// Whose environment.
    pub model_id: ModelId,
    /// Its name.
    pub environment: String,
    /// What is being promoted.
    pub candidate: DeploymentId,
    /// What the environment pointed at when it began.
    pub previous: Option<DeploymentId>,
    /// How it came about.
    pub origin: Origin,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none while it is under way.
    pub ended_at: Option<Timestamp>,
    /// How it goes: fixed at its beginning.
    pub settings: Settings,
    /// How far it is.
    pub state: State,
    /// What should be true of replicas and traffic.
    pub targets: Targets,
    /// Why, in a sentence.
    pub why: String,
    /// What somebody has asked of it, and nobody has looked at yet.
    pub command: Option<Command>,
    /// The key that began it; none when the system did.
    pub requested_by: Option<String>,
    /// Grows with every change; a save with an older one is refused.
    pub generation: u64,
}

/// How a promotion came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A deployment was pushed for the environment.
    Push,
    /// A person asked for it.
    Person,
    /// A person asked for what was there before.
    Rollback,
}

impl Environment {
    /// How a promotion goes that begins now. Rolling wins where both ways are on.
    pub fn promotion(&self, room: Room, deploy_timeout_ms: u64, min_ready_ms: u64) -> Result<Settings, Error> {
        let told: PromotionSettings = serde_json::from_value(self.promotion_settings.clone())
            .map_err(|error| Error::damaged(format!("promotion settings of environment {:?}", self.name), error))?;
        let cleanup = match told.promotion_cleanup_strategy {
            Some(PromotionCleanupStrategy::Keep) => Cleanup::Keep,
            Some(PromotionCleanupStrategy::Deactivate) => Cleanup::Deactivate,
            Some(PromotionCleanupStrategy::ScaleToZero) | None => Cleanup::ScaleToZero,
        };
        Ok(Settings { mode: mode(&told), cleanup, room, deploy_timeout_ms, min_ready_ms })
    }
}

fn mode(told: &PromotionSettings) -> Mode {
    let seconds = |seconds: u32| u64::from(seconds) * 1_000;
    if told.rolling_deploy == Some(true) {
        let steps = told.rolling_deploy_config.clone().unwrap_or_default();
        let step = match steps.max_unavailable_percent {
            0 => Step::Surge(steps.max_surge_percent),
            percent => Step::Unavailable(percent),
        };
        return Mode::Rolling {
            step,
            stabilization_ms: seconds(steps.stabilization_time_seconds),
            overhead_percent: steps.replica_overhead_percent,
        };
    }
    if told.ramp_up_while_promoting == Some(true) {
        let default = PromotionSettings::default().ramp_up_duration_seconds.unwrap_or_default();
        return Mode::Canary { duration_ms: seconds(told.ramp_up_duration_seconds.unwrap_or(default)) };
    }
    Mode::Immediate
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(promotion_settings: Value) -> Settings {
        let environment = Environment {
            model_id: ModelId::from_entropy(1),
            name: "production".into(),
            created_at: Timestamp(1),
            current: None,
            backpressure: None,
            autoscaling: planner::autoscale::Settings::default(),
            promotion_settings,
            generation: 1,
        };
        environment.promotion(Room::Beside, 600_000, 0).unwrap()
    }

    #[test]
    fn without_a_word_promotions_are_immediate_and_the_previous_deployment_goes_to_zero() {
        assert_eq!((settings(json!({})).mode, settings(json!({})).cleanup), (Mode::Immediate, Cleanup::ScaleToZero));
    }

    #[test]
    fn a_canary_has_its_length() {
        let canary = json!({"ramp_up_while_promoting": true, "ramp_up_duration_seconds": 60});
        assert_eq!(settings(canary).mode, Mode::Canary { duration_ms: 60_000 });
    }

    #[test]
    fn rolling_wins_and_steps_by_the_side_that_is_not_zero() {
        let rolling = |config: Value| {
            settings(json!({"rolling_deploy": true, "ramp_up_while_promoting": true, "rolling_deploy_config": config}))
                .mode
        };
        let mode = |step| Mode::Rolling { step, stabilization_ms: 2_000, overhead_percent: 20 };
        let common = |surge: u32, unavailable: u32| {
            json!({"max_surge_percent": surge, "max_unavailable_percent": unavailable,
                   "stabilization_time_seconds": 2, "replica_overhead_percent": 20})
        };
        assert_eq!(rolling(common(25, 0)), mode(Step::Surge(25)));
        assert_eq!(rolling(common(0, 30)), mode(Step::Unavailable(30)));
    }
}
