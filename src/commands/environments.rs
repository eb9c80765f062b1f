//! `greenroom environments list|create|set|restrict|unrestrict|delete`.

use std::time::Duration;

use api::v1::{
    environment_groups::{EnvironmentGroup, UpdateEnvironmentGroupManageAccess, UpdateEnvironmentGroupRequest},
    environments::{
        CreateEnvironmentRequest, Environment, EnvironmentTombstone, Environments, UpdateEnvironmentRequest,
        UpdateEnvironmentResponse,
    },
    promotion::{PromotionCleanupStrategy, PromotionSettings},
};

use super::{Context, settings::Settings, target, users};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
    words,
};

/// List, create, set up or delete the environments of a model
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the environments of a model
    List {
        /// Model, by name or id
        model: String,
    },
    /// Add an environment to a model
    Create {
        /// Model, by name or id
        model: String,
        /// Lower-case letters, digits and hyphens
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change how what an environment serves scales, and how promotions into it go
    Set {
        /// Model, by name or id
        model: String,
        /// Which
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Let only administrators of the team, and people who are named, change environments of a name, in all models of the team
    Restrict {
        /// Which
        name: String,
        /// Somebody who may, too, by address or id; in place of those named before, who stay where nobody is named
        #[arg(long, value_name = "USER")]
        user: Vec<String>,
    },
    /// Let everybody in the team change environments of a name again
    Unrestrict {
        /// Which
        name: String,
    },
    /// Remove an environment; what it serves stays, with no replicas
    Delete {
        /// Model, by name or id
        model: String,
        /// Which
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    match args.action {
        Action::List { model } => {
            let model = target::find_model(&client, &model).await?;
            let found: Environments = client.get(&["v1", "models", &model.id, "environments"]).await?;
            printer.table(&found, HEADINGS, rows(&found.environments))
        }
        Action::Create { model, name, settings } => {
            let model = target::find_model(&client, &model).await?;
            let request = CreateEnvironmentRequest {
                name,
                autoscaling_settings: settings.autoscaling(),
                promotion_settings: settings.promotion(),
                request_backpressure_settings: settings.backpressure(),
            };
            let path = ["v1", "models", &model.id, "environments"];
            let made: Environment = client.post(&path, &request).await?;
            printer.answer(&made, |made| format!("created environment {} of model {}", made.name, model.name))
        }
        Action::Set { model, name, settings } => {
            settings.check_any()?;
            let model = target::find_model(&client, &model).await?;
            let request = UpdateEnvironmentRequest {
                autoscaling_settings: settings.autoscaling(),
                promotion_settings: settings.promotion(),
                request_backpressure_settings: settings.backpressure(),
                ..UpdateEnvironmentRequest::default()
            };
            let path = ["v1", "models", &model.id, "environments", &name];
            let changed: UpdateEnvironmentResponse = client.patch(&path, &request).await?;
            printer
                .answer(&changed, |changed| format!("environment {name} of model {}: {}", model.name, changed.message))
        }
        Action::Restrict { name, user } => {
            let mut named = Vec::new();
            for user in &user {
                named.push(users::find(&client, user).await?);
            }
            let user_ids = (!named.is_empty()).then_some(named);
            let access = UpdateEnvironmentGroupManageAccess { is_restricted: true, user_ids };
            let group = restrict(&client, &name, access, &[]).await?;
            printer.answer(&group, |group| {
                let users = group.manage_access.users.iter().flatten();
                let users: Vec<&str> = users.map(|user| user.email.as_deref().unwrap_or(&user.user_id)).collect();
                format!("environments named {name} can be changed by {}", users.join(", "))
            })
        }
        Action::Unrestrict { name } => {
            let access = UpdateEnvironmentGroupManageAccess { is_restricted: false, user_ids: None };
            let group = restrict(&client, &name, access, &[]).await?;
            printer.answer(&group, |group| {
                format!("everybody in team {} can change environments named {name}", group.team_name)
            })
        }
        Action::Delete { model, name, yes } => {
            let model = target::find_model(&client, &model).await?;
            if !yes && !printer.confirm(&format!("Delete environment {name} of model {}?", model.name)) {
                return Err(Failure::new(Kind::Usage, "nothing deleted").hint("pass --yes to delete without asking"));
            }
            let path = ["v1", "models", &model.id, "environments", &name];
            let gone: EnvironmentTombstone = client.delete(&path).await?;
            printer.answer(&gone, |gone| format!("deleted environment {} of model {}", gone.name, model.name))
        }
    }
}

/// Says who may change the environments of a name.
pub async fn restrict(
    client: &Client,
    name: &str,
    access: UpdateEnvironmentGroupManageAccess,
    query: &[(&str, String)],
) -> Result<EnvironmentGroup> {
    let request = UpdateEnvironmentGroupRequest { manage_access: Some(access) };
    client.patch_where(&client.in_team(&["environment_groups", name]).await?, query, &request).await
}

/// The headings of [`rows`].
pub const HEADINGS: &[&str] = &["environment", "serves", "status", "replicas", "min", "max", "promotions", "candidate"];

/// One row for each environment.
pub fn rows(environments: &[Environment]) -> Vec<Vec<String>> {
    let row = |environment: &Environment| {
        let current = environment.current_deployment.as_ref();
        vec![
            environment.name.clone(),
            current.map_or_else(|| "-".to_owned(), |deployment| deployment.name.clone()),
            current.map_or_else(|| "-".to_owned(), |deployment| words::name(&deployment.status)),
            current.map_or_else(|| "-".to_owned(), |deployment| deployment.active_replica_count.to_string()),
            environment.autoscaling_settings.min_replica.to_string(),
            environment.autoscaling_settings.max_replica.to_string(),
            manner(&environment.promotion_settings),
            candidate(environment),
        ]
    };
    environments.iter().map(row).collect()
}

/// How promotions go, in the words of the flags that set it.
fn manner(settings: &PromotionSettings) -> String {
    let ramp_up_s = settings.ramp_up_duration_seconds.unwrap_or_default();
    let steps = settings.rolling_deploy_config.clone().unwrap_or_default();
    let mut words = match (settings.rolling_deploy, settings.ramp_up_while_promoting) {
        (Some(true), _) if steps.max_unavailable_percent > 0 => {
            format!("rolling, max-unavailable {} %", steps.max_unavailable_percent)
        }
        (Some(true), _) => format!("rolling, max-surge {} %", steps.max_surge_percent),
        (_, Some(true)) => format!("canary, {}", words::seconds(Duration::from_secs(ramp_up_s.into()))),
        _ => "immediate".to_owned(),
    };
    words.push_str(match settings.promotion_cleanup_strategy {
        Some(PromotionCleanupStrategy::Keep) => ", keep",
        Some(PromotionCleanupStrategy::Deactivate) => ", deactivate",
        Some(PromotionCleanupStrategy::ScaleToZero) | None => "",
    });
    words.push_str(if settings.redeploy_on_promotion == Some(true) { ", redeploy" } else { "" });
    words
}

/// What is being promoted, and how far it is.
fn candidate(environment: &Environment) -> String {
    match (&environment.candidate_deployment, &environment.in_progress_promotion) {
        (Some(candidate), Some(promotion)) => {
            let percent = promotion.percent_traffic_to_new_version;
            format!("{}, {} {percent} %", candidate.name, words::name(&promotion.status))
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use api::v1::promotion::RollingDeployConfig;

    use super::*;

    #[test]
    fn the_manner_of_promotions_reads_like_the_flags() {
        let (yes, default) = (Some(true), PromotionSettings::default);
        assert_eq!(manner(&default()), "immediate");
        assert_eq!(manner(&PromotionSettings { ramp_up_while_promoting: yes, ..default() }), "canary, 10 min");
        let rolling = PromotionSettings { rolling_deploy: yes, redeploy_on_promotion: yes, ..default() };
        assert_eq!(manner(&rolling), "rolling, max-surge 10 %, redeploy");
        let steps = RollingDeployConfig { max_surge_percent: 0, max_unavailable_percent: 50, ..Default::default() };
        let kept = Some(PromotionCleanupStrategy::Keep);
        let unavailable =
            PromotionSettings { rolling_deploy_config: Some(steps), promotion_cleanup_strategy: kept, ..rolling };
        assert_eq!(manner(&unavailable), "rolling, max-unavailable 50 %, keep, redeploy");
    }
}
