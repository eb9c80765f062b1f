//! Reading a replica's log: whole lines, from where the last reader stopped.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
};

use api::{
    id::ReplicaId,
    internal::replica::{LogLine, file},
};

use super::Local;
use crate::{BackendError, LogChunk};

/// The most of a log that is read at once.
const LOG_BYTES: u64 = 1 << 20;

impl Local {
    pub(super) fn read_replica_log(&self, id: &ReplicaId, cursor: u64) -> Result<LogChunk, BackendError> {
        let path = self.replica_folder(id).join(file::LOG);
        let is_alive = self.is_alive(id) || self.is_starting(id);
        match read_log(&path, cursor, is_alive) {
            Ok(chunk) => Ok(chunk),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LogChunk { cursor, ..LogChunk::default() }),
            Err(source) => Err(BackendError { what: format!("cannot read the log of replica {id}"), source }),
        }
    }
}

/// Whole lines from `cursor` on. A last line without an end is waited for while its writer lives.
fn read_log(path: &Path, cursor: u64, is_alive: bool) -> io::Result<LogChunk> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // A line that makes no sense still belongs somewhere in time.
    let written_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    file.seek(SeekFrom::Start(cursor))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let is_full = bytes.len() as u64 == LOG_BYTES;
    let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(last) if is_alive || is_full => last + 1,
        None if is_alive && !is_full => 0,
        // The end of a log that nobody writes any more, or a line longer than all that is read at once.
        _ => bytes.len(),
    };
    let lines = bytes[..whole].split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| read_line(line, written_ns)).collect();
    let cursor = cursor + whole as u64;
    Ok(LogChunk { lines, cursor, more: whole > 0 && cursor < metadata.len() })
}

/// A line, unless it is empty or began in a part of the log that the replica gave back to the disk, which reads as zero bytes.
fn read_line(line: &[u8], written_ns: i64) -> Option<LogLine> {
    let given_back = line.iter().take_while(|byte| **byte == 0).count();
    let rest = &line[given_back..];
    match given_back {
        _ if rest.is_empty() => None,
        0 => Some(parse_line(rest, written_ns)),
        // What is left is a whole line or the end of one.
        _ => serde_json::from_slice(rest).ok(),
    }
}

fn parse_line(line: &[u8], written_ns: i64) -> LogLine {
    serde_json::from_slice(line).unwrap_or_else(|_| LogLine {
        timestamp_ns: written_ns,
        level: None,
        request_id: None,
        message: String::from_utf8_lossy(line).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(content: &str, cursor: u64, is_alive: bool, expected: &[&str], expected_cursor: u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        fs::write(&path, content).unwrap();
        let chunk = read_log(&path, cursor, is_alive).unwrap();
        let messages: Vec<&str> = chunk.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!((messages.as_slice(), chunk.cursor), (expected, expected_cursor), "{content:?}");
        assert!(chunk.lines.iter().all(|line| line.timestamp_ns > 0));
    }

    const LINE: &str = r#"{"timestamp_ns":1,"level":"INFO","request_id":null,"message":"hello"}"#;

    #[test]
    fn a_log_is_read_by_whole_lines_and_damaged_ones_are_passed_on_as_text() {
        let length = LINE.len() as u64;
        check(&format!("{LINE}\n{LINE}\n"), 0, true, &["hello", "hello"], 2 * length + 2);
        check(&format!("{LINE}\n{LINE}\n"), length + 1, true, &["hello"], 2 * length + 2);
        check(&format!("{LINE}\nhalf a l"), 0, true, &["hello"], length + 1);
        check(&format!("{LINE}\nhalf a l"), 0, false, &["hello", "half a l"], length + 9);
        check("not json\n", 0, true, &["not json"], 9);
        check("", 0, true, &[], 0);
    }

    #[test]
    fn what_was_given_back_to_the_disk_is_skipped() {
        let length = LINE.len() as u64;
        let hole = "\0".repeat(4096);
        let end = |shown: &str| (hole.len() + shown.len()) as u64;
        let whole = format!("{LINE}\n{LINE}\n");
        check(&format!("{hole}{whole}"), 0, true, &["hello", "hello"], end(&whole));
        let cut = format!("{}\n{LINE}\n", &LINE[20..]);
        check(&format!("{hole}{cut}"), 0, true, &["hello"], end(&cut));
        check(&hole, 0, true, &[], 0);
        check(&hole, 0, false, &[], end(""));
        check(&format!("{LINE}\n{hole}"), 0, false, &["hello"], length + 1 + end(""));
    }

    #[test]
    fn a_hole_longer_than_one_piece_leads_to_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut content = vec![0; 2 * LOG_BYTES as usize + 7];
        content.extend_from_slice(format!("{LINE}\n").as_bytes());
        fs::write(&path, content).unwrap();
        let (mut cursor, mut lines) = (0, Vec::new());
        loop {
            let chunk = read_log(&path, cursor, true).unwrap();
            lines.extend(chunk.lines);
            cursor = chunk.cursor;
            if !chunk.more {
                break;
            }
        }
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].message, "hello");
    }

    #[test]
    fn a_long_log_is_read_in_pieces_that_leave_nothing_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let count = 2 * LOG_BYTES as usize / LINE.len();
        fs::write(&path, format!("{LINE}\n").repeat(count)).unwrap();
        let (mut cursor, mut lines) = (0, 0);
        loop {
            let chunk = read_log(&path, cursor, true).unwrap();
            lines += chunk.lines.len();
            cursor = chunk.cursor;
            if !chunk.more {
                break;
            }
        }
        assert_eq!(lines, count);
        fs::write(&path, "x".repeat(LOG_BYTES as usize + 5)).unwrap();
        let first = read_log(&path, 0, true).unwrap();
        assert_eq!((first.lines.len(), first.cursor, first.more), (1, LOG_BYTES, true));
    }
}
