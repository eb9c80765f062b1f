//! What replicas use of the machines, and which orders still fit. Pure.

use planner::{
    capacity::{Amount, Capacity, Shortage, shortage},
    placement::InstanceType,
};

/// What a replica on this instance type uses; nothing that counts where the catalogue does not have it any more.
pub(crate) fn amount(catalogue: &[InstanceType], id: &str) -> Amount {
    catalogue.iter().find(|kind| kind.id == id).map(Amount::of).unwrap_or_default()
}

/// Divides orders into those that fit on top of `used`, first come first served, and those that wait. One that waits does not keep
/// a smaller one behind it.
pub(crate) fn admit<T>(
    capacity: &Capacity,
    mut used: Amount,
    orders: Vec<T>,
    each: impl Fn(&T) -> Amount,
) -> (Vec<T>, Vec<(T, Shortage)>) {
    let (mut fitting, mut waiting) = (Vec::new(), Vec::new());
    for order in orders {
        let asked = each(&order);
        match shortage(capacity, &used, &asked) {
            None => {
                used = used.plus(&asked);
                fitting.push(order);
            }
            Some(shortage) => waiting.push((order, shortage)),
        }
    }
    (fitting, waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_fit_in_turn_and_a_large_one_keeps_no_small_one_waiting() {
        let cpus = |millicpu: u64| Amount { millicpu, ..Amount::default() };
        let capacity = Capacity { millicpu: Some(8_000), ..Capacity::default() };
        let (fitting, waiting) = admit(&capacity, cpus(3_000), vec![2_000, 4_000, 3_000, 1], |order| cpus(*order));
        assert_eq!(fitting, [2_000, 3_000]);
        let waiting: Vec<String> = waiting.iter().map(|(order, lacks)| format!("{order}: {lacks}")).collect();
        assert_eq!(waiting, ["4000: 4000 millicpu needed, 3000 free", "1: 1 millicpu needed, 0 free"]);
    }
}
