//! Changes that are only tried. Greenroom's own.

use serde::{Deserialize, Serialize};

/// Whether a change is only tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct DryRunQuery {
    /// Make no change, and answer as if it had been made, or with why it is refused.
    pub dry_run: bool,
}
