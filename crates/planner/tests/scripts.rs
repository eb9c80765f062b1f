//! Stories: the commands in a file are run, and the file must tell what happened. To accept a new telling, copy the file that a
//! failing test names.

use std::{fs, path::Path};

use planner::sim::{rollout_script, script, traffic_script};

fn check(folder: &str, tell: fn(&str) -> Result<String, String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut differing = Vec::new();
    let entries = fs::read_dir(&folder).expect("the stories lie in a folder");
    let mut stories: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    stories.sort();
    assert!(!stories.is_empty());
    for path in stories {
        let written = fs::read_to_string(&path).expect("a story is text");
        let told = tell(&written).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if told != written {
            let accepted = Path::new(env!("CARGO_TARGET_TMPDIR")).join(path.file_name().expect("a story has a name"));
            fs::write(&accepted, &told).expect("the folder for tests can be written");
            differing.push(format!("cp {} {}\n{told}", accepted.display(), path.display()));
        }
    }
    assert!(differing.is_empty(), "these stories happen otherwise:\n{}", differing.join("\n"));
}

#[test]
fn every_story_of_a_deployment_happens_as_it_is_told() {
    check("scripts", script::tell);
}

#[test]
fn every_story_of_a_promotion_happens_as_it_is_told() {
    check("promotions", rollout_script::tell);
}

#[test]
fn every_load_is_followed_as_it_is_told() {
    check("traffic", traffic_script::tell);
}
