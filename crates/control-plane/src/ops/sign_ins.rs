//! Signing in without a key: by the identity provider, and on a device whose owner agrees elsewhere (RFC 8628). Both end with a token.

use api::id::UserId;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use oidc::{Begun, Identity};
use planner::Timestamp;
use rand::Rng;
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{
    Beginning, Store,
    domain::{AuditEvent, ClientProgram, Device, Doer, SignIn, SignInState, User, UserKind},
};
use subtle::ConstantTimeEq;

use super::{
    Caller, ControlPlane, Error, audit, names,
    tokens::{self, Refusal, Token},
    users,
};

/// How long a person may take.
const PATIENCE_MS: u64 = 600_000;
/// How long a browser may take to come for its token.
const CODE_MS: u64 = 60_000;
/// Sign-ins that may be on their way at once. Anybody can begin one. In the time that each has, the rate limit lets a network begin
/// fewer than 3,000 of them: it takes dozens of networks together to fill this.
const MOST: u32 = 200_000;
/// How often a device may ask, in seconds.
const INTERVAL_S: u64 = 2;
/// What people type is easy to read and forms no words.
const USER_CODE_LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";
/// The length of SHA-256 in URL-safe base64.
const CHALLENGE_LENGTH: usize = 43;

/// A device that may wait for a person. Has no `Debug`: it holds a secret.
pub struct Waiting {
    /// What the device asks with.
    pub device_code: String,
    /// What the person types.
    pub user_code: String,
    /// How long both are good for, in seconds.
    pub seconds: u64,
    /// How long to wait between two questions, in seconds.
    pub interval_s: u64,
}

/// Begins a sign-in by the provider, which sends the person back to `redirect`. Whoever can show what `challenge` is the hash of gets the
/// token. Where the person goes.
pub async fn begin(control_plane: &ControlPlane, redirect: String, challenge: String) -> Result<String, Error> {
    let provider = control_plane.settings().sign_in.provider()?;
    let is_challenge = challenge.len() == CHALLENGE_LENGTH
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_challenge {
        return Err(Error::Invalid(
            "code_challenge: it is not SHA-256 in URL-safe base64 without padding (RFC 7636, method S256)".into(),
        ));
    }
    let Begun { url, state, nonce, verifier } = provider.begin(&redirect).await.map_err(unconfirmed)?;
    let at = SignInState::AtProvider { nonce, verifier, redirect, challenge };
    keep(control_plane, &state, None, at, PATIENCE_MS).await?;
    Ok(url)
}

/// Takes a person back from the provider. The code for a token, which only whoever has begun this can use.
pub async fn arrive(
    control_plane: &ControlPlane,
    state: &str,
    code: String,
    client: ClientProgram,
) -> Result<String, Error> {
    let provider = control_plane.settings().sign_in.provider()?;
    let known = control_plane.store().use_sign_in(&hash(state), control_plane.now()).await;
    let (begun, redirect, challenge) = match known.map(|sign_in| sign_in.state) {
        Ok(SignInState::AtProvider { nonce, verifier, redirect, challenge }) => {
            (Begun { url: String::new(), state: state.to_owned(), nonce, verifier }, redirect, challenge)
        }
        Ok(_) | Err(store::Error::NotFound { .. }) => {
            return Err(Error::Invalid("this sign-in is over, or was never begun here: begin again".into()));
        }
        Err(other) => return Err(other.into()),
    };
    let identity = provider.finish(&redirect, code, &begun).await.map_err(unconfirmed)?;
    let user = recognise(control_plane, identity, client).await?;
    let code = secret();
    keep(control_plane, &code, None, SignInState::Known { user_id: user.id, challenge }, CODE_MS).await?;
    Ok(code)
}

/// Gives whoever has begun a sign-in by the provider the token for its code.
pub async fn for_code(
    control_plane: &ControlPlane,
    code: &str,
    verifier: &str,
    client: ClientProgram,
) -> Result<Token, Refusal> {
    let over = || Refusal::InvalidGrant("this code is unknown, used up or too old: sign in again");
    let known = control_plane.store().use_sign_in(&hash(code), control_plane.now()).await;
    let (user_id, challenge) = match known.map(|sign_in| sign_in.state) {
        Ok(SignInState::Known { user_id, challenge }) => (user_id, challenge),
        Ok(_) | Err(store::Error::NotFound { .. }) => return Err(over()),
        Err(other) => return Err(other.into()),
    };
    let shown = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    if !bool::from(shown.as_bytes().ct_eq(challenge.as_bytes())) {
        return Err(Refusal::InvalidGrant("code_verifier is not what this sign-in was begun with: sign in again"));
    }
    for_person(control_plane, &user_id, client).await
}

/// Lets a device wait for a person.
pub async fn begin_on_device(control_plane: &ControlPlane) -> Result<Waiting, Error> {
    let device_code = secret();
    loop {
        let user_code = user_code();
        let state = SignInState::OnDevice(Device::Waits);
        match keep(control_plane, &device_code, Some(user_code.clone()), state, PATIENCE_MS).await {
            Ok(()) => {
                let seconds = PATIENCE_MS / 1000;
                return Ok(Waiting { device_code, user_code, seconds, interval_s: INTERVAL_S });
            }
            Err(store::Error::NameTaken { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
}

/// Agrees to a device that waits, or does not. It will be signed in as the caller, who has to be somebody.
pub async fn answer_device(
    control_plane: &ControlPlane,
    caller: &Caller,
    user_code: &str,
    is_allowed: bool,
) -> Result<(), Error> {
    let user = caller.user.as_ref().ok_or_else(|| {
        Error::Forbidden(format!(
            "key {} is a team's: a device is signed in as a person, so sign in here as one",
            caller.prefix()
        ))
    })?;
    if user.kind == UserKind::Service {
        return Err(Error::Forbidden("a device is signed in as a person, and this is a service account".into()));
    }
    let device = if is_allowed { Device::Allowed(user.id.clone()) } else { Device::Denied };
    let event_type = if is_allowed { "DEVICE_ALLOWED" } else { "DEVICE_DENIED" };
    let now = control_plane.now();
    let event = audit::event(caller, now, event_type, json!({ "user_id": user.id }));
    let typed = spelled(user_code);
    let state = SignInState::OnDevice(device);
    let answered = control_plane.store().answer_sign_in(&typed, &state, now, Some(&event)).await;
    answered.map_err(|error| match error {
        store::Error::NotFound { .. } => {
            Error::Invalid(format!("no device waits with the code {typed}: it may have waited too long"))
        }
        other => other.into(),
    })
}

/// Gives a device its token, once a person has agreed.
pub async fn for_device(
    control_plane: &ControlPlane,
    device_code: &str,
    client: ClientProgram,
) -> Result<Token, Refusal> {
    let (store, now, hash) = (control_plane.store(), control_plane.now(), hash(device_code));
    let device = match store.sign_in(&hash, now).await.map(|sign_in| sign_in.state) {
        Ok(SignInState::OnDevice(device)) => device,
        Ok(_) | Err(store::Error::NotFound { .. }) => return Err(Refusal::Expired),
        Err(other) => return Err(other.into()),
    };
    match device {
        Device::Waits => Err(Refusal::Pending),
        Device::Denied => Err(Refusal::Denied),
        Device::Allowed(_) => match store.use_sign_in(&hash, now).await.map(|sign_in| sign_in.state) {
            Ok(SignInState::OnDevice(Device::Allowed(user_id))) => for_person(control_plane, &user_id, client).await,
            Ok(_) | Err(store::Error::NotFound { .. }) => Err(Refusal::Expired),
            Err(other) => Err(other.into()),
        },
    }
}

async fn for_person(control_plane: &ControlPlane, user_id: &UserId, client: ClientProgram) -> Result<Token, Refusal> {
    let user = match control_plane.store().user(user_id).await {
        Ok(user) => user,
        Err(store::Error::NotFound { .. }) => {
            return Err(Refusal::InvalidGrant("whoever signed in is not here any more"));
        }
        Err(other) => return Err(other.into()),
    };
    let for_ms = u64::try_from(control_plane.settings().sign_in.lifetime.as_millis()).unwrap_or(u64::MAX);
    Ok(tokens::issue(control_plane, &user, for_ms, None, client).await?)
}

/// Who it is that the provider has confirmed: known by it already, or let in under an address that it vouches for, or of a domain whose
/// people may come by themselves.
async fn recognise(control_plane: &ControlPlane, identity: Identity, client: ClientProgram) -> Result<User, Error> {
    let (store, now) = (control_plane.store(), control_plane.now());
    let Identity { subject, verified_email, name } = identity;
    // People choose it themselves at some providers: one that nobody could have here is none.
    let name = name.filter(|name| names::person(name).is_ok());
    let mut users = store.users().await?.into_iter();
    if let Some(known) = users.clone().find(|user| user.subject.as_ref() == Some(&subject)) {
        return Ok(known);
    }
    let email = verified_email.ok_or_else(|| {
        Error::Forbidden(
            "the identity provider vouches for no address of yours (claims email and email_verified), by which you \
             could be known here"
                .into(),
        )
    })?;
    let invited = |user: &User| user.kind == UserKind::Person && user.email.eq_ignore_ascii_case(&email);
    names::email(&email)?;
    if let Some(user) = users.find(invited) {
        let event = event(&user, now, "USER_JOINED_ORGANIZATION", client);
        let confirm = |user: &mut User| {
            if user.subject.is_some() {
                return Err(Error::Forbidden(format!("{email} signs in as somebody else at the identity provider")));
            }
            user.subject = Some(subject);
            user.name = user.name.take().or(name);
            Ok(())
        };
        return store.change_user(&user.id, Some(&event), confirm).await;
    }
    if !control_plane.settings().sign_in.lets_in(&email) {
        return Err(Error::Forbidden(format!(
            "{email} has not been let in: ask an administrator for `greenroom users add {email}`"
        )));
    }
    join(control_plane, store, User { name, subject: Some(subject), ..new_user(email, now) }, client).await
}

fn new_user(email: String, now: Timestamp) -> User {
    User::new(UserId::from_entropy(rand::random()), email, now)
}

async fn join(control_plane: &ControlPlane, store: &Store, user: User, client: ClientProgram) -> Result<User, Error> {
    let user = User { teams: users::known_teams(control_plane, None).await?, ..user };
    let event = event(&user, user.created_at, "USER_JOINED_ORGANIZATION", client);
    store.add_user(&user, Beginning::default(), Some(&event)).await?;
    Ok(user)
}

/// What somebody does who signs in.
fn event(user: &User, now: Timestamp, event_type: &str, client: ClientProgram) -> AuditEvent {
    let (user_id, email) = (Some(user.id.clone()), Some(user.email.clone()));
    let event_data = json!({
        "event_type": event_type, "user_id": user.id, "user_name": user.email, "new_user_email": user.email,
    });
    let doer = Doer { user_id, email, client, ..Doer::default() };
    AuditEvent { at: now, event_type: event_type.into(), event_data, doer, model_id: None }
}

async fn keep(
    control_plane: &ControlPlane,
    secret: &str,
    user_code: Option<String>,
    state: SignInState,
    for_ms: u64,
) -> Result<(), store::Error> {
    let now = control_plane.now();
    let sign_in = SignIn { hash: hash(secret), user_code, state, expires_at: now.plus(for_ms) };
    control_plane.store().begin_sign_in(&sign_in, now, MOST).await
}

fn unconfirmed(error: oidc::Error) -> Error {
    match error {
        oidc::Error::Refused(_) => Error::Forbidden(error.to_string()),
        // People see that it is not their fault; whoever runs the server reads why.
        oidc::Error::Provider { .. } | oidc::Error::NotAnAddress { .. } => {
            tracing::error!(error = &error as &dyn std::error::Error, "nobody can sign in by the identity provider");
            Error::NotYet(
                "the identity provider cannot be reached, or does not answer as one (the log says why)".into(),
            )
        }
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn user_code() -> String {
    let mut random = rand::rng();
    let mut letter = || USER_CODE_LETTERS[random.random_range(0..USER_CODE_LETTERS.len())] as char;
    let half = |letter: &mut dyn FnMut() -> char| -> String { (0..4).map(|_| letter()).collect() };
    format!("{}-{}", half(&mut letter), half(&mut letter))
}

/// What somebody typed, as codes are spelled.
fn spelled(typed: &str) -> String {
    let letters: String = typed.chars().filter(char::is_ascii_alphabetic).take(8).collect();
    let letters = letters.to_ascii_uppercase();
    match letters.split_at_checked(4) {
        Some((first, second)) => format!("{first}-{second}"),
        None => letters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_however_they_are_typed() {
        for _ in 0..100 {
            let code = user_code();
            assert_eq!(spelled(&code), code);
            assert_eq!(spelled(&code.to_lowercase().replace('-', " ")), code);
        }
        assert_eq!(spelled("abc"), "ABC");
        assert_eq!(spelled(&"b".repeat(10_000)), "BBBB-BBBB");
    }
}
