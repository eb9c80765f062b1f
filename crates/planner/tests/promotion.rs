//! A promotion's decision, seen from outside: what is asked of both sides for what is seen of them.

use planner::{
    Timestamp, autoscale,
    promotion::{
        Cleanup, Command, Ending, Hold, Memory, Mode, Phase, PlanStep, Refusal, Resume, Room, Seen, Settings, Side,
        State, Status, Step, Targets, decide, plan, replicas_beside,
    },
};

const NOW: Timestamp = Timestamp(1_000_000);

fn settings(mode: Mode) -> Settings {
    let (cleanup, room) = (Cleanup::ScaleToZero, Room::Beside);
    Settings { mode, cleanup, room, deploy_timeout_ms: 600_000, min_ready_ms: 0 }
}

fn rolling(step: Step) -> Settings {
    settings(Mode::Rolling { step, stabilization_ms: 0, overhead_percent: 0 })
}

fn fixed(replicas: u32) -> autoscale::Settings {
    autoscale::Settings { min_replica: replicas, max_replica: replicas, ..autoscale::Settings::default() }
}

fn side(ready: u32, wanted: u32) -> Side<'static> {
    Side { ready, alive: wanted.max(ready), wanted, is_built: true, has_been_ready: ready > 0, failure: None }
}

/// A promotion and what is seen of its world. The gateways have each share at once.
struct Play {
    now: Timestamp,
    settings: Settings,
    autoscaling: autoscale::Settings,
    candidate: Side<'static>,
    previous: Option<Side<'static>>,
    state: State,
    published: Option<u8>,
}

impl Play {
    fn new(settings: Settings, replicas: u32) -> Self {
        Self::among(settings, fixed(replicas), side(0, 0), Some(side(replicas, replicas)))
    }

    fn among(
        settings: Settings,
        autoscaling: autoscale::Settings,
        candidate: Side<'static>,
        previous: Option<Side<'static>>,
    ) -> Self {
        let load = autoscale::Load::default();
        let seen = Seen { candidate, previous, load, autoscaling: &autoscaling, published_percent: Some(0) };
        let state = State::begin(NOW, &settings, &seen);
        Self { now: NOW, settings, autoscaling, candidate, previous, state, published: Some(0) }
    }

    fn decide(&mut self, command: Option<Command>) -> Targets {
        let seen = Seen {
            candidate: self.candidate,
            previous: self.previous,
            load: autoscale::Load::default(),
            autoscaling: &self.autoscaling,
            published_percent: self.published,
        };
        let decision = decide(self.now, &self.state, &Memory::default(), command, &self.settings, &seen);
        self.state = decision.next.0;
        decision.output
    }

    /// Looks until the gateways have what is asked of them.
    fn look(&mut self) -> Targets {
        loop {
            let targets = self.decide(None);
            if self.published == Some(targets.candidate_percent) {
                return targets;
            }
            self.published = Some(targets.candidate_percent);
        }
    }

    fn command(&mut self, command: Command) -> Targets {
        self.decide(Some(command));
        self.look()
    }

    /// The candidate has so many ready replicas, and the previous side all that it should have.
    fn candidate_ready(&mut self, ready: u32) -> Targets {
        self.candidate = side(ready, self.candidate.wanted.max(ready));
        let targets = self.look();
        if let (Some(hold), Some(previous)) = (targets.previous, &mut self.previous) {
            *previous = side(hold.min, hold.min);
        }
        targets
    }
}

fn exactly(replicas: u32) -> Hold {
    Hold { min: replicas, max: replicas }
}

#[track_caller]
fn check(targets: Targets, percent: u8, candidate: u32, previous: u32) {
    let expected =
        Targets { candidate: exactly(candidate), previous: Some(exactly(previous)), candidate_percent: percent };
    assert_eq!(targets, expected);
}

#[test]
fn a_surge_follows_ready_replicas_and_not_those_that_were_asked_for() {
    let mut play = Play::new(rolling(Step::Surge(25)), 100);
    check(play.look(), 0, 1, 100);
    check(play.candidate_ready(1), 1, 26, 99);
    check(play.candidate_ready(5), 5, 30, 95);
    check(play.candidate_ready(30), 30, 55, 70);
}

#[test]
fn an_unavailable_part_is_never_larger_than_allowed() {
    let mut play = Play::new(rolling(Step::Unavailable(25)), 100);
    check(play.look(), 0, 1, 100);
    check(play.candidate_ready(1), 1, 26, 74);
    check(play.candidate_ready(5), 7, 30, 70);
    check(play.candidate_ready(30), 40, 55, 45);
}

#[test]
fn a_share_that_the_gateways_do_not_have_moves_nothing() {
    let mut play = Play::new(rolling(Step::Surge(50)), 4);
    play.look();
    play.candidate = side(1, 1);
    check(play.decide(None), 25, 1, 4);
    check(play.decide(None), 25, 1, 4);
    play.published = Some(25);
    check(play.decide(None), 25, 3, 3);
}

#[test]
fn a_candidate_that_runs_already_keeps_what_fits_into_a_step() {
    let settings = rolling(Step::Surge(50));
    let mut play = Play::among(settings, fixed(4), side(3, 3), Some(side(4, 4)));
    check(play.decide(None), 50, 2, 4);
}

#[test]
fn a_swap_waits_for_a_candidate_that_has_been_active() {
    let mut play = Play::new(settings(Mode::Immediate), 1);
    play.candidate = Side { has_been_ready: false, ..side(1, 1) };
    assert_eq!((play.look().candidate_percent, play.state.status()), (0, Status::Releasing));
    play.candidate = side(1, 1);
    assert_eq!((play.look().candidate_percent, play.state.status()), (100, Status::Succeeded));
}

#[test]
fn an_immediate_swap_needs_as_many_replicas_as_the_load() {
    let mut play = Play::new(settings(Mode::Immediate), 3);
    play.candidate = side(2, 3);
    assert_eq!(play.look(), Targets { candidate: exactly(3), previous: None, candidate_percent: 0 });
    play.candidate = side(3, 3);
    assert_eq!(play.look().candidate_percent, 100);
}

#[test]
fn a_candidate_that_fails_before_it_has_traffic_ends_the_promotion_at_once() {
    let mut play = Play::new(rolling(Step::Surge(25)), 2);
    play.candidate = Side { failure: Some("`load` raised ValueError: boom"), ..side(0, 0) };
    play.decide(None);
    let reason = "the candidate cannot serve: `load` raised ValueError: boom".to_owned();
    assert_eq!(play.state.ending(), Some(&Ending::Failed { reason }));
}

#[test]
fn what_has_ended_stays_ended_whatever_is_seen_or_asked() {
    let mut play = Play::new(settings(Mode::Immediate), 1);
    play.candidate_ready(1);
    let (ended, targets) = (play.state.clone(), play.look());
    assert_eq!(ended.status(), Status::Succeeded);
    play.candidate = Side { failure: Some("gone"), ..side(0, 0) };
    play.published = Some(0);
    assert_eq!(play.decide(Some(Command::ForceCancel)), targets);
    assert_eq!(play.state, ended);
}

#[test]
fn a_late_candidate_that_serves_alone_goes_forward() {
    let mut play = Play::new(rolling(Step::Surge(25)), 4);
    play.candidate_ready(1);
    play.previous = Some(side(0, 3));
    play.look();
    play.now = NOW.plus(600_000);
    assert_eq!((play.look().candidate_percent, play.state.status()), (100, Status::Succeeded));
}

#[test]
fn somebody_may_force_forward_what_was_given_up_for_being_late() {
    let mut play = Play::new(rolling(Step::Surge(25)), 4);
    play.candidate_ready(1);
    play.previous = Some(side(3, 3));
    play.now = Timestamp(play.state.deadline_at.0 - 300_000);
    play.decide(None);
    assert_eq!(play.state.status(), Status::RampingDown);
    play.command(Command::ForceRollForward);
    assert_eq!(play.state.status(), Status::Succeeded);
}

#[test]
fn a_deadline_that_passed_while_no_server_ran_leaves_time_to_walk_back() {
    let mut play = Play::new(rolling(Step::Surge(25)), 4);
    play.candidate_ready(1);
    play.candidate_ready(2);
    play.now = play.state.deadline_at.plus(86_400_000);
    assert_eq!((play.decide(None).candidate_percent, play.state.status()), (50, Status::RampingDown));
    play.now = play.now.plus(1_000);
    play.previous = Some(side(4, 4));
    play.look();
    assert_eq!(play.state.status(), Status::Failed);
}

#[test]
fn a_canceled_canary_waits_for_gateways_that_have_not_been_heard() {
    let mut play = Play::new(settings(Mode::Canary { duration_ms: 10_000 }), 1);
    play.candidate_ready(1);
    play.now = NOW.plus(1_000);
    assert_eq!(play.look().candidate_percent, 10);
    play.published = None;
    assert_eq!(play.decide(Some(Command::Cancel)).candidate_percent, 0);
    assert_eq!(play.state.status(), Status::RampingDown);
    play.look();
    assert_eq!(play.state.status(), Status::Canceled);
}

#[test]
fn routes_send_nothing_to_a_side_without_a_ready_replica() {
    let state = State { percent: 40, phase: Phase::Growing, ..Play::new(rolling(Step::Surge(25)), 4).state };
    assert_eq!([(1, 1), (0, 1), (1, 0), (0, 0)].map(|(new, old)| state.share(new, Some(old))), [40, 0, 100, 40]);
    assert_eq!(state.share(0, None), 100);
    let back = State { phase: Phase::Returning { ending: Ending::Succeeded }, ..state };
    assert_eq!(back.share(1, Some(0)), 0);
}

#[test]
fn a_previous_side_that_rests_is_not_woken_up_by_a_cancel() {
    let autoscaling = autoscale::Settings { max_replica: 3, ..autoscale::Settings::default() };
    let mut play = Play::among(rolling(Step::Surge(25)), autoscaling, side(0, 0), Some(side(0, 0)));
    assert_eq!(play.look().previous, None);
    assert_eq!(play.command(Command::Cancel).previous, None);
    assert_eq!(play.state.status(), Status::Canceled);
}

#[test]
fn a_pause_moves_the_deadline_by_its_length() {
    let mut play = Play::new(rolling(Step::Surge(25)), 2);
    let deadline_at = play.state.deadline_at;
    play.command(Command::Pause);
    assert_eq!(play.state.status(), Status::Paused);
    play.now = NOW.plus(86_400_000);
    play.command(Command::Resume);
    assert_eq!((play.state.status(), play.state.deadline_at), (Status::Releasing, deadline_at.plus(86_400_000)));
}

#[test]
fn a_clock_that_steps_back_does_not_move_the_deadline_away() {
    let mut play = Play::new(rolling(Step::Surge(25)), 2);
    let longest_ms = play.state.deadline_at.since(NOW);
    play.now = Timestamp(NOW.0 - 500_000);
    play.look();
    assert_eq!(play.state.deadline_at, play.now.plus(longest_ms));
}

#[track_caller]
fn check_refusal(phase: Phase, command: Command, settings: &Settings, expected: Result<(), Refusal>) {
    let state = State { phase, ..Play::new(settings.clone(), 1).state };
    assert_eq!(state.accepts(command, settings), expected);
}

#[test]
fn commands_are_refused_where_they_mean_nothing() {
    let surge = rolling(Step::Surge(25));
    let canary = settings(Mode::Canary { duration_ms: 1_000 });
    let in_place = Settings { room: Room::InPlace, ..surge.clone() };
    let ending = Ending::Canceled { reason: "canceled by request".into() };
    let down = Phase::RampingDown { since: NOW, ending: ending.clone() };
    let paused = Phase::Paused { since: NOW, resume: Resume::Growing };
    check_refusal(Phase::Releasing, Command::Pause, &surge, Ok(()));
    check_refusal(Phase::Releasing, Command::Pause, &canary, Err(Refusal::NotRolling));
    check_refusal(Phase::Releasing, Command::Pause, &in_place, Err(Refusal::InPlace));
    check_refusal(paused.clone(), Command::Pause, &surge, Err(Refusal::AlreadyPaused));
    check_refusal(paused, Command::Resume, &surge, Ok(()));
    check_refusal(Phase::Growing, Command::Resume, &surge, Err(Refusal::NotPaused));
    check_refusal(down.clone(), Command::Pause, &surge, Err(Refusal::NoMoreSteps));
    check_refusal(down.clone(), Command::Cancel, &surge, Ok(()));
    check_refusal(down, Command::ForceRollForward, &surge, Ok(()));
    check_refusal(Phase::Growing, Command::ForceRollForward, &canary, Err(Refusal::NotRolling));
    check_refusal(Phase::Ended { at: NOW, ending }, Command::Cancel, &surge, Err(Refusal::Ended));
}

#[test]
fn everything_remembered_survives_being_stored() {
    let ending = Ending::Failed { reason: "boom".into() };
    let phases = [
        Phase::Releasing,
        Phase::Replacing,
        Phase::Holding { since: Some(NOW) },
        Phase::Growing,
        Phase::Paused { since: NOW, resume: Resume::Holding { held_since: None } },
        Phase::RollingForward,
        Phase::Swapping,
        Phase::RampingDown { since: NOW, ending: ending.clone() },
        Phase::Restoring { since: NOW, ending: Ending::Succeeded },
        Phase::Returning { ending: ending.clone() },
        Phase::Ended { at: NOW, ending },
    ];
    let play = Play::new(rolling(Step::Unavailable(25)), 3);
    for phase in phases {
        let state = State { phase, ..play.state.clone() };
        let stored = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state, "{stored}");
    }
    let stored = serde_json::to_string(&play.settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&stored).unwrap(), play.settings, "{stored}");
}

#[track_caller]
fn check_plan(settings: &Settings, previous: Option<u32>, replicas: u32, expected: &[(u64, u8, u32, u32)]) {
    let steps: Vec<_> = plan(settings, previous, &fixed(replicas))
        .into_iter()
        .map(|PlanStep { at_ms, percent, candidate, previous }| (at_ms, percent, candidate, previous))
        .collect();
    assert_eq!(steps, expected);
}

#[test]
fn a_plan_tells_each_step() {
    let watched = settings(Mode::Rolling { step: Step::Surge(50), stabilization_ms: 10_000, overhead_percent: 0 });
    let steps = [(0, 0, 1, 2), (0, 50, 1, 2), (10_000, 50, 2, 1), (10_000, 67, 2, 1), (20_000, 100, 2, 1)];
    check_plan(&watched, Some(2), 2, &steps);
    check_plan(&settings(Mode::Immediate), Some(2), 2, &[(0, 0, 2, 2), (0, 100, 2, 2)]);
    check_plan(&settings(Mode::Immediate), None, 2, &[(0, 100, 2, 0)]);
    let in_place = Settings { room: Room::InPlace, ..watched };
    check_plan(&in_place, Some(2), 2, &[(0, 0, 0, 0), (0, 100, 2, 0)]);
}

#[test]
fn a_canary_is_planned_in_ten_even_stages() {
    let steps = plan(&settings(Mode::Canary { duration_ms: 600_000 }), Some(1), &fixed(1));
    let stages: Vec<_> = steps.iter().map(|step| (step.at_ms / 1_000, step.percent)).collect();
    let expected: Vec<_> = (0..=10).map(|stage| (stage * 60, (stage * 10) as u8)).collect();
    assert_eq!(stages, expected);
}

#[test]
fn both_sides_need_room_for_a_step_and_the_overhead() {
    let with = |step, overhead_percent| settings(Mode::Rolling { step, stabilization_ms: 0, overhead_percent });
    assert_eq!(replicas_beside(&settings(Mode::Immediate), 4), 4);
    assert_eq!(replicas_beside(&with(Step::Surge(25), 0), 10), 3);
    assert_eq!(replicas_beside(&with(Step::Unavailable(25), 20), 10), 3);
}

#[test]
fn a_first_start_with_nothing_to_go_back_to_is_waited_for_until_it_fails_by_itself() {
    let mut play = Play::among(rolling(Step::Surge(25)), fixed(1), side(0, 1), None);
    play.look();
    play.now = NOW.plus(86_400_000);
    play.look();
    assert_eq!(play.state.status(), Status::Releasing);
    play.candidate.failure = Some("not ready within the deploy timeout");
    play.look();
    assert_eq!(play.state.status(), Status::Failed);
}

#[test]
fn the_time_without_a_server_is_not_charged_to_the_candidate() {
    let after_a_while = |by_another_server: bool| {
        let mut play = Play::new(settings(Mode::Canary { duration_ms: 3_600_000 }), 1);
        play.look();
        play.now = NOW.plus(900_000);
        if by_another_server {
            play.state = play.state.resumed_by_another_server(play.now);
        }
        play.look();
        play.state.status()
    };
    assert_eq!((after_a_while(false), after_a_while(true)), (Status::Failed, Status::Releasing));
}
