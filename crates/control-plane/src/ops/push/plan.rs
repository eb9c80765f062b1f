//! What a push would make, if its archive is in order: the model, the environment, the instance type, the settings.

use api::{
    id::{ModelId, TeamId},
    v1::{backpressure::RequestBackpressurePolicy, promotion::PromotionSettings},
};
use planner::{Timestamp, autoscale, lifecycle::Wanted, placement};
use store::domain::{Deployment, DeploymentKind, Environment, Model, PRODUCTION, Promotion, WorkspaceSettings};

use super::Destination;
use crate::ops::{
    Caller, ControlPlane, Error, autoscaling, environment_groups, models, names,
    payload::{self, Checked, Payload},
    policies::{self, Act},
    promotion_settings, promotions, teams,
};

/// A push that could be made now.
pub struct Plan {
    pub(super) checked: Checked,
    pub(super) model: Model,
    /// Whether the model is to be made.
    pub(super) is_new: bool,
    pub(super) target_environment: Option<String>,
    /// The environments to be made with it.
    pub(super) missing_environments: Vec<String>,
    pub(super) instance_type: String,
    /// What to tell where that is not what the config asks for.
    pub(super) keeps_another: Option<String>,
    pub(super) autoscaling: autoscale::Settings,
    pub(super) backpressure: Option<RequestBackpressurePolicy>,
}

impl Plan {
    /// The team that the push is for.
    pub fn team(&self) -> &TeamId {
        &self.model.team_id
    }
}

/// Checks everything about a push but its archive. `path` is where the payload stands in the request.
pub async fn plan(
    control_plane: &ControlPlane,
    caller: &Caller,
    destination: &Destination,
    payload: Payload,
    path: &str,
) -> Result<Plan, Error> {
    let checked = payload::check(payload, path)?;
    let (model, is_new) = destined(control_plane, caller, destination).await?;
    let store = control_plane.store();
    let workspace = store.workspace_settings().await?;
    let initial = if is_new { initial(&workspace) } else { Vec::new() };
    let (siblings, environments, promotions) = if is_new {
        let names = std::iter::once(PRODUCTION).chain(initial.iter().map(String::as_str));
        (Vec::new(), names.map(|name| environment(&model, name, control_plane.now())).collect(), Vec::new())
    } else {
        (
            store.deployments(&model.id, None).await?,
            store.environments(Some(&model.id)).await?,
            promotions::in_progress(control_plane, &model.id).await?,
        )
    };
    if let Some(name) = &checked.payload.deployment_name
        && siblings.iter().any(|sibling| sibling.name == *name)
    {
        return Err(Error::Invalid(format!(
            "{path}.deployment_name: model {} has a deployment named {name:?} already: choose another name",
            model.name
        )));
    }
    let default = workspace.default_environment.as_deref();
    let target = target(&checked, default, &siblings, &environments, &promotions)?;
    let target = match environment_groups::require(control_plane, caller, &model.team_id, target.as_deref()).await {
        // Nobody asked for it: it stays a deployment of its own.
        Err(Error::Forbidden(_)) if checked.payload.environment_name.is_none() => None,
        outcome => outcome.map(|()| target)?,
    };
    let is_missing = |name: &&String| !environments.iter().any(|one| one.name == **name);
    let missing_environments = initial.iter().chain(target.iter().filter(is_missing)).cloned().collect();
    let environment = target.as_ref().and_then(|name| environments.iter().find(|one| one.name == *name));
    let serving = environment.and_then(|one| one.current.as_ref());
    let serving = serving.and_then(|id| siblings.iter().find(|sibling| sibling.id == *id));
    let asked = choose_instance_type(control_plane, &checked, path);
    let keeps = checked.payload.environment_name.is_some() && checked.payload.preserve_env_instance_type;
    let kept = serving.filter(|_| keeps).map(|serving| serving.instance_type.clone());
    let keeps_another = kept.as_ref().filter(|kept| !asked.as_ref().is_ok_and(|asked| asked == *kept)).map(|kept| {
        format!(
            "it runs on {kept}, which its environment keeps whatever the config asks for, unless preserve_env_instance_type is false \
             (greenroom push --change-instance-type)"
        )
    });
    let instance_type = kept.map_or(asked, Ok)?;
    let places = policies::places(control_plane, environment, None, &instance_type).await?;
    if let Some(why) = places.refusal {
        let name = target.as_deref().unwrap_or_default();
        let keeps_another = keeps_another.map(|told| format!("; {told}")).unwrap_or_default();
        let why = format!("this cannot be pushed to environment {name}: {why}{keeps_another}");
        return Err(control_plane.refusals().refuse(Act::Push, why));
    }
    let settings = environment.map(|one| one.autoscaling.clone()).unwrap_or_default();
    let settings = autoscaling::apply(&settings, &checked.payload.autoscaling, control_plane.settings().replica_cap)?;
    autoscaling::check_kind(checked.kind, &settings)?;
    let backpressure = checked.payload.backpressure;
    let backpressure = backpressure.unwrap_or_else(|| environment.and_then(|one| one.backpressure));
    Ok(Plan {
        checked,
        model,
        is_new,
        target_environment: target,
        missing_environments,
        instance_type,
        keeps_another,
        autoscaling: settings,
        backpressure,
    })
}

/// Checks all of a push that depends on nothing else. Gives warnings.
pub fn validate(control_plane: &ControlPlane, payload: Payload, path: &str) -> Result<Vec<String>, Error> {
    let checked = payload::check(payload, path)?;
    choose_instance_type(control_plane, &checked, path)?;
    Ok(checked.config.warnings().iter().map(ToString::to_string).collect())
}

/// The model that the push goes to, and whether it is to be made.
async fn destined(
    control_plane: &ControlPlane,
    caller: &Caller,
    destination: &Destination,
) -> Result<(Model, bool), Error> {
    match destination {
        Destination::Model(id) => Ok((models::owned(control_plane, caller, id).await?, false)),
        Destination::NewModel { name, team, archive_download_disabled } => {
            names::model(name)?;
            let team = teams::choose(control_plane, caller, team.as_ref()).await?;
            if let Some(taken) = control_plane.store().model_by_name(&team.id, name).await? {
                return Err(Error::Invalid(format!(
                    "there is a model named {name:?} already: push to model {} or choose another name",
                    taken.id
                )));
            }
            let model = Model {
                id: ModelId::from_entropy(rand::random()),
                team_id: team.id,
                name: name.clone(),
                created_at: control_plane.now(),
                archive_download_disabled: *archive_download_disabled,
            };
            Ok((model, true))
        }
    }
}

/// The environments that a new model has beside production.
fn initial(workspace: &WorkspaceSettings) -> Vec<String> {
    workspace.initial_environments.iter().filter(|name| *name != PRODUCTION).cloned().collect()
}

/// The environment that the deployment is promoted to; one that is not there is made for it. A published deployment that names none
/// goes where the workspace says; where that says nothing, to production while nothing has been active there and nothing else is on
/// its way.
fn target(
    checked: &Checked,
    default: Option<&str>,
    siblings: &[Deployment],
    environments: &[Environment],
    promotions: &[Promotion],
) -> Result<Option<String>, Error> {
    if checked.kind == DeploymentKind::Development {
        return Ok(None);
    }
    if let Some(name) = &checked.payload.environment_name {
        let is_there = environments.iter().any(|one| one.name == *name);
        return match (is_there, checked.payload.create_environment_if_missing) {
            (true, _) => Ok(Some(name.clone())),
            (false, false) => Err(Error::not_found("environment", name)),
            (false, true) => {
                names::environment(name)?;
                Ok(Some(name.clone()))
            }
        };
    }
    if let Some(name) = default {
        return Ok(Some(name.to_owned()));
    }
    let serves = environments.iter().any(|one| one.name == PRODUCTION && one.current.is_some());
    let is_on_its_way = |one: &Deployment| {
        let lifecycle = &one.lifecycle;
        one.target_environment.as_deref() == Some(PRODUCTION)
            && lifecycle.wanted == Wanted::Running
            && lifecycle.failure().is_none()
    };
    let is_being_promoted = promotions.iter().any(|one| one.environment == PRODUCTION);
    let is_free = !serves && !is_being_promoted && !siblings.iter().any(is_on_its_way);
    Ok(is_free.then(|| PRODUCTION.to_owned()))
}

fn choose_instance_type(control_plane: &ControlPlane, checked: &Checked, path: &str) -> Result<String, Error> {
    let resources = &checked.config.resources;
    let (named, field) = match &checked.payload.instance_type_id {
        Some(id) => (Some(id.clone()), "instance_type_id"),
        None => (resources.instance_type.clone(), "config.resources"),
    };
    let request = placement::Request {
        instance_type: named,
        millicpu: resources.cpu.millicpu(),
        memory_bytes: resources.memory.bytes(),
        accelerator: resources.accelerator.as_ref().map(|one| (one.name.clone(), one.count)),
    };
    let chosen = placement::choose(&control_plane.settings().instance_types, &request);
    chosen.map(|one| one.id.clone()).map_err(|refusal| Error::Invalid(format!("{path}.{field}: {refusal}")))
}

/// An environment with default settings.
pub(super) fn environment(model: &Model, name: &str, now: Timestamp) -> Environment {
    Environment {
        model_id: model.id.clone(),
        name: name.to_owned(),
        created_at: now,
        current: None,
        autoscaling: autoscale::Settings::default(),
        backpressure: None,
        promotion_settings: promotion_settings::write(&PromotionSettings::default()),
        generation: 1,
    }
}

#[cfg(test)]
mod tests {
    use api::id::DeploymentId;
    use planner::lifecycle::{Build, Lifecycle, Reason};
    use serde_json::json;

    use super::*;

    fn checked(environment: Option<&str>) -> Checked {
        let payload = Payload { environment_name: environment.map(Into::into), ..Payload::new(serde_json::Map::new()) };
        payload::check(payload, "d").unwrap()
    }

    fn production(current: Option<u128>) -> Environment {
        let model = Model {
            id: ModelId::from_entropy(1),
            team_id: TeamId::from_entropy(1),
            name: "m".into(),
            created_at: Timestamp(0),
            archive_download_disabled: false,
        };
        Environment {
            current: current.map(DeploymentId::from_entropy),
            ..environment(&model, PRODUCTION, Timestamp(0))
        }
    }

    fn on_its_way(lifecycle: Lifecycle) -> Deployment {
        Deployment {
            id: DeploymentId::from_entropy(7),
            model_id: ModelId::from_entropy(1),
            name: "deployment-1".into(),
            created_at: Timestamp(0),
            kind: DeploymentKind::Published,
            labels: None,
            config: json!({}),
            raw_config: None,
            user_env: None,
            archive: store::domain::Archive { key: "k".into(), bytes: 1 },
            deploy_timeout_ms: 1,
            instance_type: "1x2".into(),
            autoscaling: autoscale::Settings::default(),
            backpressure: None,
            patches: None,
            target_environment: Some(PRODUCTION.into()),
            keep_previous: false,
            lifecycle,
            target_replicas: 0,
            replica_memory: planner::replica_set::Memory::default(),
            generation: 1,
        }
    }

    fn chosen(siblings: &[Deployment], current: Option<u128>) -> Option<String> {
        target(&checked(None), None, siblings, &[production(current)], &[]).unwrap()
    }

    #[test]
    fn the_first_published_deployment_is_meant_for_production() {
        assert_eq!(chosen(&[], None).as_deref(), Some(PRODUCTION));
        assert_eq!(chosen(&[], Some(9)), None);
    }

    #[test]
    fn a_failed_first_push_leaves_production_to_the_next() {
        let pushed = Lifecycle::pushed(Timestamp(0));
        let reason = Reason { message: "broken".into(), hint: None, detail: None };
        let failed = Lifecycle { build: Build::Failed { at: Timestamp(1), reason }, ..pushed.clone() };
        assert_eq!(chosen(&[on_its_way(pushed)], None), None);
        assert_eq!(chosen(&[on_its_way(failed)], None).as_deref(), Some(PRODUCTION));
    }

    #[test]
    fn a_push_that_names_none_goes_where_the_workspace_says_and_one_that_names_one_goes_there() {
        let with_default = |named: Option<&str>| {
            let there = [production(Some(9)), Environment { name: "staging".into(), ..production(None) }];
            target(&checked(named), Some("development"), &[], &there, &[]).unwrap()
        };
        assert_eq!(with_default(None).as_deref(), Some("development"), "which is made for it");
        assert_eq!(with_default(Some("staging")).as_deref(), Some("staging"));
        assert_eq!(with_default(Some(PRODUCTION)).as_deref(), Some(PRODUCTION));
    }

    #[test]
    fn an_environment_that_is_not_there_is_not_made_in_passing() {
        assert!(matches!(
            target(&checked(Some("staging")), None, &[], &[production(None)], &[]),
            Err(Error::NotFound { .. })
        ));
    }
}
