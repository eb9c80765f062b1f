//! How a command fails: what happened, what to do about it, and the exit code that tells a script which kind it was.

use std::fmt;

/// Kinds of failure. The numbers are exit codes and part of the interface; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whoever read our output went away: nothing is wrong, and nobody is left to tell.
    OutputClosed = 0,
    /// Anything without a number of its own.
    Failed = 1,
    /// A comparison has found differences, and its answer has told them: the same exit code, and nothing more to say.
    Differs = 101,
    /// The command line makes no sense; clap uses the same number.
    Usage = 2,
    /// No key, a wrong one, or one without the permission.
    Auth = 3,
    /// No such model, deployment, environment, secret or key.
    NotFound = 4,
    /// Refused as invalid: a bad value, or a state that does not allow it.
    Invalid = 5,
    /// The build or the start of a deployment failed.
    DeployFailed = 6,
    /// The server cannot be reached, or failed.
    Server = 7,
    /// Took longer than allowed; it may still succeed.
    TimedOut = 8,
    /// Interrupted by the user.
    Interrupted = 130,
}

/// The table that `greenroom --help` ends with.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  success                      5  refused as invalid
  1  failure, or a difference     6  the deployment failed to build or start
  2  wrong usage                  7  the server is unreachable or failed
  3  no key, or not allowed       8  timed out
  4  not found                  130  interrupted";

impl Kind {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Differs => Kind::Failed as u8,
            kind => kind as u8,
        }
    }

    /// The name in `--json` output.
    pub fn name(self) -> &'static str {
        match self {
            Kind::OutputClosed => "output_closed",
            Kind::Failed => "failed",
            Kind::Differs => "differs",
            Kind::Usage => "usage",
            Kind::Auth => "auth",
            Kind::NotFound => "not_found",
            Kind::Invalid => "invalid",
            Kind::DeployFailed => "deploy_failed",
            Kind::Server => "server",
            Kind::TimedOut => "timed_out",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// One failure, ready to be shown.
#[derive(Debug)]
pub struct Failure {
    /// Which kind.
    pub kind: Kind,
    /// One sentence that names the thing and the cause.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What every command returns.
pub type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl From<crate::config::Error> for Failure {
    fn from(error: crate::config::Error) -> Self {
        Failure::new(Kind::Usage, error)
    }
}

/// Says of an I/O error what was being done.
pub fn while_doing(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(Kind::Failed, format!("{what}: {error}"))
}
