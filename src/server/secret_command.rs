//! A program that prints the server's secret, such as a client of a key management service: run once, without a shell, for so
//! long and with so much output. What it prints is shown to nobody; what it complains of, when it fails.

use std::{os::unix::process::ExitStatusExt as _, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use crate::{
    config,
    failure::{Failure, Kind, Result},
};

/// How long it may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// More than secrets need, and enough of a complaint.
const MOST_BYTES: u64 = 64 << 10;
/// How much of a complaint is shown.
const SHOWN_CHARACTERS: usize = 2000;

/// What the program prints that the configuration gives as `key`.
pub async fn output(key: &'static str, words: &[String]) -> Result<Vec<u8>> {
    output_within(TIME_LIMIT, key, words).await
}

async fn output_within(limit: Duration, key: &'static str, words: &[String]) -> Result<Vec<u8>> {
    let (program, arguments) = words.split_first().expect("a configured command has a word");
    let failed = |what: String| Failure::new(Kind::Failed, format!("`{key}`: {program} {what}"));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(config::variables_of_others());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        failed(format!("cannot be run: {error}"))
            .hint("give the program's whole path, or one that stands in PATH; no shell runs")
    })?;
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let run = async {
        let (printed, complaint) = tokio::join!(bounded(stdout), bounded(stderr));
        (printed, complaint, child.wait().await)
    };
    let Ok((printed, complaint, status)) = tokio::time::timeout(limit, run).await else {
        let message = format!("did not end within {} and was ended", humantime::format_duration(limit));
        return Err(
            failed(message).hint("run it by hand as the server's user: it may wait for input or for the network")
        );
    };
    let status = status.map_err(|error| failed(format!("was lost: {error}")))?;
    if !status.success() {
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => format!("failed with exit code {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
        };
        let complaint: String = String::from_utf8_lossy(&complaint).trim().chars().take(SHOWN_CHARACTERS).collect();
        let said = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
        return Err(
            failed(end + &said).hint("run it by hand as the server's user; it is to print the secret and nothing else")
        );
    }
    if printed.len() as u64 == MOST_BYTES {
        return Err(failed("prints more than a secret".into()).hint("it is to print the secret and nothing else"));
    }
    Ok(printed)
}

/// The beginning of what comes. Whatever more there is meets a closed pipe.
async fn bounded(output: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut content = Vec::new();
    // What was read before an error counts.
    let _ = output.take(MOST_BYTES).read_to_end(&mut content).await;
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of_shell(limit: Duration, script: &str) -> Result<Vec<u8>> {
        output_within(limit, "server_secret.command", &["sh".into(), "-c".into(), script.into()]).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_it_prints_is_taken() {
        assert_eq!(of_shell(LONG, "echo value; echo noise >&2").await.expect("printed"), b"value\n");
    }

    #[tokio::test]
    async fn a_failure_shows_the_complaint_and_never_what_was_printed() {
        let failure = of_shell(LONG, "echo hunter2; echo no such key >&2; exit 3").await.expect_err("it fails");
        assert_eq!(failure.message, "`server_secret.command`: sh failed with exit code 3: no such key");
        assert!(!failure.hint.expect("a remedy").contains("hunter2"));
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_ended() {
        let failure = of_shell(Duration::from_millis(50), "exec sleep 1000").await.expect_err("it takes too long");
        assert!(failure.message.contains("did not end within 50ms"), "{}", failure.message);
    }

    #[tokio::test]
    async fn one_that_prints_without_end_is_ended() {
        let failure = of_shell(LONG, "exec yes").await.expect_err("too much");
        assert!(failure.message.contains("sh"), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let failure = output("server_secret.command", &["/no/such/kms".into()]).await.expect_err("it is not there");
        assert!(
            failure.message.starts_with("`server_secret.command`: /no/such/kms cannot be run"),
            "{}",
            failure.message
        );
    }
}
