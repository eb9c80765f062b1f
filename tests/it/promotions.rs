//! Promotions under constant load: whatever becomes of the candidate, and whatever is asked meanwhile, no request fails and none is
//! executed twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    actors::{CRASHES_AT_START, CRASHES_LATER, HANGS, deployment, push, push_to_production},
    harness::{Server, eventually},
    load::{Ledger, Load},
    stage::Stage,
};

/// Requests that have to go well before a test may say that none fails.
const ENOUGH: usize = 100_000;
/// Callers at one time.
const CALLERS: usize = 8;
/// The longest that anybody may wait while a promotion goes on, on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

/// A server, production of a model with two replicas under load, and another version to promote.
struct Play {
    server: Server,
    stage: Stage,
    load: Load,
    ledger: Ledger,
    /// What production serves, and what it served before or will serve next.
    versions: [(String, String); 2],
}

impl Play {
    async fn begin() -> Self {
        let ledger = Ledger::open();
        let server = Server::start_with("promotion.min_ready = \"1s\"");
        let first = push(&server, "v1", &ledger);
        let second = push(&server, "v2", &ledger);
        let stage = Stage::new(&first, "production");
        stage.set(&server, json!({"autoscaling_settings": {"min_replica": 2, "max_replica": 2}})).await;
        let load = Load::start(&server.url, &stage.endpoint(), CALLERS);
        let versions = [("v1".to_owned(), deployment(&first)), ("v2".to_owned(), deployment(&second))];
        Self { server, stage, load, ledger, versions }
    }

    /// Promotions go at once from here on.
    async fn go_at_once(&self) {
        self.settings(json!({"rolling_deploy": false, "ramp_up_while_promoting": false})).await;
    }

    /// Promotions go in ten stages from here on.
    async fn go_by_canary(&self, seconds: u64) {
        let settings =
            json!({"rolling_deploy": false, "ramp_up_while_promoting": true, "ramp_up_duration_seconds": seconds});
        self.settings(settings).await;
    }

    /// Promotions go replica by replica from here on, with a second after each shift.
    async fn go_rolling(&self) {
        let steps = json!({"max_surge_percent": 50, "max_unavailable_percent": 0, "stabilization_time_seconds": 1});
        self.settings(json!({"rolling_deploy": true, "rolling_deploy_config": steps})).await;
    }

    async fn settings(&self, promotion: Value) {
        self.stage.set(&self.server, json!({ "promotion_settings": promotion })).await;
    }

    /// Begins to promote the version that production does not serve.
    async fn promote(&self) {
        self.load.mark();
        let (_, next) = &self.versions[1];
        self.stage.promote(&self.server, next).await;
    }

    async fn ask(&self, action: &str) {
        self.stage.ask(&self.server, action).await;
    }

    /// Waits until the candidate has some of the traffic.
    async fn until_underway(&self) -> u64 {
        self.stage.until_share(&self.server, &["RAMPING_UP"], 1).await
    }

    /// The candidate has taken over, and everybody is answered by it.
    async fn succeeds(&mut self) {
        self.stage.until(&self.server, &["SUCCEEDED"]).await;
        let current = self.stage.current(&self.server).await;
        self.versions.reverse();
        self.versions[0].1 = current;
        self.is_answered_by_current_alone().await;
    }

    /// The promotion has ended so, and everybody is answered by what was served before.
    async fn ends(&self, status: &str) {
        self.stage.until(&self.server, &[status]).await;
        assert_eq!(self.stage.current(&self.server).await, self.versions[0].1, "the pointer stays");
        self.is_answered_by_current_alone().await;
    }

    async fn is_answered_by_current_alone(&self) {
        // A request that began on the other side may still be on its way back.
        eventually("all requests on its way are answered", || async {
            self.load.mark();
            let seen = self.load.answered();
            eventually("some are answered", || async { (self.load.answered() > seen + 100).then_some(()) }).await;
            self.load.versions().keys().eq([&self.versions[0].0]).then_some(())
        })
        .await;
        self.all_is_well();
    }

    fn all_is_well(&self) {
        let failures = self.load.tally().failures;
        assert!(failures.is_empty(), "{} failed: {:#?}", failures.len(), &failures[..failures.len().min(5)]);
        assert_eq!(self.ledger.twice(), Vec::<u64>::new(), "none is executed twice");
    }
}

#[tokio::test]
async fn no_request_fails_and_none_is_executed_twice_whatever_becomes_of_a_promotion() {
    let begun = Instant::now();
    let mut play = Play::begin().await;
    let scene = |name: &str, play: &Play| say(&format!("{:5.1?}  {:6}  {name}", begun.elapsed(), play.load.answered()));

    scene("immediate", &play);
    play.promote().await;
    play.succeeds().await;

    scene("canary to the end", &play);
    play.go_by_canary(2).await;
    play.promote().await;
    play.succeeds().await;

    scene("canary cancelled", &play);
    play.go_by_canary(20).await;
    play.promote().await;
    play.until_underway().await;
    play.ask("cancel").await;
    play.ends("CANCELED").await;

    scene("rolling to the end", &play);
    play.go_rolling().await;
    play.promote().await;
    play.succeeds().await;

    scene("paused and resumed", &play);
    play.promote().await;
    play.until_underway().await;
    play.ask("pause").await;
    let pinned = play.stage.until(&play.server, &["PAUSED"]).await;
    play.load.mark();
    eventually("both sides answer", || async { (play.load.versions().len() == 2).then_some(()) }).await;
    assert_eq!(play.stage.until(&play.server, &["PAUSED"]).await, pinned, "the share stays");
    play.ask("resume").await;
    play.succeeds().await;

    scene("rolling cancelled", &play);
    play.promote().await;
    play.until_underway().await;
    play.ask("cancel").await;
    play.stage.until(&play.server, &["RAMPING_DOWN", "CANCELED"]).await;
    play.ends("CANCELED").await;

    scene("forced back", &play);
    play.promote().await;
    play.until_underway().await;
    play.ask("force_cancel").await;
    play.ends("CANCELED").await;

    scene("forced forward", &play);
    play.promote().await;
    play.until_underway().await;
    play.ask("force_roll_forward").await;
    play.succeeds().await;

    scene("the server is killed in the middle", &play);
    play.promote().await;
    play.until_underway().await;
    let Play { load, server, .. } = &mut play;
    load.outage(|| {
        server.kill();
        server.restart();
        server.url.clone()
    });
    play.succeeds().await;

    scene("the candidate cannot load", &play);
    play.go_at_once().await;
    push_to_production(&play.server, "broken", CRASHES_AT_START, &play.ledger);
    play.ends("FAILED").await;

    scene("the candidate dies half a second after it is ready", &play);
    let fragile = push_to_production(&play.server, "fragile", CRASHES_LATER, &play.ledger);
    eventually("it has died twice", || async {
        let log = play.server.greenroom(&["logs", "actor", "--deployment", &deployment(&fragile)]).stdout;
        (log.matches("on stage").count() >= 4).then_some(())
    })
    .await;
    assert_eq!(play.stage.until(&play.server, &["RELEASING"]).await, 0, "it never has traffic");
    play.ask("cancel").await;
    play.ends("CANCELED").await;

    scene("the candidate hangs", &play);
    push_to_production(&play.server, "hanging", HANGS, &play.ledger);
    play.ends("FAILED").await;

    scene("the rest", &play);
    eventually("enough requests", || async { (play.load.answered() >= ENOUGH).then_some(()) }).await;
    play.all_is_well();
    let Play { load, ledger, .. } = play;
    let seen = load.stop();
    say(&format!(
        "{} answered, {} met by the kill, {:?} the longest",
        seen.answered.len(),
        seen.interrupted,
        seen.longest
    ));
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
