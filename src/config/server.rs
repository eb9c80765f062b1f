//! What `greenroom serve` needs to know: every key with its meaning and default, and the struct they become.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use backends::local::PythonChoice;
use gateway::AccessLog;
use http::HeaderName;
use planner::{capacity::Capacity, location::Enforcement, policy::Location};

use super::{
    Error, Key, Layers, OTHER_VARIABLES, SecretSources, config_dir, default_data_dir, values, variable, variables,
};

/// Every key of the server, in the order in which `config show` prints them.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("listen", "127.0.0.1:8000", "address and port of everything: management API, inference, uploads"),
    key("data_dir", "", "folder for the database, archives, environments and keys"),
    key("public_url", "", "base URL that clients reach this server by; unset means the one that each of them used"),
    secret("database_url", "PostgreSQL URL; unset means SQLite in the data folder"),
    secret("api_key", "admin API key to set up at first start, as `prefix.secret`; unset means a random one"),
    secret("server_secret", "secret that stored secrets are sealed with: 64 hexadecimal digits or base64 of 32 bytes; unset means the file server-secret in the data folder, made at first start"),
    key("server_secret.file", "", "a file with it, in place of that one"),
    key("server_secret.command", "", "a program that prints it, in place of a file: a list, or words with quotes; run once at start, without a shell"),
    secret("server_secret.previous", "secrets before it, between commas: what is sealed with them is opened, and sealed anew at start"),
    key("server_secret.previous_file", "", "a file with those, one a line; unset means server-secret.previous in the data folder, where the present one is there"),
    key("server_secret.previous_command", "", "a program that prints those, one a line"),
    key("shutdown_grace", "30s", "how long requests in flight may take to end on shutdown"),
    key("log.level", "info", "least severe log lines to print: error, warn, info, debug, trace; or a tracing filter"),
    key("log.format", "text", "text for people or json for machines"),
    key("log.access", "failures", "which inference requests get a line in their deployment's log: failures, all or off"),
    key("otlp.endpoint", "", "base URL of an OpenTelemetry collector (OTLP over HTTP), such as http://collector:4318; unset means that nothing is exported"),
    secret("otlp.headers", "headers that the collector wants, as NAME=VALUE, ..."),
    key("otlp.logs", "on", "whether log lines of builds, deployments and models are exported: on or off"),
    key("otlp.trace_ratio", "1", "which part of the inference requests is traced, from 0 to 1; a caller's own decision (traceparent) goes before it, also at 0"),
    key("blobs.store", "folder", "where archives are kept: folder (in the data folder) or s3"),
    key("blobs.s3_bucket", "", "bucket, for blobs.store = s3"),
    key("blobs.s3_region", "us-east-1", "region of the bucket"),
    key("blobs.s3_endpoint", "", "URL of an S3-compatible service other than AWS"),
    key("blobs.s3_access_key_id", "", "access key id of the bucket"),
    secret("blobs.s3_secret_access_key", "secret access key of the bucket"),
    key("local.python", "nearest", "which Python a model gets: nearest installed minor version, or exact"),
    key("local.uv", "", "the uv program, which makes Python environments; unset means that of PATH, or one of our own"),
    key("local.cache", "", "folder for downloaded packages; unset means one in the data folder"),
    key("local.standby", "auto", "whether a process that has imported what its model needs (a zygote) waits for starts that may come: auto (while memory allows) or off"),
    key("local.concurrent_builds", "2", "builds that may run at the same time"),
    key("limits.body", "100 MB", "largest body of an inference request"),
    key("limits.request_timeout", "20m", "how long each part of a request may take: waiting for a replica, its first byte, silence between two bytes"),
    key("limits.drain_delay", "250ms", "how long a replica that is to stop goes on taking requests that were on their way to it"),
    key("limits.queued_requests", "10000", "requests of one deployment that may wait for a replica"),
    key("limits.queued_body", "1 GiB", "bytes that the bodies of those may have together"),
    key("limits.archive", "5 GB", "largest uploaded model archive"),
    key("limits.archive_unpacked", "20 GB", "largest model archive once unpacked"),
    key("limits.archive_entries", "100000", "most files and folders in a model archive"),
    key("locations", "", "where replicas run, the preferred first: in the file as [[locations]] with name, country, continent, flavors = [{ type, name, count, memory_mib }] and backend = \"local\", elsewhere the same as JSON; unset means this machine, as it is"),
    key("policies.enforcement", "running", "when replicas that run obey policies that have changed: running (at once; they are replaced in order) or next-deployment"),
    key("capacity.cpu", "", "CPUs that replicas may use together, such as 7.5; unset means no limit"),
    key("capacity.memory", "", "memory that replicas may use together, such as 30 GiB; unset means no limit"),
    key("capacity.gpus", "", "GPUs that replicas may use together, as KIND:COUNT, ...; unset means no limit"),
    key("proxy.names", "", "names of this server, such as gpu-box, *.gpu-box, that clients may reach through it as their HTTP proxy, besides addresses and localhost"),
    key("proxy.tls", "off", "whether clients may ask for a tunnel (CONNECT) to the hosted service's names, which then ends here, with TLS by an authority of this server's own: on or off"),
    key("promotion.sticky_header", "X-Greenroom-Sticky", "request header that keeps a caller on one side of divided traffic"),
    key("promotion.min_ready", "0s", "how long a candidate must have been ready before it gets its first traffic"),
    key("retention.logs", "7d", "how long log lines are kept"),
    key("retention.logs_size", "4 GiB", "how much of them is kept in all, the newest"),
    key("retention.metrics", "8d", "how long what was counted can be looked at over time; totals and usage are kept"),
    key("oidc.issuer", "", "address of the OpenID provider that people sign in by, such as https://login.example.com; unset means that they bring API keys"),
    key("oidc.client_id", "", "what this server is called at the provider, whose redirect address is PUBLIC_URL/v1/oauth/callback"),
    secret("oidc.client_secret", "with what this server identifies itself there; unset means as a public client"),
    key("oidc.name", "single sign-on", "what the provider is called on the sign-in page"),
    key("oidc.scopes", "email profile", "what is asked of the provider beside openid, separated by blanks"),
    key("oidc.domains", "", "domains of addresses whose people may come by themselves, as members of the default team, such as example.com, ...; unset means that only those come who were let in"),
    key("sign_in.lifetime", "7d", "how long somebody stays signed in who brings no key"),
    key("usage.prices", "", "what a minute of a replica costs in US dollars by instance type, as 1x2=0.0005, T4:4x16=0.01, ...; unset means nothing"),
    key("metrics.interval", "30s", "how often what was counted is recorded, and how finely it can be looked at"),
];

const fn key(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, doc, default, secret: false }
}

const fn secret(name: &'static str, doc: &'static str) -> Key {
    Key { name, doc, default: "", secret: true }
}

/// Flags of `serve`, which win over everything else.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Read this configuration file [default: server.toml in the user's configuration folder, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Folder for the database, archives, environments and keys [default: greenroom in the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Everything `serve` needs. Has no `Debug`: it holds secrets.
pub struct Server {
    /// `host:port`.
    pub listen: String,
    /// Absolute.
    pub data_dir: PathBuf,
    /// Without a trailing slash.
    pub public_url: Option<String>,
    /// None means SQLite in the data folder.
    pub database_url: Option<String>,
    /// Preset for the first start.
    pub api_key: Option<String>,
    /// Where the server's secret comes from.
    pub secrets: SecretSources,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_grace: Duration,
    /// A tracing filter.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which requests are written down.
    pub access_log: AccessLog,
    /// Where traces and log lines go.
    pub otlp: Option<Otlp>,
    /// Where archives are kept.
    pub blobs: BlobStore,
    /// What a model gets that asks for a Python that is not installed.
    pub python: PythonChoice,
    /// None means that of `PATH`, or one of our own.
    pub uv: Option<PathBuf>,
    /// Where downloaded packages are kept; none means in the data folder.
    pub cache: Option<PathBuf>,
    /// Whether replicas are made ready ahead.
    pub standby: bool,
    /// At least one.
    pub concurrent_builds: usize,
    /// Bytes of an inference request's body.
    pub max_body: u64,
    /// How long each part of a request may take.
    pub request_timeout: Duration,
    /// How long a replica that is to stop goes on taking what is on its way to it.
    pub drain_delay: Duration,
    /// Requests of one deployment that may wait.
    pub max_queued: u32,
    /// Bytes of their bodies.
    pub max_queued_bytes: u64,
    /// Bytes of an uploaded archive.
    pub max_archive: u64,
    /// Bytes of an archive's content.
    pub max_archive_unpacked: u64,
    /// Files and folders in an archive.
    pub max_archive_entries: u64,
    /// Where things may run, in the order of preference; none are declared where this machine is the only one.
    pub locations: Vec<Location>,
    /// When running replicas obey policies that have changed.
    pub enforcement: Enforcement,
    /// What replicas may use together.
    pub capacity: Capacity,
    /// Names of this server, for clients that take it for their proxy.
    pub proxy_names: Vec<String>,
    /// Whether tunnels to the hosted service's names end here.
    pub proxy_tls: bool,
    /// The request header that keeps a caller on one side while traffic is divided.
    pub sticky_header: HeaderName,
    /// How long a promotion's candidate must have been ready before it gets its first traffic.
    pub min_ready: Duration,
    /// How long log lines are kept.
    pub log_retention: Duration,
    /// Bytes of them that are kept in all.
    pub log_max_bytes: u64,
    /// How long samples are kept.
    pub metrics_retention: Duration,
    /// How often they are taken.
    pub metrics_interval: Duration,
    /// What an instance type costs, by id, in US dollars a minute.
    pub prices: BTreeMap<String, f64>,
    /// By what people sign in who bring no key.
    pub oidc: Option<Oidc>,
    /// How long they stay signed in.
    pub sign_in_lifetime: Duration,
}

/// By what people sign in who bring no key.
pub struct Oidc {
    /// The provider.
    pub provider: oidc::Settings,
    /// What it is called.
    pub name: String,
    /// Domains of addresses whose people may come by themselves.
    pub domains: Vec<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where traces and log lines go.
pub struct Otlp {
    /// Where the collector is.
    pub collector: otlp::Settings,
    /// Whether log lines are exported.
    pub logs: bool,
    /// Which part of the requests is traced, from 0 to 1.
    pub trace_ratio: f64,
}

/// Where archives are kept.
pub enum BlobStore {
    /// In the data folder.
    Folder,
    /// In an S3-compatible service.
    S3 {
        /// Its bucket.
        bucket: String,
        /// The bucket's region.
        region: String,
        /// None means AWS.
        endpoint: Option<String>,
        /// Credentials.
        access_key_id: String,
        /// Credentials.
        secret_access_key: String,
    },
}

/// Every layer on top of the other.
pub fn layers(flags: &Flags) -> Result<Layers, Error> {
    let mut layers = Layers::defaults(KEYS);
    layers.set_default("data_dir", default_data_dir().display().to_string());
    if let Some((path, text)) = file(flags)? {
        layers.add_file(&path, &text)?;
    }
    layers.add_variables(variables(), OTHER_VARIABLES)?;
    layers.add_flag("listen", flags.listen.clone());
    layers.add_flag("data_dir", flags.data_dir.as_ref().map(|path| path.display().to_string()));
    Ok(layers)
}

/// The configuration file and its text. One that was named has to exist; the usual one may.
fn file(flags: &Flags) -> Result<Option<(PathBuf, String)>, Error> {
    let named = flags.config.clone().or_else(|| variable("GREENROOM_CONFIG").map(PathBuf::from));
    let must_exist = named.is_some();
    let Some(path) = named.or_else(|| config_dir().map(|folder| folder.join("server.toml"))) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(Error::File { path, problem: error.to_string() }),
    }
}

impl Server {
    /// Resolves all layers and reads every value.
    pub fn resolve(flags: &Flags) -> Result<Self, Error> {
        Self::from_layers(&layers(flags)?)
    }

    fn from_layers(layers: &Layers) -> Result<Self, Error> {
        let blobs = layers.get_with("blobs.store", |store| match store {
            "folder" => Ok(BlobStore::Folder),
            "s3" => Ok(BlobStore::S3 {
                bucket: required(layers, "blobs.s3_bucket")?,
                region: required(layers, "blobs.s3_region")?,
                endpoint: layers.optional("blobs.s3_endpoint"),
                access_key_id: required(layers, "blobs.s3_access_key_id")?,
                secret_access_key: required(layers, "blobs.s3_secret_access_key")?,
            }),
            other => Err(format!("`{other}` is neither `folder` nor `s3`")),
        })?;
        Ok(Self {
            listen: layers.get("listen")?,
            data_dir: layers.get_with("data_dir", |text| absolute(Path::new(text)))?,
            public_url: layers.optional("public_url").map(|url| url.trim_end_matches('/').to_owned()),
            database_url: layers.optional("database_url"),
            api_key: layers.optional("api_key"),
            secrets: SecretSources::from_layers(layers)?,
            shutdown_grace: layers.get_with("shutdown_grace", values::duration)?,
            log_level: layers.get("log.level")?,
            log_format: layers.get_with("log.format", |format| match format {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                other => Err(format!("`{other}` is neither `text` nor `json`")),
            })?,
            access_log: layers.get_with("log.access", |log| match log {
                "failures" => Ok(AccessLog::Failures),
                "all" => Ok(AccessLog::All),
                "off" => Ok(AccessLog::Off),
                other => Err(format!("`{other}` is none of `failures`, `all` and `off`")),
            })?,
            otlp: otlp(layers)?,
            blobs,
            python: layers.get_with("local.python", |python| match python {
                "nearest" => Ok(PythonChoice::Nearest),
                "exact" => Ok(PythonChoice::Exact),
                other => Err(format!("`{other}` is neither `nearest` nor `exact`")),
            })?,
            uv: layers.optional("local.uv").map(PathBuf::from),
            cache: layers.optional("local.cache").map(PathBuf::from),
            standby: layers.get_with("local.standby", |standby| match standby {
                "auto" => Ok(true),
                "off" => Ok(false),
                other => Err(format!("`{other}` is neither `auto` nor `off`")),
            })?,
            concurrent_builds: layers.get::<std::num::NonZeroUsize>("local.concurrent_builds")?.get(),
            max_body: layers.get_with("limits.body", values::bytes)?,
            request_timeout: layers.get_with("limits.request_timeout", |text| match values::duration(text)? {
                none if none.is_zero() => Err(format!("`{text}`: no request could be answered")),
                some => Ok(some),
            })?,
            drain_delay: layers.get_with("limits.drain_delay", values::duration)?,
            max_queued: layers.get("limits.queued_requests")?,
            max_queued_bytes: layers.get_with("limits.queued_body", values::bytes)?,
            max_archive: layers.get_with("limits.archive", values::bytes)?,
            max_archive_unpacked: layers.get_with("limits.archive_unpacked", values::bytes)?,
            max_archive_entries: layers.get("limits.archive_entries")?,
            locations: layers.get_with("locations", values::locations)?,
            enforcement: layers.get_with("policies.enforcement", |when| match when {
                "running" => Ok(Enforcement::Running),
                "next-deployment" => Ok(Enforcement::NextDeployment),
                other => Err(format!("`{other}` is neither `running` nor `next-deployment`")),
            })?,
            capacity: Capacity {
                millicpu: bound(layers, "capacity.cpu", values::millicpu)?,
                memory_mib: bound(layers, "capacity.memory", |text| Ok(values::bytes(text)? >> 20))?,
                gpus: bound(layers, "capacity.gpus", values::gpus)?,
            },
            proxy_names: layers.get_with("proxy.names", |names| Ok(values::list(names)))?,
            proxy_tls: layers.get_with("proxy.tls", values::on_or_off)?,
            sticky_header: layers.get("promotion.sticky_header")?,
            min_ready: layers.get_with("promotion.min_ready", values::duration)?,
            log_retention: layers.get_with("retention.logs", values::duration)?,
            log_max_bytes: layers.get_with("retention.logs_size", values::bytes)?,
            metrics_retention: layers.get_with("retention.metrics", values::duration)?,
            metrics_interval: layers.get_with("metrics.interval", values::duration)?,
            prices: layers.get_with("usage.prices", values::prices)?,
            oidc: oidc(layers)?,
            sign_in_lifetime: layers.get_with("sign_in.lifetime", values::duration)?,
        })
    }
}

fn otlp(layers: &Layers) -> Result<Option<Otlp>, Error> {
    let logs = layers.get_with("otlp.logs", values::on_or_off)?;
    let headers = layers.get_with("otlp.headers", values::pairs)?;
    let trace_ratio = layers.get_with("otlp.trace_ratio", |text| match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("`{text}` is not a part from 0 to 1")),
    })?;
    let endpoint = layers.optional("otlp.endpoint");
    Ok(endpoint.map(|endpoint| Otlp { collector: otlp::Settings { endpoint, headers }, logs, trace_ratio }))
}

fn oidc(layers: &Layers) -> Result<Option<Oidc>, Error> {
    if layers.optional("oidc.issuer").is_none() {
        return Ok(None);
    }
    let client_id = layers.get_with("oidc.issuer", |_| required(layers, "oidc.client_id"))?;
    let provider = oidc::Settings {
        issuer: layers.get("oidc.issuer")?,
        client_id,
        client_secret: layers.optional("oidc.client_secret").map(Into::into),
        scopes: layers.get::<String>("oidc.scopes")?.split_whitespace().map(str::to_owned).collect(),
    };
    let domains = layers.get_with("oidc.domains", |domains| Ok(values::list(domains)))?;
    Ok(Some(Oidc { provider, name: layers.get("oidc.name")?, domains }))
}

fn required(layers: &Layers, key: &'static str) -> Result<String, String> {
    layers.optional(key).ok_or_else(|| format!("needs `{key}` to be set too"))
}

/// A limit that is not there unless it is set.
fn bound<T>(
    layers: &Layers,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    layers.get_with(key, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) })
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &str) -> Result<Server, Error> {
        let mut layers = Layers::defaults(KEYS);
        layers.set_default("data_dir", "/data".to_owned());
        layers.add_file(Path::new("server.toml"), file)?;
        Server::from_layers(&layers)
    }

    fn problem(file: &str) -> String {
        resolve(file).err().expect("refused").to_string()
    }

    #[test]
    fn the_defaults_are_a_working_configuration() {
        let server = resolve("").expect("valid");
        assert_eq!(server.max_body, 100_000_000);
        assert_eq!(server.shutdown_grace, Duration::from_secs(30));
        assert_eq!(server.data_dir, Path::new("/data"));
    }

    #[test]
    fn durations_and_sizes_have_human_units() {
        let server = resolve("shutdown_grace = \"2 min\"\n[limits]\nbody = \"1 GiB\"").expect("valid");
        assert_eq!(server.shutdown_grace, Duration::from_secs(120));
        assert_eq!(server.max_body, 1 << 30);
    }

    #[test]
    fn a_choice_that_does_not_exist_is_refused_with_those_that_do() {
        let problem = problem("[local]\npython = \"newest\"");
        assert_eq!(problem, "`local.python` from server.toml: `newest` is neither `nearest` nor `exact`");
    }

    #[test]
    fn capacity_is_unbounded_unless_it_is_set() {
        assert_eq!(resolve("").expect("valid").capacity, Capacity::default());
        let set =
            resolve("[capacity]\ncpu = 7.5\nmemory = \"2 GiB\"\ngpus = \"L4:2, H100:8\"").expect("valid").capacity;
        assert_eq!((set.millicpu, set.memory_mib), (Some(7500), Some(2048)));
        assert_eq!(set.gpus, Some(BTreeMap::from([("L4".to_owned(), 2), ("H100".to_owned(), 8)])));
        let problem = problem("[capacity]\ngpus = [\"L4\"]");
        assert_eq!(problem, "`capacity.gpus` from server.toml: `L4` is not KIND:COUNT; write it like `L4:2, H100:8`");
    }

    #[test]
    fn locations_are_tables_with_what_is_in_them() {
        let file = "[[locations]]\nname = \"paris\"\ncountry = \"FR\"\ncontinent = \"eu\"\nflavors = [{ type = \"gpu\", name = \"t4\", count = 8 }]";
        let locations = resolve(file).expect("valid").locations;
        let paris = &locations[0];
        let country = paris.country.expect("it is said").as_str();
        assert_eq!((paris.name.as_str(), country, paris.flavors[0].count), ("paris", "fr", 8));
        let local = file.replace("country", "backend = \"local\"\ncountry");
        assert_eq!(resolve(&local).expect("valid").locations, locations);
        let told = problem(&file.replace("country", "backend = \"moon\"\ncountry"));
        assert!(told.contains("[0].backend: there is no backend \"moon\": choose local"), "{told}");
        let told = problem(&file.replace("FR", "UK"));
        assert!(
            told.contains("`locations` from server.toml: [0].country \"UK\" is not the code of a country"),
            "{told}"
        );
        assert!(problem(&file.replace("count", "number")).contains("unknown field `number`"));
    }

    #[test]
    fn prices_are_of_instance_types_that_there_are() {
        let priced = resolve("[usage]\nprices = \"1x2=0.0005, T4:4x16=0.01\"").expect("valid").prices;
        assert_eq!(priced, BTreeMap::from([("1x2".to_owned(), 0.0005), ("T4:4x16".to_owned(), 0.01)]));
        assert!(problem("[usage]\nprices = \"t4:4x16=1\"").contains("there is no instance type `t4:4x16`"));
        assert!(problem("[usage]\nprices = \"9x9=1\"").contains("there is no instance type `9x9`: choose among 1x2"));
        assert!(problem("[usage]\nprices = \"1x2=free\"").contains("is not TYPE=DOLLARS"));
    }

    #[test]
    fn an_identity_provider_needs_a_client_id() {
        let problem = problem("[oidc]\nissuer = \"https://login.example.com\"");
        assert_eq!(problem, "`oidc.issuer` from server.toml: needs `oidc.client_id` to be set too");
        let file =
            "[oidc]\nissuer = \"https://login.example.com\"\nclient_id = \"greenroom\"\ndomains = \"a.com, b.com\"";
        let oidc = resolve(file).expect("valid").oidc.expect("set");
        assert_eq!((oidc.provider.scopes.len(), oidc.domains.len()), (2, 2));
        assert!(resolve("").expect("valid").oidc.is_none());
    }

    #[test]
    fn an_s3_store_says_what_it_still_needs() {
        let problem = problem("[blobs]\nstore = \"s3\"");
        assert_eq!(problem, "`blobs.store` from server.toml: needs `blobs.s3_bucket` to be set too");
    }

    #[test]
    fn every_key_is_documented_and_named_once() {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
        assert!(KEYS.iter().all(|key| !key.doc.is_empty()));
    }
}
