//! Replicas: one folder and one `greenroom-replica` process each. The folder says all there is to know, and the process writes it;
//! so a server that starts anew finds its replicas by reading.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        replica::{Exit, ExitCause, Phase, Program, Sandbox, Secrets, Spec, StartTimes, Status, file},
        routes::Address,
    },
    truss_config::TrussConfig,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdin, Command},
};

use super::{LOCATIONS, Local, app, process, remove_folder, standby::Standby};
use crate::{Artifact, BackendError, Observed, ReplicaTemplate, StartError, StartReplica, Usage};

/// What this backend notes down about a replica, beside what the replica writes itself.
const OWNER_FILE: &str = "owner.json";
/// The process id and the name of the folder that it was started in, noted down as soon as they are known.
const PID_FILE: &str = "pid";
/// Present when we have asked the replica to end.
pub(super) const STOPPED_FILE: &str = "stopped";
/// The replica process's own output: what it says when it cannot even start.
const OUTPUT_FILE: &str = "output.txt";
/// How much of that is shown.
const OUTPUT_BYTES: u64 = 4096;
/// Which modules the model needed, in its artifact's folder.
const MODULES: &str = "modules.json";

/// Content of [`OWNER_FILE`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Owner {
    pub deployment_id: DeploymentId,
    pub artifact: Artifact,
}

impl Local {
    pub(super) async fn start_replica(&self, start: StartReplica) -> Result<(), StartError> {
        let StartReplica { spec, artifact, config, secrets } = start;
        let id = spec.replica_id.clone();
        let folder = self.replica_folder(&id);
        if folder.exists() {
            return Ok(());
        }
        let mut spec = self.specify(spec, &artifact, &config)?;
        let _starting = Starting::new(self, &id);
        if let Some(standby) = self.take_standby(&spec) {
            match self.begin(standby, &spec, &secrets).await {
                Ok(()) => {
                    self.bump();
                    return Ok(());
                }
                Err(error) => tracing::debug!(replica.id = %id, %error, "what stood by cannot be used"),
            }
        }
        let owner = Owner { deployment_id: spec.deployment_id.clone(), artifact };
        let settled = self.with_gpus(&mut spec, |spec| self.make_replica_folder(&folder, spec, &owner)).await;
        match settled {
            Ok(()) => {}
            // Another call was faster.
            Err(_) if folder.exists() => return Ok(()),
            Err(error) => return Err(StartError::Machine(error)),
        }
        let ordered = match self.spawn(&folder, None).await {
            Ok(input) => order(input, &secrets).await,
            Err(error) => {
                // No process, no replica: the same id may be tried again.
                let _ = remove_folder(&folder);
                return Err(StartError::Machine(error));
            }
        };
        if let Err(error) = ordered {
            // A replica that ended before it read them says why in its status; this is not the place to.
            tracing::debug!(replica.id = %id, %error, "a replica did not read its order");
        }
        self.bump();
        Ok(())
    }

    /// Lets one that stands by be a replica: its folder goes by the replica's name, and it has its order.
    async fn begin(&self, standby: Standby, spec: &Spec, secrets: &Secrets) -> io::Result<()> {
        let folder = self.replica_folder(&spec.replica_id);
        write_private(&standby.folder.join(file::SPEC), &serde_json::to_vec(spec)?)?;
        fs::rename(&standby.folder, &folder)?;
        let ordered = order(standby.input, secrets).await;
        if ordered.is_err() {
            let _ = remove_folder(&folder);
        }
        ordered
    }

    /// All that a replica is told but its secrets.
    pub(super) fn specify(
        &self,
        template: ReplicaTemplate,
        artifact: &Artifact,
        config: &TrussConfig,
    ) -> Result<Spec, StartError> {
        let (program, sandbox) = self.program(artifact, config)?;
        Ok(with_program(template, program, sandbox))
    }

    /// What an artifact is run as, and in what.
    fn program(&self, artifact: &Artifact, config: &TrussConfig) -> Result<(Program, Sandbox), StartError> {
        let place = self.artifact_place(&artifact.0);
        let build = place.finished().and_then(|marker| self.build_of(&marker));
        let build = build.ok_or_else(|| StartError::NoArtifact(artifact.clone()))?;
        let environment = self.environment(&build.environment).folder;
        let bin = environment.join("bin");
        let settings = &self.settings;
        let sandbox = Sandbox {
            hidden: settings.hidden.iter().chain([&settings.root]).cloned().collect(),
            needed: settings.certificates().chain([environment]).collect(),
            user: settings.model_user,
        };
        let app = place.folder.join(app::APP);
        let Some(server) = &config.docker_server else {
            let packages = place.folder.join(app::PACKAGES);
            let program = Program::Truss {
                python: bin.join("python"),
                app,
                packages: packages.is_dir().then_some(packages),
                modules: Some(place.folder.join(MODULES)),
                config: config.expanded(),
            };
            return Ok((program, sandbox));
        };
        let program = Program::Server {
            command: server.start_command.clone().ok_or_else(|| {
                StartError::Impossible(
                    "docker_server.start_command: needed on this backend, which runs no images".into(),
                )
            })?,
            app,
            path: Some(bin),
            port: server.server_port,
            predict_endpoint: server.predict_endpoint.clone(),
            readiness_endpoint: server.readiness_endpoint.clone(),
            liveness_endpoint: server.liveness_endpoint.clone(),
            protocol: config.protocol(),
        };
        Ok((program, sandbox))
    }

    /// Makes the folder with all it needs under another name first: under its own it is there or not, never half.
    pub(super) fn make_replica_folder(&self, folder: &Path, spec: &Spec, owner: &Owner) -> io::Result<()> {
        let temporary = self.settings.root.join("tmp").join(format!("replica-{}", spec.replica_id));
        if temporary.exists() {
            remove_folder(&temporary)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&temporary)?;
        write_private(&temporary.join(file::SPEC), &serde_json::to_vec(spec)?)?;
        write_private(&temporary.join(OWNER_FILE), &serde_json::to_vec(owner)?)?;
        fs::rename(&temporary, folder)
    }

    /// Starts the process in a session of its own, so that it outlives us, as a replica that is ordered or as one that is not yet:
    /// `word` says so. Answers where its order goes.
    pub(super) async fn spawn(&self, folder: &Path, word: Option<&str>) -> io::Result<ChildStdin> {
        let name = folder.file_name().unwrap_or_default().to_owned();
        let output = File::options().create(true).append(true).mode(0o600).open(folder.join(OUTPUT_FILE))?;
        let mut command = Command::new(&self.settings.replica_program);
        command.arg(self.run_folder.join(&name)).args(word).current_dir(folder);
        command.env_clear().envs(self.settings.replica_variables());
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: between fork and exec, setsid() is async-signal-safe and touches no memory.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {}: {error}", self.settings.replica_program.display()))
        })?;
        if let Some(pid) = child.id() {
            write_private(&folder.join(PID_FILE), format!("{pid} {}", name.display()).as_bytes())?;
        }
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let local = self.me.clone();
        tokio::spawn(async move {
            // Reaps it; what its end means is on disk.
            let _ = child.wait().await;
            if let Some(local) = local.upgrade() {
                local.standby_ended(&name);
                local.bump();
            }
        });
        Ok(input)
    }

    pub(super) fn list_replicas(&self) -> Result<Vec<Observed>, BackendError> {
        let failed = |source| BackendError { what: "cannot list replicas".into(), source };
        Ok(self.replica_ids().map_err(failed)?.into_iter().filter_map(|id| self.observe(id)).collect())
    }

    pub(super) async fn replica_usage(&self) -> HashMap<ReplicaId, Usage> {
        let replicas = self.replica_ids().unwrap_or_default().into_iter();
        let replicas: Vec<_> = replicas.filter_map(|id| Some((self.process(&id)?.0, id))).collect();
        if replicas.is_empty() {
            return HashMap::new();
        }
        let roots: Vec<u32> = replicas.iter().map(|(pid, _)| *pid).collect();
        // The kernel walks through the memory of each process for this.
        let usage = tokio::task::spawn_blocking(move || process::usage_of(&roots)).await.unwrap_or_default();
        replicas.into_iter().filter_map(|(pid, id)| Some((id, *usage.get(&pid)?))).collect()
    }

    /// Every replica that has a folder.
    pub(super) fn replica_ids(&self) -> io::Result<Vec<ReplicaId>> {
        ids_in(&self.replicas)
    }

    /// None when the folder went meanwhile, or is not of our making.
    fn observe(&self, id: ReplicaId) -> Option<Observed> {
        let folder = self.replica_folder(&id);
        let owner: Owner = read_json(&folder.join(OWNER_FILE))?;
        // In this order: a status that is read after the end is the last one.
        // In this order: a start that ends in between has noted its process down by then.
        let is_alive = self.is_starting(&id) || self.is_alive(&id);
        let status = read_json(&folder.join(file::STATUS)).unwrap_or_else(|| Status {
            sequence: 0,
            phase: Phase::Starting,
            in_flight: 0,
            start: StartTimes::default(),
            pid: self.process(&id).map_or(0, |(pid, _)| pid),
        });
        let status = match status.phase {
            Phase::Exited(_) => status,
            _ if is_alive => status,
            _ => Status {
                phase: Phase::Exited(vanished(&folder)),
                sequence: status.sequence + 1,
                in_flight: 0,
                ..status
            },
        };
        let address = Address::Unix(self.run_folder.join(id.as_str()).join(file::SOCKET));
        Some(Observed { replica_id: id, deployment_id: owner.deployment_id, status, address })
    }

    pub(super) fn forget_replica(&self, id: &ReplicaId) {
        if self.is_starting(id) || self.is_alive(id) {
            tracing::warn!(replica.id = %id, "a live replica cannot be forgotten");
            return;
        }
        if let Some((pid, name)) = self.process(id) {
            process::kill_session(pid, &name);
        }
        match remove_folder(&self.replica_folder(id)) {
            Ok(()) => self.bump(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(replica.id = %id, %error, "cannot remove what is left of a replica"),
        }
    }

    /// Artifacts that replicas on disk were started from, whichever location they are in.
    pub(super) fn artifacts_of_replicas(&self) -> impl Iterator<Item = String> {
        self.replica_folders().into_iter().flat_map(|folder| {
            let ids = ids_in(&folder).unwrap_or_default();
            ids.into_iter().filter_map(move |id| {
                let owner: Owner = read_json(&folder.join(id.as_str()).join(OWNER_FILE))?;
                Some(owner.artifact.0)
            })
        })
    }

    /// The folders of replicas of all locations on this machine.
    pub(super) fn replica_folders(&self) -> Vec<PathBuf> {
        let root = &self.settings.root;
        let locations = self.known_locations().into_iter().map(|name| root.join(LOCATIONS).join(name.as_str()));
        locations.chain([root.join("replicas")]).collect()
    }

    /// Whether the replica's process lives.
    pub(super) fn is_alive(&self, id: &ReplicaId) -> bool {
        self.lives_in(&self.replicas, id)
    }

    /// The same for a replica of any location, by the folder of its replicas.
    pub(super) fn lives_in(&self, replicas: &Path, id: &ReplicaId) -> bool {
        process_in(replicas, id).is_some_and(|(pid, name)| process::serves(pid, &name))
    }

    pub(super) fn is_starting(&self, id: &ReplicaId) -> bool {
        self.shared.starting.lock().expect("no holder of this lock panics").contains(id)
    }

    /// Its process, and the name of the folder that it was started in. As noted down by us or by the replica; when a crash came
    /// before either, it is looked for.
    pub(super) fn process(&self, id: &ReplicaId) -> Option<(u32, String)> {
        process_in(&self.replicas, id)
    }
}

fn process_in(replicas: &Path, id: &ReplicaId) -> Option<(u32, String)> {
    let folder = replicas.join(id.as_str());
    let noted = fs::read_to_string(folder.join(PID_FILE)).ok();
    let noted = noted.and_then(|text| {
        let (pid, name) = text.split_once(' ').unwrap_or((&text, id.as_str()));
        Some((pid.parse().ok()?, name.to_owned()))
    });
    let told = || Some((read_json::<Status>(&folder.join(file::STATUS))?.pid, id.to_string()));
    noted.or_else(told).or_else(|| Some((process::find(&folder)?, id.to_string())))
}

/// Every replica that has a folder in this one.
pub(super) fn ids_in(replicas: &Path) -> io::Result<Vec<ReplicaId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(replicas)? {
        // A name of another shape is not ours.
        ids.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
    }
    ids.sort();
    Ok(ids)
}

/// Gives a process its order.
async fn order(mut input: ChildStdin, secrets: &Secrets) -> io::Result<()> {
    input.write_all(&serde_json::to_vec(secrets)?).await?;
    input.shutdown().await
}

/// Marks a replica as being started for as long as it lives.
struct Starting<'a>(&'a Local, ReplicaId);

impl<'a> Starting<'a> {
    fn new(local: &'a Local, id: &ReplicaId) -> Self {
        local.shared.starting.lock().expect("no holder of this lock panics").insert(id.clone());
        Self(local, id.clone())
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.shared.starting.lock().expect("no holder of this lock panics").remove(&self.1);
    }
}

pub(super) fn with_program(template: Spec<()>, program: Program, sandbox: Sandbox) -> Spec {
    Spec {
        program,
        sandbox,
        replica_id: template.replica_id,
        deployment_id: template.deployment_id,
        model_id: template.model_id,
        environment: template.environment,
        environment_variables: template.environment_variables,
        predict_concurrency: template.predict_concurrency,
        streaming_read_timeout_ms: template.streaming_read_timeout_ms,
        request_timeout_ms: template.request_timeout_ms,
        start_timeout_ms: template.start_timeout_ms,
        drain_delay_ms: template.drain_delay_ms,
        max_body_bytes: template.max_body_bytes,
        limits: template.limits,
        gpus: template.gpus,
        health: template.health,
        ordered_at_ms: template.ordered_at_ms,
    }
}

/// The end of a replica whose process is gone and did not say why.
fn vanished(folder: &Path) -> Exit {
    if folder.join(STOPPED_FILE).exists() {
        return Exit {
            cause: ExitCause::Stopped,
            message: "stopped before it had finished what it accepted".into(),
            detail: None,
        };
    }
    let detail = tail(&folder.join(OUTPUT_FILE)).ok().filter(|text| !text.is_empty());
    Exit { cause: ExitCause::Lost, message: "the replica's process vanished".into(), detail }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES)))?;
    let mut text = Vec::new();
    file.take(OUTPUT_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary: PathBuf = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    io::Write::write_all(&mut file, content)?;
    fs::rename(temporary, path)
}

pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
