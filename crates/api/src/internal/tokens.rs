//! Tokens of text: how many requests have taken, how many they may, and what of that counts together. Windows and decisions are the
//! planner's.

use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::id::{DeploymentId, GatewayId, ModelId};

/// Tokens that requests have taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Of input.
    pub input: u64,
    /// Of output.
    pub output: u64,
}

/// The unit of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// From midnight to midnight, in UTC.
    Day,
    /// From the first of a month to the first of the next, in UTC.
    Month,
}

/// How long a window lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// Its unit.
    pub granularity: Granularity,
    /// How many of these.
    pub step: NonZeroU32,
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

/// The most that may be taken in a window: at least one measure has a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MostTokens {
    /// How long its windows are.
    pub period: Period,
    /// The most of each measure; one that is not here is not bounded.
    pub bounds: BTreeMap<Measure, NonZeroU64>,
}

/// A limit, and the policy that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLimit {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The most there may be.
    pub most: MostTokens,
}

/// What policies are attached to: all that it is asked for counts together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metered {
    /// An environment of a model.
    Environment(ModelId, String),
    /// A deployment.
    Deployment(DeploymentId),
}

/// What has been taken in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// How long the window is.
    pub period: Period,
    /// When it began, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// How much.
    pub tokens: Tokens,
}

/// What one gateway has counted in one window of what policies are attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Which gateway. One that begins anew is another.
    pub by: GatewayId,
    /// Of what.
    pub of: Metered,
    /// How much.
    pub spent: Spent,
}

/// What may be taken, and what gateways have taken of it by the last record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    /// All of these hold.
    pub limits: Vec<TokenLimit>,
    /// By gateway.
    pub counted: Vec<(GatewayId, Spent)>,
}

impl Tokens {
    /// These and others.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { input: self.input.saturating_add(other.input), output: self.output.saturating_add(other.output) }
    }

    /// What has come since there were as many as `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { input: self.input.saturating_sub(before.input), output: self.output.saturating_sub(before.output) }
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

    /// The one that is written so; none where none is.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
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

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "tokens of input",
            Self::Output => "tokens of output",
            Self::Total => "tokens",
            Self::InputPerOutput => "tokens of input for each of output",
        })
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(_, name) => write!(f, "environment {name}"),
            Self::Deployment(id) => write!(f, "deployment {id}"),
        }
    }
}
