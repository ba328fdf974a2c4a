//! Which of several nodes makes a callback.

use std::{fmt, sync::Arc, time::Duration};

use presence_core::{Claim, Clock, Outbox, SinkName, StoreError, Which};

/// How long a turn lasts unless it is taken again.
const TURN: Duration = Duration::from_secs(60);

/// A callback that one node makes at a time: a sink of the outbox that never gets an event.
#[derive(Clone)]
pub struct Turn {
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    name: SinkName,
    node: String,
}

impl Turn {
    /// Turns of the node of this name.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        clock: Arc<dyn Clock>,
        name: SinkName,
        node: impl Into<String>,
    ) -> Self {
        Self { outbox, clock, name, node: node.into() }
    }

    /// Takes the turn, or keeps it for a minute from now; says whether it is ours.
    ///
    /// # Errors
    ///
    /// The store failed; it is unknown whose turn it is.
    pub async fn take(&self) -> Result<bool, StoreError> {
        self.claim(TURN).await
    }

    /// Leaves the turn to others.
    ///
    /// # Errors
    ///
    /// The store failed; then the turn ends by itself.
    pub async fn release(&self) -> Result<(), StoreError> {
        self.claim(Duration::ZERO).await.map(drop)
    }

    async fn claim(&self, length: Duration) -> Result<bool, StoreError> {
        let (sink, node, now) = (self.name.clone(), self.node.clone(), self.clock.now());
        let claim =
            Claim { sink, node, now, until: now.saturating_add(length), limit: 0, which: Which::Oldest };
        Ok(self.outbox.claim(claim).await?.is_some())
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("name", &self.name).field("node", &self.node).finish_non_exhaustive()
    }
}
