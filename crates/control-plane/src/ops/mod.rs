//! What callers may ask for, one file per noun. An operation checks permission and state, records intent or reads facts in the
//! store, and returns domain values. It never starts or stops anything: tasks hear of the change from the store and act.

pub mod api_keys;
pub mod audit;
pub mod autoscaling;
pub mod billing;
mod bootstrap;
mod caller;
mod control_plane;
pub mod deployments;
mod effect;
pub mod environment_groups;
pub mod environments;
mod error;
mod key_text;
pub mod listening;
pub mod locations;
pub mod logs;
pub mod metrics;
pub mod models;
mod names;
mod observed;
pub mod patches;
pub mod payload;
pub mod policies;
pub mod promotion_settings;
pub mod promotions;
pub mod push;
pub mod secrets;
pub mod service_accounts;
pub mod sign_ins;
pub mod startups;
pub mod teams;
pub mod tokens;
pub mod uploads;
pub mod users;
mod whose;
pub mod workspace_settings;

pub use bootstrap::bootstrap;
pub use caller::{Caller, Permission};
pub use control_plane::ControlPlane;
pub use effect::Effect;
pub use error::Error;
pub use key_text::KeyText;
pub use whose::Whose;
