//! From the outbox to a sink: claim, deliver, acknowledge.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Claim, Clock, Delivered, Delivery, Letter, Outbox, RetryPolicy, Sink, SinkError, SinkName, StoreError,
    Timestamp,
};

/// How long a claim lasts unless it is renewed.
const CLAIM: Duration = Duration::from_secs(60);
/// What is said of a letter that cannot be read.
const UNKNOWN: &str = "this version does not know the event";

/// Brings what is kept for one sink to it: at least once, and what belongs to one key in order. Another sink has a relay
/// of its own, and waits for nobody.
///
/// - What is acknowledged is not delivered again; a crash between the two repeats one batch, under the same ids.
/// - A sink that does not accept is left alone, as [`RetryPolicy`] says, and at least as long as it asks.
/// - A batch that is refused as a whole is delivered in halves until the one event is found that is not wanted; that one
///   becomes a dead letter.
/// - Of several nodes one has the sink at a time. Something must [renew](Self::renew) its claim while a delivery takes
///   long; where it was lost nevertheless, events may be repeated.
///
/// It needs no runtime: something must call [`step`](Self::step) again and again.
pub struct Relay {
    outbox: Arc<dyn Outbox>,
    sink: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    name: SinkName,
    node: String,
    retry: RetryPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Among how many of the next events there is one that the sink refuses without saying which; 0 for none.
    suspects: usize,
    failures: u32,
    /// The sink is left alone until then.
    until: Timestamp,
    is_gone: bool,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// There was nothing to deliver.
    Idle,
    /// Another node has the sink.
    Elsewhere,
    /// The sink is left alone until then, because it failed before.
    Resting(Timestamp),
    /// Events were delivered, and there may be more.
    Delivered {
        /// How many the sink has taken.
        accepted: u64,
        /// How many it has refused for good.
        refused: u64,
    },
    /// The sink failed, after it took so many, and is left alone until then.
    Failed {
        /// How many the sink has taken.
        accepted: u64,
        /// How many it has refused for good.
        refused: u64,
        /// Until when.
        until: Timestamp,
    },
    /// The sink wants nothing any more. It is asked again by the next process.
    Gone,
}

impl Relay {
    /// A relay from this outbox to this sink, on the node of this name.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        sink: Arc<dyn Sink>,
        clock: impl Clock + 'static,
        name: SinkName,
        node: impl Into<String>,
        retry: RetryPolicy,
    ) -> Self {
        let state = State { suspects: 0, failures: 0, until: Timestamp::MIN, is_gone: false };
        let (clock, node) = (Arc::new(clock), node.into());
        Self { outbox, sink, clock, name, node, retry, state: Mutex::new(state) }
    }

    /// The sink's name.
    #[must_use]
    pub const fn name(&self) -> &SinkName {
        &self.name
    }

    /// Delivers one batch, if there is something and the sink need not be left alone. `random` spreads how long it is
    /// left alone after a failure; any number will do, as long as it is another one each time.
    ///
    /// # Errors
    ///
    /// The store failed. What was delivered and not acknowledged is delivered again.
    pub async fn step(&self, random: u32) -> Result<Step, StoreError> {
        let now = self.clock.now();
        let width = {
            let state = self.state();
            if state.is_gone {
                return Ok(Step::Gone);
            }
            if now < state.until {
                return Ok(Step::Resting(state.until));
            }
            if state.suspects == 0 { self.sink.batch().max(1) } else { state.suspects.div_ceil(2) }
        };
        let Some(letters) = self.outbox.claim(self.claim(now, width)).await? else {
            return Ok(Step::Elsewhere);
        };
        if letters.is_empty() {
            return Ok(Step::Idle);
        }
        self.deliver(&letters, random).await
    }

    /// Keeps the sink a while longer.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn renew(&self) -> Result<(), StoreError> {
        self.outbox.claim(self.claim(self.clock.now(), 0)).await.map(drop)
    }

    /// Gives the sink up, so that another node need not wait for the end of the claim.
    ///
    /// # Errors
    ///
    /// The store failed; then the claim ends by itself.
    pub async fn release(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.outbox.claim(Claim { until: now, ..self.claim(now, 0) }).await.map(drop)
    }

    fn claim(&self, now: Timestamp, limit: usize) -> Claim {
        let (sink, node) = (self.name.clone(), self.node.clone());
        Claim { sink, node, now, until: now.saturating_add(CLAIM), limit }
    }

    async fn deliver(&self, letters: &[Letter], random: u32) -> Result<Step, StoreError> {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        let (mut numbers, mut deliveries) = (Vec::new(), Vec::new());
        for letter in letters {
            if let Some(delivery) = Delivery::of(letter) {
                numbers.push(letter.number);
                deliveries.push(delivery);
            } else {
                refused.push((letter.number, UNKNOWN.to_owned()));
            }
        }
        let answer =
            if deliveries.is_empty() { Ok(Vec::new()) } else { self.sink.deliver(&deliveries).await };
        let outcome = match answer {
            Ok(outcomes) => {
                let mut later = None;
                let mut outcomes = outcomes.into_iter();
                for number in numbers {
                    match outcomes.next().unwrap_or(Delivered::Later(Duration::ZERO)) {
                        Delivered::Accepted => accepted.push(number),
                        Delivered::Refused(reason) => refused.push((number, reason)),
                        Delivered::Later(after) => later = later.max(Some(after)),
                    }
                }
                later.map_or(Ok(()), |after| Err(SinkError::Later(after)))
            }
            Err(SinkError::Refused(reason)) if numbers.len() == 1 => {
                refused.extend(numbers.into_iter().map(|number| (number, reason.clone())));
                Ok(())
            }
            Err(error) => Err(error),
        };
        let settled = (accepted.len() as u64, refused.len() as u64);
        if !accepted.is_empty() {
            self.outbox.ack(&self.name, accepted).await?;
        }
        if !refused.is_empty() {
            self.outbox.nack(&self.name, refused, self.clock.now()).await?;
        }
        Ok(self.settle(settled, deliveries.len(), &outcome, random))
    }

    fn settle(
        &self,
        (accepted, refused): (u64, u64),
        delivered: usize,
        outcome: &Result<(), SinkError>,
        random: u32,
    ) -> Step {
        let mut state = self.state();
        let settled = usize::try_from(accepted.saturating_add(refused)).unwrap_or(usize::MAX);
        // Where the one that was looked for is found, there is no suspect left.
        state.suspects = if refused > 0 { 0 } else { state.suspects.saturating_sub(settled) };
        match outcome {
            Ok(()) => {
                state.failures = 0;
                Step::Delivered { accepted, refused }
            }
            // The first half of what it refused comes next, and at once.
            Err(SinkError::Refused(_)) => {
                state.suspects = delivered;
                Step::Delivered { accepted, refused }
            }
            Err(SinkError::Gone) => {
                state.is_gone = true;
                Step::Gone
            }
            Err(SinkError::Later(after)) => {
                let failures = if accepted > 0 { 0 } else { state.failures };
                state.failures = failures.saturating_add(1);
                let wait = self.retry.wait(state.failures, random).max(*after);
                state.until = self.clock.now().saturating_add(wait);
                Step::Failed { accepted, refused, until: state.until }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("name", &self.name)
            .field("node", &self.node)
            .field("retry", &self.retry)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
