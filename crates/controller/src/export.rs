//! Sends log lines on to where the organization keeps its logs: each at least once, from the stored position on, in the order in which they
//! were stored. While it cannot be reached, lines wait in the store.

use std::{collections::HashMap, sync::Arc, time::Duration};

use api::internal::outgoing::OutgoingLine;
use async_trait::async_trait;
use planner::Timestamp;
use store::domain::LogRecord;

use crate::{
    BoxError, Error,
    belonging::Belonging,
    driver::{Next, Task, chain},
    mirror::View,
    shared::Shared,
};

/// What the stored position goes by.
const POSITION: &str = "log_export";
/// A place that did not take lines is tried again after this time.
const RETRY_MS: u64 = 5_000;

/// Bytes of messages that are sent together; a longer line goes alone.
const BATCH_BYTES: usize = 1 << 20;

/// A place that takes log lines.
#[async_trait]
pub trait LogExport: Send + Sync + 'static {
    /// Takes lines. When this returns well, they are its own to keep.
    async fn take(&self, lines: &[OutgoingLine]) -> Result<(), NotExported>;
}

/// Why lines were not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotExported {
    /// It may take them another time.
    #[error(transparent)]
    Later(BoxError),
    /// It will not take these, whenever it is asked.
    #[error(transparent)]
    Never(BoxError),
}

/// The task.
pub(crate) struct Export {
    shared: Shared,
    to: Arc<dyn LogExport>,
    /// What was last wrong, so that it is said once.
    trouble: Option<String>,
}

impl Export {
    /// A task that sends lines there.
    pub fn new(shared: Shared, to: Arc<dyn LogExport>) -> Self {
        Self { shared, to, trouble: None }
    }

    /// Sends all of these, in as many parts as it takes. What is refused for good is sent in smaller parts; one line that is refused
    /// for good is left out, so that those behind it are not lost.
    async fn send(&self, lines: &[OutgoingLine]) -> Result<(), String> {
        let mut left: Vec<&[OutgoingLine]> = parts(lines).into_iter().rev().collect();
        while let Some(part) = left.pop() {
            match self.to.take(part).await {
                Ok(()) => {}
                Err(NotExported::Later(error)) => return Err(chain(error.as_ref())),
                Err(NotExported::Never(_)) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    left.extend([second, first]);
                }
                Err(NotExported::Never(error)) => {
                    let deployment = part.first().map(|line| line.deployment_id.as_str());
                    tracing::warn!(
                        deployment.id = deployment,
                        error = chain(error.as_ref()),
                        "a log line is not exported"
                    );
                }
            }
        }
        Ok(())
    }
}

/// Lines in parts of a size that is usually taken.
fn parts(lines: &[OutgoingLine]) -> Vec<&[OutgoingLine]> {
    let mut bytes = 0;
    lines
        .chunk_by(|line, _| {
            bytes += line.line.message.len();
            let goes_on = bytes < BATCH_BYTES;
            if !goes_on {
                bytes = 0;
            }
            goes_on
        })
        .collect()
}

impl Task for Export {
    const NAME: &'static str = "export";
    const PAUSE: Duration = Duration::from_millis(500);

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let store = &self.shared.parts.store;
        let mut position = match store.position(POSITION).await? {
            Some(position) => position,
            // Lines from before anybody wanted them are not sent.
            None => {
                let end = store.last_log_position().await?;
                store.set_position(POSITION, end).await?;
                return Ok(Next::IDLE);
            }
        };
        loop {
            let records = store.all_logs_from(position).await?;
            let Some((last, _)) = records.last() else { return Ok(Next::IDLE) };
            position = *last;
            let view = self.shared.mirror.look().await?;
            let lines = outgoing(&view, records.into_iter().map(|(_, record)| record));
            if let Err(trouble) = self.send(&lines).await {
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(error = trouble, "log lines cannot be exported; they wait");
                }
                self.trouble = Some(trouble);
                return Ok(Next::IDLE.by(Some(now.plus(RETRY_MS))));
            }
            self.trouble = None;
            store.set_position(POSITION, position).await?;
        }
    }
}

/// Lines with the names of what they are about, as they are now.
fn outgoing(view: &View, records: impl Iterator<Item = LogRecord>) -> Vec<OutgoingLine> {
    let belonging = Belonging::new(&view.promotions, &view.environments);
    let names: HashMap<_, _> = view.models.iter().map(|model| (&model.id, &model.name)).collect();
    let line = |LogRecord { deployment_id, replica_id, component, line }| {
        let deployment = view.entries.get(&deployment_id).map(|entry| &entry.deployment);
        OutgoingLine {
            line,
            component: component.name(),
            model_id: deployment.map(|one| one.model_id.clone()),
            model_name: deployment.and_then(|one| names.get(&one.model_id)).map(|name| (*name).clone()),
            environment: deployment.and_then(|one| belonging.of(one)).map(str::to_owned),
            deployment_id,
            replica_id,
        }
    };
    records.map(line).collect()
}
