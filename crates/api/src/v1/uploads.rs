//! The first half of a push: is it acceptable, and where does the archive go?

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deployments::DeploymentArchivePayload;

/// A request to check a push and to be told where its archive goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PrepareModelUploadRequest {
    /// The deployment, as the push will send it.
    pub deployment: DeploymentArchivePayload,
    /// The new model's name. Either this or `model_id`.
    #[serde(default)]
    pub name: Option<String>,
    /// The new model's team; the default team if absent.
    #[serde(default)]
    pub team_id: Option<String>,
    /// The model to add a deployment to. Either this or `name`.
    #[serde(default)]
    pub model_id: Option<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// Where an archive goes; all null for a check only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrepareModelUploadResponse {
    /// What to sign with.
    #[serde(default)]
    pub creds: Option<AWSCredentials>,
    /// The bucket.
    #[serde(default)]
    pub s3_bucket: Option<String>,
    /// The key; the push names it when the upload is done.
    #[serde(default)]
    pub s3_key: Option<String>,
    /// The region to sign for.
    #[serde(default)]
    pub s3_region: Option<String>,
}

/// Credentials for one upload.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AWSCredentials {
    /// The key's name.
    pub aws_access_key_id: String,
    /// The key.
    pub aws_secret_access_key: String,
    /// Goes along with each request.
    pub aws_session_token: String,
    /// Greenroom's own: where the S3-compatible service is. Clients that hand these fields to an S3 library find it without setup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
}

impl fmt::Debug for AWSCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AWSCredentials")
            .field("aws_access_key_id", &self.aws_access_key_id)
            .field("endpoint_url", &self.endpoint_url)
            .finish_non_exhaustive()
    }
}
