//! A future that shares its task with a busy one. The task runs for each packet; this one is looked at only when it asked.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use parking_lot::Mutex;

/// The future, boxed once for all its successors. It is to be polled by one task only, as a spawned task does.
pub(crate) struct Seldom<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
}

/// Rings when the future wants to be polled.
struct Bell {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::SeqCst);
        if let Some(task) = &*self.task.lock() {
            task.wake_by_ref();
        }
    }
}

impl<F: Future> Seldom<F> {
    pub(crate) fn new(future: F) -> Self {
        let bell = Bell { has_rung: AtomicBool::new(true), task: Mutex::default() };
        Self { future: Box::pin(future), bell: Arc::new(bell) }
    }

    /// Goes on with another future.
    pub(crate) fn set(&mut self, future: F) {
        self.future.as_mut().set(future);
        self.bell.has_rung.store(true, Ordering::SeqCst);
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.bell.has_rung.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        // The waker is in place before the bell is listened to again: no ring is lost.
        *self.bell.task.lock() = Some(context.waker().clone());
        self.bell.has_rung.store(false, Ordering::SeqCst);
        let bell = Waker::from(self.bell.clone());
        let output = ready!(self.future.as_mut().poll(&mut Context::from_waker(&bell)));
        Poll::Ready(output)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_when_it_asked_and_not_when_its_task_runs_for_others() {
        let (polls, notify) = (Cell::new(0), Notify::new());
        let notified = async {
            let mut notified = std::pin::pin!(notify.notified());
            poll_fn(|context| {
                polls.set(polls.get() + 1);
                notified.as_mut().poll(context)
            })
            .await;
        };
        let mut seldom = Seldom::new(notified);
        for _ in 0..10 {
            assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut seldom).poll(context))).await.is_pending());
        }
        assert_eq!(polls.get(), 1);
        let (_, ()) = tokio::join!(&mut seldom, async { notify.notify_one() });
        assert_eq!(polls.get(), 2);
    }
}
