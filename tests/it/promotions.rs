//! Promotions under constant load: whatever becomes of the candidate, and whatever is asked meanwhile, no request fails and none is
//! executed twice.

use std::time::{Duration, Instant};

use crate::{
    harness::eventually,
    play::{Play, Scene},
};

/// Requests that have to go well before the test may say that none fails.
const ENOUGH: usize = 100_000;
/// The longest that anybody may wait while a promotion goes on, on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

#[tokio::test]
async fn no_request_fails_and_none_is_executed_twice_whatever_becomes_of_a_promotion() {
    let mut play = Play::begin().await;
    let begun = Instant::now();
    for scene in Scene::ALL {
        let [serving, _] = play.versions();
        let at = begun.elapsed().as_secs_f64();
        say(&format!("{at:5.1} s  {:6} requests  {serving} serves  {scene:?}", play.load.answered()));
        play.act(scene).await;
        assert_eq!(play.load.tally().failures, Vec::<String>::new(), "{scene:?}");
        assert_eq!(play.ledger.twice(), Vec::<u64>::new(), "{scene:?}");
    }
    eventually("enough requests", || async { (play.load.answered() >= ENOUGH).then_some(()) }).await;

    let Play { load, ledger, .. } = play;
    let seen = load.stop();
    let answered = seen.answered.len();
    say(&format!("{answered} answered, {} met by the kill, {:?} the longest", seen.interrupted, seen.longest));
    assert_eq!(seen.failures, Vec::<String>::new());
    assert!(seen.longest < LONGEST, "a request took {:?}", seen.longest);
    eventually("every answer was executed, once", || async {
        seen.answered.iter().all(|id| ledger.times(*id) == 1).then_some(())
    })
    .await;
    assert_eq!(ledger.twice(), Vec::<u64>::new(), "none is executed twice, answered or not");
}

/// What a person sees of a long test.
#[expect(clippy::print_stdout, reason = "shown when the test fails, and with --no-capture")]
fn say(text: &str) {
    println!("{text}");
}
