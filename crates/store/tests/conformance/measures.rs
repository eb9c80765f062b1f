//! What was counted of deployments, and what there is to pay for them.

use api::internal::{
    measures::Measures,
    replica::{Exit, ExitCause, Phase, StartTimes, Status},
    tokens::Tokens,
};
use planner::Timestamp;
use store::{
    MeasuredOf,
    domain::{Deployment, Sample, Standing, Used},
};

use crate::{fixtures::*, support::Database};

fn answered(requests: u64) -> Measures {
    let mut measures = Measures::default();
    (0..requests).for_each(|_| measures.answered.entry(200).or_default().response_time.record(0.25));
    measures
}

fn sample(deployment: &Deployment, environment: Option<&str>, minute: u64, requests: u64) -> Sample {
    Sample {
        deployment_id: deployment.id.clone(),
        environment: environment.map(str::to_owned),
        since: NOW.plus(60_000 * minute),
        until: NOW.plus(60_000 * (minute + 1)),
        measures: answered(requests),
        standing: Standing { active: 1, ..Standing::default() },
        restarts: 0,
    }
}

pub async fn samples_add_up_and_read_back_by_deployment_and_environment(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    let samples = [
        sample(&deployment, None, 0, 1),
        sample(&deployment, Some("production"), 1, 2),
        sample(&deployment, Some("production"), 2, 3),
    ];
    for sample in &samples {
        store.record_samples(std::slice::from_ref(sample), &[]).await.unwrap();
    }
    let of = MeasuredOf::Deployment(&deployment.id);
    assert_eq!(store.samples(of, NOW, NOW.plus(180_000)).await.unwrap(), samples);
    let later = store.samples(of, NOW.plus(120_000), NOW.plus(170_000)).await.unwrap();
    assert_eq!(later, samples[1..2], "the newest from before, and none that is not over");
    assert_eq!(store.recent_samples(NOW.plus(60_000)).await.unwrap(), samples[1..]);
    let of = MeasuredOf::Environment(&model.id, "production");
    assert_eq!(store.samples(of, NOW, NOW.plus(180_000)).await.unwrap(), samples[1..]);
    let total = store.totals().await.unwrap().remove(0);
    assert_eq!((total.measures, total.at, total.standing.active), (answered(6), NOW.plus(180_000), 1));

    store.prune_samples(NOW.plus(121_000)).await.unwrap();
    assert_eq!(store.samples(of, NOW, NOW.plus(180_000)).await.unwrap(), samples[2..]);
    store.delete_deployment(&deployment.id, None).await.unwrap();
    store.record_samples(&samples, &[]).await.unwrap();
    assert_eq!(store.totals().await.unwrap(), [], "what is gone is passed over");
}

pub async fn restarts_are_counted_once_and_told_with_the_next_sample(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    for (number, cause) in [(1, ExitCause::OutOfMemory), (2, ExitCause::Stopped), (3, ExitCause::LoadFailed)] {
        let ordered = replica(number, &deployment);
        store.add_replica(&ordered).await.unwrap();
        for sequence in [1, 2] {
            let exit = Exit { cause, message: sequence.to_string(), detail: None };
            let (phase, start) = (Phase::Exited(exit), StartTimes::default());
            let status = Status { sequence, phase, in_flight: 0, start, pid: 1 };
            store.see_replica(&ordered.id, &status, NOW).await.unwrap();
        }
    }
    let samples = [sample(&deployment, None, 0, 0), sample(&deployment, None, 1, 0)];
    store.record_samples(&samples, &[]).await.unwrap();
    let seen = store.samples(MeasuredOf::Deployment(&deployment.id), NOW, NOW.plus(180_000)).await.unwrap();
    assert_eq!(seen.iter().map(|sample| sample.restarts).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(store.totals().await.unwrap()[0].restarts, 2);
}

pub async fn builds_are_counted_by_how_they_ended(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    for (succeeded, took_ms) in [(true, 1_500), (false, 250), (true, 500)] {
        store.count_build(&deployment.id, succeeded, took_ms, NOW).await.unwrap();
    }
    let durations = store.totals().await.unwrap().remove(0).durations;
    assert_eq!((durations.builds.count(), durations.builds.sum()), (2, 2.0));
    assert_eq!((durations.failed_builds.count(), durations.failed_builds.sum()), (1, 0.25));
    store.delete_deployment(&deployment.id, None).await.unwrap();
    store.count_build(&deployment.id, true, 1, NOW).await.unwrap();
    assert_eq!(store.totals().await.unwrap(), []);
}

pub async fn what_there_is_to_pay_outlives_the_deployment(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    let midnight = Timestamp(1_767_312_000_000);
    let used = |ms: u64, environment: Option<&str>| Used {
        deployment_id: deployment.id.clone(),
        environment: environment.map(str::to_owned),
        since: midnight.plus(ms),
        replica_ms: 1_500,
        requests: 2,
        tokens: Tokens { input: 3, output: 4 },
    };
    let all = [used(0, None), used(1, None), used(86_399_999, Some("production")), used(86_400_000, None)];
    store.record_samples(&[], &all).await.unwrap();
    store.delete_deployment(&deployment.id, None).await.unwrap();
    let days = store.usage(midnight, midnight.plus(1)).await.unwrap();
    let brief: Vec<_> = days.iter().map(|day| (day.environment.as_deref(), day.replica_ms, day.requests)).collect();
    assert_eq!(brief, [(None, 3_000, 4), (Some("production"), 1_500, 2)]);
    let day = &days[0];
    assert_eq!(day.tokens, Tokens { input: 6, output: 8 });
    assert_eq!((&day.deployment_name, &day.model_name, &day.team_id), (&deployment.name, &model.name, &model.team_id));
    assert!(day.is_deleted && day.day == midnight && day.instance_type == deployment.instance_type);
    assert_eq!(store.usage(midnight, midnight.plus(86_400_001)).await.unwrap().len(), 3);
}
