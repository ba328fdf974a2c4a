//! Where events go.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Event, Letter};

/// An event on its way out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Its name: the same at every attempt. See [`Letter::event_id`].
    pub event_id: String,
    /// The event.
    pub event: Event,
}

impl Delivery {
    /// The event of a letter; `None` where it holds none that this version knows.
    #[must_use]
    pub fn of(letter: &Letter) -> Option<Self> {
        Some(Self { event_id: letter.event_id(), event: letter.event()? })
    }
}

/// What became of one event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// The sink has it.
    Accepted,
    /// It may be accepted later, and not before so long.
    Later(Duration),
    /// It will never be accepted as it is, and why, for people. The reason holds nothing that a user sent.
    Refused(String),
}

/// Why none of a batch was accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// It may be accepted later, and not before so long.
    #[error("the sink does not accept it now")]
    Later(Duration),
    /// There is something in it that will never be accepted, and the sink does not say what: it is delivered in halves
    /// until that is found.
    #[error("the sink refuses it for good: {0}")]
    Refused(String),
    /// The sink wants nothing any more. What waits for it is kept, and it is asked again after a restart.
    #[error("the sink wants nothing any more")]
    Gone,
}

/// Takes events: a receiver of webhooks, a topic, a file.
#[async_trait]
pub trait Sink: Send + Sync {
    /// How many events it takes at once, at most. Default 500.
    fn batch(&self) -> usize {
        500
    }

    /// Delivers events, oldest first, and says what became of each, in order. Of one key nothing is delivered after
    /// something that is to come later: those are [`Delivered::Later`] too. What follows something refused may be
    /// delivered. What has no outcome is delivered again. The same event may come more than once, under the same id.
    ///
    /// # Errors
    ///
    /// None was accepted: for now, for good, or for ever.
    async fn deliver(&self, events: &[Delivery]) -> Result<Vec<Delivered>, SinkError>;
}
