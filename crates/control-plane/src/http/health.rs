//! Is the server there, and can it work. The only routes that need no key.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::error::Error;
use crate::ControlPlane;

/// The process answers.
pub async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The store answers too.
pub async fn readyz(State(control_plane): State<ControlPlane>) -> Result<Json<Value>, Error> {
    if control_plane.is_ready().await {
        Ok(Json(json!({ "status": "ok" })))
    } else {
        Err(Error::new(api::error::Code::Unavailable, "the store does not answer"))
    }
}
