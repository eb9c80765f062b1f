//! Months by the Gregorian calendar, in UTC. A year begins in March here, so that a leap day is its last; within four hundred years,
//! the calendar repeats itself.

/// Milliseconds of a day.
pub(super) const DAY_MS: u64 = 86_400_000;
/// Days of four hundred years.
const CYCLE_DAYS: u64 = 146_097;
/// Days from the first of March of the year 0 to the epoch.
const EPOCH_DAY: u64 = 719_468;
/// Months from March of the year 0 to the epoch's.
const EPOCH_MONTH: u64 = 1_969 * 12 + 10;

/// The month that a day is in; both count from the Unix epoch.
pub(super) fn month_of(day: u64) -> u64 {
    let day = day + EPOCH_DAY;
    let (cycle, day) = (day / CYCLE_DAYS, day % CYCLE_DAYS);
    // Without the leap days before it, every year has 365 days: one in 4 years, none in 100, one in 400.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - days_before(year);
    // Five months from March on have 153 days, and so have the next five.
    (cycle * 400 + year) * 12 + (5 * day_of_year + 2) / 153 - EPOCH_MONTH
}

/// The first day of a month; both count from the Unix epoch.
pub(super) fn first_day_of(month: u64) -> u64 {
    let month = month + EPOCH_MONTH;
    let (year, month) = (month / 12, month % 12);
    year / 400 * CYCLE_DAYS + days_before(year % 400) + (153 * month + 2) / 5 - EPOCH_DAY
}

/// Days of a cycle before one of its years.
fn days_before(year: u64) -> u64 {
    365 * year + year / 4 - year / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_the_calendar_day_by_day() {
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut day, mut month) = (0, 0);
        for year in 1970..2420 {
            let february = if is_leap(year) { 29 } else { 28 };
            for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                assert_eq!(first_day_of(month), day, "month {month}");
                for within in day..day + days {
                    assert_eq!(month_of(within), month, "day {within}");
                }
                day += days;
                month += 1;
            }
        }
    }
}
