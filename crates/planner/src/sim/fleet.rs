//! One deployment with its replicas, as a rollout's world needs it: the same decisions as in the server, and bodies that follow them.

use api::id::ReplicaId;

use super::Model;
use crate::{
    Timestamp, autoscale,
    deployment::{self, Seen, State},
    invariants,
    lifecycle::{Build, Lifecycle, Observed, Reason, Run, Wanted},
    promotion::{Hold, Side},
    replica_set::{self, Action, Cause, End, Phase, Replica, Stay},
};

/// How long a process takes to appear.
const SPAWN_MS: u64 = 100;

/// One deployment.
#[derive(Debug)]
pub struct Fleet {
    /// How its model behaves from now on.
    pub model: Model,
    /// How long one of its replicas takes to finish its requests.
    pub drain_ms: u64,
    /// How it scales when nobody holds it.
    pub settings: autoscale::Settings,
    /// How long a first start may take.
    pub deploy_timeout_ms: u64,
    state: State,
    observed: Observed,
    replicas: Vec<Replica>,
    next: Vec<Next>,
    made: u32,
    build_ends_at: Option<u64>,
    wake_at: Option<Timestamp>,
}

/// What becomes of a replica.
#[derive(Debug, Clone)]
enum Next {
    /// Nothing, unless somebody does something to it.
    Nothing,
    /// It is ordered, and starts as soon as there is room.
    Room,
    /// This, at this moment.
    At(u64, Phase),
}

impl Fleet {
    /// A deployment that serves with so many replicas.
    pub fn serving(now: Timestamp, count: u32, settings: autoscale::Settings) -> Self {
        let mut fleet = Self::built(now, settings);
        fleet.state.lifecycle.first_ready = Some(now);
        fleet.state.lifecycle.run = if count > 0 { Run::Serving { since: now } } else { Run::AtZero { since: now } };
        fleet.state.target = count;
        for _ in 0..count {
            fleet.add(now, Phase::Ready, Next::Nothing);
        }
        fleet.look_at_replicas();
        fleet
    }

    /// A deployment that has been built and not started.
    pub fn built(now: Timestamp, settings: autoscale::Settings) -> Self {
        let mut fleet = Self::pushed(now, settings, 0);
        fleet.state.lifecycle.build = Build::Succeeded { at: now, artifact: String::new() };
        fleet.build_ends_at = None;
        fleet
    }

    /// A deployment that has just been pushed, and is built at a moment of the world.
    pub fn pushed(now: Timestamp, settings: autoscale::Settings, build_ends_at: u64) -> Self {
        Self {
            model: Model::Loads(5_000),
            drain_ms: 200,
            settings,
            deploy_timeout_ms: 600_000,
            state: State {
                lifecycle: Lifecycle::pushed(now),
                target: 0,
                starts: replica_set::Memory::default(),
                scaling: autoscale::Memory::default(),
            },
            observed: Observed::default(),
            replicas: Vec::new(),
            next: Vec::new(),
            made: 0,
            build_ends_at: Some(build_ends_at),
            wake_at: None,
        }
    }

    /// The deployment as a promotion sees it.
    pub fn side(&self) -> Side<'_> {
        Side::of(&self.state.lifecycle, &self.observed, self.state.target, &self.state.starts)
    }

    /// Replicas that should run.
    pub fn target(&self) -> u32 {
        self.state.target
    }

    /// Replicas that hold a machine.
    pub fn holding(&self) -> u32 {
        let holds = |(replica, next): &(&Replica, &Next)| {
            !matches!(replica.phase, Phase::Ended(_)) && !matches!(next, Next::Room)
        };
        self.replicas.iter().zip(&self.next).filter(holds).count() as u32
    }

    /// Ends the build badly.
    pub fn fail_build(&mut self, now: Timestamp) {
        if let Build::Pending { since } = self.state.lifecycle.build {
            let reason =
                Reason { message: "no version of nosuch satisfies nosuch==1".into(), hint: None, detail: None };
            self.state.lifecycle = self.state.lifecycle.clone().build_finished(since, now, Err(reason));
            self.build_ends_at = None;
        }
    }

    /// A person deactivates it.
    pub fn deactivate(&mut self) {
        self.state.lifecycle = self.state.lifecycle.clone().deactivate();
    }

    /// Whether it is deactivated.
    pub fn is_inactive(&self) -> bool {
        self.state.lifecycle.wanted == Wanted::Inactive
    }

    /// Kills up to so many of its replicas from outside, ready ones first.
    pub fn kill(&mut self, elapsed_ms: u64, count: u32) {
        let mut left = count;
        for is_ready in [true, false] {
            for (replica, next) in self.replicas.iter().zip(&mut self.next) {
                let fits = (replica.phase == Phase::Ready) == is_ready;
                if left > 0 && fits && !matches!(replica.phase, Phase::Ended(_)) && !matches!(next, Next::Room) {
                    *next = Next::At(elapsed_ms, ended(Cause::Crashed, "killed by signal 9"));
                    left -= 1;
                }
            }
        }
    }

    /// The shell starts anew: what only it knew is lost.
    pub fn forget_memory(&mut self) {
        self.state.scaling = autoscale::Memory::default();
        self.wake_at = None;
    }

    /// The next moment of the world at which something happens by itself.
    pub fn next_event(&self, clock_ms: u64) -> Option<u64> {
        let bodies = self.next.iter().filter_map(|next| if let Next::At(at, _) = next { Some(*at) } else { None });
        let wake_at = self.wake_at.map(|at| at.0.saturating_sub(clock_ms));
        bodies.chain(self.build_ends_at).chain(wake_at).min()
    }

    /// Lets happen what is due.
    pub fn let_things_happen(&mut self, now: Timestamp, elapsed_ms: u64) {
        if self.build_ends_at.is_some_and(|at| at <= elapsed_ms) {
            if let Build::Pending { since } = self.state.lifecycle.build {
                let built = Ok(String::new());
                self.state.lifecycle = self.state.lifecycle.clone().build_finished(since, now, built);
            }
            self.build_ends_at = None;
        }
        for (replica, next) in self.replicas.iter_mut().zip(&mut self.next) {
            while let Next::At(at, _) = next
                && *at <= elapsed_ms
            {
                let Next::At(at, phase) = std::mem::replace(next, Next::Nothing) else { break };
                replica.phase = phase;
                *next = follows(self.model, &replica.phase, at);
            }
        }
        self.look_at_replicas();
    }

    /// Starts what is ordered, as long as there is room; says how much room is left.
    pub fn take_room(&mut self, elapsed_ms: u64, mut room: u32) -> u32 {
        for (replica, next) in self.replicas.iter().zip(&mut self.next) {
            if room > 0 && matches!(next, Next::Room) && !replica.stopping {
                *next = Next::At(elapsed_ms + SPAWN_MS, Phase::Loading);
                room -= 1;
            }
        }
        room
    }

    /// Decides, saves and acts; says whether anything has changed.
    pub fn look(
        &mut self,
        now: Timestamp,
        elapsed_ms: u64,
        load: autoscale::Load,
        hold: Option<Hold>,
    ) -> Result<bool, String> {
        let seen = Seen {
            replicas: &self.replicas,
            load,
            settings: &self.settings,
            hold,
            deploy_timeout_ms: self.deploy_timeout_ms,
        };
        let decision = deployment::decide(now, &self.state, &seen);
        if let Some(rule) = invariants::broken_rule(now, &self.state, &seen, &decision) {
            return Err(format!("broken: {rule}\nbefore {:?}\nseen {seen:?}\ndecided {decision:?}", self.state));
        }
        let has_changed = decision.next != self.state || !decision.output.actions.is_empty();
        self.state = decision.next;
        self.wake_at = decision.wake_at;
        for action in decision.output.actions {
            match action {
                Action::Start(count) => (0..count).for_each(|_| self.add(now, Phase::Starting, Next::Room)),
                Action::Stop(id) => self.stop(&id, elapsed_ms),
                Action::Forget(id) => self.forget(&id),
            }
        }
        if has_changed {
            self.look_at_replicas();
        }
        Ok(has_changed)
    }

    fn look_at_replicas(&mut self) {
        self.observed = Observed::of(&self.replicas);
    }

    fn add(&mut self, now: Timestamp, phase: Phase, next: Next) {
        self.made += 1;
        let id = ReplicaId::from_entropy(u128::from(self.made));
        self.replicas.push(Replica { id, ordered_at: now, stopping: false, phase, stay: Stay::Stays });
        self.next.push(next);
    }

    fn stop(&mut self, id: &ReplicaId, elapsed_ms: u64) {
        for (replica, next) in self.replicas.iter_mut().zip(&mut self.next) {
            if replica.id == *id {
                let takes_ms = if matches!(next, Next::Room) { 0 } else { self.drain_ms };
                replica.stopping = true;
                replica.phase = Phase::Draining;
                *next = Next::At(elapsed_ms + takes_ms, ended(Cause::Stopped, "stopped"));
            }
        }
    }

    fn forget(&mut self, id: &ReplicaId) {
        if let Some(index) = self.replicas.iter().position(|replica| replica.id == *id) {
            self.replicas.remove(index);
            self.next.remove(index);
        }
    }
}

/// What becomes of a replica that has just come to a phase.
fn follows(model: Model, phase: &Phase, at: u64) -> Next {
    match (phase, model) {
        (Phase::Loading, Model::Loads(ms)) => Next::At(at + ms, Phase::Ready),
        (Phase::Loading, Model::FailsToLoad(ms)) => {
            Next::At(at + ms, ended(Cause::LoadFailed, "`load` raised ValueError: boom"))
        }
        (Phase::Loading, Model::Crashes(_)) => Next::At(at, Phase::Ready),
        (Phase::Loading, Model::CrashesLoading(ms)) => Next::At(at + ms, ended(Cause::Crashed, "exited with code 1")),
        (Phase::Ready, Model::Crashes(ms)) => Next::At(at + ms, ended(Cause::Crashed, "killed by signal 11")),
        _ => Next::Nothing,
    }
}

fn ended(cause: Cause, message: &str) -> Phase {
    Phase::Ended(End { cause, message: message.into(), detail: None })
}
