//! `greenroom push DIR`: packs a model's folder, uploads it, makes a deployment of it, and watches until it serves.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use api::{
    truss_config::{self, TrussConfig},
    v1::{
        deployments::{
            CreateModelDeploymentRequest, Deployment, DeploymentArchivePayload, DeploymentArchiveSource,
            DeploymentStatus, SourceKind,
        },
        models::{CreateModelRequest, CreatedModelDeployment, Model, ModelArchiveSource},
        promotions::Promotion,
        uploads::PrepareModelUploadRequest,
    },
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Context,
    promotion::{self, Place},
    tail::Tail,
    target,
    upload::upload,
    watch,
};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result, while_doing},
    words,
};

/// How long a push to an environment may take to become a promotion while there is no other: a newer push may have replaced it.
const STAGING: Duration = Duration::from_secs(5);
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
    /// Folder of the model
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Name of the model [default: model_name in config.yaml]
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    model_name: Option<String>,
    /// Promote it to this environment as soon as it serves, as the environment's promotion settings say
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
    /// Promote it to production: short for --environment production
    #[arg(long, conflicts_with_all = ["environment", "development"])]
    promote: bool,
    /// Name of the deployment [default: deployment-1, deployment-2, ...]
    #[arg(long, value_name = "NAME")]
    deployment_name: Option<String>,
    /// Labels: key=value, or a JSON object; can be repeated
    #[arg(long, value_name = "LABELS", value_parser = parse_labels)]
    labels: Vec<Map<String, Value>>,
    /// Push the development deployment, which is replaced in place
    #[arg(long, conflicts_with_all = ["environment", "deployment_name"])]
    development: bool,
    /// Give up the start after so many minutes, 10 to 1440 [default: the server's]
    #[arg(long, value_name = "MINUTES")]
    deploy_timeout_minutes: Option<u32>,
    /// Never let anybody download the model's archives; fixed when the model is made
    #[arg(long)]
    disable_archive_download: bool,
    #[command(flatten)]
    wait: watch::WaitArgs,
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
        if self.promote { Some("production") } else { self.environment.as_deref() }
    }
}

/// The name of the model in a folder.
pub fn model_name_in(dir: &Path) -> Result<String> {
    Source::read(dir)?.model_name()
}

pub async fn run(args: Args, context: &Context) -> Result {
    let source = Source::read(&args.dir)?;
    let client = context.client()?;
    let printer = context.printer;
    let name = args.model_name.clone().map_or_else(|| source.model_name(), Ok)?;
    let mut phases = Vec::new();

    let started = Instant::now();
    let model = target::model_named(&client, &name).await?;
    let archive = tempfile::NamedTempFile::new().map_err(while_doing("cannot make a temporary file"))?;
    source.pack(&archive)?;
    phases.push(("pack", started.elapsed()));

    let uploading = Instant::now();
    let payload = source.payload(&args)?;
    let request = PrepareModelUploadRequest {
        deployment: payload.clone(),
        name: model.is_none().then(|| name.clone()),
        team_id: None,
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
    let mut watched = watch::until_active(&client, printer, made.deployment, tail, &args.wait).await?;
    phases.extend(watched.phases);
    let first = made.model.production_deployment_id.is_none().then_some("production");
    if let Some(environment) = args.environment().or(first).filter(|_| serves_alone(&watched.deployment)) {
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
    printer.answer(&pushed, |pushed| summary(pushed, started.elapsed(), source.config.example_input()))
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
                .post_archive(&["v1", "models", &model.id, "deployments"], &CreateModelDeploymentRequest { source })
                .await
        }
        None => {
            let source = ModelArchiveSource { kind, name, deployment, s3_key, disable_archive_download };
            client.post_archive(&["v1", "models"], &CreateModelRequest { source }).await
        }
    }
}

/// Where this deployment answers, as a path and as flags of `predict`: its environment's endpoint where it has one.
fn place(deployment: &Deployment) -> (String, String) {
    let Deployment { id, name, environment, is_development, .. } = deployment;
    match environment.as_deref() {
        _ if *is_development => ("development".to_owned(), " --development".to_owned()),
        Some("production") => ("production".to_owned(), String::new()),
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

/// A model's folder, read and found to be one.
struct Source {
    dir: PathBuf,
    config_path: PathBuf,
    config: TrussConfig,
    document: Map<String, Value>,
    text: String,
    replaced_config: bool,
}

impl Source {
    fn model_name(&self) -> Result<String> {
        self.config.model_name.clone().ok_or_else(|| {
            Failure::new(Kind::Usage, format!("{} has no model_name", self.config_path.display()))
                .hint("add `model_name: my-model` to it, or name the model on the command line")
        })
    }

    fn read(dir: &Path) -> Result<Self> {
        let config_path = dir.join("config.yaml");
        let text = std::fs::read_to_string(&config_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(Kind::Usage, format!("{} is not a model: it has no config.yaml", dir.display()))
                    .hint("a model is a folder with config.yaml and model/model.py; see examples/hello")
            }
            _ => while_doing(format!("cannot read {}", config_path.display()))(error),
        })?;
        let invalid = |problem: &dyn std::fmt::Display| {
            Failure::new(Kind::Invalid, format!("{}: {problem}", config_path.display()))
        };
        let config = truss_config::parse_yaml(&text).map_err(|error| invalid(&error))?;
        if let Some(problem) = config.validate().first() {
            return Err(invalid(problem));
        }
        let document: Option<Map<String, Value>> = serde_saphyr::from_str(&text).map_err(|error| invalid(&error))?;
        let mut source = Self {
            dir: dir.to_owned(),
            config_path,
            config,
            document: document.unwrap_or_default(),
            text,
            replaced_config: false,
        };
        source.check_class()?;
        source.inline_external_packages();
        Ok(source)
    }

    /// A folder without the class's file would only fail later, in the build.
    fn check_class(&self) -> Result {
        if self.config.docker_server.is_some() {
            return Ok(());
        }
        let class = self.dir.join(&self.config.model_module_dir).join(&self.config.model_class_filename);
        if class.is_file() {
            return Ok(());
        }
        Err(Failure::new(Kind::Invalid, format!("{} is missing", class.display()))
            .hint(format!("it is where class {} is expected; see examples/hello", self.config.model_class_name)))
    }

    /// What lies outside the folder travels inside the archive, so the config that travels must not name it any more.
    fn inline_external_packages(&mut self) {
        if self.config.external_package_dirs.is_empty() {
            return;
        }
        self.document.insert("external_package_dirs".to_owned(), Value::Array(Vec::new()));
        self.text = serde_json::to_string_pretty(&self.document).expect("JSON, which is YAML too");
        self.replaced_config = true;
    }

    fn pack(&self, archive: &tempfile::NamedTempFile) -> Result {
        let external: Vec<PathBuf> = self.config.external_package_dirs.iter().map(PathBuf::from).collect();
        let what = archive::Pack {
            folder: &self.dir,
            config: self.replaced_config.then_some(self.text.as_bytes()),
            external_package_dirs: &external,
            packages_dir: &self.config.bundled_packages_dir,
        };
        archive::pack(&what, std::io::BufWriter::new(archive.as_file()), |_| ())
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot pack {}: {error}", self.dir.display())))?;
        Ok(())
    }

    fn payload(&self, args: &Args) -> Result<DeploymentArchivePayload> {
        let labels: Map<String, Value> =
            args.labels.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        let user_env = Map::from_iter([("client".to_owned(), concat!("greenroom/", env!("CARGO_PKG_VERSION")).into())]);
        Ok(DeploymentArchivePayload {
            config: self.document.clone(),
            raw_config: (self.text.len() <= MAX_RAW_CONFIG_BYTES).then(|| self.text.clone()),
            user_env: Some(user_env),
            environment_name: args.environment().map(str::to_owned),
            preserve_env_instance_type: true,
            deploy_timeout_minutes: args.deploy_timeout_minutes,
            deployment_name: args.deployment_name.clone(),
            labels: (!labels.is_empty()).then_some(labels),
            is_development: args.development,
            ..Default::default()
        })
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

    #[test]
    fn a_folder_that_is_no_model_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let failure = Source::read(folder.path()).err().expect("refused");
        assert!(failure.message.ends_with("is not a model: it has no config.yaml"), "{}", failure.message);
        std::fs::write(folder.path().join("config.yaml"), "model_name: x").expect("written");
        let failure = Source::read(folder.path()).err().expect("refused");
        assert!(failure.message.ends_with("model/model.py is missing"), "{}", failure.message);
    }
}
