//! The scenes that a model on stage may go through while it is called all the time. The tests ask that nobody notices; the benchmark
//! measures what callers notice.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    actors::{CRASHES_AT_START, CRASHES_LATER, HANGS, deployment, push, push_to_production},
    harness::{Server, eventually},
    load::{Ledger, Load},
    stage::Stage,
};

/// Callers at one time.
const CALLERS: usize = 8;

/// A server, production of a model with two replicas under load, and another version to promote.
pub struct Play {
    /// The server.
    pub server: Server,
    /// The callers.
    pub load: Load,
    /// What was executed.
    pub ledger: Ledger,
    /// When the last promotion was asked for.
    pub promoted_at: Instant,
    stage: Stage,
    /// Name and deployment of what production serves, and of what it served before or will serve next.
    versions: [(String, String); 2],
}

/// What may happen to a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// All traffic moves at once.
    Immediate,
    /// Traffic moves in ten stages.
    Canary,
    /// The same, given up on the way.
    CanaryCancelled,
    /// Traffic moves replica by replica.
    Rolling,
    /// The same, the previous side going down first.
    Unavailable,
    /// The same, with replicas put on the previous side before anything moves.
    Overhead,
    /// The same, paused and resumed on the way.
    Paused,
    /// The same, given up on the way.
    RollingCancelled,
    /// The same, given up by force.
    ForcedBack,
    /// The same, completed by force.
    ForcedForward,
    /// The same, and the server is killed and started again on the way.
    Killed,
    /// The candidate cannot load.
    CrashesAtStart,
    /// The candidate dies half a second after it is ready, again and again.
    CrashesLater,
    /// The candidate never gets ready.
    Hangs,
}

impl Scene {
    /// Every scene, in an order in which each begins where the one before ended.
    pub const ALL: [Scene; 14] = [
        Scene::Immediate,
        Scene::Canary,
        Scene::CanaryCancelled,
        Scene::Rolling,
        Scene::Unavailable,
        Scene::Overhead,
        Scene::Paused,
        Scene::RollingCancelled,
        Scene::ForcedBack,
        Scene::ForcedForward,
        Scene::Killed,
        Scene::CrashesAtStart,
        Scene::CrashesLater,
        Scene::Hangs,
    ];
}

impl Play {
    /// Starts everything, callers included.
    pub async fn begin() -> Self {
        let ledger = Ledger::open();
        let server = Server::start_with("promotion.min_ready = \"1s\"");
        let first = push(&server, "v1", &ledger);
        let second = push(&server, "v2", &ledger);
        let stage = Stage::new(&first, "production");
        stage.set(&server, json!({"autoscaling_settings": {"min_replica": 2, "max_replica": 2}})).await;
        let load = Load::start(&server.url, &stage.endpoint(), CALLERS);
        let versions = [("v1".to_owned(), deployment(&first)), ("v2".to_owned(), deployment(&second))];
        Self { server, stage, load, ledger, versions, promoted_at: Instant::now() }
    }

    /// Plays a scene to its end, at which one version alone answers.
    pub async fn act(&mut self, scene: Scene) {
        match scene {
            Scene::Immediate => {
                self.promote(at_once()).await;
                self.succeeds().await;
            }
            Scene::Canary => {
                self.promote(by_canary(2)).await;
                self.succeeds().await;
            }
            Scene::CanaryCancelled => {
                self.promote(by_canary(10)).await;
                self.until_underway().await;
                self.ask("cancel").await;
                self.ends("CANCELED").await;
            }
            Scene::Rolling => {
                self.promote(rolling()).await;
                self.succeeds().await;
            }
            Scene::Unavailable => {
                self.promote(rolling_by(json!({"max_surge_percent": 0, "max_unavailable_percent": 50}))).await;
                self.until_underway().await;
                self.until_serving_replicas("the previous side goes down before it is replaced", 1).await;
                self.succeeds().await;
            }
            Scene::Overhead => {
                self.promote(rolling_by(json!({"max_surge_percent": 50, "replica_overhead_percent": 50}))).await;
                self.until_serving_replicas("the previous side has half as many more", 3).await;
                self.succeeds().await;
            }
            Scene::Paused => {
                self.promote(rolling()).await;
                self.until_underway().await;
                self.is_paused_and_resumed().await;
                self.succeeds().await;
            }
            Scene::RollingCancelled => {
                self.promote(rolling()).await;
                self.until_underway().await;
                self.ask("cancel").await;
                self.ends("CANCELED").await;
            }
            Scene::ForcedBack => {
                self.promote(rolling()).await;
                self.until_underway().await;
                self.ask("force_cancel").await;
                self.ends("CANCELED").await;
            }
            Scene::ForcedForward => {
                self.promote(rolling()).await;
                self.until_underway().await;
                self.ask("force_roll_forward").await;
                self.succeeds().await;
            }
            Scene::Killed => {
                self.promote(rolling()).await;
                self.until_underway().await;
                let Play { load, server, .. } = self;
                load.outage(|| {
                    server.kill();
                    server.restart();
                    server.url.clone()
                });
                self.succeeds().await;
            }
            Scene::CrashesAtStart => {
                self.push("broken", CRASHES_AT_START).await;
                self.ends("FAILED").await;
            }
            Scene::CrashesLater => {
                let fragile = self.push("fragile", CRASHES_LATER).await;
                eventually("each of its replicas has died and is back", || async {
                    let log = self.server.greenroom(&["logs", "actor", "--deployment", &fragile]).stdout;
                    (log.matches("on stage").count() >= 4).then_some(())
                })
                .await;
                let share = self.stage.until(&self.server, &["RELEASING"]).await;
                assert_eq!(share, 0, "it never has traffic");
                self.ask("cancel").await;
                self.ends("CANCELED").await;
            }
            Scene::Hangs => {
                self.push("hanging", HANGS).await;
                self.ends("FAILED").await;
            }
        }
    }

    /// The versions that answer now and that answered before or will answer next.
    pub fn versions(&self) -> [&str; 2] {
        [&self.versions[0].0, &self.versions[1].0]
    }

    /// Begins to promote the version that production does not serve, with these promotion settings.
    async fn promote(&mut self, settings: Value) {
        self.set(settings).await;
        self.load.mark();
        self.promoted_at = Instant::now();
        self.stage.promote(&self.server, &self.versions[1].1).await;
    }

    /// Pushes a candidate that cannot succeed, and returns its id.
    async fn push(&mut self, name: &str, on_load: &str) -> String {
        self.set(at_once()).await;
        self.load.mark();
        self.promoted_at = Instant::now();
        deployment(&push_to_production(&self.server, name, on_load, &self.ledger))
    }

    async fn set(&self, promotion: Value) {
        self.stage.set(&self.server, json!({ "promotion_settings": promotion })).await;
    }

    async fn ask(&self, action: &str) {
        self.stage.ask(&self.server, action).await;
    }

    /// Waits until the candidate has some of the traffic.
    async fn until_underway(&self) {
        self.stage.until_share(&self.server, &["RAMPING_UP"], 1).await;
    }

    /// Waits until so many replicas of what production serves are ready.
    async fn until_serving_replicas(&self, what: &str, count: u64) {
        eventually(what, || async {
            let seen = self.stage.seen(&self.server).await;
            (seen["current_deployment"]["active_replica_count"] == count).then_some(())
        })
        .await;
    }

    async fn is_paused_and_resumed(&self) {
        self.ask("pause").await;
        let pinned = self.stage.until(&self.server, &["PAUSED"]).await;
        let answered = self.load.answered();
        eventually("more are answered", || async { (self.load.answered() > answered + 500).then_some(()) }).await;
        assert_eq!(self.load.versions().len(), 2, "both sides answer");
        assert_eq!(self.stage.until(&self.server, &["PAUSED"]).await, pinned, "the share stays");
        self.ask("resume").await;
    }

    /// The candidate takes over, and everybody is answered by it.
    async fn succeeds(&mut self) {
        self.stage.until(&self.server, &["SUCCEEDED"]).await;
        let current = self.stage.current(&self.server).await;
        self.versions.reverse();
        self.versions[0].1 = current;
        self.until_current_alone_answers().await;
    }

    /// The promotion ends so, and everybody is answered by what was served before.
    async fn ends(&self, status: &str) {
        self.stage.until(&self.server, &[status]).await;
        assert_eq!(self.stage.current(&self.server).await, self.versions[0].1, "the pointer stays");
        self.until_current_alone_answers().await;
    }

    /// A request that began on the other side may still be on its way back.
    async fn until_current_alone_answers(&self) {
        eventually("one version alone answers", || async {
            let before = Instant::now();
            let answered = self.load.answered();
            eventually("some are answered", || async { (self.load.answered() > answered + 100).then_some(()) }).await;
            let seen = self.load.versions();
            let since = seen.iter().filter(|(_, (_, last))| *last >= before).map(|(version, _)| version);
            since.eq([&self.versions[0].0]).then_some(())
        })
        .await;
    }
}

fn at_once() -> Value {
    json!({"rolling_deploy": false, "ramp_up_while_promoting": false})
}

fn by_canary(seconds: u64) -> Value {
    json!({"rolling_deploy": false, "ramp_up_while_promoting": true, "ramp_up_duration_seconds": seconds})
}

fn rolling() -> Value {
    rolling_by(json!({"max_surge_percent": 50}))
}

/// With a second after each shift, so that there is a moment in which to ask something.
fn rolling_by(steps: Value) -> Value {
    let mut config = json!({"max_surge_percent": 0, "max_unavailable_percent": 0, "replica_overhead_percent": 0});
    config["stabilization_time_seconds"] = 1.into();
    for (name, value) in steps.as_object().expect("an object") {
        config[name] = value.clone();
    }
    json!({"rolling_deploy": true, "rolling_deploy_config": config})
}
