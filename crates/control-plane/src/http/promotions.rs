//! Routes of promotions: asked for, planned, steered, looked at, undone.

use api::{
    error::Code,
    v1::{
        deployments::Deployment,
        promotion::{InProgressPromotion, InProgressPromotionStatus, PromotionCleanupStrategy},
        promotions::{
            CancelPromotionResponse, CancelPromotionStatus, PromoteRequest, PromoteToEnvironmentRequest, Promotion,
            PromotionAction, PromotionMode, PromotionOrigin, PromotionPlan, PromotionPlanStep, PromotionSide,
            Promotions, PromotionsQuery, ReleaseRequest, ReleaseResponse, RollbackRequest, SignalPromotionResponse,
        },
    },
};
use axum::{Json, extract::State};
use planner::promotion::{Cleanup, Command, Ending, Mode, Room, Status};
use serde_json::{Map, Value};
use store::domain::Origin;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery, JsonBody, MaybeJsonBody},
    paths::{OfDeployment, OfEnvironment, OfModel},
    promotion_difference,
};
use crate::{
    ControlPlane,
    ops::{
        self, Caller,
        deployments::Target,
        promotions::{Cancellation, Plan, Release, Request, Side, View},
    },
};

const DEFAULT_LIMIT: u32 = 20;
const LARGEST_LIMIT: u32 = 200;

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(promote_deployment))
        .routes(routes!(promote_to_environment))
        .routes(routes!(plan_promotion))
        .routes(routes!(rollback_environment))
        .routes(routes!(release))
        .routes(routes!(plan_release))
        .routes(routes!(get_promotion))
        .routes(routes!(list_promotions))
        .routes(routes!(cancel_promotion))
        .routes(routes!(pause_promotion))
        .routes(routes!(resume_promotion))
        .routes(routes!(force_cancel_promotion))
        .routes(routes!(force_roll_forward_promotion))
}

/// Promotes a deployment to production, and answers with the one that goes there: itself, or a copy.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/deployments/{deployment_id}/promote", tag = "Promotions", params(OfDeployment),
    request_body = PromoteRequest, responses((status = 200, body = Deployment))
)]
async fn promote_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    MaybeJsonBody(request): MaybeJsonBody<PromoteRequest>,
) -> Result<Json<Deployment>, Error> {
    if path.deployment_id == Target::Production {
        return Err(Error::new(Code::NotFound, "what production serves cannot be promoted to production: give an id"));
    }
    check_settings_update(request.environment_settings_update.as_ref())?;
    let request = Request {
        cleans_up: request.scale_down_previous_production,
        keeps_instance_type: request.preserve_env_instance_type,
        settings: request.promotion_settings_override.unwrap_or_default(),
        ..Request::to_production(path.deployment_id)
    };
    let begun = ops::promotions::promote(&control_plane, &caller, &path.model_id, &request).await?;
    Ok(Json(convert::deployment(begun.deployment)))
}

/// Promotes a deployment to an environment, and answers with the one that goes there: itself, or a copy.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/environments/{env_name}/promote", tag = "Promotions", params(OfEnvironment),
    request_body = PromoteToEnvironmentRequest, responses((status = 200, body = Deployment))
)]
async fn promote_to_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    JsonBody(request): JsonBody<PromoteToEnvironmentRequest>,
) -> Result<Json<Deployment>, Error> {
    let request = to_environment(path.env_name, request)?;
    let begun = ops::promotions::promote(&control_plane, &caller, &path.model_id, &request).await?;
    Ok(Json(convert::deployment(begun.deployment)))
}

/// Says what a promotion to the environment would do, or why it would be refused. Changes nothing.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/environments/{env_name}/promotion_plan", tag = "Promotions", params(OfEnvironment),
    request_body = PromoteToEnvironmentRequest, responses((status = 200, body = PromotionPlan))
)]
async fn plan_promotion(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    JsonBody(request): JsonBody<PromoteToEnvironmentRequest>,
) -> Result<Json<PromotionPlan>, Error> {
    let request = to_environment(path.env_name, request)?;
    let plan = ops::promotions::plan(&control_plane, &caller, &path.model_id, &request).await?;
    Ok(Json(plan_on_the_wire(plan)))
}

/// Promotes what the environment served before, at once unless the body says otherwise.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/environments/{env_name}/rollback", tag = "Promotions", params(OfEnvironment),
    request_body = RollbackRequest, responses((status = 200, body = Deployment))
)]
async fn rollback_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    MaybeJsonBody(request): MaybeJsonBody<RollbackRequest>,
) -> Result<Json<Deployment>, Error> {
    let (model, environment) = (&path.model_id, &path.env_name);
    let begun = ops::promotions::roll_back(&control_plane, &caller, model, environment, request.immediate).await?;
    Ok(Json(convert::deployment(begun.deployment)))
}

/// Releases what one environment serves to another: as a copy, and as a promotion there. Its origin goes on serving what it serves.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/release", tag = "Promotions", params(OfModel),
    request_body = ReleaseRequest, responses((status = 200, body = ReleaseResponse))
)]
async fn release(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
    JsonBody(request): JsonBody<ReleaseRequest>,
) -> Result<Json<ReleaseResponse>, Error> {
    let begun = ops::promotions::release(&control_plane, &caller, &path.model_id, asked(request)).await?;
    Ok(Json(ReleaseResponse {
        deployment: convert::deployment(begun.deployment),
        difference: promotion_difference::wire(begun.difference),
    }))
}

/// Says what a release would do, or why it would be refused. Changes nothing.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/release_plan", tag = "Promotions", params(OfModel),
    request_body = ReleaseRequest, responses((status = 200, body = PromotionPlan))
)]
async fn plan_release(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
    JsonBody(request): JsonBody<ReleaseRequest>,
) -> Result<Json<PromotionPlan>, Error> {
    let plan = ops::promotions::plan_release(&control_plane, &caller, &path.model_id, asked(request)).await?;
    Ok(Json(plan_on_the_wire(plan)))
}

/// Shows the environment's newest promotion.
#[utoipa::path(get, path = "/v1/models/{model_id}/environments/{env_name}/promotion", tag = "Promotions", params(OfEnvironment), responses((status = 200, body = Promotion)))]
async fn get_promotion(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<Promotion>, Error> {
    let view = ops::promotions::newest(&control_plane, &caller, &path.model_id, &path.env_name).await?;
    Ok(Json(wire(view)))
}

/// Lists the environment's promotions.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/environments/{env_name}/promotions", tag = "Promotions",
    params(OfEnvironment, PromotionsQuery), responses((status = 200, body = Promotions))
)]
async fn list_promotions(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    InQuery(query): InQuery<PromotionsQuery>,
) -> Result<Json<Promotions>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Error::invalid(format!(
            "limit: {limit} is out of range: it needs to be from 1 to {LARGEST_LIMIT}"
        )));
    }
    let (model, environment) = (&path.model_id, &path.env_name);
    let views = ops::promotions::history(&control_plane, &caller, model, environment, limit).await?;
    Ok(Json(Promotions { promotions: views.into_iter().map(wire).collect() }))
}

/// Gives up a promotion: step by step where traffic moved so, else at once.
#[utoipa::path(post, path = "/v1/models/{model_id}/environments/{env_name}/cancel_promotion", tag = "Promotions", params(OfEnvironment), responses((status = 200, body = CancelPromotionResponse)))]
async fn cancel_promotion(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<CancelPromotionResponse>, Error> {
    let name = &path.env_name;
    let outcome = ops::promotions::cancel(&control_plane, &caller, &path.model_id, name).await?;
    let (status, message) = match outcome {
        Cancellation::AtOnce => {
            (CancelPromotionStatus::Canceled, format!("Promotion to {name} was successfully canceled."))
        }
        Cancellation::InSteps => (
            CancelPromotionStatus::RampingDown,
            format!("Promotion to {name} is being canceled: traffic moves back step by step."),
        ),
    };
    Ok(Json(CancelPromotionResponse { status, message }))
}

/// Pauses a rolling promotion after its current step.
#[utoipa::path(post, path = "/v1/models/{model_id}/environments/{env_name}/pause_promotion", tag = "Promotions", params(OfEnvironment), responses((status = 200, body = SignalPromotionResponse)))]
async fn pause_promotion(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<SignalPromotionResponse>, Error> {
    signal(&control_plane, &caller, &path, Command::Pause).await
}

/// Lets a paused promotion go on from where it was.
#[utoipa::path(post, path = "/v1/models/{model_id}/environments/{env_name}/resume_promotion", tag = "Promotions", params(OfEnvironment), responses((status = 200, body = SignalPromotionResponse)))]
async fn resume_promotion(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<SignalPromotionResponse>, Error> {
    signal(&control_plane, &caller, &path, Command::Resume).await
}

/// Gives all traffic of a rolling promotion back at once.
#[utoipa::path(post, path = "/v1/models/{model_id}/environments/{env_name}/force_cancel_promotion", tag = "Promotions", params(OfEnvironment), responses((status = 200, body = SignalPromotionResponse)))]
async fn force_cancel_promotion(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<SignalPromotionResponse>, Error> {
    signal(&control_plane, &caller, &path, Command::ForceCancel).await
}

/// Gives the candidate of a rolling promotion all traffic, even while it is being canceled.
#[utoipa::path(post, path = "/v1/models/{model_id}/environments/{env_name}/force_roll_forward_promotion", tag = "Promotions", params(OfEnvironment), responses((status = 200, body = SignalPromotionResponse)))]
async fn force_roll_forward_promotion(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<SignalPromotionResponse>, Error> {
    signal(&control_plane, &caller, &path, Command::ForceRollForward).await
}

async fn signal(
    control_plane: &ControlPlane,
    caller: &Caller,
    path: &OfEnvironment,
    command: Command,
) -> Result<Json<SignalPromotionResponse>, Error> {
    ops::promotions::command(control_plane, caller, &path.model_id, &path.env_name, command).await?;
    Ok(Json(SignalPromotionResponse { success: true }))
}

fn to_environment(environment: String, request: PromoteToEnvironmentRequest) -> Result<Request, Error> {
    check_settings_update(request.environment_settings_update.as_ref())?;
    let id = request.deployment_id;
    Ok(Request {
        // The literal names stand for deployments in paths only.
        deployment: id.parse().map_or_else(|_| Target::Impossible(id), Target::Id),
        environment,
        cleans_up: request.scale_down_previous_deployment,
        keeps_instance_type: request.preserve_env_instance_type,
        settings: request.promotion_settings_override.unwrap_or_default(),
        released: None,
    })
}

fn asked(request: ReleaseRequest) -> Release {
    Release {
        from: request.from,
        to: request.to,
        copies_policies: request.copy_policies,
        cleans_up: request.scale_down_previous_deployment,
        keeps_instance_type: request.preserve_env_instance_type,
        settings: request.promotion_settings_override.unwrap_or_default(),
    }
}

/// Settings change by themselves here, so that a failed promotion leaves them as they were.
fn check_settings_update(update: Option<&Map<String, Value>>) -> Result<(), Error> {
    match update {
        None => Ok(()),
        Some(_) => Err(Error::invalid(
            "environment_settings_update is not supported: leave it out and change the environment's settings",
        )),
    }
}

/// How far a promotion is, as an environment shows it.
pub(super) fn progress(promotion: &store::domain::Promotion) -> InProgressPromotion {
    let error_message = match promotion.state.ending() {
        Some(Ending::Failed { reason }) => Some(reason.clone()),
        Some(Ending::Succeeded | Ending::Canceled { .. }) | None => None,
    };
    InProgressPromotion {
        status: status(ops::promotions::status(promotion)),
        percent_traffic_to_new_version: ops::promotions::percent(promotion),
        error_message,
        rolling_deploy: Some(mode(promotion.settings.mode) == PromotionMode::Rolling),
    }
}

fn wire(view: View) -> Promotion {
    let promotion = view.promotion;
    let error_message = match promotion.state.ending() {
        Some(Ending::Failed { reason } | Ending::Canceled { reason }) => Some(reason.clone()),
        Some(Ending::Succeeded) | None => None,
    };
    Promotion {
        id: promotion.id.to_string(),
        status: status(ops::promotions::status(&promotion)),
        mode: mode(promotion.settings.mode),
        in_place: promotion.settings.room == Room::InPlace,
        origin: match promotion.origin {
            Origin::Push => PromotionOrigin::Push,
            Origin::Person => PromotionOrigin::Request,
            Origin::Rollback => PromotionOrigin::Rollback,
        },
        percent_traffic_to_new_version: ops::promotions::percent(&promotion),
        candidate: side(view.candidate),
        previous: view.previous.map(side),
        cleanup_strategy: cleanup(promotion.settings.cleanup),
        pending_action: promotion.command.map(action),
        error_message,
        started_at: convert::time(promotion.started_at),
        ended_at: promotion.ended_at.map(convert::time),
        deadline_at: promotion.ended_at.is_none().then(|| convert::time(promotion.state.deadline_at)),
        difference: view.difference.map(promotion_difference::wire),
        environment: promotion.environment,
        requested_by: promotion.requested_by,
        why: promotion.why,
    }
}

fn side(side: Side) -> PromotionSide {
    let there = side.deployment.as_ref();
    PromotionSide {
        deployment_id: side.id.to_string(),
        deployment_name: there.map(|view| view.deployment.name.clone()),
        deployment_status: there.map(|view| convert::status(view.status)),
        ready_replicas: there.map_or(0, |view| view.ready_replicas),
        wanted_replicas: there.map_or(0, |view| view.deployment.target_replicas),
    }
}

fn plan_on_the_wire(plan: Plan) -> PromotionPlan {
    let steps = plan.steps.into_iter().map(|step| PromotionPlanStep {
        at_ms: step.at_ms,
        percent_traffic_to_new_version: step.percent,
        candidate_replicas: step.candidate,
        previous_replicas: step.previous,
    });
    PromotionPlan {
        environment: plan.environment,
        refused: plan.refused,
        deployment_id: plan.deployment.id.to_string(),
        deployment_name: plan.deployment.name,
        copy_reasons: plan.copy_reasons,
        copy_name: plan.copy_name,
        previous_deployment_id: plan.previous.map(|id| id.to_string()),
        instance_type_name: plan.instance_type,
        mode: mode(plan.settings.mode),
        in_place_reason: plan.in_place_reason,
        cleanup_strategy: cleanup(plan.settings.cleanup),
        steps: steps.collect(),
        deploy_timeout_seconds: plan.settings.deploy_timeout_ms / 1000,
        difference: promotion_difference::wire(plan.difference),
    }
}

fn status(status: Status) -> InProgressPromotionStatus {
    match status {
        Status::Releasing => InProgressPromotionStatus::Releasing,
        Status::RampingUp => InProgressPromotionStatus::RampingUp,
        Status::RampingDown => InProgressPromotionStatus::RampingDown,
        Status::Paused => InProgressPromotionStatus::Paused,
        Status::Succeeded => InProgressPromotionStatus::Succeeded,
        Status::Failed => InProgressPromotionStatus::Failed,
        Status::Canceled => InProgressPromotionStatus::Canceled,
    }
}

fn mode(mode: Mode) -> PromotionMode {
    match mode {
        Mode::Immediate => PromotionMode::Immediate,
        Mode::Canary { .. } => PromotionMode::Canary,
        Mode::Rolling { .. } => PromotionMode::Rolling,
    }
}

fn cleanup(cleanup: Cleanup) -> PromotionCleanupStrategy {
    match cleanup {
        Cleanup::Keep => PromotionCleanupStrategy::Keep,
        Cleanup::ScaleToZero => PromotionCleanupStrategy::ScaleToZero,
        Cleanup::Deactivate => PromotionCleanupStrategy::Deactivate,
    }
}

fn action(command: Command) -> PromotionAction {
    match command {
        Command::Pause => PromotionAction::Pause,
        Command::Resume => PromotionAction::Resume,
        Command::Cancel => PromotionAction::GracefulCancel,
        Command::ForceCancel => PromotionAction::ForceCancel,
        Command::ForceRollForward => PromotionAction::ForceRollForward,
    }
}
