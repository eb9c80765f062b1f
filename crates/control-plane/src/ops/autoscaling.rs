//! Changing autoscaling settings: only the fields that are given, each in its range, the result consistent.

use std::ops::RangeInclusive;

use planner::autoscale::Settings;
use store::domain::DeploymentKind;

use super::Error;

/// The fields to change; none leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Never fewer replicas.
    pub min_replica: Option<u32>,
    /// Never more replicas.
    pub max_replica: Option<u32>,
    /// Seconds over which the load is averaged.
    pub autoscaling_window_s: Option<u32>,
    /// Seconds that the load must stay low before a step down.
    pub scale_down_delay_s: Option<u32>,
    /// Requests in flight that one replica is meant to have.
    pub concurrency_target: Option<u32>,
    /// The part of that to plan with, in percent.
    pub target_utilization_percent: Option<u32>,
    /// Scaling by tokens, which this server does not offer.
    pub target_in_flight_tokens: Option<u32>,
    /// The largest step down, in percent.
    pub max_scale_down_rate_percent: Option<u32>,
}

/// `current` with `update` applied.
pub fn apply(current: &Settings, update: &Update, replica_cap: u32) -> Result<Settings, Error> {
    if update.target_in_flight_tokens.is_some() {
        return Err(Error::Invalid(
            "target_in_flight_tokens is not supported: leave it out and set concurrency_target".into(),
        ));
    }
    let given = |field, value: Option<u32>, range: RangeInclusive<u32>, current| match value {
        None => Ok(current),
        Some(value) if range.contains(&value) => Ok(value),
        Some(value) => {
            Err(Error::Invalid(format!("{field} is {value}: it needs to be from {} to {}", range.start(), range.end())))
        }
    };
    let next = Settings {
        min_replica: given("min_replica", update.min_replica, 0..=replica_cap, current.min_replica)?,
        max_replica: given("max_replica", update.max_replica, 1..=replica_cap, current.max_replica)?,
        autoscaling_window_s: given(
            "autoscaling_window",
            update.autoscaling_window_s,
            10..=3600,
            current.autoscaling_window_s,
        )?,
        scale_down_delay_s: given("scale_down_delay", update.scale_down_delay_s, 0..=3600, current.scale_down_delay_s)?,
        concurrency_target: given(
            "concurrency_target",
            update.concurrency_target,
            1..=u32::MAX,
            current.concurrency_target,
        )?,
        target_utilization_percent: given(
            "target_utilization_percentage",
            update.target_utilization_percent,
            1..=100,
            current.target_utilization_percent,
        )?,
        max_scale_down_rate_percent: given(
            "max_scale_down_rate",
            update.max_scale_down_rate_percent,
            1..=50,
            current.max_scale_down_rate_percent,
        )?,
    };
    if next.min_replica > next.max_replica {
        return Err(Error::Invalid(format!(
            "min_replica {} is more than max_replica {}: change both in one request",
            next.min_replica, next.max_replica
        )));
    }
    Ok(next)
}

/// Refuses a number of replicas that a development deployment cannot have.
pub fn check_kind(kind: DeploymentKind, settings: &Settings) -> Result<(), Error> {
    match kind {
        DeploymentKind::Published => Ok(()),
        DeploymentKind::Development if (settings.min_replica, settings.max_replica) == (0, 1) => Ok(()),
        DeploymentKind::Development => Err(Error::Invalid(
            "a development deployment has min_replica 0 and max_replica 1: publish it to have more".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(update: Update, expected: Result<Settings, &str>) {
        let outcome = apply(&Settings::default(), &update, 10).map_err(|error| error.to_string());
        assert_eq!(outcome, expected.map_err(str::to_owned));
    }

    #[test]
    fn absent_fields_stay_as_they_are() {
        check(Update::default(), Ok(Settings::default()));
        check(
            Update { max_replica: Some(4), ..Update::default() },
            Ok(Settings { max_replica: 4, ..Settings::default() }),
        );
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let of = |update: fn(&mut Update)| {
            let mut changed = Update::default();
            update(&mut changed);
            changed
        };
        check(of(|u| u.min_replica = Some(11)), Err("min_replica is 11: it needs to be from 0 to 10"));
        check(of(|u| u.max_replica = Some(0)), Err("max_replica is 0: it needs to be from 1 to 10"));
        check(of(|u| u.max_replica = Some(11)), Err("max_replica is 11: it needs to be from 1 to 10"));
        check(of(|u| u.autoscaling_window_s = Some(9)), Err("autoscaling_window is 9: it needs to be from 10 to 3600"));
        check(
            of(|u| u.scale_down_delay_s = Some(3601)),
            Err("scale_down_delay is 3601: it needs to be from 0 to 3600"),
        );
        check(
            of(|u| u.target_utilization_percent = Some(101)),
            Err("target_utilization_percentage is 101: it needs to be from 1 to 100"),
        );
        check(
            of(|u| u.max_scale_down_rate_percent = Some(51)),
            Err("max_scale_down_rate is 51: it needs to be from 1 to 50"),
        );
        check(
            of(|u| u.min_replica = Some(2)),
            Err("min_replica 2 is more than max_replica 1: change both in one request"),
        );
        check(
            of(|u| u.target_in_flight_tokens = Some(1)),
            Err("target_in_flight_tokens is not supported: leave it out and set concurrency_target"),
        );
    }
}
