//! How promotions into an environment go, and how far one is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How promotions into an environment go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PromotionSettings {
    /// Whether a promotion always makes a copy of the deployment.
    pub redeploy_on_promotion: Option<bool>,
    /// Whether replicas are replaced step by step.
    pub rolling_deploy: Option<bool>,
    /// What becomes of the deployment that was served before.
    pub promotion_cleanup_strategy: Option<PromotionCleanupStrategy>,
    /// The steps of a rolling promotion.
    pub rolling_deploy_config: Option<RollingDeployConfig>,
    /// Whether traffic moves gradually.
    pub ramp_up_while_promoting: Option<bool>,
    /// How long that takes, in seconds.
    pub ramp_up_duration_seconds: Option<u32>,
}

impl Default for PromotionSettings {
    fn default() -> Self {
        Self {
            redeploy_on_promotion: Some(false),
            rolling_deploy: Some(false),
            promotion_cleanup_strategy: Some(PromotionCleanupStrategy::ScaleToZero),
            rolling_deploy_config: None,
            ramp_up_while_promoting: Some(false),
            ramp_up_duration_seconds: Some(600),
        }
    }
}

/// What becomes of the deployment that was served before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PromotionCleanupStrategy {
    /// It keeps running.
    Keep,
    /// Its replicas stop; it can be woken.
    ScaleToZero,
    /// It is deactivated.
    Deactivate,
}

/// The steps of a rolling promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RollingDeployConfig {
    /// What a step replaces.
    pub rolling_deploy_strategy: RollingDeployStrategy,
    /// Replicas more than needed while it runs, in percent.
    pub max_surge_percent: u32,
    /// Replicas fewer than needed while it runs, in percent.
    pub max_unavailable_percent: u32,
    /// How long to watch after each step, in seconds.
    pub stabilization_time_seconds: u32,
    /// Head-room added before it begins, in percent.
    pub replica_overhead_percent: u32,
}

impl Default for RollingDeployConfig {
    fn default() -> Self {
        Self {
            rolling_deploy_strategy: RollingDeployStrategy::Replica,
            max_surge_percent: 10,
            max_unavailable_percent: 0,
            stabilization_time_seconds: 0,
            replica_overhead_percent: 0,
        }
    }
}

/// What a step of a rolling promotion replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RollingDeployStrategy {
    /// Replicas.
    Replica,
}

/// A change of promotion settings. Absent and null fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdatePromotionSettings {
    /// Whether a promotion always makes a copy of the deployment.
    pub redeploy_on_promotion: Option<bool>,
    /// Whether replicas are replaced step by step.
    pub rolling_deploy: Option<bool>,
    /// What becomes of the deployment that was served before.
    pub promotion_cleanup_strategy: Option<PromotionCleanupStrategy>,
    /// The steps of a rolling promotion.
    pub rolling_deploy_config: Option<UpdateRollingDeployConfig>,
    /// Whether traffic moves gradually.
    pub ramp_up_while_promoting: Option<bool>,
    /// How long that takes, in seconds.
    pub ramp_up_duration_seconds: Option<u32>,
}

/// A change of the steps of a rolling promotion. Absent and null fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateRollingDeployConfig {
    /// What a step replaces.
    pub rolling_deploy_strategy: Option<RollingDeployStrategy>,
    /// Replicas more than needed while it runs, in percent.
    pub max_surge_percent: Option<u32>,
    /// Replicas fewer than needed while it runs, in percent.
    pub max_unavailable_percent: Option<u32>,
    /// How long to watch after each step, in seconds.
    pub stabilization_time_seconds: Option<u32>,
    /// Head-room added before it begins, in percent.
    pub replica_overhead_percent: Option<u32>,
}

impl PromotionSettings {
    /// These settings after a change.
    #[must_use]
    pub fn updated(self, change: UpdatePromotionSettings) -> Self {
        Self {
            redeploy_on_promotion: change.redeploy_on_promotion.or(self.redeploy_on_promotion),
            rolling_deploy: change.rolling_deploy.or(self.rolling_deploy),
            promotion_cleanup_strategy: change.promotion_cleanup_strategy.or(self.promotion_cleanup_strategy),
            rolling_deploy_config: match change.rolling_deploy_config {
                Some(change) => Some(self.rolling_deploy_config.unwrap_or_default().updated(change)),
                None => self.rolling_deploy_config,
            },
            ramp_up_while_promoting: change.ramp_up_while_promoting.or(self.ramp_up_while_promoting),
            ramp_up_duration_seconds: change.ramp_up_duration_seconds.or(self.ramp_up_duration_seconds),
        }
    }
}

impl RollingDeployConfig {
    fn updated(self, change: UpdateRollingDeployConfig) -> Self {
        Self {
            rolling_deploy_strategy: change.rolling_deploy_strategy.unwrap_or(self.rolling_deploy_strategy),
            max_surge_percent: change.max_surge_percent.unwrap_or(self.max_surge_percent),
            max_unavailable_percent: change.max_unavailable_percent.unwrap_or(self.max_unavailable_percent),
            stabilization_time_seconds: change.stabilization_time_seconds.unwrap_or(self.stabilization_time_seconds),
            replica_overhead_percent: change.replica_overhead_percent.unwrap_or(self.replica_overhead_percent),
        }
    }
}

/// How far a promotion is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InProgressPromotion {
    /// Where it stands.
    pub status: InProgressPromotionStatus,
    /// The share of traffic that the new deployment has, in percent.
    pub percent_traffic_to_new_version: u8,
    /// Why it failed, if it did.
    #[serde(default)]
    pub error_message: Option<String>,
    /// Whether replicas are replaced step by step.
    #[serde(default)]
    pub rolling_deploy: Option<bool>,
}

/// Where a promotion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InProgressPromotionStatus {
    /// The new deployment is being built or started.
    Releasing,
    /// Traffic moves to the new deployment.
    RampingUp,
    /// Traffic moves back.
    RampingDown,
    /// It waits for a person.
    Paused,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Ended by a person.
    Canceled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_touches_only_what_it_names() {
        let change = UpdatePromotionSettings { rolling_deploy: Some(true), ..Default::default() };
        let settings = PromotionSettings::default().updated(change);
        assert_eq!(settings, PromotionSettings { rolling_deploy: Some(true), ..Default::default() });
    }

    #[test]
    fn the_first_change_of_the_steps_begins_at_the_defaults() {
        let steps = UpdateRollingDeployConfig { max_surge_percent: Some(50), ..Default::default() };
        let change = UpdatePromotionSettings { rolling_deploy_config: Some(steps), ..Default::default() };
        let settings = PromotionSettings::default().updated(change);
        assert_eq!(
            settings.rolling_deploy_config,
            Some(RollingDeployConfig { max_surge_percent: 50, ..Default::default() })
        );
    }
}
