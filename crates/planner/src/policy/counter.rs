//! Whether tokens are left to take. The request that crosses a limit is served, since nobody knows before its end how many tokens it
//! takes; the next is refused until the window is over.
//!
//! Who counts, and whose requests count together, is left to others: one [`Counter`] is for all that one of them counts together.

use std::collections::BTreeMap;

use api::internal::tokens::{Measure, Period, Spent, TokenLimit, Tokens};

use super::tokens::{Refusal, Window, reached};
use crate::Timestamp;

/// What has been taken of something that limits hold for, here and, as far as is known, elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter {
    limits: Vec<TokenLimit>,
    /// One for each length of a window that a limit has.
    tallies: Vec<Tally>,
}

/// What has been taken in windows of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tally {
    period: Period,
    /// The strictest bound of each measure: all that has to be looked at while none is reached.
    bounds: Vec<(Measure, u64)>,
    /// The window in which something was taken here last; empty before that.
    window: Window,
    own: Tokens,
    /// What was taken elsewhere in that window.
    others: Tokens,
    /// All that was taken elsewhere. Of one window there may be several.
    elsewhere: Vec<Spent>,
    /// Whether a bound is reached in another window, by what was taken elsewhere.
    is_reached_elsewhere: bool,
}

impl Counter {
    /// Obeys these limits from now on. Keeps what has been taken where a limit needs it; where it has forgotten that, it takes it over
    /// from what was `recorded` of itself.
    pub fn follow(&mut self, limits: &[TokenLimit], recorded: &[Spent], elsewhere: &[Spent]) {
        let mut bounds: BTreeMap<Period, BTreeMap<Measure, u64>> = BTreeMap::new();
        for limit in limits {
            let strictest = bounds.entry(limit.most.period).or_default();
            for (&measure, &most) in &limit.most.bounds {
                strictest.entry(measure).and_modify(|known| *known = most.get().min(*known)).or_insert(most.get());
            }
        }
        let tally = |(period, bounds): (Period, BTreeMap<Measure, u64>)| {
            let known = self.tallies.iter().find(|known| known.period == period && !known.is_empty());
            let known = known.map(|known| (known.window, known.own));
            let recorded = || recorded.iter().find(|spent| spent.period == period);
            let (window, own) = known
                .or_else(|| recorded().map(|spent| (Window::at(Timestamp(spent.from_ms), period), spent.tokens)))
                .unwrap_or_default();
            let elsewhere = elsewhere.iter().filter(|spent| spent.period == period).copied().collect();
            let bounds = bounds.into_iter().collect();
            let others = Tokens::default();
            let mut tally = Tally { period, bounds, window, own, others, elsewhere, is_reached_elsewhere: false };
            tally.move_to(window);
            tally
        };
        self.tallies = bounds.into_iter().map(tally).collect();
        self.limits = limits.to_vec();
    }

    /// What has been taken here, window by window.
    pub fn spent(&self) -> impl Iterator<Item = Spent> {
        let begun = self.tallies.iter().filter(|tally| !tally.is_empty());
        begun.map(|tally| Spent { period: tally.period, from_ms: tally.window.from.0, tokens: tally.own })
    }

    /// Adds what a request that ends now has taken.
    pub fn add(&mut self, now: Timestamp, tokens: Tokens) {
        self.tallies.iter_mut().for_each(|tally| tally.add(now, tokens));
    }

    /// Whether a limit is reached in any window that is known of. While none is, [`Self::decide`] lets every request pass, at whatever
    /// time it asks.
    pub fn may_refuse(&self) -> bool {
        self.tallies.iter().any(Tally::may_refuse)
    }

    /// Whether a request may be served now: no limit has been reached in its current window. Every limit holds. Of several that are
    /// reached, the answer has the one that lasts longest, the first of equals.
    pub fn decide(&self, now: Timestamp) -> Result<(), Refusal> {
        let mut longest: Option<Refusal> = None;
        for limit in &self.limits {
            let period = limit.most.period;
            let window = Window::at(now, period);
            let tally = self.tallies.iter().find(|tally| tally.period == period);
            let tokens = tally.map(|tally| tally.within(window)).unwrap_or_default();
            for (&measure, &most) in &limit.most.bounds {
                let Some(used) = reached(measure, tokens, most.get()) else {
                    continue;
                };
                if longest.as_ref().is_none_or(|longest| window.until > longest.until) {
                    let retry_after_s = window.until.since(now).div_ceil(1_000).max(1);
                    let (policy, most, until) = (limit.policy.clone(), most.get(), window.until);
                    longest = Some(Refusal { policy, measure, period, most, used, until, retry_after_s });
                }
            }
        }
        longest.map_or(Ok(()), Err)
    }
}

impl Tally {
    /// Whether nothing was taken here yet.
    fn is_empty(&self) -> bool {
        self.window == Window::default()
    }

    /// What has been taken in a window. What is known of another counts for nothing, of a later one neither: after a clock has been put
    /// right, nobody is locked out until a wrong time comes round.
    fn within(&self, window: Window) -> Tokens {
        match window.from == self.window.from {
            true => self.own.plus(self.others),
            false => self.elsewhere_in(window.from.0),
        }
    }

    fn elsewhere_in(&self, from_ms: u64) -> Tokens {
        let same = self.elsewhere.iter().filter(|spent| spent.from_ms == from_ms);
        same.fold(Tokens::default(), |sum, spent| sum.plus(spent.tokens))
    }

    fn add(&mut self, now: Timestamp, tokens: Tokens) {
        if self.window.includes(now) {
            self.own = self.own.plus(tokens);
            return;
        }
        let window = Window::at(now, self.period);
        // The last window there is ends with time itself, which it does not include.
        self.own = if window == self.window { self.own.plus(tokens) } else { tokens };
        self.move_to(window);
    }

    fn move_to(&mut self, window: Window) {
        self.window = window;
        self.others = self.elsewhere_in(window.from.0);
        let mut known = self.elsewhere.iter().map(|spent| spent.from_ms).filter(|from_ms| *from_ms != window.from.0);
        self.is_reached_elsewhere = known.any(|from_ms| self.reaches(self.elsewhere_in(from_ms)));
    }

    fn reaches(&self, tokens: Tokens) -> bool {
        self.bounds.iter().any(|(measure, most)| reached(*measure, tokens, *most).is_some())
    }

    fn may_refuse(&self) -> bool {
        self.is_reached_elsewhere || self.reaches(self.own.plus(self.others))
    }
}
