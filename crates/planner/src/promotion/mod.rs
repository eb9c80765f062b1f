//! How a candidate deployment takes over an environment: at once, by canary, or by a rolling deployment. One machine, driven by
//! what is seen; a shell saves what it says, then lets replicas and routes follow. Behaviour 3.3 to 3.9.
//!
//! The order is law: the candidate is ready, then traffic moves, then the previous side drains, then it shrinks. A share counts as
//! moved only when the gateways have it ([`Seen::published_percent`]).

mod back;
mod canary;
mod commands;
mod decide;
mod in_place;
pub mod invariants;
mod plan;
mod rolling;
mod side;
mod state;
mod targets;
mod why;

use serde::{Deserialize, Serialize};

pub use self::{
    commands::Refusal,
    decide::decide,
    plan::{PlanStep, plan, replicas_beside},
    state::{Memory, Phase, Resume, State, Status},
    why::Why,
};
use crate::autoscale;

/// How a promotion goes: the environment's settings as they were when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How traffic moves.
    pub mode: Mode,
    /// What becomes of the previous deployment.
    pub cleanup: Cleanup,
    /// Whether both sides fit beside each other.
    pub room: Room,
    /// How long replicas may take to become ready without any progress, in milliseconds.
    pub deploy_timeout_ms: u64,
    /// How long the candidate must have been ready before it gets its first traffic, in milliseconds.
    pub min_ready_ms: u64,
}

/// How traffic moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Mode {
    /// All at once, when the candidate can carry it.
    Immediate,
    /// In ten even stages, each when the candidate can carry it.
    Canary {
        /// How long the ten stages take together, in milliseconds.
        duration_ms: u64,
    },
    /// Replica by replica.
    Rolling {
        /// Which side moves first, and how far.
        step: Step,
        /// How long to watch after each shift of traffic, in milliseconds.
        stabilization_ms: u64,
        /// Replicas put on the previous side before anything moves, in percent of it.
        overhead_percent: u32,
    },
}

/// A step of a rolling promotion, in percent of the wanted replicas; at least one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The candidate goes up first: so many more than wanted.
    Surge(u32),
    /// The previous side goes down first: so many fewer than wanted.
    Unavailable(u32),
}

/// What becomes of the previous deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// It keeps running.
    Keep,
    /// Its replicas stop; it can be woken.
    ScaleToZero,
    /// It is deactivated.
    Deactivate,
}

/// Whether both sides fit beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// They do.
    Beside,
    /// They do not: the previous side ends before the candidate starts, and requests wait in the gateway meanwhile.
    InPlace,
}

/// What somebody asks of a promotion that is under way. Recorded, and consumed by the next decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Hold the share where it is, from the next step on.
    Pause,
    /// Go on.
    Resume,
    /// Give the traffic back: step by step where it moved so, else at once.
    Cancel,
    /// Give the traffic back at once.
    ForceCancel,
    /// Give the candidate all traffic as soon as one of its replicas is ready.
    ForceRollForward,
}

/// How a promotion ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// The candidate is the environment's current deployment.
    Succeeded,
    /// It was given up; traffic is with the previous deployment.
    Failed {
        /// What went wrong and what to do about it.
        reason: String,
    },
    /// Somebody gave it up; traffic is with the previous deployment.
    Canceled {
        /// By whose wish, in a few words.
        reason: String,
    },
}

/// Bounds that a promotion sets to the replicas of a side. They replace the minimum and the maximum of its own settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
}

/// What should be true while a promotion is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Replicas of the candidate.
    pub candidate: Hold,
    /// Replicas of the previous deployment; none when its own settings hold.
    pub previous: Option<Hold>,
    /// The candidate's share of the environment's traffic; the previous deployment has the rest.
    pub candidate_percent: u8,
}

/// One side, as it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side<'a> {
    /// Replicas that answer requests and have not been told to stop.
    pub ready: u32,
    /// Replicas that still hold something, those that drain included.
    pub alive: u32,
    /// How many should run, as last decided.
    pub wanted: u32,
    /// Whether it can be started: its build has succeeded.
    pub is_built: bool,
    /// Whether it has ever been active: only then may an environment point at it.
    pub has_been_ready: bool,
    /// Why it cannot serve, where that is certain: its build or its start failed, it was deactivated or deleted, or its replicas have
    /// ended three times in a row without one being ready.
    pub failure: Option<&'a str>,
}

/// What a decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The deployment being promoted.
    pub candidate: Side<'a>,
    /// The environment's current deployment; none when it has none, or it is gone.
    pub previous: Option<Side<'a>>,
    /// The load of both sides together.
    pub load: autoscale::Load,
    /// How the environment scales now.
    pub autoscaling: &'a autoscale::Settings,
    /// The candidate's share in the routes that every gateway has; none before the first publication.
    pub published_percent: Option<u8>,
}
