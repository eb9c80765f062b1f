//! Listening to changes for as long as somebody likes. It ends when the server is told to stop, and when the listener's key is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::id::TeamId;
use futures::{Stream, stream};
use store::{Changes, Topic, domain::KeyOwner};
use tokio::time::sleep;

use super::{Caller, ControlPlane, Error};

/// How many may listen at once, and how many of them with one key.
const SEATS: usize = 2000;
const SEATS_OF_ONE: usize = 100;
/// The shortest time between two pieces of news for one listener.
const PACE: Duration = Duration::from_millis(250);
/// What listeners to everything hear of. Logs are followed one by one.
const TOPICS: [Topic; 9] = [
    Topic::Deployments,
    Topic::Environments,
    Topic::Promotions,
    Topic::Replicas,
    Topic::Keys,
    Topic::Secrets,
    Topic::Measures,
    Topic::Audit,
    Topic::Locations,
];

/// Which kinds of things have changed, whenever some have; nothing at first.
pub fn changes(control_plane: &ControlPlane, caller: &Caller) -> Result<impl Stream<Item = Vec<Topic>> + use<>, Error> {
    let listener = Listener::new(control_plane, caller, &TOPICS, None)?;
    let news = stream::unfold((listener, true), async |(mut listener, is_first)| {
        let topics = if is_first { Vec::new() } else { listener.next().await? };
        Some((topics, (listener, false)))
    });
    Ok(news)
}

/// The places of those who listen.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<String, usize>>);

/// One of them, free again when it is dropped.
struct Seat {
    seats: Arc<Seats>,
    key: String,
}

impl Seats {
    fn take(self: &Arc<Self>, key: &str) -> Option<Seat> {
        let mut taken = self.0.lock().expect("no holder of this lock panics");
        let own = taken.get(key).copied().unwrap_or(0);
        let has_room = taken.values().sum::<usize>() < SEATS && own < SEATS_OF_ONE;
        has_room.then(|| {
            taken.insert(key.to_owned(), own + 1);
            Seat { seats: self.clone(), key: key.to_owned() }
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().expect("no holder of this lock panics");
        if let Some(own) = taken.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

/// One who listens.
pub(super) struct Listener {
    control_plane: ControlPlane,
    caller: Caller,
    changes: Changes,
    /// Whose affairs are listened to; none where they are everybody's.
    team: Option<TeamId>,
    _seat: Seat,
}

impl Listener {
    /// Takes a seat; 503 when there is none left.
    pub fn new(
        control_plane: &ControlPlane,
        caller: &Caller,
        topics: &[Topic],
        team: Option<TeamId>,
    ) -> Result<Self, Error> {
        let seat = control_plane.seats().take(caller.prefix()).ok_or(Error::Crowded)?;
        let mut topics = topics.to_vec();
        if !topics.contains(&Topic::Keys) {
            topics.push(Topic::Keys);
        }
        let changes = control_plane.store().changes(&topics);
        Ok(Self { control_plane: control_plane.clone(), caller: caller.clone(), changes, team, _seat: seat })
    }

    /// What has changed since the last call; none when it is over.
    pub async fn next(&mut self) -> Option<Vec<Topic>> {
        let stopping = self.control_plane.stopping().clone();
        let left = self.caller.key.expires_at.map(|end| end.since(self.control_plane.now()));
        let waited = async {
            sleep(PACE).await;
            let over = async {
                match left {
                    Some(left_ms) => sleep(Duration::from_millis(left_ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                topics = self.changes.wait() => Some(topics),
                () = over => None,
            }
        };
        let topics = stopping.run_until_cancelled(waited).await??;
        if topics.contains(&Topic::Keys) && !self.may_still_listen().await {
            return None;
        }
        Some(topics)
    }

    async fn may_still_listen(&self) -> bool {
        let Ok(key) = self.control_plane.store().key(self.caller.prefix()).await else { return false };
        let is_same = key.hash == self.caller.key.hash && key.is_valid_at(self.control_plane.now());
        let user = match &key.owner {
            KeyOwner::User(id) => match self.control_plane.store().user(id).await {
                Ok(user) => Some(user),
                Err(_) => return false,
            },
            KeyOwner::Team(_) => None,
        };
        let caller = Caller { key, user, client: self.caller.client.clone() };
        is_same && self.team.as_ref().is_none_or(|team| caller.require_team(team).is_ok())
    }
}
