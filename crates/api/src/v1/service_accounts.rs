//! Service accounts: programs that are users, and ask for tokens with a client id and a secret.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::users::{Membership, Role};

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccount {
    /// Unique identifier; it is a user's.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// The public part of what it identifies itself with.
    pub client_id: String,
    /// What it is in the organization.
    pub role: Role,
    /// The teams that it is in.
    pub teams: Vec<Membership>,
    /// When it was made, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its secret was made, RFC 3339.
    #[schema(format = DateTime)]
    pub secret_created_at: String,
}

/// A list of service accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccounts {
    /// The accounts, oldest first.
    pub service_accounts: Vec<ServiceAccount>,
}

/// A request to make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateServiceAccountRequest {
    /// Unique name: lower-case letters, digits and `-`.
    pub name: String,
    /// What it is in the organization.
    #[serde(default)]
    pub role: Role,
    /// The teams that it is in; the default team, as a member, if absent.
    #[serde(default)]
    pub teams: Option<Vec<Membership>>,
}

/// A service account with a new secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccountSecret {
    /// The account.
    pub service_account: ServiceAccount,
    /// The secret part of what it identifies itself with, shown only now.
    pub client_secret: String,
}

impl fmt::Debug for ServiceAccountSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccountSecret").field("service_account", &self.service_account).finish_non_exhaustive()
    }
}

/// What remains of a deleted one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccountTombstone {
    /// Unique identifier.
    pub id: String,
    /// Whether it is gone.
    pub deleted: bool,
}
