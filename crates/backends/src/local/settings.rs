//! What the local backend is told about the machine and its own limits.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::PathBuf};

use nix::unistd::geteuid;
use planner::Clock;

/// Settings of the local backend.
#[derive(Clone)]
pub struct Settings {
    /// The folder that holds everything. Virtual environments name their own path, so it must not be moved.
    pub root: PathBuf,
    /// The `greenroom-replica` program.
    pub replica_program: PathBuf,
    /// What to do when the configured version of Python is not installed.
    pub python: PythonChoice,
    /// The `uv` program; none means the one on `PATH`, or one of our own that is installed on first use.
    pub uv: Option<PathBuf>,
    /// Where an `uv` of our own is installed (`root/tools`).
    pub tools: PathBuf,
    /// Where downloaded packages are kept (`root/cache`).
    pub cache: PathBuf,
    /// The part of this process's environment that tools and models may see; see [`Settings::may_pass_on`].
    pub variables: BTreeMap<String, String>,
    /// What models do not see, with all that is below: this server's data and its user's own files. `root` need not be named.
    pub hidden: Vec<PathBuf>,
    /// Who models run as, where this server is root and may choose.
    pub model_user: Option<u32>,
    /// Whether replicas that may be needed soon are made ready ahead.
    pub standby: bool,
    /// What an archive may contain.
    pub archive_limits: archive::Limits,
    /// The largest file that `external_data` may download.
    pub download_bytes: u64,
    /// How long a build that nothing needs is kept, so that one that just ended is not taken from under its deployment.
    pub garbage_age_ms: u64,
    /// The time of day.
    pub clock: Clock,
}

/// What to do when the configured version of Python is not installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PythonChoice {
    /// The build fails.
    Exact,
    /// The nearest installed minor version is used, with a warning in the build's log.
    #[default]
    Nearest,
}

/// Variables that tools and models need to work on this machine. The rest of our environment, keys among it, stays ours.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "LD_LIBRARY_PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
];
/// Beginnings of the names of more such variables.
const PASSED_ON_PREFIXES: &[&str] = &["UV_", "PIP_", "CUDA_", "NVIDIA_", "PYENV_"];

/// The id of the contract's user `app`.
const MODEL_USER: u32 = 60000;

/// The home folder of this process's user, where it is one: daemons are given folders of the system's.
fn own_home(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let home = PathBuf::from(variables.get("HOME")?);
    let is_own = fs::metadata(&home).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw());
    (is_own && home.parent().is_some()).then_some(home)
}

impl Settings {
    /// Settings for a folder, with defaults for the rest. `variables` is this process's environment.
    pub fn new(
        root: PathBuf,
        replica_program: PathBuf,
        clock: Clock,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let variables: BTreeMap<String, String> =
            variables.into_iter().filter(|(name, _)| Self::may_pass_on(name)).collect();
        Self {
            replica_program,
            python: PythonChoice::default(),
            uv: None,
            tools: root.join("tools"),
            cache: root.join("cache"),
            hidden: own_home(&variables).into_iter().collect(),
            model_user: geteuid().is_root().then_some(MODEL_USER),
            variables,
            standby: true,
            archive_limits: archive::Limits::default(),
            download_bytes: 64 << 30,
            garbage_age_ms: 3_600_000,
            clock,
            root,
        }
    }

    /// Whether tools and models may see a variable of our own environment.
    pub fn may_pass_on(name: &str) -> bool {
        PASSED_ON.contains(&name) || PASSED_ON_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    }

    /// The variables for a replica's process: those of tools, without what could hold credentials of package indexes.
    pub(super) fn replica_variables(&self) -> impl Iterator<Item = (&String, &String)> {
        let is_for_tools =
            |name: &str| ["UV_", "PIP_", "PYENV_", "NETRC"].iter().any(|prefix| name.starts_with(prefix));
        self.variables.iter().filter(move |(name, _)| !is_for_tools(name))
    }

    /// Files with certificates that tools and models are to trust.
    pub(super) fn certificates(&self) -> impl Iterator<Item = PathBuf> {
        ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
            .into_iter()
            .filter_map(|name| self.variables.get(name))
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    }

    /// The folders of `PATH`.
    pub(super) fn path_folders(&self) -> impl Iterator<Item = PathBuf> {
        self.variables.get("PATH").map(std::env::split_paths).into_iter().flatten()
    }
}
