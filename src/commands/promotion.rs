//! One promotion, as several commands look at it: where it is asked about, how it reads, and how it is followed to its end.

use std::time::{Duration, Instant};

use api::v1::{
    deployments::Deployment,
    models::Model,
    promotion::InProgressPromotionStatus,
    promotions::{Promotion, PromotionSide, Promotions},
};

use super::{Context, target};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
    words,
};

/// How often a promotion that is followed is looked at.
const ROUND: Duration = Duration::from_millis(250);
/// How long the server may be away while we follow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether to wait for the end.
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    /// Follow it to its end; Ctrl-C stops following and leaves it under way
    #[arg(long, short)]
    wait: bool,
    /// Stop following after this long; it goes on [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "wait")]
    timeout: Option<Duration>,
}

/// An environment of a model.
pub struct Place {
    /// The server.
    pub client: Client,
    /// The model.
    pub model: Model,
    /// The environment's name.
    pub environment: String,
}

impl Place {
    /// The environment of this name, of the model with this name or id.
    pub async fn find(context: &Context, model: &str, environment: &str) -> Result<Self> {
        let client = context.client()?;
        let model = target::find_model(&client, model).await?;
        Ok(Self { client, model, environment: environment.to_owned() })
    }

    /// The path of something of this environment.
    pub fn path<'a>(&'a self, rest: &'a str) -> [&'a str; 6] {
        ["v1", "models", &self.model.id, "environments", &self.environment, rest]
    }

    /// The name of a deployment of the model.
    pub async fn name_of(&self, id: Option<&str>) -> Result<Option<String>> {
        let Some(id) = id else {
            return Ok(None);
        };
        let deployment: Deployment = self.client.get(&["v1", "models", &self.model.id, "deployments", id]).await?;
        Ok(Some(deployment.name))
    }

    /// The newest promotion, under way or over.
    pub async fn newest(&self) -> Result<Promotion> {
        self.client.get(&self.path("promotion")).await
    }

    /// The promotions of late, newest first.
    pub async fn history(&self, limit: u32) -> Result<Promotions> {
        self.client.get_where(&self.path("promotions"), &[("limit", limit.to_string())]).await
    }

    /// Shows a promotion that has just been asked for, and waits as `args` say.
    pub async fn answer(&self, promotion: Promotion, args: &WaitArgs, context: &Context) -> Result {
        if args.wait {
            let ended = self.follow(promotion, args.timeout, context).await?;
            return context.printer.answer(&ended, |ended| self.success(ended));
        }
        context.printer.answer(&promotion, |promotion| {
            let candidate = name(&promotion.candidate);
            let (model, environment) = (&self.model.name, &self.environment);
            format!(
                "promoting {candidate} to {environment} of {model}\n\
                 Follow   greenroom rollout status {model} {environment} --watch"
            )
        })
    }

    /// Follows a promotion to its end, and fails when it is not the good one.
    pub async fn follow(&self, promotion: Promotion, limit: Option<Duration>, context: &Context) -> Result<Promotion> {
        let ended = self.until_ended(promotion, limit, context).await?;
        let candidate = name(&ended.candidate);
        let (model, environment) = (&self.model.name, &self.environment);
        let reason = ended.error_message.as_deref().unwrap_or(&ended.why);
        match ended.status {
            InProgressPromotionStatus::Succeeded => Ok(ended),
            InProgressPromotionStatus::Failed => {
                let message = format!("{candidate} could not be promoted to {environment} of {model}: {reason}");
                Err(Failure::new(Kind::DeployFailed, message).hint(format!(
                    "{}; `greenroom logs {model} --deployment {candidate}` shows what the candidate said",
                    unharmed(&ended)
                )))
            }
            _ => {
                let message =
                    format!("the promotion of {candidate} to {environment} of {model} was canceled: {reason}");
                Err(Failure::new(Kind::Failed, message).hint(unharmed(&ended)))
            }
        }
    }

    /// Follows a promotion to whatever end, and says meanwhile what it does.
    pub async fn until_ended(
        &self,
        promotion: Promotion,
        limit: Option<Duration>,
        context: &Context,
    ) -> Result<Promotion> {
        context.on_interrupt(format!(
            "the promotion goes on without us; `greenroom rollout status {model} {environment}` shows how it is, \
             `greenroom rollout cancel {model} {environment}` gives it up",
            model = self.model.name,
            environment = self.environment,
        ));
        within(limit, self.look_until_ended(promotion, context)).await
    }

    async fn look_until_ended(&self, mut promotion: Promotion, context: &Context) -> Result<Promotion> {
        let progress = context.printer.spinner(&line(&promotion));
        let mut last_contact = Instant::now();
        while !has_ended(&promotion) {
            tokio::time::sleep(ROUND).await;
            match self.again(&promotion).await {
                Ok(seen) => {
                    promotion = seen;
                    last_contact = Instant::now();
                    progress.label(&line(&promotion));
                }
                // A server that restarts is away for a moment; the promotion is not.
                Err(failure) if failure.kind == Kind::Server && last_contact.elapsed() < PATIENCE => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(promotion)
    }

    /// The same promotion as it is now, which need not be the newest any more.
    async fn again(&self, known: &Promotion) -> Result<Promotion> {
        let newest = self.newest().await?;
        if newest.id == known.id {
            return Ok(newest);
        }
        let history = self.history(200).await?;
        let gone = || Failure::new(Kind::NotFound, format!("promotion {} is not in the history any more", known.id));
        history.promotions.into_iter().find(|promotion| promotion.id == known.id).ok_or_else(gone)
    }

    /// What a good end means.
    pub fn success(&self, ended: &Promotion) -> String {
        let took = match (millis(&ended.started_at), ended.ended_at.as_deref().and_then(millis)) {
            (Some(started), Some(ended)) => {
                format!(" after {}", words::seconds(Duration::from_millis(ended.saturating_sub(started))))
            }
            _ => String::new(),
        };
        format!("{} of {} serves {}{took}", self.environment, self.model.name, name(&ended.candidate))
    }
}

/// Waits for something of a promotion no longer than `limit`.
pub async fn within<T>(limit: Option<Duration>, following: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(limit) = limit else {
        return following.await;
    };
    tokio::time::timeout(limit, following).await.unwrap_or_else(|_| {
        let message = format!("the promotion has not ended after {}", words::seconds(limit));
        Err(Failure::new(Kind::TimedOut, message)
            .hint("it goes on without us; `greenroom rollout status` shows how it is"))
    })
}

/// Whether nothing will change any more.
pub fn has_ended(promotion: &Promotion) -> bool {
    match promotion.status {
        InProgressPromotionStatus::Succeeded
        | InProgressPromotionStatus::Failed
        | InProgressPromotionStatus::Canceled => true,
        InProgressPromotionStatus::Releasing
        | InProgressPromotionStatus::RampingUp
        | InProgressPromotionStatus::RampingDown
        | InProgressPromotionStatus::Paused => false,
    }
}

/// The deployment's name, or its id where it has been deleted.
pub fn name(side: &PromotionSide) -> &str {
    side.deployment_name.as_deref().unwrap_or(&side.deployment_id)
}

/// Where a promotion stands, on one line, with the reason in the machine's own words.
fn line(promotion: &Promotion) -> String {
    let side = |side: &PromotionSide| format!("{} {}/{}", name(side), side.ready_replicas, side.wanted_replicas);
    let Promotion { environment, percent_traffic_to_new_version: percent, candidate, previous, why, .. } = promotion;
    let previous = previous.as_ref().map(|previous| format!(" from {}", side(previous))).unwrap_or_default();
    format!("{environment}: {} {percent} % to {}{previous}: {why}", words::name(&promotion.status), side(candidate))
}

fn unharmed(ended: &Promotion) -> String {
    match &ended.previous {
        Some(previous) => format!("{} still serves {}", ended.environment, name(previous)),
        None => format!("{} serves nothing, as before", ended.environment),
    }
}

fn millis(moment: &str) -> Option<u64> {
    api::v1::time::parse_rfc3339(moment)
}
