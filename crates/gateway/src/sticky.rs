//! Which side of a divided environment a request goes to: by chance, or always the same for one caller.

use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use crate::request_id::RequestId;

/// Bits that decide the side. A caller that names itself in `header` gets the same ones each time, at every gateway; a growing
/// share takes callers over and never gives one back. They differ from model to model, so that it is not the same callers who
/// are first everywhere.
pub(crate) fn chance(header: &HeaderName, headers: &HeaderMap, model: &str, id: RequestId) -> u64 {
    let Some(caller) = headers.get(header) else {
        return id.chance();
    };
    let digest = Sha256::new().chain_update(model).chain_update([0]).chain_update(caller.as_bytes()).finalize();
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::request_id::RequestIds;

    const STICKY: HeaderName = HeaderName::from_static("x-greenroom-sticky");

    fn of(caller: &str, model: &str, ids: &RequestIds) -> u64 {
        let headers = HeaderMap::from_iter([(STICKY, HeaderValue::try_from(caller).unwrap())]);
        chance(&STICKY, &headers, model, ids.next())
    }

    #[test]
    fn a_caller_that_names_itself_stays_on_its_side() {
        let ids = RequestIds::new(1);
        assert!((0..100).all(|_| of("ada", "00000001", &ids) == of("ada", "00000001", &ids)));
        assert_ne!(of("ada", "00000001", &ids), of("grace", "00000001", &ids));
        assert_ne!(of("ada", "00000001", &ids), of("ada", "00000002", &ids));
    }

    #[test]
    fn callers_spread_evenly() {
        let ids = RequestIds::new(1);
        let low = (0..10_000).filter(|caller| of(&caller.to_string(), "00000001", &ids) % 100 < 30).count();
        assert!((2_800..3_200).contains(&low), "{low}");
    }
}
