//! `greenroom rollout status|pause|resume|cancel|roll-forward|history`: looks at promotions, and steers the one under way.

use api::v1::{
    promotions::{Promotion, PromotionMode, PromotionOrigin, PromotionSide, SignalPromotionResponse},
    time::parse_rfc3339,
};
use planner::Timestamp;
use serde_json::Value;

use super::{
    Context, difference,
    promotion::{self, Place},
};
use crate::{
    clock,
    failure::Result,
    words::{self, age},
};

/// Look at an environment's promotions, and steer the one under way
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show how the newest promotion is, and why
    Status {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        watch: Watch,
    },
    /// Hold the traffic where it is, from the next step on; for rolling promotions
    Pause {
        #[command(flatten)]
        of: Of,
    },
    /// Go on from where it was paused
    Resume {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        watch: Watch,
    },
    /// Give the traffic back to the previous deployment: step by step where it moved so, else at once
    Cancel {
        #[command(flatten)]
        of: Of,
        /// Give it back at once, even if the previous deployment has too few replicas left; for rolling promotions
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Give the candidate all traffic now, even if it has too few replicas; for rolling promotions
    RollForward {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        watch: Watch,
    },
    /// List the promotions of late
    History {
        #[command(flatten)]
        of: Of,
        /// The longest list wanted
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Of {
    /// Model, by name or id
    model: String,
    /// The environment
    #[arg(default_value = "production")]
    environment: String,
}

#[derive(Debug, clap::Args)]
struct Watch {
    /// Follow it to its end; Ctrl-C stops following and changes nothing
    #[arg(long, short)]
    watch: bool,
}

pub async fn run(args: Args, context: &Context) -> Result {
    match args.action {
        Action::Status { of, watch } => show(&of.find(context).await?, &watch, context).await,
        Action::Pause { of } => signal(&of, "pause_promotion", &Watch { watch: false }, context).await,
        Action::Resume { of, watch } => signal(&of, "resume_promotion", &watch, context).await,
        Action::Cancel { of, force, watch } => cancel(&of, force, &watch, context).await,
        Action::RollForward { of, watch } => signal(&of, "force_roll_forward_promotion", &watch, context).await,
        Action::History { of, limit } => history(&of, limit, context).await,
    }
}

/// Sends a signal, which takes effect a moment later, and shows the promotion then.
async fn signal(of: &Of, action: &str, watch: &Watch, context: &Context) -> Result {
    let place = of.find(context).await?;
    let _: SignalPromotionResponse = place.client.post(&place.path(action), &serde_json::json!({})).await?;
    show(&place, watch, context).await
}

/// Shows the newest promotion, at its end if it is watched; only a good end is a success then.
async fn show(place: &Place, watch: &Watch, context: &Context) -> Result {
    let mut newest = place.newest().await?;
    if watch.watch {
        newest = place.follow(newest, None, context).await?;
    }
    context.printer.answer(&newest, |newest| shown(newest, &place.model.name, clock::now()))
}

/// Gives a promotion up; its end is what was asked for, if it is watched.
async fn cancel(of: &Of, force: bool, watch: &Watch, context: &Context) -> Result {
    let place = of.find(context).await?;
    let action = if force { "force_cancel_promotion" } else { "cancel_promotion" };
    let answer: Value = place.client.post(&place.path(action), &serde_json::json!({})).await?;
    let mut newest = place.newest().await?;
    if watch.watch {
        newest = place.until_ended(newest, None, context).await?;
    } else if let Some(message) = answer["message"].as_str() {
        context.printer.say(message);
    }
    context.printer.answer(&newest, |newest| shown(newest, &place.model.name, clock::now()))
}

async fn history(of: &Of, limit: u32, context: &Context) -> Result {
    let found = of.find(context).await?.history(limit).await?;
    let now = clock::now();
    let row = |promotion: &Promotion| {
        let name = |side: &PromotionSide| promotion::name(side).to_owned();
        vec![
            promotion.id.clone(),
            words::name(&promotion.status),
            name(&promotion.candidate),
            promotion.previous.as_ref().map_or_else(|| "-".to_owned(), name),
            manner(promotion),
            promotion.difference.as_ref().map_or_else(|| "-".to_owned(), difference::count),
            age(now, &promotion.started_at),
            promotion.error_message.clone().unwrap_or_else(|| promotion.why.clone()),
        ]
    };
    let rows = found.promotions.iter().map(row).collect();
    context.printer.table(&found, &["id", "status", "candidate", "previous", "mode", "changes", "age", "why"], rows)
}

impl Of {
    async fn find(&self, context: &Context) -> Result<Place> {
        Place::find(context, &self.model, &self.environment).await
    }
}

fn shown(promotion: &Promotion, model: &str, now: Timestamp) -> String {
    let Promotion { environment, percent_traffic_to_new_version: percent, candidate, previous, .. } = promotion;
    let mut lines = vec![format!("Promotion to {environment} of {model} is {}", words::name(&promotion.status))];
    let mut say = |what: &str, text: &str| lines.push(format!("  {what:<10} {text}"));
    say("why", promotion.error_message.as_deref().unwrap_or(&promotion.why));
    say("traffic", &format!("{percent} % with the candidate"));
    say("candidate", &side(candidate));
    if let Some(previous) = previous {
        say("previous", &side(previous));
    }
    say("mode", &manner(promotion));
    say("asked by", &asker(promotion));
    if let Some(action) = &promotion.pending_action {
        say("asked for", &format!("{}, not taken up yet", words::name(action)));
    }
    say("started", &format!("{} ago", age(now, &promotion.started_at)));
    if let Some(ended_at) = &promotion.ended_at {
        say("ended", &format!("{} ago", age(now, ended_at)));
    }
    if let Some(deadline) = promotion.deadline_at.as_deref().and_then(parse_rfc3339) {
        let left = std::time::Duration::from_secs(Timestamp(deadline).since(now) / 1000);
        say("deadline", &format!("in {}", words::seconds(left)));
    }
    if let Some(difference) = &promotion.difference {
        lines.push(difference::told(difference));
    }
    lines.join("\n")
}

fn side(side: &PromotionSide) -> String {
    let PromotionSide { deployment_id: id, ready_replicas: ready, wanted_replicas: wanted, .. } = side;
    let status = side.deployment_status.as_ref().map_or_else(|| "deleted".to_owned(), words::name);
    format!("{} ({id})  {status}  {ready} of {wanted} replicas ready", promotion::name(side))
}

fn manner(promotion: &Promotion) -> String {
    let mode = match promotion.mode {
        PromotionMode::Immediate => "immediate",
        PromotionMode::Canary => "canary",
        PromotionMode::Rolling => "rolling",
    };
    if promotion.in_place { format!("{mode}, in place") } else { mode.to_owned() }
}

fn asker(promotion: &Promotion) -> String {
    let what = match promotion.origin {
        PromotionOrigin::Push => "a push",
        PromotionOrigin::Request => "a request",
        PromotionOrigin::Rollback => "a rollback",
    };
    match &promotion.requested_by {
        Some(key) => format!("{what} with key {key}"),
        None => what.to_owned(),
    }
}
