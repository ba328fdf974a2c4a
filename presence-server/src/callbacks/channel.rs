//! One callback: where it goes, and what is counted of it.

use std::{fmt, sync::Arc};

use presence_core::Clock;
use tokio::time::Instant;

use super::{Delivery, Endpoint, Outcome};
use crate::metrics::CallbackFigures;

/// The longest body, in bytes: what receivers of Standard Webhooks have to take.
pub(crate) const LONGEST_BODY: usize = 256 * 1024;

/// An [`Endpoint`] whose attempts are counted, and dated by one clock. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    figures: Arc<CallbackFigures>,
}

impl Channel {
    /// Deliveries to `endpoint`, dated by `clock`. What becomes of them is counted, and shown nowhere.
    #[must_use]
    pub fn new(endpoint: Endpoint, clock: Arc<dyn Clock>) -> Self {
        Self::counted(endpoint, clock, Arc::default())
    }

    /// The same, counted in `figures`.
    pub(crate) fn counted(endpoint: Endpoint, clock: Arc<dyn Clock>, figures: Arc<CallbackFigures>) -> Self {
        Self { shared: Arc::new(Shared { endpoint, clock, figures }) }
    }

    /// The clock by which it is dated.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Delivers once, as [`Endpoint::post`].
    pub(crate) async fn post(&self, delivery: &Delivery) -> Outcome {
        let Shared { endpoint, clock, figures } = &*self.shared;
        let begun = Instant::now();
        let outcome = endpoint.post(delivery, || clock.now()).await;
        figures.attempt(outcome, begun.elapsed());
        outcome
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("endpoint", &self.shared.endpoint).finish_non_exhaustive()
    }
}
