//! Every metric that there is: its name, what it means, and how it behaves.

/// A metric of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Requests that were answered.
    Requests,
    /// How long that took, waiting and starts included.
    ResponseTime,
    /// How long the first byte took.
    FirstByte,
    /// Bodies of requests.
    RequestSize,
    /// Bodies of answers.
    ResponseSize,
    /// Tokens that requests took.
    Tokens,
    /// Waiting for a slot.
    QueueWait,
    /// Parts of starts.
    StartTime,
    /// Builds.
    BuildTime,
    /// How far promotions are.
    Rollout,
    /// Requests that run or wait.
    Concurrent,
    /// Requests that wait.
    Queued,
    /// Websockets that are open.
    Websockets,
    /// Replicas that are ready.
    ReplicasActive,
    /// Replicas on their way to that.
    ReplicasStarting,
    /// Replicas that are wanted.
    ReplicasDesired,
    /// Ends of replicas that nobody asked for.
    Restarts,
    /// Replicas by whether they are ready.
    Readiness,
    /// Processor time of replicas.
    Cpu,
    /// Memory of replicas.
    Memory,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value at a moment.
    Gauge,
    /// A count that only grows.
    Counter,
    /// A distribution.
    Histogram,
}

/// What a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Durations.
    Seconds,
    /// Sizes.
    Bytes,
    /// Things, counted.
    Count,
    /// Processor seconds; over time, processors.
    CpuSeconds,
}

/// What the contract names that nothing here has: asynchronous calls and GPUs.
const INAPPLICABLE: [&str; 6] = [
    "baseten_time_in_async_queue_seconds",
    "baseten_async_queue_size",
    "baseten_async_webhook_requests_total",
    "baseten_async_webhook_latency_seconds",
    "baseten_gpu_memory_used",
    "baseten_gpu_utilization",
];

/// What is shown to those who do not say what they want.
pub const DEFAULT: [Metric; 3] = [Metric::ReplicasActive, Metric::Requests, Metric::ResponseTime];

impl Metric {
    /// All of them, in the order in which they are exported.
    pub const ALL: [Self; 20] = [
        Self::Requests,
        Self::ResponseTime,
        Self::FirstByte,
        Self::RequestSize,
        Self::ResponseSize,
        Self::Tokens,
        Self::QueueWait,
        Self::StartTime,
        Self::BuildTime,
        Self::Rollout,
        Self::Concurrent,
        Self::Queued,
        Self::Websockets,
        Self::ReplicasActive,
        Self::ReplicasStarting,
        Self::ReplicasDesired,
        Self::Restarts,
        Self::Readiness,
        Self::Cpu,
        Self::Memory,
    ];

    /// The metric of a name. None for one that is known and that nothing here has.
    pub fn named(name: &str) -> Result<Option<Self>, UnknownMetric> {
        match Self::ALL.into_iter().find(|metric| metric.name() == name) {
            None if INAPPLICABLE.contains(&name) => Ok(None),
            None => Err(UnknownMetric(name.to_owned())),
            found => Ok(found),
        }
    }

    /// Its name: the contract's, or one of ours.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "baseten_inference_requests_total",
            Self::ResponseTime => "baseten_end_to_end_response_time_seconds",
            Self::FirstByte => "baseten_time_to_first_byte_seconds",
            Self::RequestSize => "baseten_request_size_bytes",
            Self::ResponseSize => "baseten_response_size_bytes",
            Self::Tokens => "greenroom_tokens_total",
            Self::QueueWait => "greenroom_queue_wait_seconds",
            Self::StartTime => "greenroom_replica_start_seconds",
            Self::BuildTime => "greenroom_build_seconds",
            Self::Rollout => "greenroom_rollout_traffic_percent",
            Self::Concurrent => "baseten_concurrent_requests",
            Self::Queued => "greenroom_queued_requests",
            Self::Websockets => "baseten_ongoing_websocket_connections",
            Self::ReplicasActive => "baseten_replicas_active",
            Self::ReplicasStarting => "baseten_replicas_starting",
            Self::ReplicasDesired => "greenroom_replicas_desired",
            Self::Restarts => "baseten_container_restarts_total",
            Self::Readiness => "baseten_pod_readiness",
            Self::Cpu => "baseten_container_cpu_usage_seconds_total",
            Self::Memory => "baseten_container_cpu_memory_working_set_bytes",
        }
    }

    /// What it means, in a sentence.
    pub fn help(self) -> &'static str {
        match self {
            Self::Requests => "Requests that were answered; 499 for clients that left first",
            Self::ResponseTime => "From a request's head to the end of its answer, waiting and starts included",
            Self::FirstByte => "From a request's head to the first byte of its answer",
            Self::RequestSize => "Bodies of requests that announced their size",
            Self::ResponseSize => "Bodies of answers",
            Self::Tokens => "Tokens that requests took, as far as their answers tell",
            Self::QueueWait => "How long requests waited for a free slot on a replica",
            Self::StartTime => "How long starts of replicas took, by part; total is the whole start",
            Self::BuildTime => "How long builds took, by how they ended",
            Self::Rollout => "The share of its environment's traffic that a deployment has while it is being promoted",
            Self::Concurrent => "Requests that run or wait",
            Self::Queued => "Requests that wait for a free slot on a replica",
            Self::Websockets => "Websockets that are open",
            Self::ReplicasActive => "Replicas that are ready",
            Self::ReplicasStarting => "Replicas that wait for room or load the model",
            Self::ReplicasDesired => "Replicas that the autoscaler wants",
            Self::Restarts => "Replicas that ended without having been asked to",
            Self::Readiness => "Replicas by whether they are ready",
            Self::Cpu => "Processor time of each replica since it began",
            Self::Memory => "Memory of each replica",
        }
    }

    /// How it behaves.
    pub fn kind(self) -> Kind {
        match self {
            Self::Requests | Self::Tokens | Self::Restarts | Self::Cpu => Kind::Counter,
            Self::ResponseTime
            | Self::FirstByte
            | Self::RequestSize
            | Self::ResponseSize
            | Self::QueueWait
            | Self::StartTime
            | Self::BuildTime => Kind::Histogram,
            Self::Rollout
            | Self::Concurrent
            | Self::Queued
            | Self::Websockets
            | Self::ReplicasActive
            | Self::ReplicasStarting
            | Self::ReplicasDesired
            | Self::Readiness
            | Self::Memory => Kind::Gauge,
        }
    }

    /// What its values are.
    pub fn unit(self) -> Unit {
        match self {
            Self::ResponseTime | Self::FirstByte | Self::QueueWait | Self::StartTime | Self::BuildTime => Unit::Seconds,
            Self::RequestSize | Self::ResponseSize | Self::Memory => Unit::Bytes,
            Self::Cpu => Unit::CpuSeconds,
            _ => Unit::Count,
        }
    }
}

/// A name that no metric has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("metrics: there is no metric {0:?}; the names are in docs/metrics.md")]
pub struct UnknownMetric(String);
