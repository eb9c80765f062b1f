//! What the replica says of itself: one board, shown in `status.json`, on the event stream and to whoever asks.

use std::{
    cell::{Cell, RefCell},
    io::{self, Write as _},
    path::PathBuf,
    rc::Rc,
};

use api::internal::replica::{Exit, Phase, StartTimes, Status, file};
use tokio::sync::{Notify, watch};

/// The one place that knows where the replica stands.
pub struct Board {
    path: PathBuf,
    status: RefCell<Status>,
    published: watch::Sender<Status>,
    in_flight: Cell<u32>,
    idle: Notify,
}

impl Board {
    /// A board for the replica whose folder is the working directory, standing at its start, of which this
    /// much is known.
    pub fn new(start: StartTimes) -> io::Result<Rc<Self>> {
        let status = Status { sequence: 0, phase: Phase::Starting, in_flight: 0, start, pid: std::process::id() };
        let board = Rc::new(Self {
            path: file::STATUS.into(),
            published: watch::Sender::new(status.clone()),
            status: RefCell::new(status),
            in_flight: Cell::new(0),
            idle: Notify::new(),
        });
        board.publish()?;
        Ok(board)
    }

    /// The present status.
    pub fn status(&self) -> Status {
        Status { in_flight: self.in_flight.get(), ..self.status.borrow().clone() }
    }

    /// Where the replica stands.
    pub fn phase(&self) -> Phase {
        self.status.borrow().phase.clone()
    }

    /// Whether requests for the model are taken.
    pub fn serves(&self) -> bool {
        matches!(self.status.borrow().phase, Phase::Ready | Phase::Unhealthy)
    }

    /// Whether nothing new is taken any more.
    pub fn is_draining(&self) -> bool {
        matches!(self.status.borrow().phase, Phase::Draining)
    }

    /// Whether it ends, or has.
    pub fn is_over(&self) -> bool {
        matches!(self.status.borrow().phase, Phase::Draining | Phase::Exited(_))
    }

    /// Changes of the status, the present one first.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.published.subscribe()
    }

    /// Moves to a phase. Draining is left only for the end, and the end is final.
    pub fn enter(&self, phase: Phase) -> io::Result<()> {
        self.enter_noting(phase, |_| ())
    }

    /// Notes how long a part of the start took.
    pub fn note_start(&self, note: impl FnOnce(&mut StartTimes)) -> io::Result<()> {
        self.enter_noting(self.phase(), note)
    }

    /// Both in one: whoever sees the phase knows how it came about.
    pub fn enter_noting(&self, phase: Phase, note: impl FnOnce(&mut StartTimes)) -> io::Result<()> {
        let before = self.status.borrow().clone();
        let stays = match before.phase {
            Phase::Exited(_) => true,
            Phase::Draining => !matches!(phase, Phase::Exited(_)),
            Phase::Starting | Phase::Loading | Phase::Ready | Phase::Unhealthy => false,
        };
        {
            let mut status = self.status.borrow_mut();
            note(&mut status.start);
            if !stays {
                status.phase = phase;
            }
            if *status == before {
                return Ok(());
            }
        }
        self.publish()
    }

    /// The end.
    pub fn exit(&self, exit: Exit) -> io::Result<()> {
        self.enter(Phase::Exited(exit))
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self.clone())
    }

    /// Completes when nothing is in flight.
    pub async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.in_flight.get() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn publish(&self) -> io::Result<()> {
        self.status.borrow_mut().sequence += 1;
        let status = self.status();
        let temporary = self.path.with_extension("json.new");
        let mut new = std::fs::File::create(&temporary)?;
        new.write_all(&serde_json::to_vec(&status).expect("a status becomes JSON"))?;
        std::fs::rename(&temporary, &self.path)?;
        self.published.send_replace(status);
        Ok(())
    }
}

/// A request in flight.
pub struct InFlight(Rc<Board>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if self.0.in_flight.get() == 0 {
            self.0.idle.notify_waiters();
        }
    }
}
