//! Pushes for an environment become promotions to it: the newest one as soon as the environment has none under way. A newer push
//! takes the place of an older one that nobody is served by yet.

use api::{id::DeploymentId, internal::replica::Level};
use planner::{
    Timestamp,
    capacity::amount,
    fit::{Fit, Ground, Lot, Need, Occupancy, fit},
    lifecycle::{Build, Wanted},
    promotion::{self, Cleanup, Ending, Memory, Phase, Room, Seen, Settings, State},
};
use serde_json::{Value, json};
use store::{
    Candidate, NewPromotion,
    domain::{AuditEvent, Deployment, DeploymentKind, Doer, Environment, Origin, Promotion, Replica},
};

use crate::{
    Error,
    fences::{Attached, Fences},
    holds::is_into,
    promotions::{World, tell},
    settings::millis,
    shared::{Shared, line, record},
};

/// What happens to a push that waits for its environment.
enum Step<'a> {
    /// Its promotion begins.
    Begin { deployment: &'a Deployment, environment: &'a Environment, give_way: Vec<&'a DeploymentId> },
    /// The promotion of an older push ends; this one's begins when it has.
    Supersede { promotion: &'a Promotion, by: &'a Deployment },
    /// The environment serves what is newer than these, which had waited for it.
    GiveWay { environment: &'a Environment, deployments: Vec<&'a DeploymentId> },
}

/// Takes up what waits.
pub(crate) async fn take_up(shared: &Shared, now: Timestamp, world: &World) -> Result<(), Error> {
    for environment in world.view.environments.iter() {
        let done = match step(environment, world) {
            None => Ok(()),
            Some(Step::Begin { deployment, environment, give_way }) => {
                begin(shared, now, world, deployment, environment, &give_way).await
            }
            Some(Step::Supersede { promotion, by }) => supersede(shared, now, promotion, by).await,
            Some(Step::GiveWay { environment, deployments }) => give_way(shared, now, environment, &deployments).await,
        };
        match done {
            // Somebody else was faster, or it is gone; that wakes this task, and the others need not wait for it.
            Err(Error::Store(
                store::Error::Conflict { .. } | store::Error::InUse { .. } | store::Error::NotFound { .. },
            )) => {}
            done => done?,
        }
    }
    Ok(())
}

fn step<'a>(environment: &'a Environment, world: &'a World) -> Option<Step<'a>> {
    let is_meant = |deployment: &&Deployment| {
        deployment.model_id == environment.model_id
            && deployment.target_environment.as_ref() == Some(&environment.name)
            && deployment.kind == DeploymentKind::Published
    };
    let mut meant: Vec<&Deployment> =
        world.view.entries.values().map(|entry| &entry.deployment).filter(is_meant).collect();
    meant.sort_by_key(|deployment| (deployment.created_at, &deployment.id));
    let promotion = world.view.promotions.iter().find(|promotion| is_into(promotion, environment));
    let pushed_at = |id: &DeploymentId| world.view.entries.get(id).map(|entry| entry.deployment.created_at);
    if promotion.is_none() {
        let current_at = environment.current.as_ref().and_then(pushed_at);
        let is_late = |deployment: &&&Deployment| current_at.is_some_and(|current| deployment.created_at < current);
        let deployments: Vec<_> = meant.iter().filter(is_late).map(|deployment| &deployment.id).collect();
        if !deployments.is_empty() {
            return Some(Step::GiveWay { environment, deployments });
        }
    }
    let newest = *meant.iter().rfind(|deployment| can_come(deployment))?;
    match promotion {
        None => {
            let older = meant.into_iter().take_while(|deployment| deployment.id != newest.id);
            let give_way = older.map(|deployment| &deployment.id).collect();
            Some(Step::Begin { deployment: newest, environment, give_way })
        }
        Some(promotion) => {
            let is_older = pushed_at(&promotion.candidate).is_some_and(|older| older < newest.created_at);
            let is_replaceable = promotion.origin == Origin::Push && matches!(promotion.state.phase, Phase::Releasing);
            (is_older && is_replaceable).then_some(Step::Supersede { promotion, by: newest })
        }
    }
}

/// Whether it may still get there.
fn can_come(deployment: &Deployment) -> bool {
    let lifecycle = &deployment.lifecycle;
    let is_stopped = matches!(lifecycle.build, Build::Stopped { .. });
    lifecycle.wanted == Wanted::Running && lifecycle.failure().is_none() && !is_stopped
}

async fn begin(
    shared: &Shared,
    now: Timestamp,
    world: &World,
    deployment: &Deployment,
    environment: &Environment,
    give_way: &[&DeploymentId],
) -> Result<(), Error> {
    let Some(candidate) = world.side(&deployment.id) else { return Ok(()) };
    let previous = environment.current.as_ref().and_then(|current| world.side(current));
    let total = previous.map_or(0, |previous| previous.wanted).max(1);
    let min_ready_ms = millis(shared.settings.min_ready);
    let settings = environment.promotion(Room::Beside, deployment.deploy_timeout_ms, min_ready_ms)?;
    let room = room(shared, world, deployment, environment, &settings, total);
    let cleanup = if deployment.keep_previous { Cleanup::Keep } else { settings.cleanup };
    let settings = Settings { room, cleanup, ..settings };
    let seen = Seen {
        candidate,
        previous,
        load: planner::autoscale::Load::default(),
        autoscaling: &environment.autoscaling,
        published_percent: None,
    };
    let state = State::begin(now, &settings, &seen);
    let first = promotion::decide(now, &state, &Memory::default(), None, &settings, &seen);
    let new = NewPromotion {
        model_id: environment.model_id.clone(),
        environment: environment.name.clone(),
        candidate: Candidate::Existing(deployment.id.clone()),
        previous: environment.current.clone(),
        origin: Origin::Push,
        started_at: now,
        settings,
        state,
        targets: first.output,
        why: first.why.to_string(),
        requested_by: None,
        difference: None,
    };
    let store = &shared.parts.store;
    let event = event(shared, now, deployment, environment).await?;
    store.begin_promotion(&new, Some(&event)).await?;
    let name = &environment.name;
    let text = format!("is being promoted to environment {name}, for which it was pushed");
    let mut told = vec![record(&deployment.id, None, line(now, Level::Info, text))];
    let text = format!("environment {name} waits for deployment {}, which was pushed later", deployment.id);
    told.extend(give_way.iter().map(|id| record(id, None, line(now, Level::Warning, text.as_str()))));
    Ok(store.append_logs(&told).await?)
}

/// Whether there is room for both sides. A push has been accepted: where there is room for neither, its replicas wait for some.
fn room(
    shared: &Shared,
    world: &World,
    deployment: &Deployment,
    environment: &Environment,
    settings: &Settings,
    total: u32,
) -> Room {
    let catalogue = &shared.settings.instance_types;
    let occupancy = Occupancy::of(catalogue, world.view.all_replicas().filter_map(Replica::claim));
    let mut fences = Fences::new(shared.sites.clone(), catalogue.clone());
    fences.look(&world.view, shared.health());
    let fence = fences.of(deployment, &Attached::new(&world.view));
    let lots: Vec<Lot<'_>> = fence.places().into_iter().filter_map(|at| shared.sites.lot(at)).collect();
    let need = Need {
        candidate: Some(&deployment.id),
        each: amount(catalogue, &deployment.instance_type),
        previous: environment.current.as_ref(),
        beside: promotion::replicas_beside(settings, total),
        alone: total,
    };
    match fit(Ground { capacity: &shared.settings.capacity, lots: &lots, occupancy: &occupancy }, &need) {
        Fit::InPlace { .. } => Room::InPlace,
        Fit::Beside | Fit::No { .. } => Room::Beside,
    }
}

/// The audit log's event of a promotion that the system begins.
async fn event(
    shared: &Shared,
    now: Timestamp,
    deployment: &Deployment,
    environment: &Environment,
) -> Result<AuditEvent, Error> {
    const EVENT_TYPE: &str = "MODEL_DEPLOYMENT_PROMOTED";
    let model = shared.parts.store.model(&environment.model_id).await?;
    let event_data = json!({
        "event_type": EVENT_TYPE,
        "model_id": model.id,
        "model_name": model.name,
        "deployment_id": deployment.id,
        "deployment_name": deployment.name,
        "environment_name": environment.name,
        "environment_id": Value::Null,
        "region_update": Value::Null,
        "instance_type_id_update": Value::Null,
        "promotion_settings_override": Value::Null,
        "autoscaling_settings_update": Value::Null,
        "request_backpressure_settings_update": Value::Null,
        "autoscaling_schedule_settings_update": Value::Null,
    });
    let (event_type, model_id) = (EVENT_TYPE.into(), Some(model.id));
    Ok(AuditEvent { at: now, event_type, event_data, doer: Doer::default(), model_id })
}

async fn supersede(shared: &Shared, now: Timestamp, promotion: &Promotion, by: &Deployment) -> Result<(), Error> {
    let reason = format!("superseded by deployment {}", by.id);
    let ending = Ending::Canceled { reason: reason.clone() };
    let state = State { phase: Phase::Ended { at: now, ending }, ..promotion.state.clone() };
    let mut ended = Promotion { state, why: reason, ..promotion.clone() };
    shared.parts.store.finish_promotion(&mut ended, now, None).await?;
    tell(shared, now, promotion, &ended).await
}

/// Lets pushes go that came too late: what they were meant to replace has been replaced by something newer.
async fn give_way(
    shared: &Shared,
    now: Timestamp,
    environment: &Environment,
    deployments: &[&DeploymentId],
) -> Result<(), Error> {
    let (store, name) = (&shared.parts.store, &environment.name);
    let Some(current) = &environment.current else { return Ok(()) };
    let text =
        format!("environment {name} serves deployment {current}, which is newer: promote this one to replace it");
    for id in deployments {
        let (_, waited) = store
            .change_deployment(id, None, |deployment| {
                Ok::<_, store::Error>(deployment.target_environment.take_if(|target| target == name).is_some())
            })
            .await?;
        if waited {
            store.append_logs(&[record(id, None, line(now, Level::Warning, text.as_str()))]).await?;
        }
    }
    Ok(())
}
