//! Service accounts: programs that are users. They ask for tokens with a client id and a secret, which is shown once.

use std::collections::BTreeMap;

use api::id::{TeamId, UserId};
use planner::Timestamp;
use serde_json::json;
use store::{
    Beginning,
    domain::{AuditEvent, ClientCredential, Role, User, UserKind},
};

use super::{Caller, ControlPlane, Error, audit, key_text::KeyText, names, users};

/// What the addresses of service accounts end with, which no mail reaches.
const DOMAIN: &str = "service-accounts.invalid";

/// A service account to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAccount {
    /// Unique.
    pub name: String,
    /// Whether the whole organization is its to manage.
    pub is_admin: bool,
    /// The teams that it will be in; none means the default one, as a member.
    pub teams: Option<BTreeMap<TeamId, Role>>,
}

/// A service account and what it identifies itself with.
pub struct View {
    /// The account.
    pub user: User,
    /// The public part.
    pub client_id: String,
    /// Since when.
    pub since: Timestamp,
}

/// A client secret, known for this once. Has no `Debug`: it must not reach a log.
pub struct Secret(pub String);

/// All of them, oldest first.
pub async fn list(control_plane: &ControlPlane, caller: &Caller) -> Result<Vec<View>, Error> {
    caller.require_admin("see service accounts")?;
    let store = control_plane.store();
    let (users, credentials) = (store.users().await?, store.client_credentials().await?);
    let mut credentials: BTreeMap<UserId, ClientCredential> =
        credentials.into_iter().map(|credential| (credential.user_id.clone(), credential)).collect();
    let view = |user: User| {
        let credential = credentials.remove(&user.id)?;
        Some(View { user, client_id: credential.client_id, since: credential.created_at })
    };
    Ok(users.into_iter().filter(|user| user.kind == UserKind::Service).filter_map(view).collect())
}

/// Makes one.
pub async fn create(control_plane: &ControlPlane, caller: &Caller, new: NewAccount) -> Result<(View, Secret), Error> {
    caller.require_admin("make service accounts")?;
    names::service_account(&new.name)?;
    let now = control_plane.now();
    let user = User {
        kind: UserKind::Service,
        is_admin: new.is_admin,
        teams: users::known_teams(control_plane, new.teams).await?,
        ..User::new(UserId::from_entropy(rand::random()), format!("{}@{DOMAIN}", new.name), now)
    };
    let user = User { name: Some(new.name), ..user };
    let (credential, secret) = credential(&user, now);
    let mut event = event(caller, now, "SERVICE_ACCOUNT_CREATED", &user, &credential);
    event.event_data["is_admin"] = user.is_admin.into();
    event.event_data["teams"] = json!(user.teams);
    let beginning = Beginning { key: None, credential: Some(&credential) };
    control_plane.store().add_user(&user, beginning, Some(&event)).await?;
    Ok((View { user, client_id: credential.client_id, since: now }, secret))
}

/// Gives one another client id and secret. Those before are worth nothing from now on, nor are the tokens that they got.
pub async fn rotate(control_plane: &ControlPlane, caller: &Caller, id: &UserId) -> Result<(View, Secret), Error> {
    caller.require_admin("change service accounts")?;
    let user = find(control_plane, id).await?;
    let now = control_plane.now();
    let (credential, secret) = credential(&user, now);
    let event = event(caller, now, "SERVICE_ACCOUNT_ROTATED", &user, &credential);
    control_plane.store().set_client_credential(&credential, Some(&event)).await?;
    Ok((View { user, client_id: credential.client_id, since: now }, secret))
}

/// Deletes one with its keys and tokens.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, id: &UserId) -> Result<User, Error> {
    caller.require_admin("delete service accounts")?;
    let user = find(control_plane, id).await?;
    let data = json!({ "service_account_id": id, "service_account_name": user.name });
    let event = audit::event(caller, control_plane.now(), "SERVICE_ACCOUNT_DELETED", data);
    control_plane.store().delete_user(id, Some(&event)).await?;
    Ok(user)
}

async fn find(control_plane: &ControlPlane, id: &UserId) -> Result<User, Error> {
    let user = control_plane.store().user(id).await.ok().filter(|user| user.kind == UserKind::Service);
    user.ok_or_else(|| Error::not_found("service account", id))
}

fn credential(user: &User, now: Timestamp) -> (ClientCredential, Secret) {
    let text = KeyText::random();
    let (client_id, hash) = (text.prefix().to_owned(), text.hash());
    let secret = text.into_plaintext()[client_id.len() + 1..].to_owned();
    (ClientCredential { client_id, hash, user_id: user.id.clone(), created_at: now }, Secret(secret))
}

fn event(caller: &Caller, now: Timestamp, event_type: &str, user: &User, credential: &ClientCredential) -> AuditEvent {
    let data = json!({
        "service_account_id": user.id, "service_account_name": user.name, "client_id": credential.client_id,
    });
    audit::event(caller, now, event_type, data)
}
