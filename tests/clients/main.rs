//! Unmodified clients from PyPI against the built programs: each in a virtual environment that is made once and kept in `.cache`, with
//! nothing of the machine's own configuration, and pointed here as its user would point it.

#[path = "../it/harness.rs"]
#[allow(dead_code, reason = "shared with the other tests, which need more of it")]
mod harness;

mod baseten_sdk;
mod grpc;
mod openai;
mod packages;
mod recipe;
mod truss;
