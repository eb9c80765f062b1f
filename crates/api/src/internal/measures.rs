//! What a gateway has counted of the requests for one deployment.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{Deserialize, Serialize};

use super::tokens::Tokens;

/// Where a histogram's values are told apart. Counts are stored by the number of their bound: a change needs a migration.
pub trait Bounds {
    /// Upper bounds in rising order.
    const UPPER: &'static [f64];
}

/// Times, from what a gateway takes by itself to the longest that a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds;

impl Bounds for Seconds {
    const UPPER: &'static [f64] =
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1200.0];
}

/// Sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes;

impl Bounds for Bytes {
    const UPPER: &'static [f64] = &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
}

/// How often values fell between bounds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Histogram<B> {
    /// By the number of the first bound that a value does not exceed; as long as the largest value so far asks for.
    counts: Vec<u64>,
    sum: f64,
    #[serde(skip)]
    bounds: PhantomData<B>,
}

impl<B> Default for Histogram<B> {
    fn default() -> Self {
        Self { counts: Vec::new(), sum: 0.0, bounds: PhantomData }
    }
}

impl<B: Bounds> Histogram<B> {
    /// Adds a value. One that is a bound belongs below it.
    pub fn record(&mut self, value: f64) {
        let number = B::UPPER.partition_point(|bound| *bound < value);
        if self.counts.len() <= number {
            self.counts.resize(number + 1, 0);
        }
        self.counts[number] += 1;
        self.sum += value;
    }

    /// Adds all values of another one.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// What has come since it was as `before`.
    fn since(&self, before: &Self) -> Self {
        let before_count = |number: usize| before.counts.get(number).copied().unwrap_or(0);
        let counts = self.counts.iter().enumerate().map(|(number, count)| count - before_count(number).min(*count));
        Self { counts: counts.collect(), sum: (self.sum - before.sum).max(0.0), bounds: PhantomData }
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What they come to together.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Their mean; none where there are none.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum / self.count() as f64)
    }

    /// Each upper bound with the values between it and the one before; the last one is the largest number there is.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.iter().copied().chain(std::iter::repeat(0));
        B::UPPER.iter().copied().chain([f64::MAX]).zip(counts)
    }

    /// The value below which a share of `quantile` (0 to 1) of all lie, as if those between two bounds were evenly spread
    /// (as Prometheus's `histogram_quantile` has it); those above the last bound count as that bound. None where there are none.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, count) in self.buckets() {
            let within = count as f64;
            if count > 0 && below + within >= rank {
                let share = (rank - below) / within;
                return Some(if upper == f64::MAX { lower } else { lower + (upper - lower) * share });
            }
            below += within;
            lower = upper;
        }
        None
    }
}

impl<B> fmt::Debug for Histogram<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("counts", &self.counts).field("sum", &self.sum).finish()
    }
}

/// Requests that were answered with one status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// From the head of the request to the end of the answer, waiting included.
    pub response_time: Histogram<Seconds>,
    /// From the head of the request to that of the answer.
    pub first_byte: Histogram<Seconds>,
    /// Bodies of requests that have announced their size.
    pub request_bytes: Histogram<Bytes>,
    /// Bodies of answers, as sent.
    pub response_bytes: Histogram<Bytes>,
}

/// Everything counted of one deployment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// By status; 499 for a client that left before the head of its answer.
    pub answered: BTreeMap<u16, Answered>,
    /// How long requests waited for a slot.
    pub queued: Histogram<Seconds>,
    /// Websockets that are open: not a count but how it is.
    pub websockets: u32,
    /// Tokens that requests have taken, as far as their answers tell.
    #[serde(default)]
    pub tokens: Tokens,
}

impl Measures {
    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.answered.values().map(|answered| answered.response_time.count()).sum()
    }

    /// Adds what was counted later.
    pub fn add(&mut self, later: &Self) {
        for (status, more) in &later.answered {
            let answered = self.answered.entry(*status).or_default();
            answered.response_time.add(&more.response_time);
            answered.first_byte.add(&more.first_byte);
            answered.request_bytes.add(&more.request_bytes);
            answered.response_bytes.add(&more.response_bytes);
        }
        self.queued.add(&later.queued);
        self.websockets = later.websockets;
        self.tokens = self.tokens.plus(later.tokens);
    }

    /// What has been counted since it was as `before`. Where less is there than before, the gateway has begun again, and all counts.
    pub fn since(&self, before: &Self) -> Self {
        if self.requests() < before.requests() {
            return self.clone();
        }
        let nothing = Answered::default();
        let answered = self.answered.iter().filter_map(|(status, now)| {
            let before = before.answered.get(status).unwrap_or(&nothing);
            let since = Answered {
                response_time: now.response_time.since(&before.response_time),
                first_byte: now.first_byte.since(&before.first_byte),
                request_bytes: now.request_bytes.since(&before.request_bytes),
                response_bytes: now.response_bytes.since(&before.response_bytes),
            };
            (since.response_time.count() > 0).then_some((*status, since))
        });
        Self {
            answered: answered.collect(),
            queued: self.queued.since(&before.queued),
            websockets: self.websockets,
            tokens: self.tokens.since(before.tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Histogram<Bytes> {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    #[test]
    fn a_value_falls_below_the_first_bound_that_it_does_not_exceed() {
        let mut histogram = of(&[50.0, 100.0, 150.0, 1e8, 2e8]);
        let counts = |histogram: &Histogram<Bytes>| histogram.buckets().map(|(_, count)| count).collect::<Vec<_>>();
        assert_eq!(counts(&histogram), [2, 1, 0, 0, 0, 0, 1, 1]);
        histogram.add(&of(&[1.0, 5e3]));
        assert_eq!(counts(&histogram), [3, 1, 1, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.sum(), 300_005_301.0);
        assert_eq!(counts(&histogram.since(&of(&[1.0, 1.0, 150.0]))), [1, 0, 1, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn quantiles_lie_between_the_bounds_of_their_values() {
        assert_eq!(of(&[]).quantile(0.5), None);
        assert_eq!(of(&[50.0; 4]).quantile(0.5), Some(50.0));
        assert_eq!(of(&[500.0; 9]).quantile(1.0), Some(1000.0));
        assert_eq!(of(&[50.0, 50.0, 50.0, 5e6]).quantile(0.875), Some(5.5e6));
        assert_eq!(of(&[1e9]).quantile(0.99), Some(1e8), "beyond the last bound nothing is known");
    }

    #[test]
    fn what_comes_between_two_looks_is_told_apart_from_a_gateway_that_began_again() {
        let of = |statuses: &[u16]| {
            let mut measures = Measures::default();
            statuses.iter().for_each(|status| {
                measures.answered.entry(*status).or_default().response_time.record(0.5);
            });
            measures
        };
        let since = of(&[200, 200, 404]).since(&of(&[200]));
        assert_eq!(since, of(&[200, 404]));
        assert_eq!(of(&[200]).since(&of(&[200, 200])), of(&[200]));
        let mut whole = of(&[200]);
        whole.add(&since);
        assert_eq!(whole, of(&[200, 200, 404]));
        assert_eq!(of(&[200]).since(&of(&[200])), Measures::default());
        let stored: Measures = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        assert_eq!(stored, whole);
    }
}
