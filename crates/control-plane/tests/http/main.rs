//! The management API as its clients see it: the real router over a SQLite store in a temporary folder, without a network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod api_keys;
mod audit;
mod contract;
mod deployments;
mod environment_groups;
mod environments;
mod errors;
mod events;
mod graphql;
mod logs;
mod members;
mod metrics;
mod models;
mod patches;
mod policies;
mod promotion_control;
mod promotion_history;
mod promotions;
mod recorded;
mod releases;
mod secrets;
mod service_accounts;
mod sign_ins;
mod startups;
mod support;
mod teams;
mod uploads;
mod walk;
mod workspace_settings;
