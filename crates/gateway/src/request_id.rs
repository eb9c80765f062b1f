//! Request ids: 32 hexadecimal digits, never twice, made without a system call and without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

/// Spreads counting numbers over all bits. Odd, so that no two numbers meet.
const STRIDE: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// Where ids come from.
pub(crate) struct RequestIds {
    seed: u128,
    count: AtomicU64,
}

/// The id of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(u128);

impl RequestIds {
    /// Different seeds give different ids.
    pub(crate) fn new(seed: u128) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }

    /// A new one. A client cannot choose its own: two requests would share a name in the logs.
    pub(crate) fn next(&self) -> RequestId {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId(u128::from(number).wrapping_mul(STRIDE).wrapping_add(self.seed))
    }
}

impl RequestId {
    /// As a header carries it.
    pub(crate) fn to_header(self) -> HeaderValue {
        let mut digits = [0_u8; 32];
        for (index, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(self.0 >> (124 - 4 * index)) as usize & 0xf];
        }
        HeaderValue::from_bytes(&digits).expect("hexadecimal digits are allowed in a header")
    }

    /// All of it.
    pub(crate) fn number(self) -> u128 {
        self.0
    }

    /// Bits that differ from request to request, for choices by chance.
    pub(crate) fn chance(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_do_not_repeat() {
        let ids = RequestIds::new(7);
        let seen: HashSet<_> = (0..10_000).map(|_| ids.next().to_header()).collect();
        assert_eq!(seen.len(), 10_000);
        assert!(seen.iter().all(|id| id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit)));
        let id = ids.next();
        assert_eq!(id.to_header(), id.to_string());
    }

    #[test]
    fn choices_by_chance_spread_evenly() {
        let ids = RequestIds::new(7);
        let low = (0..10_000).filter(|_| ids.next().chance() % 100 < 30).count();
        assert!((2_800..3_200).contains(&low), "{low}");
    }
}
