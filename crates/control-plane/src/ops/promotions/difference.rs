//! What a promotion changes about what an environment serves: pure, from what is served and what will be. No values of environment
//! variables or secrets, and no more than somebody reads.

use api::id::DeploymentId;
use planner::{autoscale, lifecycle::Build};
use serde_json::{Map, Value};
use store::domain::{Change, ChangeKind, Deployment, Difference, Part};

/// The most changes that are told.
const MOST_CHANGES: usize = 100;
/// The longest text of a value or a name, in characters.
const LONGEST_TEXT: usize = 120;
/// The parts of a config whose values are nobody's business.
const UNSPOKEN: [&str; 2] = ["environment_variables", "secrets"];

/// What is served, or will be.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// The deployment, or what a copy of it is made from.
    pub deployment: &'a Deployment,
    /// How it scales.
    pub autoscaling: &'a autoscale::Settings,
    /// On which instance type.
    pub instance_type: &'a str,
    /// Where it may run.
    pub places: &'a [String],
}

/// What changes when `after` is served in place of `before`. Nothing changes where nothing is served.
pub fn difference(before: Option<Served<'_>>, after: Served<'_>) -> Difference {
    let mut changes = before.map_or_else(Vec::new, |before| all_changes(before, after));
    let left_out = changes.len().saturating_sub(MOST_CHANGES);
    changes.truncate(MOST_CHANGES);
    let id = |served: Served<'_>| -> DeploymentId { served.deployment.id.clone() };
    Difference {
        source: id(after),
        compared_with: before.map(id),
        changes,
        left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
    }
}

/// The config comes last, because it can be long.
fn all_changes(before: Served<'_>, after: Served<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut compare = |part, field: &str, old: Value, new: Value| {
        changes.extend(change(part, field, Some(&old), Some(&new)));
    };
    compare(Part::Artifact, "artifact", artifact(before, after).into(), artifact(after, before).into());
    compare(Part::InstanceType, "instance_type", before.instance_type.into(), after.instance_type.into());
    for ((field, old), (_, new)) in scaling(before.autoscaling).into_iter().zip(scaling(after.autoscaling)) {
        compare(Part::Scaling, field, old.into(), new.into());
    }
    compare(Part::Placement, "candidates", before.places.into(), after.places.into());
    let nothing = Map::new();
    let config = |served: Served<'_>| served.deployment.config.as_object().cloned().unwrap_or_else(|| nothing.clone());
    let (old, new) = (config(before), config(after));
    for part in UNSPOKEN {
        compare_names(part, old.get(part), new.get(part), &mut changes);
    }
    compare_objects("", &old, &new, &mut changes);
    changes
}

/// What was built, or else what is to be built, where the other is not built either.
fn artifact<'a>(of: Served<'a>, other: Served<'a>) -> &'a str {
    let built = |served: Served<'a>| match &served.deployment.lifecycle.build {
        Build::Succeeded { artifact, .. } => Some(artifact.as_str()),
        Build::Pending { .. } | Build::Failed { .. } | Build::Stopped { .. } => None,
    };
    match (built(of), built(other)) {
        (Some(artifact), Some(_)) => artifact,
        _ => &of.deployment.archive.key,
    }
}

/// In the contract's words.
fn scaling(settings: &autoscale::Settings) -> [(&'static str, u32); 7] {
    [
        ("min_replica", settings.min_replica),
        ("max_replica", settings.max_replica),
        ("autoscaling_window", settings.autoscaling_window_s),
        ("scale_down_delay", settings.scale_down_delay_s),
        ("concurrency_target", settings.concurrency_target),
        ("target_utilization_percentage", settings.target_utilization_percent),
        ("max_scale_down_rate", settings.max_scale_down_rate_percent),
    ]
}

/// Compares names with unspoken values.
fn compare_names(prefix: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    let nothing = Map::new();
    let [old, new] = [old, new].map(|value| value.and_then(Value::as_object).unwrap_or(&nothing));
    for name in names(old, new) {
        let field = format!("{prefix}.{name}");
        let told = change(Part::EnvironmentVariables, &field, old.get(name), new.get(name));
        changes.extend(told.map(|change| Change { old: None, new: None, ..change }));
    }
}

/// Compares field by field, and lists as wholes.
fn compare_objects(prefix: &str, old: &Map<String, Value>, new: &Map<String, Value>, changes: &mut Vec<Change>) {
    for name in names(old, new) {
        let field = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if UNSPOKEN.contains(&field.as_str()) {
            continue;
        }
        match (old.get(name), new.get(name)) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => compare_objects(&field, old, new, changes),
            (old, new) => changes.extend(change(Part::Config, &field, old, new)),
        }
    }
}

/// The names in both, in their order, each once.
fn names<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> std::collections::BTreeSet<&'a String> {
    old.keys().chain(new.keys()).collect()
}

fn change(part: Part, field: &str, old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    let kind = match (old, new) {
        (None, Some(_)) => ChangeKind::Added,
        (Some(_), None) => ChangeKind::Removed,
        (Some(old), Some(new)) if old != new => ChangeKind::Changed,
        (Some(_), Some(_)) | (None, None) => return None,
    };
    let text = |value: &Value| cut(&value.to_string());
    Some(Change { part, field: cut(field), kind, old: old.map(text), new: new.map(text) })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use api::id::ModelId;
    use planner::{Timestamp, lifecycle::Lifecycle, replica_set};
    use serde_json::json;
    use store::domain::{Archive, DeploymentKind};

    use super::*;

    fn deployment(number: u128, artifact: Option<&str>, config: Value) -> Deployment {
        let pushed = Lifecycle::pushed(Timestamp(0));
        let lifecycle = match artifact {
            Some(artifact) => {
                Lifecycle { build: Build::Succeeded { at: Timestamp(1), artifact: artifact.into() }, ..pushed }
            }
            None => pushed,
        };
        Deployment {
            id: DeploymentId::from_entropy(number),
            model_id: ModelId::from_entropy(1),
            name: format!("deployment-{number}"),
            created_at: Timestamp(0),
            kind: DeploymentKind::Published,
            labels: None,
            config,
            raw_config: None,
            user_env: None,
            archive: Archive { key: format!("archive-{number}"), bytes: 1 },
            deploy_timeout_ms: 1,
            instance_type: "1x2".into(),
            autoscaling: autoscale::Settings::default(),
            backpressure: None,
            patches: None,
            target_environment: None,
            keep_previous: false,
            lifecycle,
            target_replicas: 0,
            replica_memory: replica_set::Memory::default(),
            generation: 1,
        }
    }

    /// What changes from one deployment to another that differ in their configs alone, as `part field kind old new`.
    fn configs(old: Value, new: Value) -> Vec<String> {
        let (old, new) = (deployment(1, Some("a"), old), deployment(2, Some("a"), new));
        told(&difference(Some(served(&old)), served(&new)))
    }

    fn served(deployment: &Deployment) -> Served<'_> {
        Served { deployment, autoscaling: &deployment.autoscaling, instance_type: "1x2", places: &[] }
    }

    fn told(difference: &Difference) -> Vec<String> {
        let text = |change: &Change| {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
            let Change { part, field, kind, old, new } = change;
            format!("{part:?} {field} {kind:?} {} {}", value(old), value(new))
        };
        difference.changes.iter().map(text).collect()
    }

    #[test]
    fn a_config_is_compared_field_by_field_and_its_lists_as_wholes() {
        let old = json!({ "resources": { "cpu": "1", "memory": "2Gi" }, "requirements": ["a"], "gone": true });
        let new =
            json!({ "resources": { "cpu": "2", "memory": "2Gi" }, "requirements": ["a", "b"], "come": { "x": 1 } });
        let expected = [
            "Config come Added - {\"x\":1}",
            "Config gone Removed true -",
            "Config requirements Changed [\"a\"] [\"a\",\"b\"]",
            "Config resources.cpu Changed \"1\" \"2\"",
        ];
        assert_eq!(configs(old.clone(), new), expected);
        assert!(configs(old.clone(), old).is_empty());
    }

    #[test]
    fn values_of_variables_and_secrets_are_never_told() {
        let old = json!({ "environment_variables": { "A": "hunter1", "B": "same" }, "secrets": { "s": "hunter2" } });
        let new = json!({ "environment_variables": { "A": "hunter3", "B": "same", "C": "hunter4" } });
        let expected = [
            "EnvironmentVariables environment_variables.A Changed - -",
            "EnvironmentVariables environment_variables.C Added - -",
            "EnvironmentVariables secrets.s Removed - -",
        ];
        assert_eq!(configs(old, new), expected);
    }

    #[test]
    fn artifact_instance_type_scaling_and_places_are_compared() {
        let (old, new) = (deployment(1, Some("a"), json!({})), deployment(2, Some("b"), json!({})));
        let scaling = autoscale::Settings { max_replica: 4, ..old.autoscaling.clone() };
        let paris = ["paris on cpu x86".to_owned()];
        let after = Served { autoscaling: &scaling, instance_type: "4x16", places: &paris, ..served(&new) };
        let difference = difference(Some(served(&old)), after);
        assert_eq!((&difference.source, difference.compared_with.as_ref()), (&new.id, Some(&old.id)));
        let expected = [
            "Artifact artifact Changed \"a\" \"b\"",
            "InstanceType instance_type Changed \"1x2\" \"4x16\"",
            "Scaling max_replica Changed 1 4",
            "Placement candidates Changed [] [\"paris on cpu x86\"]",
        ];
        assert_eq!(told(&difference), expected);
    }

    #[test]
    fn what_is_not_built_yet_is_compared_by_what_it_is_built_from() {
        let (built, other) = (deployment(1, Some("a"), json!({})), deployment(2, None, json!({})));
        let difference = difference(Some(served(&built)), served(&other));
        assert_eq!(told(&difference), ["Artifact artifact Changed \"archive-1\" \"archive-2\""]);
    }

    #[test]
    fn an_environment_that_serves_nothing_has_nothing_to_change() {
        let one = deployment(1, Some("a"), json!({ "x": 1 }));
        let difference = difference(None, served(&one));
        assert_eq!((difference.compared_with, difference.changes, difference.left_out), (None, Vec::new(), 0));
    }

    #[test]
    fn a_long_difference_is_cut() {
        let many: Map<String, Value> = (0..130).map(|number| (format!("f{number}"), "x".repeat(1000).into())).collect();
        let (old, new) = (deployment(1, Some("a"), json!({})), deployment(2, Some("b"), many.into()));
        let difference = difference(Some(served(&old)), served(&new));
        assert_eq!((difference.changes.len(), difference.left_out), (100, 31));
        assert_eq!(difference.changes[0].part, Part::Artifact, "what is short comes first");
        assert!(difference.changes.iter().all(|one| one.new.as_ref().unwrap().chars().count() <= 121));
    }
}
