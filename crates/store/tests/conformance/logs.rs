//! Log lines: order, search, exactly once, pruning.

use api::{
    id::{DeploymentId, ReplicaId},
    internal::replica::{Level, LogLine},
};
use store::{
    LogQuery, Store,
    domain::{Component, Deployment, LogRecord},
};

use crate::{fixtures::*, support::Database};

const MILLI: i64 = 1_000_000;

fn line(timestamp_ns: i64, message: &str) -> LogLine {
    LogLine { timestamp_ns, level: None, request_id: None, message: message.into() }
}

fn record(deployment: &Deployment, line: LogLine) -> LogRecord {
    LogRecord { deployment_id: deployment.id.clone(), replica_id: None, component: Component::Model, line }
}

/// A query for lines the tests append: before the fixture's own first line.
fn query(deployment: &Deployment) -> LogQuery {
    LogQuery { deployments: vec![deployment.id.clone()], end_ms: NOW.0 - 1, limit: 100, ..Default::default() }
}

async fn messages(store: &Store, query: LogQuery) -> String {
    let records = store.logs(&query).await.unwrap();
    records.iter().map(|record| record.line.message.as_str()).collect::<Vec<_>>().join(" ")
}

pub async fn lines_come_in_order_within_their_window(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let lines =
        [(7, "g"), (5, "a"), (5, "b"), (6 * MILLI, "h"), (5, "c"), (6 * MILLI + 999_999, "i"), (7 * MILLI, "j")];
    let records: Vec<LogRecord> = lines.iter().map(|(at, text)| record(&deployment, line(*at, text))).collect();
    store.append_logs(&records).await.unwrap();
    assert_eq!(messages(&store, query(&deployment)).await, "a b c g h i j");
    assert_eq!(messages(&store, LogQuery { newest_first: true, ..query(&deployment) }).await, "j i h g c b a");
    assert_eq!(messages(&store, LogQuery { newest_first: true, limit: 2, ..query(&deployment) }).await, "j i");
    assert_eq!(messages(&store, LogQuery { start_ms: 6, end_ms: 6, ..query(&deployment) }).await, "h i");
    assert_eq!(messages(&store, LogQuery { deployments: vec![], ..query(&deployment) }).await, "");
    let other = DeploymentId::from_entropy(99);
    assert_eq!(messages(&store, LogQuery { deployments: vec![other.clone()], ..query(&deployment) }).await, "");
    let both = LogQuery { deployments: vec![other, deployment.id.clone()], limit: 1, ..query(&deployment) };
    assert_eq!(messages(&store, both).await, "a");
}

pub async fn lines_are_picked_by_their_fields(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let replica = ReplicaId::from_entropy(1);
    let full = LogRecord {
        deployment_id: deployment.id.clone(),
        replica_id: Some(replica.clone()),
        component: Component::Build,
        line: LogLine {
            timestamp_ns: 1,
            level: Some(Level::Warning),
            request_id: Some("r1\0".into()),
            message: "full\0".into(),
        },
    };
    let info = LogLine { level: Some(Level::Info), ..line(2, "info") };
    store.append_logs(&[full.clone(), record(&deployment, info), record(&deployment, line(3, "bare"))]).await.unwrap();
    assert_eq!(
        messages(&store, LogQuery { min_level: Some(Level::Debug), ..query(&deployment) }).await,
        "full\u{fffd} info"
    );
    assert_eq!(
        messages(&store, LogQuery { min_level: Some(Level::Warning), ..query(&deployment) }).await,
        "full\u{fffd}"
    );
    let by_replica = LogQuery { replica: Some(replica.to_string()), ..query(&deployment) };
    assert_eq!(messages(&store, by_replica.clone()).await, "full\u{fffd}");
    assert_eq!(
        messages(&store, LogQuery { request_id: Some("r1\0".into()), ..query(&deployment) }).await,
        "full\u{fffd}"
    );
    assert_eq!(
        messages(&store, LogQuery { component: Some(Component::Model), ..query(&deployment) }).await,
        "info bare"
    );
    let mut read = store.logs(&by_replica).await.unwrap().remove(0);
    assert_eq!(read.line.request_id.as_deref(), Some("r1\u{fffd}"));
    read.line = full.line.clone();
    assert_eq!(read, full);
    assert_eq!(messages(&store, LogQuery { replica: Some("\0".into()), ..query(&deployment) }).await, "");
}

pub async fn lines_are_picked_by_their_message_across_pages(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let text = |number: i64| {
        if number % 1500 == 0 { format!("Needle-{number}") } else { format!("hay-{number}") }
    };
    let records: Vec<LogRecord> = (1..=6000).map(|number| record(&deployment, line(number, &text(number)))).collect();
    store.append_logs(&records).await.unwrap();
    let includes = LogQuery { includes: vec!["Needle".into()], ..query(&deployment) };
    assert_eq!(messages(&store, includes.clone()).await, "Needle-1500 Needle-3000 Needle-4500 Needle-6000");
    let newest = LogQuery { newest_first: true, limit: 3, ..includes.clone() };
    assert_eq!(messages(&store, newest).await, "Needle-6000 Needle-4500 Needle-3000");
    assert_eq!(messages(&store, LogQuery { excludes: vec!["-3".into(), "00".into()], ..includes.clone() }).await, "");
    assert_eq!(messages(&store, LogQuery { includes: vec!["needle".into()], ..query(&deployment) }).await, "");
    let pattern = LogQuery { pattern: Some(r"^\w+dle-[1-3]\d{3}$".parse().unwrap()), ..query(&deployment) };
    assert_eq!(messages(&store, pattern).await, "Needle-1500 Needle-3000");
}

pub async fn a_part_of_a_replicas_log_is_stored_once(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let replica = replica(1, &deployment);
    store.add_replica(&replica).await.unwrap();
    store.append_replica_log(&replica.id, 0, 10, &[line(1, "a"), line(2, "b")]).await.unwrap();
    store.append_replica_log(&replica.id, 0, 10, &[line(1, "a"), line(2, "b")]).await.unwrap();
    store.append_replica_log(&replica.id, 10, 15, &[line(3, "c")]).await.unwrap();
    assert_eq!(
        messages(&store, LogQuery { replica: Some(replica.id.to_string()), ..query(&deployment) }).await,
        "a b c"
    );
    assert_eq!(store.replicas(None).await.unwrap()[0].log_cursor, 15);
    store.append_replica_log(&ReplicaId::from_entropy(2), 0, 10, &[line(1, "x")]).await.unwrap();
    assert_eq!(messages(&store, query(&deployment)).await, "a b c");
}

pub async fn pruning_takes_the_oldest_and_the_orphaned(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    let gone = store.add_deployment(&push(&model, 2), None).await.unwrap();
    let lines = |deployment: &Deployment| -> Vec<LogRecord> {
        (1..=6).map(|number| record(deployment, line(number * MILLI, &number.to_string()))).collect()
    };
    store.append_logs(&lines(&deployment)).await.unwrap();
    store.append_logs(&lines(&gone)).await.unwrap();
    store.delete_deployment(&gone.id, None).await.unwrap();
    assert_eq!(store.prune_logs(3, u64::MAX).await.unwrap(), 2 + 7);
    assert_eq!(messages(&store, query(&deployment)).await, "3 4 5 6");
    // Each line counts 101 bytes, the fixture's first line more.
    assert_eq!(store.prune_logs(0, 3 * 101 + 50).await.unwrap(), 2);
    assert_eq!(messages(&store, query(&deployment)).await, "5 6");
    assert_eq!(store.prune_logs(0, u64::MAX).await.unwrap(), 0);
    assert_eq!(store.prune_logs(u64::MAX, u64::MAX).await.unwrap(), 3);
}

pub async fn a_log_is_followed_line_by_line_from_any_moment(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let mut from_now = store.log_position(&deployment.id, None).await.unwrap();
    store
        .append_logs(&[record(&deployment, line(5 * MILLI, "a")), record(&deployment, line(3 * MILLI, "b"))])
        .await
        .unwrap();
    let mut from_5 = store.log_position(&deployment.id, Some(5)).await.unwrap();
    let mut from_later = store.log_position(&deployment.id, Some(2 * NOW.0)).await.unwrap();
    store.append_logs(&[record(&deployment, line(6 * MILLI, "c"))]).await.unwrap();

    // The fixture's own line is none of the model's.
    let all = LogQuery { component: Some(Component::Model), ..query(&deployment) };
    for (position, start_ms, expected) in
        [(&mut from_now, 0, "a b c"), (&mut from_5, 5, "a c"), (&mut from_later, 0, "c")]
    {
        let query = LogQuery { start_ms, ..all.clone() };
        let (lines, is_all) = store.logs_from(&query, position).await.unwrap();
        let text: Vec<&str> = lines.iter().map(|(_, record)| record.line.message.as_str()).collect();
        assert_eq!((text.join(" ").as_str(), is_all), (expected, true), "in the order they were appended");
        assert!(lines.is_sorted_by_key(|(number, _)| number.0));
        assert_eq!(store.logs_from(&query, position).await.unwrap(), (vec![], true), "nothing comes twice");
    }

    let many: Vec<LogRecord> = (0..2500).map(|n| record(&deployment, line(n, &format!("line {n}")))).collect();
    store.append_logs(&many).await.unwrap();
    let picky = LogQuery { includes: vec!["line 24".into()], ..all.clone() };
    let (mut found, mut is_all) = (0, false);
    while !is_all {
        let (lines, last) = store.logs_from(&picky, &mut from_now).await.unwrap();
        (found, is_all) = (found + lines.len(), last);
    }
    assert_eq!(found, 111, "a long log is read in parts, none of which is left out");
}
