//! Stories: the commands in a file are run, and the file must tell what happened. To accept a new telling, copy the file that a
//! failing test names.

use std::{fs, path::Path};

use planner::sim::{rollout_script, script};

fn check(folder: &str, tell: fn(&str) -> Result<String, String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut differing = Vec::new();
    let mut stories: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    assert!(!stories.is_empty());
    for path in stories {
        let written = fs::read_to_string(&path).unwrap();
        let told = tell(&written).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if told != written {
            let accepted = Path::new(env!("CARGO_TARGET_TMPDIR")).join(path.file_name().unwrap());
            fs::write(&accepted, &told).unwrap();
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
