//! Opening a database, and announcements of changes.

use std::time::Duration;

use store::{Error, Store, Topic};

use crate::{fixtures::*, support::Database};

pub async fn a_newer_database_is_refused(database: Database) {
    drop(database.open().await);
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&database.options().url).await.unwrap();
    let copy = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
                SELECT 999, 'later', installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1";
    sqlx::query(copy).execute(&pool).await.unwrap();
    pool.close().await;
    let refused = Store::open(&database.options()).await.err().unwrap();
    assert!(matches!(refused, Error::NewerDatabase { found: 999, .. }), "{refused:?}");
    assert!(refused.to_string().contains("use the newer program"), "{refused}");
}

pub async fn an_older_database_is_brought_up_to_date(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    let old = replica(1, &deployment);
    store.add_replica(&old).await.unwrap();
    drop(store);
    // As the first release left it.
    let pool = sqlx::AnyPool::connect(&database.options().url).await.unwrap();
    for sql in undo_the_journal(&pool).await {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    for sql in [
        "DROP TABLE changes",
        "DROP TABLE promotion_differences",
        "DROP TABLE promotions",
        "DROP TABLE workspace_settings",
        "ALTER TABLE replicas DROP COLUMN environment",
        "ALTER TABLE replicas DROP COLUMN instance_type",
        "ALTER TABLE replicas DROP COLUMN waits_for",
        "ALTER TABLE deployments DROP COLUMN keep_previous",
        "ALTER TABLE deployments DROP COLUMN backpressure",
        "ALTER TABLE environments DROP COLUMN backpressure",
        "ALTER TABLE deployments DROP COLUMN patches",
        "ALTER TABLE replicas DROP COLUMN tries_patch",
        "ALTER TABLE replicas DROP COLUMN location",
        "DROP TABLE locations",
        "DROP TABLE environment_groups",
        "DROP TABLE scaling_decisions",
        "DROP TABLE startups",
        "DROP TABLE totals",
        "DROP TABLE samples",
        "DROP TABLE usage_days",
        "DROP TABLE positions",
        "DROP TABLE environment_policies",
        "DROP TABLE deployment_policies",
        "DROP TABLE policies",
        "DROP TABLE token_windows",
        "ALTER TABLE audit_log DROP COLUMN doer",
        "DROP TABLE sign_ins",
        "DROP TABLE client_credentials",
        "DROP INDEX users_by_subject",
        "ALTER TABLE users DROP COLUMN subject",
        "ALTER TABLE users DROP COLUMN teams",
        "ALTER TABLE users DROP COLUMN kind",
        "DROP INDEX api_keys_by_expiry",
        "ALTER TABLE api_keys DROP COLUMN expires_at",
        "ALTER TABLE api_keys DROP COLUMN requests_per_minute",
        "ALTER TABLE api_keys DROP COLUMN environment_names",
        "ALTER TABLE secrets DROP COLUMN key_name",
        "DELETE FROM _sqlx_migrations WHERE version > 1",
    ] {
        sqlx::query(sql).execute(&pool).await.unwrap();
    }
    pool.close().await;

    let store = database.open().await;
    assert_eq!(store.replicas(None).await.unwrap(), [old]);
    let candidate = store::Candidate::Existing(deployment.id);
    let new = promotion(&model, store::domain::PRODUCTION, candidate, None);
    let begun = store.begin_promotion(&new, None).await.unwrap();
    assert_eq!(store.active_promotions().await.unwrap(), [begun]);
}

/// What removes the triggers.
async fn undo_the_journal(pool: &sqlx::AnyPool) -> Vec<String> {
    let triggers = "SELECT 'DROP TRIGGER ' || name FROM sqlite_master WHERE type = 'trigger'";
    match sqlx::query_scalar(triggers).fetch_all(pool).await {
        Ok(of_sqlite) => of_sqlite,
        Err(_) => ["note_change", "note_policy_change"].map(|name| format!("DROP FUNCTION {name} CASCADE")).into(),
    }
}

pub async fn what_was_written_is_there_after_opening_again(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    drop(store);
    let store = database.open().await;
    assert_eq!(store.model(&model.id).await.unwrap(), model);
    assert_eq!(store.deployment(&deployment.id).await.unwrap(), deployment);
}

pub async fn writers_wake_those_who_wait(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    let mut keys = store.changes(&[Topic::Keys, Topic::Secrets]);
    let mut replicas = store.changes(&[Topic::Replicas]);
    store.revoke_key("adminkey", None).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), keys.wait()).await.expect("the change is announced");
    // What was announced later has been heard, so an announcement for replicas would have been heard too.
    assert!(futures::FutureExt::now_or_never(replicas.wait()).is_none());
}
