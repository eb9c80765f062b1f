//! `Server-Timing` (W3C): what a request that had to wait has waited for.

use std::{fmt::Write as _, time::Duration};

use api::internal::replica::StartTimes;
use http::HeaderValue;

/// Who waited for less, and not for a start, has not waited.
const NOTEWORTHY: Duration = Duration::from_millis(1);

/// The header of an answer whose request has waited for a slot. `start` is that of the replica, where it was started meanwhile: its
/// parts lie within the wait. None where there was none to speak of.
pub(crate) fn header(waited: Duration, start: Option<&StartTimes>) -> Option<HeaderValue> {
    if waited < NOTEWORTHY && start.is_none() {
        return None;
    }
    let mut text = format!("queue;dur={:.1}", waited.as_secs_f64() * 1000.0);
    let start = start.copied().unwrap_or_default();
    let parts = [
        ("decide", start.decide_ms),
        ("spawn", start.spawn_ms),
        ("import", start.import_ms),
        ("load", start.load_ms),
        ("probe", start.first_probe_ms),
    ];
    for (name, millis) in parts {
        if let Some(millis) = millis {
            write!(text, ", {name};dur={millis}").expect("a text takes everything");
        }
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(waited_us: u64, start: Option<StartTimes>, expected: Option<&str>) {
        let header = header(Duration::from_micros(waited_us), start.as_ref());
        assert_eq!(header.as_ref().map(|header| header.to_str().unwrap()), expected);
    }

    #[test]
    fn only_a_wait_is_told_with_the_start_that_lay_in_it() {
        let start = StartTimes { spawn_ms: Some(3), load_ms: Some(20), ..StartTimes::default() };
        check(999, None, None);
        check(1_500, None, Some("queue;dur=1.5"));
        check(25_000, Some(start), Some("queue;dur=25.0, spawn;dur=3, load;dur=20"));
    }
}
