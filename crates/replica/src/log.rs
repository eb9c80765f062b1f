//! `log.jsonl`: every line that the model process writes, and what the replica has to tell its author.
//!
//! The file only ever grows at its end, so a reader can keep a byte offset. It is bounded in two ways. Lines beyond a sustained
//! [`RATE`] are dropped, and a line says how many. When the file is [`HISTORY`] longer than what was let go, the older half of
//! that is given back to the disk: offsets stay as they are, and the range reads as zero bytes, which a reader skips like any
//! line that is not JSON. Where the file system cannot do that, the log ends with a line that says so.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Write as _},
    path::Path,
    rc::Rc,
    time::Duration,
};

use api::internal::replica::{Level, LogLine};
use nix::fcntl::{FallocateFlags, fallocate};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};

/// Bytes of output a second that are kept in the long run.
const RATE: u64 = 1 << 20;

/// Bytes that may come at once.
const BURST: u64 = 16 << 20;

/// Bytes of log that stay readable at least half.
const HISTORY: u64 = 64 << 20;

/// A longer line is cut into several.
const LINE_LIMIT: usize = 64 << 10;

/// The log file and what bounds it.
pub struct Log {
    state: RefCell<State>,
}

struct State {
    file: File,
    length: u64,
    released: u64,
    is_full: bool,
    allowance: u64,
    refilled: Instant,
    dropped: u64,
    last_lines: std::collections::VecDeque<String>,
}

impl Log {
    /// Opens the file for appending.
    pub fn open(path: &Path) -> io::Result<Rc<Self>> {
        let file = File::options().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        let state = State {
            file,
            length,
            released: 0,
            is_full: false,
            allowance: BURST,
            refilled: Instant::now(),
            dropped: 0,
            last_lines: Default::default(),
        };
        Ok(Rc::new(Self { state: RefCell::new(state) }))
    }

    /// Something that the platform has to say.
    pub fn say(&self, level: Level, message: impl Into<String>) {
        let line = LogLine { timestamp_ns: now_ns(), level: Some(level), request_id: None, message: message.into() };
        self.state.borrow_mut().append(&line);
    }

    /// The last lines of output, for a process that ended without a word of its own.
    pub fn last_lines(&self) -> Option<String> {
        let state = self.state.borrow();
        (!state.last_lines.is_empty()).then(|| Vec::from(state.last_lines.clone()).join("\n"))
    }

    /// Takes in one stream of output until it ends.
    pub async fn follow(self: Rc<Self>, mut output: impl AsyncRead + Unpin) {
        let mut pending = Vec::with_capacity(8 * 1024);
        loop {
            match output.read_buf(&mut pending).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let mut start = 0;
            while let Some(length) = line_length(&pending[start..]) {
                self.line(&pending[start..start + length]);
                let end = start + length;
                start = end + usize::from(pending.get(end) == Some(&b'\n'));
            }
            pending.drain(..start);
        }
        if !pending.is_empty() {
            self.line(&pending);
        }
    }

    fn line(&self, raw: &[u8]) {
        let text = String::from_utf8_lossy(raw.strip_suffix(b"\r").unwrap_or(raw));
        let line = parse(&text, now_ns());
        let mut state = self.state.borrow_mut();
        if state.last_lines.len() == 20 {
            state.last_lines.pop_front();
        }
        state.last_lines.push_back(line.message.clone());
        if state.admit(raw.len() as u64 + 100) {
            state.append(&line);
        }
    }
}

/// How much of `input` is a line, when its end has come or it is too long.
fn line_length(input: &[u8]) -> Option<usize> {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => Some(end.min(LINE_LIMIT)),
        None => (input.len() >= LINE_LIMIT).then_some(LINE_LIMIT),
    }
}

impl State {
    /// Whether a line fits the rate. Tells how many did not, when it fits again.
    fn admit(&mut self, size: u64) -> bool {
        let now = Instant::now();
        let elapsed = now - self.refilled;
        if elapsed >= Duration::from_millis(10) {
            let earned = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_mul(RATE) / 1000;
            self.allowance = self.allowance.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        // After running dry, wait for a little more than one line: otherwise every other line would be a count.
        let needed = if self.dropped > 0 { size + RATE / 4 } else { size };
        if self.allowance < needed {
            self.dropped += 1;
            return false;
        }
        self.allowance -= size;
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let message = format!("{dropped} lines were dropped: more than {RATE} bytes a second");
            self.append(&LogLine { timestamp_ns: now_ns(), level: Some(Level::Warning), request_id: None, message });
        }
        true
    }

    fn append(&mut self, line: &LogLine) {
        if self.is_full {
            return;
        }
        let mut bytes = serde_json::to_vec(line).expect("a log line becomes JSON");
        bytes.push(b'\n');
        if let Err(error) = self.file.write_all(&bytes) {
            tracing::error!(%error, "cannot write the log");
        }
        self.length += bytes.len() as u64;
        if self.length - self.released > HISTORY {
            self.release();
        }
    }

    /// Gives the older half of the history back to the disk.
    fn release(&mut self) {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let half = (HISTORY / 2) as i64;
        match fallocate(&self.file, flags, self.released as i64, half) {
            Ok(()) => self.released += HISTORY / 2,
            Err(error) => {
                let message = format!("log limit reached: nothing more is kept ({error})");
                self.released = self.length;
                self.append(&LogLine { timestamp_ns: now_ns(), level: Some(Level::Error), request_id: None, message });
                self.is_full = true;
            }
        }
    }
}

/// The fields of a JSON log line that mean something to us.
#[derive(Deserialize)]
struct Structured {
    message: String,
    #[serde(alias = "levelname")]
    level: Option<String>,
    request_id: Option<String>,
    exc_info: Option<String>,
}

/// A line of output: JSON with a message, or plain text.
fn parse(text: &str, timestamp_ns: i64) -> LogLine {
    let structured = text.starts_with('{').then(|| serde_json::from_str::<Structured>(text).ok()).flatten();
    match structured {
        None => LogLine { timestamp_ns, level: None, request_id: None, message: text.to_owned() },
        Some(line) => {
            let message = match line.exc_info {
                Some(traceback) => format!("{}\n{traceback}", line.message),
                None => line.message,
            };
            let level = line.level.as_deref().and_then(level_of);
            LogLine { timestamp_ns, level, request_id: line.request_id, message }
        }
    }
}

fn level_of(name: &str) -> Option<Level> {
    Some(match name.to_ascii_uppercase().as_str() {
        "TRACE" | "DEBUG" => Level::Debug,
        "INFO" | "NOTICE" => Level::Info,
        "WARNING" | "WARN" => Level::Warning,
        "ERROR" | "CRITICAL" | "FATAL" => Level::Error,
        _ => return None,
    })
}

#[expect(clippy::disallowed_methods, reason = "a line is stamped where it is taken in; nothing is decided by it")]
/// Nanoseconds since the Unix epoch.
pub fn now_ns() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<LogLine> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line.trim_start_matches('\0')).unwrap()).collect()
    }

    #[test]
    fn a_json_line_gives_its_level_request_and_traceback() {
        let line = parse(r#"{"levelname":"ERROR","message":"no","request_id":"r1","exc_info":"Traceback"}"#, 5);
        assert_eq!(line.level, Some(Level::Error));
        assert_eq!(line.request_id.as_deref(), Some("r1"));
        assert_eq!(line.message, "no\nTraceback");
    }

    #[test]
    fn anything_else_is_text() {
        for text in ["plain", "{not json", r#"{"a": 1}"#] {
            assert_eq!(parse(text, 5).message, text);
        }
    }

    #[tokio::test]
    async fn output_becomes_lines_even_without_line_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let log = Log::open(&path).unwrap();
        let long = "x".repeat(LINE_LIMIT + 10);
        log.follow(format!("one\r\n\n{long}\nlast").as_bytes()).await;
        let messages: Vec<usize> = read(&path).iter().map(|line| line.message.len()).collect();
        assert_eq!(messages, [3, 0, LINE_LIMIT, 10, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn runaway_output_is_dropped_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let log = Log::open(&path).unwrap();
        let line = "y".repeat(60_000);
        for _ in 0..400 {
            log.line(line.as_bytes());
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        log.line(b"calm again");
        let lines = read(&path);
        assert!(lines.len() < 300, "{}", lines.len());
        assert!(lines[lines.len() - 2].message.contains("lines were dropped"));
        assert_eq!(lines.last().unwrap().message, "calm again");
    }

    #[tokio::test(start_paused = true)]
    async fn old_lines_are_given_back_without_moving_new_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let log = Log::open(&path).unwrap();
        let line = "z".repeat(60_000);
        for _ in 0..1200 {
            tokio::time::advance(Duration::from_secs(1)).await;
            log.line(line.as_bytes());
        }
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() > HISTORY);
        assert!(metadata.blocks() * 512 < HISTORY, "{}", metadata.blocks());
    }
}
