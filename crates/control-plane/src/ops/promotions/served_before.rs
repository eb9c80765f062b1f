//! What an environment served before: what a rollback promotes.

use api::id::DeploymentId;
use planner::promotion::Ending;
use store::domain::{Origin, Promotion};

/// A promotion that succeeded, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    arrived: DeploymentId,
    left: Option<DeploymentId>,
    is_rollback: bool,
}

/// The deployment that the environment served before what it serves now. A rollback that succeeded is undone history, so that the next
/// one goes further back; what is gone is passed over.
pub fn served_before(
    newest_first: &[Promotion],
    current: &DeploymentId,
    is_there: impl Fn(&DeploymentId) -> bool,
) -> Option<DeploymentId> {
    let succeeded = newest_first.iter().rev().filter(|one| one.state.ending() == Some(&Ending::Succeeded));
    let turns = succeeded.map(|one| Turn {
        arrived: one.candidate.clone(),
        left: one.previous.clone(),
        is_rollback: one.origin == Origin::Rollback,
    });
    before(turns, current, is_there)
}

fn before(
    oldest_first: impl IntoIterator<Item = Turn>,
    current: &DeploymentId,
    is_there: impl Fn(&DeploymentId) -> bool,
) -> Option<DeploymentId> {
    let mut served: Vec<DeploymentId> = Vec::new();
    for turn in oldest_first {
        if let Some(left) = turn.left.filter(|left| served.last() != Some(left)) {
            served.push(left);
        }
        if turn.is_rollback {
            served.pop();
            match served.iter().rposition(|one| *one == turn.arrived) {
                Some(position) => served.truncate(position),
                // It is a copy of what it goes back to.
                None => drop(served.pop()),
            }
        }
        served.push(turn.arrived);
    }
    served.into_iter().rev().find(|one| one != current && is_there(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> DeploymentId {
        DeploymentId::from_entropy(number)
    }

    fn turn(left: Option<u128>, arrived: u128) -> Turn {
        Turn { arrived: id(arrived), left: left.map(id), is_rollback: false }
    }

    fn back(left: u128, arrived: u128) -> Turn {
        Turn { is_rollback: true, ..turn(Some(left), arrived) }
    }

    fn check(turns: &[Turn], current: u128, gone: &[u128], expected: Option<u128>) {
        let is_there = |one: &DeploymentId| !gone.iter().any(|number| id(*number) == *one);
        assert_eq!(before(turns.to_vec(), &id(current), is_there), expected.map(id), "{turns:?}");
    }

    #[test]
    fn it_is_what_the_newest_promotion_replaced() {
        check(&[turn(None, 1), turn(Some(1), 2), turn(Some(2), 3)], 3, &[], Some(2));
        check(&[turn(None, 1)], 1, &[], None);
        check(&[], 1, &[], None);
    }

    #[test]
    fn history_that_begins_in_the_middle_is_enough() {
        check(&[turn(Some(8), 9)], 9, &[], Some(8));
    }

    #[test]
    fn one_rollback_after_the_other_goes_further_back() {
        let history = [turn(None, 1), turn(Some(1), 2), turn(Some(2), 3)];
        check(&[&history[..], &[back(3, 2)]].concat(), 2, &[], Some(1));
        check(&[&history[..], &[back(3, 2), back(2, 1)]].concat(), 1, &[], None);
        check(&[&history[..], &[back(3, 2), turn(Some(2), 4)]].concat(), 4, &[], Some(2));
    }

    #[test]
    fn a_rollback_to_a_copy_counts_as_one_to_its_source() {
        check(&[turn(None, 1), turn(Some(1), 2), turn(Some(2), 3), back(3, 7)], 7, &[], Some(1));
    }

    #[test]
    fn what_has_been_deleted_is_passed_over() {
        let history = [turn(None, 1), turn(Some(1), 2), turn(Some(2), 3)];
        check(&history, 3, &[2], Some(1));
        check(&[&history[..], &[back(3, 1)]].concat(), 1, &[2], None);
    }
}
