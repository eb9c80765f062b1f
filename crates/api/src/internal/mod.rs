//! Messages between our own rooms and processes. Not public: both ends come from one build or from neighbouring releases.

pub mod access;
pub mod client;
pub mod frame;
pub mod link;
pub mod measures;
pub mod outgoing;
pub mod replica;
pub mod routes;
pub mod tokens;
pub mod trace;
