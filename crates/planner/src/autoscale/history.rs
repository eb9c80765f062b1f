//! What the load has been: its average over a window, and what has waited for more than a moment. Between two looks the load counts
//! as it was at the first of them. Bounded, whatever the window and however often somebody looks.

use std::collections::VecDeque;

use super::Load;
use crate::Timestamp;

/// Stretches of the load that are told apart in one window, about; the average is exact all the same.
const GRAIN: u64 = 60;
/// What waits counts when it waited at a look that is at least so much older, too: what drains in less needs no replica.
const WAITS_MS: u64 = 1_000;

/// The load of the last window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    /// Oldest first; each lasts until the next begins, the last one until now.
    stretches: VecDeque<Stretch>,
    queue: Queue,
}

/// A load that did not change, or the average of several short ones.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    from: Timestamp,
    /// Thousandths of requests.
    milli: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Queue {
    at: Timestamp,
    before: u32,
    now: u32,
}

/// An average, and over how much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Average {
    /// Thousandths of requests in flight, those that wait included.
    pub milli: u64,
    /// Milliseconds.
    pub over_ms: u64,
}

impl History {
    /// The history after one more look.
    pub fn seen(mut self, now: Timestamp, load: &Load, window_ms: u64) -> Self {
        self.rewind(now);
        self.queue = self.queue.seen(now, load.queued);
        let begin = Timestamp(now.0.saturating_sub(window_ms));
        while self.stretches.get(1).is_some_and(|second| second.from <= begin) {
            self.stretches.pop_front();
        }
        let milli = (u64::from(load.in_flight) + u64::from(load.queued)) * 1_000;
        if self.stretches.back().is_some_and(|last| last.from == now) {
            self.stretches.pop_back();
        }
        if self.stretches.back().is_some_and(|last| last.milli == milli) {
            return self;
        }
        if let [.., before, last] = self.stretches.make_contiguous()
            && now.since(before.from) < window_ms / GRAIN
        {
            let (first_ms, second_ms) = (last.from.since(before.from), now.since(last.from));
            before.milli = (before.milli * first_ms + last.milli * second_ms) / (first_ms + second_ms).max(1);
            self.stretches.pop_back();
        }
        self.stretches.push_back(Stretch { from: now, milli });
        self
    }

    /// The average over the window, or over what is known of it.
    pub fn average(&self, now: Timestamp, window_ms: u64) -> Average {
        let (Some(first), Some(last)) = (self.stretches.front(), self.stretches.back()) else {
            return Average { milli: 0, over_ms: 0 };
        };
        let begin = first.from.max(Timestamp(now.0.saturating_sub(window_ms)));
        let over_ms = now.since(begin);
        if over_ms == 0 {
            return Average { milli: last.milli, over_ms };
        }
        let ends = self.stretches.iter().skip(1).map(|next| next.from).chain([now]);
        let area: u128 = self
            .stretches
            .iter()
            .zip(ends)
            .map(|(stretch, end)| u128::from(stretch.milli) * u128::from(end.since(stretch.from.max(begin))))
            .sum();
        Average { milli: u64::try_from(area / u128::from(over_ms)).unwrap_or(u64::MAX), over_ms }
    }

    /// Whether the average changes by itself as time passes.
    pub fn is_moving(&self) -> bool {
        self.stretches.len() > 1
    }

    /// Requests that have waited for more than a moment.
    pub fn waiting(&self) -> u32 {
        self.queue.now.min(self.queue.before)
    }

    /// A clock that stepped back takes the past with it.
    fn rewind(&mut self, now: Timestamp) {
        let step_ms = self.stretches.back().map_or(0, |last| last.from.since(now));
        for stretch in &mut self.stretches {
            stretch.from = Timestamp(stretch.from.0.saturating_sub(step_ms));
        }
    }
}

impl Queue {
    fn seen(self, now: Timestamp, queued: u32) -> Self {
        let at = self.at.min(now);
        match now.since(at) >= WAITS_MS {
            true => Queue { at: now, before: self.now, now: queued },
            false => Queue { at, before: self.before, now: self.now.min(queued) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_MS: u64 = 60_000;

    fn look(history: History, at: u64, in_flight: u32) -> History {
        history.seen(Timestamp(at), &Load { in_flight, ..Load::default() }, WINDOW_MS)
    }

    fn average(history: &History, at: u64) -> u64 {
        history.average(Timestamp(at), WINDOW_MS).milli
    }

    #[test]
    fn a_load_counts_as_long_as_it_lasts_however_often_it_is_looked_at() {
        let quiet = look(History::default(), 0, 0);
        let once = look(quiet.clone(), 50_000, 12);
        let often = (50_000..60_000).step_by(7).fold(quiet, |history, at| look(history, at, 12));
        assert_eq!(average(&once, 60_000), 2_000);
        assert_eq!(average(&often, 60_000).abs_diff(2_000), 0);
    }

    #[test]
    fn what_is_younger_than_the_window_is_averaged_as_far_as_it_goes() {
        let history = look(History::default(), 100_000, 5);
        assert_eq!(history.average(Timestamp(100_000), WINDOW_MS), Average { milli: 5_000, over_ms: 0 });
        let history = look(history, 110_000, 15);
        assert_eq!(history.average(Timestamp(120_000), WINDOW_MS), Average { milli: 10_000, over_ms: 20_000 });
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let history = look(look(History::default(), 0, 100), 1_000, 0);
        assert!(history.is_moving());
        assert_eq!(average(&history, 61_000), 0);
        let history = look(history, 61_000, 0);
        assert!(!history.is_moving());
    }

    #[test]
    fn memory_is_bounded_and_the_average_of_a_restless_load_is_right() {
        let mut history = History::default();
        for at in (0..200_000).step_by(10) {
            history = look(history, at, if at / 10 % 4 == 0 { 40 } else { 0 });
        }
        assert!(history.stretches.len() as u64 <= 2 * GRAIN + 2, "{} stretches", history.stretches.len());
        assert!(average(&history, 200_000).abs_diff(10_000) < 50, "{}", average(&history, 200_000));
    }

    #[test]
    fn a_clock_that_steps_back_takes_the_past_with_it() {
        let history = look(look(History::default(), 1_000_000, 10), 1_030_000, 20);
        let back = look(history, 500_000, 20);
        assert_eq!(average(&back, 500_000), 10_000);
        assert_eq!(average(&back, 530_000), 15_000);
    }

    #[test]
    fn what_waits_counts_when_it_waited_before() {
        let look = |history: History, at: u64, queued: u32| {
            history.seen(Timestamp(at), &Load { queued, ..Load::default() }, WINDOW_MS)
        };
        let burst = look(look(History::default(), 10_000, 0), 12_000, 30);
        assert_eq!(burst.waiting(), 0);
        assert_eq!(look(burst.clone(), 12_100, 30).waiting(), 0);
        assert_eq!(look(burst.clone(), 14_000, 20).waiting(), 20);
        assert_eq!(look(burst, 14_000, 0).waiting(), 0);
    }
}
