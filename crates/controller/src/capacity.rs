//! Which orders still fit on the machines. Pure.

use std::sync::Arc;

use api::id::DeploymentId;
use planner::{
    capacity::{Amount, Capacity, Usage, shortage},
    location::Fence,
};
use store::domain::Promotion;

use crate::rooms::Rooms;

/// Room of a promotion in place, whose sides give it to each other and to nobody else.
pub(crate) struct Reserved<'a> {
    promotion: &'a Promotion,
    /// What both sides may use together.
    room: Amount,
    /// What they use now.
    held: Amount,
    /// What of the rest is kept for them in each location, by position, as far as it is free yet.
    aside: Vec<Amount>,
}

impl<'a> Reserved<'a> {
    /// The room of `promotion`, when `each` says what a replica of a deployment uses. It is as large as the larger of the sides: the
    /// previous one may come back.
    pub fn new(promotion: &'a Promotion, usage: &Usage, each: impl Fn(&DeploymentId) -> Amount) -> Self {
        let held = sides(promotion).fold(Amount::default(), |sum, side| sum.plus(&usage.by(side)));
        let of = |id: &DeploymentId| each(id).times(promotion.state.total.max(1));
        let candidate = of(&promotion.candidate);
        let previous = promotion.previous.as_ref().map(of).unwrap_or_default();
        Self { promotion, room: candidate.clone().plus(&previous.minus(&candidate)), held, aside: Vec::new() }
    }

    fn is_for(&self, id: &DeploymentId) -> bool {
        sides(self.promotion).any(|side| side == id)
    }

    fn rest(&self) -> Amount {
        self.room.clone().minus(&self.held)
    }

    /// The one that nobody serves is served first, then the one that began first: of two that are short of room, one goes on.
    fn rank(&self) -> (bool, u64) {
        (self.held != Amount::default(), self.promotion.id)
    }

    /// A replica of a side has found a place: that much less is kept, there first and then wherever it was meant to go.
    fn give(&mut self, at: usize, amount: &Amount) {
        self.held = std::mem::take(&mut self.held).plus(amount);
        let mut given = amount.clone();
        let first = at.min(self.aside.len());
        let (before, rest) = self.aside.split_at_mut(first);
        for kept in rest.iter_mut().chain(before) {
            let left = given.clone().minus(kept);
            *kept = std::mem::take(kept).minus(&given);
            given = left;
        }
    }
}

/// Both sides, the candidate first.
pub(crate) fn sides(promotion: &Promotion) -> impl Iterator<Item = &DeploymentId> {
    std::iter::once(&promotion.candidate).chain(&promotion.previous)
}

/// Keeps for each promotion what is free of its room in the locations where its sides could use it, for one after the other. Either side
/// may have it: what is too little for a replica of the candidate may be enough for the previous deployment to come back to, and
/// together with what that frees next, for one of the candidate. `of` says where a deployment may run and what each replica uses.
pub(crate) fn set_aside(
    reserved: &mut [Reserved<'_>],
    rooms: &Rooms<'_>,
    mut of: impl FnMut(&DeploymentId) -> Option<(Arc<Fence>, Amount)>,
) {
    reserved.sort_by_key(Reserved::rank);
    for rank in 0..reserved.len() {
        let mut kept = kept(&reserved[..rank]);
        let one = &mut reserved[rank];
        let sides: Vec<_> = sides(one.promotion).filter_map(|side| Some((side, of(side)?))).collect();
        let held = sides.iter().map(|(side, (fence, _))| rooms.held(side, fence));
        let mut rest = held.fold(one.room.clone(), |rest, held| rest.minus(&held));
        for (side, (fence, each)) in &sides {
            let spare = rooms.spare(side, fence, each, rest.clone(), &kept);
            rest = spare.iter().fold(rest, Amount::minus);
            add(&mut kept, &spare);
            add(&mut one.aside, &spare);
        }
    }
}

/// What these promotions keep of each location, by position.
pub(crate) fn kept<'r>(reserved: impl IntoIterator<Item = &'r Reserved<'r>>) -> Vec<Amount> {
    let mut sums = Vec::new();
    reserved.into_iter().for_each(|one| add(&mut sums, &one.aside));
    sums
}

fn add(sums: &mut Vec<Amount>, parts: &[Amount]) {
    sums.resize(sums.len().max(parts.len()), Amount::default());
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum = std::mem::take(sum).plus(part);
    }
}

/// Orders by what becomes of them.
pub(crate) struct Divided<T> {
    /// Those that fit, each with the position of its location.
    pub fitting: Vec<(T, usize)>,
    /// Those that wait, each with what for.
    pub waiting: Vec<(T, String)>,
}

/// Divides orders into those that fit on top of `used` and of what others have reserved, first come first served, each with its place,
/// and those that wait, each with what for. One that waits does not keep a smaller one behind it. `each` says of which deployment an
/// order is and what it asks; `place` finds it a place beside what is kept for others in each location, which is taken then.
pub(crate) fn admit<T>(
    capacity: &Capacity,
    mut used: Amount,
    mut reserved: Vec<Reserved<'_>>,
    orders: Vec<T>,
    each: impl Fn(&T) -> (DeploymentId, Amount),
    mut place: impl FnMut(&T, &Amount, &[Amount]) -> Result<usize, String>,
) -> Divided<T> {
    let mut divided = Divided { fitting: Vec::new(), waiting: Vec::new() };
    for order in orders {
        let (id, asked) = each(&order);
        let own = reserved.iter().filter(|one| one.is_for(&id)).map(Reserved::rank).min();
        let goes_before = |one: &&Reserved<'_>| !one.is_for(&id) && own.is_none_or(|own| one.rank() < own);
        let before = || reserved.iter().filter(goes_before);
        let taken = before().fold(used.clone(), |taken, one| taken.plus(&one.rest()));
        let lacks = shortage(capacity, &taken, &asked).map(|lacks| format!("waiting for capacity: {lacks}"));
        match lacks.map_or_else(|| place(&order, &asked, &kept(before())), Err) {
            Ok(at) => {
                used = used.plus(&asked);
                reserved.iter_mut().filter(|one| one.is_for(&id)).for_each(|one| one.give(at, &asked));
                divided.fitting.push((order, at));
            }
            Err(lacks) => divided.waiting.push((order, lacks)),
        }
    }
    divided
}

#[cfg(test)]
mod tests {
    use planner::{
        capacity::{Claim, amount},
        catalogue::Catalogue,
        promotion::Room,
    };

    use super::*;
    use crate::fixtures::promotion;

    fn cpus(millicpu: u64) -> Amount {
        Amount { millicpu, ..Amount::default() }
    }

    fn id(n: u128) -> DeploymentId {
        DeploymentId::from_entropy(n)
    }

    #[test]
    fn orders_fit_in_turn_and_a_large_one_keeps_no_small_one_waiting() {
        let capacity = Capacity { millicpu: Some(8_000), ..Capacity::default() };
        let orders = vec![2_000, 4_000, 3_000, 1];
        let Divided { fitting, waiting } =
            admit(&capacity, cpus(3_000), vec![], orders, |order| (id(1), cpus(*order)), |_, _, _| Ok(0));
        assert_eq!(fitting, [(2_000, 0), (3_000, 0)]);
        let waiting: Vec<String> = waiting.iter().map(|(order, lacks)| format!("{order} is {lacks}")).collect();
        let lacks =
            |order: u32, free: u32| format!("{order} is waiting for capacity: {order} millicpu needed, {free} free");
        assert_eq!(waiting, [lacks(4_000, 3_000), lacks(1, 0)]);
    }

    #[test]
    fn an_order_without_a_place_waits_and_takes_no_room() {
        let capacity = Capacity { millicpu: Some(2_000), ..Capacity::default() };
        let place = |order: &u64, _: &Amount, _: &[Amount]| {
            if *order == 2_000 { Err("there is no place".into()) } else { Ok(7) }
        };
        let orders = vec![2_000, 1_000, 1_000];
        let Divided { fitting, waiting } =
            admit(&capacity, cpus(0), vec![], orders, |order| (id(1), cpus(*order)), place);
        assert_eq!(fitting, [(1_000, 7), (1_000, 7)]);
        assert_eq!(waiting, [(2_000, "there is no place".to_owned())]);
    }

    /// Whether orders of one CPU of these deployments fit in two CPUs, when promotions in place from 1 to 2 and from 3 to 4 hold so
    /// many.
    fn fitting(held: [usize; 2], orders: Vec<u128>) -> Vec<u128> {
        let capacity = Capacity { millicpu: Some(2_000), ..Capacity::default() };
        let mut promotions = [promotion(2, Some(1)), promotion(4, Some(3))];
        promotions[1].id = 2;
        for promotion in &mut promotions {
            promotion.settings.room = Room::InPlace;
            promotion.state.total = 2;
        }
        let catalogue = Catalogue::of(&[]);
        let each = || amount(&catalogue, "1x2");
        let holders = promotions.iter().zip(held).flat_map(|(one, held)| std::iter::repeat_n(&one.candidate, held));
        let claims = holders.map(|deployment| Claim { deployment, instance_type: "1x2", location: None, waits: false });
        let usage = Usage::of(&catalogue, claims);
        let reserved = promotions.iter().map(|one| Reserved::new(one, &usage, |_| each())).collect();
        let used = usage.by_all().clone();
        let Divided { fitting, .. } =
            admit(&capacity, used, reserved, orders, |order| (id(*order), each()), |_, _, _| Ok(0));
        fitting.into_iter().map(|(order, _)| order).collect()
    }

    #[test]
    fn the_room_of_a_promotion_in_place_is_for_its_sides() {
        assert_eq!(fitting([0, 2], vec![9, 2]), [0_u128; 0], "there is none");
        assert_eq!(fitting([1, 0], vec![9, 3]), [3], "a stranger waits");
        assert_eq!(fitting([0, 0], vec![9, 2]), [2], "either side may have it");
        assert_eq!(fitting([0, 0], vec![9, 1]), [1], "either side may have it");
    }

    #[test]
    fn of_two_that_are_short_of_room_the_one_that_nobody_serves_goes_on() {
        assert_eq!(fitting([1, 0], vec![2, 4]), [4]);
        assert_eq!(fitting([0, 0], vec![4, 2, 2]), [2], "one begins, and then the other goes on");
    }
}
