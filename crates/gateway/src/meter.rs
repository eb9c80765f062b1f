//! How many tokens the requests for environments and deployments have taken, where policies limit that, and who is refused then. What
//! is counted here and what other gateways have counted come together; windows and decisions are the planner's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api::{
    id::{DeploymentId, GatewayId, ModelId},
    internal::{
        routes::Table,
        tokens::{Allowance, Counted, Metered, Spent, Tokens},
    },
};
use parking_lot::Mutex;
use planner::{
    Timestamp,
    policy::{Counter, tokens},
};

use crate::{errors::Refusal, route::Target};

/// The environment whose policies count first for a deployment that several serve.
const PRODUCTION: &str = "production";

/// Looked into by every request. Which ids there are is not a stranger's choice, so a quick hash will do.
type ById<K> = HashMap<K, Arc<Meter>, foldhash::fast::RandomState>;

/// Everything that is limited. Made anew with each table; what has been counted stays.
#[derive(Default)]
pub(crate) struct Meters {
    environments: HashMap<ModelId, BTreeMap<String, Arc<Meter>>, foldhash::fast::RandomState>,
    deployments: ById<DeploymentId>,
    /// Those of environments, by what serves there.
    serving: ById<DeploymentId>,
}

/// One counter: that of an environment or of a deployment.
pub(crate) struct Meter {
    of: Metered,
    counter: Mutex<Counter>,
    /// What the counter says. While it is false, requests pass without a look at the clock or at limits, and wait for nobody.
    may_refuse: AtomicBool,
}

/// A limit that has been reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    /// By what.
    pub(crate) of: Metered,
    /// Which one.
    pub(crate) limit: tokens::Refusal,
}

impl Meters {
    /// What `table` limits, joined with what `before` has counted.
    pub(crate) fn follow(before: Option<&Meters>, table: &Table, own: &GatewayId) -> Self {
        let mut meters = Self::default();
        for (of, allowance) in &table.allowances {
            let known = before.and_then(|before| before.meter(of)).cloned();
            let meter = known.unwrap_or_else(|| Arc::new(Meter::new(of.clone())));
            meter.follow(allowance, own);
            match of {
                Metered::Environment(model, name) => {
                    meters.environments.entry(model.clone()).or_default().insert(name.clone(), meter);
                }
                Metered::Deployment(id) => drop(meters.deployments.insert(id.clone(), meter)),
            }
        }
        meters.serving = meters.serving(table);
        meters
    }

    /// The counter of the environment that a request belongs to: the one by which it has come, or where it names a deployment, the one
    /// that this serves in.
    pub(crate) fn of_environment(
        &self,
        model: &str,
        target: &Target<'_>,
        deployment: &DeploymentId,
    ) -> Option<&Arc<Meter>> {
        match target {
            _ if self.environments.is_empty() => None,
            Target::Environment(name) => self.environments.get(model)?.get(&**name),
            Target::Development | Target::Deployment(_) => self.serving.get(deployment),
        }
    }

    /// Whether a request may be served, by the limits of its environment and those of its deployment; where it may, whether there are any.
    pub(crate) fn check(
        &self,
        environment: Option<&Meter>,
        deployment: &DeploymentId,
        now: impl FnOnce() -> Timestamp,
    ) -> Result<bool, Refusal> {
        let deployment = self.deployments.get(deployment).map(|meter| &**meter);
        let is_limited = environment.or(deployment).is_some();
        let mut suspects = environment.into_iter().chain(deployment).filter(|meter| meter.may_refuse()).peekable();
        if suspects.peek().is_none() {
            return Ok(is_limited);
        }
        let now = now();
        let reached = suspects.filter_map(|meter| meter.reached(now));
        // The first of equals: `max_by_key` would take the last.
        let longest = reached.reduce(|longest, other| match other.limit.until > longest.limit.until {
            true => other,
            false => longest,
        });
        longest.map_or(Ok(is_limited), |reached| Err(Refusal::TokensSpent(Box::new(reached))))
    }

    /// Adds what a request has taken.
    pub(crate) fn add(
        &self,
        environment: Option<&Meter>,
        deployment: &DeploymentId,
        now: impl FnOnce() -> Timestamp,
        tokens: Tokens,
    ) {
        let deployment = self.deployments.get(deployment).map(|meter| &**meter);
        if environment.or(deployment).is_some() {
            let now = now();
            environment.into_iter().chain(deployment).for_each(|meter| meter.add(now, tokens));
        }
    }

    /// All that was counted here.
    pub(crate) fn counted(&self, by: &GatewayId) -> Vec<Counted> {
        let environments = self.environments.values().flat_map(BTreeMap::values);
        let mut counted = Vec::new();
        for meter in environments.chain(self.deployments.values()) {
            let spent: Vec<Spent> = meter.counter.lock().spent().collect();
            counted.extend(spent.into_iter().map(|spent| Counted { by: by.clone(), of: meter.of.clone(), spent }));
        }
        counted
    }

    fn meter(&self, of: &Metered) -> Option<&Arc<Meter>> {
        match of {
            Metered::Environment(model, name) => self.environments.get(model)?.get(name),
            Metered::Deployment(id) => self.deployments.get(id),
        }
    }

    /// The counters of environments by what serves there; where that is in several, production's goes first.
    fn serving(&self, table: &Table) -> ById<DeploymentId> {
        let mut serving = ById::default();
        for (model, metered) in &self.environments {
            let Some(routes) = table.models.get(model) else { continue };
            let mut names: HashMap<&DeploymentId, &str> = HashMap::new();
            for (name, split) in &routes.environments {
                let Some(split) = split else { continue };
                let known = names.entry(&split.stable).or_insert(name);
                if name == PRODUCTION {
                    *known = PRODUCTION;
                }
            }
            let meter = |(id, name): (&DeploymentId, &str)| Some((id.clone(), metered.get(name)?.clone()));
            serving.extend(names.into_iter().filter_map(meter));
        }
        serving
    }
}

impl Meter {
    fn new(of: Metered) -> Self {
        Self { of, counter: Mutex::default(), may_refuse: AtomicBool::new(false) }
    }

    fn follow(&self, allowance: &Allowance, own: &GatewayId) {
        let (mine, others): (Vec<_>, Vec<_>) = allowance.counted.iter().partition(|(gateway, _)| gateway == own);
        let [mine, others] = [mine, others].map(|one| one.into_iter().map(|(_, spent)| *spent).collect::<Vec<_>>());
        self.change(|counter| counter.follow(&allowance.limits, &mine, &others));
    }

    fn may_refuse(&self) -> bool {
        self.may_refuse.load(Ordering::Acquire)
    }

    fn reached(&self, now: Timestamp) -> Option<Reached> {
        let limit = self.counter.lock().decide(now).err()?;
        Some(Reached { of: self.of.clone(), limit })
    }

    fn add(&self, now: Timestamp, tokens: Tokens) {
        self.change(|counter| counter.add(now, tokens));
    }

    fn change(&self, how: impl FnOnce(&mut Counter)) {
        let mut counter = self.counter.lock();
        how(&mut counter);
        self.may_refuse.store(counter.may_refuse(), Ordering::Release);
    }
}
