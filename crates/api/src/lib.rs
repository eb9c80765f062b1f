//! The words every room shares: identifiers, wire types, and the messages between our own processes.
//! Data only. No runtime, no HTTP, no database: anything that acts lives in another room.
#![forbid(unsafe_code)]

pub mod error;
pub mod id;
pub mod internal;
pub mod truss_config;
pub mod v1;
