//! What people do to promotions, and what they wait for.

use std::time::Duration;

use api::id::{DeploymentId, ModelId};
use planner::{
    autoscale::{self, Load},
    lifecycle::Observed,
    promotion::{self, Command, Ending, Memory, Room, Seen, Settings, Side, State, Status},
};
use store::{
    Candidate, NewPromotion,
    domain::{Deployment, Origin, PRODUCTION, Promotion},
};

use crate::world::{World, counted};

/// A step of the clock.
pub const STEP: Duration = Duration::from_secs(1);

/// Settings of an environment that has so many replicas, whatever the load.
pub fn exactly(replicas: u32) -> impl Fn(&mut autoscale::Settings) {
    move |settings| {
        settings.min_replica = replicas;
        settings.max_replica = replicas;
    }
}

impl World {
    /// A model whose production is served by its first deployment, and a second one that is built and has no replica wanted.
    /// Every replica is ready as soon as it is started.
    pub async fn on_stage(&self, change: impl Fn(&mut autoscale::Settings)) -> (Deployment, Deployment) {
        self.backend.make_ready_at_once();
        let first = self.push_model("iris").await;
        self.until_serves(&first.model_id, PRODUCTION, &first.id).await;
        let mut production = self.store.environment(&first.model_id, PRODUCTION).await.unwrap();
        change(&mut production.autoscaling);
        self.store.save_environment(&mut production, None).await.unwrap();
        let wanted = production.autoscaling.min_replica.max(1) as usize;
        self.eventually("production has its replicas", || async {
            (self.gateway.route(&first.id)?.replicas.len() == wanted).then_some(())
        })
        .await;
        self.advance(STEP);
        let second = self.push(&first.model_id, |_| {}).await;
        (first, second)
    }

    /// A person promotes a deployment to production.
    pub async fn promote(&self, id: &DeploymentId, change: impl FnOnce(&mut Settings)) -> Promotion {
        let candidate = self.deployment(id).await;
        let environment = self.store.environment(&candidate.model_id, PRODUCTION).await.unwrap();
        let mut settings = environment.promotion(Room::Beside, candidate.deploy_timeout_ms, 0).unwrap();
        change(&mut settings);
        let previous = match &environment.current {
            Some(current) => Some(self.deployment(current).await),
            None => None,
        };
        let observed = async |id: &DeploymentId| Observed::of(&counted(&self.replicas(id).await));
        let candidate_observed = observed(&candidate.id).await;
        let previous_observed = match &previous {
            Some(previous) => observed(&previous.id).await,
            None => Observed::default(),
        };
        fn side<'a>(of: &'a Deployment, observed: &Observed) -> Side<'a> {
            Side::of(&of.lifecycle, observed, of.target_replicas, &of.replica_memory)
        }
        let seen = Seen {
            candidate: side(&candidate, &candidate_observed),
            previous: previous.as_ref().map(|previous| side(previous, &previous_observed)),
            load: Load::default(),
            autoscaling: &environment.autoscaling,
            published_percent: None,
        };
        let state = State::begin(self.now(), &settings, &seen);
        let first = promotion::decide(self.now(), &state, &Memory::default(), None, &settings, &seen);
        let new = NewPromotion {
            model_id: candidate.model_id.clone(),
            environment: PRODUCTION.into(),
            candidate: Candidate::Existing(candidate.id.clone()),
            previous: environment.current.clone(),
            origin: Origin::Person,
            started_at: self.now(),
            settings,
            state,
            targets: first.output,
            why: first.why.to_string(),
            requested_by: None,
            difference: None,
        };
        self.store.begin_promotion(&new, None).await.unwrap()
    }

    /// What a person asks of a promotion that is under way.
    pub async fn command(&self, promotion: &Promotion, command: Command) {
        let known = self.store.promotion(promotion.id).await.unwrap();
        known.state.accepts(command, &known.settings).unwrap();
        self.store.command_promotion(promotion.id, command, None).await.unwrap();
    }

    /// Waits until a promotion stands there.
    pub async fn until_promotion(&self, promotion: &Promotion, status: Status) -> Promotion {
        self.eventually(&format!("the promotion is {status}"), || async {
            let now = self.store.promotion(promotion.id).await.unwrap();
            (now.state.status() == status).then_some(now)
        })
        .await
    }

    /// Waits until exactly so many replicas of a deployment live.
    pub async fn until_live(&self, id: &DeploymentId, count: usize) {
        self.eventually(&format!("{count} replicas of {id} live"), || async {
            let live = self.backend.live();
            (live.iter().filter(|replica| self.is_of(replica, id)).count() == count).then_some(())
        })
        .await;
    }

    /// Every promotion to production, how it came about and how it ended; newest first.
    pub async fn history(&self, model: &ModelId) -> Vec<(DeploymentId, Origin, Option<Ending>)> {
        let history = self.store.promotion_history(model, PRODUCTION, 99).await.unwrap();
        history.into_iter().map(|one| (one.candidate, one.origin, one.state.ending().cloned())).collect()
    }

    /// The laws that hold in every story: nothing was told to stop while requests could reach it, and none was sent where nothing
    /// was ready while something was.
    #[track_caller]
    pub fn check_laws(&self) {
        assert_eq!(self.spy.stopped_while_listed(), []);
        assert_eq!(self.gateway.unlawful(), [""; 0]);
    }
}
