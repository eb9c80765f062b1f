//! The settings of an environment, as flags: how what it serves scales, and how promotions into it go.

use std::time::Duration;

use api::v1::{
    autoscaling::UpdateAutoscalingSettings,
    backpressure::{RequestBackpressurePolicy, UpdateRequestBackpressureSettings},
    promotion::{PromotionCleanupStrategy, UpdatePromotionSettings, UpdateRollingDeployConfig},
};

use crate::failure::{Failure, Kind, Result};

/// What is not said stays as it is.
#[derive(Debug, Default, clap::Args)]
pub struct Settings {
    /// Never fewer replicas; 0 lets it rest without traffic
    #[arg(long, value_name = "COUNT")]
    min_replicas: Option<u32>,
    /// Never more replicas
    #[arg(long, value_name = "COUNT")]
    max_replicas: Option<u32>,
    /// Requests in flight that one replica is meant to have
    #[arg(long, value_name = "COUNT")]
    concurrency_target: Option<u32>,
    /// Average the load over this long
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    autoscaling_window: Option<u32>,
    /// Scale down when the load was low for this long
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    scale_down_delay: Option<u32>,
    /// What becomes of a request while every replica is busy
    #[arg(long, value_enum)]
    when_full: Option<WhenFull>,
    /// How traffic moves in a promotion
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// How long a canary promotion takes, from the candidate's readiness on
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    canary_duration: Option<u32>,
    /// Rolling: so many replicas more than needed at a time; 0 where there may be fewer
    #[arg(long, value_name = "PERCENT")]
    max_surge: Option<u32>,
    /// Rolling: so many replicas fewer than needed at a time; 0 where there may be more
    #[arg(long, value_name = "PERCENT")]
    max_unavailable: Option<u32>,
    /// Rolling: how long to watch after each step
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    stabilization: Option<u32>,
    /// Rolling: replicas that the previous deployment gets before it begins
    #[arg(long, value_name = "PERCENT")]
    replica_overhead: Option<u32>,
    /// What becomes of the previous deployment
    #[arg(long, value_enum)]
    cleanup: Option<Cleanup>,
    /// Whether a promotion always starts a fresh copy of the deployment
    #[arg(long, value_name = "true|false")]
    redeploy: Option<bool>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WhenFull {
    /// It waits for its turn
    Queue,
    /// It is answered 429 at once; one that finds no replica still waits for the first
    Reject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// At once, when the candidate can carry it
    Immediate,
    /// In ten stages
    Canary,
    /// Replica by replica
    Rolling,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Cleanup {
    /// It keeps running
    Keep,
    /// Its replicas stop; it can be woken
    ScaleToZero,
    /// It is deactivated
    Deactivate,
}

impl From<Cleanup> for PromotionCleanupStrategy {
    fn from(cleanup: Cleanup) -> Self {
        match cleanup {
            Cleanup::Keep => PromotionCleanupStrategy::Keep,
            Cleanup::ScaleToZero => PromotionCleanupStrategy::ScaleToZero,
            Cleanup::Deactivate => PromotionCleanupStrategy::Deactivate,
        }
    }
}

impl From<WhenFull> for RequestBackpressurePolicy {
    fn from(when_full: WhenFull) -> Self {
        match when_full {
            WhenFull::Queue => RequestBackpressurePolicy::QueueOnFull,
            WhenFull::Reject => RequestBackpressurePolicy::RejectOnFull,
        }
    }
}

impl Settings {
    /// The part about scaling, if anything is said of it.
    pub fn autoscaling(&self) -> Option<UpdateAutoscalingSettings> {
        let change = UpdateAutoscalingSettings {
            min_replica: self.min_replicas,
            max_replica: self.max_replicas,
            autoscaling_window: self.autoscaling_window,
            scale_down_delay: self.scale_down_delay,
            concurrency_target: self.concurrency_target,
            ..Default::default()
        };
        (change != UpdateAutoscalingSettings::default()).then_some(change)
    }

    /// The part about requests that find every replica busy, if anything is said of it.
    pub fn backpressure(&self) -> Option<UpdateRequestBackpressureSettings> {
        self.when_full.map(|when_full| UpdateRequestBackpressureSettings { policy: Some(Some(when_full.into())) })
    }

    /// The part about promotions, if anything is said of it.
    pub fn promotion(&self) -> Option<UpdatePromotionSettings> {
        // Of surge and unavailable exactly one is in force, so that naming only the one switches the other off.
        let steps = UpdateRollingDeployConfig {
            max_surge_percent: self.max_surge.or(self.max_unavailable.map(|_| 0)),
            max_unavailable_percent: self.max_unavailable.or(self.max_surge.map(|_| 0)),
            stabilization_time_seconds: self.stabilization,
            replica_overhead_percent: self.replica_overhead,
            ..Default::default()
        };
        let change = UpdatePromotionSettings {
            redeploy_on_promotion: self.redeploy,
            rolling_deploy: self.mode.map(|mode| mode == Mode::Rolling),
            promotion_cleanup_strategy: self.cleanup.map(Into::into),
            rolling_deploy_config: (steps != UpdateRollingDeployConfig::default()).then_some(steps),
            ramp_up_while_promoting: self.mode.map(|mode| mode == Mode::Canary),
            ramp_up_duration_seconds: self.canary_duration,
        };
        (change != UpdatePromotionSettings::default()).then_some(change)
    }

    /// Fails when nothing is said at all.
    pub fn check_any(&self) -> Result {
        if self.autoscaling().is_none() && self.backpressure().is_none() && self.promotion().is_none() {
            let failure = Failure::new(Kind::Usage, "nothing to change");
            return Err(failure.hint("name a setting, such as --max-replicas 3 or --mode rolling"));
        }
        Ok(())
    }
}

/// Whole seconds of a duration.
fn seconds(text: &str) -> std::result::Result<u32, String> {
    let duration: Duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.subsec_nanos() != 0 {
        return Err("expected whole seconds".to_owned());
    }
    u32::try_from(duration.as_secs()).map_err(|_| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_sent() {
        assert_eq!(Settings::default().autoscaling(), None);
        assert_eq!(Settings::default().promotion(), None);
        assert!(Settings::default().check_any().is_err());
    }

    #[test]
    fn a_mode_switches_the_others_off() {
        let change = Settings { mode: Some(Mode::Canary), ..Default::default() }.promotion().expect("a change");
        assert_eq!((change.rolling_deploy, change.ramp_up_while_promoting), (Some(false), Some(true)));
        let unavailable = Settings { max_unavailable: Some(20), ..Default::default() }.promotion().expect("a change");
        let steps = unavailable.rolling_deploy_config.expect("steps");
        assert_eq!((steps.max_surge_percent, steps.max_unavailable_percent), (Some(0), Some(20)));
        let both = Settings { max_surge: Some(0), max_unavailable: Some(50), ..Default::default() };
        let steps = both.promotion().expect("a change").rolling_deploy_config.expect("steps");
        assert_eq!((steps.max_surge_percent, steps.max_unavailable_percent), (Some(0), Some(50)));
    }

    #[test]
    fn a_duration_is_in_whole_seconds() {
        assert_eq!(seconds("2m"), Ok(120));
        assert!(seconds("1500ms").is_err());
        assert!(seconds("soon").is_err());
    }
}
