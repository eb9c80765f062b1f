//! Changing how promotions into an environment go. Only given fields change, and the result is what has to be consistent.

use api::v1::promotion::{PromotionSettings, UpdatePromotionSettings};
use serde_json::Value;

use super::Error;

const LONGEST_RAMP_S: u32 = 86_400;
const LONGEST_STABILIZATION_S: u32 = 3600;
const LARGEST_STEP_PERCENT: u32 = 50;
const LARGEST_OVERHEAD_PERCENT: u32 = 500;

/// Settings as stored.
pub fn read(stored: &Value) -> Result<PromotionSettings, Error> {
    serde_json::from_value(stored.clone()).map_err(|error| Error::internal("read promotion settings", error))
}

/// Settings to store.
pub fn write(settings: &PromotionSettings) -> Value {
    serde_json::to_value(settings).expect("settings are plain JSON")
}

/// `current` with `change` applied.
pub fn apply(current: PromotionSettings, change: UpdatePromotionSettings) -> Result<PromotionSettings, Error> {
    let next = current.updated(change);
    let within = |field: &str, value: u32, least: u32, most: u32| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(Error::Invalid(format!("promotion_settings.{field} is {value}: it needs to be from {least} to {most}")))
    };
    if let Some(seconds) = next.ramp_up_duration_seconds {
        within("ramp_up_duration_seconds", seconds, 1, LONGEST_RAMP_S)?;
    }
    if let Some(steps) = &next.rolling_deploy_config {
        let (surge, unavailable) = (steps.max_surge_percent, steps.max_unavailable_percent);
        within("rolling_deploy_config.max_surge_percent", surge, 0, LARGEST_STEP_PERCENT)?;
        within("rolling_deploy_config.max_unavailable_percent", unavailable, 0, LARGEST_STEP_PERCENT)?;
        within(
            "rolling_deploy_config.stabilization_time_seconds",
            steps.stabilization_time_seconds,
            0,
            LONGEST_STABILIZATION_S,
        )?;
        within(
            "rolling_deploy_config.replica_overhead_percent",
            steps.replica_overhead_percent,
            0,
            LARGEST_OVERHEAD_PERCENT,
        )?;
        if (surge == 0) == (unavailable == 0) {
            return Err(Error::Invalid(format!(
                "promotion_settings.rolling_deploy_config has max_surge_percent {surge} and max_unavailable_percent \
                 {unavailable}: exactly one of them must be 0, so set both in one request"
            )));
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use api::v1::promotion::UpdateRollingDeployConfig;

    use super::*;

    fn change(surge: Option<u32>, unavailable: Option<u32>) -> UpdatePromotionSettings {
        let steps = UpdateRollingDeployConfig {
            max_surge_percent: surge,
            max_unavailable_percent: unavailable,
            ..UpdateRollingDeployConfig::default()
        };
        UpdatePromotionSettings { rolling_deploy_config: Some(steps), ..UpdatePromotionSettings::default() }
    }

    #[test]
    fn exactly_one_of_surge_and_unavailable_is_zero_after_the_change() {
        let outcome = |surge, unavailable| apply(PromotionSettings::default(), change(surge, unavailable)).is_ok();
        assert!(outcome(Some(20), None));
        assert!(outcome(Some(0), Some(20)));
        assert!(!outcome(None, Some(20)), "the default surge is not zero");
        assert!(!outcome(Some(0), None));
        assert!(!outcome(Some(51), None));
    }

    #[test]
    fn a_ramp_has_a_length() {
        let of = |seconds| UpdatePromotionSettings { ramp_up_duration_seconds: Some(seconds), ..Default::default() };
        assert!(apply(PromotionSettings::default(), of(60)).is_ok());
        assert!(apply(PromotionSettings::default(), of(0)).is_err());
        assert!(apply(PromotionSettings::default(), of(86_401)).is_err());
    }
}
