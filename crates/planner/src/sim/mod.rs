//! A world in virtual time around one deployment: a builder, replicas, callers, a shell that looks, decides, saves and acts.
//! It checks the invariants at each decision and breaks off at the first that is not kept.

pub mod dice;
pub mod fleet;
pub mod rollout;
pub mod rollout_script;
pub mod script;
pub mod traffic;
pub mod traffic_script;

use api::id::ReplicaId;

use crate::{
    Timestamp, autoscale,
    deployment::{self, Seen, State, Why},
    invariants::{broken_rule, settles},
    lifecycle::{Build, Lifecycle, Observed, Reason, Refusal, Status, status},
    replica_set::{self, Action, Cause, End, Phase, Replica, Stay},
};

/// How long a process takes to appear.
const SPAWN_MS: u64 = 100;
/// How long a replica takes to finish its requests.
const DRAIN_MS: u64 = 200;
/// The shell looks at least this often.
const SLOW_ROUND_MS: u64 = 30_000;
/// Decisions in one moment after which the world ought to be at rest.
const MOST_PASSES: usize = 64;

/// What the model does when it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Is ready after so many milliseconds.
    Loads(u64),
    /// Raises from `load` after so many milliseconds.
    FailsToLoad(u64),
    /// Is ready at once, and dies after so many milliseconds.
    Crashes(u64),
    /// Dies while it loads, after so many milliseconds.
    CrashesLoading(u64),
    /// Never returns from `load`.
    Hangs,
}

/// What the builder makes of the push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// Ends well after so many milliseconds.
    Succeeds(u64),
    /// Fails after so many milliseconds.
    Fails(u64),
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// Milliseconds since the world began; never steps back.
    pub elapsed_ms: u64,
    /// What the wall clock says at the beginning, plus its steps.
    clock_ms: u64,
    /// How the model behaves from now on.
    pub model: Model,
    /// How the builder behaves from now on.
    pub builder: Builder,
    /// How the deployment scales.
    pub settings: autoscale::Settings,
    /// How long a first start may take.
    pub deploy_timeout_ms: u64,
    /// Requests that somebody sends all the time.
    pub steady_requests: u32,
    /// Requests that wait for an answer, and end when a replica is ready.
    single_requests: u32,
    finished: u64,
    woken: bool,
    state: State,
    build_ends_at: Option<(Timestamp, u64)>,
    replicas: Vec<Body>,
    replicas_made: u32,
    wake_at: Option<Timestamp>,
    why: Option<Why>,
}

/// A replica, and what becomes of it next.
#[derive(Debug, Clone)]
struct Body {
    seen: Replica,
    next: Option<(u64, Phase)>,
}

impl World {
    /// A world in which a deployment has just been pushed.
    pub fn new() -> Self {
        let clock_ms = 1_000_000_000_000;
        let state = State {
            lifecycle: Lifecycle::pushed(Timestamp(clock_ms)),
            target: 0,
            starts: replica_set::Memory::default(),
            scaling: autoscale::Memory::default(),
        };
        Self {
            elapsed_ms: 0,
            clock_ms,
            model: Model::Loads(5_000),
            builder: Builder::Succeeds(20_000),
            settings: autoscale::Settings::default(),
            deploy_timeout_ms: 3_600_000,
            steady_requests: 0,
            single_requests: 0,
            finished: 0,
            woken: false,
            state,
            build_ends_at: None,
            replicas: Vec::new(),
            replicas_made: 0,
            wake_at: None,
            why: None,
        }
    }

    /// What the wall clock says.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock_ms + self.elapsed_ms)
    }

    /// What the deployment is at.
    pub fn status(&self) -> Status {
        status(&self.state.lifecycle, &Observed::of(&self.seen_replicas()))
    }

    /// What is remembered of the deployment.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Why the deployment is as it is, as last decided.
    pub fn why(&self) -> Option<&Why> {
        self.why.as_ref()
    }

    /// Replicas by where they stand.
    pub fn observed(&self) -> Observed {
        Observed::of(&self.seen_replicas())
    }

    /// Activates the deployment.
    pub fn activate(&mut self) -> Result<(), Refusal> {
        self.change(|lifecycle, now| lifecycle.activate(now))
    }

    /// Deactivates the deployment.
    pub fn deactivate(&mut self) -> Result<(), Refusal> {
        self.change(|lifecycle, _| Ok(lifecycle.deactivate()))
    }

    /// Retries the deployment.
    pub fn retry(&mut self) -> Result<(), Refusal> {
        self.change(|lifecycle, now| lifecycle.retry(now))
    }

    /// Stops the deployment's build.
    pub fn stop_build(&mut self) -> Result<(), Refusal> {
        self.change(|lifecycle, now| lifecycle.stop_build(now))
    }

    fn change(
        &mut self,
        command: impl FnOnce(Lifecycle, Timestamp) -> Result<Lifecycle, Refusal>,
    ) -> Result<(), Refusal> {
        self.state.lifecycle = command(self.state.lifecycle.clone(), self.now())?;
        Ok(())
    }

    /// Sends one request.
    pub fn request(&mut self) {
        self.single_requests += 1;
    }

    /// Asks for a wake-up.
    pub fn wake(&mut self) {
        self.woken = true;
    }

    /// Ends every replica from outside, as the machine would.
    pub fn kill_replicas(&mut self) {
        let at = self.elapsed_ms;
        for body in &mut self.replicas {
            if !matches!(body.seen.phase, Phase::Ended(_)) {
                body.next = Some((at, ended(Cause::Crashed, "killed by signal 9")));
            }
        }
    }

    /// Policies change, or a place fails: what runs now may stay like this, and what starts from now on may stay.
    pub fn move_replicas(&mut self, stay: Stay) {
        for body in &mut self.replicas {
            body.seen.stay = stay;
        }
    }

    /// Starts the shell anew: what only it knew is lost.
    pub fn restart_shell(&mut self) {
        self.state.scaling = autoscale::Memory::default();
        self.wake_at = None;
    }

    /// Sets the wall clock back.
    pub fn step_clock_back(&mut self, by_ms: u64) {
        self.clock_ms = self.clock_ms.saturating_sub(by_ms);
    }

    /// Lets time pass, and the shell look whenever something happens.
    pub fn run_for(&mut self, ms: u64) -> Result<(), String> {
        self.run_for_and(ms, |_| {})
    }

    /// The same, calling `watch` after each look.
    pub fn run_for_and(&mut self, ms: u64, mut watch: impl FnMut(&World)) -> Result<(), String> {
        let deadline = self.elapsed_ms + ms;
        loop {
            self.let_things_happen();
            self.look()?;
            watch(self);
            if self.elapsed_ms >= deadline {
                return Ok(());
            }
            self.elapsed_ms = self.next_event().clamp(self.elapsed_ms + 1, deadline);
        }
    }

    /// Saves a decision and dies before acting on it.
    pub fn die_between_saving_and_acting(&mut self) -> Result<(), String> {
        self.let_things_happen();
        self.decide_and_save()?;
        self.restart_shell();
        Ok(())
    }

    fn next_event(&self) -> u64 {
        let wake_at = self.wake_at.map(|at| at.0.saturating_sub(self.clock_ms));
        let build = self.build_ends_at.map(|(_, at)| at);
        let replicas = self.replicas.iter().filter_map(|body| body.next.as_ref().map(|(at, _)| *at));
        let slow_round = self.elapsed_ms + SLOW_ROUND_MS;
        wake_at.into_iter().chain(build).chain(replicas).chain([slow_round]).min().unwrap_or(slow_round)
    }

    fn let_things_happen(&mut self) {
        let (now, elapsed_ms) = (self.now(), self.elapsed_ms);
        match (self.build_ends_at, self.state.lifecycle.pending_build()) {
            (Some((since, at)), Some(wanted)) if since == wanted => {
                if at <= elapsed_ms {
                    let result = match self.builder {
                        Builder::Succeeds(_) => Ok("artifact".to_owned()),
                        Builder::Fails(_) => Err(build_reason()),
                    };
                    self.state.lifecycle = self.state.lifecycle.clone().build_finished(since, now, result);
                    self.build_ends_at = None;
                }
            }
            (_, Some(wanted)) => {
                let (Builder::Succeeds(ms) | Builder::Fails(ms)) = self.builder;
                self.build_ends_at = Some((wanted, elapsed_ms + ms));
            }
            (_, None) => self.build_ends_at = None,
        }
        for body in &mut self.replicas {
            while let Some((at, phase)) = body.next.clone().filter(|(at, _)| *at <= elapsed_ms) {
                body.seen.phase = phase;
                body.next = None;
                if body.seen.phase == Phase::Loading {
                    body.next = after_loading(self.model, at);
                }
                if let (Phase::Ready, Model::Crashes(ms)) = (&body.seen.phase, self.model) {
                    body.next = Some((at + ms, ended(Cause::Crashed, "killed by signal 11")));
                }
            }
        }
        let has_ready = self.replicas.iter().any(|body| body.seen.phase == Phase::Ready && !body.seen.stopping);
        let is_refused = !self.accepts_requests();
        if has_ready && self.single_requests > 0 {
            self.finished += u64::from(self.single_requests);
            self.single_requests = 0;
        } else if is_refused {
            self.single_requests = 0;
        }
    }

    /// Whether the gateway lets requests wait or passes them on.
    fn accepts_requests(&self) -> bool {
        matches!(self.status(), Status::Active | Status::Updating | Status::ScaledToZero | Status::WakingUp)
    }

    fn seen_replicas(&self) -> Vec<Replica> {
        self.replicas.iter().map(|body| body.seen.clone()).collect()
    }

    /// Decides and acts until nothing is left to do in this moment.
    fn look(&mut self) -> Result<(), String> {
        for _ in 0..MOST_PASSES {
            let before = self.state.clone();
            let actions = self.decide_and_save()?;
            let is_done = actions.is_empty() && before == self.state;
            self.act(actions);
            if is_done {
                return Ok(());
            }
        }
        Err(format!("the world does not come to rest: {:?}", self.state))
    }

    fn decide_and_save(&mut self) -> Result<Vec<Action>, String> {
        let now = self.now();
        let replicas = self.seen_replicas();
        let requests = if self.accepts_requests() { self.steady_requests + self.single_requests } else { 0 };
        let has_ready = self.observed().ready > 0;
        let load = autoscale::Load {
            in_flight: if has_ready { requests } else { 0 },
            queued: if has_ready { 0 } else { requests },
            finished: std::mem::take(&mut self.finished),
            woken: std::mem::take(&mut self.woken),
        };
        let seen = Seen {
            replicas: &replicas,
            load,
            settings: &self.settings,
            hold: None,
            deploy_timeout_ms: self.deploy_timeout_ms,
        };
        let decision = deployment::decide(now, &self.state, &seen);
        if let Some(rule) = broken_rule(now, &self.state, &seen, &decision) {
            return Err(format!("broken: {rule}\nbefore {:?}\nseen {seen:?}\ndecided {decision:?}", self.state));
        }
        if !settles(now, &decision.next, &seen) {
            return Err(format!("does not settle\nbefore {:?}\nseen {seen:?}\ndecided {decision:?}", self.state));
        }
        self.state = decision.next;
        self.wake_at = decision.wake_at;
        self.why = Some(decision.why);
        Ok(decision.output.actions)
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(count) => (0..count).for_each(|_| self.start_replica()),
                Action::Stop(id) => self.stop_replica(&id),
                Action::Forget(id) => self.replicas.retain(|body| body.seen.id != id),
            }
        }
    }

    fn start_replica(&mut self) {
        self.replicas_made += 1;
        let seen = Replica {
            id: ReplicaId::from_entropy(u128::from(self.replicas_made)),
            ordered_at: self.now(),
            stopping: false,
            phase: Phase::Starting,
            stay: Stay::Stays,
        };
        self.replicas.push(Body { seen, next: Some((self.elapsed_ms + SPAWN_MS, Phase::Loading)) });
    }

    fn stop_replica(&mut self, id: &ReplicaId) {
        let at = self.elapsed_ms + DRAIN_MS;
        for body in self.replicas.iter_mut().filter(|body| body.seen.id == *id) {
            body.seen.stopping = true;
            body.seen.phase = Phase::Draining;
            body.next = Some((at, ended(Cause::Stopped, "stopped")));
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Why the deployment failed, in one sentence, where it did.
    pub fn failure_message(&self) -> Option<&str> {
        self.lifecycle.failure().map(|reason| reason.message.as_str())
    }

    /// Whether it has an artifact.
    pub fn is_built(&self) -> bool {
        matches!(self.lifecycle.build, Build::Succeeded { .. })
    }
}

fn after_loading(model: Model, at: u64) -> Option<(u64, Phase)> {
    match model {
        Model::Loads(ms) => Some((at + ms, Phase::Ready)),
        Model::FailsToLoad(ms) => Some((at + ms, ended(Cause::LoadFailed, "`load` raised ValueError: boom"))),
        Model::Crashes(_) => Some((at, Phase::Ready)),
        Model::CrashesLoading(ms) => Some((at + ms, ended(Cause::Crashed, "exited with code 1"))),
        Model::Hangs => None,
    }
}

fn ended(cause: Cause, message: &str) -> Phase {
    Phase::Ended(End { cause, message: message.into(), detail: None })
}

fn build_reason() -> Reason {
    Reason { message: "no version of nosuch satisfies nosuch==1".into(), hint: None, detail: None }
}
