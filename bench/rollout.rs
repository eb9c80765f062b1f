//! What callers notice of promotions. Plays the scenes of the black-box test under constant load, for as long as it is let, and prints
//! for each: requests, failures, the longest that one of them took, and when the new version answered first and the old one last.

#[path = "../tests/it/actors.rs"]
mod actors;
#[path = "../tests/it/harness.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod harness;
#[path = "../tests/it/load.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod load;
#[path = "../tests/it/play.rs"]
mod play;
#[path = "../tests/it/stage.rs"]
mod stage;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser as _;

use crate::play::{Play, Scene};

/// What `cargo bench --bench rollout --` takes.
#[derive(clap::Parser)]
struct Options {
    /// Begin no scene after so many seconds.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mut play = Play::begin().await;
    let end = Instant::now() + Duration::from_secs_f64(options.seconds);
    say(&format!(
        "{:<17} {:>9} {:>8} {:>8} {:>10} {:>10} {:>10}",
        "scene", "requests", "per s", "failures", "longest", "first new", "last old"
    ));
    let mut before = play.load.tally();
    for scene in Scene::ALL.into_iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        let [old, new] = play.versions().map(str::to_owned);
        let begun = Instant::now();
        play.act(scene).await;
        let after = play.load.tally();
        let stays = play.versions()[0] == new;
        let since = |moment: Instant| millis(moment.saturating_duration_since(play.promoted_at));
        let first_new = after.versions.get(&new).map(|(first, _)| since(*first));
        // Where the new version does not stay, the old one has no last answer.
        let last_old = after.versions.get(&old).filter(|_| stays).map(|(_, last)| since(*last));
        let requests = after.answered.len() - before.answered.len();
        say(&format!(
            "{:<17} {requests:>9} {:>8.0} {:>8} {:>10} {:>10} {:>10}",
            format!("{scene:?}"),
            requests as f64 / begun.elapsed().as_secs_f64(),
            after.failures.len() - before.failures.len(),
            millis(after.longest_since_mark),
            first_new.unwrap_or_else(|| "-".to_owned()),
            last_old.unwrap_or_else(|| "-".to_owned()),
        ));
        before = after;
    }
    let twice = play.ledger.twice().len();
    let seen = play.load.stop();
    say(&format!(
        "\n{} requests, {} failed, {twice} executed twice, {} met by a kill of the server, {} the longest",
        seen.answered.len(),
        seen.failures.len(),
        seen.interrupted,
        millis(seen.longest)
    ));
    for problem in seen.failures.iter().take(10) {
        say(&format!("  {problem}"));
    }
    ExitCode::from(u8::from(twice + seen.failures.len() > 0))
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn say(text: &str) {
    println!("{text}");
}
