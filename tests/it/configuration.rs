//! What a server is told, and what it says when that cannot be.

use std::net::TcpListener;

use crate::harness::{Ran, Server, greenroom, run};

fn serve(arguments: &[&str], config: &str) -> Ran {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("server.toml");
    std::fs::write(&file, config).expect("written");
    let mut command = greenroom(home.path());
    command.arg("serve").arg("--config").arg(&file).args(arguments);
    run(command, b"")
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let ran = serve(&[], "[limits]\nboby = \"1 MB\"");
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("unknown configuration key `limits.boby`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean `limits.body`?"), "{}", ran.stderr);
}

#[test]
fn a_port_in_use_is_named_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("has one").to_string();
    let ran = serve(&["--listen", &address], "");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("cannot listen on {address}")), "{}", ran.stderr);
    assert!(ran.stderr.contains("--listen"), "{}", ran.stderr);
}

#[test]
fn two_servers_do_not_share_a_data_folder() {
    let server = Server::start();
    let folder = server.data_dir();
    let ran = serve(&["--listen", "127.0.0.1:0", "--data-dir", folder.to_str().expect("UTF-8")], "");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("another server"), "{}", ran.stderr);
    assert_eq!(server.greenroom(&["models"]).code, 0, "the first one is not disturbed");
}

#[test]
fn what_is_in_force_is_shown_with_where_it_came_from() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("config/greenroom");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(
        folder.join("server.toml"),
        "database_url = \"postgres://me:hidden@db/x\"\n[log]\nlevel = \"debug\"",
    )
    .expect("written");
    let mut command = greenroom(home.path());
    command.env("GREENROOM_LIMITS_BODY", "1 GiB").args(["config", "show", "--listen", "0.0.0.0:9000"]);
    let ran = run(command, b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let home = home.path().to_str().expect("UTF-8").to_owned();
    insta::with_settings!({filters => vec![(regex_lite(&home).as_str(), "HOME"), (r" +\n", "\n"), (r"  +", "  ")]}, {
        insta::assert_snapshot!(ran.stdout);
    });
    assert!(!ran.stdout.contains("hidden@"));
}

/// A path as a pattern that means only itself.
fn regex_lite(path: &str) -> String {
    path.replace('.', r"\.")
}

#[test]
fn the_first_start_prints_a_key_that_stays_readable_to_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    for file in ["admin-api-key", "server-secret"] {
        let mode = std::fs::metadata(server.data_dir().join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let key = std::fs::read_to_string(server.data_dir().join("admin-api-key")).expect("readable");
    assert_eq!(key.trim(), crate::harness::API_KEY);
    // On this machine the key need not be named.
    let home = tempfile::tempdir().expect("a folder");
    let mut command = greenroom(home.path());
    command.env("GREENROOM_DATA_DIR", server.data_dir()).args(["--url", &server.url, "status"]);
    let ran = run(command, b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
