//! Stories: a few commands in, and what happened in the world out, as text that people review.
//!
//! A line that begins with `>` is a command; everything else is what follows from it. Commands: `model loads in 5s`,
//! `model fails to load after 2s`, `model crashes after 1s`, `model crashes loading after 1s`, `model hangs`,
//! `build takes 20s`, `build fails after 3s`, `settings min=0 max=1 delay=900s timeout=60m`, `wait 30s`, `requests 3`,
//! `request`, `wake`, `kill`, `move`, `leave`, `activate`, `deactivate`, `retry`, `stop build`, `restart`, `clock back 1h`.

use std::fmt::Write;

use super::{Builder, Model, World};
use crate::{
    deployment::Why,
    lifecycle::Refusal,
    replica_set::{self, Stay},
};

/// Runs the commands of a story and tells it again, with what happens now.
pub fn tell(story: &str) -> Result<String, String> {
    let mut teller = Teller { world: World::new(), last: None };
    retell(story, |told, command| teller.run(told, command))
}

/// A story, as far as it has been told.
#[derive(Default)]
pub(super) struct Told(String);

impl Told {
    /// One more line.
    pub(super) fn say(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).and_then(|()| self.0.write_char('\n')).expect("a string takes all text");
    }
}

/// Tells a story again: its comments, its commands, and what `run` says after each command.
pub(super) fn retell(
    story: &str,
    mut run: impl FnMut(&mut Told, &str) -> Result<(), String>,
) -> Result<String, String> {
    let mut told = Told::default();
    for line in story.lines() {
        if let Some(command) = line.strip_prefix('>') {
            told.say(format_args!("> {}", command.trim()));
            run(&mut told, command.trim()).map_err(|error| format!("{error}\n\n{}", told.0))?;
        } else if line.starts_with('#') {
            told.say(format_args!("{line}"));
        }
    }
    Ok(told.0)
}

struct Teller {
    world: World,
    last: Option<String>,
}

impl Teller {
    fn run(&mut self, told: &mut Told, command: &str) -> Result<(), String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["model", behaviour @ ..] => self.world.model = model(behaviour)?,
            ["build", "takes", time] => self.world.builder = Builder::Succeeds(millis(time)?),
            ["build", "fails", "after", time] => self.world.builder = Builder::Fails(millis(time)?),
            ["settings", settings @ ..] => settings.iter().try_for_each(|setting| self.set(setting))?,
            ["wait", time] => return self.wait(told, millis(time)?),
            ["requests", count] => self.world.steady_requests = number(count)?,
            ["request"] => self.world.request(),
            ["wake"] => self.world.wake(),
            ["move"] => self.world.move_replicas(Stay::UntilReplaced),
            ["leave"] => self.world.move_replicas(Stay::Leaves),
            ["kill"] => self.world.kill_replicas(),
            ["restart"] => self.world.restart_shell(),
            ["clock", "back", time] => self.world.step_clock_back(millis(time)?),
            ["activate"] => self.tell_refusal(told, World::activate),
            ["deactivate"] => self.tell_refusal(told, World::deactivate),
            ["retry"] => self.tell_refusal(told, World::retry),
            ["stop", "build"] => self.tell_refusal(told, World::stop_build),
            _ => return Err(format!("not a command: {command}")),
        }
        Ok(())
    }

    fn set(&mut self, setting: &str) -> Result<(), String> {
        match setting.split_once('=') {
            Some(("min", value)) => self.world.settings.min_replica = number(value)?,
            Some(("max", value)) => self.world.settings.max_replica = number(value)?,
            Some(("delay", value)) => self.world.settings.scale_down_delay_s = whole_seconds(value)?,
            Some(("timeout", value)) => self.world.deploy_timeout_ms = millis(value)?,
            _ => return Err(format!("not a setting: {setting}")),
        }
        Ok(())
    }

    fn tell_refusal(&mut self, told: &mut Told, command: impl FnOnce(&mut World) -> Result<(), Refusal>) {
        if let Err(refusal) = command(&mut self.world) {
            told.say(format_args!("          refused: {refusal}"));
        }
    }

    fn wait(&mut self, told: &mut Told, ms: u64) -> Result<(), String> {
        let mut news = Vec::new();
        let mut last = self.last.take();
        let result = self.world.run_for_and(ms, |world| {
            let picture = picture(world);
            if last.as_ref() != Some(&picture) {
                news.push(format!("{:>9} {}", clock(world.elapsed_ms), sentence(world)));
                last = Some(picture);
            }
        });
        self.last = last;
        for line in news {
            told.say(format_args!("{line}"));
        }
        result
    }
}

/// What makes a new line worth telling: everything but the shrinking time of a wait.
fn picture(world: &World) -> String {
    let why = match world.why() {
        Some(Why::Replicas(replica_set::Why::BackingOff { failures, .. })) => format!("backing off {failures}"),
        Some(why) => why.to_string(),
        None => String::new(),
    };
    format!("{} {} {} {why}", world.status(), world.observed().ready, world.state().target)
}

fn sentence(world: &World) -> String {
    let why = world.why().map(ToString::to_string).unwrap_or_default();
    let failure = world.state().failure_message().map(|message| format!(" ({message})")).unwrap_or_default();
    let status = world.status().to_string();
    format!("{status:<14} {} of {} ready, {why}{failure}", world.observed().ready, world.state().target)
}

/// How a model behaves, in words.
pub(super) fn model(behaviour: &[&str]) -> Result<Model, String> {
    Ok(match behaviour {
        ["loads", "in", time] => Model::Loads(millis(time)?),
        ["fails", "to", "load", "after", time] => Model::FailsToLoad(millis(time)?),
        ["crashes", "after", time] => Model::Crashes(millis(time)?),
        ["crashes", "loading", "after", time] => Model::CrashesLoading(millis(time)?),
        ["hangs"] => Model::Hangs,
        _ => return Err(format!("a model does not do this: {}", behaviour.join(" "))),
    })
}

pub(super) fn clock(elapsed_ms: u64) -> String {
    let seconds = elapsed_ms / 1_000;
    format!("{}:{:02}:{:02}.{}", seconds / 3_600, seconds / 60 % 60, seconds % 60, elapsed_ms % 1_000 / 100)
}

pub(super) fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

pub(super) fn whole_seconds(text: &str) -> Result<u32, String> {
    Ok(u32::try_from(millis(text)? / 1_000).unwrap_or(u32::MAX))
}

pub(super) fn millis(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("not a time: {text}")),
    };
    digits.parse::<u64>().map(|count| count * unit).map_err(|_| format!("not a time: {text}"))
}
