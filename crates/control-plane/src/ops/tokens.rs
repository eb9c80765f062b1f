//! Tokens: keys that end by themselves, given to those who have said who they are. The answers are those of OAuth 2.0 (RFC 6749).

use serde_json::json;
use store::domain::{ApiKey, ApiKeyKind, AuditEvent, ClientProgram, Doer, KeyOwner, User};

use super::{
    ControlPlane, Error,
    key_text::{self, KeyText},
};

/// How long a program's token is good for.
const PROGRAM_MS: u64 = 2 * 3_600_000;
/// The most tokens of one user that are good at one time; of more, those that end first end at once.
const MOST: u32 = 1000;

/// A token. Has no `Debug`: it must not reach a log.
pub struct Token {
    /// What it is presented as, like a key.
    pub text: String,
    /// How long it is good for, in seconds.
    pub seconds: u64,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such client, or another secret: nothing tells the two apart.
    #[error(
        "no client with this id and secret: a client secret is shown once, when the service account is made or rotated"
    )]
    InvalidClient,
    /// What is to be exchanged is worth nothing.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// Ask again in a moment.
    #[error("nobody has agreed yet: ask again")]
    Pending,
    /// Somebody said no.
    #[error("this sign-in was refused")]
    Denied,
    /// Begin anew.
    #[error("this sign-in is over, or was never begun: begin again")]
    Expired,
    /// Ours to mend, or not possible now.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Gives a service account a token for its id and secret.
pub async fn for_client(
    control_plane: &ControlPlane,
    client_id: &str,
    client_secret: &str,
    client: ClientProgram,
) -> Result<Token, Refusal> {
    // What no id has is none; and PostgreSQL takes no NUL.
    if !client_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Refusal::InvalidClient);
    }
    let store = control_plane.store();
    let credential = match store.client_credential(client_id).await {
        Ok(credential) => credential,
        Err(store::Error::NotFound { .. }) => return Err(Refusal::InvalidClient),
        Err(other) => return Err(other.into()),
    };
    if !key_text::matches(&format!("{client_id}.{client_secret}"), &credential.hash) {
        return Err(Refusal::InvalidClient);
    }
    let user = store.user(&credential.user_id).await?;
    issue(control_plane, &user, PROGRAM_MS, Some(client_id), client).await.map_err(|error| match error {
        // Its secret was replaced meanwhile.
        Error::NotFound { kind: "client", .. } => Refusal::InvalidClient,
        other => other.into(),
    })
}

/// Gives `user` a token that is good for so long; for this client, where it is one, whose secret must still be good.
pub(super) async fn issue(
    control_plane: &ControlPlane,
    user: &User,
    for_ms: u64,
    client_id: Option<&str>,
    client: ClientProgram,
) -> Result<Token, Error> {
    let (now, text) = (control_plane.now(), KeyText::random());
    let key = ApiKey {
        expires_at: Some(now.plus(for_ms)),
        ..text.stored(ApiKeyKind::Personal, KeyOwner::User(user.id.clone()), now)
    };
    let doer = Doer {
        api_key_prefix: Some(key.prefix.clone()),
        api_key_name: None,
        user_id: Some(user.id.clone()),
        email: Some(user.email.clone()),
        client,
    };
    let event_type = "TOKEN_ISSUED";
    let event_data = json!({ "event_type": event_type, "api_key_id": key.prefix, "expires_at": key.expires_at });
    let event = AuditEvent { at: now, event_type: event_type.into(), event_data, doer, model_id: None };
    control_plane.store().add_token(&key, MOST, client_id, Some(&event)).await?;
    Ok(Token { text: text.into_plaintext(), seconds: for_ms / 1000 })
}
