//! Links that let anybody who has them download one object for a while: S3's signed URLs, version 4.

use hmac::{Hmac, Mac};
use planner::Timestamp;
use sha2::{Digest, Sha256};

use crate::{BUCKET, Issuer, REGION, credentials::Scope};

impl Issuer {
    /// A link to download one object, by plain GET, for `ttl_ms` from `now`. `base_url` is the server's own address,
    /// `scheme://host:port`, as the client reaches it.
    pub fn presign_get(&self, base_url: &str, key: &str, ttl_ms: u64, now: Timestamp) -> String {
        let base_url = base_url.trim_end_matches('/');
        let host = base_url.split_once("://").map_or(base_url, |(_, host)| host);
        let credentials = self.grant(Scope::Read, key, now.plus(ttl_ms));
        let time = compact_time(now);
        let scope = format!("{}/{REGION}/s3/aws4_request", &time[..8]);
        let path = format!("/{BUCKET}/{key}");
        // In the order of their names, as the signature wants them; only the slashes of the scope need escaping.
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}%2F{}&X-Amz-Date={time}&X-Amz-Expires={}\
             &X-Amz-Security-Token={}&X-Amz-SignedHeaders=host",
            credentials.access_key_id,
            scope.replace('/', "%2F"),
            ttl_ms / 1000,
            credentials.session_token,
        );
        let request = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
        let mut signature = format!("AWS4{}", credentials.secret_access_key).into_bytes();
        for part in [&time[..8], REGION, "s3", "aws4_request", &to_sign] {
            signature = hmac(&signature, part);
        }
        format!("{base_url}{path}?{query}&X-Amz-Signature={}", hex::encode(signature))
    }
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    hmac.update(message.as_bytes());
    hmac.finalize().into_bytes().to_vec()
}

/// `20261121T010203Z`.
fn compact_time(time: Timestamp) -> String {
    let time = i64::try_from(time.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y%m%dT%H%M%SZ").to_string()
}
