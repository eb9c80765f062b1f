//! Programs run as by somebody who has followed the documentation: with what `greenroom client-env` prints.

use std::{path::Path, process::Command};

use crate::harness::{API_KEY, Server};

/// `program ARGS` in a shell that has taken over the lines for a recipe, with nothing of the machine's own configuration.
pub fn command(server: &Server, recipe: &str, home: &Path, program: &Path, args: &[&str]) -> Command {
    let follow = r#"lines=$("$0" client-env --recipe "$1") && eval "$lines" && shift && exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", follow, env!("CARGO_BIN_EXE_greenroom"), recipe]).arg(program).args(args).current_dir(home);
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GREENROOM_URL", &server.url).env("GREENROOM_API_KEY", API_KEY);
    command.env("GREENROOM_DATA_DIR", server.data_dir());
    command
}
