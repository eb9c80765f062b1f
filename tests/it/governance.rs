//! From the command line: where work may run, who did what, what was used, and the way to the dashboard.

use crate::harness::{Server, eventually, example};

const CONFIG: &str = r#"
locations = [
    { name = "paris", country = "fr", continent = "eu", flavors = [{ type = "cpu", name = "x86", count = 4 }] },
    { name = "virginia", country = "us", continent = "na", flavors = [{ type = "gpu", name = "t4", count = 8 }] },
]
[metrics]
interval = "200ms"
[usage]
prices = "1x2=0.5"
"#;

#[tokio::test]
async fn policies_are_written_attached_explained_and_hold() {
    let server = Server::start_with(CONFIG);
    server.push(&example("hello"));
    let ran = |args: &[&str]| server.greenroom(args);
    assert!(ran(&["locations"]).stdout.contains("paris (fr, eu): 4 x cpu x86"));
    assert_eq!(ran(&["policies", "set", "us-only", "--allow", "country:us"]).code, 0);
    assert_eq!(ran(&["policies", "attach", "hello", "--environment", "production", "us-only"]).code, 0);
    let explained = ran(&["policies", "explain", "hello", "--environment", "production"]).stdout;
    assert!(explained.contains("environment_locations (us-only) took away paris on cpu x86"), "{explained}");
    assert!(explained.contains("none of 2 pairs"), "there are no CPUs in virginia: {explained}");
    let refused = ran(&["push", example("hello").to_str().expect("UTF-8"), "--environment", "production"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("location policy us-only"), "{}", refused.stderr);
    let in_use = ran(&["policies", "delete", "us-only"]);
    assert!(in_use.stderr.contains("attached to environment production"), "{}", in_use.stderr);

    assert_eq!(ran(&["policies", "set", "us-only", "--allow", "country:us", "--allow", "location:paris"]).code, 0);
    let listed = ran(&["policies", "list"]).stdout;
    assert!(listed.contains("country:us, location:paris"), "{listed}");
    let explained = ran(&["policies", "explain", "hello", "--environment", "production"]).stdout;
    assert!(explained.contains("May run in paris on cpu x86"), "{explained}");
    assert_eq!(ran(&["predict", "hello", "--data", "{}"]).code, 0, "what runs has gone on all the time");
    let mixed = ran(&["policies", "set", "mixed", "--allow", "country:us", "--allow", "gpu:t4"]);
    assert!(mixed.stderr.contains("make two policies"), "{}", mixed.stderr);
}

#[tokio::test]
async fn deeds_and_use_are_told_and_the_dashboard_is_found() {
    let server = Server::start_with(CONFIG);
    let pushed = server.push(&example("hello"));
    let ran = |args: &[&str]| server.greenroom(args);
    let deeds = ran(&["audit", "hello", "--kind", "deployed"]).stdout;
    let version = env!("CARGO_PKG_VERSION");
    assert!(deeds.contains("admin@localhost") && deeds.contains(&format!("greenroom {version}")), "{deeds}");
    assert!(deeds.contains("model deployed") && deeds.contains("deployment-1 of"), "{deeds}");
    assert!(!ran(&["audit", "--source", "ui"]).stdout.contains("model deployed"));

    let csv = eventually("a minute is charged", || async {
        let csv = ran(&["usage", "--csv"]).stdout;
        csv.contains(",1,0,0.5,false").then_some(csv)
    })
    .await;
    assert!(csv.starts_with("date,team_id,model_id,model_name"), "{csv}");
    assert!(ran(&["usage"]).stdout.contains("0.5000"));

    let model = pushed["model"]["id"].as_str().expect("an id");
    let opened = ran(&["open", "hello", "--print"]);
    assert_eq!(opened.stdout.trim(), format!("{}/ui/models/{model}", server.url));
    assert_eq!(ran(&["open", "hello", "--environment", "nonesuch", "--print"]).code, 4, "there is no such page");
}
