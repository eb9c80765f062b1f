//! Messages between our own rooms and processes. Not public: both ends come from one build or from neighbouring releases.

pub mod frame;
pub mod link;
pub mod measures;
pub mod replica;
pub mod routes;
