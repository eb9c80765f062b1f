//! The house rules that the compiler cannot hold, checked as text: who may import whom, where certain things may stand, and
//! what no file may contain. A failing rule names the file, the line and the remedy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Which of our rooms each room may import. Imports run one way; adding a line here is a decision worth a page.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("planner", &["api"]),
    ("archive", &[]),
    ("store", &["api", "planner"]),
    ("uploads", &["api", "planner", "store"]),
    ("backends", &["api", "archive", "planner"]),
    ("control-plane", &["api", "archive", "oidc", "planner", "store", "uploads"]),
    ("controller", &["api", "backends", "planner", "store"]),
    ("gateway", &["api", "planner", "tls"]),
    ("tls", &[]),
    ("dashboard", &[]),
    ("oidc", &[]),
    ("otlp", &["api"]),
    ("replica", &["api"]),
];

/// Libraries that may stand in one room only, with the reason.
const ONE_ROOM: &[(&str, &str, &str)] = &[
    ("sqlx", "store", "SQL appears only in store"),
    ("axum", "control-plane", "the management API is the only axum server"),
    ("s3s", "uploads", "the upload endpoint is the only S3 server"),
    ("openidconnect", "oidc", "signing in by a provider is one room's affair"),
    ("tokio-tungstenite", "replica", "only a replica speaks websocket frames; a gateway passes bytes"),
];

/// Words that do not belong in a room's sources, with the reason.
const BANNED_IN_ROOM: &[(&str, &str, &str)] = &[
    ("planner", "tokio", "decisions are pure"),
    ("planner", "HashMap", "iteration order would make decisions differ; use BTreeMap"),
    ("planner", "SystemTime", "pass `now`"),
    ("planner", "Instant::", "pass `now`"),
    ("api", "tokio", "data only"),
];

/// Past this length a file no longer reads in one sitting.
const LONGEST_FILE: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let is_generated = ["target", "node_modules", "__pycache__"].iter().any(|skip| name == *skip);
        if is_generated || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    ["src", "tests", "crates", "bench"].iter().flat_map(|folder| files_below(&root().join(folder), "rs")).collect()
}

fn manifest(room: &str) -> toml::Table {
    let path = root().join("crates").join(room).join("Cargo.toml");
    fs::read_to_string(&path).expect("every room has a manifest").parse().expect("manifests are valid TOML")
}

fn dependencies(room: &str) -> BTreeSet<String> {
    manifest(room)
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(offences: &[String], remedy: &str) {
    assert!(offences.is_empty(), "{remedy}:\n  {}", offences.join("\n  "));
}

#[test]
fn imports_between_rooms_run_one_way() {
    let rooms: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut offences = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("the rooms are there").flatten() {
        let room = entry.file_name().to_string_lossy().into_owned();
        let Some(allowed) = rooms.get(room.as_str()) else {
            offences.push(format!("crates/{room} is not in MAY_IMPORT"));
            continue;
        };
        for import in dependencies(&room) {
            if rooms.contains_key(import.as_str()) && !allowed.contains(&import.as_str()) {
                offences.push(format!("{room} imports {import}"));
            }
        }
    }
    assert_none(&offences, "an import runs the wrong way (ARCHITECTURE.md, \"Rooms\")");
}

#[test]
fn certain_libraries_stand_in_one_room_only() {
    let mut offences = Vec::new();
    for (library, home, reason) in ONE_ROOM {
        for (room, _) in MAY_IMPORT {
            if room != home && dependencies(room).contains(*library) {
                offences.push(format!("{room} depends on {library}: {reason}"));
            }
        }
    }
    assert_none(&offences, "a library stands in a second room");
}

#[test]
fn pure_rooms_stay_pure() {
    let mut offences = Vec::new();
    for (room, word, reason) in BANNED_IN_ROOM {
        for path in files_below(&root().join("crates").join(room).join("src"), "rs") {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if code.contains(word) {
                    offences.push(format!("{}:{}: {word}: {reason}", shown(&path), number + 1));
                }
            }
        }
    }
    assert_none(&offences, "a pure room holds something impure");
}

#[test]
fn every_source_file_says_what_it_is_for_and_reads_in_one_sitting() {
    let mut offences = Vec::new();
    for path in rust_files() {
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        if !text.starts_with("//!") {
            offences.push(format!("{} does not open with //!", shown(&path)));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            offences.push(format!("{} has {lines} lines (at most {LONGEST_FILE})", shown(&path)));
        }
    }
    assert_none(&offences, "open each file with what it is for, and split it by idea when it grows");
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    // Spelled in two parts so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["#[ign", "ore"], ["todo", "!("], ["unimple", "mented!("]]
        .map(|parts| parts.concat());
    let mut offences = Vec::new();
    let python = files_below(&root().join("python"), "py");
    for path in rust_files().into_iter().chain(python) {
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        for (number, line) in text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
                offences.push(format!("{}:{}: {mark}", shown(&path), number + 1));
            }
        }
    }
    assert_none(&offences, "finish it, or take it out");
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    let sleeps = [["thread::", "sleep("], ["tokio::time::", "sleep("], ["time.", "sleep("]].map(|parts| parts.concat());
    let mut offences = Vec::new();
    for path in rust_files() {
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        if !is_test {
            continue;
        }
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        for (number, line) in text.lines().enumerate() {
            // A line above says that this is the pause of a poll, or that a slow party is the input.
            let reasons = ["polls for a condition", "time is what the test is about"];
            let above = number.checked_sub(1).and_then(|above| text.lines().nth(above)).unwrap_or_default();
            let has_reason = reasons.iter().any(|reason| above.contains(reason));
            if sleeps.iter().any(|sleep| line.contains(sleep.as_str())) && !has_reason {
                offences.push(format!("{}:{}", shown(&path), number + 1));
            }
        }
    }
    assert_none(&offences, "wait for a condition instead of sleeping");
}

#[test]
fn every_error_code_has_a_page() {
    let source = fs::read_to_string(root().join("crates/api/src/error.rs")).expect("the error module is there");
    let body = source.split("pub enum Code {").nth(1).and_then(|rest| rest.split('}').next()).expect("Code is an enum");
    let mut offences = Vec::new();
    for variant in body.lines().map(str::trim).filter(|line| line.ends_with(',') && !line.starts_with("///")) {
        let name = variant.trim_end_matches(',');
        let code: String = name
            .char_indices()
            .flat_map(|(at, letter)| {
                let gap = (at > 0 && letter.is_uppercase()).then_some('_');
                gap.into_iter().chain(std::iter::once(letter.to_ascii_uppercase()))
            })
            .collect();
        if !root().join(format!("docs/errors/{code}.md")).is_file() {
            offences.push(format!("docs/errors/{code}.md is missing"));
        }
    }
    assert_none(&offences, "each code a user can see has a page that says what to do");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut offences = Vec::new();
    let documents = files_below(root(), "md").into_iter().filter(|path| !path.starts_with(root().join("target")));
    for path in documents {
        let text = fs::read_to_string(&path).expect("documents are UTF-8");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = path.parent().expect("a file has a folder");
            if !folder.join(target).exists() {
                offences.push(format!("{} links to {target}", shown(&path)));
            }
        }
    }
    assert_none(&offences, "a link leads nowhere");
}
