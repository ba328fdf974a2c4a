//! Answers that are made while they are read.

use std::{io, mem};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

/// Where the parts of a body go: one is under way and one waits, so that a slow reader holds no more.
#[derive(Debug)]
pub(super) struct Parts(mpsc::Sender<io::Result<Frame<Bytes>>>);

/// Whoever asked is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

/// A body, and where its parts go. It ends when those are dropped.
pub(super) fn parts() -> (Parts, Body) {
    let (parts, mut sent) = mpsc::channel(1);
    let stream = stream::poll_fn(move |context| sent.poll_recv(context));
    (Parts(parts), Body::new(StreamBody::new(stream)))
}

impl Parts {
    /// Sends the next part, once there is room for it.
    pub(super) async fn send(&self, part: Vec<u8>) -> Result<(), Gone> {
        self.0.send(Ok(Frame::data(part.into()))).await.map_err(|_| Gone)
    }

    /// Breaks the body off, so that nobody takes it for whole: the answer has begun, and all that is left is that.
    pub(super) async fn fail(self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        // Whoever asked may have gone.
        let _ = self.0.send(Err(io::Error::other(error))).await;
    }
}

/// The text of a JSON array, item after item.
#[derive(Debug, Default)]
pub(super) struct Array {
    has_begun: bool,
}

impl Array {
    /// Adds an item to the text; one of text and numbers always serialises.
    pub(super) fn push(&mut self, text: &mut Vec<u8>, item: &impl Serialize) {
        text.push(if mem::replace(&mut self.has_begun, true) { b',' } else { b'[' });
        text.extend(serde_json::to_vec(item).unwrap_or_default());
    }

    /// Ends it, where nothing was added too.
    pub(super) fn end(self, text: &mut Vec<u8>) {
        text.extend(if self.has_begun { b"]".as_slice() } else { b"[]" });
    }
}
