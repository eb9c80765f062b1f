//! The only place with SQL. One [`Store`] over SQLite or PostgreSQL, and archives as [`Blobs`].
//!
//! Every write is committed, and on disk, before its method returns; a method that fails has changed nothing. Every method can
//! be dropped at any await. The store keeps facts and intent; it decides nothing but what a transaction has to decide.
#![forbid(unsafe_code)]

mod audit;
mod blobs;
mod bucket;
mod changes;
mod cipher;
mod columns;
mod database;
mod delta;
mod deployments;
pub mod domain;
mod environment_groups;
mod environments;
mod error;
mod keys;
mod leadership;
mod locations;
mod logs;
mod measures;
mod models;
mod organization;
mod patches;
mod people;
mod policies;
mod promotions;
mod replicas;
mod scaling;
mod secrets;
mod sign_ins;
mod startups;
mod tokens;
mod workspace_settings;

pub use audit::AuditQuery;
pub use blobs::{BlobInfo, BlobReader, Blobs, Location};
pub use bucket::Bucket;
pub use changes::{Changes, Topic};
pub use cipher::SecretKey;
pub use database::{Options, Store, sqlite_url};
pub use delta::{Delta, Rows};
pub use deployments::NewDeployment;
pub use error::{BoxError, Error};
pub use leadership::Leadership;
pub use logs::{InvalidPattern, LogPosition, LogQuery, Pattern};
pub use measures::MeasuredOf;
pub use models::ModelFilter;
pub use organization::Installation;
pub use people::Beginning;
pub use policies::PoliciesOf;
pub use promotions::{Candidate, CopyOf, NewPromotion};
pub use replicas::Placement;
pub use secrets::Resealed;
pub use startups::StartsOf;
