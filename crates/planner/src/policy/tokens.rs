//! Windows of time, and what of tokens may be taken in one. Windows lie fixed in UTC, so all who count agree on them.

use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
};

use api::internal::tokens::{Granularity, Measure, MostTokens, Period, Tokens};

use super::{
    Invalid,
    calendar::{DAY_MS, first_day_of, month_of},
    written,
};
use crate::Timestamp;

/// A span of time in which tokens count together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// Why a request is not served now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The policy that forbids it.
    pub policy: Arc<str>,
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

/// How much there is of a measure, when that leaves nothing to take. A ratio may be just what is allowed; of a number, nothing is left
/// then.
pub(super) fn reached(measure: Measure, tokens: Tokens, most: u64) -> Option<u64> {
    let used = match measure {
        Measure::Input => tokens.input,
        Measure::Output => tokens.output,
        Measure::Total => tokens.input.saturating_add(tokens.output),
        Measure::InputPerOutput => {
            let is_over = tokens.output > 0 && tokens.input > tokens.output.saturating_mul(most);
            return is_over.then(|| tokens.input.div_ceil(tokens.output));
        }
    };
    (used >= most).then_some(used)
}

impl Window {
    /// Whether a moment is in it.
    pub fn includes(&self, now: Timestamp) -> bool {
        (self.from..self.until).contains(&now)
    }

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

/// Takes what is written; fields are named as they are there.
pub(super) fn parse(written: &written::MaxTokens) -> Result<MostTokens, Invalid> {
    let granularity = Granularity::from_name(&written.granularity).ok_or_else(|| {
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
    Ok(MostTokens { period: Period { granularity, step }, bounds })
}

/// As it is written.
pub fn written(most: &MostTokens) -> written::MaxTokens {
    let bound = |measure| most.bounds.get(&measure).map(|most| most.get());
    written::MaxTokens {
        granularity: most.period.granularity.as_str().into(),
        step: Some(most.period.step.get()),
        input: bound(Measure::Input),
        output: bound(Measure::Output),
        total: bound(Measure::Total),
        ratio_input_over_output: bound(Measure::InputPerOutput),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, measure, period, most, used, until: _, retry_after_s } = self;
        write!(
            f,
            "policy {policy} allows {most} {measure} {period}, and {used} are used: try again in {retry_after_s} s"
        )
    }
}

impl std::error::Error for Refusal {}
