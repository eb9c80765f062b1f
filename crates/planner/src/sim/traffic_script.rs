//! Stories of load: how many requests clients have under way at which times, and what the number of replicas does.
//!
//! Commands: `settings min=0 max=10 window=60s delay=15m target=1 utilization=70 rate=50 start=5s`, `replicas 7` before the first
//! time step, `load 25 for 10m`, `repeat 10 load 1 for 20s load 20 for 40s`, `restart`, `lose 2`.

use super::{
    script::{Told, clock, millis, number, retell, whole_seconds},
    traffic::Traffic,
};
use crate::autoscale::{Settings, Size, Why};

/// Runs the commands of a story and tells it again, with what happens now.
pub fn tell(story: &str) -> Result<String, String> {
    let mut teller = Teller { traffic: Traffic::new(Settings::default(), 0), last: None };
    retell(story, |told, command| teller.run(told, command))
}

struct Teller {
    traffic: Traffic,
    last: Option<(u32, Why)>,
}

impl Teller {
    fn run(&mut self, told: &mut Told, command: &str) -> Result<(), String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["settings", settings @ ..] => settings.iter().try_for_each(|setting| self.set(setting)),
            ["replicas", count] => {
                self.traffic = Traffic::new(self.traffic.settings.clone(), number(count)?);
                Ok(())
            }
            ["repeat", count, loads @ ..] => (0..number(count)?).try_for_each(|_| self.loads(told, loads)),
            ["load", ..] => self.loads(told, &words),
            ["restart"] => {
                self.traffic.restart();
                self.last = None;
                Ok(())
            }
            ["lose", count] => {
                self.traffic.lose_replicas(number(count)?);
                self.last = None;
                Ok(())
            }
            _ => Err(format!("not a command: {command}")),
        }
    }

    fn loads(&mut self, told: &mut Told, words: &[&str]) -> Result<(), String> {
        words.chunks(4).try_for_each(|words| match words {
            ["load", requests, "for", time] => self.wait(told, number(requests)?, millis(time)?),
            _ => Err(format!("not a load: {}", words.join(" "))),
        })
    }

    fn wait(&mut self, told: &mut Told, requests: u32, ms: u64) -> Result<(), String> {
        self.traffic.requests = requests;
        let last = &mut self.last;
        self.traffic.run_for(ms, |elapsed_ms, size, why| {
            let is_news = last
                .is_none_or(|(replicas, before)| replicas != size.replicas || before != why && why != Why::AtTarget);
            if is_news {
                told.say(format_args!("{}", line(elapsed_ms, &size, why)));
            }
            *last = Some((size.replicas, why));
        });
        match self.traffic.hasty_turns().first() {
            Some(turn) => Err(format!("the direction changes twice within a window, the second time at {turn:?}")),
            None => Ok(()),
        }
    }

    fn set(&mut self, setting: &str) -> Result<(), String> {
        let settings = &mut self.traffic.settings;
        match setting.split_once('=') {
            Some(("min", value)) => settings.min_replica = number(value)?,
            Some(("max", value)) => settings.max_replica = number(value)?,
            Some(("window", value)) => settings.autoscaling_window_s = whole_seconds(value)?,
            Some(("delay", value)) => settings.scale_down_delay_s = whole_seconds(value)?,
            Some(("target", value)) => settings.concurrency_target = number(value)?,
            Some(("utilization", value)) => settings.target_utilization_percent = number(value)?,
            Some(("rate", value)) => settings.max_scale_down_rate_percent = number(value)?,
            Some(("start", value)) => self.traffic.start_ms = millis(value)?,
            _ => return Err(format!("not a setting: {setting}")),
        }
        Ok(())
    }
}

fn line(elapsed_ms: u64, size: &Size, why: Why) -> String {
    let inputs = &size.inputs;
    format!(
        "{:>9} {:>3} -> {:<3} {:>3} in flight {:>3} waiting, {:>5}.{} on average over {:>2} s ask for {:<3} {why}",
        clock(elapsed_ms),
        inputs.current,
        size.replicas,
        inputs.in_flight,
        inputs.queued,
        inputs.average_milli / 1_000,
        inputs.average_milli % 1_000 / 100,
        inputs.averaged_ms / 1_000,
        inputs.asked,
    )
}
