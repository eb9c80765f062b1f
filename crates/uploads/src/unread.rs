//! What a client still sends when its request has been refused. A connection that is closed over unread content is reset, and the
//! client never sees why; so a little of it is read and thrown away.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// More than clients send before they wait for a go-ahead.
const MOST_BYTES: usize = 2 << 20;
const LONGEST: Duration = Duration::from_secs(5);

/// A request's body with two holders: whoever answers the request, and whoever looks after the rest.
pub(crate) struct Shared<B>(Arc<Mutex<Content<B>>>);

struct Content<B> {
    body: Pin<Box<B>>,
    /// Asking for content is what sends a go-ahead to a client that waits for one.
    was_asked_for: bool,
}

impl<B: Body<Data = Bytes>> Shared<B> {
    pub fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(Content { body: Box::pin(body), was_asked_for: false })))
    }

    pub fn another(&self) -> Self {
        Self(self.0.clone())
    }

    /// Reads what still comes, up to a limit, and says whether that was all of it: only then can the connection serve another
    /// request. A client that waits for a go-ahead has sent nothing, and is not told to.
    pub async fn discard(mut self, waits_for_go_ahead: bool) -> bool {
        if waits_for_go_ahead && !self.content(|content| content.was_asked_for) {
            return self.is_end_stream();
        }
        let discard = async {
            let mut discarded = 0;
            while let Some(frame) = self.frame().await {
                discarded += frame.ok().and_then(|frame| Some(frame.data_ref()?.len())).unwrap_or_default();
                if discarded > MOST_BYTES {
                    return false;
                }
            }
            true
        };
        // Whoever is slower than that may be reset.
        tokio::time::timeout(LONGEST, discard).await.unwrap_or(false)
    }

    fn content<T>(&self, look: impl FnOnce(&mut Content<B>) -> T) -> T {
        look(&mut self.0.lock().expect("no holder of this lock panics"))
    }
}

impl<B: Body<Data = Bytes>> Body for Shared<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.content(|content| {
            content.was_asked_for = true;
            content.body.as_mut().poll_frame(context)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.content(|content| content.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.content(|content| content.body.size_hint())
    }
}
