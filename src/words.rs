//! Facts as people read them: ages, durations, the contract's names.

use std::time::Duration;

use planner::Timestamp;
use serde::Serialize;

/// How long ago an RFC 3339 moment was, in its largest unit: `3m`. The text itself when it is no such moment.
pub fn age(now: Timestamp, moment: &str) -> String {
    let Some(then) = api::v1::time::parse_rfc3339(moment) else {
        return moment.to_owned();
    };
    let seconds = now.since(Timestamp(then)) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration as `0.42 s`, as `3 min 20 s` from two minutes on, as `5 h 4 min` from two hours on.
pub fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        whole @ 7200.. => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        whole @ 120.. if whole % 60 == 0 => format!("{} min", whole / 60),
        whole @ 120.. => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// The longest text that fits into a column.
const SHORT_CHARS: usize = 100;

/// The first line of a text, cut where it is long.
pub fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHORT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// The name that the wire contract gives a value without data, such as a status.
pub fn name<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let now = Timestamp(1_767_323_045_678);
        assert_eq!(age(now, "2026-01-02T03:04:05Z"), "0s");
        assert_eq!(age(now, "2026-01-02T03:00:05Z"), "4m");
        assert_eq!(age(now, "2025-12-30T03:00:05Z"), "3d");
        assert_eq!(age(now, "2027-01-01T00:00:00Z"), "0s", "clocks differ");
    }

    #[test]
    fn a_text_in_a_column_is_one_line_that_is_not_long() {
        assert_eq!(short("`load` raised\nTraceback"), "`load` raised");
        assert_eq!(short(&"ü".repeat(101)), format!("{}…", "ü".repeat(100)));
    }

    #[test]
    fn a_status_has_its_wire_name() {
        assert_eq!(name(&api::v1::deployments::DeploymentStatus::LoadingModel), "LOADING_MODEL");
    }

    #[test]
    fn a_duration_has_a_sensible_precision() {
        assert_eq!(seconds(Duration::from_millis(423)), "0.42 s");
        assert_eq!(seconds(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(seconds(Duration::from_secs(3600)), "60 min");
        assert_eq!(seconds(Duration::from_secs(18_279)), "5 h 4 min");
    }
}
