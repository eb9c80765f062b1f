//! A push: a new model with its first deployment, or another deployment of a model. All checks come first (`plan`, then a look
//! into the archive); then one transaction makes everything. A refused push leaves no trace, and its upload can be used again.

mod plan;

use api::{
    id::{DeploymentId, ModelId, TeamId},
    internal::replica::Level,
};
use planner::Timestamp;
use serde_json::{Value, json};
use store::{
    NewDeployment,
    domain::{Archive, AuditEvent, DeploymentKind, PRODUCTION},
};

use self::plan::environment;
pub use self::plan::{Plan, plan, validate};
use super::{Caller, ControlPlane, Error, audit, deployments, environments, logs, models, payload::Payload, uploads};

/// Where a push goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Destination {
    /// A model to be made.
    NewModel {
        /// Its name.
        name: String,
        /// Its team; none means the caller's.
        team: Option<TeamId>,
        /// Whether its archives can never be downloaded.
        archive_download_disabled: bool,
    },
    /// A model that is there.
    Model(ModelId),
}

/// What a push brings.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// What it says of the deployment.
    pub payload: Payload,
    /// The key of the upload.
    pub s3_key: Option<String>,
}

/// A model and its new deployment.
pub struct Pushed {
    /// The model.
    pub model: models::View,
    /// The deployment.
    pub deployment: deployments::View,
}

/// Makes what the push asks for. `source` names where its parts stand in the request.
pub async fn push(
    control_plane: &ControlPlane,
    caller: &Caller,
    destination: &Destination,
    source: Source,
) -> Result<Pushed, Error> {
    let plan = plan(control_plane, caller, destination, source.payload, "source.deployment").await?;
    let key = source.s3_key.ok_or_else(|| {
        Error::Invalid(
            "source.s3_key: it is missing: upload the archive to the key that prepare_model_upload gives".into(),
        )
    })?;
    let archive = uploads::accept(control_plane, caller, plan.team(), &key, &plan.checked.config).await?;

    let now = control_plane.now();
    let config_warnings = plan.checked.config.warnings();
    let new = new_deployment(caller, &plan, archive, now);
    let store = control_plane.store();
    let event = event(caller, &plan, &new, now);
    let deployment = if plan.is_new {
        let mut production = environment(&plan.model, PRODUCTION, now);
        if plan.target_environment.as_deref() == Some(PRODUCTION) {
            production.autoscaling = plan.autoscaling.clone();
            production.backpressure = plan.backpressure;
        }
        store.create_model(&plan.model, &production, &new, Some(&event)).await?
    } else {
        store.add_deployment(&new, Some(&event)).await?
    };
    // What will probably not work as meant goes to the deployment's log, where its author looks.
    let warnings = config_warnings.iter().map(|warning| format!("config: {warning}")).chain(plan.keeps_another);
    logs::tell(control_plane, &deployment.id, Level::Warning, warnings).await;
    Ok(Pushed {
        model: models::get(control_plane, caller, &plan.model.id).await?,
        deployment: deployments::look(control_plane, deployment).await?,
    })
}

fn new_deployment(caller: &Caller, plan: &Plan, archive: Archive, now: Timestamp) -> NewDeployment {
    let payload = &plan.checked.payload;
    let first_log_line = match &plan.target_environment {
        Some(environment) => format!("pushed; goes to environment {environment} when it is first active"),
        None => "pushed".to_owned(),
    };
    let missing = plan.missing_environments.iter().map(|name| {
        let mut missing = environment(&plan.model, name, now);
        if plan.target_environment.as_ref() == Some(name) {
            missing.autoscaling = plan.autoscaling.clone();
            missing.backpressure = plan.backpressure;
        }
        let event = environments::created(caller, now, &plan.model, &missing);
        (missing, event)
    });
    NewDeployment {
        id: DeploymentId::from_entropy(rand::random()),
        model_id: plan.model.id.clone(),
        name: payload.deployment_name.clone(),
        created_at: now,
        kind: plan.checked.kind,
        labels: payload.labels.clone(),
        config: Value::Object(payload.config.clone()),
        raw_config: plan.checked.raw_config.clone(),
        user_env: payload.user_env.clone().map(Value::Object),
        archive,
        deploy_timeout_ms: plan.checked.deploy_timeout_ms,
        instance_type: plan.instance_type.clone(),
        autoscaling: plan.autoscaling.clone(),
        backpressure: plan.backpressure,
        target_environment: plan.target_environment.clone(),
        keep_previous: payload.keep_previous,
        missing_environments: missing.collect(),
        first_log_line,
    }
}

fn event(caller: &Caller, plan: &Plan, new: &NewDeployment, now: Timestamp) -> AuditEvent {
    let more = json!({
        "scale_previous_to_zero": plan.target_environment.is_some() && !new.keep_previous,
        "trusted": true,
        "publish": new.kind == DeploymentKind::Published,
        "environment_name": plan.target_environment,
    });
    audit::of_model(caller, now, "MODEL_DEPLOYED", &plan.model, more)
}
