//! `/metrics`: everything counted, in the text that Prometheus reads (OpenMetrics 1.0).

use std::{collections::HashMap, fmt};

use api::internal::measures::{Answered, Bounds, Histogram};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};
use store::domain::Durations;

use crate::{
    ControlPlane,
    http::{auth::MetricsReader, error::Error},
    ops::{
        self,
        metrics::{Exported, Kind, Metric, conditions, directions, gauge},
    },
};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Answers to calls that nobody waits for are not counted here: there are no such calls.
const IS_ASYNC: (&str, &str) = ("is_async", "false");

/// Everything that the caller may see.
pub async fn export(
    State(control_plane): State<ControlPlane>,
    MetricsReader(caller): MetricsReader,
) -> Result<Response, Error> {
    let exported = ops::metrics::export(&control_plane, &caller).await?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Deployments(exported)));
    registry.register_collector(Box::new(Refused(control_plane.refusals().counts())));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a text takes everything");
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// What policies have refused, by what it was.
#[derive(Debug)]
struct Refused([(&'static str, u64); 2]);

impl Collector for Refused {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Pushes and promotions that policies have refused since the server began";
        let mut encoder = encoder.encode_descriptor("greenroom_policy_refusals", help, None, MetricType::Counter)?;
        for (act, count) in self.0 {
            encoder.encode_family(&[("act", act)])?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        Ok(())
    }
}

struct Deployments(Vec<Exported>);

impl fmt::Debug for Deployments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deployments", self.0.len())
    }
}

impl Collector for Deployments {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in Metric::ALL {
            // The encoder adds it again.
            let name = metric.name().strip_suffix("_total").unwrap_or(metric.name());
            let kind = match metric.kind() {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Histogram => MetricType::Histogram,
            };
            let encoder = encoder.encode_descriptor(name, metric.help(), None, kind)?;
            let mut family = Family { encoder };
            for exported in &self.0 {
                family.write(metric, exported)?;
            }
        }
        Ok(())
    }
}

/// A metric of which series are being written.
struct Family<'a> {
    encoder: MetricEncoder<'a>,
}

impl Family<'_> {
    fn write(&mut self, metric: Metric, exported: &Exported) -> fmt::Result {
        let total = &exported.total;
        match metric {
            Metric::Requests => {
                for (status, answered) in &total.measures.answered {
                    let count = answered.response_time.count();
                    self.counter(&labels(exported, &[("status_code", &status.to_string()), IS_ASYNC]), count as f64)?;
                }
                Ok(())
            }
            Metric::ResponseTime => self.by_status(exported, |answered| &answered.response_time),
            Metric::FirstByte => self.by_status(exported, |answered| &answered.first_byte),
            Metric::RequestSize => self.by_status(exported, |answered| &answered.request_bytes),
            Metric::ResponseSize => self.by_status(exported, |answered| &answered.response_bytes),
            Metric::Tokens => {
                for (direction, count) in directions(total.measures.tokens) {
                    self.counter(&labels(exported, &[("direction", direction)]), count as f64)?;
                }
                Ok(())
            }
            Metric::QueueWait => self.histogram(&labels(exported, &[]), &total.measures.queued),
            Metric::StartTime => {
                for (part, times) in &total.durations.starts {
                    self.histogram(&labels(exported, &[("phase", part)]), times)?;
                }
                Ok(())
            }
            Metric::BuildTime => {
                let Durations { builds, failed_builds, .. } = &total.durations;
                for (outcome, times) in [("succeeded", builds), ("failed", failed_builds)] {
                    self.histogram(&labels(exported, &[("outcome", outcome)]), times)?;
                }
                Ok(())
            }
            Metric::Rollout => match exported.promoting {
                Some(percent) => self.gauge(&labels(exported, &[]), percent.into()),
                None => Ok(()),
            },
            Metric::Restarts => self.counter(&labels(exported, &[]), total.restarts as f64),
            Metric::Readiness => {
                for (condition, count) in conditions(&total.standing) {
                    self.gauge(&labels(exported, &[("condition", condition)]), count.into())?;
                }
                Ok(())
            }
            Metric::Cpu => {
                for (replica, used) in &total.standing.uses {
                    let labels = labels(exported, &[("replica", replica.as_str())]);
                    self.counter(&labels, used.cpu_total_ms as f64 / 1000.0)?;
                }
                Ok(())
            }
            Metric::Memory => {
                for (replica, used) in &total.standing.uses {
                    self.gauge(&labels(exported, &[("replica", replica.as_str())]), used.memory_bytes as f64)?;
                }
                Ok(())
            }
            Metric::Concurrent
            | Metric::Queued
            | Metric::Websockets
            | Metric::ReplicasActive
            | Metric::ReplicasStarting
            | Metric::ReplicasDesired => {
                self.gauge(&labels(exported, &[]), gauge(metric, &total.standing, &total.measures))
            }
        }
    }

    fn by_status<B: Bounds>(
        &mut self,
        exported: &Exported,
        histogram: impl Fn(&Answered) -> &Histogram<B>,
    ) -> fmt::Result {
        for (status, answered) in &exported.total.measures.answered {
            let labels = labels(exported, &[("status_code", &status.to_string()), IS_ASYNC]);
            self.histogram(&labels, histogram(answered))?;
        }
        Ok(())
    }

    fn counter(&mut self, labels: &Labels, value: f64) -> fmt::Result {
        self.encoder.encode_family(labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn gauge(&mut self, labels: &Labels, value: f64) -> fmt::Result {
        self.encoder.encode_family(labels)?.encode_gauge(&value)
    }

    fn histogram<B: Bounds>(&mut self, labels: &Labels, values: &Histogram<B>) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = values.buckets().collect();
        let exemplars: Option<&HashMap<usize, _>> = None;
        let mut encoder = self.encoder.encode_family(labels)?;
        encoder.encode_histogram::<NoLabelSet>(values.sum(), values.count(), &buckets, exemplars)
    }
}

type Labels = Vec<(String, String)>;

/// What every series of a deployment has, and what tells this one apart.
fn labels(exported: &Exported, own: &[(&str, &str)]) -> Labels {
    let phase = match (&exported.environment, exported.promoting) {
        (None, _) => "",
        (Some(_), Some(_)) => "promoting",
        (Some(_), None) => "stable",
    };
    let common = [
        ("model_id", exported.model.id.as_str()),
        ("model_name", &exported.model.name),
        ("deployment_id", exported.total.deployment_id.as_str()),
        ("environment", exported.environment.as_deref().unwrap_or_default()),
        ("rollout_phase", phase),
    ];
    common.iter().chain(own).map(|(name, value)| ((*name).to_owned(), escaped(value))).collect()
}

/// The encoder writes values as they are.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
