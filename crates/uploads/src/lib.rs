//! Uploads: an S3-compatible endpoint for archives, the credentials it believes, and the way from an upload to a deployment's
//! archive. Any S3 client can send an archive here, by PUT or in parts; it becomes visible whole or not at all.
#![forbid(unsafe_code)]

mod credentials;
mod digests;
mod objects;
mod presign;
mod service;
mod unread;

use planner::Timestamp;
use store::{Blobs, domain::Archive};

pub use credentials::{Credentials, Issuer};
pub use service::{ResponseBody, Service};

/// The one bucket.
pub const BUCKET: &str = "greenroom-uploads";
/// The one region.
pub const REGION: &str = "us-east-1";

/// Where uploads wait until a deployment claims them.
const UPLOADS: &str = "uploads";
/// Where the parts of unfinished uploads wait.
const PARTS: &str = "parts";
/// Where claimed archives stay until no deployment needs them.
pub const ARCHIVES: &str = "archives";

/// The key for a new upload of a team. `entropy` is 128 random bits: nobody guesses another's key.
pub fn object_key(team: &api::id::TeamId, entropy: u128) -> String {
    format!("{UPLOADS}/{team}/{entropy:032x}/model.tgz")
}

/// The key for an archive that is made from another, whose key is `like`.
pub fn archive_key_like(like: &str, entropy: u128) -> String {
    let team = like.split('/').nth(1).unwrap_or_default();
    format!("{ARCHIVES}/{team}/{entropy:032x}/model.tgz")
}

/// The team that a key was made for; none when it is not one for an upload.
pub fn team_of(key: &str) -> Option<api::id::TeamId> {
    key.strip_prefix(UPLOADS)?.strip_prefix('/')?.split_once('/')?.0.parse().ok()
}

/// What strangers may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest object, whether sent whole or in parts.
    pub max_object_bytes: u64,
    /// The most parts of one object.
    pub max_parts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_object_bytes: 5 << 30, max_parts: 10_000 }
    }
}

/// Takes an uploaded object out of its uploader's reach and answers with the archive it has become. Claiming it again answers
/// the same. `NotFound` when nothing was uploaded under `key`, or the upload has been swept.
pub async fn claim(blobs: &Blobs, key: &str) -> Result<Archive, store::Error> {
    let archive_key = archive_key(key).ok_or_else(|| not_uploaded(key))?;
    let missing_is_fine = |error| matches!(error, store::Error::NotFound { .. }).then_some(()).ok_or(error);
    let claimed = match blobs.head(&archive_key).await {
        Ok(claimed) => claimed,
        Err(error) => {
            missing_is_fine(error)?;
            // Missing here too when somebody else is claiming it at this moment.
            blobs.rename(key, &archive_key).await.or_else(missing_is_fine)?;
            blobs.head(&archive_key).await.map_err(|error| match error {
                store::Error::NotFound { .. } => not_uploaded(key),
                other => other,
            })?
        }
    };
    Ok(Archive { key: archive_key, bytes: claimed.bytes })
}

/// Deletes uploads that nobody has claimed, parts that nobody has completed, and leftovers of crashes, all older than `age_ms`,
/// which is longer than any credential lives. How many.
pub async fn sweep(blobs: &Blobs, now: Timestamp, age_ms: u64) -> Result<usize, store::Error> {
    let older_than = Timestamp(now.0.saturating_sub(age_ms));
    let uploads = blobs.sweep(UPLOADS, older_than, |_| false).await?;
    let parts = blobs.sweep(PARTS, older_than, |_| false).await?;
    Ok(uploads + parts + blobs.sweep_interrupted(older_than).await?)
}

fn archive_key(key: &str) -> Option<String> {
    key.strip_prefix(UPLOADS).filter(|rest| rest.starts_with('/')).map(|rest| format!("{ARCHIVES}{rest}"))
}

fn not_uploaded(key: &str) -> store::Error {
    store::Error::NotFound { kind: "upload", id: key.into() }
}

#[cfg(test)]
mod tests {
    use api::id::TeamId;

    use super::*;

    #[test]
    fn an_upload_belongs_to_the_team_it_was_made_for() {
        let team = TeamId::from_entropy(1);
        assert_eq!(team_of(&object_key(&team, 7)), Some(team.clone()));
        for other in [format!("{ARCHIVES}/{team}/x"), format!("{UPLOADS}/{team}"), format!("{UPLOADS}/"), String::new()]
        {
            assert_eq!(team_of(&other), None, "{other}");
        }
    }

    #[test]
    fn keys_are_as_different_as_the_entropy() {
        let team = TeamId::from_entropy(1);
        assert_ne!(object_key(&team, 7), object_key(&team, 7 << 100));
    }
}
