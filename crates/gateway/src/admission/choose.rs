//! Which replica gets the next request: the least loaded of a handful, and the less loaded of two picked by chance beyond
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).

use std::sync::Arc;

use crate::replica::Replica;

/// Up to this many replicas each is looked at; beyond, two picked by chance are compared.
const LOOK_AT_ALL: usize = 8;

/// Reserves one of `slots` slots on the least loaded replica that has one free. Each `number` sees other replicas first.
pub(super) fn reserve(replicas: &[Arc<Replica>], slots: u32, number: u64) -> Option<&Arc<Replica>> {
    match replicas {
        [] => None,
        [only] => only.reserve(slots).then_some(only),
        few if few.len() <= LOOK_AT_ALL => least_loaded(few, slots, scatter(number)),
        many => {
            let chance = scatter(number);
            better_of_two(many, slots, chance).or_else(|| least_loaded(many, slots, chance))
        }
    }
}

/// The least loaded of all, found and reserved; equals are taken in turn.
fn least_loaded(replicas: &[Arc<Replica>], slots: u32, chance: u64) -> Option<&Arc<Replica>> {
    let start = chance as usize % replicas.len();
    loop {
        let (after, before) = (&replicas[start..], &replicas[..start]);
        let best =
            after.iter().chain(before).filter(|replica| replica.has_room(slots)).min_by_key(|it| it.in_flight())?;
        // Somebody else may have been faster; then look again, there may be another.
        if best.reserve(slots) {
            return Some(best);
        }
    }
}

/// The less loaded of two picked by chance, reserved; none when it has no room.
fn better_of_two(replicas: &[Arc<Replica>], slots: u32, chance: u64) -> Option<&Arc<Replica>> {
    let pick = |bits: u64| &replicas[bits as usize % replicas.len()];
    let (one, other) = (pick(chance & 0xffff_ffff), pick(chance >> 32));
    let better = if one.in_flight() <= other.in_flight() { one } else { other };
    better.reserve(slots).then_some(better)
}

/// Bits that look random and differ for each `number` (SplitMix64).
fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
