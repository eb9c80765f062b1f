//! Two servers on one database: on PostgreSQL they share it, on SQLite the second is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use store::{Error, Store, Topic};
use support::{Database, fixtures::installation};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_second_server_on_a_sqlite_file_is_refused_until_the_first_is_gone() {
    let database = Database::sqlite();
    let first = database.open().await;
    let refused = Store::open(&database.options()).await.err().unwrap();
    assert!(matches!(refused, Error::Locked(_)), "{refused:?}");
    assert!(first.try_lead().await.unwrap().is_some());
    drop(first);
    database.open().await.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_postgresql_start_together_and_hear_of_each_others_changes() {
    let database = Database::postgres().await;
    let (first, second) = tokio::join!(database.open(), database.open());
    let mut changes = second.changes(&[Topic::Keys]);
    let installation = installation();
    let made = tokio::join!(first.ensure_installed(&installation), second.ensure_installed(&installation));
    assert!(made.0.unwrap() ^ made.1.unwrap(), "exactly one of them makes the organization");
    tokio::time::timeout(DEADLINE, changes.wait()).await.expect("the installation is announced");
    first.revoke_key("adminkey", None).await.unwrap();
    tokio::time::timeout(DEADLINE, changes.wait()).await.expect("the revocation is announced");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_on_postgresql_leads_until_it_lets_go() {
    let database = Database::postgres().await;
    let (first, second) = (database.open().await, database.open().await);
    let mut leadership = first.try_lead().await.unwrap().expect("nobody leads yet");
    assert!(second.try_lead().await.unwrap().is_none());
    leadership.confirm().await.unwrap();
    drop(leadership);
    let takes_over = async {
        while second.try_lead().await.unwrap().is_none() {
            // polls for a condition
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, takes_over).await.expect("the lock ends with its connection");
}

#[tokio::test]
async fn a_url_that_names_no_database_is_explained_without_its_password() {
    let mut options = Database::sqlite().options();
    options.url = "mysql://root:hunter2@localhost/db".into();
    let refused = Store::open(&options).await.err().unwrap().to_string();
    assert_eq!(
        refused,
        "cannot open the store at mysql://…@localhost/db: expected sqlite:FILE or postgres://USER@HOST/DATABASE"
    );
}
