//! Policies: where work may run. Administrators write them and attach them to environments; whoever may change a deployment attaches
//! them to it, and can only narrow what its environment allows. They count when something is pushed or promoted.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use api::id::{DeploymentId, ModelId};
use planner::{
    placement::InstanceType,
    policy::{Asked, Explained, Inventory, Kind, Level, Name, Policy, Request, ResourceType, candidates, written},
};
use serde_json::{Value, json};
use store::{
    PoliciesOf,
    domain::{Environment, PolicyUse, StoredPolicy},
};

use super::{
    Caller, ControlPlane, Error, audit,
    deployments::{self, Target},
    environments,
};

/// How many users of a policy are named when it cannot be deleted.
const NAMED_USERS: usize = 5;

/// All policies by name.
pub async fn list(control_plane: &ControlPlane) -> Result<Vec<StoredPolicy>, Error> {
    Ok(control_plane.store().policies().await?)
}

/// One policy.
pub async fn get(control_plane: &ControlPlane, name: &str) -> Result<StoredPolicy, Error> {
    let found = list(control_plane).await?.into_iter().find(|stored| stored.policy.name().as_str() == name);
    found.ok_or_else(|| Error::not_found("policy", name))
}

/// Makes a policy.
pub async fn create(
    control_plane: &ControlPlane,
    caller: &Caller,
    policy: written::Policy,
) -> Result<StoredPolicy, Error> {
    require_admin(caller, "make policies")?;
    let policy = parse(policy)?;
    let now = control_plane.now();
    let event = audit::event(caller, now, "POLICY_CREATED", event_data(&policy));
    control_plane.store().add_policy(&policy, now, Some(&event)).await?;
    get(control_plane, policy.name().as_str()).await
}

/// Gives a policy another rule. It counts from the next push or promotion on.
pub async fn replace(
    control_plane: &ControlPlane,
    caller: &Caller,
    name: &str,
    policy: written::Policy,
) -> Result<StoredPolicy, Error> {
    require_admin(caller, "change policies")?;
    let before = get(control_plane, name).await?;
    let policy = parse(written::Policy { name: name.to_owned(), ..policy })?;
    let now = control_plane.now();
    let mut data = event_data(&policy);
    data["previous_settings"] = json!(before.policy);
    let event = audit::event(caller, now, "POLICY_UPDATED", data);
    control_plane.store().replace_policy(&policy, now, Some(&event)).await?;
    get(control_plane, name).await
}

/// Deletes a policy. One that is attached to something only by force.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, name: &str, by_force: bool) -> Result<(), Error> {
    require_admin(caller, "delete policies")?;
    let before = get(control_plane, name).await?;
    let event = audit::event(caller, control_plane.now(), "POLICY_DELETED", event_data(&before.policy));
    match control_plane.store().delete_policy(name, by_force, Some(&event)).await {
        Err(store::Error::InUse { .. }) => Err(Error::Stale(in_use(control_plane, name).await?)),
        outcome => Ok(outcome?),
    }
}

async fn in_use(control_plane: &ControlPlane, name: &str) -> Result<String, Error> {
    let uses = control_plane.store().uses_of_policy(name).await?;
    let named = uses.iter().take(NAMED_USERS).map(|one| match one {
        PolicyUse::Environment { model_id, environment } => format!("environment {environment} of model {model_id}"),
        PolicyUse::Deployment { deployment_id } => format!("deployment {deployment_id}"),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match uses.len().saturating_sub(NAMED_USERS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Ok(format!("policy {name} is attached to {named}{more}: detach it there first, or delete it with force=true"))
}

/// The names of the policies of an environment.
pub async fn of_environment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
) -> Result<Vec<String>, Error> {
    let (model, environment) = environments::find(control_plane, caller, model, name).await?;
    Ok(control_plane.store().policies_of(PoliciesOf::Environment(&model.id, &environment.name)).await?)
}

/// Attaches these to an environment, in place of what was attached. What it serves goes on as it is; what comes next has to fit.
pub async fn attach_to_environment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
    names: Vec<String>,
) -> Result<Vec<String>, Error> {
    require_admin(caller, "attach policies to environments")?;
    let (model, environment) = environments::find_to_change(control_plane, caller, model, name).await?;
    find_all(control_plane, "policies", &names).await?;
    let of = PoliciesOf::Environment(&model.id, &environment.name);
    let before = control_plane.store().policies_of(of).await?;
    if before == names {
        return Ok(names);
    }
    let more =
        json!({ "environment_name": environment.name, "policies": names, "previous_settings": { "policies": before } });
    let event = audit::of_model(caller, control_plane.now(), "ENVIRONMENT_POLICIES_CHANGED", &model, more);
    control_plane.store().attach_policies(of, &names, Some(&event)).await?;
    Ok(names)
}

/// Whether the caller may remove an environment, which takes along what an administrator has attached to it; 403 when not.
pub(super) async fn require_to_remove(
    control_plane: &ControlPlane,
    caller: &Caller,
    environment: &Environment,
) -> Result<(), Error> {
    let of = PoliciesOf::Environment(&environment.model_id, &environment.name);
    if caller.is_admin() || control_plane.store().policies_of(of).await?.is_empty() {
        return Ok(());
    }
    let name = &environment.name;
    Err(Error::Forbidden(format!("environment {name} has policies: only an administrator can delete it")))
}

/// The names of the policies of a deployment.
pub async fn of_deployment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<Vec<String>, Error> {
    let (_, deployment) = deployments::find(control_plane, caller, model, target).await?;
    Ok(control_plane.store().policies_of(PoliciesOf::Deployment(&deployment.id)).await?)
}

/// Attaches these to a deployment, in place of what was attached.
pub async fn attach_to_deployment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    names: Vec<String>,
) -> Result<Vec<String>, Error> {
    let found = deployments::find_to_change(control_plane, caller, model, target).await?;
    find_all(control_plane, "policies", &names).await?;
    let of = PoliciesOf::Deployment(&found.1.id);
    let before = control_plane.store().policies_of(of).await?;
    if before == names {
        return Ok(names);
    }
    let more = json!({ "policies": names, "previous_settings": { "policies": before } });
    let event =
        audit::of_deployment(caller, control_plane.now(), "DEPLOYMENT_POLICIES_CHANGED", (&found.0, &found.1), more);
    control_plane.store().attach_policies(of, &names, Some(&event)).await?;
    Ok(names)
}

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
    attached.weigh(control_plane, resource_type, &request, answer).await
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
    attached.weigh(control_plane, ResourceType::Model, &request, answer).await
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
    pub(super) fn refuse(&self, act: Act, message: String) -> Error {
        let count = match act {
            Act::Push => &self.pushes,
            Act::Promotion => &self.promotions,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Error::NoPlace(message)
    }
}

/// Why something on this instance type may run nowhere, in a sentence; none when it may, or when nothing restricts it.
pub(super) async fn refusal(
    control_plane: &ControlPlane,
    environment: Option<&Environment>,
    deployment: Option<&DeploymentId>,
    instance_type: &str,
) -> Result<Option<String>, Error> {
    let attached = Attached::read(control_plane, environment, deployment).await?;
    if attached.environment.is_empty() && attached.deployment.is_empty() {
        return Ok(None);
    }
    let request = request(control_plane, instance_type);
    let sentence = |explained: &Explained<'_>| explained.refusal().map(|refusal| refusal.to_string());
    attached.weigh(control_plane, ResourceType::Model, &request, sentence).await
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
        request: &Request,
        answer: impl FnOnce(&Explained<'_>) -> T,
    ) -> Result<T, Error> {
        let environment = find_all(control_plane, "environment_policies", &self.environment).await?;
        let deployment = find_all(control_plane, "deployment_policies", &self.deployment).await?;
        let [environment, deployment] = [&environment, &deployment].map(|level| Level::new(level, resource_type));
        Ok(answer(&candidates(&environment, &deployment, &control_plane.settings().inventory, request)))
    }
}

/// What a replica on this instance type needs of a place.
fn request(control_plane: &ControlPlane, instance_type: &str) -> Request {
    let settings = control_plane.settings();
    let kind = settings.instance_types.iter().find(|kind| kind.id == instance_type);
    kind.map(|kind| needs(kind, &settings.inventory)).unwrap_or_default()
}

/// A type with GPUs needs those, of their kind. One without needs a machine, whatever its processors.
fn needs(kind: &InstanceType, inventory: &Inventory) -> Request {
    let gpu = kind.gpu_type.as_ref().and_then(|name| {
        let name = name.to_lowercase().replace('_', "-");
        Name::parse("gpu_type", &name).ok()
    });
    let count = std::num::NonZeroU32::new(kind.gpu_count).unwrap_or(std::num::NonZeroU32::MIN);
    match gpu {
        Some(name) => Request {
            asked: Asked::OneOf { kind: Kind::Gpu, names: BTreeSet::from([name]) },
            count,
            memory_mib: kind.gpu_memory_mib.unwrap_or(0),
        },
        None => {
            let stocks = inventory.locations().iter().flat_map(|location| &location.flavors);
            let names = stocks.filter(|stock| stock.flavor.kind == Kind::Cpu).map(|stock| stock.flavor.name.clone());
            Request {
                asked: Asked::OneOf { kind: Kind::Cpu, names: names.collect() },
                count,
                memory_mib: kind.memory_mib,
            }
        }
    }
}

/// The policies of these names; a name that is none's is refused.
async fn find_all(control_plane: &ControlPlane, field: &str, names: &[String]) -> Result<Vec<Policy>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let all = list(control_plane).await?;
    let find = |name: &String| {
        let found = all.iter().find(|stored| stored.policy.name().as_str() == name);
        found.map(|stored| stored.policy.clone()).ok_or_else(|| {
            Error::Unprocessable(format!("{field}: there is no policy {name:?}: `greenroom policies list` names them"))
        })
    };
    names.iter().map(find).collect()
}

fn parse(policy: written::Policy) -> Result<Policy, Error> {
    const KINDS: [&str; 4] = ["location", "flavor", "cpu", "gpu"];
    if !KINDS.contains(&policy.kind.as_str()) {
        let kind = &policy.kind;
        return Err(Error::Invalid(format!("type: {kind:?} is no type of policy here: choose location or flavor")));
    }
    Policy::try_from(policy).map_err(|invalid| Error::Invalid(invalid.to_string()))
}

fn require_admin(caller: &Caller, what: &str) -> Result<(), Error> {
    match caller.is_admin() {
        true => Ok(()),
        false => Err(Error::Forbidden(format!("only an administrator can {what}: use a personal key of one"))),
    }
}

fn event_data(policy: &Policy) -> Value {
    json!({ "policy_name": policy.name().as_str(), "policy": policy })
}
