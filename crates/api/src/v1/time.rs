//! Times on the wire. Resources carry RFC 3339 in UTC; log windows count milliseconds and log lines nanoseconds, as plain numbers.

use jiff::Timestamp;

/// A moment, given in milliseconds since the Unix epoch, as RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
/// A moment beyond the year 9999 is shown as the last one that can be written.
pub fn rfc3339(epoch_ms: u64) -> String {
    let moment =
        i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX);
    format!("{moment:.3}")
}

/// Reads an RFC 3339 time with a time zone back into milliseconds since the Unix epoch; none for anything else, and for moments
/// before the epoch.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let moment: Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok()
}

/// Reads an ISO 8601 date or time, in UTC where it has no time zone, into milliseconds since the Unix epoch; none for anything else,
/// and for moments before the epoch.
pub fn parse_utc(text: &str) -> Option<u64> {
    parse_rfc3339(text).or_else(|| {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        u64::try_from(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond()).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_to_the_millisecond() {
        assert_eq!(rfc3339(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
        assert_eq!(parse_rfc3339("2026-01-02T03:04:05.678Z"), Some(1_767_323_045_678));
        assert_eq!(parse_rfc3339("2026-01-02T05:04:05.678+02:00"), Some(1_767_323_045_678));
    }

    #[test]
    fn a_moment_without_a_time_zone_is_refused() {
        assert_eq!(parse_rfc3339("2026-01-02T03:04:05"), None);
    }

    #[test]
    fn a_date_is_its_beginning_in_utc() {
        assert_eq!(parse_utc("2026-01-02"), Some(1_767_312_000_000));
        assert_eq!(parse_utc("2026-01-02T03:04:05"), Some(1_767_323_045_000));
        assert_eq!(parse_utc("2026-01-02T05:04:05+02:00"), Some(1_767_323_045_000));
        assert_eq!(parse_utc("yesterday"), None);
    }

    #[test]
    fn the_far_future_does_not_overflow() {
        assert!(rfc3339(u64::MAX).starts_with("9999-12-30"), "{}", rfc3339(u64::MAX));
    }
}
