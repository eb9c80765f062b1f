//! Stories of promotions: a few commands in, and what happened in the world out, as text that people review.
//!
//! Before `promote`: `mode immediate`, `mode canary 10m`, `mode surge 25`, `mode unavailable 25`, `in place`,
//! `stabilization 30s`, `overhead 50`, `min ready 10s`, `timeout 10m`, `scale min=1 max=4 delay=60s`, `previous 4`, `no previous`,
//! `candidate runs 2`, `candidate builds for 20s`. At any time: `candidate loads in 5s` and the other ways of a model, `previous ...`
//! likewise, `requests 3`, `room 5`, `wait 30s`, `kill candidate 1`, `kill previous 2`, `deactivate candidate`, `fail build`,
//! `restart`, `die after saving`, `clock back 1h`, `pause`, `resume`, `cancel`, `force cancel`, `force roll forward`.

use super::{
    fleet::Fleet,
    rollout::{BEGINNING, Rollout},
    script::{Told, clock, millis, model, number, retell, whole_seconds},
};
use crate::{
    autoscale,
    promotion::{Cleanup, Command, Mode, Room, Settings, Step, Targets},
};

/// Runs the commands of a story and tells it again, with what happens now.
pub fn tell(story: &str) -> Result<String, String> {
    let mut teller = Teller { stage: Stage::new(), world: None, last: None };
    retell(story, |told, command| teller.run(told, command))
}

/// What a promotion will begin with.
struct Stage {
    settings: Settings,
    autoscaling: autoscale::Settings,
    candidate: Start,
    previous: Option<u32>,
}

#[derive(Clone, Copy)]
enum Start {
    Builds(u64),
    Runs(u32),
}

impl Stage {
    fn new() -> Self {
        let settings = Settings {
            mode: Mode::Immediate,
            cleanup: Cleanup::ScaleToZero,
            room: Room::Beside,
            deploy_timeout_ms: 600_000,
            min_ready_ms: 0,
        };
        let autoscaling = autoscale::Settings { max_replica: 10, ..autoscale::Settings::default() };
        Self { settings, autoscaling, candidate: Start::Runs(0), previous: Some(1) }
    }

    /// Carries out a command; says whether it is one of its own.
    fn run(&mut self, words: &[&str]) -> Result<bool, String> {
        match (words, &mut self.settings.mode) {
            (["mode", "immediate"], mode) => *mode = Mode::Immediate,
            (["mode", "canary", time], mode) => *mode = Mode::Canary { duration_ms: millis(time)? },
            (["mode", "surge", percent], mode) => *mode = rolling(Step::Surge(number(percent)?)),
            (["mode", "unavailable", percent], mode) => *mode = rolling(Step::Unavailable(number(percent)?)),
            (["stabilization", time], Mode::Rolling { stabilization_ms, .. }) => *stabilization_ms = millis(time)?,
            (["overhead", percent], Mode::Rolling { overhead_percent, .. }) => *overhead_percent = number(percent)?,
            (["in", "place"], _) => self.settings.room = Room::InPlace,
            (["min", "ready", time], _) => self.settings.min_ready_ms = millis(time)?,
            (["timeout", time], _) => self.settings.deploy_timeout_ms = millis(time)?,
            (["scale", bounds @ ..], _) => bounds.iter().try_for_each(|bound| scale(&mut self.autoscaling, bound))?,
            (["previous", count], _) => self.previous = Some(number(count)?),
            (["no", "previous"], _) => self.previous = None,
            (["candidate", "runs", count], _) => self.candidate = Start::Runs(number(count)?),
            (["candidate", "builds", "for", time], _) => self.candidate = Start::Builds(millis(time)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn promote(&self) -> Rollout {
        let fleet = |start| match start {
            Start::Builds(ms) => Fleet::pushed(BEGINNING, self.autoscaling.clone(), ms),
            Start::Runs(0) => Fleet::built(BEGINNING, self.autoscaling.clone()),
            Start::Runs(count) => Fleet::serving(BEGINNING, count, self.autoscaling.clone()),
        };
        let previous = self.previous.map(|count| Fleet::serving(BEGINNING, count, self.autoscaling.clone()));
        Rollout::new(self.settings.clone(), self.autoscaling.clone(), fleet(self.candidate), previous, 0)
    }
}

fn rolling(step: Step) -> Mode {
    Mode::Rolling { step, stabilization_ms: 0, overhead_percent: 0 }
}

fn scale(settings: &mut autoscale::Settings, bound: &str) -> Result<(), String> {
    match bound.split_once('=') {
        Some(("min", value)) => settings.min_replica = number(value)?,
        Some(("max", value)) => settings.max_replica = number(value)?,
        Some(("delay", value)) => settings.scale_down_delay_s = whole_seconds(value)?,
        _ => return Err(format!("not a bound: {bound}")),
    }
    Ok(())
}

struct Teller {
    stage: Stage,
    world: Option<Rollout>,
    last: Option<String>,
}

impl Teller {
    fn run(&mut self, told: &mut Told, command: &str) -> Result<(), String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let Some(world) = &mut self.world else {
            if words == ["promote"] {
                self.world = Some(self.stage.promote());
                return Ok(());
            }
            return match self.stage.run(&words)? {
                true => Ok(()),
                false => Err(format!("not a command before `promote`: {command}")),
            };
        };
        let at = world.elapsed_ms;
        match words.as_slice() {
            ["wait", time] => return self.wait(told, millis(time)?),
            ["requests", count] => world.requests = number(count)?,
            ["room", count] => world.room = number(count)?,
            ["kill", "candidate", count] => world.candidate.kill(at, number(count)?),
            ["kill", "previous", count] => world.previous.as_mut().ok_or("no previous")?.kill(at, number(count)?),
            ["candidate", behaviour @ ..] => world.candidate.model = model(behaviour)?,
            ["previous", behaviour @ ..] => world.previous.as_mut().ok_or("no previous")?.model = model(behaviour)?,
            ["scale", bounds @ ..] => bounds.iter().try_for_each(|bound| scale(&mut world.autoscaling, bound))?,
            ["deactivate", "candidate"] => world.candidate.deactivate(),
            ["fail", "build"] => world.candidate.fail_build(world.now()),
            ["restart"] => world.restart_shell(),
            ["die", "after", "saving"] => return world.die_between_saving_and_acting(),
            ["clock", "back", time] => world.step_clock_back(millis(time)?),
            ["pause"] => self.command(told, Command::Pause),
            ["resume"] => self.command(told, Command::Resume),
            ["cancel"] => self.command(told, Command::Cancel),
            ["force", "cancel"] => self.command(told, Command::ForceCancel),
            ["force", "roll", "forward"] => self.command(told, Command::ForceRollForward),
            _ => return Err(format!("not a command after `promote`: {command}")),
        }
        Ok(())
    }

    fn command(&mut self, told: &mut Told, command: Command) {
        if let Some(Err(refusal)) = self.world.as_mut().map(|world| world.command(command)) {
            told.say(format_args!("          refused: {refusal}"));
        }
    }

    fn wait(&mut self, told: &mut Told, ms: u64) -> Result<(), String> {
        let (mut news, mut last) = (Vec::new(), self.last.take());
        let result = self.world.as_mut().map_or(Ok(()), |world| {
            world.run_for_and(ms, |world| {
                let picture = sentence(world);
                if last.as_ref() != Some(&picture) {
                    news.push(format!("{:>9} {picture}", clock(world.elapsed_ms)));
                    last = Some(picture);
                }
            })
        });
        self.last = last;
        for line in news {
            told.say(format_args!("{line}"));
        }
        result
    }
}

fn sentence(world: &Rollout) -> String {
    let percent = world.targets().map_or(0, |Targets { candidate_percent, .. }| candidate_percent);
    let side = |fleet: &Fleet| format!("{}/{}", fleet.side().ready, fleet.target());
    let previous = world.previous.as_ref().map_or("none".to_owned(), side);
    let why = world.why().map(ToString::to_string).unwrap_or_default();
    let status = world.state().status().to_string();
    format!("{status:<12} {percent:>3} %  previous {previous:<5} candidate {:<5} {why}", side(&world.candidate))
}
