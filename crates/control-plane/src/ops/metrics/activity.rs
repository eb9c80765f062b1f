//! What every deployment does now.

use std::collections::{BTreeMap, HashMap};

use api::{
    id::{DeploymentId, ModelId},
    internal::measures::Histogram,
};
use planner::{Timestamp, lifecycle::Status};
use store::{
    ModelFilter,
    domain::{Model, Sample, Standing},
};

use super::{Caller, ControlPlane, Error, current_window_ms, deployments};

/// Deployments that are shown at most.
const MOST: usize = 200;
/// The first status that is the server's or the model's fault.
const FIRST_FAILURE: u16 = 500;

/// What a deployment has had to do in the last minute, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// Its model.
    pub model: Model,
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// Its name.
    pub deployment_name: String,
    /// The environment that it was in.
    pub environment: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How it stood when that was last recorded.
    pub standing: Standing,
    /// When that was.
    pub at: Timestamp,
    /// What it has had to do.
    pub work: Work,
}

/// What came in a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Requests that were answered, a second.
    pub requests_per_s: f64,
    /// Those of them that failed.
    pub failures_per_s: f64,
    /// Half of them took at most so long, in seconds.
    pub p50_s: Option<f64>,
    /// 99 of a hundred did.
    pub p99_s: Option<f64>,
    /// Processors in use.
    pub cpus: f64,
    /// Bytes in use.
    pub memory_bytes: u64,
}

/// What the caller's deployments do, those with the most requests first.
pub async fn activity(control_plane: &ControlPlane, caller: &Caller) -> Result<Vec<Activity>, Error> {
    let store = control_plane.store();
    let window_ms = current_window_ms(control_plane);
    let from = Timestamp(control_plane.now().0.saturating_sub(window_ms));
    let mut samples: BTreeMap<DeploymentId, Vec<Sample>> = BTreeMap::new();
    for sample in store.recent_samples(from).await? {
        samples.entry(sample.deployment_id.clone()).or_default().push(sample);
    }
    let mut busy: Vec<_> = samples.values().filter_map(|samples| Some((samples.last()?, work(samples)))).collect();
    busy.retain(|(last, work)| work.requests_per_s > 0.0 || last.standing != Standing::default());
    busy.sort_by(|(_, one), (_, other)| other.requests_per_s.total_cmp(&one.requests_per_s));
    let models = store.models(&ModelFilter::default()).await?.into_iter().filter(|model| caller.may_measure(model));
    let models: HashMap<ModelId, Model> = models.map(|model| (model.id.clone(), model)).collect();
    let mut shown = Vec::new();
    for (last, work) in busy {
        // One that is gone has nothing to do any more.
        let Some(view) = deployments::look_if_there(control_plane, &last.deployment_id).await? else { continue };
        let Some(model) = models.get(&view.deployment.model_id) else { continue };
        shown.push(Activity {
            model: model.clone(),
            deployment_id: view.deployment.id,
            deployment_name: view.deployment.name,
            environment: last.environment.clone(),
            status: view.status,
            standing: last.standing.clone(),
            at: last.until,
            work,
        });
        if shown.len() == MOST {
            break;
        }
    }
    Ok(shown)
}

/// What came in the time of these samples, which are of one deployment; processors and memory as they were in the last.
fn work(samples: &[Sample]) -> Work {
    let span_ms: u64 = samples.iter().map(Sample::span_ms).sum();
    let per_s = |count: u64| share(count as f64 * 1000.0, span_ms);
    let answered = || samples.iter().flat_map(|sample| &sample.measures.answered);
    let failed = answered().filter(|(status, _)| **status >= FIRST_FAILURE);
    let mut times = Histogram::default();
    answered().for_each(|(_, answered)| times.add(&answered.response_time));
    let last = samples.last();
    let uses = || last.into_iter().flat_map(|last| last.standing.uses.values());
    Work {
        requests_per_s: per_s(times.count()),
        failures_per_s: per_s(failed.map(|(_, answered)| answered.response_time.count()).sum()),
        p50_s: times.quantile(0.5),
        p99_s: times.quantile(0.99),
        cpus: share(uses().map(|used| used.cpu_ms as f64).sum(), last.map_or(0, Sample::span_ms)),
        memory_bytes: uses().map(|used| used.memory_bytes).sum(),
    }
}

/// So much for each millisecond; nothing where there was none.
fn share(amount: f64, span_ms: u64) -> f64 {
    if span_ms > 0 { amount / span_ms as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use api::{id::ReplicaId, internal::measures::Measures};
    use store::domain::Use;

    use super::*;

    #[test]
    fn work_is_what_came_a_second_and_what_is_in_use_now() {
        let sample = |number: u64, statuses: &[u16], cpu_ms: u64| {
            let mut measures = Measures::default();
            for status in statuses {
                measures.answered.entry(*status).or_default().response_time.record(0.5);
            }
            let used = Use { cpu_ms, cpu_total_ms: cpu_ms, memory_bytes: 7 };
            let uses = [1, 2].map(|replica| (ReplicaId::from_entropy(replica), used)).into();
            Sample {
                deployment_id: DeploymentId::from_entropy(1),
                environment: None,
                since: Timestamp(30_000 * number),
                until: Timestamp(30_000 * (number + 1)),
                measures,
                standing: Standing { uses, ..Standing::default() },
                restarts: 0,
            }
        };
        let work = work(&[sample(0, &[200, 200, 404], 30_000), sample(1, &[503, 200, 200], 15_000)]);
        assert_eq!((work.requests_per_s, work.failures_per_s), (0.1, 1.0 / 60.0));
        assert_eq!((work.cpus, work.memory_bytes), (1.0, 14));
        assert!(work.p50_s.unwrap() <= work.p99_s.unwrap() && work.p99_s.unwrap() <= 0.5);
        assert_eq!(super::work(&[]), Work::default());
    }
}
