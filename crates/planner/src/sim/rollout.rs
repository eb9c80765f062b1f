//! A world in virtual time around one promotion: two deployments, gateways that get each table after a while, machines with room for
//! so many replicas, and a shell that looks, decides, saves and acts. It checks the invariants at each decision, and breaks off at
//! the first that is not kept.

use super::fleet::Fleet;
use crate::{
    Timestamp, autoscale,
    promotion::{
        self, Command, Memory, Phase, Refusal, Seen, Settings, State, Targets, Why,
        invariants::{Case, broken_rule, is_settled},
    },
};

/// The shell looks at least this often.
const SLOW_ROUND_MS: u64 = 300_000;
/// Decisions in one moment after which the world ought to be at rest.
const MOST_PASSES: usize = 64;

/// The world.
#[derive(Debug)]
pub struct Rollout {
    /// Milliseconds since the world began; never steps back.
    pub elapsed_ms: u64,
    /// How the environment scales.
    pub autoscaling: autoscale::Settings,
    /// Requests that somebody sends all the time.
    pub requests: u32,
    /// How long the gateways take to get a table.
    pub publish_ms: u64,
    /// Replicas that fit on the machines.
    pub room: u32,
    /// The deployment that is promoted.
    pub candidate: Fleet,
    /// The environment's current deployment.
    pub previous: Option<Fleet>,
    /// What the wall clock says at the beginning, plus its steps.
    clock_ms: u64,
    settings: Settings,
    state: State,
    memory: Memory,
    command: Option<Command>,
    targets: Option<Targets>,
    published: Option<u8>,
    on_its_way: Option<(u64, u8)>,
    wake_at: Option<Timestamp>,
    why: Option<Why>,
}

/// When every world begins.
pub const BEGINNING: Timestamp = Timestamp(1_000_000_000_000);

impl Rollout {
    /// A promotion that begins now.
    pub fn new(
        settings: Settings,
        autoscaling: autoscale::Settings,
        candidate: Fleet,
        previous: Option<Fleet>,
        requests: u32,
    ) -> Self {
        let seen = Seen {
            candidate: candidate.side(),
            previous: previous.as_ref().map(Fleet::side),
            load: autoscale::Load::default(),
            autoscaling: &autoscaling,
            published_percent: None,
        };
        let state = State::begin(BEGINNING, &settings, &seen);
        Self {
            elapsed_ms: 0,
            autoscaling,
            requests,
            publish_ms: 20,
            room: u32::MAX,
            candidate,
            previous,
            clock_ms: BEGINNING.0,
            settings,
            state,
            memory: Memory::default(),
            command: None,
            targets: None,
            published: Some(0),
            on_its_way: None,
            wake_at: None,
            why: None,
        }
    }

    /// What the wall clock says.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock_ms + self.elapsed_ms)
    }

    /// What is remembered of the promotion.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How the promotion goes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What should be true, as last decided.
    pub fn targets(&self) -> Option<Targets> {
        self.targets
    }

    /// Why the promotion is where it is, as last decided.
    pub fn why(&self) -> Option<&Why> {
        self.why.as_ref()
    }

    /// The candidate's share in the tables of all gateways.
    pub fn published_percent(&self) -> Option<u8> {
        self.published
    }

    /// Whether the promotion is over.
    pub fn is_over(&self) -> bool {
        self.state.ending().is_some()
    }

    /// Whether the promotion is paused.
    pub fn is_paused(&self) -> bool {
        matches!(self.state.phase, Phase::Paused { .. })
    }

    /// Records what somebody asks for; the next look obeys.
    pub fn command(&mut self, command: Command) -> Result<(), Refusal> {
        self.state.accepts(command, &self.settings)?;
        self.command = Some(command);
        Ok(())
    }

    /// Starts the shell anew: what only it knew is lost.
    pub fn restart_shell(&mut self) {
        self.memory = Memory::default();
        self.state = self.state.clone().resumed_by_another_server(self.now());
        self.wake_at = None;
        self.published = None;
        self.on_its_way = None;
        self.candidate.forget_memory();
        if let Some(previous) = &mut self.previous {
            previous.forget_memory();
        }
    }

    /// Saves a decision and dies before acting on it.
    pub fn die_between_saving_and_acting(&mut self) -> Result<(), String> {
        self.let_things_happen();
        if !self.is_over() {
            self.decide_and_save()?;
        }
        self.restart_shell();
        Ok(())
    }

    /// Sets the wall clock back.
    pub fn step_clock_back(&mut self, by_ms: u64) {
        self.clock_ms = self.clock_ms.saturating_sub(by_ms);
    }

    /// Lets time pass, and the shell look whenever something happens, until the promotion is over.
    pub fn run_for(&mut self, ms: u64) -> Result<(), String> {
        self.run_for_and(ms, |_| {})
    }

    /// The same, calling `watch` after each look.
    pub fn run_for_and(&mut self, ms: u64, mut watch: impl FnMut(&Rollout)) -> Result<(), String> {
        let deadline = self.elapsed_ms + ms;
        loop {
            self.let_things_happen();
            self.look()?;
            watch(self);
            if self.elapsed_ms >= deadline || self.is_over() {
                return Ok(());
            }
            self.elapsed_ms = self.next_event().clamp(self.elapsed_ms + 1, deadline);
        }
    }

    fn next_event(&self) -> u64 {
        let wake_at = self.wake_at.map(|at| at.0.saturating_sub(self.clock_ms));
        let candidate = self.candidate.next_event(self.clock_ms);
        let previous = self.previous.as_ref().and_then(|previous| previous.next_event(self.clock_ms));
        let publication = self.on_its_way.map(|(at, _)| at);
        let events = [wake_at, candidate, previous, publication, Some(self.elapsed_ms + SLOW_ROUND_MS)];
        events.into_iter().flatten().min().unwrap_or(self.elapsed_ms)
    }

    fn let_things_happen(&mut self) {
        let (now, elapsed_ms) = (self.now(), self.elapsed_ms);
        self.candidate.let_things_happen(now, elapsed_ms);
        if let Some(previous) = &mut self.previous {
            previous.let_things_happen(now, elapsed_ms);
        }
        if let Some((_, percent)) = self.on_its_way.take_if(|(at, _)| *at <= elapsed_ms) {
            self.published = Some(percent);
        }
    }

    /// Decides and acts until nothing is left to do in this moment.
    fn look(&mut self) -> Result<(), String> {
        for _ in 0..MOST_PASSES {
            if self.is_over() {
                return Ok(());
            }
            let mut has_changed = self.decide_and_save()?;
            // What follows on an end is not the promotion's any more.
            if !self.is_over() {
                has_changed |= self.follow()?;
                self.publish();
            }
            if !has_changed {
                return Ok(());
            }
        }
        Err(format!("the world does not come to rest: {:?}", self.state))
    }

    fn decide_and_save(&mut self) -> Result<bool, String> {
        let now = self.now();
        let seen = Seen {
            candidate: self.candidate.side(),
            previous: self.previous.as_ref().map(Fleet::side),
            load: self.load(self.requests, self.candidate_ready() + self.previous_ready()),
            autoscaling: &self.autoscaling,
            published_percent: self.published,
        };
        let command = self.command.take();
        let decision = promotion::decide(now, &self.state, &self.memory, command, &self.settings, &seen);
        let case = Case {
            now,
            before: &self.state,
            settings: &self.settings,
            seen: &seen,
            is_commanded: command.is_some(),
            decision: &decision,
        };
        if let Some(rule) = broken_rule(&case) {
            return Err(format!("broken: {rule}\n{command:?} {case:?}"));
        }
        if !is_settled(&case) {
            return Err(format!("does not settle\n{command:?} {case:?}"));
        }
        let (state, memory) = decision.next;
        let has_changed = state != self.state || Some(decision.output) != self.targets;
        (self.state, self.memory) = (state, memory);
        self.targets = Some(decision.output);
        self.wake_at = decision.wake_at;
        self.why = Some(decision.why);
        Ok(has_changed)
    }

    /// Both deployments do what they are told.
    fn follow(&mut self) -> Result<bool, String> {
        let (now, elapsed_ms) = (self.now(), self.elapsed_ms);
        let percent = u64::from(self.published.unwrap_or(0));
        let for_candidate = u32::try_from(u64::from(self.requests) * percent / 100).unwrap_or(0);
        let holds = self.targets;

        let load = self.load(for_candidate, self.candidate_ready());
        let mut has_changed = self.candidate.look(now, elapsed_ms, load, holds.map(|targets| targets.candidate))?;
        let load = self.load(self.requests - for_candidate, self.previous_ready());
        if let Some(previous) = &mut self.previous {
            has_changed |= previous.look(now, elapsed_ms, load, holds.and_then(|targets| targets.previous))?;
        }
        let used = self.candidate.holding() + self.previous.as_ref().map_or(0, Fleet::holding);
        let room = self.room.saturating_sub(used);
        // Orders are served in turn; here the previous side's come first.
        let room = self.previous.as_mut().map_or(room, |previous| previous.take_room(elapsed_ms, room));
        self.candidate.take_room(elapsed_ms, room);
        Ok(has_changed)
    }

    /// Sends the gateways a table, unless the last one says the same.
    fn publish(&mut self) {
        let Some(percent) = self.targets.map(|targets| targets.candidate_percent) else {
            return;
        };
        let last = self.on_its_way.map(|(_, percent)| percent).or(self.published);
        if last != Some(percent) {
            self.on_its_way = Some((self.elapsed_ms + self.publish_ms, percent));
        }
    }

    fn load(&self, requests: u32, ready: u32) -> autoscale::Load {
        let (in_flight, queued) = if ready > 0 { (requests, 0) } else { (0, requests) };
        autoscale::Load { in_flight, queued, ..autoscale::Load::default() }
    }

    fn candidate_ready(&self) -> u32 {
        self.candidate.side().ready
    }

    fn previous_ready(&self) -> u32 {
        self.previous.as_ref().map_or(0, |previous| previous.side().ready)
    }
}
