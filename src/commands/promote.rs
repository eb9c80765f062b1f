//! `greenroom promote MODEL [DEPLOYMENT]`: brings a deployment onto the stage, or says what that would do.

use std::time::Duration;

use api::v1::{
    deployments::{Deployment, Deployments},
    models::Model,
    promotion::PromotionCleanupStrategy,
    promotions::{PromoteToEnvironmentRequest, PromotionMode, PromotionPlan, PromotionPlanStep},
};

use super::{
    Context, difference,
    promotion::{Place, WaitArgs},
    target,
};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
    words,
};

/// Let an environment serve a deployment, without a dropped request
///
/// The deployment starts, traffic moves to it as the environment's promotion settings say, and only then does the previous
/// deployment stop. `greenroom rollout` shows and steers a promotion that is under way; `greenroom rollback` undoes one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: String,
    /// Deployment, by name or id [default: the newest published one]
    deployment: Option<String>,
    /// Environment that is to serve it
    #[arg(long, short, value_name = "NAME", default_value = "production")]
    environment: String,
    /// Promote what this environment serves
    #[arg(long, value_name = "NAME", conflicts_with = "deployment")]
    from: Option<String>,
    /// Promote a published copy of the development deployment
    #[arg(long, conflicts_with_all = ["deployment", "from"])]
    development: bool,
    /// Say what would happen, step by step, or why it would be refused; change nothing
    #[arg(long, conflicts_with_all = ["wait", "timeout"])]
    plan: bool,
    /// Keep the previous deployment running, whatever the environment's settings say
    #[arg(long)]
    keep_previous: bool,
    /// Give the environment the deployment's instance type, instead of the deployment the environment's
    #[arg(long)]
    change_instance_type: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let place = Place::find(context, &args.model, &args.environment).await?;
    let Place { client, model, .. } = &place;
    let deployment = chosen(client, model, &args).await?;
    let request = PromoteToEnvironmentRequest {
        deployment_id: deployment.id.clone(),
        scale_down_previous_deployment: !args.keep_previous,
        preserve_env_instance_type: !args.change_instance_type,
        promotion_settings_override: None,
        environment_settings_update: None,
    };
    if args.plan {
        let plan: PromotionPlan = client.post(&place.path("promotion_plan"), &request).await?;
        if let Some(refused) = &plan.refused {
            let (name, environment) = (&deployment.name, &args.environment);
            let message = format!("{name} would not be promoted to {environment} of {}: {refused}", model.name);
            return Err(Failure::new(Kind::Invalid, message));
        }
        let previous = place.name_of(plan.previous_deployment_id.as_deref()).await?;
        return context.printer.answer(&plan, |plan| shown(plan, model, previous.as_deref()));
    }
    let _: Deployment = client.post(&place.path("promote"), &request).await?;
    place.answer(place.newest().await?, &args.wait, context).await
}

async fn chosen(client: &Client, model: &Model, args: &Args) -> Result<Deployment> {
    let choice = target::Choice {
        environment: args.from.clone(),
        deployment: args.deployment.clone(),
        development: args.development,
    };
    if args.deployment.is_some() || args.from.is_some() || args.development {
        return target::find_chosen(client, model, &choice).await;
    }
    let found: Deployments = client.get(&["v1", "models", &model.id, "deployments"]).await?;
    let published = found.deployments.into_iter().filter(|deployment| !deployment.is_development);
    published
        .max_by(|one, other| one.created_at.cmp(&other.created_at))
        .ok_or_else(|| Failure::new(Kind::NotFound, format!("model `{}` has no published deployments", model.name)))
}

/// A plan, as people read it.
pub fn shown(plan: &PromotionPlan, model: &Model, previous: Option<&str>) -> String {
    let PromotionPlan { environment, deployment_name, instance_type_name, .. } = plan;
    let mut lines = vec![format!("Promoting {deployment_name} to {environment} of {} would go like this:", model.name)];
    let mut say = |what: &str, text: String| lines.push(format!("  {what:<10} {text}"));
    match &plan.copy_name {
        Some(copy) => say("candidate", format!("a copy, {copy}: {}", plan.copy_reasons.join("; "))),
        None => say("candidate", format!("{deployment_name} itself")),
    }
    say("instances", instance_type_name.clone());
    match previous {
        Some(previous) => {
            say("previous", format!("{previous}, {}", fate(plan)));
            say("traffic", manner(plan.mode).to_owned());
        }
        None => say("previous", "none, so that all traffic is the candidate's at once".to_owned()),
    }
    match &plan.in_place_reason {
        Some(reason) => {
            say("room", format!("not for both: {reason}; the previous deployment ends first, and requests wait"))
        }
        None => say("room", "both sides fit beside each other".to_owned()),
    }
    let patience = words::seconds(Duration::from_secs(plan.deploy_timeout_seconds));
    say(
        "fails",
        format!("when replicas make no progress for {patience}; traffic then stays with the previous deployment"),
    );
    lines.push(String::new());
    lines.push(difference::told(&plan.difference));
    lines.push(String::new());
    lines.push(format!("  {:>9}  {:>7}  {:>9}  {:>8}", "AFTER", "TRAFFIC", "CANDIDATE", "PREVIOUS"));
    lines.extend(plan.steps.iter().map(row));
    lines.push(String::new());
    lines.push(
        "  Times count from the candidate's first ready replica, if each further one is ready at once.".to_owned(),
    );
    lines.join("\n")
}

fn row(step: &PromotionPlanStep) -> String {
    let PromotionPlanStep { at_ms, percent_traffic_to_new_version: percent, candidate_replicas, previous_replicas } =
        step;
    let after = words::seconds(Duration::from_millis(*at_ms));
    format!("  {after:>9}  {:>7}  {candidate_replicas:>9}  {previous_replicas:>8}", format!("{percent} %"))
}

fn manner(mode: PromotionMode) -> &'static str {
    match mode {
        PromotionMode::Immediate => "moves at once, when the candidate can carry all of it",
        PromotionMode::Canary => "moves in ten stages, each when the candidate can carry it",
        PromotionMode::Rolling => "moves replica by replica",
    }
}

fn fate(plan: &PromotionPlan) -> &'static str {
    match plan.cleanup_strategy {
        PromotionCleanupStrategy::Keep if plan.in_place_reason.is_some() => {
            "which is scaled to zero although it would be kept: there is no room for both"
        }
        PromotionCleanupStrategy::Keep => "which keeps running",
        PromotionCleanupStrategy::ScaleToZero => "which is scaled to zero afterwards",
        PromotionCleanupStrategy::Deactivate => "which is deactivated afterwards",
    }
}
