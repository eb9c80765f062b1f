//! Random worlds: whatever people, machines and clocks do, the invariants hold; and when the world is fair again, the deployment
//! serves. A seed that fails is worth a story in `scripts/`.

use planner::{
    lifecycle::{Refusal, Status},
    replica_set::Stay,
    sim::{Builder, Model, World, dice::Dice},
};

const WORLDS: u64 = 1_500;
const STEPS: u32 = 60;

fn one_of<T: Copy>(dice: &mut Dice, choices: &[T]) -> T {
    choices[dice.roll(choices.len() as u64) as usize]
}

/// A refused command changes nothing, which is all that matters here.
fn try_to(_outcome: Result<(), Refusal>) {}

fn shake(world: &mut World, dice: &mut Dice) -> Result<(), String> {
    match dice.roll(20) {
        0 => try_to(world.activate()),
        1 => try_to(world.deactivate()),
        2 => try_to(world.retry()),
        3 => try_to(world.stop_build()),
        4 => world.kill_replicas(),
        5 => world.step_clock_back(dice.roll(7_200_000)),
        6 => world.restart_shell(),
        7 => world.die_between_saving_and_acting()?,
        8 => world.steady_requests = dice.roll(30) as u32,
        9 => world.steady_requests = 0,
        10 => world.request(),
        11 => world.wake(),
        12 => {
            world.builder = one_of(dice, &[Builder::Succeeds(2_000), Builder::Succeeds(90_000), Builder::Fails(1_000)])
        }
        13 | 14 => {
            let ms = 1 + dice.roll(20_000);
            world.model = one_of(
                dice,
                &[
                    Model::Loads(ms),
                    Model::FailsToLoad(ms),
                    Model::Crashes(ms),
                    Model::CrashesLoading(ms),
                    Model::Hangs,
                ],
            );
        }
        18 => world.move_replicas(Stay::UntilReplaced),
        19 => world.move_replicas(one_of(dice, &[Stay::Leaves, Stay::Stays])),
        15 => world.settings.min_replica = dice.roll(1 + u64::from(world.settings.max_replica)) as u32,
        16 => {
            world.settings.max_replica = 1 + dice.roll(6) as u32;
            world.settings.min_replica = world.settings.min_replica.min(world.settings.max_replica);
        }
        _ => world.settings.scale_down_delay_s = one_of(dice, &[0, 10, 900]),
    }
    let pause = one_of(dice, &[0, 50, 1_000, 30_000, 400_000]);
    world.run_for(dice.roll(pause + 1))
}

/// Ends all trouble, and does what a person would do to have the deployment serve.
fn mend(world: &mut World) -> Result<(), String> {
    world.model = Model::Loads(3_000);
    world.builder = Builder::Succeeds(3_000);
    world.steady_requests = 1;
    // A model that hangs in `load` from before is the one thing that only patience or a restart ends.
    world.kill_replicas();
    for _ in 0..3 {
        world.run_for(30_000)?;
        match world.status() {
            Status::Inactive => try_to(world.activate()),
            Status::BuildStopped => {
                try_to(world.deactivate());
                try_to(world.activate());
            }
            Status::BuildFailed | Status::DeployFailed => try_to(world.retry()),
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn the_invariants_hold_in_every_world_and_every_deployment_serves_in_the_end() {
    for seed in 0..WORLDS {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.deploy_timeout_ms = one_of(&mut dice, &[600_000, 3_600_000]);
        let lived = (0..STEPS).try_for_each(|_| shake(&mut world, &mut dice)).and_then(|()| mend(&mut world));
        // The longest back-off, and a start.
        let ended = lived.and_then(|()| world.run_for(400_000));
        ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(world.status(), Status::Active, "seed {seed}: {:?} {:?}", world.why(), world.state());
    }
}

#[test]
fn every_status_of_a_life_is_reached_somewhere() {
    let mut reached = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        for _ in 0..STEPS {
            shake(&mut world, &mut dice).unwrap();
            reached.insert(world.status());
        }
    }
    // The two that only the platform itself would report are not part of a life.
    let never = [Status::Updating, Status::Failed];
    assert_eq!(reached.len(), 14 - never.len(), "{reached:?}");
}
