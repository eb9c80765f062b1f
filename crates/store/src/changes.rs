//! How rooms wake each other: "something of this kind has changed". A wake-up carries no data; whoever is woken looks again.

use tokio::sync::watch;

/// What has changed, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Models and deployments.
    Deployments,
    /// Environments.
    Environments,
    /// Promotions.
    Promotions,
    /// Replicas.
    Replicas,
    /// API keys.
    Keys,
    /// Secrets.
    Secrets,
    /// Log lines.
    Logs,
    /// What was counted and measured.
    Measures,
    /// The audit log.
    Audit,
    /// The health of locations.
    Locations,
}

impl Topic {
    pub(crate) const ALL: [Topic; 10] = [
        Topic::Deployments,
        Topic::Environments,
        Topic::Promotions,
        Topic::Replicas,
        Topic::Keys,
        Topic::Secrets,
        Topic::Logs,
        Topic::Measures,
        Topic::Audit,
        Topic::Locations,
    ];

    /// Whether rows of this kind are in the journal of changes.
    pub(crate) fn is_journaled(self) -> bool {
        match self {
            Topic::Deployments | Topic::Environments | Topic::Promotions | Topic::Replicas | Topic::Keys => true,
            Topic::Secrets | Topic::Logs | Topic::Measures | Topic::Audit | Topic::Locations => false,
        }
    }

    /// Whether its rows have to be seen in the order of their numbers: those of the journal, and lines of logs.
    pub(crate) fn is_ordered(self) -> bool {
        self.is_journaled() || self == Topic::Logs
    }

    /// Its name, in announcements and in events.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Deployments => "deployments",
            Topic::Environments => "environments",
            Topic::Promotions => "promotions",
            Topic::Replicas => "replicas",
            Topic::Keys => "keys",
            Topic::Secrets => "secrets",
            Topic::Logs => "logs",
            Topic::Measures => "measures",
            Topic::Audit => "audit",
            Topic::Locations => "locations",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// How often each topic has changed.
type Counts = [u64; Topic::ALL.len()];

/// The side that tells.
#[derive(Debug, Clone)]
pub(crate) struct Notifier(watch::Sender<Counts>);

impl Notifier {
    pub fn new() -> Self {
        Self(watch::Sender::new(Counts::default()))
    }

    pub fn notify(&self, topics: impl IntoIterator<Item = Topic>) {
        self.0.send_modify(|counts| {
            for topic in topics {
                counts[topic as usize] += 1;
            }
        });
    }

    pub fn subscribe(&self, topics: &[Topic]) -> Changes {
        let mut counts = self.0.subscribe();
        let seen = *counts.borrow_and_update();
        Changes { counts, seen, topics: topics.to_vec() }
    }
}

/// A subscription. Nothing is lost between two waits: several changes are one wake-up, never none.
#[derive(Debug, Clone)]
pub struct Changes {
    counts: watch::Receiver<Counts>,
    seen: Counts,
    topics: Vec<Topic>,
}

impl Changes {
    /// Completes when one of the topics has changed since the last completed wait, or since the subscription: which of them have.
    /// Dropping the future loses nothing. Never completes once the store is gone.
    pub async fn wait(&mut self) -> Vec<Topic> {
        let (seen, topics) = (self.seen, &self.topics);
        let has_changed = |counts: &Counts, topic: Topic| counts[topic as usize] != seen[topic as usize];
        let any = |counts: &Counts| topics.iter().any(|topic| has_changed(counts, *topic));
        let next = self.counts.wait_for(any).await.map(|counts| *counts);
        let Ok(counts) = next else { return std::future::pending().await };
        self.seen = counts;
        topics.iter().copied().filter(|topic| has_changed(&counts, *topic)).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn several_changes_before_a_wait_are_one_wake_up() {
        let notifier = Notifier::new();
        let mut changes = notifier.subscribe(&[Topic::Keys]);
        assert!(changes.wait().now_or_never().is_none());
        notifier.notify([Topic::Keys]);
        notifier.notify([Topic::Keys]);
        assert_eq!(changes.wait().now_or_never(), Some(vec![Topic::Keys]));
        assert!(changes.wait().now_or_never().is_none());
    }

    #[test]
    fn other_topics_do_not_wake() {
        let notifier = Notifier::new();
        let mut changes = notifier.subscribe(&[Topic::Keys]);
        notifier.notify([Topic::Logs]);
        assert!(changes.wait().now_or_never().is_none());
    }
}
