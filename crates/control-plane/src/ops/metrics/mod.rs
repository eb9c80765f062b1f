//! What was counted and measured of deployments: over time, and in all.

mod activity;
mod catalogue;
mod series;

use std::collections::HashMap;

use api::id::ModelId;
use planner::Timestamp;
use store::{
    MeasuredOf, ModelFilter,
    domain::{Deployment, Environment, Model, Promotion, Sample, Total},
};

pub use self::{
    activity::{Activity, activity},
    catalogue::{Kind, Metric, Unit},
    series::{Labels, Series, conditions, directions, gauge},
};
use super::{Caller, ControlPlane, Error, Whose, deployments, environments};

const DEFAULT_WINDOW_MS: u64 = 3_600_000;
const LONGEST_WINDOW_MS: u64 = 7 * 24 * 3_600_000;
/// What counts as now, for what can only be counted over time.
const CURRENT_WINDOW_MS: u64 = 60_000;
/// Steps that a series has at most.
const MOST_STEPS: u64 = 40;

/// How values are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is now.
    Current,
    /// One value for the whole window.
    Summary,
    /// At even steps.
    Series,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// How.
    pub mode: Mode,
    /// The beginning of the window, epoch milliseconds.
    pub start_ms: Option<u64>,
    /// Its end.
    pub end_ms: Option<u64>,
    /// Names; none means the usual ones.
    pub metrics: Vec<String>,
}

/// Metrics over a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The beginning.
    pub from: Timestamp,
    /// The end.
    pub to: Timestamp,
    /// How long a step is; none where there is one only.
    pub step_ms: Option<u64>,
    /// When each step begins.
    pub steps: Vec<Timestamp>,
    /// The metrics, in the order asked for.
    pub series: Vec<Series>,
}

/// Metrics of a deployment, or of whatever was in an environment.
pub async fn read(
    control_plane: &ControlPlane,
    caller: &Caller,
    whose: Whose<'_>,
    query: Query,
) -> Result<Report, Error> {
    let interval_ms = control_plane.settings().measure_interval_ms();
    let asked = Asked::check(query, control_plane.now(), interval_ms, current_window_ms(control_plane))?;
    let store = control_plane.store();
    let samples = match whose {
        Whose::Deployment(model, target) => {
            let (_, deployment) = deployments::find(control_plane, caller, model, target).await?;
            store.samples(MeasuredOf::Deployment(&deployment.id), asked.from, asked.to).await?
        }
        Whose::Environment(model, name) => {
            let (model, _) = environments::find(control_plane, caller, model, name).await?;
            store.samples(MeasuredOf::Environment(&model.id, name), asked.from, asked.to).await?
        }
    };
    Ok(asked.answer(&samples))
}

/// How far now reaches back. The newest record may be one interval old.
fn current_window_ms(control_plane: &ControlPlane) -> u64 {
    CURRENT_WINDOW_MS.max(2 * control_plane.settings().measure_interval_ms())
}

/// A query that makes sense.
#[derive(Debug)]
struct Asked {
    mode: Mode,
    from: Timestamp,
    to: Timestamp,
    step_ms: u64,
    metrics: Vec<Metric>,
}

impl Asked {
    fn check(query: Query, now: Timestamp, interval_ms: u64, current_window_ms: u64) -> Result<Self, Error> {
        let refuse = |field: &str, why: &str| Err(Error::Invalid(format!("{field}: {why}")));
        let mut metrics = Vec::new();
        for name in &query.metrics {
            metrics.extend(Metric::named(name).map_err(|unknown| Error::Invalid(unknown.to_string()))?);
        }
        if query.metrics.is_empty() {
            metrics.extend(catalogue::DEFAULT);
        }
        if query.mode == Mode::Current {
            if query.start_ms.is_some() || query.end_ms.is_some() {
                return refuse("start_epoch_millis", "mode CURRENT takes no window: leave it out, or ask for SUMMARY");
            }
            let from = Timestamp(now.0.saturating_sub(current_window_ms));
            return Ok(Self { mode: query.mode, from, to: now, step_ms: current_window_ms, metrics });
        }
        let end_ms = query.end_ms.unwrap_or(now.0);
        let start_ms = query.start_ms.unwrap_or(end_ms.saturating_sub(DEFAULT_WINDOW_MS));
        if start_ms >= end_ms {
            return refuse("end_epoch_millis", "it needs to be after start_epoch_millis");
        }
        let window_ms = end_ms - start_ms;
        if window_ms > LONGEST_WINDOW_MS {
            return refuse("start_epoch_millis", "the window is longer than 7 days: ask for one part after the other");
        }
        let step_ms = match query.mode {
            Mode::Series => window_ms.div_ceil(MOST_STEPS).div_ceil(interval_ms) * interval_ms,
            Mode::Summary | Mode::Current => window_ms,
        };
        Ok(Self { mode: query.mode, from: Timestamp(start_ms), to: Timestamp(end_ms), step_ms, metrics })
    }

    fn answer(&self, samples: &[Sample]) -> Report {
        let mut steps = series::cut(samples, self.from, self.to, self.step_ms);
        let starts = (0..steps.len() as u64).map(|number| self.from.plus(number * self.step_ms)).collect();
        let all = |steps: &[series::Step<'_>], metric: &Metric| series::series(*metric, steps);
        let series = match self.mode {
            Mode::Series | Mode::Summary => self.metrics.iter().filter_map(|metric| all(&steps, metric)).collect(),
            Mode::Current => {
                let within = std::mem::take(&mut steps);
                let now: Vec<_> = within.iter().map(series::newest).collect();
                let steps = |metric: &Metric| if metric.kind() == Kind::Gauge { &now } else { &within };
                self.metrics.iter().filter_map(|metric| all(steps(metric), metric)).collect()
            }
        };
        let step_ms = (self.mode == Mode::Series).then_some(self.step_ms);
        Report { from: self.from, to: self.to, step_ms, steps: starts, series }
    }
}

/// What was counted of a deployment in all, and what tells it apart.
pub struct Exported {
    /// The deployment's model.
    pub model: Model,
    /// What was counted.
    pub total: Total,
    /// The environment that it serves, or is being promoted to.
    pub environment: Option<String>,
    /// The share of that one's traffic that it has, in percent, while it is on its way there.
    pub promoting: Option<u8>,
}

/// What was counted of every deployment that the caller may see.
pub async fn export(control_plane: &ControlPlane, caller: &Caller) -> Result<Vec<Exported>, Error> {
    let store = control_plane.store();
    let models = store.models(&ModelFilter::default()).await?.into_iter().filter(|model| caller.may_measure(model));
    let models: HashMap<ModelId, Model> = models.map(|model| (model.id.clone(), model)).collect();
    let environments = store.environments(None).await?;
    let promotions = store.active_promotions().await?;
    let mut totals: HashMap<_, _> =
        store.totals().await?.into_iter().map(|total| (total.deployment_id.clone(), total)).collect();
    let deployments = store.all_deployments().await?;
    let exported = deployments.into_iter().filter_map(|deployment| {
        let model = models.get(&deployment.model_id)?.clone();
        let total = totals.remove(&deployment.id)?;
        let (environment, promoting) = place(&deployment, &environments, &promotions);
        Some(Exported { model, total, environment, promoting })
    });
    Ok(exported.collect())
}

fn place(
    deployment: &Deployment,
    environments: &[Environment],
    promotions: &[Promotion],
) -> (Option<String>, Option<u8>) {
    let serves = environments.iter().find(|environment| environment.current.as_ref() == Some(&deployment.id));
    let promoted = promotions.iter().find(|promotion| promotion.candidate == deployment.id);
    match (serves, promoted) {
        (_, Some(promotion)) => (Some(promotion.environment.clone()), Some(promotion.targets.candidate_percent)),
        (Some(environment), None) => (Some(environment.name.clone()), None),
        (None, None) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn query(mode: Mode, start_ms: Option<u64>, end_ms: Option<u64>) -> Query {
        Query { mode, start_ms, end_ms, metrics: Vec::new() }
    }

    #[test]
    fn steps_are_whole_records_and_never_too_many() {
        let check = |window_ms: u64, step_s: u64| {
            let asked =
                Asked::check(query(Mode::Series, Some(NOW.0 - window_ms), None), NOW, 30_000, CURRENT_WINDOW_MS)
                    .unwrap();
            assert_eq!(asked.step_ms, step_s * 1000, "of {window_ms} ms");
            assert!(asked.answer(&[]).steps.len() <= 40);
        };
        check(1_200_000, 30);
        check(1_200_001, 60);
        check(3_600_000, 90);
        check(7 * 24 * 3_600_000, 15_120);
        check(1, 30);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |query: Query, field: &str| {
            let message = Asked::check(query, NOW, 30_000, CURRENT_WINDOW_MS).expect_err(field).to_string();
            assert!(message.starts_with(field), "{message}");
        };
        refused(query(Mode::Current, Some(1), None), "start_epoch_millis: ");
        refused(query(Mode::Summary, Some(2), Some(2)), "end_epoch_millis: ");
        refused(query(Mode::Series, Some(NOW.0 - LONGEST_WINDOW_MS - 1), None), "start_epoch_millis: ");
        refused(Query { metrics: vec!["nonsense".into()], ..query(Mode::Current, None, None) }, "metrics: ");
    }

    #[test]
    fn what_nothing_here_has_is_left_out() {
        let metrics = ["baseten_gpu_utilization", "baseten_replicas_active"].map(str::to_owned).into();
        let asked = Asked::check(Query { metrics, ..query(Mode::Current, None, None) }, NOW, 30_000, CURRENT_WINDOW_MS)
            .unwrap();
        assert_eq!(asked.metrics, [Metric::ReplicasActive]);
    }
}
