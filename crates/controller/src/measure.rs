//! Records what was counted and measured, at even moments: what gateways have answered, how many replicas there are, what they use,
//! and what there is to pay for it. A deployment without replicas and requests costs nothing.

use std::collections::{HashMap, HashSet};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        measures::Measures,
        routes::Load,
        tokens::{Counted, Tokens},
    },
};
use backends::Usage;
use futures::future::join_all;
use planner::{Timestamp, lifecycle};
use store::domain::{Deployment, DeploymentKind, Replica, Sample, Standing, Use, Used};

use crate::{
    Error,
    belonging::Belonging,
    driver::{Next, Task},
    facts,
    mirror::View,
    settings::millis,
    shared::Shared,
};

/// The task.
pub(crate) struct Measure {
    shared: Shared,
    last: Option<Look>,
    /// What gateways had counted of limited tokens when that was last recorded.
    counted: Vec<Counted>,
}

/// All that was there to see at one moment.
#[derive(Default)]
struct Look {
    at: Timestamp,
    measures: HashMap<DeploymentId, Measures>,
    loads: HashMap<DeploymentId, Load>,
    usage: HashMap<ReplicaId, Usage>,
    /// Deployments that had replicas or requests.
    busy: HashSet<DeploymentId>,
}

impl Measure {
    pub fn new(shared: Shared) -> Self {
        Self { shared, last: None, counted: Vec::new() }
    }
}

impl Task for Measure {
    const NAME: &'static str = "measure";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let interval = millis(self.shared.settings.measure_interval).max(1);
        let after = |at: Timestamp| Next::IDLE.by(Some(Timestamp(at.0 - at.0 % interval + interval)));
        if let Some(last) = &self.last
            && now.0 / interval == last.at.0 / interval
        {
            return Ok(after(last.at));
        }
        // Read before the windows of limits, which then have all that is told to whoever pays.
        let measures = self.shared.parts.gateways.measures();
        self.record_tokens(now).await?;
        let parts = &self.shared.parts;
        let mut look = Look {
            at: now,
            measures,
            loads: parts.gateways.loads(),
            usage: join_all(self.shared.sites.iter().map(|site| site.backend.usage()))
                .await
                .into_iter()
                .flatten()
                .collect(),
            busy: HashSet::new(),
        };
        let view = self.shared.mirror.look().await?;
        let first;
        let last = match &self.last {
            Some(last) => last,
            // What a gateway counted before the first look came in the time of this process. What replicas used may not have.
            None => {
                first = Look { at: now, usage: look.usage.clone(), ..Look::default() };
                &first
            }
        };
        let records = compare(&view, last, &look);
        look.busy =
            records.iter().filter(|record| record.is_busy).map(|record| record.sample.deployment_id.clone()).collect();
        let used: Vec<_> = records.iter().filter_map(Record::used).collect();
        let samples: Vec<_> = records.into_iter().map(|record| record.sample).collect();
        parts.store.record_samples(&samples, &used).await?;
        self.last = Some(look);
        Ok(after(now))
    }
}

impl Measure {
    /// Records what gateways have counted of limited tokens. Where several count, each is told of the others' with the next table.
    async fn record_tokens(&mut self, now: Timestamp) -> Result<(), Error> {
        let counted = self.shared.parts.gateways.counted();
        if counted == self.counted {
            return Ok(());
        }
        self.shared.parts.store.record_tokens(&counted, now).await?;
        let gateways: HashSet<_> = counted.iter().map(|counted| &counted.by).collect();
        if gateways.len() > 1 {
            self.shared.bells.routes.ring();
        }
        self.counted = counted;
        Ok(())
    }
}

/// What there is to record of one deployment.
struct Record {
    sample: Sample,
    is_busy: bool,
    is_paid_for: bool,
    replica_ms: u64,
}

impl Record {
    fn used(&self) -> Option<Used> {
        let Sample { deployment_id, environment, since, measures, .. } = &self.sample;
        let (deployment_id, environment, since) = (deployment_id.clone(), environment.clone(), *since);
        let replica_ms = if self.is_paid_for { self.replica_ms } else { 0 };
        let (requests, tokens) = (measures.requests(), measures.tokens);
        (replica_ms > 0 || requests > 0 || tokens != Tokens::default()).then_some(Used {
            deployment_id,
            environment,
            since,
            replica_ms,
            requests,
            tokens,
        })
    }
}

/// What has come between two looks, of deployments that were or are busy.
fn compare(view: &View, last: &Look, look: &Look) -> Vec<Record> {
    let belonging = Belonging::new(&view.promotions, &view.environments);
    let (nothing, no_load) = (Measures::default(), Load::default());
    let mut records = Vec::new();
    for entry in view.entries.values() {
        let deployment = &entry.deployment;
        let id = &deployment.id;
        let replicas = view.replicas_of(id);
        let counted = look.measures.get(id).unwrap_or(&nothing);
        let measures = counted.since(last.measures.get(id).unwrap_or(&nothing));
        let load = look.loads.get(id).unwrap_or(&no_load);
        let standing = standing(deployment, replicas, load, &last.usage, &look.usage);
        let is_busy = !replicas.is_empty() || measures.requests() > 0 || load.in_flight > 0 || load.queued > 0;
        if !is_busy && !last.busy.contains(id) {
            continue;
        }
        let sample = Sample {
            deployment_id: id.clone(),
            environment: belonging.of(deployment).map(str::to_owned),
            since: last.at,
            until: look.at,
            measures,
            standing,
            restarts: 0,
        };
        records.push(Record {
            sample,
            is_busy,
            is_paid_for: deployment.kind == DeploymentKind::Published,
            replica_ms: replicas.iter().map(|replica| up_ms(replica, last.at, look.at)).sum(),
        });
    }
    records
}

fn standing(
    deployment: &Deployment,
    replicas: &[Replica],
    load: &Load,
    before: &HashMap<ReplicaId, Usage>,
    now: &HashMap<ReplicaId, Usage>,
) -> Standing {
    let counts = lifecycle::Observed::of(&facts::for_planner(replicas));
    let used = |replica: &Replica| {
        let usage = now.get(&replica.id)?;
        let before = before.get(&replica.id).map_or(0, |before| before.cpu_ms);
        let cpu_ms = usage.cpu_ms.saturating_sub(before);
        let used = Use { cpu_ms, cpu_total_ms: usage.cpu_ms, memory_bytes: usage.memory_bytes };
        Some((replica.id.clone(), used))
    };
    Standing {
        desired: deployment.target_replicas,
        active: counts.ready,
        starting: counts.starting + counts.loading,
        unhealthy: counts.unhealthy,
        in_flight: load.in_flight,
        queued: load.queued,
        uses: replicas.iter().filter_map(used).collect(),
    }
}

/// How long a replica was up within a span.
fn up_ms(replica: &Replica, since: Timestamp, until: Timestamp) -> u64 {
    if replica.has_ended() {
        return 0;
    }
    replica.seen_at.map_or(0, |seen| until.0.saturating_sub(seen.0.max(since.0)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::internal::replica::{Phase, StartTimes, Status};

    use super::*;
    use crate::{
        fixtures::{self, deployment, production},
        mirror::Entry,
    };

    fn ready(n: u128, of: u128, seen_at: u64) -> Replica {
        let status = Status { sequence: 1, phase: Phase::Ready, in_flight: 0, start: StartTimes::default(), pid: 1 };
        Replica { status: Some(status), seen_at: Some(Timestamp(seen_at)), ..fixtures::replica(n, of) }
    }

    fn view(replicas: Vec<Replica>) -> View {
        view_of(DeploymentKind::Published, replicas)
    }

    fn view_of(kind: DeploymentKind, replicas: Vec<Replica>) -> View {
        let deployment = deployment(1, kind, None);
        let id = deployment.id.clone();
        let entry = Entry { deployment, config: Arc::default() };
        let mut view = View::default();
        view.entries = Arc::new([(id.clone(), Arc::new(entry))].into());
        view.environments = Arc::new(vec![production(Some(1))]);
        view.replicas = Arc::new([(id, Arc::new(replicas))].into());
        view
    }

    fn look(at: u64, requests: u64, cpu_ms: u64) -> Look {
        let mut measures = Measures::default();
        (0..requests).for_each(|_| measures.answered.entry(200).or_default().response_time.record(0.1));
        let usage = Usage { cpu_ms, memory_bytes: 5 };
        Look {
            at: Timestamp(at),
            measures: [(DeploymentId::from_entropy(1), measures)].into(),
            usage: [(ReplicaId::from_entropy(1), usage)].into(),
            ..Look::default()
        }
    }

    #[test]
    fn what_has_come_between_two_looks_is_recorded_with_what_there_is_to_pay() {
        let mut records = compare(
            &view(vec![ready(1, 1, 10_000), ready(2, 1, 50_000)]),
            &look(30_000, 3, 400),
            &look(60_000, 5, 700),
        );
        let record = records.remove(0);
        let Sample { measures, standing, environment, .. } = &record.sample;
        assert_eq!((measures.requests(), standing.active, environment.as_deref()), (2, 2, Some("production")));
        let expected = Use { cpu_ms: 300, cpu_total_ms: 700, memory_bytes: 5 };
        assert_eq!(standing.uses, [(ReplicaId::from_entropy(1), expected)].into(), "the other is not there to be seen");
        let used = record.used().unwrap();
        assert_eq!((used.replica_ms, used.requests), (30_000 + 10_000, 2));
    }

    #[test]
    fn what_is_being_developed_costs_nothing_and_its_requests_count() {
        let view = view_of(DeploymentKind::Development, vec![ready(1, 1, 10_000)]);
        let used = compare(&view, &look(30_000, 3, 400), &look(60_000, 5, 700))[0].used().unwrap();
        assert_eq!((used.replica_ms, used.requests), (0, 2));
    }

    #[test]
    fn one_that_rests_is_recorded_once_and_then_costs_nothing() {
        let before = Look { busy: [DeploymentId::from_entropy(1)].into(), ..look(0, 3, 0) };
        let records = compare(&view(vec![]), &before, &look(30_000, 3, 0));
        assert_eq!(records.len(), 1);
        assert!(!records[0].is_busy && records[0].used().is_none());
        assert!(compare(&view(vec![]), &look(30_000, 3, 0), &look(60_000, 3, 0)).is_empty());
    }
}
