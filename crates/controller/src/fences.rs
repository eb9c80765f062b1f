//! Where each deployment may run: the policies of the environments that it serves or is on its way to, and its own, with the health of
//! locations. Deployments under the same policies share one answer, which is kept until policies or health change.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use api::{id::DeploymentId, internal::tokens::Metered};
use planner::{
    catalogue::Catalogue,
    heartbeat::Health,
    location::Fence,
    policy::{Level, Policy, Request, ResourceType, candidates},
};
use store::domain::Deployment;

use crate::{
    mirror::{Policies, View},
    sites::Sites,
};

/// The answers.
pub(crate) struct Fences {
    sites: Arc<Sites>,
    catalogue: Catalogue,
    policies: Arc<Policies>,
    health: Arc<Vec<Health>>,
    known: HashMap<Question, Arc<Fence>>,
    /// The same for deployments without policies, by instance type: nearly all.
    open: HashMap<String, Arc<Fence>>,
}

/// What an answer depends on, besides what policies say and the health of locations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    /// Names of policies, of each environment.
    environments: BTreeSet<Arc<[String]>>,
    deployment: Arc<[String]>,
    instance_type: String,
}

/// What is attached to the environments of each deployment, in one moment.
pub(crate) struct Attached<'a> {
    view: &'a View,
    of_environments: HashMap<&'a DeploymentId, BTreeSet<&'a Arc<[String]>>>,
    /// Deployments that serve an environment or are on their way to one, with policies or without.
    placed: HashSet<&'a DeploymentId>,
}

impl<'a> Attached<'a> {
    pub fn new(view: &'a View) -> Self {
        let mut attached = Self { view, of_environments: HashMap::new(), placed: HashSet::new() };
        if view.attached.is_empty() {
            return attached;
        }
        let served = view.environments.iter().filter_map(|one| Some((one.current.as_ref()?, &one.model_id, &one.name)));
        let promoted = view.promotions.iter().map(|one| (&one.candidate, &one.model_id, &one.environment));
        for (deployment, model, environment) in served.chain(promoted) {
            attached.placed.insert(deployment);
            if let Some(names) = view.attached.get(&Metered::Environment(model.clone(), environment.clone())) {
                attached.of_environments.entry(deployment).or_default().insert(names);
            }
        }
        attached
    }

    /// The policies that count for a deployment, by names: of each of its environments, and its own.
    fn of(&self, deployment: &Deployment) -> (BTreeSet<Arc<[String]>>, Arc<[String]>) {
        let own = self.view.attached.get(&Metered::Deployment(deployment.id.clone())).cloned().unwrap_or_default();
        let environments = match self.of_environments.get(&deployment.id) {
            Some(names) => names.iter().map(|names| (*names).clone()).collect(),
            None if self.placed.contains(&deployment.id) => BTreeSet::new(),
            // The one it was pushed for.
            None => {
                let target = deployment.target_environment.as_ref().filter(|_| !self.view.attached.is_empty());
                let key = target.map(|target| Metered::Environment(deployment.model_id.clone(), target.clone()));
                key.and_then(|key| self.view.attached.get(&key)).cloned().into_iter().collect()
            }
        };
        (environments, own)
    }
}

impl Fences {
    pub fn new(sites: Arc<Sites>, catalogue: Catalogue) -> Self {
        let (policies, health) = (Arc::default(), Arc::default());
        Self { sites, catalogue, policies, health, known: HashMap::new(), open: HashMap::new() }
    }

    /// Begins a pass: answers go by these from now on.
    pub fn look(&mut self, view: &View, health: Arc<Vec<Health>>) {
        if !Arc::ptr_eq(&self.policies, &view.policies) || !Arc::ptr_eq(&self.health, &health) {
            (self.policies, self.health) = (view.policies.clone(), health);
            self.known.clear();
            self.open.clear();
        }
    }

    /// Where a deployment may run.
    pub fn of(&mut self, deployment: &Deployment, attached: &Attached<'_>) -> Arc<Fence> {
        let (environments, own) = attached.of(deployment);
        let environments = environments.into_iter().map(|names| self.restricting(names));
        let environments: BTreeSet<_> = environments.filter(|names| !names.is_empty()).collect();
        let own = self.restricting(own);
        if environments.is_empty() && own.is_empty() {
            if let Some(known) = self.open.get(&deployment.instance_type) {
                return known.clone();
            }
            let fence = Arc::new(self.unrestricted(&deployment.instance_type));
            self.open.insert(deployment.instance_type.clone(), fence.clone());
            return fence;
        }
        let question = Question { environments, deployment: own, instance_type: deployment.instance_type.clone() };
        if let Some(known) = self.known.get(&question) {
            return known.clone();
        }
        let fence = Arc::new(self.answer(&question));
        self.known.insert(question, fence.clone());
        fence
    }

    fn request(&self, instance_type: &str) -> Request {
        Request::of(&self.catalogue, instance_type, self.sites.inventory())
    }

    fn unrestricted(&self, instance_type: &str) -> Fence {
        let request = self.request(instance_type).under(&[]);
        let why_not =
            || Some("no location has the hardware that it needs: add some, or choose another instance type".into());
        Fence::new(&self.sites.for_planner(&self.health), &[], &request, why_not)
    }

    fn answer(&self, question: &Question) -> Fence {
        let level =
            |names: &Arc<[String]>| Level::new(names.iter().filter_map(|name| self.policy(name)), ResourceType::Model);
        let environments: Vec<Level<'_>> = question.environments.iter().map(level).collect();
        let own = level(&question.deployment);
        let request = self.request(&question.instance_type);
        let levels: Vec<&Level<'_>> = environments.iter().chain([&own]).collect();
        let anywhere = Level::default();
        let why_not = || {
            let of_each = environments.iter().chain(environments.is_empty().then_some(&anywhere));
            let explained = of_each.map(|environment| candidates(environment, &own, self.sites.inventory(), &request));
            explained.into_iter().find_map(|explained| explained.refusal().map(|refusal| refusal.to_string()))
        };
        Fence::new(&self.sites.for_planner(&self.health), &levels, &request, why_not)
    }

    /// Those of these policies that have a say in where a model runs.
    fn restricting(&self, names: Arc<[String]>) -> Arc<[String]> {
        let restricts =
            |name: &&String| self.policy(name).is_some_and(|policy| policy.restricts_places(ResourceType::Model));
        match names.iter().all(|name| restricts(&name)) {
            true => names,
            false => names.iter().filter(restricts).cloned().collect(),
        }
    }

    fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.get(name)
    }
}
