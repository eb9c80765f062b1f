//! `greenroom push DIR`: packs a model's folder, uploads it, makes a deployment of it, and watches until it serves.

use std::time::{Duration, Instant};

use api::v1::{
    deployments::{
        CreateModelDeploymentRequest, Deployment, DeploymentArchivePayload, DeploymentArchiveSource, DeploymentStatus,
        SourceKind,
    },
    models::{CreateModelRequest, CreatedModelDeployment, Model, ModelArchiveSource},
    promotions::Promotion,
    uploads::PrepareModelUploadRequest,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Context,
    promotion::{self, Place},
    source::{FolderArgs, Source},
    tail::Tail,
    target,
    upload::upload,
    wait, watch, workspace_settings,
};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result, while_doing},
    printer::Printer,
    words,
};

/// How long a push to an environment may take to become a promotion while there is no other: a newer push may have replaced it.
const STAGING: Duration = Duration::from_secs(5);
/// The environment that every model has.
const PRODUCTION: &str = "production";
/// How many promotions there may be between two looks.
const RECENT: u32 = 20;
/// The largest config that is kept verbatim beside its parsed form.
const MAX_RAW_CONFIG_BYTES: usize = 100 * 1024;

/// Deploy a model: a folder with config.yaml and model/model.py
///
/// Packs and uploads the folder, follows the build and the start, and ends when the model serves. The first push of a name makes
/// the model, and its first working deployment becomes production.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Promote it to this environment as soon as it serves, as the environment's promotion settings say
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
    /// Promote it to production: short for --environment production
    #[arg(long, conflicts_with_all = ["environment", "development"])]
    promote: bool,
    /// Give the environment the instance type that the config asks for, instead of the deployment the environment's
    #[arg(long, conflicts_with_all = ["development", "watch"])]
    change_instance_type: bool,
    /// Do not ask where the push goes to production because the workspace says so, and not because it names it
    #[arg(long, short)]
    yes: bool,
    /// Name of the deployment [default: deployment-1, deployment-2, ...]
    #[arg(long, value_name = "NAME")]
    deployment_name: Option<String>,
    /// Labels: key=value, or a JSON object; can be repeated
    #[arg(long, value_name = "LABELS", value_parser = parse_labels)]
    labels: Vec<Map<String, Value>>,
    /// Push the development deployment, which is replaced in place
    #[arg(long, conflicts_with_all = ["environment", "deployment_name"])]
    development: bool,
    /// Push the development deployment, and reload it live while the folder is edited, as `greenroom watch` does
    #[arg(long, conflicts_with_all = ["environment", "promote", "deployment_name", "no_wait"])]
    watch: bool,
    #[command(flatten)]
    manner: watch::Manner,
    /// Give up the start after so many minutes, 10 to 1440 [default: the server's]
    #[arg(long, value_name = "MINUTES")]
    deploy_timeout_minutes: Option<u32>,
    /// Never let anybody download the model's archives; fixed when the model is made
    #[arg(long)]
    disable_archive_download: bool,
    #[command(flatten)]
    wait: wait::WaitArgs,
}

#[derive(Serialize)]
struct Pushed<'a> {
    model: &'a Model,
    deployment: &'a Deployment,
    endpoint: String,
    phases: Vec<Phase>,
}

#[derive(Serialize)]
struct Phase {
    name: &'static str,
    seconds: f64,
}

impl Args {
    /// Where the deployment is to be promoted.
    fn environment(&self) -> Option<&str> {
        if self.promote { Some(PRODUCTION) } else { self.environment.as_deref() }
    }
}

/// Where the workspace sends a push that names no environment. It is told, and asked about where that is production.
async fn default_environment(args: &Args, client: &Client, name: &str, printer: Printer) -> Result<Option<String>> {
    if args.environment().is_some() || args.development || args.watch {
        return Ok(None);
    }
    let Some(environment) = workspace_settings::read(client).await?.default_environment else {
        return Ok(None);
    };
    printer.say(&format!("No environment is named: {name} goes to {environment}, as `greenroom settings` says"));
    if environment == PRODUCTION
        && !args.yes
        && printer.can_ask()
        && !printer.confirm(&format!("Push {name} to production?"))
    {
        return Err(Failure::new(Kind::Usage, "nothing pushed").hint("name another one with --environment"));
    }
    Ok(Some(environment))
}

pub async fn run(args: Args, context: &Context) -> Result {
    if args.manner != watch::Manner::default() && !args.watch {
        return Err(Failure::new(
            Kind::Usage,
            "--hot-reload says how changes are carried over, and without --watch none are",
        )
        .hint("add --watch, or leave --hot-reload out"));
    }
    let (source, name) = args.folder.read()?;
    let client = context.client()?;
    let printer = context.printer;
    let mut phases = Vec::new();

    let started = Instant::now();
    let default_environment = default_environment(&args, &client, &name, printer).await?;
    let model = target::model_named(&client, &name).await?;
    let archive = tempfile::NamedTempFile::new().map_err(while_doing("cannot make a temporary file"))?;
    source.pack(&archive)?;
    phases.push(("pack", started.elapsed()));

    let uploading = Instant::now();
    let payload = payload(&source, &args);
    let request = PrepareModelUploadRequest {
        deployment: payload.clone(),
        name: model.is_none().then(|| name.clone()),
        team_id: client.team_id().await?,
        model_id: model.as_ref().map(|model| model.id.clone()),
        dry_run: false,
    };
    let target = client.post(&["v1", "prepare_model_upload"], &request).await?;
    let s3_key = upload(target, archive.path(), printer).await?;
    phases.push(("upload", uploading.elapsed()));

    let made = create(&client, model, name, payload, s3_key, args.disable_archive_download).await?;
    printer.say(&format!("Pushed {} as {} ({})", made.model.name, made.deployment.name, made.deployment.id));
    let pushed_at = api::v1::time::parse_rfc3339(&made.deployment.created_at).unwrap_or_default();
    let tail = Tail::new(&made.deployment, pushed_at, Vec::new());
    let waiting = Instant::now();
    let mut watched = wait::until_active(&client, printer, made.deployment, tail, &args.wait).await?;
    phases.extend(watched.phases);
    let first = made.model.production_deployment_id.is_none().then_some(PRODUCTION);
    let environment = args.environment().or(default_environment.as_deref()).or(first);
    if let Some(environment) = environment.filter(|_| serves_alone(&watched.deployment)) {
        let promoting = Instant::now();
        let place = Place { client: client.clone(), model: made.model.clone(), environment: environment.to_owned() };
        let limit = args.wait.limit().map(|limit| limit.saturating_sub(waiting.elapsed()));
        let on_stage = until_on_stage(&place, &watched.deployment, context);
        watched.deployment = promotion::within(limit, on_stage).await?;
        phases.push(("promote", promoting.elapsed()));
    }

    let pushed = Pushed {
        endpoint: format!("{}/models/{}/{}/predict", client.url(), made.model.id, place(&watched.deployment).0),
        model: &made.model,
        deployment: &watched.deployment,
        phases: phases.iter().map(|(name, spent)| Phase { name, seconds: spent.as_secs_f64() }).collect(),
    };
    printer.answer(&pushed, |pushed| summary(pushed, started.elapsed(), source.config.example_input()))?;
    if args.watch {
        let watch = watch::Watch { dir: &args.folder.dir, client: &client, deployment: &watched.deployment, printer };
        watch.follow(watch::Sleep::Never, args.manner).await?;
    }
    Ok(())
}

/// Whether a published deployment serves, and no environment is served by it yet.
fn serves_alone(deployment: &Deployment) -> bool {
    let is_active = deployment.status == DeploymentStatus::Active;
    is_active && !deployment.is_development && deployment.environment.is_none()
}

/// Follows the promotion that a push to an environment becomes, so that the endpoint that is printed is the lasting one.
async fn until_on_stage(place: &Place, deployment: &Deployment, context: &Context) -> Result<Deployment> {
    let mut last_hope = Instant::now();
    loop {
        let promotions = place.history(RECENT).await?.promotions;
        if promotions.first().is_some_and(|newest| !promotion::has_ended(newest)) {
            // Another one may have to end first.
            last_hope = Instant::now();
        }
        let own = |promotion: &Promotion| promotion.candidate.deployment_id == deployment.id;
        if let Some(own) = promotions.into_iter().find(own) {
            place.follow(own, None, context).await?;
        }
        let path = ["v1", "models", &deployment.model_id, "deployments", &deployment.id];
        let deployment: Deployment = place.client.get(&path).await?;
        if deployment.environment.is_some() || last_hope.elapsed() > STAGING {
            return Ok(deployment);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn create(
    client: &Client,
    model: Option<Model>,
    name: String,
    deployment: DeploymentArchivePayload,
    s3_key: String,
    disable_archive_download: bool,
) -> Result<CreatedModelDeployment> {
    let (kind, s3_key) = (SourceKind::ModelArchive, Some(s3_key));
    match model {
        Some(model) => {
            let source = DeploymentArchiveSource { kind, deployment, s3_key };
            client
                .post_patiently(&["v1", "models", &model.id, "deployments"], &CreateModelDeploymentRequest { source })
                .await
        }
        None => {
            let source = ModelArchiveSource { kind, name, deployment, s3_key, disable_archive_download };
            client.post_patiently(&client.in_team(&["models"]).await?, &CreateModelRequest { source }).await
        }
    }
}

/// Where this deployment answers, as a path and as flags of `predict`: its environment's endpoint where it has one.
fn place(deployment: &Deployment) -> (String, String) {
    let Deployment { id, name, environment, is_development, .. } = deployment;
    match environment.as_deref() {
        _ if *is_development => ("development".to_owned(), " --development".to_owned()),
        Some(PRODUCTION) => (PRODUCTION.to_owned(), String::new()),
        Some(environment) => (format!("environments/{environment}"), format!(" --environment {environment}")),
        None => (format!("deployment/{id}"), format!(" --deployment {name}")),
    }
}

fn summary(pushed: &Pushed, total: Duration, example: Option<&Value>) -> String {
    let Pushed { model, deployment, endpoint, phases } = pushed;
    let status = words::name(&deployment.status);
    let took: Vec<_> = phases.iter().map(|phase| format!("{} {:.2} s", phase.name, phase.seconds)).collect();
    let (total, took) = (words::seconds(total), took.join(", "));
    let (_, flags) = place(deployment);
    let input = example.map_or_else(|| "{}".to_owned(), Value::to_string);
    format!(
        "{} of {} is {status} after {total} ({took})\nEndpoint {endpoint}\n\
         Try      greenroom predict {}{flags} --data '{input}'",
        deployment.name, model.name, model.name,
    )
}

/// What is said of the deployment.
fn payload(source: &Source, args: &Args) -> DeploymentArchivePayload {
    let labels: Map<String, Value> =
        args.labels.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let user_env = Map::from_iter([("client".to_owned(), concat!("greenroom/", env!("CARGO_PKG_VERSION")).into())]);
    DeploymentArchivePayload {
        config: source.document.clone(),
        raw_config: (source.text.len() <= MAX_RAW_CONFIG_BYTES).then(|| source.text.clone()),
        user_env: Some(user_env),
        environment_name: args.environment().map(str::to_owned),
        preserve_env_instance_type: !args.change_instance_type,
        deploy_timeout_minutes: args.deploy_timeout_minutes,
        deployment_name: args.deployment_name.clone(),
        labels: (!labels.is_empty()).then_some(labels),
        is_development: args.development || args.watch,
        ..Default::default()
    }
}

/// `key=value`, or a JSON object.
fn parse_labels(text: &str) -> std::result::Result<Map<String, Value>, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"));
    }
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Map::from_iter([(key.to_owned(), value.into())])),
        _ => Err("expected key=value or a JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs_or_json() {
        assert_eq!(parse_labels("team=search").expect("a pair")["team"], "search");
        assert_eq!(parse_labels("formula=a=b").expect("a pair")["formula"], "a=b");
        assert_eq!(parse_labels(r#"{"cost": 3}"#).expect("an object")["cost"], 3);
        assert!(parse_labels("nothing").is_err());
        assert!(parse_labels("=x").is_err());
    }
}
