//! Promotions: a deployment takes over an environment. What is asked for is checked and recorded here; tasks carry it out.

mod choice;
mod control;
mod difference;
mod outline;
mod promote;
mod release;
mod retry;
mod scene;
mod served_before;

use std::collections::HashMap;

use api::id::{DeploymentId, ModelId};
use planner::{Timestamp, promotion::Status};
use store::domain::{Difference, Environment, Promotion};

pub(super) use self::retry::meant_for;
pub use self::{
    control::{Cancellation, cancel, command},
    promote::{Begun, Plan, Request, plan, promote, roll_back},
    release::{Release, plan_release, release},
};
use super::{Caller, ControlPlane, Error, deployments, environments};

/// How long an environment shows a promotion that has ended, for clients who look seldom, in milliseconds.
const SHOWN_AFTER_END_MS: u64 = 60_000;
/// How many promotions are looked through for those in a window of time.
const MOST_IN_WINDOW: u32 = 200;

/// A promotion with its sides.
pub struct View {
    /// The promotion.
    pub promotion: Promotion,
    /// What is promoted.
    pub candidate: Side,
    /// What the environment served when it began.
    pub previous: Option<Side>,
    /// What it changes, as it was shown to whoever asked for it; none where nobody did.
    pub difference: Option<Difference>,
}

/// One side of a promotion.
pub struct Side {
    /// The deployment.
    pub id: DeploymentId,
    /// As it is now; none when it has been deleted.
    pub deployment: Option<deployments::View>,
}

/// Where a promotion stands. It has not ended before all that follows from its end is true.
pub fn status(promotion: &Promotion) -> Status {
    match (promotion.state.status(), promotion.ended_at) {
        (Status::Succeeded, None) => Status::RampingUp,
        (Status::Failed | Status::Canceled, None) => Status::RampingDown,
        (status, _) => status,
    }
}

/// The candidate's share of the traffic that is served, in percent: nothing before it can serve, even where requests wait for it.
pub fn percent(promotion: &Promotion) -> u8 {
    match status(promotion) {
        Status::Releasing => 0,
        _ => promotion.targets.candidate_percent,
    }
}

/// The newest promotion of an environment.
pub async fn newest(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    environment: &str,
) -> Result<View, Error> {
    let newest = history(control_plane, caller, model, environment, 1).await?.pop();
    newest.ok_or_else(|| Error::not_found("promotion of environment", environment))
}

/// The newest promotions of an environment, newest first.
pub async fn history(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    environment: &str,
    limit: u32,
) -> Result<Vec<View>, Error> {
    let (model, environment) = environments::find(control_plane, caller, model, environment).await?;
    let promotions = of_environment(control_plane, &environment, limit).await?;
    let mut differences =
        control_plane.store().promotion_differences(&environment.model_id, &environment.name, limit).await?;
    let deployments = deployments::list(control_plane, caller, &model.id, None).await?;
    let by_id: HashMap<DeploymentId, deployments::View> =
        deployments.into_iter().map(|view| (view.deployment.id.clone(), view)).collect();
    let side = |id: &DeploymentId| Side { id: id.clone(), deployment: by_id.get(id).cloned() };
    let view = |promotion: Promotion| View {
        difference: differences.remove(&promotion.id),
        candidate: side(&promotion.candidate),
        previous: promotion.previous.as_ref().map(side),
        promotion,
    };
    Ok(promotions.into_iter().map(view).collect())
}

/// The promotions of an environment, newest first, without those of one that had its name before.
async fn of_environment(
    control_plane: &ControlPlane,
    environment: &Environment,
    limit: u32,
) -> Result<Vec<Promotion>, Error> {
    let store = control_plane.store();
    let mut promotions = store.promotion_history(&environment.model_id, &environment.name, limit).await?;
    promotions.retain(|one| one.ended_at.is_none_or(|ended| ended >= environment.created_at));
    Ok(promotions)
}

/// The promotions of an environment that were in progress at this moment or after it.
pub(super) async fn since(
    control_plane: &ControlPlane,
    environment: &Environment,
    moment: Timestamp,
) -> Result<Vec<Promotion>, Error> {
    let mut promotions = of_environment(control_plane, environment, MOST_IN_WINDOW).await?;
    promotions.retain(|one| one.ended_at.is_none_or(|ended| ended >= moment));
    Ok(promotions)
}

/// The promotions of a model that are in progress.
pub(super) async fn in_progress(control_plane: &ControlPlane, model: &ModelId) -> Result<Vec<Promotion>, Error> {
    let mut promotions = control_plane.store().active_promotions().await?;
    promotions.retain(|one| one.model_id == *model);
    Ok(promotions)
}

/// What an environment shows as its promotion: the one in progress, or one that has just ended.
pub(super) async fn shown(control_plane: &ControlPlane, environment: &Environment) -> Result<Option<Promotion>, Error> {
    let newest = of_environment(control_plane, environment, 1).await?.pop();
    let now = control_plane.now();
    let is_shown = |one: &Promotion| one.ended_at.is_none_or(|ended| now.since(ended) < SHOWN_AFTER_END_MS);
    Ok(newest.filter(is_shown))
}
