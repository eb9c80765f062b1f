//! A PostgreSQL server from the machine's own binaries, on a Unix socket, for the life of one test. It ends with the test
//! however that ends: its guard waits for the end of a pipe that only the test's process holds open.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const REMEDY: &str = "PostgreSQL's server programs (initdb, postgres) are needed: run `make test`, which installs them, \
                      or install the package `postgresql`";
/// The server refuses to run as root; then it runs as this user, `nobody`.
const UNPRIVILEGED: u32 = 65534;
/// Starts the server, waits until standard input ends, ends the server.
const GUARD: &str = r#""$0" "$@" & server=$!; read -r _; kill -QUIT $server; wait $server"#;
const START_DEADLINE: Duration = Duration::from_secs(60);

pub struct Server {
    socket_folder: PathBuf,
    guard: Child,
}

impl Server {
    pub async fn start(folder: &Path) -> Self {
        let programs = programs();
        let data = folder.join("data");
        copy(&empty_cluster(&programs), &data);
        give_away(folder);
        let log = folder.join("postgres.log");
        let guard = unprivileged("sh", folder)
            .args(["-c", GUARD])
            .arg(programs.join("postgres"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-k"])
            .arg(folder)
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("a shell");
        let server = Self { socket_folder: folder.into(), guard };
        let answers = async {
            while !is_ready(&data) {
                // polls for a condition
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let answered = tokio::time::timeout(START_DEADLINE, answers).await;
        assert!(answered.is_ok(), "postgres does not answer: {}", fs::read_to_string(log).unwrap_or_default());
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://greenroom@localhost/postgres?host={}", self.socket_folder.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}

/// The newest server programs there are: where Debian puts them, where `pg_config` says, or in the search path.
fn programs() -> PathBuf {
    let debian =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let mut debian: Vec<PathBuf> = debian.collect();
    debian.sort_by_key(|path| path.parent().and_then(|version| version.file_name()?.to_str()?.parse::<u32>().ok()));
    let output = |command: &mut Command| {
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let configured = output(Command::new("pg_config").arg("--bindir"));
    let in_path = output(Command::new("sh").args(["-c", "command -v initdb"]))
        .and_then(|initdb| Some(initdb.parent()?.to_owned()));
    let candidates = debian.into_iter().rev().chain(configured).chain(in_path);
    candidates.into_iter().find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists()).expect(REMEDY)
}

/// A freshly made cluster to copy, which is quicker than making one. The first test that needs it makes it, others wait.
fn empty_cluster(programs: &Path) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let initdb = programs.join("initdb");
    let version =
        String::from_utf8(Command::new(&initdb).arg("--version").output().expect("initdb").stdout).expect("UTF-8");
    let cluster = cache.join(version.trim().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
    let lock = fs::File::create(cluster.with_extension("lock")).expect("a lock");
    lock.lock().expect("the lock");
    if !cluster.exists() {
        let folder = tempfile::tempdir().expect("a folder");
        give_away(folder.path());
        let data = folder.path().join("data");
        let made = unprivileged(&initdb, folder.path())
            .args(["--no-sync", "--auth=trust", "--username=greenroom", "--no-locale", "--encoding=UTF8"])
            .arg("--wal-segsize=1")
            .arg(&data)
            .output()
            .expect("initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let unfinished = cluster.with_extension("unfinished");
        fs::remove_dir_all(&unfinished).ok();
        copy(&data, &unfinished);
        fs::rename(&unfinished, &cluster).expect("renamed");
    }
    cluster
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cannot copy {} to {}", from.display(), to.display());
}

/// Whether the server has said that it takes connections: in the last line of the file that its own tools look into.
fn is_ready(data: &Path) -> bool {
    let told = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    told.lines().nth(7).is_some_and(|line| line.trim() == "ready")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn give_away(folder: &Path) {
    if is_root() {
        chown(folder, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("given away");
    }
}

fn unprivileged(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    if is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}
