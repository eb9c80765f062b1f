//! Long lists in pages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How to go on after a page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaginationResponse {
    /// Whether there is another page.
    pub has_more: bool,
    /// What to ask for the next page with.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Query of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// From the answer before; absent for the first page.
    #[serde(default)]
    pub cursor: Option<String>,
    /// The longest page wanted.
    #[serde(default)]
    pub limit: Option<u32>,
}
