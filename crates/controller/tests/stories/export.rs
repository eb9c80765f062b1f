//! Log lines on their way to where the organization keeps its logs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::internal::outgoing::OutgoingLine;
use async_trait::async_trait;
use controller::{LogExport, NotExported};
use store::domain::{Component, Deployment, LogRecord};
use tokio::sync::watch;

use crate::world::{World, line};

/// A line that no place takes.
const INDIGESTIBLE: &str = "indigestible";

/// A place that can be away.
#[derive(Default)]
struct Place {
    is_away: AtomicBool,
    taken: watch::Sender<Vec<OutgoingLine>>,
}

#[async_trait]
impl LogExport for Place {
    async fn take(&self, lines: &[OutgoingLine]) -> Result<(), NotExported> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(NotExported::Later("it is away".into()));
        }
        if lines.iter().any(|outgoing| outgoing.line.message == INDIGESTIBLE) {
            return Err(NotExported::Never("it cannot be read".into()));
        }
        self.taken.send_modify(|taken| taken.extend_from_slice(lines));
        Ok(())
    }
}

impl Place {
    /// Waits until it has these messages of a model's own, in this order and no other.
    async fn until_taken(&self, expected: &[&str]) -> Vec<OutgoingLine> {
        let own = |taken: &Vec<OutgoingLine>| -> Vec<OutgoingLine> {
            taken.iter().filter(|outgoing| outgoing.component == "model").cloned().collect()
        };
        let has_all = |taken: &Vec<OutgoingLine>| own(taken).len() >= expected.len();
        let mut watching = self.taken.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), watching.wait_for(has_all)).await;
        let taken = own(&waited.expect("the lines are taken").unwrap());
        assert_eq!(taken.iter().map(|outgoing| outgoing.line.message.as_str()).collect::<Vec<_>>(), expected);
        taken
    }
}

async fn say(world: &World, deployment: &Deployment, message: &str) {
    let record = LogRecord {
        deployment_id: deployment.id.clone(),
        replica_id: None,
        component: Component::Model,
        line: line(message),
    };
    world.store.append_logs(&[record]).await.unwrap();
}

#[tokio::test]
async fn lines_wait_while_their_place_is_away_and_go_on_where_they_were_after_a_restart() {
    let mut world = World::new().await;
    let place = Arc::new(Place::default());
    world.log_export = Some(place.clone());
    let pushed = world.push_model("iris").await;
    say(&world, &pushed, "from before anybody wanted it").await;
    let controller = world.start();
    world.until_active(&pushed.id).await;

    say(&world, &pushed, "one").await;
    let sent = place.until_taken(&["one"]).await.remove(0);
    assert_eq!((sent.model_name.as_deref(), sent.environment.as_deref()), (Some("iris"), Some("production")));

    place.is_away.store(true, Ordering::SeqCst);
    say(&world, &pushed, "two").await;
    world.kill(controller).await;
    say(&world, &pushed, "three").await;
    let _controller = world.start();
    place.is_away.store(false, Ordering::SeqCst);
    world.advance(Duration::from_secs(10));
    place.until_taken(&["one", "two", "three"]).await;
}

#[tokio::test]
async fn a_line_that_is_refused_for_good_does_not_hold_up_those_behind_it() {
    let mut world = World::new().await;
    let place = Arc::new(Place::default());
    world.log_export = Some(place.clone());
    let pushed = world.push_model("iris").await;
    let _controller = world.start();
    world.until_active(&pushed.id).await;
    place.is_away.store(true, Ordering::SeqCst);
    for message in ["one", "two", INDIGESTIBLE, "three"] {
        say(&world, &pushed, message).await;
    }
    place.is_away.store(false, Ordering::SeqCst);
    world.advance(Duration::from_secs(10));
    place.until_taken(&["one", "two", "three"]).await;
}
