//! The public wire contract, version 1: one file per resource. Data only; what it means lives in other rooms.

pub mod time;
