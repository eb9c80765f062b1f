//! Random loads: whatever clients do, the number of replicas stays within its bounds, never falls within a window of a step up or of
//! a start of the server, and comes to what a steady load asks for.

use planner::{
    autoscale::Settings,
    sim::{dice::Dice, traffic::Traffic},
};

fn one_of<T: Copy>(dice: &mut Dice, choices: &[T]) -> T {
    choices[dice.roll(choices.len() as u64) as usize]
}

fn any_settings(dice: &mut Dice) -> Settings {
    let max_replica = 1 + dice.roll(30) as u32;
    Settings {
        min_replica: dice.roll(u64::from(max_replica) + 1) as u32,
        max_replica,
        autoscaling_window_s: one_of(dice, &[10, 60, 600]),
        scale_down_delay_s: one_of(dice, &[0, 30, 900]),
        concurrency_target: one_of(dice, &[1, 4, 32]),
        target_utilization_percent: 1 + dice.roll(100) as u32,
        max_scale_down_rate_percent: 1 + dice.roll(50) as u32,
    }
}

#[test]
fn the_size_keeps_its_bounds_and_does_not_fall_soon_after_it_has_grown() {
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let settings = any_settings(&mut dice);
        let (min, max) = (settings.min_replica, settings.max_replica);
        let window_ms = u64::from(settings.autoscaling_window_s) * 1_000;
        let mut traffic = Traffic::new(settings, min);
        let mut started_at = 0;
        for _ in 0..40 {
            match dice.roll(12) {
                0 => {
                    traffic.restart();
                    started_at = traffic.elapsed_ms;
                }
                1 => traffic.lose_replicas(1 + dice.roll(4) as u32),
                2..6 => traffic.requests = 0,
                _ => traffic.requests = dice.roll(60) as u32,
            }
            let ms = 1 + dice.roll(2 * window_ms);
            traffic.run_for(ms, |_, size, _| assert!((min..=max).contains(&size.replicas), "seed {seed}"));
            let turns = traffic.turns();
            let falls = turns.windows(2).filter(|pair| pair[1].is_down() && !pair[0].is_down());
            for pair in falls {
                assert!(pair[1].at_ms >= pair[0].at_ms + window_ms, "seed {seed}: {pair:?}");
            }
            let last = turns.last().filter(|turn| turn.is_down() && turn.at_ms >= started_at);
            assert!(last.is_none_or(|turn| turn.at_ms >= started_at + window_ms), "seed {seed}: {last:?}");
        }
    }
}

#[test]
fn a_steady_load_gets_what_it_asks_for_and_then_nothing_changes() {
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let settings = any_settings(&mut dice);
        let steps = u64::from(100 / settings.max_scale_down_rate_percent) * 6 + 30;
        let enough_ms = (u64::from(settings.scale_down_delay_s.max(2)) * steps + 3_600) * 1_000;
        let mut traffic = Traffic::new(settings.clone(), settings.max_replica);
        traffic.requests = dice.roll(100) as u32;
        let requests = u64::from(traffic.requests);
        traffic.run_for(enough_ms.min(100_000_000), |_, _, _| {});
        let per_replica = u64::from(settings.concurrency_target * settings.target_utilization_percent);
        let asked = u32::try_from((requests * 100).div_ceil(per_replica)).unwrap();
        assert_eq!(
            traffic.target(),
            asked.clamp(settings.min_replica, settings.max_replica),
            "seed {seed}: {settings:?}"
        );
    }
}
