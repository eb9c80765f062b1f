//! Replicas: one folder and one `greenroom-replica` process each. The folder says all there is to know, and the process writes it;
//! so a server that starts anew finds its replicas by reading.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        replica::{Drain, Exit, ExitCause, LogLine, Phase, Program, Secrets, Spec, StartTimes, Status, file},
        routes::Address,
    },
};
use http_body_util::Full;
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, net::UnixStream, process::Command, time::Instant};

use super::{Local, app, process};
use crate::{Artifact, BackendError, LogChunk, Observed, StartError, StartReplica};

/// What this backend notes down about a replica, beside what the replica writes itself.
const OWNER_FILE: &str = "owner.json";
/// The process id, noted down as soon as it is known.
const PID_FILE: &str = "pid";
/// Present when we have asked the replica to end.
const STOPPED_FILE: &str = "stopped";
/// The replica process's own output: what it says when it cannot even start.
const OUTPUT_FILE: &str = "output.txt";
/// How much of that is shown.
const OUTPUT_BYTES: u64 = 4096;
/// The most of a log that is read at once.
const LOG_BYTES: u64 = 1 << 20;
/// How long a replica may take to answer that it will drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// On top of the grace that a replica was given: to end its model and write its last status.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an ending replica is looked at.
const END_POLL: Duration = Duration::from_millis(50);

/// Content of [`OWNER_FILE`].
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    deployment_id: DeploymentId,
    artifact: Artifact,
}

impl Local {
    pub(super) async fn start_replica(&self, start: StartReplica) -> Result<(), StartError> {
        let StartReplica {
            spec,
            artifact,
            config,
            secrets,
        } = start;
        let id = spec.replica_id.clone();
        if self.replica_folder(&id).exists() {
            return Ok(());
        }
        let program = self.program(&artifact, &config)?;
        let owner = Owner {
            deployment_id: spec.deployment_id.clone(),
            artifact,
        };
        let _starting = Starting::new(self, &id);
        match self.make_replica_folder(&with_program(spec, program), &owner) {
            Ok(()) => {}
            // Another call was faster.
            Err(_) if self.replica_folder(&id).exists() => return Ok(()),
            Err(error) => return Err(StartError::Machine(error)),
        }
        let spawned = self.spawn(&id, secrets).await;
        if let Err(error) = spawned {
            // No process, no replica: the same id may be tried again.
            let _ = fs::remove_dir_all(self.replica_folder(&id));
            return Err(StartError::Machine(error));
        }
        self.bump();
        Ok(())
    }

    /// What an artifact is run as.
    fn program(&self, artifact: &Artifact, config: &api::truss_config::TrussConfig) -> Result<Program, StartError> {
        let place = self.artifact_place(&artifact.0);
        let build = place.finished().and_then(|marker| self.build_of(&marker));
        let build = build.ok_or_else(|| StartError::NoArtifact(artifact.clone()))?;
        let bin = self.environment(&build.environment).folder.join("bin");
        let app = place.folder.join(app::APP);
        let Some(server) = &config.docker_server else {
            let packages = place.folder.join(app::PACKAGES);
            return Ok(Program::Truss {
                python: bin.join("python"),
                app,
                packages: packages.is_dir().then_some(packages),
                config: config.expanded(),
            });
        };
        Ok(Program::Server {
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
        })
    }

    /// Makes the folder with all it needs under another name first: under its own it is there or not, never half.
    fn make_replica_folder(&self, spec: &Spec, owner: &Owner) -> io::Result<()> {
        let temporary = self
            .settings
            .root
            .join("tmp")
            .join(format!("replica-{}", spec.replica_id));
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&temporary)?;
        write_private(&temporary.join(file::SPEC), &serde_json::to_vec(spec)?)?;
        write_private(&temporary.join(OWNER_FILE), &serde_json::to_vec(owner)?)?;
        fs::rename(&temporary, self.replica_folder(&spec.replica_id))
    }

    /// Starts the process in a session of its own, so that it outlives us, and hands it the secrets.
    async fn spawn(&self, id: &ReplicaId, secrets: Secrets) -> io::Result<()> {
        let folder = self.replica_folder(id);
        let output = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(folder.join(OUTPUT_FILE))?;
        let mut command = Command::new(&self.settings.replica_program);
        command.arg(self.run_folder.join(id.as_str())).current_dir(&folder);
        command.env_clear().envs(self.settings.replica_variables());
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: between fork and exec, setsid() is async-signal-safe and touches no memory.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot run {}: {error}", self.settings.replica_program.display()),
            )
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

    pub(super) fn stop_replica(&self, id: &ReplicaId, grace_ms: u64) {
        if !self.replica_folder(id).exists() {
            return;
        }
        let deadline = Instant::now() + Duration::from_millis(grace_ms) + END_TIMEOUT;
        {
            let mut stopping = self.stopping.lock().expect("no holder of this lock panics");
            if stopping.get(id).is_some_and(|earlier| *earlier <= deadline) {
                return;
            }
            stopping.insert(id.clone(), deadline);
        }
        let (Some(local), id) = (self.me.upgrade(), id.clone()) else {
            return;
        };
        tokio::spawn(async move {
            local.end(&id, grace_ms, deadline).await;
            local
                .stopping
                .lock()
                .expect("no holder of this lock panics")
                .remove(&id);
            local.bump();
        });
    }

    /// Asks politely, then less so.
    async fn end(&self, id: &ReplicaId, grace_ms: u64, deadline: Instant) {
        let folder = self.replica_folder(id);
        if self.is_alive(id) {
            // From here on its end is what was asked for, however it comes.
            if let Err(error) = write_private(&folder.join(STOPPED_FILE), b"") {
                tracing::warn!(replica.id = %id, %error, "cannot note down that a replica is stopped");
            }
            let asked = tokio::time::timeout(DRAIN_TIMEOUT, self.ask_to_drain(id, grace_ms)).await;
            if !matches!(asked, Ok(Ok(()))) {
                self.pid(id)
                    .into_iter()
                    .for_each(|pid| process::signal(pid, Signal::SIGTERM));
            }
            while self.is_alive(id) && Instant::now() < deadline {
                tokio::time::sleep(END_POLL).await;
            }
        }
        if let Some(pid) = self.pid(id) {
            process::kill_session(pid, id);
        }
    }

    async fn ask_to_drain(&self, id: &ReplicaId, timeout_ms: u64) -> io::Result<()> {
        let stream = UnixStream::connect(self.run_folder.join(id.as_str()).join(file::SOCKET)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let body = serde_json::to_vec(&Drain { timeout_ms })?;
        let request = Request::post("/_greenroom/drain")
            .header("host", "replica")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let answer = tokio::select! {
            answer = sender.send_request(request) => answer.map_err(io::Error::other)?,
            ended = connection => return Err(io::Error::other(format!("the connection ended: {ended:?}"))),
        };
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(io::Error::other(answer.status().to_string()))
        }
    }

    pub(super) fn list_replicas(&self) -> Result<Vec<Observed>, BackendError> {
        let failed = |source| BackendError {
            what: "cannot list replicas".into(),
            source,
        };
        Ok(self
            .replica_ids()
            .map_err(failed)?
            .into_iter()
            .filter_map(|id| self.observe(id))
            .collect())
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
        let is_alive = self.is_alive(&id) || self.is_starting(&id);
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
        Some(Observed {
            replica_id: id,
            deployment_id: owner.deployment_id,
            status,
            address,
        })
    }

    pub(super) fn forget_replica(&self, id: &ReplicaId) {
        if self.is_alive(id) || self.is_starting(id) {
            tracing::warn!(replica.id = %id, "a live replica cannot be forgotten");
            return;
        }
        if let Some(pid) = self.pid(id) {
            process::kill_session(pid, id);
        }
        match fs::remove_dir_all(self.replica_folder(id)) {
            Ok(()) => self.bump(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(replica.id = %id, %error, "cannot remove what is left of a replica"),
        }
    }

    pub(super) fn read_replica_log(&self, id: &ReplicaId, cursor: u64) -> Result<LogChunk, BackendError> {
        let path = self.replica_folder(id).join(file::LOG);
        let is_alive = self.is_alive(id) || self.is_starting(id);
        match read_log(&path, cursor, is_alive) {
            Ok(chunk) => Ok(chunk),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LogChunk {
                cursor,
                ..LogChunk::default()
            }),
            Err(source) => Err(BackendError {
                what: format!("cannot read the log of replica {id}"),
                source,
            }),
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

    fn is_starting(&self, id: &ReplicaId) -> bool {
        self.starting
            .lock()
            .expect("no holder of this lock panics")
            .contains(id)
    }

    /// The process id, as noted down by us or by the replica. When a crash came before either, it is looked for.
    fn pid(&self, id: &ReplicaId) -> Option<u32> {
        let folder = self.replica_folder(id);
        let noted = fs::read_to_string(folder.join(PID_FILE))
            .ok()
            .and_then(|text| text.parse().ok());
        noted
            .or_else(|| Some(read_json::<Status>(&folder.join(file::STATUS))?.pid))
            .or_else(|| process::find(&folder, id))
    }
}

/// Marks a replica as being started for as long as it lives.
struct Starting<'a>(&'a Local, ReplicaId);

impl<'a> Starting<'a> {
    fn new(local: &'a Local, id: &ReplicaId) -> Self {
        local
            .starting
            .lock()
            .expect("no holder of this lock panics")
            .insert(id.clone());
        Self(local, id.clone())
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0
            .starting
            .lock()
            .expect("no holder of this lock panics")
            .remove(&self.1);
    }
}

fn with_program(template: Spec<()>, program: Program) -> Spec {
    Spec {
        program,
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
    Exit {
        cause: ExitCause::Lost,
        message: "the replica's process vanished".into(),
        detail,
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES)))?;
    let mut text = Vec::new();
    file.take(OUTPUT_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Whole lines from `cursor` on. A last line without an end is waited for while its writer lives.
fn read_log(path: &Path, cursor: u64, is_alive: bool) -> io::Result<LogChunk> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // A line that makes no sense still belongs somewhere in time.
    let written_ns = metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec());
    file.seek(SeekFrom::Start(cursor))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let is_full = bytes.len() as u64 == LOG_BYTES;
    let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(last) if is_alive || is_full => last + 1,
        None if is_alive && !is_full => 0,
        // The end of a log that nobody writes any more, or a line longer than all that is read at once.
        _ => bytes.len(),
    };
    let lines = bytes[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let lines = lines.map(|line| parse_line(line, written_ns)).collect();
    let cursor = cursor + whole as u64;
    Ok(LogChunk {
        lines,
        cursor,
        more: whole > 0 && cursor < metadata.len(),
    })
}

fn parse_line(line: &[u8], written_ns: i64) -> LogLine {
    serde_json::from_slice(line).unwrap_or_else(|_| LogLine {
        timestamp_ns: written_ns,
        level: None,
        request_id: None,
        message: String::from_utf8_lossy(line).into_owned(),
    })
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary: PathBuf = path.with_extension("new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    io::Write::write_all(&mut file, content)?;
    fs::rename(temporary, path)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, cursor: u64, is_alive: bool, expected: &[&str], expected_cursor: u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        fs::write(&path, content).unwrap();
        let chunk = read_log(&path, cursor, is_alive).unwrap();
        let messages: Vec<&str> = chunk.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(
            (messages.as_slice(), chunk.cursor),
            (expected, expected_cursor),
            "{content:?}"
        );
        assert!(chunk.lines.iter().all(|line| line.timestamp_ns > 0));
    }

    const LINE: &str = r#"{"timestamp_ns":1,"level":"INFO","request_id":null,"message":"hello"}"#;

    #[test]
    fn a_log_is_read_by_whole_lines_and_damaged_ones_are_passed_on_as_text() {
        let length = LINE.len() as u64;
        check(
            &format!("{LINE}\n{LINE}\n"),
            0,
            true,
            &["hello", "hello"],
            2 * length + 2,
        );
        check(
            &format!("{LINE}\n{LINE}\n"),
            length + 1,
            true,
            &["hello"],
            2 * length + 2,
        );
        check(&format!("{LINE}\nhalf a l"), 0, true, &["hello"], length + 1);
        check(
            &format!("{LINE}\nhalf a l"),
            0,
            false,
            &["hello", "half a l"],
            length + 9,
        );
        check("not json\n", 0, true, &["not json"], 9);
        check("", 0, true, &[], 0);
    }

    #[test]
    fn a_long_log_is_read_in_pieces_that_leave_nothing_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let count = 2 * LOG_BYTES as usize / LINE.len();
        fs::write(&path, format!("{LINE}\n").repeat(count)).unwrap();
        let (mut cursor, mut lines) = (0, 0);
        loop {
            let chunk = read_log(&path, cursor, true).unwrap();
            lines += chunk.lines.len();
            cursor = chunk.cursor;
            if !chunk.more {
                break;
            }
        }
        assert_eq!(lines, count);
        fs::write(&path, "x".repeat(LOG_BYTES as usize + 5)).unwrap();
        let first = read_log(&path, 0, true).unwrap();
        assert_eq!((first.lines.len(), first.cursor, first.more), (1, LOG_BYTES, true));
    }
}
