//! Which orders still fit on the machines. Pure.

use api::id::DeploymentId;
use planner::capacity::{Amount, Capacity, Usage, shortage};
use store::domain::Promotion;

/// Room of a promotion in place, whose sides give it to each other and to nobody else.
pub(crate) struct Reserved<'a> {
    promotion: &'a Promotion,
    /// What both sides may use together.
    room: Amount,
    /// What they use now.
    held: Amount,
    /// Where what is left of the room is, by the positions of locations, as far as it is free yet.
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

    /// A replica of a side has found a place: that much of the room is in use.
    fn give(&mut self, at: usize, amount: &Amount) {
        self.held = std::mem::take(&mut self.held).plus(amount);
        let is_here = self.aside.get(at).is_some_and(|kept| kept.covers(amount));
        let from = if is_here { Some(at) } else { self.aside.iter().position(|kept| kept.covers(amount)) };
        if let Some(kept) = from.and_then(|from| self.aside.get_mut(from)) {
            *kept = std::mem::take(kept).minus(amount);
        }
    }

    fn is_for(&self, id: &DeploymentId) -> bool {
        sides(self.promotion).any(|side| side == id)
    }

    /// What is left of the room.
    fn rest(&self) -> Amount {
        self.room.clone().minus(&self.held)
    }

    /// The one that nobody serves is served first, then the one that began first: of two that are short of room, one goes on.
    fn rank(&self) -> (bool, u64) {
        (self.held != Amount::default(), self.promotion.id)
    }
}

/// Both sides, the candidate first.
fn sides(promotion: &Promotion) -> impl Iterator<Item = &DeploymentId> {
    std::iter::once(&promotion.candidate).chain(&promotion.previous)
}

/// Keeps what is free of each promotion's room in locations where it could be used, of one after the other. `spare` says where replicas
/// of a side could go that use no more than so much together, beside what is kept already in each location: what they would use of each.
pub(crate) fn set_aside(
    reserved: &mut [Reserved<'_>],
    mut spare: impl FnMut(&DeploymentId, Amount, &[Amount]) -> Vec<Amount>,
) {
    reserved.sort_by_key(Reserved::rank);
    for rank in 0..reserved.len() {
        let (before, rest) = reserved.split_at_mut(rank);
        let one = &mut rest[0];
        let kept = kept(&*before);
        // Either side may have it. Where the candidate can have none, what is free is there for the previous one to come back to.
        let mut parts = sides(one.promotion).map(|side| spare(side, one.rest(), &kept));
        let is_any = |parts: &Vec<Amount>| parts.iter().any(|part| *part != Amount::default());
        one.aside = parts.find(is_any).unwrap_or_default();
    }
}

/// What these promotions keep of each location, by position.
fn kept<'r>(reserved: impl IntoIterator<Item = &'r Reserved<'r>>) -> Vec<Amount> {
    let mut sums: Vec<Amount> = Vec::new();
    for one in reserved {
        sums.resize(sums.len().max(one.aside.len()), Amount::default());
        for (sum, more) in sums.iter_mut().zip(&one.aside) {
            *sum = std::mem::take(sum).plus(more);
        }
    }
    sums
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
        placement,
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
        let catalogue = placement::cpu_catalogue();
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
