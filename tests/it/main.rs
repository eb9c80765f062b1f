//! Black-box tests of the built programs: a real server on a port of its own, the real command line, real models.

mod access;
mod actors;
mod apply;
mod governance;
mod harness;
mod load;
mod play;
mod stage;

mod autoscaling;
mod bad_models;
mod bucket;
mod command_line;
mod configuration;
mod export;
mod gpus;
mod inference;
mod live_reload;
mod long_answers;
mod main_job;
mod metrics;
mod on_postgresql;
mod planted_secret;
mod prometheus;
mod promote_command;
mod promotions;
mod releases;
mod restarts;
mod rollouts;
mod server_secret;
mod uploads;
