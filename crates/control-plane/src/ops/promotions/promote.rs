//! Asking for a promotion, or for what it would do; and for what an environment served before.

use api::{
    id::{DeploymentId, ModelId},
    internal::replica::Level,
    v1::promotion::UpdatePromotionSettings,
};
use planner::{
    fit::Fit,
    promotion::{self, Memory, PlanStep, Settings, State},
};
use serde_json::{Value, json};
use store::{
    Candidate, CopyOf, NewPromotion,
    domain::{AuditEvent, Deployment, Difference, Origin, PRODUCTION},
};

use super::{
    choice::{Choice, copy_name},
    difference::{Served, difference},
    of_environment,
    outline::{Chosen, Outline, Way},
    release::Released,
    scene::Scene,
    served_before::served_before,
};
use crate::ops::{
    Caller, ControlPlane, Error, audit,
    deployments::{self, Target},
    environments, logs,
    policies::{self, Act},
};

/// How often a promotion is begun over again because others were faster.
const TRIES: usize = 8;
/// How many promotions a rollback looks back through.
const HISTORY: u32 = 200;

/// A promotion, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is promoted.
    pub deployment: Target,
    /// Where to.
    pub environment: String,
    /// Whether the environment's cleanup strategy applies to what it serves; if not, that keeps running.
    pub cleans_up: bool,
    /// Whether the environment keeps its instance type.
    pub keeps_instance_type: bool,
    /// How it goes, where that differs from the environment's settings.
    pub settings: UpdatePromotionSettings,
    /// What sets it apart where it is a release.
    pub released: Option<Released>,
}

impl Request {
    /// A promotion to production with nothing else said.
    pub fn to_production(deployment: Target) -> Self {
        Self {
            deployment,
            environment: PRODUCTION.into(),
            cleans_up: true,
            keeps_instance_type: true,
            settings: UpdatePromotionSettings::default(),
            released: None,
        }
    }
}

/// What a promotion would do.
pub struct Plan {
    /// Where to.
    pub environment: String,
    /// Why it would be refused; none when it would be accepted.
    pub refused: Option<String>,
    /// What was asked about.
    pub deployment: Deployment,
    /// Why a copy would be promoted in place of it; empty when it would be itself.
    pub copy_reasons: Vec<String>,
    /// The name that the copy would have.
    pub copy_name: Option<String>,
    /// What the environment serves now.
    pub previous: Option<DeploymentId>,
    /// The candidate's instance type.
    pub instance_type: String,
    /// How it would go.
    pub settings: Settings,
    /// Why the two would not run beside each other; none when they would.
    pub in_place_reason: Option<String>,
    /// Step by step, when all goes well.
    pub steps: Vec<PlanStep>,
    /// What it would change.
    pub difference: Difference,
}

/// A promotion that has begun.
pub struct Begun {
    /// The deployment that goes to the environment.
    pub deployment: deployments::View,
    /// What it changes.
    pub difference: Difference,
}

const ON_REQUEST: Way = Way { origin: Origin::Person, is_immediate: false };

/// Begins a promotion. The answer is the deployment that goes to the environment: the one asked for, or a copy of it.
pub async fn promote(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    request: &Request,
) -> Result<Begun, Error> {
    carry_out(control_plane, caller, model, request, ON_REQUEST).await
}

/// Says what a promotion would do now.
pub async fn plan(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    request: &Request,
) -> Result<Plan, Error> {
    let scene = Scene::load(control_plane, caller, model, &request.deployment, &request.environment).await?;
    let (outline, places) = survey(control_plane, &scene, request, ON_REQUEST).await?;
    let refused = outline.refused().or_else(|| places.after.refusal.clone());
    let difference = places.difference(&scene, &outline);
    let reasons = outline.choice.as_ref().map_or(&[][..], Choice::reasons);
    let previous = scene.current().map(|current| current.target_replicas);
    let steps = match refused {
        Some(_) => Vec::new(),
        None => promotion::plan(&outline.settings, previous, &scene.environment.autoscaling),
    };
    Ok(Plan {
        copy_reasons: reasons.iter().map(ToString::to_string).collect(),
        copy_name: (!reasons.is_empty()).then(|| name_of_copy(control_plane, &scene)),
        previous: scene.environment.current.clone(),
        in_place_reason: match outline.fit {
            Fit::InPlace { reason } => Some(reason),
            _ => None,
        },
        environment: scene.environment.name,
        deployment: scene.deployment,
        instance_type: outline.instance_type,
        settings: outline.settings,
        refused,
        steps,
        difference,
    })
}

/// Promotes what the environment served before, activating it first where it rests. It comes back as it was, on its own instance
/// type.
pub async fn roll_back(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    environment: &str,
    is_immediate: bool,
) -> Result<Begun, Error> {
    let (model, environment) = environments::find_to_change(control_plane, caller, model, environment).await?;
    let name = &environment.name;
    let nothing = |what: &str| Error::Invalid(format!("environment {name} cannot be rolled back: {what}"));
    let current = environment.current.as_ref().ok_or_else(|| nothing("it serves no deployment"))?;
    let history = of_environment(control_plane, &environment, HISTORY).await?;
    let siblings = control_plane.store().deployments(&model.id, None).await?;
    let is_there = |id: &DeploymentId| siblings.iter().any(|one| one.id == *id);
    let before = served_before(&history, current, is_there)
        .ok_or_else(|| nothing("it served no other deployment before that is still there: promote one"))?;
    let request =
        Request { environment: name.clone(), keeps_instance_type: false, ..Request::to_production(Target::Id(before)) };
    carry_out(control_plane, caller, &model.id, &request, Way { origin: Origin::Rollback, is_immediate }).await
}

async fn carry_out(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    request: &Request,
    way: Way,
) -> Result<Begun, Error> {
    for _ in 0..TRIES {
        let mut scene = Scene::load(control_plane, caller, model, &request.deployment, &request.environment).await?;
        let rests = way.origin == Origin::Rollback && scene.rouse(control_plane.now());
        let (outline, places) = survey(control_plane, &scene, request, way).await?;
        let choice = match (&outline.choice, outline.refused()) {
            (Ok(choice), None) => choice,
            (_, why) => {
                return Err(Error::Invalid(format!(
                    "deployment {} cannot be promoted to environment {}: {}",
                    scene.deployment.id,
                    scene.environment.name,
                    why.unwrap_or_default()
                )));
            }
        };
        if let Some(why) = &places.after.refusal {
            let (deployment, environment) = (&scene.deployment.id, &scene.environment.name);
            let why = format!("deployment {deployment} cannot be promoted to environment {environment}: {why}");
            return Err(control_plane.refusals().refuse(Act::Promotion, why));
        }
        let difference = places.difference(&scene, &outline);
        let mut new = new_promotion(control_plane, caller, &scene, &outline, request, choice, way.origin);
        new.difference = Some(difference.clone());
        let mut events = vec![event(control_plane, caller, &scene, &outline, &new, request)];
        if rests && *choice == Choice::Itself {
            new.candidate = Candidate::Resting(scene.deployment.id.clone());
            events.insert(0, deployments::activation(control_plane, caller, &scene.model, &scene.deployment));
        }
        match control_plane.store().begin_promotion(&new, &events).await {
            Ok(begun) => {
                if *choice == Choice::Itself {
                    let line = format!("is being promoted to environment {}", scene.environment.name);
                    logs::tell(control_plane, &begun.candidate, Level::Info, [line]).await;
                }
                let candidate = control_plane.store().deployment(&begun.candidate).await?;
                let deployment = deployments::look(control_plane, candidate).await?;
                return Ok(Begun { deployment, difference });
            }
            // Somebody was faster: what that means is seen by looking again.
            Err(store::Error::Conflict { .. } | store::Error::InUse { .. } | store::Error::NameTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Busy)
}

/// What the request amounts to, and where that may run.
async fn survey(
    control_plane: &ControlPlane,
    scene: &Scene,
    request: &Request,
    way: Way,
) -> Result<(Outline, Places), Error> {
    let chosen = Chosen::of(scene, request)?;
    let places = Places::look(control_plane, scene, &chosen.instance_type, request).await?;
    let outline = Outline::of(scene, request, way, chosen, &places.after.locations, control_plane.settings())?;
    Ok((outline, places))
}

/// Where what is served may run, and what will be.
struct Places {
    before: policies::Places,
    after: policies::Places,
}

impl Places {
    async fn look(
        control_plane: &ControlPlane,
        scene: &Scene,
        instance_type: &str,
        request: &Request,
    ) -> Result<Self, Error> {
        let environment = Some(&scene.environment);
        let before = match scene.current() {
            Some(current) => {
                policies::places(control_plane, environment, Some(&current.id), &current.instance_type).await?
            }
            None => policies::Places::default(),
        };
        let policies_of = policies_of(scene, request);
        let after = policies::places(control_plane, environment, policies_of, instance_type).await?;
        Ok(Self { before, after })
    }

    fn difference(&self, scene: &Scene, outline: &Outline) -> Difference {
        let before = scene.current().map(|current| Served {
            deployment: current,
            autoscaling: &current.autoscaling,
            instance_type: &current.instance_type,
            places: &self.before.candidates,
        });
        let after = Served {
            deployment: &scene.deployment,
            autoscaling: &scene.environment.autoscaling,
            instance_type: &outline.instance_type,
            places: &self.after.candidates,
        };
        difference(before, after)
    }
}

/// The deployment whose policies the candidate has: its own or its source's, or those of what a release replaces.
fn policies_of<'a>(scene: &'a Scene, request: &Request) -> Option<&'a DeploymentId> {
    match &request.released {
        Some(Released { copies_policies: false, .. }) => scene.environment.current.as_ref(),
        Some(Released { copies_policies: true, .. }) | None => Some(&scene.deployment.id),
    }
}

fn new_promotion(
    control_plane: &ControlPlane,
    caller: &Caller,
    scene: &Scene,
    outline: &Outline,
    request: &Request,
    choice: &Choice,
    origin: Origin,
) -> NewPromotion {
    let (now, settings, seen) = (control_plane.now(), &outline.settings, outline.seen(scene));
    let state = State::begin(now, settings, &seen);
    let first = promotion::decide(now, &state, &Memory::default(), None, settings, &seen);
    let decided = first.next.0;
    // What follows from an end is not for this room to carry out.
    let state = if decided.ending().is_none() { decided } else { state };
    let candidate = match choice {
        Choice::Itself => Candidate::Existing(scene.deployment.id.clone()),
        Choice::Copy { reasons, instance_type } => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            Candidate::Copy(Box::new(CopyOf {
                source: scene.deployment.id.clone(),
                policies_of: policies_of(scene, request).cloned(),
                id: DeploymentId::from_entropy(rand::random()),
                name: name_of_copy(control_plane, scene),
                created_at: now,
                instance_type: instance_type.clone(),
                first_log_line: format!(
                    "copied from deployment {} to be promoted to environment {}: {}",
                    scene.deployment.id,
                    scene.environment.name,
                    reasons.join("; ")
                ),
            }))
        }
    };
    NewPromotion {
        model_id: scene.model.id.clone(),
        environment: scene.environment.name.clone(),
        candidate,
        previous: scene.environment.current.clone(),
        origin,
        started_at: now,
        settings: settings.clone(),
        state,
        targets: first.output,
        why: first.why.to_string(),
        requested_by: Some(caller.prefix().to_owned()),
        difference: None,
    }
}

fn name_of_copy(control_plane: &ControlPlane, scene: &Scene) -> String {
    let is_taken = |name: &str| scene.siblings.iter().any(|one| one.name == name);
    copy_name(&scene.deployment.name, control_plane.now(), is_taken)
}

/// The event of a promotion that begins.
fn event(
    control_plane: &ControlPlane,
    caller: &Caller,
    scene: &Scene,
    outline: &Outline,
    new: &NewPromotion,
    request: &Request,
) -> AuditEvent {
    let changes_type = scene.current().is_some_and(|current| current.instance_type != outline.instance_type);
    let more = json!({
        "environment_name": scene.environment.name,
        "previous_deployment_id": scene.environment.current,
        "released_from": request.released.as_ref().map(|released| &released.from),
        "environment_id": null,
        "region_update": null,
        "instance_type_id_update": changes_type.then_some(&outline.instance_type),
        "promotion_settings_override": overridden(&request.settings),
        "autoscaling_settings_update": null,
        "request_backpressure_settings_update": null,
        "autoscaling_schedule_settings_update": null,
    });
    let about = match &new.candidate {
        Candidate::Existing(_) | Candidate::Resting(_) => scene.deployment.clone(),
        Candidate::Copy(copy) => {
            Deployment { id: copy.id.clone(), name: copy.name.clone(), ..scene.deployment.clone() }
        }
    };
    audit::of_deployment(caller, control_plane.now(), "MODEL_DEPLOYMENT_PROMOTED", (&scene.model, &about), more)
}

/// How a promotion differs from the environment's settings, as the audit log writes it.
fn overridden(told: &UpdatePromotionSettings) -> Value {
    if *told == UpdatePromotionSettings::default() {
        return Value::Null;
    }
    let steps = told.rolling_deploy_config.clone().unwrap_or_default();
    json!({
        "redeploy_on_promotion": told.redeploy_on_promotion,
        "rolling_deploy": told.rolling_deploy,
        "rolling_deploy_strategy": steps.rolling_deploy_strategy,
        "max_unavailable_percent": steps.max_unavailable_percent,
        "max_surge_percent": steps.max_surge_percent,
        "stabilization_time_seconds": steps.stabilization_time_seconds,
        "replica_overhead_percent": steps.replica_overhead_percent,
        "promotion_cleanup_strategy": told.promotion_cleanup_strategy,
    })
}
