//! Temporary credentials that nobody has to remember: the session token says what they are for and until when, under a
//! signature of ours, and the secret follows from the public half.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use planner::Timestamp;
use serde::{Deserialize, Serialize};
use store::SecretKey;
use subtle::ConstantTimeEq;

/// Makes credentials and knows its own again. A cheap handle.
#[derive(Clone)]
pub struct Issuer {
    newest: Keys,
    /// Of the secrets that the server had before: what was issued with them holds until it expires.
    previous: Arc<[Keys]>,
}

/// What follows from one server secret.
#[derive(Clone)]
struct Keys {
    /// What access key ids begin with: by it the secret half is found.
    name: String,
    secrets: [u8; 32],
    tokens: [u8; 32],
    upload_ids: [u8; 32],
}

/// What each key is derived for.
const SECRETS: &str = "greenroom 2026-11 upload secret access keys";
const TOKENS: &str = "greenroom 2026-11 upload session tokens";
const UPLOAD_IDS: &str = "greenroom 2026-11 multipart upload ids";

impl Keys {
    fn new(secrets: [u8; 32], tokens: [u8; 32], upload_ids: [u8; 32]) -> Self {
        let name = format!("GR{}", hex::encode_upper(&blake3::hash(&tokens).as_bytes()[..4]));
        Self { name, secrets, tokens, upload_ids }
    }

    /// The public half that belongs to a session token, in the form that S3 clients expect.
    fn access_key_id(&self, session_token: &str) -> String {
        let hash = blake3::hash(session_token.as_bytes());
        format!("{}{}", self.name, hex::encode_upper(&hash.as_bytes()[..12]))
    }

    fn upload_id(&self, key: &str, nonce: [u8; 16]) -> String {
        let proof = blake3::keyed_hash(&self.upload_ids, &[&nonce, key.as_bytes()].concat());
        hex::encode([&nonce[..], &proof.as_bytes()[..16]].concat())
    }
}

/// Credentials for one object, as an S3 client takes them. Has no `Debug`: it must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// Goes along with every request.
    pub session_token: String,
    /// The bucket.
    pub bucket: String,
    /// The one object they are for.
    pub key: String,
    /// The region.
    pub region: String,
    /// No longer valid from here on.
    pub expires: Timestamp,
}

/// What credentials allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Read,
    Write,
}

/// What a session token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    scope: Scope,
    key: String,
    expires: Timestamp,
}

/// Why a session token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not ours, or not of this access key.
    Invalid,
    Expired,
    /// Good, for something else.
    Elsewhere,
}

impl Issuer {
    /// An issuer whose credentials every server with the same secret believes.
    pub fn new(server_secret: &SecretKey) -> Self {
        let derive = |context| server_secret.derive(context);
        let [secrets, tokens, upload_ids] = [SECRETS, TOKENS, UPLOAD_IDS].map(|it| server_secret.derive_previous(it));
        let previous = secrets.zip(tokens).zip(upload_ids).map(|((one, two), three)| Keys::new(one, two, three));
        Self { newest: Keys::new(derive(SECRETS), derive(TOKENS), derive(UPLOAD_IDS)), previous: previous.collect() }
    }

    /// The newest first.
    fn all(&self) -> impl Iterator<Item = &Keys> {
        std::iter::once(&self.newest).chain(self.previous.iter())
    }

    /// Credentials to write one object, by PUT or in parts, for `ttl_ms` from `now`.
    pub fn issue(&self, now: Timestamp, key: &str, ttl_ms: u64) -> Credentials {
        self.grant(Scope::Write, key, now.plus(ttl_ms))
    }

    pub(crate) fn grant(&self, scope: Scope, key: &str, expires: Timestamp) -> Credentials {
        let grant = Grant { scope, key: key.into(), expires };
        let grant = serde_json::to_vec(&grant).expect("a grant has string keys and no failing Serialize");
        let signature = blake3::keyed_hash(&self.newest.tokens, &grant);
        let session_token = format!(
            "{}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(&grant),
            BASE64_URL_SAFE_NO_PAD.encode(signature.as_bytes())
        );
        let access_key_id = self.newest.access_key_id(&session_token);
        Credentials {
            secret_access_key: self.secret_access_key(&access_key_id),
            access_key_id,
            session_token,
            bucket: crate::BUCKET.into(),
            key: key.into(),
            region: crate::REGION.into(),
            expires,
        }
    }

    /// The secret half that belongs to a public half. Worth nothing without a session token for the same public half.
    pub(crate) fn secret_access_key(&self, access_key_id: &str) -> String {
        let keys = self.all().find(|keys| access_key_id.starts_with(&keys.name)).unwrap_or(&self.newest);
        BASE64_URL_SAFE_NO_PAD.encode(blake3::keyed_hash(&keys.secrets, access_key_id.as_bytes()).as_bytes())
    }

    /// The id of a multipart upload of `key`; it carries its own proof, so that beginning an upload stores nothing.
    pub(crate) fn upload_id(&self, key: &str, nonce: [u8; 16]) -> String {
        self.newest.upload_id(key, nonce)
    }

    /// Whether an id was made for a multipart upload of `key`.
    pub(crate) fn made_upload_id(&self, key: &str, id: &str) -> bool {
        let mut bytes = [0; 32];
        let nonce = hex::decode_to_slice(id, &mut bytes).ok().and_then(|()| bytes.first_chunk());
        let is_by = |keys: &Keys, nonce: &[u8; 16]| keys.upload_id(key, *nonce).as_bytes().ct_eq(id.as_bytes()).into();
        nonce.is_some_and(|nonce| self.all().any(|keys| is_by(keys, nonce)))
    }

    /// Checks that a token is ours, belongs to the access key, still holds, and allows this.
    pub(crate) fn check(
        &self,
        now: Timestamp,
        access_key_id_used: &str,
        session_token: &str,
        scope: Scope,
        key: &str,
    ) -> Result<(), Refusal> {
        let (grant, signature) = session_token.split_once('.').ok_or(Refusal::Invalid)?;
        let grant = BASE64_URL_SAFE_NO_PAD.decode(grant).map_err(|_| Refusal::Invalid)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Invalid)?;
        let signed_by = |keys: &&Keys| -> bool {
            blake3::keyed_hash(&keys.tokens, &grant).as_bytes().ct_eq(signature.as_slice()).into()
        };
        let keys = self.all().find(signed_by).ok_or(Refusal::Invalid)?;
        if keys.access_key_id(session_token) != access_key_id_used {
            return Err(Refusal::Invalid);
        }
        let grant: Grant = serde_json::from_slice(&grant).map_err(|_| Refusal::Invalid)?;
        if grant.expires <= now {
            return Err(Refusal::Expired);
        }
        if grant.scope != scope || grant.key != key {
            return Err(Refusal::Elsewhere);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn check(now: Timestamp, scope: Scope, key: &str) -> Result<(), Refusal> {
        let issuer = Issuer::new(&SecretKey::new([1; 32]));
        let credentials = issuer.issue(NOW, "uploads/a", 1000);
        assert_eq!(credentials.secret_access_key, issuer.secret_access_key(&credentials.access_key_id));
        issuer.check(now, &credentials.access_key_id, &credentials.session_token, scope, key)
    }

    #[test]
    fn credentials_are_good_for_writing_their_object() {
        assert_eq!(check(NOW, Scope::Write, "uploads/a"), Ok(()));
    }

    #[test]
    fn credentials_end() {
        assert_eq!(check(NOW.plus(1000), Scope::Write, "uploads/a"), Err(Refusal::Expired));
    }

    #[test]
    fn credentials_are_good_for_nothing_else() {
        assert_eq!(check(NOW, Scope::Write, "uploads/b"), Err(Refusal::Elsewhere));
        assert_eq!(check(NOW, Scope::Read, "uploads/a"), Err(Refusal::Elsewhere));
    }

    #[test]
    fn a_token_does_not_serve_another_access_key_or_another_server() {
        let issuer = Issuer::new(&SecretKey::new([1; 32]));
        let (one, two) = (issuer.issue(NOW, "uploads/a", 1000), issuer.issue(NOW, "uploads/b", 1000));
        let mixed = issuer.check(NOW, &one.access_key_id, &two.session_token, Scope::Write, "uploads/b");
        assert_eq!(mixed, Err(Refusal::Invalid));
        let other = Issuer::new(&SecretKey::new([2; 32]));
        let foreign = other.check(NOW, &one.access_key_id, &one.session_token, Scope::Write, "uploads/a");
        assert_eq!(foreign, Err(Refusal::Invalid));
    }

    #[test]
    fn what_was_issued_before_the_servers_secret_changed_holds() {
        let before = Issuer::new(&SecretKey::new([1; 32]));
        let issued = before.issue(NOW, "uploads/a", 1000);
        let upload = before.upload_id("uploads/a", [3; 16]);
        let holds = |issuer: &Issuer, issued: &Credentials| {
            let Credentials { access_key_id, session_token, .. } = issued;
            issuer.check(NOW, access_key_id, session_token, Scope::Write, "uploads/a").is_ok()
                && issuer.secret_access_key(access_key_id) == issued.secret_access_key
        };
        let after = Issuer::new(&SecretKey::new([2; 32]).after([[1; 32]]));
        assert!(holds(&after, &issued) && after.made_upload_id("uploads/a", &upload));
        assert!(holds(&after, &after.issue(NOW, "uploads/a", 1000)));
        let later = Issuer::new(&SecretKey::new([2; 32]));
        assert!(!holds(&later, &issued) && !later.made_upload_id("uploads/a", &upload));
        assert!(holds(&later, &after.issue(NOW, "uploads/a", 1000)), "the newest signs");
    }

    #[test]
    fn a_changed_token_is_refused() {
        let issuer = Issuer::new(&SecretKey::new([1; 32]));
        let credentials = issuer.issue(NOW, "uploads/a", 1000);
        for position in 0..credentials.session_token.len() {
            let mut bytes = credentials.session_token.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let access_key_id = issuer.newest.access_key_id(&changed);
            assert!(issuer.check(NOW, &access_key_id, &changed, Scope::Write, "uploads/a").is_err(), "{position}");
        }
    }
}
