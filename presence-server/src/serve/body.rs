use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::deadline::Shared;
use super::progress::{Answering, Progress};

/// The body did not arrive in time. Handlers see it as the error of their body.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub(crate) struct Late;

/// A request body with a deadline, counted from its head.
#[derive(Debug)]
pub(super) struct Timed {
    body: Incoming,
    deadline: Shared,
    due: Instant,
    is_late: Arc<AtomicBool>,
    is_done: bool,
    progress: Arc<Progress>,
}

impl Timed {
    /// `deadline` is the timer of the connection's bodies; this one has until `due`.
    pub(super) fn new(
        body: Incoming,
        deadline: Shared,
        due: Instant,
        is_late: Arc<AtomicBool>,
        progress: Arc<Progress>,
    ) -> Self {
        Self { body, deadline, due, is_late, is_done: false, progress }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.is_late.load(Relaxed) {
            return Poll::Ready(None); // ended with its error
        }
        // The deadline is polled first: a body that trickles is ready each time it is asked.
        if !this.is_done && this.deadline.poll(this.due, cx).is_ready() && !this.body.is_end_stream() {
            this.is_late.store(true, Relaxed);
            return Poll::Ready(Some(Err(Late.into())));
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            this.is_done = true;
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if !self.is_done && !self.body.is_end_stream() {
            self.progress.leave_unread();
        }
    }
}

/// A response body that ends its exchange: hyper drops it when it has taken the last of it.
#[derive(Debug)]
pub(super) struct Tracked {
    body: axum::body::Body,
    _answering: Answering,
}

impl Tracked {
    pub(super) fn new(body: axum::body::Body, answering: Answering) -> Self {
        Self { body, _answering: answering }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
