//! How starts went.

use api::internal::replica::{Exit, ExitCause, Phase, StartTimes, Status};
use planner::Timestamp;
use store::{StartsOf, domain::StartOutcome};

use crate::{fixtures::*, support::Database};

fn status(sequence: u64, phase: Phase) -> Status {
    let start = StartTimes { spawn_ms: Some(7), ..StartTimes::default() };
    Status { sequence, phase, in_flight: 0, start, pid: 1 }
}

fn exited(cause: ExitCause) -> Phase {
    Phase::Exited(Exit { cause, message: String::new(), detail: None })
}

pub async fn a_start_is_written_down_once_when_it_is_over(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    let all = async |of: StartsOf<'_>| store.startups(of, Timestamp(0), NOW.plus(1_000)).await.unwrap();
    for (number, phases) in [
        (1, vec![Phase::Loading, Phase::Ready, Phase::Unhealthy, exited(ExitCause::OutOfMemory)]),
        (2, vec![Phase::Loading, exited(ExitCause::LoadFailed)]),
        (3, vec![exited(ExitCause::StartTimeout)]),
        (4, vec![Phase::Loading, exited(ExitCause::Stopped)]),
        (5, vec![Phase::Loading]),
    ] {
        let environment = (number == 1).then(|| "production".to_owned());
        let ordered =
            store::domain::Replica { environment, created_at: NOW.plus(number), ..replica(number.into(), &deployment) };
        store.add_replica(&ordered).await.unwrap();
        for (sequence, phase) in (1..).zip(phases) {
            store.see_replica(&ordered.id, &status(sequence, phase), NOW.plus(100 + sequence)).await.unwrap();
        }
    }
    let seen = all(StartsOf::Deployment(&deployment.id)).await;
    let outcomes: Vec<_> = seen.iter().map(|one| (one.started_at, one.ended_at, one.outcome)).collect();
    let (ready, failed, stalled) = (StartOutcome::Success, StartOutcome::Failed, StartOutcome::Stalled);
    let expected = [(3, 101, stalled), (2, 102, failed), (1, 102, ready)];
    assert_eq!(outcomes, expected.map(|(from, to, outcome)| (NOW.plus(from), NOW.plus(to), outcome)));
    assert_eq!(seen[0].times.spawn_ms, Some(7));
    assert_eq!(all(StartsOf::Environment(&model.id, "production")).await, seen[2..]);
    assert_eq!(all(StartsOf::Environment(&model.id, "staging")).await, []);
    let within = store.startups(StartsOf::Deployment(&deployment.id), NOW.plus(2), NOW.plus(2)).await.unwrap();
    assert_eq!(within, seen[1..2]);
    let total = store.totals().await.unwrap().remove(0);
    let sums: Vec<_> =
        total.durations.starts.iter().map(|(part, times)| (part.as_str(), times.count(), times.sum())).collect();
    assert_eq!(sums, [("spawn", 1, 0.007), ("total", 1, 0.101)], "of the one that became ready");
    store.delete_deployment(&deployment.id, None).await.unwrap();
    assert_eq!(all(StartsOf::Deployment(&deployment.id)).await, []);
}
