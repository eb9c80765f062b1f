//! How many tokens may be taken in a window of time. The request that crosses a limit is served, since nobody knows before its end how
//! many tokens it takes; the next is refused until the window is over. Windows lie fixed in UTC, so all who count agree on them.
//!
//! Who counts, and whose requests count together, is left to others: one [`Usage`] is for one of them.

use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU32, NonZeroU64},
};

use serde::{Deserialize, Serialize};

use super::{
    Invalid, Name,
    calendar::{DAY_MS, first_day_of, month_of},
    written,
};
use crate::Timestamp;

/// How long a window lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Period {
    /// Its unit.
    pub granularity: Granularity,
    /// How many of these.
    pub step: NonZeroU32,
}

/// The unit of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Tokens of input.
    Input,
    /// Tokens of output.
    Output,
    /// Tokens of both together.
    Total,
    /// Tokens of input for each of output. Counts nothing while there is no output.
    InputPerOutput,
}

/// The most that one policy allows in a window: at least one measure has a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLimit {
    period: Period,
    bounds: BTreeMap<Measure, NonZeroU64>,
}

/// A limit, and the policy that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<'a> {
    /// The policy's name.
    pub policy: &'a Name,
    /// The most there may be.
    pub most: &'a TokenLimit,
}

/// Tokens that requests have taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Of input.
    pub input: u64,
    /// Of output.
    pub output: u64,
}

/// A span of time in which tokens count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// What has been taken, for each length of a window. Kept by those who count, so that a restart forgets nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usage {
    spent: Vec<Spent>,
}

/// What has been taken in the last window of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Spent {
    period: Period,
    from: Timestamp,
    tokens: Tokens,
}

/// Why a request is not served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The policy that forbids it.
    pub policy: &'a Name,
    /// What it counts.
    pub measure: Measure,
    /// How long its windows are.
    pub period: Period,
    /// The most that it allows in one.
    pub most: u64,
    /// How much there is in this one; for [`Measure::InputPerOutput`], rounded up.
    pub used: u64,
    /// When the window ends.
    pub until: Timestamp,
    /// How long that is, in seconds, rounded up; at least 1.
    pub retry_after_s: u64,
}

/// Whether a request may be served now: no limit has been reached in its current window. Every limit holds, whichever level its policy
/// is attached to. Of several that are reached, the answer has the one that lasts longest, the first of equals.
pub fn decide<'a>(now: Timestamp, limits: &[Limit<'a>], usage: &Usage) -> Result<(), Refusal<'a>> {
    let mut longest: Option<Refusal<'a>> = None;
    for limit in limits {
        let period = limit.most.period;
        let window = Window::at(now, period);
        let tokens = usage.within(period, window);
        for (&measure, &most) in &limit.most.bounds {
            let Some(used) = measure.reached(tokens, most.get()) else {
                continue;
            };
            if longest.as_ref().is_none_or(|longest| window.until > longest.until) {
                let retry_after_s = window.until.since(now).div_ceil(1_000).max(1);
                let (policy, most, until) = (limit.policy, most.get(), window.until);
                longest = Some(Refusal { policy, measure, period, most, used, until, retry_after_s });
            }
        }
    }
    longest.map_or(Ok(()), Err)
}

impl Usage {
    /// What has been taken once a request that ends now has taken these tokens. Keeps what these limits need, and forgets the rest.
    #[must_use]
    pub fn plus(&self, now: Timestamp, limits: &[Limit<'_>], tokens: Tokens) -> Self {
        let mut spent: Vec<Spent> = Vec::new();
        for limit in limits {
            let period = limit.most.period;
            if spent.iter().all(|one| one.period != period) {
                let window = Window::at(now, period);
                let tokens = self.within(period, window).plus(tokens);
                spent.push(Spent { period, from: window.from, tokens });
            }
        }
        Self { spent }
    }

    /// What has been taken in a window. What is known of another counts for nothing, of a later one neither: after a clock has been put
    /// right, nobody is locked out until a wrong time comes round.
    fn within(&self, period: Period, window: Window) -> Tokens {
        let known = self.spent.iter().find(|spent| spent.period == period && spent.from == window.from);
        known.map(|spent| spent.tokens).unwrap_or_default()
    }
}

impl Tokens {
    fn plus(self, other: Self) -> Self {
        Self { input: self.input.saturating_add(other.input), output: self.output.saturating_add(other.output) }
    }
}

impl Measure {
    /// How much there is of it, when that leaves nothing to take. A ratio may be just what is allowed; of a number, nothing is left
    /// then.
    fn reached(self, tokens: Tokens, most: u64) -> Option<u64> {
        let used = match self {
            Self::Input => tokens.input,
            Self::Output => tokens.output,
            Self::Total => tokens.input.saturating_add(tokens.output),
            Self::InputPerOutput => {
                let is_over = tokens.output > 0 && tokens.input > tokens.output.saturating_mul(most);
                return is_over.then(|| tokens.input.div_ceil(tokens.output));
            }
        };
        (used >= most).then_some(used)
    }
}

impl Window {
    /// The one that a moment is in. Windows lie end to end from the Unix epoch on: those of twelve months are years, those of seven days
    /// begin on Thursdays.
    pub fn at(now: Timestamp, period: Period) -> Self {
        let step = u64::from(period.step.get());
        let unit_ms = match period.granularity {
            Granularity::Minute => 60_000,
            Granularity::Hour => 3_600_000,
            Granularity::Day => DAY_MS,
            Granularity::Month => {
                let month = month_of(now.0 / DAY_MS) / step * step;
                let first = |month: u64| Timestamp(first_day_of(month).saturating_mul(DAY_MS));
                return Self { from: first(month), until: first(month + step) };
            }
        };
        let from = Timestamp(now.0 / (step * unit_ms) * (step * unit_ms));
        Self { from, until: from.plus(step * unit_ms) }
    }
}

impl TokenLimit {
    /// Takes what is written; fields are named as they are there.
    pub fn parse(written: &written::MaxTokens) -> Result<Self, Invalid> {
        let granularity =
            Granularity::ALL.into_iter().find(|known| known.as_str() == written.granularity).ok_or_else(|| {
                let remedy = format!("choose one of {}", Granularity::ALL.map(Granularity::as_str).join(", "));
                Invalid::new("granularity", format!("{:?} is not a unit of time here", written.granularity), remedy)
            })?;
        let step = NonZeroU32::new(written.step.unwrap_or(1))
            .ok_or_else(|| Invalid::new("step", "is 0", "give 1 or more, or leave it out"))?;
        let bounds: BTreeMap<Measure, NonZeroU64> = [
            (Measure::Input, written.input),
            (Measure::Output, written.output),
            (Measure::Total, written.total),
            (Measure::InputPerOutput, written.ratio_input_over_output),
        ]
        .into_iter()
        .filter_map(|(measure, most)| Some((measure, NonZeroU64::new(most?)?)))
        .collect();
        if bounds.is_empty() {
            let remedy = "give at least 1 as input, output, total or ratio_input_over_output";
            return Err(Invalid::new("total", "has no bound, and nothing else has", remedy));
        }
        Ok(Self { period: Period { granularity, step }, bounds })
    }

    /// How long its windows are.
    pub fn period(&self) -> Period {
        self.period
    }

    /// The most of a measure; none where that is not bounded.
    pub fn most(&self, measure: Measure) -> Option<u64> {
        self.bounds.get(&measure).map(|most| most.get())
    }

    /// As it is written.
    pub(super) fn written(&self) -> written::MaxTokens {
        written::MaxTokens {
            granularity: self.period.granularity.as_str().into(),
            step: Some(self.period.step.get()),
            input: self.most(Measure::Input),
            output: self.most(Measure::Output),
            total: self.most(Measure::Total),
            ratio_input_over_output: self.most(Measure::InputPerOutput),
        }
    }
}

impl Granularity {
    /// All there are, shortest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step.get() {
            1 => write!(f, "each {}", self.granularity.as_str()),
            step => write!(f, "every {step} {}s", self.granularity.as_str()),
        }
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, measure, period, most, used, until: _, retry_after_s } = self;
        let what = match measure {
            Measure::Input => "tokens of input",
            Measure::Output => "tokens of output",
            Measure::Total => "tokens",
            Measure::InputPerOutput => "tokens of input for each of output",
        };
        write!(f, "policy {policy} allows {most} {what} {period}, and {used} are used: try again in {retry_after_s} s")
    }
}

impl std::error::Error for Refusal<'_> {}
