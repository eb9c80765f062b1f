//! Runs a tool and passes its output on, line by line, while it runs. A tool never outlives the build that asked for it.

use std::{
    collections::VecDeque,
    io,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use api::internal::replica::{Level, LogLine};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use planner::Clock;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Command,
};

use crate::BuildOutput;

/// The longest line that is passed on whole.
const LINE_BYTES: u64 = 16 << 10;
/// Lines kept to say why a tool failed.
const LAST_LINES: usize = 40;

/// Where a build's lines go, each with the time it was said.
pub(super) struct Say {
    output: Arc<dyn BuildOutput>,
    clock: Clock,
    /// The time of the last line: each gets a later one, so that sorting by time keeps their order.
    last_ns: AtomicI64,
}

impl Say {
    pub fn new(output: Arc<dyn BuildOutput>, clock: Clock) -> Self {
        Self { output, clock, last_ns: AtomicI64::new(0) }
    }

    pub fn info(&self, message: impl Into<String>) {
        self.line(Level::Info, message.into());
    }

    pub fn warning(&self, message: impl Into<String>) {
        self.line(Level::Warning, message.into());
    }

    fn line(&self, level: Level, message: String) {
        let now_ns = i64::try_from((self.clock)().0.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let later = |last: i64| now_ns.max(last.saturating_add(1));
        let last = self.last_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
        let timestamp_ns = last.map_or(now_ns, later);
        self.output.line(LogLine { timestamp_ns, level: Some(level), request_id: None, message });
    }
}

/// How a tool ended.
pub(super) struct Finished {
    pub status: ExitStatus,
    /// The last lines it wrote.
    pub last_lines: Vec<String>,
}

/// Runs a command to its end. Dropping the future kills it with all its children.
pub(super) async fn run(mut command: Command, say: &Say) -> io::Result<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let _group = Group(child.id());
    let last_lines = Mutex::new(VecDeque::new());
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let wait = async {
        let status = child.wait().await;
        // What it left running in the background would keep its output open for ever.
        Group::kill(_group.0);
        status
    };
    let (status, ..) = tokio::join!(wait, relay(stdout, say, &last_lines), relay(stderr, say, &last_lines));
    let last_lines = last_lines.into_inner().expect("no holder of this lock panics").into();
    Ok(Finished { status: status?, last_lines })
}

async fn relay(stream: impl AsyncRead + Unpin, say: &Say, last_lines: &Mutex<VecDeque<String>>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(read) = (&mut stream).take(LINE_BYTES).read_until(b'\n', &mut line).await {
        if read == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            continue;
        }
        say.line(level_of(&text), text.clone());
        let mut last_lines = last_lines.lock().expect("no holder of this lock panics");
        if last_lines.len() == LAST_LINES {
            last_lines.pop_front();
        }
        last_lines.push_back(text);
    }
}

fn level_of(line: &str) -> Level {
    let start = line.trim_start().to_ascii_lowercase();
    match start {
        _ if start.starts_with("error") || start.starts_with('×') => Level::Error,
        _ if start.starts_with("warning") || start.starts_with("warn:") => Level::Warning,
        _ => Level::Info,
    }
}

/// A process group of our own making, by its leader's id; killed when dropped.
struct Group(Option<u32>);

impl Group {
    fn kill(id: Option<u32>) {
        if let Some(id) = id.and_then(|id| i32::try_from(id).ok()) {
            // The group is gone already in the ordinary case.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        Self::kill(self.0);
    }
}
