//! The only place with SQL. One `Store` over SQLite or PostgreSQL, and archives as blobs.
#![forbid(unsafe_code)]

pub mod domain;
