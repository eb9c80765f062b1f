//! Routes of policies, of what they are attached to, and of what they come to.

use api::{
    internal::tokens::TokenLimit,
    v1::{
        dry_run::DryRunQuery,
        policies::{
            AttachedPolicies, DeletePolicyQuery, ExplainPoliciesRequest, ExplainPoliciesResponse, MaxTokens,
            PlacementCandidate, PlacementFlavor, PlacementStep, Policies, Policy, PolicyEntry, PolicyRequest,
            PolicyTokenLimit, PolicyTombstone, PolicyUsage,
        },
    },
};
use axum::{Json, extract::State};
use planner::policy::{Candidate, Explained, tokens, written};
use store::domain::StoredPolicy;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery, JsonBody},
    paths::{OfDeployment, OfEnvironment, OfPolicy},
};
use crate::{
    ControlPlane,
    ops::{self, policies::Question},
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_policies, create_policy))
        .routes(routes!(get_policy, replace_policy, delete_policy))
        .routes(routes!(explain_policies))
        .routes(routes!(get_environment_policies, attach_environment_policies))
        .routes(routes!(get_deployment_policies, attach_deployment_policies))
}

/// Lists the policies.
#[utoipa::path(get, path = "/v1/policies", tag = "Policies", responses((status = 200, body = Policies)))]
async fn list_policies(State(control_plane): State<ControlPlane>, _: Manager) -> Result<Json<Policies>, Error> {
    let policies = ops::policies::list(&control_plane).await?;
    Ok(Json(Policies { policies: policies.into_iter().map(wire).collect() }))
}

/// Makes a policy.
#[utoipa::path(
    post, path = "/v1/policies", tag = "Policies", params(DryRunQuery), request_body = PolicyRequest,
    responses((status = 200, body = Policy))
)]
async fn create_policy(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<PolicyRequest>,
) -> Result<Json<Policy>, Error> {
    // One that is missing is refused as one that is empty, after the question who asks.
    let name = request.name.clone().unwrap_or_default();
    let policy = read(name, request);
    Ok(Json(wire(ops::policies::create(&control_plane, &caller, policy, convert::effect(query)).await?)))
}

/// Shows a policy.
#[utoipa::path(get, path = "/v1/policies/{policy_name}", tag = "Policies", params(OfPolicy), responses((status = 200, body = Policy)))]
async fn get_policy(
    State(control_plane): State<ControlPlane>,
    _: Manager,
    InPath(path): InPath<OfPolicy>,
) -> Result<Json<Policy>, Error> {
    Ok(Json(wire(ops::policies::get(&control_plane, &path.policy_name).await?)))
}

/// Gives a policy another rule. What runs out of its bounds is replaced, or ended where nothing is allowed any more; a limit of tokens counts at once.
#[utoipa::path(
    put, path = "/v1/policies/{policy_name}", tag = "Policies", params(OfPolicy, DryRunQuery),
    request_body = PolicyRequest, responses((status = 200, body = Policy))
)]
async fn replace_policy(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfPolicy>,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<PolicyRequest>,
) -> Result<Json<Policy>, Error> {
    let name = path.policy_name;
    if request.name.as_ref().is_some_and(|said| *said != name) {
        return Err(Error::invalid(format!("name: it is not {name:?}, as the path has it: names stay as they are")));
    }
    let policy = read(name.clone(), request);
    Ok(Json(wire(ops::policies::replace(&control_plane, &caller, &name, policy, convert::effect(query)).await?)))
}

/// Deletes a policy.
#[utoipa::path(
    delete, path = "/v1/policies/{policy_name}", tag = "Policies", params(OfPolicy, DeletePolicyQuery),
    responses((status = 200, body = PolicyTombstone))
)]
async fn delete_policy(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfPolicy>,
    InQuery(query): InQuery<DeletePolicyQuery>,
) -> Result<Json<PolicyTombstone>, Error> {
    ops::policies::delete(&control_plane, &caller, &path.policy_name, query.force).await?;
    Ok(Json(PolicyTombstone { name: path.policy_name, deleted: true }))
}

/// Says where something may run under these policies, and at which step every other place fell out. Changes nothing.
#[utoipa::path(
    post, path = "/v1/policies:explain", tag = "Policies", request_body = ExplainPoliciesRequest,
    responses((status = 200, body = ExplainPoliciesResponse))
)]
async fn explain_policies(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    JsonBody(request): JsonBody<ExplainPoliciesRequest>,
) -> Result<Json<ExplainPoliciesResponse>, Error> {
    let says_more = request
        != ExplainPoliciesRequest {
            model_id: request.model_id.clone(),
            environment: request.environment.clone(),
            ..Default::default()
        };
    let answer = match (request.model_id, request.environment) {
        (Some(_), Some(_)) if says_more => {
            return Err(Error::invalid(
                "model_id and environment: what they have is asked about, so leave out policies, flavors and resource_type",
            ));
        }
        (Some(model), Some(environment)) => {
            let impossible = |error| ops::Error::Unprocessable(format!("model_id: {model:?} is {error}"));
            let id = model.parse().map_err(impossible)?;
            let found = ops::policies::explain_environment(&control_plane, &caller, &id, &environment, explained);
            found.await.map_err(|error| match error {
                // Named in the body, as policies are.
                ops::Error::NotFound { .. } => ops::Error::Unprocessable(error.to_string()),
                error => error,
            })?
        }
        (None, None) => {
            let question = Question {
                environment: request.environment_policies,
                deployment: request.deployment_policies,
                flavors: request.flavors.unwrap_or_default().into_iter().map(entry).collect(),
                resource_type: request.resource_type,
            };
            ops::policies::explain(&control_plane, question, explained).await?
        }
        _ => return Err(Error::invalid("model_id and environment: give both, or neither and names of policies")),
    };
    Ok(Json(answer))
}

/// Lists the policies of an environment.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/environments/{env_name}/policies", tag = "Policies", params(OfEnvironment),
    responses((status = 200, body = AttachedPolicies))
)]
async fn get_environment_policies(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<AttachedPolicies>, Error> {
    let policies = ops::policies::of_environment(&control_plane, &caller, &path.model_id, &path.env_name).await?;
    Ok(Json(AttachedPolicies { policies }))
}

/// Attaches these policies to an environment, in place of those that were.
#[utoipa::path(
    put, path = "/v1/models/{model_id}/environments/{env_name}/policies", tag = "Policies",
    params(OfEnvironment, DryRunQuery), request_body = AttachedPolicies, responses((status = 200, body = AttachedPolicies))
)]
async fn attach_environment_policies(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<AttachedPolicies>,
) -> Result<Json<AttachedPolicies>, Error> {
    let (model, name, names) = (&path.model_id, &path.env_name, once(request.policies));
    let effect = convert::effect(query);
    let policies = ops::policies::attach_to_environment(&control_plane, &caller, model, name, names, effect).await?;
    Ok(Json(AttachedPolicies { policies }))
}

/// Lists the policies of a deployment.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/policies", tag = "Policies", params(OfDeployment),
    responses((status = 200, body = AttachedPolicies))
)]
async fn get_deployment_policies(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<AttachedPolicies>, Error> {
    let policies = ops::policies::of_deployment(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    Ok(Json(AttachedPolicies { policies }))
}

/// Attaches these policies to a deployment, in place of those that were. They only narrow what its environment allows.
#[utoipa::path(
    put, path = "/v1/models/{model_id}/deployments/{deployment_id}/policies", tag = "Policies", params(OfDeployment),
    request_body = AttachedPolicies, responses((status = 200, body = AttachedPolicies))
)]
async fn attach_deployment_policies(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    JsonBody(request): JsonBody<AttachedPolicies>,
) -> Result<Json<AttachedPolicies>, Error> {
    let (model, target, names) = (&path.model_id, &path.deployment_id, once(request.policies));
    let policies = ops::policies::attach_to_deployment(&control_plane, &caller, model, target, names).await?;
    Ok(Json(AttachedPolicies { policies }))
}

/// Said twice is said once.
fn once(names: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

fn read(name: String, request: PolicyRequest) -> written::Policy {
    written::Policy {
        name,
        kind: request.kind,
        locations: request.locations.into_iter().map(entry).collect(),
        flavors: request.flavors.into_iter().map(entry).collect(),
        max_tokens: request.max_tokens.map(max_tokens),
        resource_types: request.resource_types,
    }
}

fn max_tokens(said: MaxTokens) -> written::MaxTokens {
    let MaxTokens { granularity, step, input, output, total, ratio_input_over_output } = said;
    written::MaxTokens { granularity, step, input, output, total, ratio_input_over_output }
}

fn max_tokens_wire(written: written::MaxTokens) -> MaxTokens {
    let written::MaxTokens { granularity, step, input, output, total, ratio_input_over_output } = written;
    MaxTokens { granularity, step, input, output, total, ratio_input_over_output }
}

fn entry(PolicyEntry { kind, name }: PolicyEntry) -> written::Entry {
    written::Entry { kind, name }
}

fn wire(stored: StoredPolicy) -> Policy {
    let written::Policy { name, kind, locations, flavors, max_tokens, resource_types } = stored.policy.into();
    let entries = |entries: Vec<written::Entry>| {
        entries.into_iter().map(|written::Entry { kind, name }| PolicyEntry { kind, name }).collect()
    };
    Policy {
        name,
        kind,
        locations: entries(locations),
        flavors: entries(flavors),
        max_tokens: max_tokens.map(max_tokens_wire),
        resource_types,
        created_at: convert::time(stored.created_at),
        updated_at: convert::time(stored.updated_at),
        usage: PolicyUsage { environments: stored.environments, deployments: stored.deployments },
    }
}

fn explained(explained: &Explained<'_>) -> ExplainPoliciesResponse {
    let steps = explained.steps.iter().map(|step| PlacementStep {
        step: step.name.as_str().to_owned(),
        policies: step.policies.iter().map(ToString::to_string).collect(),
        removed: step.removed.iter().map(candidate).collect(),
        left: step.left,
    });
    ExplainPoliciesResponse {
        candidates: explained.candidates.iter().map(candidate).collect(),
        steps: steps.collect(),
        refusal: explained.refusal().map(|refusal| refusal.to_string()),
        token_limits: token_limits(explained),
    }
}

fn token_limits(explained: &Explained<'_>) -> Vec<PolicyTokenLimit> {
    let levels = [("environment", &explained.environment_limits), ("deployment", &explained.deployment_limits)];
    let limits = levels.into_iter().flat_map(|(level, limits)| limits.iter().map(move |limit| (level, limit)));
    let wire = |(level, limit): (&str, &TokenLimit)| PolicyTokenLimit {
        level: level.to_owned(),
        policy: limit.policy.to_string(),
        max_tokens: max_tokens_wire(tokens::written(&limit.most)),
    };
    limits.map(wire).collect()
}

fn candidate(candidate: &Candidate<'_>) -> PlacementCandidate {
    let flavor = candidate.flavor;
    PlacementCandidate {
        location: candidate.location.name.to_string(),
        flavor: PlacementFlavor { kind: flavor.kind.as_str().to_owned(), name: flavor.name.to_string() },
    }
}
