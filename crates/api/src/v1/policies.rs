//! Where work may run, and why, and how many tokens it may take. Greenroom's own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A policy: all that it allows of one thing. Several of one type on one object add up, but for limits of tokens, which all hold; types,
/// and an environment's and a deployment's, narrow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Unique name.
    pub name: String,
    /// What it is about: `location`, `flavor` or `maxToken`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The places that one of type `location` allows.
    #[serde(default)]
    pub locations: Vec<PolicyEntry>,
    /// The hardware that one of type `flavor` allows.
    #[serde(default)]
    pub flavors: Vec<PolicyEntry>,
    /// The tokens that one of type `maxToken` allows; null in one of another type.
    #[serde(default)]
    pub max_tokens: Option<MaxTokens>,
    /// What it is for; null means for everything.
    #[serde(default)]
    pub resource_types: Option<Vec<String>>,
    /// When it was made, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed, RFC 3339.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// What it is attached to.
    pub usage: PolicyUsage,
}

/// A place or a flavor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyEntry {
    /// A place's: `location`, `country` or `continent`. A flavor's: `cpu` or `gpu`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The name of a location or a flavor, or the code of a country (two letters of ISO 3166-1) or a continent.
    pub name: String,
}

/// How many tokens may be taken in a window of time, in UTC: at least one of the numbers is given. One that is absent or 0 bounds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxTokens {
    /// The unit of the window: `minute`, `hour`, `day` or `month`.
    pub granularity: String,
    /// How many of them a window has; 1 if absent.
    #[serde(default)]
    pub step: Option<u32>,
    /// Tokens of input.
    #[serde(default)]
    pub input: Option<u64>,
    /// Tokens of output.
    #[serde(default)]
    pub output: Option<u64>,
    /// Tokens of both together.
    #[serde(default)]
    pub total: Option<u64>,
    /// Tokens of input for each of output.
    #[serde(default, alias = "ratioInputOverOutput")]
    pub ratio_input_over_output: Option<u64>,
}

/// How often a policy is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyUsage {
    /// Environments that it is attached to.
    pub environments: u64,
    /// Deployments that it is attached to.
    pub deployments: u64,
}

/// All policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policies {
    /// By name.
    pub policies: Vec<Policy>,
}

/// A policy to be made, or what takes the place of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRequest {
    /// Its name: lower-case letters, digits and hyphens. In the place of one that is there, the same name or none.
    #[serde(default)]
    pub name: Option<String>,
    /// What it is about: `location`, `flavor` (or `gpu`, `cpu`: flavors of that type only) or `maxToken`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The places that one of type `location` allows.
    #[serde(default)]
    pub locations: Vec<PolicyEntry>,
    /// The hardware that one of type `flavor` allows.
    #[serde(default)]
    pub flavors: Vec<PolicyEntry>,
    /// The tokens that one of type `maxToken` allows.
    #[serde(default, alias = "maxTokens", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<MaxTokens>,
    /// What it is for: `model`, `function`, `agent`; absent means for everything.
    #[serde(default, alias = "resourceTypes")]
    pub resource_types: Option<Vec<String>>,
}

/// What remains of a deleted policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTombstone {
    /// Its name.
    pub name: String,
    /// Always true.
    pub deleted: bool,
}

/// Whether a policy that is in use may be deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct DeletePolicyQuery {
    /// Delete it although it is attached to something, and detach it there.
    pub force: bool,
}

/// The policies of an environment or of a deployment, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachedPolicies {
    /// In the order in which they were attached.
    pub policies: Vec<String>,
}

/// A question where something may run: by names of policies, or by an environment of a model and what it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExplainPoliciesRequest {
    /// Policies of the environment.
    pub environment_policies: Vec<String>,
    /// Policies of the deployment.
    pub deployment_policies: Vec<String>,
    /// The hardware that the deployment asks for; absent means any.
    pub flavors: Option<Vec<PolicyEntry>>,
    /// What kind of thing: `model` if absent.
    pub resource_type: Option<String>,
    /// In place of all of the above: a model ...
    pub model_id: Option<String>,
    /// ... and one of its environments.
    pub environment: Option<String>,
}

/// A place where something may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlacementCandidate {
    /// The location.
    pub location: String,
    /// The hardware in it.
    pub flavor: PlacementFlavor,
}

/// Hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlacementFlavor {
    /// `cpu` or `gpu`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which.
    pub name: String,
}

/// One step on the way to the candidates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlacementStep {
    /// Which: `inventory`, `health`, `environment_locations`, `environment_flavors`, `deployment_locations`, `deployment_flavors`,
    /// `asked_flavors`, `feasibility`.
    pub step: String,
    /// The policies that it went by.
    pub policies: Vec<String>,
    /// What fell out.
    pub removed: Vec<PlacementCandidate>,
    /// How many were left.
    pub left: usize,
}

/// How many tokens may be taken, by one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTokenLimit {
    /// Whose requests count together: `environment` or `deployment`.
    pub level: String,
    /// The policy.
    pub policy: String,
    /// How many.
    pub max_tokens: MaxTokens,
}

/// Where something may run, and why nowhere else; and how many tokens it may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainPoliciesResponse {
    /// Where it may run.
    pub candidates: Vec<PlacementCandidate>,
    /// What was looked at, one after the other.
    pub steps: Vec<PlacementStep>,
    /// Why it may run nowhere, in a sentence; null when it may run somewhere.
    pub refusal: Option<String>,
    /// How many tokens it may take: all of these hold.
    #[serde(default)]
    pub token_limits: Vec<PolicyTokenLimit>,
}
