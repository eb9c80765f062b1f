//! Random promotions: whatever people, machines and clocks do, the invariants hold; and in a world that is fair from some moment on,
//! each promotion ends before its deadline. A seed that fails is worth a story in `scripts/promotion/`.

use std::collections::BTreeSet;

use planner::{
    autoscale,
    promotion::{Cleanup, Command, Ending, Mode, Room, Settings, Step},
    sim::{
        Model,
        dice::Dice,
        fleet::Fleet,
        rollout::{BEGINNING, Rollout},
    },
};

/// Simulated promotions, over all tests of this file that shake worlds.
const ROLLOUTS: u64 = 100_000;
/// Tests that share them, so that they run side by side.
const PARTS: u64 = 8;
const DEPLOY_TIMEOUT_MS: u64 = 600_000;

fn one_of<T: Copy>(dice: &mut Dice, choices: &[T]) -> T {
    choices[dice.roll(choices.len() as u64) as usize]
}

fn number(dice: &mut Dice, below: u64) -> u32 {
    dice.roll(below) as u32
}

fn any_mode(dice: &mut Dice) -> Mode {
    match dice.roll(8) {
        0 => Mode::Immediate,
        1 | 2 => Mode::Canary { duration_ms: one_of(dice, &[1_000, 60_000, 600_000]) },
        _ => Mode::Rolling {
            step: match one_of(dice, &[true, true, false]) {
                true => Step::Surge(1 + number(dice, 50)),
                false => Step::Unavailable(1 + number(dice, 50)),
            },
            stabilization_ms: one_of(dice, &[0, 0, 10_000, 120_000]),
            overhead_percent: one_of(dice, &[0, 0, 20, 100]),
        },
    }
}

fn any_settings(dice: &mut Dice) -> Settings {
    Settings {
        mode: any_mode(dice),
        cleanup: Cleanup::ScaleToZero,
        room: one_of(dice, &[Room::Beside, Room::Beside, Room::Beside, Room::InPlace]),
        deploy_timeout_ms: DEPLOY_TIMEOUT_MS,
        min_ready_ms: one_of(dice, &[0, 0, 0, 3_000, 60_000]),
    }
}

fn any_model(dice: &mut Dice) -> Model {
    let ms = 1 + dice.roll(20_000);
    match dice.roll(12) {
        0 => Model::FailsToLoad(ms),
        1 => Model::Crashes(ms * 5),
        2 => Model::CrashesLoading(ms),
        3 => Model::Hangs,
        _ => Model::Loads(ms),
    }
}

fn any_world(dice: &mut Dice) -> Rollout {
    let max_replica = 1 + number(dice, 8);
    let between = number(dice, u64::from(max_replica) + 1);
    let autoscaling = autoscale::Settings {
        min_replica: one_of(dice, &[0, 1, between, max_replica]),
        max_replica,
        scale_down_delay_s: one_of(dice, &[0, 10, 900]),
        ..autoscale::Settings::default()
    };
    let running = autoscaling.min_replica.max(number(dice, u64::from(max_replica) + 1));
    let mut candidate = match dice.roll(4) {
        0 => Fleet::serving(BEGINNING, number(dice, 4), autoscaling.clone()),
        1 => Fleet::pushed(BEGINNING, autoscaling.clone(), dice.roll(60_000)),
        _ => Fleet::built(BEGINNING, autoscaling.clone()),
    };
    candidate.model = any_model(dice);
    candidate.drain_ms = one_of(dice, &[0, 200, 30_000]);
    let previous = (!dice.one_in(12)).then(|| {
        let mut previous = Fleet::serving(BEGINNING, running, autoscaling.clone());
        previous.model = if dice.one_in(6) { any_model(dice) } else { Model::Loads(1 + dice.roll(10_000)) };
        previous.drain_ms = one_of(dice, &[0, 200, 30_000]);
        previous
    });
    let requests = number(dice, 3 * u64::from(max_replica));
    let mut world = Rollout::new(any_settings(dice), autoscaling, candidate, previous, requests);
    world.publish_ms = one_of(dice, &[0, 20, 20, 2_000]);
    if dice.one_in(4) {
        world.room = running + number(dice, 3);
    }
    world
}

/// One thing that goes on in a world, and the time after it.
fn shake(world: &mut Rollout, dice: &mut Dice) -> Result<(), String> {
    let commands = [
        Command::Pause,
        Command::Resume,
        Command::Resume,
        Command::Cancel,
        Command::ForceCancel,
        Command::ForceRollForward,
    ];
    match dice.roll(20) {
        0 | 1 => {
            let command = match dice.one_in(3) {
                true => one_of(dice, &commands),
                false => one_of(dice, &commands[..3]),
            };
            // A refused command changes nothing, which is all that matters here.
            let _is_obeyed = world.command(command);
        }
        2 => world.candidate.kill(world.elapsed_ms, 1 + number(dice, 4)),
        3 => world.candidate.model = any_model(dice),
        4 => {
            let (elapsed_ms, count) = (world.elapsed_ms, 1 + number(dice, 8));
            if let Some(previous) = &mut world.previous {
                previous.kill(elapsed_ms, count);
            }
        }
        5 => {
            let model = any_model(dice);
            if let Some(previous) = &mut world.previous {
                previous.model = model;
            }
        }
        6 => world.step_clock_back(dice.roll(7_200_000)),
        7 | 8 => world.restart_shell(),
        9 => world.die_between_saving_and_acting()?,
        10..=12 => world.requests = number(dice, 40),
        13 => world.autoscaling.min_replica = number(dice, u64::from(world.autoscaling.max_replica) + 1),
        14 => world.room = number(dice, 16),
        15 => world.publish_ms = one_of(dice, &[0, 20, 2_000]),
        16 if dice.one_in(6) => world.candidate.deactivate(),
        17 => world.candidate.fail_build(world.now()),
        _ => {}
    }
    let longest_ms = one_of(dice, &[0, 50, 2_000, 20_000, 20_000, 120_000]);
    world.run_for(dice.roll(longest_ms + 1))
}

/// Ends all trouble, and says how long the promotion may still take.
fn mend(world: &mut Rollout) -> u64 {
    world.candidate.model = Model::Loads(1_000);
    world.publish_ms = 20;
    world.room = u32::MAX;
    if let Some(previous) = &mut world.previous {
        previous.model = Model::Loads(1_000);
    }
    if world.is_paused() {
        world.command(Command::Resume).expect("it is paused");
    }
    // The deadline moves when a pause ends; the gateways may have the last table a little later.
    let left_ms = world.state().deadline_at.since(world.now());
    left_ms + 2 * DEPLOY_TIMEOUT_MS
}

fn live(seed: u64) -> Result<Rollout, String> {
    let mut dice = Dice::new(seed);
    let mut world = any_world(&mut dice);
    // Half of the worlds are shaken only when traffic moves already.
    let quiet_rounds = if dice.one_in(2) { 12 } else { 0 };
    for _ in 0..quiet_rounds {
        if world.is_over() || world.state().percent > 0 {
            break;
        }
        world.run_for(5_000)?;
    }
    for _ in 0..dice.roll(30) {
        shake(&mut world, &mut dice)?;
        if world.is_over() {
            return Ok(world);
        }
    }
    let enough_ms = mend(&mut world);
    world.run_for(enough_ms)?;
    Ok(world)
}

fn end_of(seed: u64) -> Rollout {
    let world = live(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(world.is_over(), "seed {seed} does not end: {:?} {:?}", world.why(), world.state());
    let late_ms = world.now().since(world.state().deadline_at);
    assert!(late_ms < 60_000, "seed {seed} ends {late_ms} ms late: {:?}", world.state());
    world
}

/// The promotions of one part; says how many there were.
fn shake_part(part: u64) {
    let mut count = 0;
    for seed in (0..ROLLOUTS).filter(|seed| seed % PARTS == part) {
        end_of(seed);
        count += 1;
    }
    assert_eq!(count * PARTS, ROLLOUTS);
}

macro_rules! parts {
    ($($name:ident: $part:literal),*) => { $(
        #[test]
        fn $name() {
            shake_part($part);
        }
    )* };
}

parts!(
    shaken_promotions_keep_the_rules_and_end_1: 0,
    shaken_promotions_keep_the_rules_and_end_2: 1,
    shaken_promotions_keep_the_rules_and_end_3: 2,
    shaken_promotions_keep_the_rules_and_end_4: 3,
    shaken_promotions_keep_the_rules_and_end_5: 4,
    shaken_promotions_keep_the_rules_and_end_6: 5,
    shaken_promotions_keep_the_rules_and_end_7: 6,
    shaken_promotions_keep_the_rules_and_end_8: 7
);

#[test]
fn every_status_and_ending_is_reached_somewhere() {
    let mut reached = BTreeSet::new();
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let mut world = any_world(&mut dice);
        for _ in 0..24 {
            shake(&mut world, &mut dice).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            reached.insert(world.state().status());
        }
    }
    assert_eq!(reached.len(), 7, "{reached:?}");
}

#[test]
fn promotions_in_a_fair_world_succeed() {
    for seed in 0..3_000 {
        let mut dice = Dice::new(seed);
        let mut world = any_world(&mut dice);
        let enough_ms = mend(&mut world);
        world.run_for(enough_ms).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(world.state().ending(), Some(&Ending::Succeeded), "seed {seed}: {:?}", world.state());
    }
}

/// What the previous side needs at least for its share, when whole replicas and whole percents are the only ones there are.
fn least_for_its_share(world: &Rollout, published_percent: u8) -> u32 {
    let total = world.state().total;
    let share = u32::from(100 - published_percent).saturating_sub(1);
    let tolerated = match world.settings().mode {
        Mode::Rolling { step: Step::Unavailable(percent), .. } => (total * percent).div_ceil(100).max(1),
        _ => 0,
    };
    (share * total / 100).saturating_sub(tolerated)
}

#[test]
fn whatever_the_candidate_does_the_previous_side_carries_its_share() {
    let mut in_order = 0;
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let count = 1 + number(&mut dice, 8);
        let settings = Settings { room: Room::Beside, ..any_settings(&mut dice) };
        let autoscaling =
            autoscale::Settings { min_replica: count, max_replica: count, ..autoscale::Settings::default() };
        let mut candidate = Fleet::built(BEGINNING, autoscaling.clone());
        candidate.model = any_model(&mut dice);
        let previous = Fleet::serving(BEGINNING, count, autoscaling.clone());
        let mut world = Rollout::new(settings, autoscaling, candidate, Some(previous), count);
        let mut gives_back_at_once = false;
        for _ in 0..30 {
            match dice.roll(8) {
                0 => world.candidate.model = any_model(&mut dice),
                1 => world.candidate.kill(world.elapsed_ms, 1 + number(&mut dice, 4)),
                2 => world.restart_shell(),
                3 => {
                    let _is_obeyed =
                        world.command(one_of(&mut dice, &[Command::Pause, Command::Resume, Command::Cancel]));
                }
                _ => {}
            }
            let result = world.run_for_and(dice.roll(40_000), |world| {
                let ready = world.previous.as_ref().map_or(0, |previous| previous.side().ready);
                // All of the candidate is gone: there is nobody else to give its share to.
                gives_back_at_once |= world.candidate.side().ready == 0 && world.state().percent > 0;
                gives_back_at_once |= world.candidate.side().ready == 0 && ready < count;
                if let Some(percent) = world.published_percent().filter(|percent| *percent < 100 && !gives_back_at_once)
                {
                    let least = least_for_its_share(world, percent);
                    assert!(ready >= least, "seed {seed}: {ready} of {least} at {percent} %: {:?}", world.state());
                }
            });
            result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        in_order += u32::from(!gives_back_at_once);
    }
    assert!(in_order > 10_000, "{in_order}");
}

/// A rolling promotion of so many replicas in a world that is fair, with room for so many more than there are.
fn roll(total: u32, step: Step, overhead_percent: u32, spare: u32) {
    let mode = Mode::Rolling { step, stabilization_ms: 0, overhead_percent };
    let (cleanup, room) = (Cleanup::ScaleToZero, Room::Beside);
    let settings = Settings { mode, cleanup, room, deploy_timeout_ms: DEPLOY_TIMEOUT_MS, min_ready_ms: 0 };
    let autoscaling = autoscale::Settings { min_replica: total, max_replica: total, ..autoscale::Settings::default() };
    let candidate = Fleet::built(BEGINNING, autoscaling.clone());
    let previous = Fleet::serving(BEGINNING, total, autoscaling.clone());
    let mut world = Rollout::new(settings, autoscaling, candidate, Some(previous), 0);
    world.room = total + (total * overhead_percent).div_ceil(100) + spare;
    let least = match step {
        Step::Surge(_) => total,
        Step::Unavailable(percent) => total.saturating_sub((total * percent).div_ceil(100).max(1)).max(1),
    };
    let mut last_percent = 0;
    let told = format!("{total} replicas, {step:?}, {overhead_percent} % overhead, room for {spare} more");
    let result = world.run_for_and(u64::from(total + 2) * 2 * DEPLOY_TIMEOUT_MS, |world| {
        let ready = world.candidate.side().ready + world.previous.as_ref().map_or(0, |previous| previous.side().ready);
        assert!(ready >= least, "{told}: {ready} of {least} are ready: {:?}", world.state());
        let percent = world.state().percent;
        assert!(percent >= last_percent, "{told}: the share falls from {last_percent} to {percent}");
        last_percent = percent;
    });
    result.unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!(world.state().ending(), Some(&Ending::Succeeded), "{told}: {:?}", world.state());
}

#[test]
fn a_rolling_promotion_of_any_size_ends_with_enough_replicas_all_the_way() {
    for total in (1..=12).chain([20, 33, 59]) {
        for percent in [1, 10, 25, 50] {
            for overhead_percent in [0, 20, 100, 500] {
                for spare in [1, 2, 1_000] {
                    roll(total, Step::Surge(percent), overhead_percent, spare);
                    roll(total, Step::Unavailable(percent), overhead_percent, spare);
                }
            }
        }
    }
}
