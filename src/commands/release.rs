//! `greenroom release MODEL --from A --to B`: what one environment serves goes to another, as a copy.

use api::v1::promotions::{PromotionPlan, ReleaseRequest, ReleaseResponse};

use super::{
    Context, difference,
    promote::shown,
    promotion::{Place, WaitArgs},
};
use crate::failure::{Failure, Kind, Result};

/// Bring what one environment serves to another, without a dropped request
///
/// What changes is shown first. The other environment gets a copy, as its promotion settings say; the one that it comes from goes on
/// as it is. `greenroom rollout` shows and steers what is under way; `greenroom rollback` undoes it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: String,
    /// Environment that serves it
    #[arg(long, value_name = "NAME")]
    from: String,
    /// Environment that is to serve it too
    #[arg(long, value_name = "NAME")]
    to: String,
    /// Copy the policies of the deployment too, in the place of those of what it replaces
    #[arg(long)]
    copy_policies: bool,
    /// Say what would happen, step by step, or why it would be refused; change nothing
    #[arg(long, conflicts_with_all = ["wait", "timeout", "yes"])]
    plan: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
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
    let place = Place::find(context, &args.model, &args.to).await?;
    let Place { client, model, .. } = &place;
    let request = ReleaseRequest {
        from: args.from.clone(),
        to: args.to.clone(),
        copy_policies: args.copy_policies,
        scale_down_previous_deployment: !args.keep_previous,
        preserve_env_instance_type: !args.change_instance_type,
        promotion_settings_override: None,
    };
    let of_model = |verb| ["v1", "models", &model.id, verb];
    let plan: PromotionPlan = client.post(&of_model("release_plan"), &request).await?;
    let (from, to, printer) = (&args.from, &args.to, context.printer);
    if let Some(refused) = &plan.refused {
        let message = format!("{from} of {} cannot be released to {to}: {refused}", model.name);
        return Err(Failure::new(Kind::Invalid, message));
    }
    if args.plan {
        let previous = place.name_of(plan.previous_deployment_id.as_deref()).await?;
        return printer.answer(&plan, |plan| shown(plan, model, previous.as_deref()));
    }
    printer.say(&difference::told(&plan.difference));
    if !args.yes && printer.can_ask() && !printer.confirm(&format!("Release {from} of {} to {to}?", model.name)) {
        return Err(Failure::new(Kind::Usage, "nothing released").hint("pass --yes to release without asking"));
    }
    let _: ReleaseResponse = client.post(&of_model("release"), &request).await?;
    place.answer(place.newest().await?, &args.wait, context).await
}
