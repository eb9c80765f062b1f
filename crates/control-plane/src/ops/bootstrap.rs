//! What the first start makes: an organization, its default team, an administrator, and a key to begin with.

use api::id::{TeamId, UserId};
use planner::Timestamp;
use store::{
    Installation, Store,
    domain::{ApiKey, ApiKeyKind, KeyOwner, Organization, Team, User},
};

use super::{Error, key_text::KeyText};

/// Makes the installation unless there is one, with `preset` as the administrator's key, or a random one. Returns the key's
/// plaintext when it was made by this call: nobody can read it later. A preset key does not change an installation that is there.
pub async fn bootstrap(store: &Store, now: Timestamp, preset: Option<&str>) -> Result<Option<String>, Error> {
    if store.organization().await?.is_some() {
        return Ok(None);
    }
    let key = match preset {
        Some(text) => KeyText::preset(text)?,
        None => KeyText::random(),
    };
    let id = UserId::from_entropy(rand::random());
    let admin = User { name: Some("Admin".into()), is_admin: true, ..User::new(id, "admin@localhost", now) };
    let owner = KeyOwner::User(admin.id.clone());
    let installation = Installation {
        organization: Organization { id: hex::encode(rand::random::<[u8; 8]>()), name: "Greenroom".into() },
        team: Team {
            id: TeamId::from_entropy(rand::random()),
            name: "Default".into(),
            is_default: true,
            created_at: now,
        },
        admin_key: ApiKey { name: Some("admin".into()), ..key.stored(ApiKeyKind::Personal, owner, now) },
        admin,
    };
    let made = store.ensure_installed(&installation).await?;
    Ok(made.then(|| key.into_plaintext()))
}
