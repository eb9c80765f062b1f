//! What follows from a model's health: it is ready when it first says so, gets no requests when it has not said so for a while,
//! and is given up after a longer one. Asked on a path and, in our worker, a thread of its own: a busy model is not a dead one.

use std::{cell::Cell, rc::Rc, time::Duration};

use api::internal::replica::{Exit, ExitCause, HealthLimits, Phase};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{server::Server, status::Board, truss::Truss};

/// How often a starting one is asked: until then somebody may be waiting for it.
const STARTING_INTERVAL: Duration = Duration::from_millis(100);

/// What the answers so far mean.
pub struct Health {
    limits: HealthLimits,
    /// Since when a model that was healthy has not been.
    unready_since: Cell<Option<Instant>>,
    /// Since when it has not been alive.
    dead_since: Cell<Option<Instant>>,
    gives_up: Notify,
}

/// One look at a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    is_ready: bool,
    is_alive: bool,
}

/// What a look leads to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Serve,
    StopTraffic,
    GiveUp,
}

impl Health {
    pub fn new(limits: HealthLimits) -> Rc<Self> {
        Rc::new(Self { limits, unready_since: Cell::default(), dead_since: Cell::default(), gives_up: Notify::new() })
    }

    /// Completes when the model is given up.
    pub async fn hopeless(&self) -> Exit {
        self.gives_up.notified().await;
        let since = self.dead_since.get().map_or(Duration::ZERO, |since| since.elapsed());
        let message = format!("the model was not healthy for {} s", since.as_secs());
        Exit { cause: ExitCause::Unhealthy, message, detail: None }
    }

    /// What follows from a look at a model that has been ready for `age`.
    fn judge(&self, now: Instant, age: Duration, look: Look) -> Verdict {
        let lasts = |since: &Cell<Option<Instant>>, is_good: bool| {
            let began = if is_good { None } else { Some(since.get().unwrap_or(now)) };
            since.set(began);
            began.map(|began| now - began)
        };
        let unready = lasts(&self.unready_since, look.is_ready);
        let dead = lasts(&self.dead_since, look.is_alive);
        let is_over = |lasted: Option<Duration>, limit_ms: u64| {
            lasted.is_some_and(|lasted| lasted >= Duration::from_millis(limit_ms))
        };
        let may_restart = age >= Duration::from_millis(self.limits.restart_delay_ms);
        if may_restart && is_over(dead, self.limits.restart_ms) {
            Verdict::GiveUp
        } else if is_over(unready, self.limits.stop_traffic_ms) {
            Verdict::StopTraffic
        } else {
            Verdict::Serve
        }
    }

    /// Asks again and again, from the first time that it is ready on.
    async fn follow(&self, board: &Board, mut look: impl AsyncFnMut() -> Look) {
        let ready = Instant::now();
        loop {
            sleep(Duration::from_millis(self.limits.interval_ms)).await;
            if !board.serves() {
                return;
            }
            let seen = look().await;
            let phase = match self.judge(Instant::now(), ready.elapsed(), seen) {
                Verdict::Serve => Phase::Ready,
                Verdict::StopTraffic => Phase::Unhealthy,
                Verdict::GiveUp => return self.gives_up.notify_one(),
            };
            save(board.enter(phase));
        }
    }
}

/// Watches over a loaded model that has an opinion of its own health.
pub async fn watch_model(truss: Rc<Truss>, board: Rc<Board>, health: Rc<Health>) {
    let start = Instant::now();
    while !truss.is_healthy().await {
        sleep(STARTING_INTERVAL).await;
        if board.is_over() {
            return;
        }
    }
    save(board.enter_noting(Phase::Ready, |times| times.first_probe_ms = Some(millis(start.elapsed()))));
    let look = async || {
        let healthy = truss.is_healthy().await;
        Look { is_ready: healthy, is_alive: healthy }
    };
    health.follow(&board, look).await;
}

/// Watches over a server of the user's own from its start on.
pub async fn watch_server(server: Rc<Server>, board: Rc<Board>, health: Rc<Health>) {
    let start = Instant::now();
    while !server.is_ready().await {
        sleep(STARTING_INTERVAL).await;
        if board.is_over() {
            return;
        }
    }
    save(board.enter_noting(Phase::Ready, |times| times.load_ms = Some(millis(start.elapsed()))));
    let look = async || Look { is_ready: server.is_ready().await, is_alive: server.is_alive().await };
    health.follow(&board, look).await;
}

fn save(saved: std::io::Result<()>) {
    if let Err(error) = saved {
        tracing::error!(%error, "cannot write the status");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_count_from_the_first_bad_answer_in_a_row() {
        let limits = HealthLimits {
            interval_ms: 10_000,
            stop_traffic_ms: 20_000,
            restart_ms: 60_000,
            restart_delay_ms: 100_000,
        };
        let (health, start) = (Health::new(limits), Instant::now());
        let look = |at: u64, is_ready: bool, is_alive: bool| {
            let age = Duration::from_secs(at);
            health.judge(start + age, age, Look { is_ready, is_alive })
        };
        assert_eq!(look(0, false, true), Verdict::Serve);
        assert_eq!(look(10, true, true), Verdict::Serve);
        assert_eq!(look(20, false, true), Verdict::Serve, "it began anew");
        assert_eq!(look(40, false, false), Verdict::StopTraffic);
        assert_eq!(look(50, true, false), Verdict::Serve);
        assert_eq!(look(99, false, false), Verdict::Serve, "long enough, and too early");
        assert_eq!(look(100, false, false), Verdict::GiveUp);
        assert_eq!(look(110, true, true), Verdict::Serve);
    }
}
