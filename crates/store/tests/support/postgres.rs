//! A PostgreSQL server from the machine's own binaries, on a Unix socket, for the life of one test. It ends with the test
//! however that ends: its guard waits for the end of a pipe that only the test's process holds open.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{Connection, PgConnection};

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
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let run = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
            if is_root {
                command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
            }
            command
        };
        if is_root {
            chown(folder, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        }
        let initdb = programs.join("initdb");
        let made = run(initdb.to_str().unwrap())
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=greenroom",
                "--no-locale",
                "--encoding=UTF8",
                "--wal-segsize=1",
            ])
            .arg(&data)
            .stderr(fs::File::create(folder.join("initdb.log")).unwrap())
            .status()
            .unwrap();
        assert!(
            made.success(),
            "initdb: {}",
            fs::read_to_string(folder.join("initdb.log")).unwrap()
        );
        let log = folder.join("postgres.log");
        let guard = run("sh")
            .args(["-c", GUARD])
            .arg(programs.join("postgres"))
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "shared_buffers=16MB",
                "-k",
            ])
            .arg(folder)
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let server = Self {
            socket_folder: folder.into(),
            guard,
        };
        let answers = async {
            while PgConnection::connect(&server.url()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let answered = tokio::time::timeout(START_DEADLINE, answers).await;
        assert!(
            answered.is_ok(),
            "postgres does not answer: {}",
            fs::read_to_string(log).unwrap()
        );
        server
    }

    pub fn url(&self) -> String {
        format!(
            "postgres://greenroom@localhost/postgres?host={}",
            self.socket_folder.display()
        )
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
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"));
    let mut debian: Vec<PathBuf> = debian.collect();
    debian.sort_by_key(|path| {
        path.parent()
            .and_then(|version| version.file_name()?.to_str()?.parse::<u32>().ok())
    });
    let output = |command: &mut Command| {
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let configured = output(Command::new("pg_config").arg("--bindir"));
    let in_path = output(Command::new("sh").args(["-c", "command -v initdb"]))
        .and_then(|initdb| Some(initdb.parent()?.to_owned()));
    let candidates = debian.into_iter().rev().chain(configured).chain(in_path);
    candidates
        .into_iter()
        .find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .expect(REMEDY)
}
