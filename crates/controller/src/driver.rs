//! Runs one task for as long as the controller lives: waits for its bell, for the moment it asked for, or for the slow round,
//! and lets it look again. Knows nothing of what tasks do.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use planner::{Clock, Timestamp};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::Error;

/// The pause after a failed pass; doubles with each further failure up to the slow round.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Something that makes one kind of intent true, one pass at a time.
///
/// A pass reads, decides, saves, acts and reports. It is safe to run twice and to be dropped at any await; it never retries.
pub(crate) trait Task: Send + 'static {
    /// For logs and status.
    const NAME: &'static str;
    /// The least time from one pass to the next, so that a world that changes all the time costs little.
    const PAUSE: Duration = Duration::ZERO;

    /// Looks once.
    fn pass(&mut self, now: Timestamp) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// When a task wants to look again although nobody rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Next {
    /// The moment, none when nothing is due.
    pub wake_at: Option<Timestamp>,
}

impl Next {
    /// Nothing is due.
    pub const IDLE: Next = Next { wake_at: None };

    /// Look again at `at`, or earlier if something else is due earlier.
    pub fn by(self, at: Option<Timestamp>) -> Next {
        Next { wake_at: self.wake_at.into_iter().chain(at).min() }
    }
}

/// A task's bell. Rung from anywhere, carries nothing; several rings before a pass are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    /// Asks for one more pass.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Completes when it has been rung since the last time this completed.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// How a task is doing, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskStatus {
    /// Which task.
    pub name: &'static str,
    /// Passes so far.
    pub passes: u64,
    /// When the last one began.
    pub last_pass: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub last_duration_ms: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Failed passes since the last good one.
    pub failures: u32,
}

/// Where all tasks write how they are doing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Vec<TaskStatus>>>);

impl Board {
    /// How every task is doing.
    pub fn read(&self) -> Vec<TaskStatus> {
        self.0.lock().expect("no holder of this lock panics").clone()
    }

    fn write(&self, status: &TaskStatus) {
        let mut board = self.0.lock().expect("no holder of this lock panics");
        match board.iter_mut().find(|entry| entry.name == status.name) {
            Some(entry) => entry.clone_from(status),
            None => board.push(status.clone()),
        }
    }
}

/// What every loop needs.
#[derive(Clone)]
pub(crate) struct Driver {
    pub clock: Clock,
    /// A task looks at least this often.
    pub slow_round: Duration,
    pub board: Board,
    /// Becomes true when loops should end. A pass under way is finished first.
    pub stop: watch::Receiver<bool>,
}

impl Driver {
    /// Runs passes of `task` until told to stop; the first one at once.
    pub async fn run<T: Task>(mut self, mut task: T, bell: Bell) {
        let mut status = TaskStatus { name: T::NAME, ..TaskStatus::default() };
        loop {
            let wake_in = self.look(&mut task, &mut status).await;
            let due = async {
                tokio::time::sleep(T::PAUSE).await;
                tokio::select! {
                    // A task that fails waits its pause out; the bell stays rung.
                    () = bell.rung(), if status.failures == 0 => {}
                    () = tokio::time::sleep(wake_in) => {}
                }
            };
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return,
                () = due => {}
            }
        }
    }

    /// One pass, its outcome noted and logged once; says when the next is due.
    async fn look<T: Task>(&self, task: &mut T, status: &mut TaskStatus) -> Duration {
        let now = (self.clock)();
        let began = Instant::now();
        let outcome = AssertUnwindSafe(task.pass(now))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(Error::Panic(panic_text(panic.as_ref()))));
        status.passes += 1;
        status.last_pass = Some(now);
        status.last_duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wake_in = match outcome {
            Ok(next) => {
                if status.failures > 0 {
                    tracing::info!(task = T::NAME, failures = status.failures, "task works again");
                }
                status.failures = 0;
                status.error = None;
                let due_in = next.wake_at.map(|at| Duration::from_millis(at.since((self.clock)())));
                due_in.unwrap_or(self.slow_round).min(self.slow_round)
            }
            Err(error) if error.is_conflict() => Duration::ZERO,
            Err(error) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << status.failures.min(10)).min(self.slow_round);
                let text = chain(&error);
                if status.error.as_ref() != Some(&text) {
                    tracing::warn!(task = T::NAME, error = text, "pass failed; it will be tried again");
                }
                status.failures += 1;
                status.error = Some(text);
                pause
            }
        };
        self.board.write(status);
        wake_in
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Step = fn(&Bell) -> Result<Next, Error>;

    /// A task that does what its script says, one entry a pass, and then nothing.
    struct Scripted {
        script: std::vec::IntoIter<Step>,
        bell: Bell,
        passes: watch::Sender<usize>,
    }

    impl Task for Scripted {
        const NAME: &'static str = "scripted";

        async fn pass(&mut self, _now: Timestamp) -> Result<Next, Error> {
            self.passes.send_modify(|passes| *passes += 1);
            self.script.next().map_or(Ok(Next::IDLE), |step| step(&self.bell))
        }
    }

    struct Running {
        board: Board,
        passes: watch::Receiver<usize>,
        stop: watch::Sender<bool>,
        run: tokio::task::JoinHandle<()>,
    }

    impl Running {
        async fn passes(&mut self, count: usize) {
            self.passes.wait_for(|passes| *passes >= count).await.unwrap();
        }
    }

    fn start(script: Vec<Step>) -> Running {
        let (passes_sender, passes) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let board = Board::default();
        let started = Instant::now();
        let driver = Driver {
            clock: Arc::new(move || Timestamp(started.elapsed().as_millis() as u64)),
            slow_round: Duration::from_secs(3600),
            board: board.clone(),
            stop: stopped,
        };
        let bell = Bell::default();
        let task = Scripted { script: script.into_iter(), bell: bell.clone(), passes: passes_sender };
        let run = tokio::spawn(driver.run(task, bell));
        Running { board, passes, stop, run }
    }

    #[tokio::test(start_paused = true)]
    async fn rings_during_a_pass_are_one_more_pass() {
        let mut running = start(vec![|bell| {
            (0..3).for_each(|_| bell.ring());
            Ok(Next::IDLE)
        }]);
        running.passes(2).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*running.passes.borrow(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_woken_at_the_moment_it_asked_for() {
        let mut running = start(vec![|_| Ok(Next::IDLE.by(Some(Timestamp(5_000))))]);
        let before = Instant::now();
        running.passes(2).await;
        assert_eq!(before.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failed_pass_and_the_next_one_looks_again() {
        let mut running = start(vec![|_| panic!("boom")]);
        running.passes(1).await;
        running.passes(2).await;
        running.stop.send(true).unwrap();
        running.run.await.unwrap();
        let status = running.board.read().remove(0);
        assert_eq!((status.passes, status.failures, status.error), (2, 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn failing_passes_pause_longer_and_longer() {
        let fail: Step = |_| Err(Error::Panic("again".into()));
        let mut running = start(vec![fail; 3]);
        let before = Instant::now();
        running.passes(4).await;
        assert_eq!(before.elapsed(), FIRST_PAUSE * (1 + 2 + 4));
    }

    #[tokio::test(start_paused = true)]
    async fn losing_a_race_is_not_a_failure() {
        let conflict: Step = |_| Err(store::Error::Conflict { kind: "deployment", id: "abc1234".into() }.into());
        let mut running = start(vec![conflict]);
        let before = Instant::now();
        running.passes(2).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(running.board.read()[0].failures, 0);
    }
}
