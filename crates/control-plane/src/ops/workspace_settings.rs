//! What holds for the whole workspace: read by everybody, changed by administrators, in force from the next push on.

use serde_json::{Value, json};
use store::domain::WorkspaceSettings;

use super::{Caller, ControlPlane, Effect, Error, audit, error::persistently, names};

/// The most environments that a model gets from the start: each push of a new model makes them all.
const MOST_INITIAL: usize = 20;

/// Settings to change; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// The environment of a push that names none. A given none takes it away.
    pub default_environment: Option<Option<String>>,
    /// The environments that a new model has beside production.
    pub initial_environments: Option<Vec<String>>,
}

/// The settings.
pub async fn get(control_plane: &ControlPlane) -> Result<WorkspaceSettings, Error> {
    Ok(control_plane.store().workspace_settings().await?)
}

/// Changes settings. Only an administrator can.
pub async fn update(
    control_plane: &ControlPlane,
    caller: &Caller,
    update: Update,
    effect: Effect,
) -> Result<WorkspaceSettings, Error> {
    caller.require_admin("change the workspace's settings")?;
    persistently(|| try_update(control_plane, caller, update.clone(), effect)).await
}

async fn try_update(
    control_plane: &ControlPlane,
    caller: &Caller,
    update: Update,
    effect: Effect,
) -> Result<WorkspaceSettings, Error> {
    let before = get(control_plane).await?;
    let mut settings = apply(&before, update)?;
    if settings != before && effect == Effect::Lasting {
        let mut data = event_data(&settings);
        data["previous_settings"] = event_data(&before);
        let event = audit::event(caller, control_plane.now(), "WORKSPACE_SETTINGS_UPDATED", data);
        control_plane.store().save_workspace_settings(&mut settings, Some(&event)).await?;
    }
    Ok(settings)
}

/// The settings after a change, if they make sense.
fn apply(before: &WorkspaceSettings, update: Update) -> Result<WorkspaceSettings, Error> {
    let default_environment = update.default_environment.unwrap_or_else(|| before.default_environment.clone());
    if let Some(name) = &default_environment {
        named("default_environment", name)?;
    }
    let mut initial_environments: Vec<String> = Vec::new();
    for name in update.initial_environments.unwrap_or_else(|| before.initial_environments.clone()) {
        named("initial_environments", &name)?;
        if !initial_environments.contains(&name) {
            initial_environments.push(name);
        }
    }
    if initial_environments.len() > MOST_INITIAL {
        let found = initial_environments.len();
        return Err(Error::Invalid(format!("initial_environments: {found} are too many: name at most {MOST_INITIAL}")));
    }
    Ok(WorkspaceSettings { default_environment, initial_environments, ..before.clone() })
}

fn named(field: &str, name: &str) -> Result<(), Error> {
    names::any_environment(name).map_err(|error| Error::Invalid(format!("{field}: {error}")))
}

fn event_data(settings: &WorkspaceSettings) -> Value {
    json!({
        "default_environment": settings.default_environment, "initial_environments": settings.initial_environments
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(update: Update, expected: Result<(Option<&str>, &[&str]), &str>) {
        let before = WorkspaceSettings {
            default_environment: Some("staging".into()),
            initial_environments: vec!["staging".into()],
            generation: 4,
        };
        match (apply(&before, update), expected) {
            (Ok(found), Ok((default, initial))) => {
                assert_eq!((found.default_environment.as_deref(), found.generation), (default, 4));
                assert_eq!(found.initial_environments, initial);
            }
            (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
            (found, expected) => panic!("{found:?} in place of {expected:?}"),
        }
    }

    fn initial(names: &[&str]) -> Update {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Update { initial_environments: Some(names), ..Default::default() }
    }

    #[test]
    fn what_is_not_named_stays_and_a_null_takes_away() {
        check(Update::default(), Ok((Some("staging"), &["staging"])));
        check(Update { default_environment: Some(None), ..Default::default() }, Ok((None, &["staging"])));
        let production = Update { default_environment: Some(Some("production".into())), ..Default::default() };
        check(production, Ok((Some("production"), &["staging"])));
        check(
            initial(&["development", "production", "development"]),
            Ok((Some("staging"), &["development", "production"])),
        );
        check(initial(&[]), Ok((Some("staging"), &[])));
    }

    #[test]
    fn names_are_held_to_the_rules_for_environments() {
        let nameless = Update { default_environment: Some(Some(String::new())), ..Default::default() };
        check(nameless, Err("default_environment: environment name has 0 characters"));
        check(initial(&["Staging"]), Err("initial_environments: environment name \"Staging\" may only have"));
        let many: Vec<String> = (0..21).map(|number| format!("e{number}")).collect();
        check(initial(&many.iter().map(String::as_str).collect::<Vec<_>>()), Err("21 are too many: name at most 20"));
    }
}
