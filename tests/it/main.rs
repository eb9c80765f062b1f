//! Black-box tests of the built programs: a real server on a port of its own, the real command line, real models.

mod harness;

mod bad_models;
mod baseten_sdk;
mod bucket;
mod command_line;
mod configuration;
mod inference;
mod main_job;
mod restarts;
mod uploads;
