//! Opening the database, transactions, announcements. One SQL text serves SQLite and PostgreSQL (TEXT and BIGINT columns,
//! `$1` placeholders), so every query stands once, in the file of its resource.

use std::{borrow::Cow, fmt, path::Path, sync::Arc, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, SqlSafeStr, Transaction,
    any::AnyPoolOptions,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    postgres::PgListener,
};
use tokio::task::AbortHandle;
use tracing::warn;

use crate::{
    changes::{Changes, Notifier, Topic},
    cipher::{Cipher, SecretKey},
    error::Error,
};

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// `sqlite:/path/to/file.db` (made if absent; see [`sqlite_url`]) or `postgres://user@host/database`.
    pub url: String,
    /// Secrets at rest are sealed with a key derived from it, and opened with those of the ones before, too.
    pub secret_key: SecretKey,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &without_password(&self.url)).finish_non_exhaustive()
    }
}

/// The URL of a SQLite database in a file.
pub fn sqlite_url(file: &Path) -> String {
    let path: String = file
        .to_string_lossy()
        .chars()
        .map(|character| match character {
            '%' => "%25".into(),
            '?' => "%3F".into(),
            '#' => "%23".into(),
            other => String::from(other),
        })
        .collect();
    format!("sqlite://{path}")
}

/// Everything the server remembers. A cheap handle.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dialect: Dialect,
    /// On SQLite a single connection: writers queue here rather than in the file.
    writer: AnyPool,
    readers: AnyPool,
    notifier: Notifier,
    cipher: Cipher,
    /// Held for as long as the store is open; the system lets go of it when the process dies.
    _file_lock: Option<std::fs::File>,
    listener: Option<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// How long a query waits for a connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;
/// Each connection has a cache of its own, in KiB when negative, which fills as the file grows. The kernel has the file's pages anyway.
const SQLITE_WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -512;";
const SQLITE_READER: &str = "PRAGMA query_only = ON; PRAGMA cache_size = -256;";
/// The advisory lock that writers of what is read in order take on PostgreSQL.
const WRITER_LOCK: i64 = 0x67_72_77_72;
/// The PostgreSQL channel on which topics are announced.
const CHANNEL: &str = "greenroom";

impl Store {
    /// Opens a database, brings its tables up to date, and subscribes to its changes.
    pub async fn open(options: &Options) -> Result<Store, Error> {
        sqlx::any::install_default_drivers();
        let cipher = Cipher::new(&options.secret_key);
        let notifier = Notifier::new();
        let url = options.url.as_str();
        let inner = if let Some(path) = url.strip_prefix("sqlite:") {
            let file_lock = lock_beside(path.trim_start_matches("//"))?;
            let address = format!("{url}?mode=rwc");
            let writer = sqlite_pool(1, SQLITE_WRITER).connect(&address).await;
            let writer = writer.map_err(|error| configuration(url, error))?;
            migrate(&writer, Dialect::Sqlite).await?;
            let readers = sqlite_pool(SQLITE_READERS, SQLITE_READER).connect(&address).await?;
            Inner {
                dialect: Dialect::Sqlite,
                writer,
                readers,
                notifier,
                cipher,
                _file_lock: Some(file_lock),
                listener: None,
            }
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = AnyPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
            let pool = pool.connect(url).await.map_err(|error| configuration(url, error))?;
            migrate(&pool, Dialect::Postgres).await?;
            let listener = Some(listen(url, notifier.clone()).await?);
            let readers = pool.clone();
            Inner { dialect: Dialect::Postgres, writer: pool, readers, notifier, cipher, _file_lock: None, listener }
        } else {
            return Err(configuration(url, "expected sqlite:FILE or postgres://USER@HOST/DATABASE"));
        };
        Ok(Store(Arc::new(inner)))
    }

    /// Subscribes to changes, made through this store or, on PostgreSQL, by any other server.
    pub fn changes(&self, topics: &[Topic]) -> Changes {
        self.0.notifier.subscribe(topics)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(self.readers()).await?;
        Ok(())
    }

    pub(crate) fn readers(&self) -> &AnyPool {
        &self.0.readers
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    pub(crate) fn cipher(&self) -> &Cipher {
        &self.0.cipher
    }

    /// A transaction that announces `topics` when it is committed, and undoes itself when it is dropped.
    pub(crate) async fn write(&self, topics: &[Topic]) -> Result<Write, Error> {
        let mut transaction = self.0.writer.begin().await?;
        if self.0.dialect == Dialect::Postgres && topics.iter().any(|topic| topic.is_ordered()) {
            // As on SQLite, one writer at a time: whoever reads a change has read all that came before it.
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(WRITER_LOCK).execute(&mut *transaction).await?;
        }
        Ok(Write { transaction, topics: topics.to_vec(), dialect: self.0.dialect, notifier: self.0.notifier.clone() })
    }

    /// A connection of its own, outside the pool's count.
    pub(crate) async fn detached_connection(&self) -> Result<AnyConnection, Error> {
        Ok(self.0.writer.acquire().await?.detach())
    }
}

/// A transaction.
pub(crate) struct Write {
    transaction: Transaction<'static, Any>,
    topics: Vec<Topic>,
    dialect: Dialect,
    notifier: Notifier,
}

impl Write {
    pub fn on(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// Announces this too, when it is committed.
    pub fn announce(&mut self, topic: Topic) {
        self.topics.push(topic);
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        if self.dialect == Dialect::Postgres {
            for topic in std::mem::take(&mut self.topics) {
                // Delivered when, and only if, the transaction commits; our own listener hears it too.
                sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(topic.name()).execute(self.on()).await?;
            }
        }
        // On PostgreSQL the database announces; on SQLite we do, also when nobody waits for the commit any more.
        let _announcement =
            (self.dialect == Dialect::Sqlite).then(|| Announcement { notifier: self.notifier, topics: self.topics });
        self.transaction.commit().await?;
        Ok(())
    }
}

/// Announces its topics when it is dropped: after a commit, whether it succeeded or its caller went away in the middle of it. One
/// announcement too many only makes somebody look again.
struct Announcement {
    notifier: Notifier,
    topics: Vec<Topic>,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.notifier.notify(self.topics.drain(..));
    }
}

fn sqlite_pool(connections: u32, pragmas: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT).after_connect(
        move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(pragmas).execute(connection).await?;
                Ok(())
            })
        },
    )
}

/// Two servers on one SQLite file would not hear of each other's changes.
fn lock_beside(path: &str) -> Result<std::fs::File, Error> {
    let path = format!("{path}.lock");
    let fail = |error: std::io::Error| configuration(&path, error);
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked(path.into())),
        Err(std::fs::TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// Every version of the tables, oldest first. Released ones never change.
const MIGRATIONS: [(i64, &str, Sql); 21] = [
    (1, "start", Sql::Common(include_str!("../migrations/0001_start.sql"))),
    (2, "promotions", Sql::Common(include_str!("../migrations/0002_promotions.sql"))),
    (3, "environment_groups", Sql::Common(include_str!("../migrations/0003_environment_groups.sql"))),
    (4, "scaling_decisions", Sql::Common(include_str!("../migrations/0004_scaling_decisions.sql"))),
    (
        5,
        "changes",
        Sql::Each {
            sqlite: include_str!("../migrations/0005_changes.sqlite.sql"),
            postgres: include_str!("../migrations/0005_changes.postgres.sql"),
        },
    ),
    (
        6,
        "replica_room",
        Sql::Each {
            sqlite: include_str!("../migrations/0006_replica_room.sqlite.sql"),
            postgres: include_str!("../migrations/0006_replica_room.postgres.sql"),
        },
    ),
    (7, "keep_previous", Sql::Common(include_str!("../migrations/0007_keep_previous.sql"))),
    (8, "backpressure", Sql::Common(include_str!("../migrations/0008_backpressure.sql"))),
    (
        9,
        "patches",
        Sql::Each {
            sqlite: include_str!("../migrations/0009_patches.sqlite.sql"),
            postgres: include_str!("../migrations/0009_patches.postgres.sql"),
        },
    ),
    (10, "startups", Sql::Common(include_str!("../migrations/0010_startups.sql"))),
    (11, "measures", Sql::Common(include_str!("../migrations/0011_measures.sql"))),
    (12, "positions", Sql::Common(include_str!("../migrations/0012_positions.sql"))),
    (13, "audit_doers", Sql::Common(include_str!("../migrations/0013_audit_doers.sql"))),
    (14, "policies", Sql::Common(include_str!("../migrations/0014_policies.sql"))),
    (
        15,
        "access",
        Sql::Each {
            sqlite: include_str!("../migrations/0015_access.sqlite.sql"),
            postgres: include_str!("../migrations/0015_access.postgres.sql"),
        },
    ),
    (16, "sign_ins", Sql::Common(include_str!("../migrations/0016_sign_ins.sql"))),
    (
        17,
        "tokens",
        Sql::Each {
            sqlite: include_str!("../migrations/0017_tokens.sqlite.sql"),
            postgres: include_str!("../migrations/0017_tokens.postgres.sql"),
        },
    ),
    (
        18,
        "locations",
        Sql::Each {
            sqlite: include_str!("../migrations/0018_locations.sqlite.sql"),
            postgres: include_str!("../migrations/0018_locations.postgres.sql"),
        },
    ),
    (19, "workspace_settings", Sql::Common(include_str!("../migrations/0019_workspace_settings.sql"))),
    (20, "promotion_differences", Sql::Common(include_str!("../migrations/0020_promotion_differences.sql"))),
    (21, "keys_of_secrets", Sql::Common(include_str!("../migrations/0021_keys_of_secrets.sql"))),
];

/// The text of a migration.
enum Sql {
    /// In the subset that both databases share.
    Common(&'static str),
    /// Where they share none: triggers.
    Each { sqlite: &'static str, postgres: &'static str },
}

impl Sql {
    fn text(&self, dialect: Dialect) -> Cow<'static, str> {
        let text = match (self, dialect) {
            (Sql::Common(text), _) => text,
            (Sql::Each { sqlite, .. }, Dialect::Sqlite) => sqlite,
            (Sql::Each { postgres, .. }, Dialect::Postgres) => postgres,
        };
        match dialect {
            Dialect::Sqlite => text.replace("BIGSERIAL PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT").into(),
            Dialect::Postgres => (*text).into(),
        }
    }
}

async fn migrate(pool: &AnyPool, dialect: Dialect) -> Result<(), Error> {
    let known = MIGRATIONS.map(|(version, _, _)| version)[MIGRATIONS.len() - 1];
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let sql = sql.text(dialect);
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            AssertSqlSafe(sql.into_owned()).into_sql_str(),
            false,
        )
    });
    let migrator = Migrator::with_migrations(migrations.into());
    let mut connection = pool.acquire().await?;
    let migrated = migrator.run_direct(None, &mut *connection, false).await;
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(found) => Error::NewerDatabase { found, known },
        MigrateError::Execute(error) => error.into(),
        other => Error::damaged("tables", other),
    })
}

/// Passes on what other servers announce.
async fn listen(url: &str, notifier: Notifier) -> Result<AbortHandle, Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(CHANNEL).await?;
    let task = tokio::spawn(async move {
        loop {
            match listener.try_recv().await {
                Ok(Some(announcement)) => notifier.notify(Topic::from_name(announcement.payload())),
                // The connection was lost and is made anew: whatever was announced in between was not heard.
                Ok(None) => notifier.notify(Topic::ALL),
                Err(error) => {
                    warn!(%error, "cannot listen for changes, trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    notifier.notify(Topic::ALL);
                }
            }
        }
    });
    Ok(task.abort_handle())
}

fn configuration(url: &str, reason: impl ToString) -> Error {
    Error::Configuration { url: without_password(url), reason: reason.to_string() }
}

fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.into(),
    }
}
