//! What a packed folder contains.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use archive::{Limits, Listing, Pack, PackError, Progress, inspect, pack, unpack};
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn what(folder: &Path) -> Pack<'_> {
    Pack { folder, config: None, external_package_dirs: &[], packages_dir: "packages" }
}

fn packed(what: &Pack<'_>) -> Vec<u8> {
    let mut archive = Vec::new();
    pack(what, &mut archive, |_| {}).unwrap();
    archive
}

fn names(archive: &[u8]) -> Vec<String> {
    let Listing { entries, .. } = inspect(archive, &Limits::default()).unwrap();
    entries.into_iter().map(|entry| entry.path).collect()
}

#[test]
fn what_was_packed_unpacks_to_the_same_files() {
    let deep = format!("data/{}/{}/x.bin", "d".repeat(90), "e".repeat(90));
    let source = folder(&[("config.yaml", "a: 1"), ("model/model.py", "class Model: ..."), (&deep, "deep")]);
    fs::set_permissions(source.path().join("model/model.py"), fs::Permissions::from_mode(0o755)).unwrap();
    let target = tempfile::tempdir().unwrap();
    unpack(&packed(&what(source.path()))[..], &target.path().join("new"), &Limits::default()).unwrap();
    let unpacked = target.path().join("new");
    assert_eq!(fs::read_to_string(unpacked.join(&deep)).unwrap(), "deep");
    assert_eq!(fs::metadata(unpacked.join("model/model.py")).unwrap().permissions().mode() & 0o100, 0o100);
}

#[test]
fn equal_folders_give_equal_archives_in_a_fixed_order() {
    let first = folder(&[("b", "1"), ("a/z", "2"), ("a.txt", "3")]);
    let second = folder(&[("a.txt", "3"), ("a/z", "2"), ("b", "1")]);
    let archive = packed(&what(first.path()));
    assert_eq!(archive, packed(&what(second.path())));
    assert_eq!(names(&archive), ["a.txt", "a/z", "b"]);
}

#[test]
fn the_default_list_leaves_out_what_the_format_leaves_out() {
    let source = folder(&[
        ("config.yaml", ""),
        ("model/model.py", ""),
        ("model/__pycache__/model.pyc", ""),
        ("lib/x.py", ""),
        ("model/native.so", ""),
        ("run.log", ""),
        (".git/HEAD", ""),
        (".env", "SECRET=1"),
        ("data/weights.bin", ""),
        (".hidden", ""),
    ]);
    assert_eq!(names(&packed(&what(source.path()))), [".hidden", "config.yaml", "data/weights.bin", "model/model.py"]);
}

#[test]
fn the_folders_own_list_replaces_the_default_one() {
    let source = folder(&[
        (".truss_ignore", "# comment\n  *.csv\n/notes/\n!keep.csv\n"),
        ("config.yaml", ""),
        ("a.csv", ""),
        ("keep.csv", ""),
        ("notes/x", ""),
        ("model/notes/x", ""),
        ("run.log", ""),
    ]);
    let expected = [".truss_ignore", "config.yaml", "keep.csv", "model/notes/x", "run.log"];
    assert_eq!(names(&packed(&what(source.path()))), expected);
}

#[test]
fn external_packages_are_copied_flat_into_packages() {
    let root = folder(&[
        ("app/config.yaml", "old"),
        ("shared/util/a.py", ""),
        ("shared/util/__pycache__/a.pyc", ""),
        ("shared/top.py", ""),
    ]);
    let external = [PathBuf::from("../shared")];
    let app = root.path().join("app");
    let what = Pack { config: Some(b"new"), external_package_dirs: &external, ..what(&app) };
    let archive = packed(&what);
    assert_eq!(names(&archive), ["config.yaml", "packages/top.py", "packages/util/a.py"]);
    unpack(&archive[..], &root.path().join("out"), &Limits::default()).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("out/config.yaml")).unwrap(), "new");

    fs::create_dir_all(app.join("packages")).unwrap();
    fs::write(app.join("packages/top.py"), "").unwrap();
    assert!(
        matches!(pack(&what, Vec::new(), |_| {}), Err(PackError::Conflict { path, .. }) if path == "packages/top.py")
    );
}

#[test]
fn links_are_packed_as_what_they_stand_for() {
    let root = folder(&[("app/config.yaml", ""), ("weights.bin", "w"), ("shared/x.py", "x")]);
    let app = root.path().join("app");
    symlink("../weights.bin", app.join("weights.bin")).unwrap();
    symlink("../shared", app.join("shared")).unwrap();
    let archive = packed(&what(&app));
    assert_eq!(names(&archive), ["config.yaml", "shared/x.py", "weights.bin"]);
    symlink("nowhere", app.join("broken")).unwrap();
    assert!(
        matches!(pack(&what(&app), Vec::new(), |_| {}), Err(PackError::BrokenLink(at)) if at == app.join("broken"))
    );
    fs::write(app.join(".truss_ignore"), "broken\n").unwrap();
    symlink(".", app.join("round")).unwrap();
    assert!(matches!(pack(&what(&app), Vec::new(), |_| {}), Err(PackError::Loop(at)) if at == app.join("round")));
}

#[test]
fn progress_reaches_the_total() {
    let source = folder(&[("a", "12345"), ("b", &"x".repeat(100_000))]);
    let mut seen = Vec::new();
    let packed = pack(&what(source.path()), Vec::new(), |progress| seen.push(progress)).unwrap();
    assert_eq!((packed.files, packed.bytes), (2, 100_005));
    assert_eq!(seen.first(), Some(&Progress { done_bytes: 0, total_bytes: 100_005 }));
    assert_eq!(seen.last(), Some(&Progress { done_bytes: 100_005, total_bytes: 100_005 }));
    assert!(seen.is_sorted_by_key(|progress| progress.done_bytes));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = pack(&what(Path::new("/nowhere/at/all")), Vec::new(), |_| {}).unwrap_err();
    assert_eq!(error.to_string(), r#""/nowhere/at/all" is not a folder"#);
}
