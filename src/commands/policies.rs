//! `greenroom policies`: where work may run, and how many tokens it may take.

use api::v1::policies::{
    AttachedPolicies, ExplainPoliciesRequest, ExplainPoliciesResponse, MaxTokens, PlacementCandidate, Policies, Policy,
    PolicyEntry, PolicyRequest, PolicyTombstone,
};

use super::{
    Context,
    target::{find_deployment, find_model},
};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
};

/// Say where and on what hardware work may run and how many tokens it may take, and see what follows
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the policies
    List,
    /// Make a policy, or give one that is there another rule
    Set {
        /// Its name
        name: String,
        /// What it allows: location:NAME, country:CODE, continent:CODE, or cpu:NAME, gpu:NAME; several add up
        #[arg(long, required_unless_present = "max_tokens", value_name = "KIND:NAME", value_parser = allowed)]
        allow: Vec<PolicyEntry>,
        /// Or how many tokens may be taken: input:NUMBER, output:NUMBER, total:NUMBER, or ratio:NUMBER of input for each of output
        #[arg(long, value_name = "WHAT:NUMBER", value_parser = bound, requires = "each", conflicts_with = "allow")]
        max_tokens: Vec<Bound>,
        /// In which time: minute, hour, day or month, or several as 15minutes; windows lie fixed in UTC
        #[arg(long, value_name = "WINDOW", value_parser = window, requires = "max_tokens")]
        each: Option<Window>,
        /// What it is for: model, function or agent, several; without it as before, and a new one for everything
        #[arg(long, value_name = "TYPE")]
        resource_type: Vec<String>,
    },
    /// Delete a policy
    Delete {
        /// Its name
        name: String,
        /// Also when it is attached to something
        #[arg(long)]
        force: bool,
    },
    /// Attach policies to an environment or a deployment, in place of those that were; without any, detach all
    Attach {
        /// Model, by name or id
        model: String,
        #[command(flatten)]
        to: AttachedTo,
        /// Policies, by name
        policies: Vec<String>,
    },
    /// Show where something may run, and which policy took every other place away; changes nothing
    Explain {
        /// What this environment of this model serves
        #[arg(requires = "environment")]
        model: Option<String>,
        /// The environment
        #[arg(long, short, value_name = "NAME", requires = "model")]
        environment: Option<String>,
        /// In place of a model: policies of an environment, by name
        #[arg(long, value_name = "POLICY", conflicts_with = "model")]
        environment_policy: Vec<String>,
        /// In place of a model: policies of a deployment, by name
        #[arg(long, value_name = "POLICY", conflicts_with = "model")]
        deployment_policy: Vec<String>,
        /// In place of a model: hardware that is asked for, as gpu:t4
        #[arg(long, value_name = "KIND:NAME", conflicts_with = "model", value_parser = allowed)]
        flavor: Vec<PolicyEntry>,
        /// In place of a model: what kind of thing, model, function or agent
        #[arg(long, value_name = "TYPE", conflicts_with = "model")]
        resource_type: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct AttachedTo {
    /// To this environment
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
    /// To this deployment, by name or id
    #[arg(long, value_name = "DEPLOYMENT")]
    deployment: Option<String>,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    match args.verb {
        Verb::List => {
            let found: Policies = client.get(&["v1", "policies"]).await?;
            let rows = found.policies.iter().map(row).collect();
            printer.table(&found, &["policy", "type", "allows", "environments", "deployments"], rows)
        }
        Verb::Set { name, allow, max_tokens, each, resource_type } => {
            let rule = match each {
                Some(window) => limit(&max_tokens, &window),
                None => placement(allow)?,
            };
            let resource_types = (!resource_type.is_empty()).then_some(resource_type);
            let policy = set(&client, &name, PolicyRequest { resource_types, ..rule }).await?;
            printer.answer(&policy, |policy| format!("{} allows {}", policy.name, allows(policy)))
        }
        Verb::Delete { name, force } => {
            let query = [("force", force.to_string())];
            let gone: PolicyTombstone = client.delete_where(&["v1", "policies", &name], &query).await?;
            printer.answer(&gone, |gone| format!("Deleted {}", gone.name))
        }
        Verb::Attach { model, to, policies } => {
            let attached = attach(&client, &model, &to, policies).await?;
            printer.answer(&attached, |attached| match attached.policies.as_slice() {
                [] => "No policy is attached".to_owned(),
                names => format!("Attached: {}", names.join(", ")),
            })
        }
        Verb::Explain { model, environment, environment_policy, deployment_policy, flavor, resource_type } => {
            let model_id = match model {
                Some(model) => Some(find_model(&client, &model).await?.id),
                None => None,
            };
            let question = ExplainPoliciesRequest {
                environment_policies: environment_policy,
                deployment_policies: deployment_policy,
                flavors: (!flavor.is_empty()).then_some(flavor),
                resource_type,
                model_id,
                environment,
            };
            let answer: ExplainPoliciesResponse = client.post(&["v1", "policies:explain"], &question).await?;
            printer.answer(&answer, explained)
        }
    }
}

/// One bound of a limit of tokens, as `total:1000`.
#[derive(Debug, Clone)]
struct Bound {
    measure: String,
    most: u64,
}

/// The time in which tokens count together.
#[derive(Debug, Clone)]
struct Window {
    granularity: String,
    step: u32,
}

/// What a policy allows of places or hardware.
fn placement(allow: Vec<PolicyEntry>) -> Result<PolicyRequest> {
    let is_place = |entry: &PolicyEntry| matches!(entry.kind.as_deref(), Some("location" | "country" | "continent"));
    let (locations, flavors): (Vec<_>, Vec<_>) = allow.into_iter().partition(is_place);
    if !locations.is_empty() && !flavors.is_empty() {
        let message = "a policy allows places or hardware, not both";
        return Err(Failure::new(Kind::Usage, message).hint("make two policies, and attach both"));
    }
    let kind = if flavors.is_empty() { "location" } else { "flavor" };
    Ok(PolicyRequest { locations, flavors, ..rule(kind) })
}

/// How many tokens a policy allows.
fn limit(bounds: &[Bound], window: &Window) -> PolicyRequest {
    let most = |measure: &str| bounds.iter().rev().find(|bound| bound.measure == measure).map(|bound| bound.most);
    let max_tokens = MaxTokens {
        granularity: window.granularity.clone(),
        step: Some(window.step),
        input: most("input"),
        output: most("output"),
        total: most("total"),
        ratio_input_over_output: most("ratio"),
    };
    PolicyRequest { max_tokens: Some(max_tokens), ..rule("maxToken") }
}

fn rule(kind: &str) -> PolicyRequest {
    PolicyRequest {
        name: None,
        kind: kind.to_owned(),
        locations: Vec::new(),
        flavors: Vec::new(),
        max_tokens: None,
        resource_types: None,
    }
}

/// A policy is made, or changed where there is one of this name.
async fn set(client: &Client, name: &str, rule: PolicyRequest) -> Result<Policy> {
    let path = ["v1", "policies", name];
    let before: Option<Policy> = client.find(&path).await?;
    let is_new = before.is_none();
    let request = PolicyRequest {
        name: Some(name.to_owned()),
        resource_types: rule.resource_types.or(before.and_then(|policy| policy.resource_types)),
        ..rule
    };
    match is_new {
        true => client.post(&["v1", "policies"], &request).await,
        false => client.put(&path, &request).await,
    }
}

async fn attach(client: &Client, model: &str, to: &AttachedTo, policies: Vec<String>) -> Result<AttachedPolicies> {
    let model = find_model(client, model).await?;
    let request = AttachedPolicies { policies };
    let of_model = ["v1", "models", &model.id];
    match (&to.environment, &to.deployment) {
        (Some(name), _) => client.put(&[&of_model[..], &["environments", name, "policies"]].concat(), &request).await,
        (None, deployment) => {
            let named = deployment.as_deref().expect("the grammar asks for one of the two");
            let deployment = find_deployment(client, &model, named).await?;
            client.put(&[&of_model[..], &["deployments", &deployment.id, "policies"]].concat(), &request).await
        }
    }
}

fn allowed(text: &str) -> std::result::Result<PolicyEntry, String> {
    const KINDS: [&str; 5] = ["location", "country", "continent", "cpu", "gpu"];
    let (kind, name) = text.split_once(':').ok_or_else(|| "write it as KIND:NAME, such as country:fr".to_owned())?;
    if !KINDS.contains(&kind) {
        return Err(format!("{kind:?} is none of {}", KINDS.join(", ")));
    }
    Ok(PolicyEntry { kind: Some(kind.to_owned()), name: name.to_owned() })
}

fn bound(text: &str) -> std::result::Result<Bound, String> {
    const MEASURES: [&str; 4] = ["input", "output", "total", "ratio"];
    let (measure, most) =
        text.split_once(':').ok_or_else(|| "write it as WHAT:NUMBER, such as total:100000".to_owned())?;
    if !MEASURES.contains(&measure) {
        return Err(format!("{measure:?} is none of {}", MEASURES.join(", ")));
    }
    let most = most.replace('_', "").parse().map_err(|_| format!("{most:?} is not a whole number"))?;
    Ok(Bound { measure: measure.to_owned(), most })
}

fn window(text: &str) -> std::result::Result<Window, String> {
    const UNITS: [&str; 4] = ["minute", "hour", "day", "month"];
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (step, unit) = text.split_at(unit_at);
    let unit = unit.trim_start_matches([' ', '-']);
    let unit = unit.strip_suffix('s').unwrap_or(unit);
    if !UNITS.contains(&unit) {
        return Err(format!("write it as one of {}, or several as 15minutes", UNITS.join(", ")));
    }
    let step = if step.is_empty() { 1 } else { step.parse().map_err(|_| format!("{step} is too many"))? };
    Ok(Window { granularity: unit.to_owned(), step })
}

fn row(policy: &Policy) -> Vec<String> {
    let used = [policy.usage.environments, policy.usage.deployments].map(|count| count.to_string());
    [policy.name.clone(), policy.kind.clone(), allows(policy)].into_iter().chain(used).collect()
}

fn allows(policy: &Policy) -> String {
    if let Some(max_tokens) = &policy.max_tokens {
        return tokens(max_tokens);
    }
    let entries = policy.locations.iter().chain(&policy.flavors);
    let texts: Vec<String> = entries
        .map(|entry| match &entry.kind {
            Some(kind) => format!("{kind}:{}", entry.name),
            None => entry.name.clone(),
        })
        .collect();
    texts.join(", ")
}

fn tokens(most: &MaxTokens) -> String {
    let bounds = [
        (most.input, "tokens of input"),
        (most.output, "tokens of output"),
        (most.total, "tokens"),
        (most.ratio_input_over_output, "tokens of input for each of output"),
    ];
    let bounds: Vec<String> = bounds.into_iter().filter_map(|(most, what)| Some(format!("{} {what}", most?))).collect();
    let window = match most.step.unwrap_or(1) {
        1 => format!("each {}", most.granularity),
        step => format!("every {step} {}s", most.granularity),
    };
    format!("{} {window}", bounds.join(" and "))
}

fn explained(answer: &ExplainPoliciesResponse) -> String {
    let pair = |one: &PlacementCandidate| format!("{} on {} {}", one.location, one.flavor.kind, one.flavor.name);
    let mut lines = Vec::new();
    for step in answer.steps.iter().filter(|step| !step.removed.is_empty()) {
        let by = match step.policies.as_slice() {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        };
        let removed: Vec<String> = step.removed.iter().map(pair).collect();
        lines.push(format!("{}{by} took away {}; {} left", step.step, removed.join(", "), step.left));
    }
    let is_restricted = answer.steps.iter().any(|step| !step.policies.is_empty() || !step.removed.is_empty());
    match &answer.refusal {
        Some(_) if !is_restricted => lines.push("May run anywhere: no policy says where".to_owned()),
        Some(refusal) => lines.push(refusal.clone()),
        None => lines.push(format!("May run in {}", answer.candidates.iter().map(pair).collect::<Vec<_>>().join(", "))),
    }
    for limit in &answer.token_limits {
        lines.push(format!("{} ({}) allows {}", limit.level, limit.policy, tokens(&limit.max_tokens)));
    }
    lines.join("\n")
}
