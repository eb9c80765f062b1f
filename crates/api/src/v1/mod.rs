//! The public wire contract, version 1: one file per resource. Data only; what it means lives in other rooms.
//!
//! Answers carry every field of the contract, nullable ones included, because strict clients insist on them. Requests keep apart
//! what the contract keeps apart: an absent field is unchanged. Fields that are ours alone are optional and marked so.

pub mod api_keys;
pub mod audit_logs;
pub mod autoscaling;
pub mod backpressure;
pub mod billing;
pub mod deployments;
pub mod dry_run;
pub mod environment_groups;
pub mod environments;
pub mod events;
pub mod instance_types;
pub mod logs;
pub mod metrics;
pub mod models;
pub mod oauth;
pub mod organizations;
pub mod pagination;
pub mod patches;
pub mod policies;
pub mod promotion;
pub mod promotions;
pub mod regions;
pub mod replicas;
pub mod secrets;
pub mod service_accounts;
pub mod startups;
pub mod teams;
pub mod time;
pub mod uploads;
pub mod users;
pub mod workspace_settings;

use serde::{Deserialize, Deserializer};

/// `true`, for fields that are on unless a request says otherwise.
fn yes() -> bool {
    true
}

/// Keeps a null that was given apart from a field that was not.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
