//! A push: a new model with its first deployment, or another deployment of a model. All checks come first (`plan`, then a look
//! into the archive); then one transaction makes everything. A refused push leaves no trace, and its upload can be used again.

mod plan;

use api::{
    id::{DeploymentId, ModelId, TeamId},
    internal::replica::{Level, LogLine},
    truss_config::Problem,
};
use planner::Timestamp;
use serde_json::{Value, json};
use store::{
    NewDeployment,
    domain::{Archive, AuditEvent, Component, Deployment, DeploymentKind, Environment, LogRecord, PRODUCTION},
};

use self::plan::environment;
pub use self::plan::{Plan, plan};
use super::{Caller, ControlPlane, Error, audit, deployments, models, payload::Payload, uploads};

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
    let archive = uploads::accept(control_plane, plan.team(), &key, &plan.checked.config).await?;

    let now = control_plane.now();
    let warnings = plan.checked.config.warnings();
    let new = new_deployment(&plan, archive, now);
    let store = control_plane.store();
    let event = event(caller, &plan, &new, now);
    let deployment = if plan.is_new {
        let mut production = environment(&plan.model, PRODUCTION, now);
        if plan.target_environment.as_deref() == Some(PRODUCTION) {
            production.autoscaling = plan.autoscaling.clone();
        }
        store.create_model(&plan.model, &production, &new, Some(&event)).await?
    } else {
        if let Some(name) = &plan.missing_environment {
            let missing = Environment { autoscaling: plan.autoscaling.clone(), ..environment(&plan.model, name, now) };
            store.create_environment(&missing, None).await?;
        }
        store.add_deployment(&new, Some(&event)).await?
    };
    if let Err(error) = tell_warnings(control_plane, &deployment, &warnings, now).await {
        // The push is made: a warning that is lost does not undo it.
        tracing::warn!(deployment.id = %deployment.id, error = &error as &dyn std::error::Error, "cannot log warnings");
    }
    Ok(Pushed {
        model: models::get(control_plane, caller, &plan.model.id).await?,
        deployment: deployments::look(control_plane, deployment).await?,
    })
}

fn new_deployment(plan: &Plan, archive: Archive, now: Timestamp) -> NewDeployment {
    let payload = &plan.checked.payload;
    let first_log_line = match &plan.target_environment {
        Some(environment) => format!("pushed; goes to environment {environment} when it is first active"),
        None => "pushed".to_owned(),
    };
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
        target_environment: plan.target_environment.clone(),
        first_log_line,
    }
}

/// What will probably not work as meant goes to the deployment's log, where its author looks.
async fn tell_warnings(
    control_plane: &ControlPlane,
    deployment: &Deployment,
    warnings: &[Problem],
    now: Timestamp,
) -> Result<(), Error> {
    let record = |warning: &Problem| LogRecord {
        deployment_id: deployment.id.clone(),
        replica_id: None,
        component: Component::Deploy,
        line: LogLine {
            timestamp_ns: now.as_nanos(),
            level: Some(Level::Warning),
            request_id: None,
            message: format!("config: {warning}"),
        },
    };
    let records: Vec<LogRecord> = warnings.iter().map(record).collect();
    Ok(control_plane.store().append_logs(&records).await?)
}

fn event(caller: &Caller, plan: &Plan, new: &NewDeployment, now: Timestamp) -> AuditEvent {
    let more = json!({
        "scale_previous_to_zero": plan.target_environment.is_some(),
        "trusted": true,
        "publish": new.kind == DeploymentKind::Published,
        "environment_name": plan.target_environment,
    });
    audit::of_model(caller, now, "MODEL_DEPLOYED", &plan.model, more)
}
