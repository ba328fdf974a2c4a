//! From the outbox to a sink: claim, deliver, acknowledge.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join;

use crate::{
    Claim, Clock, Delivered, Delivery, Letter, Outbox, RetryPolicy, Sink, SinkError, SinkName, StoreError,
    Timestamp, Which, outbox::held::Held,
};

/// How long a claim lasts unless it is renewed.
const CLAIM: Duration = Duration::from_secs(60);
/// How many batches are claimed ahead, each after the last, before the oldest of all are looked for again: they may have
/// come late, or been sent again by an operator.
const RUN: u32 = 20;
/// How long what was claimed may wait for its delivery: whatever was erased or expired since would be delivered too.
const FRESH: Duration = Duration::from_secs(1);
/// What is said of a letter that cannot be read.
const UNKNOWN: &str = "this version does not know the event";

/// Brings what is kept for one sink to it: at least once, and what belongs to one key in order. Another sink has a relay
/// of its own, and waits for nobody.
///
/// - What is acknowledged is not delivered again; a crash between the two repeats two batches at most, under the same ids:
///   one is delivered while the one before it is acknowledged.
/// - A sink that does not accept is left alone, as [`RetryPolicy`] says, and at least as long as it asks.
/// - Where it takes the events of some keys and not those of others, these keys are held, up to 64 of them: of each one event
///   is tried whenever its own time has come, and all others go on, by key, however many are held.
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
    held: Held,
    /// What was claimed while the last batch was delivered.
    next: Option<Next>,
    /// What was delivered and is not acknowledged; nothing, unless there is something next.
    delivered: Vec<i64>,
}

/// A batch that was claimed ahead.
#[derive(Debug)]
struct Next {
    letters: Vec<Letter>,
    since: Timestamp,
    /// How many were claimed ahead before it.
    run: u32,
}

/// What came of a delivery.
struct Attempt {
    accepted: Vec<i64>,
    refused: Vec<(i64, String)>,
    deliveries: Vec<Delivery>,
    outcome: Outcome,
}

/// What became of a batch.
enum Outcome {
    /// All of it is settled.
    Settled,
    /// Something of these keys is to come later, and not before so long.
    Partly(BTreeSet<String>, Duration),
    Failed(SinkError),
}

/// What a step did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// There was nothing to deliver.
    Idle,
    /// Another node has the sink.
    Elsewhere,
    /// The sink is left alone until then, because it failed before; or all that waits is of keys that are held, and none is
    /// tried before then.
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
        let state = State {
            suspects: 0,
            failures: 0,
            until: Timestamp::MIN,
            is_gone: false,
            held: Held::default(),
            next: None,
            delivered: Vec::new(),
        };
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
        let (next, delivered, claim) = {
            let mut state = self.state();
            if state.is_gone {
                return Ok(Step::Gone);
            }
            if now < state.until {
                return Ok(Step::Resting(state.until));
            }
            let limit = if state.suspects == 0 { self.batch() } else { state.suspects.div_ceil(2) };
            let is_held = !state.held.is_empty();
            let which = if is_held { Which::Within(state.held.spans(now, limit)) } else { Which::Oldest };
            let delivered = std::mem::take(&mut state.delivered);
            (state.next.take(), delivered, Claim { which, ..self.claim(now, limit) })
        };
        if let Some(Next { letters, since, run }) = next
            && since <= now
            && now < since.saturating_add(FRESH)
        {
            return self.go_on(letters, delivered, run, now, random).await;
        }
        if !delivered.is_empty() {
            self.outbox.ack(&self.name, delivered).await?;
        }
        let Some(letters) = self.outbox.claim(claim).await? else { return Ok(Step::Elsewhere) };
        if letters.is_empty() {
            let mut state = self.state();
            state.held.keep(&[], now);
            return Ok(state.held.until().map_or(Step::Idle, Step::Resting));
        }
        self.go_on(letters, Vec::new(), 0, now, random).await
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
        let delivered = {
            let mut state = self.state();
            state.next = None;
            std::mem::take(&mut state.delivered)
        };
        if !delivered.is_empty() {
            self.outbox.ack(&self.name, delivered).await?;
        }
        self.outbox.claim(Claim { until: now, ..self.claim(now, 0) }).await.map(drop)
    }

    /// How many events are delivered at once.
    fn batch(&self) -> usize {
        self.sink.batch().max(1)
    }

    fn claim(&self, now: Timestamp, limit: usize) -> Claim {
        let (sink, node) = (self.name.clone(), self.node.clone());
        Claim { sink, node, now, until: now.saturating_add(CLAIM), limit, which: Which::Oldest }
    }

    /// Delivers one batch, while what was delivered before it is acknowledged and what comes after it is claimed.
    async fn go_on(
        &self,
        batch: Vec<Letter>,
        delivered: Vec<i64>,
        run: u32,
        now: Timestamp,
        random: u32,
    ) -> Result<Step, StoreError> {
        let last = batch.last().map_or(i64::MIN, |letter| letter.number);
        let goes_on = batch.len() == self.batch() && run < RUN && self.is_well();
        let ahead = async {
            let claim = Claim { which: Which::After(last), ..self.claim(now, self.batch()) };
            match (goes_on, delivered.is_empty()) {
                (true, true) => self.outbox.claim(claim).await,
                (true, false) => self.outbox.ack_and_claim(delivered.clone(), claim).await,
                (false, true) => Ok(None),
                (false, false) => self.outbox.ack(&self.name, delivered.clone()).await.map(|()| None),
            }
        };
        let (ahead, Attempt { mut accepted, refused, deliveries, outcome }) =
            join(ahead, self.attempt(&batch)).await;
        let settled = (accepted.len() as u64, refused.len() as u64);
        let is_fresh = self.clock.now() < now.saturating_add(FRESH);
        match ahead {
            Ok(Some(letters)) if !letters.is_empty() && accepted.len() == batch.len() && is_fresh => {
                let mut state = self.state();
                state.delivered = accepted;
                state.next = Some(Next { letters, since: now, run: run.saturating_add(1) });
            }
            ahead => {
                if ahead.is_err() {
                    accepted.extend(delivered);
                }
                if !accepted.is_empty() {
                    self.outbox.ack(&self.name, accepted).await?;
                }
            }
        }
        if !refused.is_empty() {
            self.outbox.nack(&self.name, refused, self.clock.now()).await?;
        }
        Ok(self.settle(settled, &deliveries, outcome, now, random))
    }

    async fn attempt(&self, letters: &[Letter]) -> Attempt {
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
                let (mut later, mut longest) = (BTreeSet::new(), Duration::ZERO);
                let mut outcomes = outcomes.into_iter();
                for (number, delivery) in numbers.into_iter().zip(&deliveries) {
                    match outcomes.next().unwrap_or(Delivered::Later(Duration::ZERO)) {
                        Delivered::Accepted => accepted.push(number),
                        Delivered::Refused(reason) => refused.push((number, reason)),
                        Delivered::Later(after) => {
                            later.insert(delivery.event.key());
                            longest = longest.max(after);
                        }
                    }
                }
                if later.is_empty() { Outcome::Settled } else { Outcome::Partly(later, longest) }
            }
            Err(SinkError::Refused(reason)) if numbers.len() == 1 => {
                refused.extend(numbers.into_iter().map(|number| (number, reason.clone())));
                Outcome::Settled
            }
            Err(error) => Outcome::Failed(error),
        };
        Attempt { accepted, refused, deliveries, outcome }
    }

    /// Whether whole batches of the oldest letters are claimed.
    fn is_well(&self) -> bool {
        let state = self.state();
        state.suspects == 0 && state.held.is_empty()
    }

    fn settle(
        &self,
        (accepted, refused): (u64, u64),
        deliveries: &[Delivery],
        outcome: Outcome,
        claimed_at: Timestamp,
        random: u32,
    ) -> Step {
        let now = self.clock.now();
        let mut state = self.state();
        let settled = usize::try_from(accepted.saturating_add(refused)).unwrap_or(usize::MAX);
        // Where the one that was looked for is found, there is no suspect left.
        state.suspects = if refused > 0 { 0 } else { state.suspects.saturating_sub(settled) };
        let delivered = Step::Delivered { accepted, refused };
        let (later, after) = match outcome {
            Outcome::Settled if state.held.is_empty() => {
                state.failures = 0;
                return delivered;
            }
            Outcome::Settled => (BTreeSet::new(), Duration::ZERO),
            Outcome::Partly(later, after) => (later, after),
            // The first half of what it refused comes next, and at once.
            Outcome::Failed(SinkError::Refused(_)) => {
                state.suspects = deliveries.len();
                return delivered;
            }
            Outcome::Failed(SinkError::Gone) => {
                state.is_gone = true;
                return Step::Gone;
            }
            Outcome::Failed(SinkError::Later(after)) => {
                return self.rest(&mut state, (accepted, refused), after, random);
            }
        };
        let keys: Vec<_> = deliveries.iter().map(|delivery| delivery.event.key()).collect();
        let is_known = state.held.has_all(&later);
        state.held.deliver(&keys, &later);
        if state.suspects == 0 {
            state.held.keep(&keys, claimed_at);
        }
        if later.is_empty() {
            state.failures = 0;
            return delivered;
        }
        if is_known && after.is_zero() {
            // Nothing is wrong but with keys of which that is known.
            state.held.fail(&later, now, self.retry, random);
            if settled > 0 {
                state.failures = 0;
                return delivered;
            }
            return state.held.until().map_or(delivered, Step::Resting);
        }
        let step = self.rest(&mut state, (accepted, refused), after, random);
        let until = state.until;
        state.held.hold(later, until);
        step
    }

    fn rest(&self, state: &mut State, (accepted, refused): (u64, u64), after: Duration, random: u32) -> Step {
        let failures = if accepted > 0 { 0 } else { state.failures };
        state.failures = failures.saturating_add(1);
        let wait = self.retry.wait(state.failures, random).max(after);
        state.until = self.clock.now().saturating_add(wait);
        Step::Failed { accepted, refused, until: state.until }
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
