//! A server of one test's own: its folder, its port, its key, and the command line pointed at it. Everything it started ends with it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// The key that every test server is set up with.
pub const API_KEY: &str = "testtest.0123456789abcdefghijklmnopqrstuv";

/// How long anything may take that has no limit of its own: environments are built, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A running server.
pub struct Server {
    child: Child,
    /// Its base URL.
    pub url: String,
    folder: TempDir,
    config: String,
    variables: Vec<(String, String)>,
}

impl Server {
    /// Starts a server with its embedded defaults.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with a configuration file.
    pub fn start_with(config: &str) -> Self {
        Self::start_in(config, &[])
    }

    /// Starts a server with a configuration file and variables in its environment.
    pub fn start_in(config: &str, variables: &[(&str, &str)]) -> Self {
        // Beside the cache of packages: on one file system they are linked, not copied.
        let folder = TempDir::new_in(scratch()).expect("a folder");
        let config = format!("{config}\n[local]\ncache = {:?}\n", scratch().join("packages"));
        let variables = owned(variables);
        let (child, url) = launch(folder.path(), &config, &variables);
        Self { child, url, folder, config, variables }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that holds all that it writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that it has ever logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).expect("readable")
    }

    /// The server's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Ends the server at once, as a power cut would. What it started goes on.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Ends what it started, at once.
    pub fn kill_offspring(&self) {
        for pid in self.offspring() {
            signal("-KILL", pid);
        }
    }

    /// Asks the server to end. It may take its time; see [`Server::wait`].
    pub fn terminate(&self) {
        signal("-TERM", self.child.id());
    }

    /// Waits for the server's end. Its exit code; none where a signal has ended it.
    pub async fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server does not end");
            // polls for a condition
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts it again on the same folder.
    pub fn restart(&mut self) {
        let (child, url) = launch(self.folder.path(), &self.config, &self.variables);
        self.child = child;
        self.url = url;
    }

    /// Ends it at once and starts it again with other variables.
    pub fn restart_in(&mut self, variables: &[(&str, &str)]) {
        self.kill();
        self.variables = owned(variables);
        self.restart();
    }

    /// Runs `greenroom` against this server.
    pub fn greenroom(&self, args: &[&str]) -> Ran {
        self.greenroom_with_input(args, b"")
    }

    /// Runs `greenroom` against this server, with something on standard input.
    pub fn greenroom_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = greenroom(self.folder.path());
        command.env("GREENROOM_URL", &self.url).env("GREENROOM_API_KEY", API_KEY).args(args);
        run(command, input)
    }

    /// Starts `greenroom` against this server, to go on until the test ends it.
    pub fn begin(&self, args: &[&str]) -> Going {
        let mut command = greenroom(self.folder.path());
        command.env("GREENROOM_URL", &self.url).env("GREENROOM_API_KEY", API_KEY).args(args);
        Going::start(command)
    }

    /// `greenroom ... --json`, which has to succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.greenroom(&[args, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("--json answers with JSON")
    }

    /// Pushes a folder and waits until it serves.
    pub fn push(&self, folder: &Path) -> Value {
        self.json(&["push", folder.to_str().expect("UTF-8")])
    }

    /// A request with the test's key.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.url);
        reqwest::Client::new().request(method, url).header("authorization", format!("Api-Key {API_KEY}"))
    }

    /// Status and JSON body of a GET with the test's key.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(reqwest::Method::GET, path)).await
    }

    /// Status and JSON body of a POST with the test's key.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(reqwest::Method::POST, path).json(body)).await
    }

    /// Process ids of everything that works in this server's folder, the server excepted: replicas and their models.
    pub fn offspring(&self) -> Vec<u32> {
        processes_of(self.folder.path()).into_iter().filter(|pid| *pid != self.child.id()).collect()
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failed test shows its server's log")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
            let end: Vec<_> = log.lines().rev().take(60).collect();
            eprintln!("the end of the server's log:");
            end.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A replica ends when its model does, and the other way round, but neither need be at once.
        for pid in processes_of(self.folder.path()) {
            signal("-KILL", pid);
        }
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// The answer.
    pub stdout: String,
    /// The conversation.
    pub stderr: String,
}

impl Ran {
    /// One text for a snapshot: what a person would see, and the exit code.
    pub fn shown(&self) -> String {
        format!("{}\n--- stderr\n{}\n--- exit {}", self.stdout.trim_end(), self.stderr.trim_end(), self.code)
    }
}

/// A command that goes on, and what it has said so far.
pub struct Going {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Going {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let said = Arc::new(Mutex::new(String::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for output in outputs {
            let said = said.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    *said.lock().expect("no holder panics") += &format!("{line}\n");
                }
            });
        }
        Self { child, said }
    }

    /// All that it has said, in both ways.
    pub fn said(&self) -> String {
        self.said.lock().expect("no holder panics").clone()
    }

    /// Waits until it has said this so often.
    pub async fn until_said(&self, text: &str, times: usize) {
        let has_said = || async { (self.said().matches(text).count() >= times).then_some(()) };
        let seen = tokio::time::timeout(PATIENCE, eventually(text, has_said)).await;
        assert!(seen.is_ok(), "never said {text:?}: {}", self.said());
    }

    /// Interrupts it, as Ctrl-C does. Its exit code.
    pub fn interrupt(mut self) -> Option<i32> {
        signal("-INT", self.child.id());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `greenroom` with nobody's configuration but the test's.
pub fn greenroom(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GREENROOM_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config")).env("XDG_DATA_HOME", home.join("share"));
    command
}

/// Runs a command to its end.
pub fn run(mut command: Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("greenroom starts");
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().expect("piped").write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("greenroom ends");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

/// Looks again and again until there is something to see.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "never seen: {what}");
        // polls for a condition
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The folder of an example.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A model's folder with this config and class.
pub fn model(config: &str, class: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("model")).expect("made");
    fs::write(folder.path().join("config.yaml"), config).expect("written");
    fs::write(folder.path().join("model/model.py"), class).expect("written");
    folder
}

/// Status and JSON body; null where it is not JSON.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("the server answers");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("the answer is whole");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Starts a server and waits until it says where it listens.
fn launch(folder: &Path, config: &str, variables: &[(String, String)]) -> (Child, String) {
    let file = folder.join("server.toml");
    fs::write(&file, config).expect("written");
    let log = fs::File::options().create(true).append(true).open(folder.join("server.log")).expect("opened");
    let mut command = greenroom(folder);
    command
        .env("GREENROOM_API_KEY", API_KEY)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().expect("greenroom starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let url = lines.map_while(Result::ok).find_map(|line| {
        let url = line.split_whitespace().find(|word| word.starts_with("http://"))?;
        Some(url.to_owned())
    });
    let Some(url) = url else {
        let _ = child.wait();
        panic!("the server did not start:\n{}", fs::read_to_string(folder.join("server.log")).unwrap_or_default());
    };
    (child, url)
}

/// Where tests put what is large. Packages in it are downloaded once for all tests.
fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Processes whose command line or working folder is in `folder`, which no other test has.
fn processes_of(folder: &Path) -> Vec<u32> {
    let needle = folder.to_string_lossy().into_owned();
    let is_ours = |process: &Path| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let place = fs::read_link(process.join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&needle) || place.starts_with(folder)
    };
    fs::read_dir("/proc")
        .expect("Linux")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| *pid != std::process::id() && is_ours(Path::new(&format!("/proc/{pid}"))))
        .collect()
}

/// Sends a process a signal.
pub fn signal(which: &str, pid: u32) {
    let _ = Command::new("kill").args([which, &pid.to_string()]).stderr(Stdio::null()).status();
}
