//! A load in virtual time on the replicas of one deployment, and the decision that follows it.

use crate::{
    Timestamp,
    autoscale::{Load, Memory, Settings, Size, Why, decide},
};

/// While there is load, the shell looks this often.
const ROUND_MS: u64 = 2_000;
/// When the world begins.
const BEGINNING: Timestamp = Timestamp(1_000_000_000_000);

/// The world.
#[derive(Debug)]
pub struct Traffic {
    /// Milliseconds since the world began.
    pub elapsed_ms: u64,
    /// How the deployment scales.
    pub settings: Settings,
    /// How long a replica takes to be ready.
    pub start_ms: u64,
    /// Requests that clients have under way: with replicas, or waiting for one.
    pub requests: u32,
    target: u32,
    /// When each replica is ready.
    ready_at: Vec<u64>,
    memory: Memory,
    turns: Vec<Turn>,
}

/// A change of the number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// When, in milliseconds since the world began.
    pub at_ms: u64,
    /// How many there were to be before, and after.
    pub replicas: (u32, u32),
}

impl Turn {
    /// Whether there were to be fewer afterwards.
    pub fn is_down(&self) -> bool {
        self.replicas.1 < self.replicas.0
    }
}

impl Traffic {
    /// A world with so many ready replicas and no load, in which the server has just started.
    pub fn new(settings: Settings, replicas: u32) -> Self {
        Self {
            elapsed_ms: 0,
            settings,
            start_ms: 5_000,
            requests: 0,
            target: replicas,
            ready_at: vec![0; replicas as usize],
            memory: Memory::default(),
            turns: Vec::new(),
        }
    }

    /// Replicas that there should be.
    pub fn target(&self) -> u32 {
        self.target
    }

    /// Every change so far, oldest first.
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// Changes of direction that came within one window of another: none, where the size follows the load calmly.
    pub fn hasty_turns(&self) -> Vec<Turn> {
        let changes = self.turns.windows(2).filter(|pair| pair[0].is_down() != pair[1].is_down());
        let changes: Vec<Turn> = changes.map(|pair| pair[1]).collect();
        let window_ms = u64::from(self.settings.autoscaling_window_s) * 1_000;
        let is_hasty = |pair: &&[Turn]| pair[1].at_ms < pair[0].at_ms + window_ms;
        changes.windows(2).filter(is_hasty).map(|pair| pair[1]).collect()
    }

    /// The server starts anew: what only it knew is lost.
    pub fn restart(&mut self) {
        self.memory = Memory::default();
    }

    /// So many replicas end, and others are started in their place.
    pub fn lose_replicas(&mut self, count: u32) {
        let left = self.ready_at.len().saturating_sub(count as usize);
        self.ready_at.truncate(left);
        self.order_missing();
    }

    /// Lets time pass and the shell look, calling `watch` after each look.
    pub fn run_for(&mut self, ms: u64, mut watch: impl FnMut(u64, Size, Why)) {
        let deadline = self.elapsed_ms + ms;
        while self.elapsed_ms < deadline {
            let (size, why) = self.look();
            watch(self.elapsed_ms, size, why);
            self.elapsed_ms = (self.elapsed_ms + ROUND_MS).min(deadline);
        }
    }

    fn look(&mut self) -> (Size, Why) {
        let decision = decide(self.now(), self.target, self.load(), &self.memory, &self.settings);
        self.memory = decision.next;
        let replicas = decision.output.replicas;
        if replicas != self.target {
            self.turns.push(Turn { at_ms: self.elapsed_ms, replicas: (self.target, replicas) });
            self.target = replicas;
            self.ready_at.truncate(replicas as usize);
            self.order_missing();
        }
        (decision.output, decision.why)
    }

    fn now(&self) -> Timestamp {
        BEGINNING.plus(self.elapsed_ms)
    }

    /// Requests are with ready replicas as far as those have slots, and wait otherwise.
    fn load(&self) -> Load {
        let ready = self.ready_at.iter().filter(|at| **at <= self.elapsed_ms).count();
        let slots = u32::try_from(ready).unwrap_or(u32::MAX).saturating_mul(self.settings.concurrency_target);
        let in_flight = self.requests.min(slots);
        Load { in_flight, queued: self.requests - in_flight, ..Load::default() }
    }

    fn order_missing(&mut self) {
        self.ready_at.resize(self.target as usize, self.elapsed_ms + self.start_ms);
    }
}
