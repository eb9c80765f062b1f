//! Server-sent events: that something has changed, so that a page that shows it can look again.

use std::{convert::Infallible, time::Duration};

use api::v1::events::{Changed, Topic};
use axum::{
    extract::State,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt as _};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, error::Error};
use crate::{ControlPlane, ops::listening};

/// How often a silent stream says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(listen))
}

/// Listens to changes. Greenroom's own: server-sent events `changed` with the kinds of things that have changed, at most four a second.
#[utoipa::path(
    get, path = "/v1/events", tag = "Events",
    responses((status = 200, body = Changed, content_type = "text/event-stream"))
)]
async fn listen(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
) -> Result<impl IntoResponse, Error> {
    let news = listening::changes(&control_plane, &caller)?;
    Ok(stream(news.map(|topics| {
        let changed = Changed { topics: topics.into_iter().filter_map(wire).collect() };
        Event::default().event("changed").json_data(changed).expect("topics are JSON")
    })))
}

/// An answer that goes on for as long as `events` do.
pub fn stream(events: impl Stream<Item = Event> + Send + 'static) -> impl IntoResponse {
    // A proxy on the way is asked not to keep events back.
    let headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")];
    (headers, Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn wire(topic: store::Topic) -> Option<Topic> {
    Some(match topic {
        store::Topic::Deployments => Topic::Deployments,
        store::Topic::Environments => Topic::Environments,
        store::Topic::Promotions => Topic::Promotions,
        store::Topic::Replicas => Topic::Replicas,
        store::Topic::Keys => Topic::Keys,
        store::Topic::Secrets => Topic::Secrets,
        store::Topic::Measures => Topic::Measures,
        store::Topic::Audit => Topic::Audit,
        store::Topic::Locations => Topic::Locations,
        store::Topic::Logs => return None,
    })
}
