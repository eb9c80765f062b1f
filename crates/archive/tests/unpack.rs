//! What archives may contain, and what happens to those that try more. Archives are made header by header here, because a
//! decent library refuses to make them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use archive::{Compression, Error, Kind, Limit, Limits, Refusal, inspect, unpack};
use proptest::prelude::*;
use tar::{EntryType, Header};
use tempfile::TempDir;

/// One hand-made entry.
#[derive(Debug)]
struct Item {
    path: Vec<u8>,
    kind: EntryType,
    link: Vec<u8>,
    data: Vec<u8>,
    mode: u32,
}

fn item(kind: EntryType, path: &str, link: &str, data: &str) -> Item {
    Item { path: path.into(), kind, link: link.into(), data: data.into(), mode: 0o644 }
}

fn file(path: &str, data: &str) -> Item {
    item(EntryType::Regular, path, "", data)
}

fn symlink(path: &str, target: &str) -> Item {
    item(EntryType::Symlink, path, target, "")
}

fn hardlink(path: &str, target: &str) -> Item {
    item(EntryType::Link, path, target, "")
}

fn append(tar: &mut Vec<u8>, item: &Item) {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    let (name, link) = (item.path.len().min(100), item.link.len().min(100));
    old.name[..name].copy_from_slice(&item.path[..name]);
    old.linkname[..link].copy_from_slice(&item.link[..link]);
    header.set_entry_type(item.kind);
    header.set_size(item.data.len() as u64);
    header.set_mode(item.mode);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(&item.data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn unfinished(items: &[Item]) -> Vec<u8> {
    let mut tar = Vec::new();
    for item in items {
        append(&mut tar, item);
    }
    tar
}

fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut tar = unfinished(items);
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A folder to unpack into, inside one that must stay as it is.
struct Room {
    outside: TempDir,
    inside: PathBuf,
}

impl Room {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let inside = outside.path().join("inside");
        Self { outside, inside }
    }

    fn unpack(&self, archive: &[u8], limits: &Limits) -> Result<archive::Listing, Error> {
        let result = unpack(archive, &self.inside, limits);
        let neighbours: Vec<_> =
            fs::read_dir(self.outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(neighbours, ["inside"], "nothing may appear outside");
        result
    }
}

fn check_refused(items: &[Item], path: &str, problem: Refusal) {
    let archive = tar_of(items);
    for result in [inspect(&archive[..], &Limits::default()), Room::new().unpack(&archive, &Limits::default())] {
        match result {
            Err(error @ Error::Refused { .. }) => {
                let Error::Refused { path: named, problem: found } = &error else { unreachable!() };
                assert_eq!((named.as_str(), found), (path, &problem));
                assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
            }
            other => panic!("{path}: expected {problem:?}, got {other:?}"),
        }
    }
}

fn check_too_large(items: &[Item], limits: Limits, path: &str, limit: Limit) {
    let archive = tar_of(items);
    for result in [inspect(&archive[..], &limits), Room::new().unpack(&archive, &limits)] {
        match result {
            Err(Error::TooLarge { path: named, limit: found, .. }) => {
                assert_eq!((named.as_str(), found), (path, limit))
            }
            other => panic!("{path}: expected {limit:?}, got {other:?}"),
        }
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_ordinary_archive_unpacks_whatever_its_compression() {
    let plain = tar_of(&[file("config.yaml", "a: 1"), file("./model/model.py", "class Model: pass")]);
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for (archive, compression) in
        [(plain.clone(), Compression::None), (gzip(&plain), Compression::Gzip), (zstd, Compression::Zstd)]
    {
        let room = Room::new();
        let listing = room.unpack(&archive, &Limits::default()).unwrap();
        assert_eq!(listing.compression, compression);
        assert!(listing.has_file("model/model.py") && listing.has_folder("model") && !listing.has_file("model"));
        assert_eq!(listing.total_bytes, 21);
        assert_eq!(fs::read_to_string(room.inside.join("model/model.py")).unwrap(), "class Model: pass");
        assert_eq!(inspect(&archive[..], &Limits::default()).unwrap(), listing);
    }
}

#[test]
fn a_path_that_leaves_is_refused_by_name() {
    check_refused(&[file("../evil", "x")], "../evil", Refusal::GoesUp);
    check_refused(&[file("a/../../evil", "x")], "a/../../evil", Refusal::GoesUp);
    check_refused(&[file("/etc/evil", "x")], "/etc/evil", Refusal::Absolute);
    check_refused(&[item(EntryType::Directory, "../evil/", "", "")], "../evil/", Refusal::GoesUp);
    check_refused(&[file("a\u{1b}[2J", "x")], "a\u{1b}[2J", Refusal::Unprintable);
}

#[test]
fn a_long_path_that_leaves_is_refused_too() {
    let long = format!("{}/../../../evil", "d/".repeat(80));
    let mut tar = Vec::new();
    append(&mut tar, &item(EntryType::GNULongName, "././@LongLink", "", &format!("{long}\0")));
    append(&mut tar, &file("harmless", "x"));
    let result = inspect(&tar[..], &Limits::default());
    assert!(matches!(&result, Err(Error::Refused { path, problem: Refusal::GoesUp }) if *path == long), "{result:?}");

    let record = |length: usize| format!("{length} path=../evil\n");
    let length = record(10).len();
    let mut tar = Vec::new();
    append(&mut tar, &item(EntryType::XHeader, "pax", "", &record(length)));
    append(&mut tar, &file("harmless", "x"));
    let result = inspect(&tar[..], &Limits::default());
    assert!(matches!(&result, Err(Error::Refused { problem: Refusal::GoesUp, .. })), "{result:?}");
}

#[test]
fn a_link_that_leaves_is_refused_by_name() {
    check_refused(&[symlink("a", "/etc/passwd")], "a", Refusal::LinkEscapes("/etc/passwd".into()));
    check_refused(&[symlink("a/b", "../../x")], "a/b", Refusal::LinkEscapes("../../x".into()));
    check_refused(
        &[symlink("a/b/up", "../.."), symlink("out", "a/b/up/../..")],
        "out",
        Refusal::LinkEscapes("a/b/up/../..".into()),
    );
    check_refused(&[hardlink("a", "/etc/passwd")], "a", Refusal::LinkToNothing("/etc/passwd".into()));
    check_refused(&[hardlink("a", "../x")], "a", Refusal::LinkToNothing("../x".into()));
    check_refused(&[symlink("l", "."), hardlink("a", "l")], "a", Refusal::LinkToNothing("l".into()));
}

#[test]
fn nothing_is_written_through_a_link() {
    check_refused(&[symlink("l", "d"), file("l/x", "x")], "l/x", Refusal::BelowFile("l".into()));
    check_refused(&[symlink("l", "x"), file("l", "x")], "l", Refusal::Duplicate);
    check_refused(&[file("f", "x"), file("f/g", "x")], "f/g", Refusal::BelowFile("f".into()));
}

#[test]
fn links_that_stay_inside_are_kept() {
    let room = Room::new();
    let items = [symlink("a/l", "../b/f"), file("b/f", "text"), hardlink("c/h", "b/f")];
    let listing = room.unpack(&tar_of(&items), &Limits::default()).unwrap();
    assert_eq!(fs::read_to_string(room.inside.join("a/l")).unwrap(), "text");
    assert_eq!(fs::read_to_string(room.inside.join("c/h")).unwrap(), "text");
    assert_eq!(listing.entries[0].kind, Kind::Symlink { target: "../b/f".into() });
}

#[test]
fn what_is_no_file_folder_or_link_is_refused() {
    check_refused(&[item(EntryType::Char, "null", "", "")], "null", Refusal::Special("character device"));
    check_refused(&[item(EntryType::Block, "sda", "", "")], "sda", Refusal::Special("block device"));
    check_refused(&[item(EntryType::Fifo, "pipe", "", "")], "pipe", Refusal::Special("pipe"));
    check_refused(&[item(EntryType::new(b'Q'), "what", "", "")], "what", Refusal::Special("thing of unknown kind"));
    check_refused(&[item(EntryType::Directory, "d/", "", "data")], "d/", Refusal::UnexpectedData);
}

#[test]
fn the_same_path_twice_is_refused() {
    check_refused(&[file("a", "1"), file("./a", "2")], "./a", Refusal::Duplicate);
    check_refused(&[file("a/b", "1"), file("a", "2")], "a", Refusal::Duplicate);
    let folder = || item(EntryType::Directory, "d/", "", "");
    assert!(Room::new().unpack(&tar_of(&[folder(), file("d/f", ""), folder()]), &Limits::default()).is_ok());
}

#[test]
fn set_uid_and_others_permissions_are_dropped() {
    let room = Room::new();
    let program = Item { mode: 0o6777, ..file("run", "") };
    let secret = Item { mode: 0o600, ..file("plain", "") };
    room.unpack(&tar_of(&[program, secret]), &Limits::default()).unwrap();
    let mode = |name: &str| fs::metadata(room.inside.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("run") & !0o755, 0, "{:o}", mode("run"));
    assert_eq!(mode("run") & 0o100, 0o100);
    assert_eq!(mode("plain") & 0o111, 0);
}

#[test]
fn each_limit_refuses_the_entry_that_goes_over() {
    let limits = Limits::default();
    let two = [file("a", "12345"), file("b", "123456")];
    check_too_large(&two, Limits { file_bytes: 5, ..limits }, "b", Limit::FileBytes);
    check_too_large(&two, Limits { total_bytes: 10, ..limits }, "b", Limit::TotalBytes);
    check_too_large(&two, Limits { entries: 1, ..limits }, "b", Limit::Entries);
    check_too_large(&[file("abc", "")], Limits { path_bytes: 2, ..limits }, "abc", Limit::PathBytes);
    let allowed = Limits { file_bytes: 6, total_bytes: 11, entries: 2, path_bytes: 1, ..limits };
    assert!(Room::new().unpack(&tar_of(&two), &allowed).is_ok());
}

#[test]
fn a_size_that_lies_is_stopped_at_the_header() {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..4].copy_from_slice(b"huge");
    header.set_entry_type(EntryType::Regular);
    header.set_size(u64::MAX / 2);
    header.set_mode(0o644);
    header.set_cksum();
    let result = inspect(&header.as_bytes()[..], &Limits::default());
    assert!(matches!(&result, Err(Error::TooLarge { path, .. }) if path == "huge"), "{result:?}");

    let mut tar = Vec::new();
    append(&mut tar, &item(EntryType::XHeader, "pax", "", &format!("29 size={}\n", u64::MAX)));
    append(&mut tar, &file("huge", "x"));
    let result = inspect(&tar[..], &Limits::default());
    assert!(matches!(&result, Err(Error::TooLarge { path, .. }) if path == "huge"), "{result:?}");
}

#[test]
fn an_extension_header_cannot_ask_for_much_memory() {
    let long = item(EntryType::GNULongName, "long", "", &"x".repeat(1 << 20));
    let result = inspect(&tar_of(&[file("a", ""), long])[..], &Limits::default());
    let Err(Error::TooLarge { path, limit: Limit::PathBytes, .. }) = result else { panic!("{result:?}") };
    assert_eq!(path, "the entry after a");
    let endless: Vec<_> = (0..50).map(|_| item(EntryType::XGlobalHeader, "g", "", "")).collect();
    assert!(matches!(inspect(&tar_of(&endless)[..], &Limits::default()), Err(Error::Damaged { .. })));
}

#[test]
fn a_bomb_is_noticed_by_its_ratio() {
    let zeros = Item { data: vec![0; 80 << 20], ..file("zeros", "") };
    let tar = tar_of(&[zeros]);
    for bomb in [gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()] {
        let result = Room::new().unpack(&bomb, &Limits::default());
        assert!(
            matches!(&result, Err(Error::TooLarge { path, limit: Limit::Ratio, .. }) if path == "zeros"),
            "{result:?}"
        );
    }
    assert!(inspect(&tar[..], &Limits::default()).is_ok(), "uncompressed zeros are what they are");
}

#[test]
fn a_cut_archive_is_told_from_a_whole_one_wherever_it_is_cut() {
    let items = || [file("a", "some data"), file("b", &"more ".repeat(300))];
    let whole = tar_of(&items());
    let content = unfinished(&items()).len();
    for length in 512..content {
        let result = inspect(&whole[..length], &Limits::default());
        assert!(matches!(result, Err(Error::Truncated(_))), "cut at {length}: {result:?}");
    }
    let result = inspect(&whole[..content], &Limits::default());
    assert_eq!(result.unwrap_err().to_string(), r#"the archive is cut short after "b"; upload it again"#);
    for compressed in [gzip(&whole), zstd::encode_all(&whole[..], 1).unwrap()] {
        for length in 5..compressed.len() {
            assert!(inspect(&compressed[..length], &Limits::default()).is_err(), "cut at {length}");
        }
    }
}

#[test]
fn what_is_no_archive_is_told_from_a_damaged_one() {
    let check = |bytes: &[u8], expected: &str| {
        assert_eq!(inspect(bytes, &Limits::default()).unwrap_err().to_string(), expected);
    };
    check(&[b'x'; 2000], "the upload is not a tar archive, plain or compressed with gzip or zstd");
    check(b"PK\x03\x04rest", "the archive is compressed with zip; use plain tar, gzip or zstd");
    check(b"\xfd7zXZ\0rest", "the archive is compressed with xz; use plain tar, gzip or zstd");
    let mut tar = tar_of(&[file("a", ""), file("b", "")]);
    tar[512] = b'c';
    check(&tar, r#"the archive is damaged after "a": a header whose checksum is wrong; pack it again"#);
    let mut compressed = gzip(&tar_of(&[file("a", "")]));
    let end = compressed.len() - 5;
    compressed[end] ^= 0xff;
    assert!(matches!(inspect(&compressed[..], &Limits::default()), Err(Error::Damaged { .. })));
}

#[test]
fn a_folder_that_is_in_use_is_not_unpacked_into() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "").unwrap();
    let result = unpack(&tar_of(&[file("a", "")])[..], folder.path(), &Limits::default());
    assert!(matches!(result, Err(Error::Write { .. })), "{result:?}");
    assert!(!folder.path().join("a").exists());
}

fn any_part() -> impl Strategy<Value = String> {
    prop_oneof![Just("..".to_owned()), Just(".".to_owned()), Just(String::new()), "[a-c]{1,2}"]
}

fn any_path() -> impl Strategy<Value = String> {
    (any::<bool>(), prop::collection::vec(any_part(), 1..5))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn any_item() -> impl Strategy<Value = Item> {
    let kind = prop_oneof![
        3 => Just(EntryType::Regular),
        1 => Just(EntryType::Directory),
        3 => Just(EntryType::Symlink),
        1 => Just(EntryType::Link),
    ];
    (kind, any_path(), any_path()).prop_map(|(kind, path, link)| item(kind, &path, &link, ""))
}

fn resolves_inside(path: &Path, root: &Path) -> bool {
    match path.canonicalize() {
        Ok(real) => real.starts_with(root),
        // A link to nothing, or in a circle, leads nowhere at all.
        Err(_) => true,
    }
}

fn assert_all_inside(folder: &Path, root: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(resolves_inside(&path, root), "{path:?} leads out");
        if path.is_dir() && !path.is_symlink() {
            assert_all_inside(&path, root);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Entries are fed one by one, leaving out the refused, so that deep combinations of allowed links are reached.
    #[test]
    fn whatever_an_archive_holds_everything_stays_inside(items in prop::collection::vec(any_item(), 1..12)) {
        let mut accepted: Vec<Item> = Vec::new();
        for item in items {
            accepted.push(item);
            if inspect(&tar_of(&accepted)[..], &Limits::default()).is_err() {
                accepted.pop();
            }
        }
        let room = Room::new();
        room.unpack(&tar_of(&accepted), &Limits::default()).unwrap();
        assert_all_inside(&room.inside, &room.inside.canonicalize().unwrap());
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000), at in 0usize..2000) {
        let _ = inspect(&bytes[..], &Limits::default());
        let mut tar = tar_of(&[file("a", "data"), symlink("b", "a")]);
        let end = tar.len().min(at + bytes.len());
        if at < end {
            tar[at..end].copy_from_slice(&bytes[..end - at]);
        }
        let _ = inspect(&tar[..], &Limits::default());
    }
}
