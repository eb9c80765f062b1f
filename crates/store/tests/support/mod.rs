//! Fresh databases for tests: a SQLite file, or a PostgreSQL server of the machine's own.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod fixtures;
mod postgres;

use store::{Options, SecretKey, Store, sqlite_url};
use tempfile::TempDir;

/// A database of a test's own, gone when it is dropped.
pub struct Database {
    url: String,
    // Dropped in this order: the server ends before its folder goes.
    _server: Option<postgres::Server>,
    _folder: TempDir,
}

impl Database {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { url: sqlite_url(&folder.path().join("a b%?#.db")), _server: None, _folder: folder }
    }

    pub async fn postgres() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = postgres::Server::start(folder.path()).await;
        Self { url: server.url(), _server: Some(server), _folder: folder }
    }

    pub fn options(&self) -> Options {
        Options { url: self.url.clone(), secret_key: SecretKey::new([42; 32]) }
    }

    pub async fn open(&self) -> Store {
        Store::open(&self.options()).await.unwrap()
    }
}
