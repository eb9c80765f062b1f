//! The management API as its clients see it: the real router over a SQLite store in a temporary folder, without a network.

mod api_keys;
mod audit;
mod contract;
mod deployments;
mod environments;
mod errors;
mod logs;
mod models;
mod secrets;
mod support;
mod teams;
mod uploads;
