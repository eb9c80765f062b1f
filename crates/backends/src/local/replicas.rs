//! Replicas: one folder and one `greenroom-replica` process each. The folder says all there is to know, and the process writes it;
//! so a server that starts anew finds its replicas by reading.

use std::{
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
};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Local, app, process, remove_folder};
use crate::{Artifact, BackendError, Observed, StartError, StartReplica};

/// What this backend notes down about a replica, beside what the replica writes itself.
const OWNER_FILE: &str = "owner.json";
/// The process id, noted down as soon as it is known.
const PID_FILE: &str = "pid";
/// Present when we have asked the replica to end.
pub(super) const STOPPED_FILE: &str = "stopped";
/// The replica process's own output: what it says when it cannot even start.
const OUTPUT_FILE: &str = "output.txt";
/// How much of that is shown.
const OUTPUT_BYTES: u64 = 4096;

/// Content of [`OWNER_FILE`].
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    deployment_id: DeploymentId,
    artifact: Artifact,
}

impl Local {
    pub(super) async fn start_replica(&self, start: StartReplica) -> Result<(), StartError> {
        let StartReplica { spec, artifact, config, secrets } = start;
        let id = spec.replica_id.clone();
        if self.replica_folder(&id).exists() {
            return Ok(());
        }
        let (program, sandbox) = self.program(&artifact, &config)?;
        let owner = Owner { deployment_id: spec.deployment_id.clone(), artifact };
        let _starting = Starting::new(self, &id);
        match self.make_replica_folder(&with_program(spec, program, sandbox), &owner) {
            Ok(()) => {}
            // Another call was faster.
            Err(_) if self.replica_folder(&id).exists() => return Ok(()),
            Err(error) => return Err(StartError::Machine(error)),
        }
        let spawned = self.spawn(&id, secrets).await;
        if let Err(error) = spawned {
            // No process, no replica: the same id may be tried again.
            let _ = remove_folder(&self.replica_folder(&id));
            return Err(StartError::Machine(error));
        }
        self.bump();
        Ok(())
    }

    /// What an artifact is run as, and in what.
    fn program(
        &self,
        artifact: &Artifact,
        config: &api::truss_config::TrussConfig,
    ) -> Result<(Program, Sandbox), StartError> {
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
        };
        Ok((program, sandbox))
    }

    /// Makes the folder with all it needs under another name first: under its own it is there or not, never half.
    fn make_replica_folder(&self, spec: &Spec, owner: &Owner) -> io::Result<()> {
        let temporary = self.settings.root.join("tmp").join(format!("replica-{}", spec.replica_id));
        if temporary.exists() {
            remove_folder(&temporary)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&temporary)?;
        write_private(&temporary.join(file::SPEC), &serde_json::to_vec(spec)?)?;
        write_private(&temporary.join(OWNER_FILE), &serde_json::to_vec(owner)?)?;
        fs::rename(&temporary, self.replica_folder(&spec.replica_id))
    }

    /// Starts the process in a session of its own, so that it outlives us, and hands it the secrets.
    async fn spawn(&self, id: &ReplicaId, secrets: Secrets) -> io::Result<()> {
        let folder = self.replica_folder(id);
        let output = File::options().create(true).append(true).mode(0o600).open(folder.join(OUTPUT_FILE))?;
        let mut command = Command::new(&self.settings.replica_program);
        command.arg(self.run_folder.join(id.as_str())).current_dir(&folder);
        command.env_clear().envs(self.settings.replica_variables());
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: between fork and exec, setsid() is async-signal-safe and touches no memory.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {}: {error}", self.settings.replica_program.display()))
        })?;
        if let Some(pid) = child.id() {
            write_private(&folder.join(PID_FILE), pid.to_string().as_bytes())?;
        }
        if let Some(mut stdin) = child.stdin.take() {
            let secrets = serde_json::to_vec(&secrets)?;
            // A replica that ended before it read them says why in its status; this is not the place to.
            let _ = stdin.write_all(&secrets).await;
            let _ = stdin.shutdown().await;
        }
        let local = self.me.clone();
        tokio::spawn(async move {
            // Reaps it; what its end means is on disk.
            let _ = child.wait().await;
            if let Some(local) = local.upgrade() {
                local.bump();
            }
        });
        Ok(())
    }

    pub(super) fn list_replicas(&self) -> Result<Vec<Observed>, BackendError> {
        let failed = |source| BackendError { what: "cannot list replicas".into(), source };
        Ok(self.replica_ids().map_err(failed)?.into_iter().filter_map(|id| self.observe(id)).collect())
    }

    /// Every replica that has a folder.
    pub(super) fn replica_ids(&self) -> io::Result<Vec<ReplicaId>> {
        let entries = fs::read_dir(self.settings.root.join("replicas"))?;
        let mut ids = Vec::new();
        for entry in entries {
            // A name of another shape is not ours.
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        ids.sort();
        Ok(ids)
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
            pid: self.pid(&id).unwrap_or(0),
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
        if let Some(pid) = self.pid(id) {
            process::kill_session(pid, id);
        }
        match remove_folder(&self.replica_folder(id)) {
            Ok(()) => self.bump(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(replica.id = %id, %error, "cannot remove what is left of a replica"),
        }
    }

    /// Artifacts that replicas on disk were started from.
    pub(super) fn artifacts_of_replicas(&self) -> impl Iterator<Item = String> {
        let ids = self.replica_ids().unwrap_or_default();
        ids.into_iter().filter_map(|id| {
            let owner: Owner = read_json(&self.replica_folder(&id).join(OWNER_FILE))?;
            Some(owner.artifact.0)
        })
    }

    /// Whether the replica's process lives.
    pub(super) fn is_alive(&self, id: &ReplicaId) -> bool {
        self.pid(id).is_some_and(|pid| process::serves(pid, id))
    }

    pub(super) fn is_starting(&self, id: &ReplicaId) -> bool {
        self.starting.lock().expect("no holder of this lock panics").contains(id)
    }

    /// The process id, as noted down by us or by the replica. When a crash came before either, it is looked for.
    pub(super) fn pid(&self, id: &ReplicaId) -> Option<u32> {
        let folder = self.replica_folder(id);
        let noted = fs::read_to_string(folder.join(PID_FILE)).ok().and_then(|text| text.parse().ok());
        noted
            .or_else(|| Some(read_json::<Status>(&folder.join(file::STATUS))?.pid))
            .or_else(|| process::find(&folder, id))
    }
}

/// Marks a replica as being started for as long as it lives.
struct Starting<'a>(&'a Local, ReplicaId);

impl<'a> Starting<'a> {
    fn new(local: &'a Local, id: &ReplicaId) -> Self {
        local.starting.lock().expect("no holder of this lock panics").insert(id.clone());
        Self(local, id.clone())
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.starting.lock().expect("no holder of this lock panics").remove(&self.1);
    }
}

fn with_program(template: Spec<()>, program: Program, sandbox: Sandbox) -> Spec {
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
        max_body_bytes: template.max_body_bytes,
        limits: template.limits,
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

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
