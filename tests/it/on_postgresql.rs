//! The same server over PostgreSQL, as on a cluster: nothing that a user writes or sees differs from a laptop's.

#[path = "../../crates/store/tests/support/postgres.rs"]
mod postgres;

use crate::{
    apply::{ALL, LOCATIONS, lines, write},
    harness::{Server, example},
};

#[tokio::test]
async fn one_file_makes_a_laptop_and_a_server_over_postgresql_the_same_and_a_kill_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = postgres::Server::start(folder.path()).await;
    let laptop = Server::start_with(LOCATIONS);
    let mut cluster = Server::start_with(&format!("database_url = {:?}\n{LOCATIONS}", database.url()));
    let files = tempfile::tempdir().expect("a folder");
    write(files.path(), "token", "hunter2\n");
    let file = write(files.path(), "all.yaml", ALL);
    let applied = [&laptop, &cluster].map(|server| {
        server.push(&example("hello"));
        server.greenroom(&["apply", "-f", &file])
    });
    assert_eq!(applied[0].code, 0, "{}", applied[0].shown());
    assert_eq!(lines(&applied[0]), lines(&applied[1]), "{}", applied[1].shown());
    let shown = |server: &Server| server.greenroom(&["get", "all", "-o", "yaml"]).stdout;
    assert_eq!(shown(&laptop), shown(&cluster));

    cluster.kill();
    cluster.restart();
    let again = cluster.greenroom_with_input(&["apply", "-f", "-"], shown(&laptop).as_bytes());
    let is_unchanged = again.code == 0 && lines(&again).iter().all(|line| line.ends_with(" unchanged"));
    assert!(is_unchanged, "{}", again.shown());
    let called = cluster.greenroom(&["predict", "hello", "--data", "{}"]);
    assert_eq!(called.code, 0, "{}", called.shown());
    assert_eq!(cluster.greenroom(&["delete", "hello", "--yes"]).code, 0);
}
