//! Secrets of a team. Values go in and never come out of this API.

use api::id::{SecretId, TeamId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use store::domain::{Secret, Team};
use subtle::ConstantTimeEq as _;

use super::{Caller, ControlPlane, Error, audit, names, teams};

/// The largest value, in bytes: a file of keys, not a data set.
const LARGEST_VALUE: usize = 64 * 1024;

/// A secret with its team.
pub struct Listed {
    /// The secret.
    pub secret: Secret,
    /// Its team.
    pub team: Team,
}

/// The team's secrets, by name.
pub async fn list(control_plane: &ControlPlane, caller: &Caller, team: Option<&TeamId>) -> Result<Vec<Listed>, Error> {
    let team = teams::choose(control_plane, caller, team).await?;
    let secrets = control_plane.store().secrets(Some(&team.id)).await?;
    Ok(secrets.into_iter().map(|secret| Listed { secret, team: team.clone() }).collect())
}

/// Makes a secret, or gives an existing one a new value.
pub async fn set(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    name: &str,
    value: &SecretString,
) -> Result<Listed, Error> {
    names::secret(name)?;
    let bytes = value.expose_secret().len();
    if bytes > LARGEST_VALUE {
        return Err(Error::Invalid(format!("value: it has {bytes} bytes: a secret has at most {LARGEST_VALUE}")));
    }
    let team = teams::choose(control_plane, caller, team).await?;
    let store = control_plane.store();
    let folded = store::domain::fold_secret_name(name);
    let known = store.secrets(Some(&team.id)).await?;
    let known = known.into_iter().find(|secret| store::domain::fold_secret_name(&secret.name) == folded);
    if let Some(secret) = known.as_ref().filter(|secret| secret.name == name)
        && has_value(control_plane, &team, &folded, value).await
    {
        return Ok(Listed { secret: secret.clone(), team });
    }
    let now = control_plane.now();
    let secret = Secret {
        id: known.map_or_else(|| SecretId::from_entropy(rand::random()), |secret| secret.id),
        team_id: team.id.clone(),
        name: name.to_owned(),
        created_at: now,
    };
    let event = event(caller, now, "SECRET_UPDATED", &secret);
    let secret = store.set_secret(&secret, value, Some(&event)).await?;
    Ok(Listed { secret, team })
}

/// Whether a secret has this value already: then nothing is written, told to replicas or noted down. One that cannot be read has none.
async fn has_value(control_plane: &ControlPlane, team: &Team, folded: &str, value: &SecretString) -> bool {
    let values = control_plane.store().secret_values(&team.id).await.unwrap_or_default();
    let known = values.get(folded);
    known.is_some_and(|known| known.expose_secret().as_bytes().ct_eq(value.expose_secret().as_bytes()).into())
}

/// Deletes a secret, by any spelling of its name.
pub async fn delete(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    name: &str,
) -> Result<Secret, Error> {
    let listed = list(control_plane, caller, team).await?;
    let folded = store::domain::fold_secret_name(name);
    let found = listed.into_iter().find(|listed| store::domain::fold_secret_name(&listed.secret.name) == folded);
    let secret = found.ok_or_else(|| Error::not_found("secret", name))?.secret;
    let event = event(caller, control_plane.now(), "SECRET_DELETED", &secret);
    Ok(control_plane.store().delete_secret(&secret.team_id, &secret.name, Some(&event)).await?)
}

fn event(caller: &Caller, now: planner::Timestamp, event_type: &str, secret: &Secret) -> store::domain::AuditEvent {
    audit::event(caller, now, event_type, json!({ "secret_id": secret.id, "secret_name": secret.name }))
}
