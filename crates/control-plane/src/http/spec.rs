//! The description of the API, generated from the handlers: what every answer shares is added here once.

use std::sync::LazyLock;

use api::{
    error::ManagementError,
    v1::{
        audit_logs::{AuditLogEventTypeGroup, AuditLogSortDirection},
        billing::UsageFormat,
        deployments::DeploymentConfigOutputFormat,
        metrics::ModelMetricMode,
        startups::StartupSortBy,
    },
};
use axum::{http::header, response::IntoResponse};
use serde_json::json;
use utoipa::{
    OpenApi as _, PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, Info, OpenApi, PathItem, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::ControlPlane;

/// The errors that any route may answer with.
const ERRORS: [(&str, &str); 6] = [
    ("400", "Something in the request, or the state of what it names, does not allow it"),
    ("401", "No key, or not a valid one"),
    ("403", "A valid key without the permission"),
    ("404", "There is no such thing"),
    ("429", "Too many requests: `{\"error\", \"retry_after\"}`, in seconds"),
    ("500", "The server failed; its log has the cause under the answer's request id"),
];
const BOTH: &[&str] = &["development", "production"];
/// The routes of a deployment that the contract also lists under literal names in place of the id: what follows the id, and the
/// names.
const ALIASED: [(&str, &[&str]); 6] = [
    ("", BOTH),
    ("/autoscaling_settings", BOTH),
    ("/activate", BOTH),
    ("/deactivate", BOTH),
    ("/retry", BOTH),
    ("/promote", &["development"]),
];
const BY_ID: &str = "/v1/models/{model_id}/deployments/{deployment_id}";
const SECURITY: &str = "ApiKey";

#[derive(utoipa::OpenApi)]
struct Skeleton;

/// The description without any route.
pub fn skeleton() -> OpenApi {
    let mut api = Skeleton::openapi();
    let mut info = Info::new("Greenroom management API", env!("CARGO_PKG_VERSION"));
    info.description = Some("Models, deployments, environments, and what belongs to them. Every answer carries its request id in `X-BASETEN-REQUEST-ID`.".into());
    api.info = info;
    api
}

/// Adds what every operation shares, and the literal names.
pub fn complete(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_with(Components::new);
    components.schemas.insert(ManagementError::name().into_owned(), ManagementError::schema());
    let mut nested = Vec::new();
    ManagementError::schemas(&mut nested);
    // Schemas that only parameters refer to are not collected with the routes.
    nested.push((AuditLogSortDirection::name().into_owned(), AuditLogSortDirection::schema()));
    nested.push((AuditLogEventTypeGroup::name().into_owned(), AuditLogEventTypeGroup::schema()));
    nested.push((DeploymentConfigOutputFormat::name().into_owned(), DeploymentConfigOutputFormat::schema()));
    nested.push((ModelMetricMode::name().into_owned(), ModelMetricMode::schema()));
    nested.push((UsageFormat::name().into_owned(), UsageFormat::schema()));
    nested.push((StartupSortBy::name().into_owned(), StartupSortBy::schema()));
    components.schemas.extend(nested);
    let mut header = ApiKeyValue::new("Authorization");
    header.description = Some("`Api-Key PREFIX.SECRET`, or `Bearer PREFIX.SECRET`".into());
    components.add_security_scheme(SECURITY, SecurityScheme::ApiKey(ApiKey::Header(header)));
    api.security = Some(vec![SecurityRequirement::new(SECURITY, [] as [&str; 0])]);

    for item in api.paths.paths.values_mut() {
        for operation in operations(item) {
            add_errors(operation);
        }
    }
    for (suffix, aliases) in ALIASED {
        for alias in aliases {
            let Some(item) = api.paths.paths.get(&format!("{BY_ID}{suffix}")) else {
                continue;
            };
            let item = under_alias(item.clone(), suffix, alias);
            api.paths.paths.insert(format!("/v1/models/{{model_id}}/deployments/{alias}{suffix}"), item);
        }
    }
    api
}

fn add_errors(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = "Done".into();
        }
    }
    for (status, description) in ERRORS {
        let mut response = ResponseBuilder::new().description(description);
        if status != "429" {
            let schema = Ref::from_schema_name(ManagementError::name());
            response = response.content("application/json", ContentBuilder::new().schema(Some(schema)).build());
        }
        operation.responses.responses.insert(status.into(), RefOr::T(response.build()));
    }
}

/// A route of the deployment that production serves, or of the development deployment.
fn under_alias(mut item: PathItem, suffix: &str, alias: &str) -> PathItem {
    if suffix.is_empty() {
        // The contract deletes and renames by id only.
        item.delete = None;
        item.patch = None;
    }
    for operation in operations(&mut item) {
        operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_{alias}"));
        if let Some(parameters) = &mut operation.parameters {
            parameters.retain(|one| !matches!(one, RefOr::T(one) if one.name == "deployment_id"));
        }
    }
    item
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// The route that answers with the description.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(get_spec))
}

static SPEC: LazyLock<String> = LazyLock::new(|| json!(super::openapi()).to_string());

/// This description.
#[utoipa::path(get, path = "/v1/spec", tag = "Description", responses((status = 200, body = Object)))]
async fn get_spec() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], SPEC.as_str())
}
