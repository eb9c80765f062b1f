//! Lets the gateway and the controller tell an OpenTelemetry collector what they do, so that neither knows it.

use std::sync::Arc;

use api::internal::outgoing::OutgoingLine;
use async_trait::async_trait;
use controller::{LogExport, NotExported};
use gateway::Traces;
use otlp::Collector;
use tokio::sync::mpsc;

use crate::{
    clock,
    config::Otlp,
    failure::{Failure, Kind, Result},
};

/// Traces that may wait to be sent; more are dropped.
const WAITING: usize = 4096;

/// What goes to a collector, by whom.
#[derive(Default)]
pub struct Exports {
    /// What the gateway is to send there.
    pub traces: Option<Traces>,
    /// What the controller is to send there.
    pub logs: Option<Arc<dyn LogExport>>,
}

/// Makes the exports that are configured. Traces are carried on from now on.
pub fn exports(settings: Option<&Otlp>) -> Result<Exports> {
    let Some(Otlp { collector, logs, trace_ratio }) = settings else { return Ok(Exports::default()) };
    let ratio = *trace_ratio;
    let collector = Collector::new(collector).map_err(|error| {
        Failure::new(Kind::Usage, error.to_string()).hint("`greenroom config show` lists what is configured, and why")
    })?;
    let (sink, traces) = mpsc::channel(WAITING);
    tokio::spawn(collector.clone().carry(traces));
    let traces = Some(Traces { ratio, clock: Arc::new(clock::now_ns), sink });
    Ok(Exports { traces, logs: logs.then(|| Arc::new(Lines(collector)) as Arc<dyn LogExport>) })
}

struct Lines(Collector);

#[async_trait]
impl LogExport for Lines {
    async fn take(&self, lines: &[OutgoingLine]) -> std::result::Result<(), NotExported> {
        self.0.send_lines(lines).await.map_err(|error| match error.is_final() {
            true => NotExported::Never(error.into()),
            false => NotExported::Later(error.into()),
        })
    }
}
