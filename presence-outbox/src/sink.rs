//! A sink's side: claim, deliver, settle.

use std::{fmt, sync::Arc, sync::PoisonError, time::Duration};

use futures_channel::oneshot;

use crate::{
    Closed,
    outbox::Inner,
    reader::Ask,
    relay::{Claim, Failure},
};

/// One sink of an outbox: it gets every event, in the order they were enqueued, in batches.
///
/// A batch that is dropped without being settled is claimed again. What was acknowledged is not delivered again, but
/// for one batch after a crash: receivers tell repeated events by an id of the event's own.
pub struct Sink<E> {
    inner: Arc<Inner<E>>,
    index: usize,
}

/// Events to be delivered, oldest first, at least one; the methods of [`Sink`] settle it.
#[derive(Debug)]
#[must_use = "a batch that is not settled is claimed again"]
pub struct Batch<E> {
    id: u64,
    events: Vec<E>,
}

impl<E> Batch<E> {
    /// The events.
    #[must_use]
    pub fn events(&self) -> &[E] {
        &self.events
    }
}

/// Brings events to where they belong.
pub trait Deliver<E>: Send + Sync {
    /// Delivers a batch, and says how many of its events, from the first on, were accepted. The others are delivered
    /// again.
    ///
    /// # Errors
    ///
    /// None was accepted: for now, or for good.
    fn deliver(&self, events: &[E]) -> impl Future<Output = Result<usize, DeliveryError>> + Send;
}

/// Why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// It may be accepted later. The sink is left alone as [`Backoff`](crate::Backoff) says, and at least this long.
    #[error("the destination does not accept it now")]
    Retry {
        /// What the destination asked for; zero if it did not.
        after: Duration,
    },
    /// It will never be accepted as it is. A batch is then delivered in halves until the one event that is not
    /// wanted is found; that one becomes a dead letter, with this reason.
    #[error("the destination refuses it for good: {reason}")]
    Refused {
        /// Why, for people; it is kept beside the event.
        reason: String,
    },
    /// The destination is gone, and nobody expects it back (410). The sink is disabled: its events are kept as long as
    /// files are, and it gets none until [`Outbox::enable`](crate::Outbox::enable), or the next start.
    #[error("the destination is gone")]
    Gone,
}

/// A flush that stopped before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The destination did not accept a batch. What it did not accept is still there.
    #[error("a batch was not delivered")]
    Delivery(#[source] DeliveryError),
    /// The outbox was closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl<E> Sink<E> {
    pub(crate) const fn new(inner: Arc<Inner<E>>, index: usize) -> Self {
        Self { inner, index }
    }

    /// The next events, as soon as there are any, the sink need not be left alone and it is not disabled; `None` once
    /// the outbox is closed.
    pub async fn claim(&mut self) -> Option<Batch<E>> {
        self.ask(true).await.ok().flatten()
    }

    /// The next events, if there are any now.
    ///
    /// # Errors
    ///
    /// The outbox is closed.
    pub async fn try_claim(&mut self) -> Result<Option<Batch<E>>, Closed> {
        self.ask(false).await
    }

    /// The batch is delivered. Once this is answered it is not delivered again, whatever happens.
    ///
    /// # Errors
    ///
    /// The outbox is closed; the batch will be delivered again.
    pub async fn ack(&mut self, batch: Batch<E>) -> Result<(), Closed> {
        let accepted = batch.events.len();
        self.ack_first(batch, accepted).await
    }

    /// The first `accepted` events of the batch are delivered; the others are delivered again, after a while.
    ///
    /// # Errors
    ///
    /// The outbox is closed; the batch will be delivered again.
    pub async fn ack_first(&mut self, batch: Batch<E>, accepted: usize) -> Result<(), Closed> {
        let (answer, settled) = oneshot::channel();
        self.settle(Ask::Ack { sink: self.index, id: batch.id, accepted, answer }, settled).await
    }

    /// The batch is not delivered; what follows from that, [`DeliveryError`] says.
    ///
    /// # Errors
    ///
    /// The outbox is closed; the batch will be delivered again.
    pub async fn nack(&mut self, batch: Batch<E>, error: DeliveryError) -> Result<(), Closed> {
        let failure = match error {
            DeliveryError::Retry { after } => Failure::Retry(after),
            DeliveryError::Refused { reason } => Failure::Refused(reason),
            DeliveryError::Gone => Failure::Gone,
        };
        let (answer, settled) = oneshot::channel();
        self.settle(Ask::Nack { sink: self.index, id: batch.id, failure, answer }, settled).await
    }

    /// Delivers what is sealed now, and says how many events were accepted.
    ///
    /// # Errors
    ///
    /// The destination failed, or the outbox is closed. What was not accepted is still there. While the sink is left
    /// alone after a failure, nothing is delivered, and that is no error.
    pub async fn flush(&mut self, to: &impl Deliver<E>) -> Result<u64, FlushError> {
        let mut delivered = 0;
        while let Some(batch) = self.try_claim().await? {
            delivered += self.deliver(batch, to).await?;
        }
        Ok(delivered)
    }

    /// Delivers for ever: until the outbox is closed, or this is dropped.
    pub async fn run(&mut self, to: &impl Deliver<E>) {
        while let Some(batch) = self.claim().await {
            match self.deliver(batch, to).await {
                // The sink is left alone for a while: the next claim waits for that.
                Ok(_) | Err(FlushError::Delivery(_)) => {}
                Err(FlushError::Closed(_)) => return,
            }
        }
    }

    /// Delivers a batch and settles it.
    async fn deliver(&mut self, batch: Batch<E>, to: &impl Deliver<E>) -> Result<u64, FlushError> {
        match to.deliver(batch.events()).await {
            Ok(accepted) => {
                let count = batch.events.len().min(accepted) as u64;
                self.ack_first(batch, accepted).await?;
                Ok(count)
            }
            Err(DeliveryError::Refused { reason }) => {
                // Not the end of a flush: half of the batch, or what is behind the one event, may be welcome.
                self.nack(batch, DeliveryError::Refused { reason }).await?;
                Ok(0)
            }
            Err(DeliveryError::Retry { after }) => {
                self.nack(batch, DeliveryError::Retry { after }).await?;
                Err(FlushError::Delivery(DeliveryError::Retry { after }))
            }
            Err(DeliveryError::Gone) => {
                self.nack(batch, DeliveryError::Gone).await?;
                Err(FlushError::Delivery(DeliveryError::Gone))
            }
        }
    }

    async fn ask(&mut self, waits: bool) -> Result<Option<Batch<E>>, Closed> {
        let (answer, claim) = oneshot::channel();
        self.inner.asks.push(Ask::Claim { sink: self.index, waits, answer }, 0).map_err(|_| Closed)?;
        let claim = claim.await.map_err(|_| Closed)?;
        Ok(claim.map(|Claim { id, events }| Batch { id, events }))
    }

    async fn settle(&mut self, ask: Ask<E>, settled: oneshot::Receiver<bool>) -> Result<(), Closed> {
        self.inner.asks.push(ask, 0).map_err(|_| Closed)?;
        // A batch of this sink that is out no more was claimed again, by a claim that nobody waited for.
        settled.await.map(drop).map_err(|_| Closed)
    }
}

impl<E> Drop for Sink<E> {
    fn drop(&mut self) {
        // If it is closed there is nothing to release.
        let _ = self.inner.asks.push(Ask::Release { sink: self.index }, 0);
        let mut taken = self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter_mut().skip(self.index).take(1).for_each(|is_taken| *is_taken = false);
    }
}

impl<E> fmt::Debug for Sink<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("index", &self.index).finish_non_exhaustive()
    }
}
