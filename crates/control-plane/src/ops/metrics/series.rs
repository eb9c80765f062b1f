//! From samples to the values of metrics over a window. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    id::ReplicaId,
    internal::{
        measures::{Answered, Bounds, Histogram, Measures},
        tokens::Tokens,
    },
};
use planner::Timestamp;
use store::domain::{Sample, Standing};

use super::{Kind, Metric};

/// What tells the series of a metric apart.
pub type Labels = BTreeMap<String, String>;

/// The values of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Which one.
    pub metric: Metric,
    /// Its series; one without labels where there is one only.
    pub label_sets: Vec<Labels>,
    /// For each step, for each series; none where nothing is known.
    pub values: Vec<Vec<Option<f64>>>,
}

/// What is known of one step of a window.
#[derive(Debug, Default)]
pub struct Step<'a> {
    samples: Vec<&'a Sample>,
    /// Nothing was recorded because there was nothing: no replica and no request.
    rests: bool,
}

/// Shares of all values, as texts and as numbers.
const QUANTILES: [(&str, f64); 4] = [("0.5", 0.5), ("0.9", 0.9), ("0.95", 0.95), ("0.99", 0.99)];
/// The class of a status that every list of classes has.
const SUCCESS: &str = "2xx";

/// Cuts `from..to` into steps of `step_ms`. `samples` are those that ended within, after the newest one from before.
pub fn cut(samples: &[Sample], from: Timestamp, to: Timestamp, step_ms: u64) -> Vec<Step<'_>> {
    let length = to.0.saturating_sub(from.0).div_ceil(step_ms).max(1);
    let mut steps: Vec<Step<'_>> = (0..length).map(|_| Step::default()).collect();
    for sample in samples.iter().filter(|sample| sample.until > from && sample.until <= to) {
        steps[((sample.until.0 - from.0 - 1) / step_ms) as usize].samples.push(sample);
    }
    // A deployment is recorded as long as there is anything to record, and once more.
    let mut before = samples.first().filter(|sample| sample.until <= from);
    for step in &mut steps {
        step.rests = step.samples.is_empty() && before.is_some_and(|sample| is_idle(&sample.standing));
        before = step.samples.last().copied().or(before);
    }
    steps
}

/// The newest samples alone: how it is now.
pub fn newest<'a>(step: &Step<'a>) -> Step<'a> {
    let last = step.samples.iter().map(|sample| sample.until).max();
    let samples = step.samples.iter().copied().filter(|sample| Some(sample.until) == last);
    Step { samples: samples.collect(), rests: step.rests }
}

/// A metric over these steps; none where samples do not tell.
pub fn series(metric: Metric, steps: &[Step<'_>]) -> Option<Series> {
    let plain = |value: &dyn Fn(&Step<'_>) -> Option<f64>| Series {
        metric,
        label_sets: vec![Labels::new()],
        values: steps.iter().map(|step| vec![value(step)]).collect(),
    };
    Some(match metric {
        Metric::StartTime | Metric::BuildTime | Metric::Rollout => return None,
        Metric::Requests => requests(steps),
        Metric::ResponseTime => distribution(metric, steps, |step| step.merged(|answered| &answered.response_time)),
        Metric::FirstByte => distribution(metric, steps, |step| step.merged(|answered| &answered.first_byte)),
        Metric::RequestSize => distribution(metric, steps, |step| step.merged(|answered| &answered.request_bytes)),
        Metric::ResponseSize => distribution(metric, steps, |step| step.merged(|answered| &answered.response_bytes)),
        Metric::Tokens => tokens(steps),
        Metric::QueueWait => distribution(metric, steps, |step| step.measures().queued),
        Metric::Restarts => plain(&|step| step.sum(|sample| sample.restarts as f64)),
        Metric::Readiness => readiness(steps),
        Metric::Cpu => by_replica(metric, steps, |step, replica| {
            let used = step.of_replica(replica).map(|(_, usage)| usage.cpu_ms as f64).sum::<f64>();
            let span = step.of_replica(replica).map(|(span, _)| span).sum::<f64>();
            used / span
        }),
        Metric::Memory => by_replica(metric, steps, |step, replica| {
            let used = step.of_replica(replica).map(|(span, usage)| span * usage.memory_bytes as f64).sum::<f64>();
            let span = step.of_replica(replica).map(|(span, _)| span).sum::<f64>();
            used / span
        }),
        Metric::Concurrent
        | Metric::Queued
        | Metric::Websockets
        | Metric::ReplicasActive
        | Metric::ReplicasStarting
        | Metric::ReplicasDesired => {
            debug_assert_eq!(metric.kind(), Kind::Gauge);
            plain(&|step| step.mean(|sample| gauge(metric, &sample.standing, &sample.measures)))
        }
    })
}

/// The value of a gauge that has one only.
pub fn gauge(metric: Metric, standing: &Standing, measures: &Measures) -> f64 {
    f64::from(match metric {
        Metric::Concurrent => standing.in_flight + standing.queued,
        Metric::Queued => standing.queued,
        Metric::Websockets => measures.websockets,
        Metric::ReplicasActive => standing.active,
        Metric::ReplicasStarting => standing.starting,
        Metric::ReplicasDesired => standing.desired,
        _ => 0,
    })
}

/// Tokens by the way that they went.
pub fn directions(tokens: Tokens) -> [(&'static str, u64); 2] {
    [("input", tokens.input), ("output", tokens.output)]
}

/// How many replicas are ready, and how many are not.
pub fn conditions(standing: &Standing) -> [(&'static str, u32); 2] {
    [("true", standing.active), ("false", standing.starting + standing.unhealthy)]
}

fn is_idle(standing: &Standing) -> bool {
    standing.active + standing.starting + standing.unhealthy == 0
}

impl Step<'_> {
    /// The value over the step, where anything is known of it.
    fn known(&self, value: f64) -> Option<f64> {
        (!self.samples.is_empty() || self.rests).then_some(value)
    }

    fn sum(&self, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        // Not `sum`, which makes a negative zero of nothing.
        self.known(self.samples.iter().fold(0.0, |sum, sample| sum + value(sample)))
    }

    /// The mean over the time that samples cover. Several of one moment are of several deployments, and add up.
    fn mean(&self, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        let spans: BTreeMap<_, _> = self.samples.iter().map(|sample| (sample.until, span(sample))).collect();
        let covered: f64 = spans.values().sum();
        let weighted = self.sum(|sample| value(sample) * span(sample))?;
        Some(if covered > 0.0 { weighted / covered } else { 0.0 })
    }

    fn measures(&self) -> Measures {
        let mut all = Measures::default();
        self.samples.iter().for_each(|sample| all.add(&sample.measures));
        all
    }

    fn merged<B: Bounds>(&self, of: impl Fn(&Answered) -> &Histogram<B>) -> Histogram<B> {
        let mut all = Histogram::default();
        let answered = self.samples.iter().flat_map(|sample| sample.measures.answered.values());
        answered.for_each(|answered| all.add(of(answered)));
        all
    }

    fn of_replica(&self, replica: &ReplicaId) -> impl Iterator<Item = (f64, store::domain::Use)> {
        self.samples.iter().filter_map(move |sample| Some((span(sample), *sample.standing.uses.get(replica)?)))
    }
}

fn span(sample: &Sample) -> f64 {
    sample.span_ms() as f64
}

/// What requests took, and what they gave.
fn tokens(steps: &[Step<'_>]) -> Series {
    let of = |tokens: Tokens| directions(tokens).map(|(_, count)| count as f64);
    let values = |step: &Step<'_>| {
        let [input, output] = [0, 1].map(|direction| step.sum(|sample| of(sample.measures.tokens)[direction]));
        vec![input, output]
    };
    let label = |(direction, _): (&str, u64)| Labels::from([("direction".to_owned(), direction.to_owned())]);
    Series {
        metric: Metric::Tokens,
        label_sets: directions(Tokens::default()).map(label).into(),
        values: steps.iter().map(values).collect(),
    }
}

/// What each status class has had, with the contract's label.
fn requests(steps: &[Step<'_>]) -> Series {
    let class = |status: &u16| format!("{}xx", status / 100);
    let counts = |step: &Step<'_>| {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for (status, answered) in step.samples.iter().flat_map(|sample| &sample.measures.answered) {
            *counts.entry(class(status)).or_default() += answered.response_time.count() as f64;
        }
        counts
    };
    let counts: Vec<_> = steps.iter().map(counts).collect();
    let classes: BTreeSet<_> =
        counts.iter().flat_map(|counts| counts.keys().cloned()).chain([SUCCESS.into()]).collect();
    let of_step = |(step, counts): (&Step<'_>, &BTreeMap<String, f64>)| {
        classes.iter().map(|class| step.known(counts.get(class).copied().unwrap_or(0.0))).collect()
    };
    Series {
        metric: Metric::Requests,
        values: steps.iter().zip(&counts).map(of_step).collect(),
        label_sets: classes.iter().map(|class| label("status", class)).collect(),
    }
}

fn distribution<B: Bounds>(
    metric: Metric,
    steps: &[Step<'_>],
    histogram: impl Fn(&Step<'_>) -> Histogram<B>,
) -> Series {
    let quantiles = QUANTILES.iter().map(|(text, _)| label("quantile", text));
    let of_step = |step: &Step<'_>| {
        let histogram = histogram(step);
        let quantiles = QUANTILES.iter().map(|(_, share)| histogram.quantile(*share));
        quantiles.chain([histogram.mean()]).collect()
    };
    Series {
        metric,
        label_sets: quantiles.chain([label("stat", "avg")]).collect(),
        values: steps.iter().map(of_step).collect(),
    }
}

fn readiness(steps: &[Step<'_>]) -> Series {
    let labels = conditions(&Standing::default()).map(|(condition, _)| label("condition", condition));
    let of_step = |step: &Step<'_>| {
        let mean = |number: usize| step.mean(|sample| f64::from(conditions(&sample.standing)[number].1));
        (0..labels.len()).map(mean).collect()
    };
    Series { metric: Metric::Readiness, values: steps.iter().map(of_step).collect(), label_sets: labels.to_vec() }
}

/// One series for each replica that any step knows.
fn by_replica(metric: Metric, steps: &[Step<'_>], value: impl Fn(&Step<'_>, &ReplicaId) -> f64) -> Series {
    let uses = steps.iter().flat_map(|step| &step.samples).flat_map(|sample| sample.standing.uses.keys());
    let replicas: BTreeSet<&ReplicaId> = uses.collect();
    let of_step = |step: &Step<'_>| {
        let known = |replica: &ReplicaId| step.of_replica(replica).next().map(|_| value(step, replica));
        replicas.iter().map(|replica| known(replica)).collect()
    };
    Series {
        metric,
        values: steps.iter().map(of_step).collect(),
        label_sets: replicas.iter().map(|replica| label("replica", replica.as_str())).collect(),
    }
}

fn label(name: &str, value: &str) -> Labels {
    Labels::from([(name.to_owned(), value.to_owned())])
}

#[cfg(test)]
mod tests {
    use api::id::DeploymentId;
    use store::domain::Use;

    use super::*;

    /// A sample of the `minute`th minute.
    fn sample(minute: u64, active: u32, statuses: &[u16]) -> Sample {
        let mut measures = Measures::default();
        for status in statuses {
            measures.answered.entry(*status).or_default().response_time.record(0.5);
        }
        Sample {
            deployment_id: DeploymentId::from_entropy(1),
            environment: None,
            since: Timestamp(60_000 * minute),
            until: Timestamp(60_000 * (minute + 1)),
            measures,
            standing: Standing { active, in_flight: active, ..Standing::default() },
            restarts: 0,
        }
    }

    fn values(metric: Metric, samples: &[Sample], minutes: std::ops::Range<u64>, step: u64) -> Vec<Vec<Option<f64>>> {
        let (from, to) = (Timestamp(60_000 * minutes.start), Timestamp(60_000 * minutes.end));
        series(metric, &cut(samples, from, to, 60_000 * step)).unwrap().values
    }

    #[test]
    fn counters_add_up_within_their_step_and_gauges_are_its_mean() {
        let samples = [sample(0, 1, &[200, 404]), sample(1, 3, &[200]), sample(2, 2, &[500])];
        let whole = |number| Some(f64::from(number));
        assert_eq!(values(Metric::Requests, &samples, 0..3, 3), [vec![whole(2), whole(1), whole(1)]]);
        assert_eq!(values(Metric::Requests, &samples, 0..3, 2)[0], [whole(2), whole(1), whole(0)]);
        assert_eq!(values(Metric::ReplicasActive, &samples, 0..3, 2), [vec![whole(2)], vec![whole(2)]]);
        assert_eq!(values(Metric::Concurrent, &samples, 0..1, 1), [vec![whole(1)]]);
        let times = values(Metric::ResponseTime, &samples, 0..3, 3).remove(0);
        assert_eq!((times.len(), times[4]), (5, Some(0.5)));
        assert!((0.25..=0.5).contains(&times[0].unwrap()));
    }

    #[test]
    fn tokens_add_up_by_the_way_that_they_went() {
        let mut samples = [sample(0, 1, &[200]), sample(1, 1, &[200])];
        for (sample, input) in samples.iter_mut().zip([3, 4]) {
            sample.measures.tokens = Tokens { input, output: 1 };
        }
        assert_eq!(values(Metric::Tokens, &samples, 0..3, 3), [vec![Some(7.0), Some(2.0)]]);
        let series = series(Metric::Tokens, &[]).unwrap();
        assert_eq!(series.label_sets[1], Labels::from([("direction".into(), "output".into())]));
    }

    #[test]
    fn samples_of_one_moment_are_of_several_deployments_and_add_up() {
        let samples = [sample(0, 1, &[200]), sample(0, 4, &[200]), sample(1, 1, &[])];
        assert_eq!(values(Metric::ReplicasActive, &samples, 0..2, 2), [vec![Some(3.0)]]);
        assert_eq!(values(Metric::Requests, &samples, 0..2, 2), [vec![Some(2.0)]]);
    }

    #[test]
    fn what_rests_is_zero_and_what_nobody_recorded_is_unknown() {
        let active = |samples: &[Sample]| values(Metric::ReplicasActive, samples, 1..4, 1);
        assert_eq!(active(&[sample(0, 0, &[])]), vec![vec![Some(0.0)]; 3]);
        assert_eq!(active(&[]), vec![vec![None]; 3]);
        let stopped = [sample(0, 1, &[]), sample(2, 0, &[])];
        assert_eq!(active(&stopped), [vec![None], vec![Some(0.0)], vec![Some(0.0)]]);
        assert_eq!(values(Metric::ResponseTime, &stopped, 1..4, 3), [vec![None; 5]], "no request, no time");
    }

    #[test]
    fn each_replica_has_its_own_use() {
        let mut samples = [sample(0, 1, &[]), sample(1, 1, &[])];
        let replica = ReplicaId::from_entropy(1);
        for (sample, cpu_ms) in samples.iter_mut().zip([30_000, 60_000]) {
            let used = Use { cpu_ms, cpu_total_ms: 90_000, memory_bytes: cpu_ms };
            sample.standing.uses.insert(replica.clone(), used);
        }
        samples[1].standing.uses.insert(ReplicaId::from_entropy(2), Use::default());
        let cpu = values(Metric::Cpu, &samples, 0..2, 1);
        assert_eq!(cpu, [vec![Some(0.5), None], vec![Some(1.0), Some(0.0)]]);
        assert_eq!(values(Metric::Memory, &samples, 0..2, 2), [vec![Some(45_000.0), Some(0.0)]]);
    }

    #[test]
    fn now_is_the_newest_sample() {
        let samples = [sample(0, 1, &[200]), sample(1, 3, &[200])];
        let steps = cut(&samples, Timestamp(0), Timestamp(120_000), 120_000);
        let now = series(Metric::ReplicasActive, &[newest(&steps[0])]).unwrap();
        assert_eq!(now.values, [vec![Some(3.0)]]);
    }
}
