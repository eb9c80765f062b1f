//! The only place that prints. Standard output is the answer, standard error is the conversation; with `--json` the answer is one
//! JSON document. Progress shows on terminals only, as lines elsewhere; colour is never needed to understand anything.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    time::Duration,
};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::{Failure, Kind, Result};

/// Prints in one of two ways: for people, or for machines.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
}

impl Printer {
    /// `json` as in `--json`.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the answer is for machines.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The answer: `value` as JSON for machines, or what `show` makes of it for people.
    pub fn answer<T: Serialize>(&self, value: &T, show: impl FnOnce(&T) -> String) -> Result {
        if self.json { self.document(value) } else { self.line(&show(value)) }
    }

    /// The answer as rows under headings.
    pub fn table<T: Serialize>(&self, value: &T, headings: &[&str], rows: Vec<Vec<String>>) -> Result {
        if self.json { self.document(value) } else { self.line(&tabulated(headings, rows)) }
    }

    /// Whether the answer is read by somebody at a terminal, who sees what changes.
    pub fn is_watched(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// All that is to be seen on the terminal, in place of what was there; as much of it as there is room for.
    pub fn screen(&self, text: &str) -> Result {
        let rows = usize::from(console::Term::stdout().size().0.max(2)) - 1;
        let shown: Vec<&str> = text.lines().take(rows).collect();
        to_stdout(format!("{CLEAR}{}\n", shown.join("\n")).as_bytes())
    }

    /// One line of the answer. Nothing when there is nothing to say.
    pub fn line(&self, text: &str) -> Result {
        if text.is_empty() { Ok(()) } else { to_stdout(format!("{text}\n").as_bytes()) }
    }

    /// A JSON value on one line: one item of an answer that goes on and on.
    pub fn json_line<T: Serialize>(&self, value: &T) -> Result {
        let text = serde_json::to_string(value).expect("answers are plain data");
        to_stdout(format!("{text}\n").as_bytes())
    }

    /// A part of an answer whose bytes are not ours.
    pub fn bytes(&self, bytes: &[u8]) -> Result {
        to_stdout(bytes)
    }

    /// One line of conversation.
    pub fn say(&self, text: &str) {
        // A conversation partner who has left is no reason to stop working.
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }

    /// The end of a command that failed.
    pub fn failure(&self, failure: &Failure) {
        if matches!(failure.kind, Kind::OutputClosed | Kind::Differs) {
            return;
        }
        self.say(&format!("error: {}", failure.message));
        if let Some(hint) = &failure.hint {
            self.say(&format!("hint: {hint}"));
        }
        if self.json {
            let error =
                serde_json::json!({"kind": failure.kind.name(), "message": failure.message, "hint": failure.hint});
            let _ = self.document(&serde_json::json!({ "error": error }));
        }
    }

    /// A bar that fills as bytes go by.
    pub fn bar(&self, label: &str, bytes: u64) -> Progress {
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .expect("a valid template")
            .progress_chars("=> ");
        Progress::new(*self, label, ProgressBar::new(bytes).with_style(style))
    }

    /// A spinner for work of unknown length.
    pub fn spinner(&self, label: &str) -> Progress {
        let style =
            ProgressStyle::with_template("{spinner} {msg} ({elapsed}) {prefix:.dim}").expect("a valid template");
        let progress = Progress::new(*self, label, ProgressBar::new_spinner().with_style(style));
        progress.bar.enable_steady_tick(Duration::from_millis(120));
        progress
    }

    /// Whether somebody is there to be asked.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Asks yes or no; no where nobody can be asked.
    pub fn confirm(&self, question: &str) -> bool {
        if !self.can_ask() {
            return false;
        }
        let _ = write!(anstream::stderr().lock(), "{question} [y/N] ");
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
    }

    /// A value nobody should see: typed unseen on a terminal, or all of standard input without its last line end.
    pub fn read_secret(&self, prompt: &str) -> Result<String> {
        let unreadable = |error| Failure::new(Kind::Failed, format!("cannot read {prompt}: {error}"));
        if io::stdin().is_terminal() {
            let _ = write!(anstream::stderr().lock(), "{prompt}: ");
            return console::Term::stderr().read_secure_line().map_err(unreadable);
        }
        let mut value = String::new();
        io::stdin().lock().read_to_string(&mut value).map_err(unreadable)?;
        Ok(without_line_end(&value).to_owned())
    }

    /// A JSON document, whoever asks.
    pub fn document<T: Serialize>(&self, value: &T) -> Result {
        let text = serde_json::to_string_pretty(value).expect("answers are plain data");
        to_stdout(format!("{text}\n").as_bytes())
    }
}

/// A text without its last line end.
pub fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// To the first place of the screen, and everything from there on away.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Rows under headings, in columns.
pub fn tabulated(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn to_stdout(bytes: &[u8]) -> Result {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Kind::OutputClosed, "output closed"),
        _ => Failure::new(Kind::Failed, format!("cannot write the answer: {error}")),
    })
}

/// Work under way. Vanishes from the terminal when dropped.
#[derive(Debug)]
pub struct Progress {
    printer: Printer,
    bar: ProgressBar,
    is_drawn: bool,
}

impl Progress {
    fn new(printer: Printer, label: &str, bar: ProgressBar) -> Self {
        let is_drawn = io::stderr().is_terminal();
        bar.set_draw_target(if is_drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        bar.set_message(label.to_owned());
        if !is_drawn {
            printer.say(label);
        }
        Self { printer, bar, is_drawn }
    }

    /// Says what is being done now.
    pub fn label(&self, label: &str) {
        if !self.is_drawn && self.bar.message() != label {
            self.printer.say(label);
        }
        self.bar.set_message(label.to_owned());
    }

    /// The latest small thing that happened; shown on terminals only.
    pub fn detail(&self, text: &str) {
        let short: String = text.chars().take(60).collect();
        self.bar.set_prefix(short);
    }

    /// So many bytes more have gone by.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// One line of conversation, above the progress.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| self.printer.say(text));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
