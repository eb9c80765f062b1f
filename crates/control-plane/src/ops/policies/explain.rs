//! Where something may run, and why it may not, by the policies of an environment and of a deployment.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use api::id::{DeploymentId, ModelId};
use planner::policy::{Asked, Explained, Level, Request, ResourceType, candidates, written};
use store::{PoliciesOf, domain::Environment};

use super::{
    super::{Caller, ControlPlane, Error, environments, locations},
    find_all,
};

/// A question where something may run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Policies of the environment, by name.
    pub environment: Vec<String>,
    /// Policies of the deployment, by name.
    pub deployment: Vec<String>,
    /// The hardware that it asks for.
    pub flavors: Vec<written::Entry>,
    /// What kind of thing it is; a model when nothing is said.
    pub resource_type: Option<String>,
}

/// Where something may run, by names: `answer` is told. A name that is no policy's is refused.
pub async fn explain<T>(
    control_plane: &ControlPlane,
    question: Question,
    answer: impl FnOnce(&Explained<'_>) -> T,
) -> Result<T, Error> {
    let resource_type = match question.resource_type.as_deref() {
        None => ResourceType::Model,
        Some(text) => ResourceType::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| {
            let known = ResourceType::ALL.map(ResourceType::as_str).join(", ");
            Error::Unprocessable(format!("resource_type: {text:?} is not a type of thing: choose one of {known}"))
        })?,
    };
    let asked = match question.flavors.as_slice() {
        [] => Asked::Anything,
        flavors => Asked::parse("flavors", flavors).map_err(|invalid| Error::Invalid(invalid.to_string()))?,
    };
    let request = Request { asked, ..Request::default() };
    let attached = Attached { environment: question.environment, deployment: question.deployment };
    attached.weigh(control_plane, resource_type, request, answer).await
}

/// Where what an environment of a model serves may run: `answer` is told. An environment that serves nothing yet asks for anything.
pub async fn explain_environment<T>(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
    answer: impl FnOnce(&Explained<'_>) -> T,
) -> Result<T, Error> {
    let (_, environment) = environments::find(control_plane, caller, model, name).await?;
    let attached = Attached::read(control_plane, Some(&environment), environment.current.as_ref()).await?;
    let request = match &environment.current {
        None => Request::default(),
        Some(id) => request(control_plane, &control_plane.store().deployment(id).await?.instance_type),
    };
    attached.weigh(control_plane, ResourceType::Model, request, answer).await
}

/// What is refused because it could run nowhere, since the server began.
#[derive(Debug, Default)]
pub struct Refusals {
    pushes: AtomicU64,
    promotions: AtomicU64,
}

/// What can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A push to an environment.
    Push,
    /// A promotion.
    Promotion,
}

impl Refusals {
    /// How often each has been.
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        [("push", &self.pushes), ("promotion", &self.promotions)]
            .map(|(act, count)| (act, count.load(Ordering::Relaxed)))
    }

    /// Counts one, and says why.
    pub(in super::super) fn refuse(&self, act: Act, message: String) -> Error {
        let count = match act {
            Act::Push => &self.pushes,
            Act::Promotion => &self.promotions,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Error::NoPlace(message)
    }
}

/// Where something may run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Places {
    /// The places, in the order of the inventory.
    pub candidates: Vec<String>,
    /// The locations whose room counts, as the planner says.
    pub locations: BTreeSet<String>,
    /// Why there are none, in a sentence; none when there are some, or when nothing restricts it.
    pub refusal: Option<String>,
}

/// Where something on this instance type may run, by the policies of an environment and of a deployment.
pub(in super::super) async fn places(
    control_plane: &ControlPlane,
    environment: Option<&Environment>,
    deployment: Option<&DeploymentId>,
    instance_type: &str,
) -> Result<Places, Error> {
    let attached = Attached::read(control_plane, environment, deployment).await?;
    let request = request(control_plane, instance_type);
    let asked = request.asked.clone();
    let places = |explained: &Explained<'_>| Places {
        candidates: explained.candidates.iter().map(|one| format!("{} on {}", one.location.name, one.flavor)).collect(),
        locations: explained.locations(&asked).into_iter().map(ToString::to_string).collect(),
        refusal: explained.refusal().filter(|_| explained.is_restricted()).map(|refusal| refusal.to_string()),
    };
    attached.weigh(control_plane, ResourceType::Model, request, places).await
}

/// Names of policies on the two levels.
struct Attached {
    environment: Vec<String>,
    deployment: Vec<String>,
}

impl Attached {
    async fn read(
        control_plane: &ControlPlane,
        environment: Option<&Environment>,
        deployment: Option<&DeploymentId>,
    ) -> Result<Self, Error> {
        let store = control_plane.store();
        let environment = match environment {
            Some(one) => store.policies_of(PoliciesOf::Environment(&one.model_id, &one.name)).await?,
            None => Vec::new(),
        };
        let deployment = match deployment {
            Some(id) => store.policies_of(PoliciesOf::Deployment(id)).await?,
            None => Vec::new(),
        };
        Ok(Self { environment, deployment })
    }

    async fn weigh<T>(
        &self,
        control_plane: &ControlPlane,
        resource_type: ResourceType,
        request: Request,
        answer: impl FnOnce(&Explained<'_>) -> T,
    ) -> Result<T, Error> {
        let environment = find_all(control_plane, "environment_policies", &self.environment).await?;
        let deployment = find_all(control_plane, "deployment_policies", &self.deployment).await?;
        let [environment, deployment] = [&environment, &deployment].map(|level| Level::new(level, resource_type));
        let inventory = locations::inventory(control_plane).await?;
        let request = request.under(&[&environment, &deployment]);
        Ok(answer(&candidates(&environment, &deployment, &inventory, &request)))
    }
}

/// What a replica on this instance type needs of a place.
fn request(control_plane: &ControlPlane, instance_type: &str) -> Request {
    let settings = control_plane.settings();
    Request::of(&settings.instance_types, instance_type, &settings.inventory)
}
