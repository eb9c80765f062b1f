//! Stories about the controller, told from outside: something is pushed, asked for, breaks or is killed, and in the end intent is
//! true. What is asserted is what a user could see: statuses, routes, log lines, processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod environments;
mod export;
mod gateway;
mod journeys;
mod kills;
mod limits;
mod locations;
mod promoting;
mod promotions;
mod reloads;
mod setbacks;
mod spy;
mod trouble;
mod waiting;
mod world;
