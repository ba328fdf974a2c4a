//! Events, one per request.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use presence_core::{Delivered, Delivery as Letter, Event, Sink, SinkError};

use super::{Channel, Delivery, DeliveryId, Outcome, channel::LONGEST_BODY, endpoint::CONNECTIONS};

/// How many attempts of a batch may fail before the rest of it waits: as many as hang at once where nobody answers. A
/// few events that their receiver cannot take keep no others back.
const FAILURES: usize = CONNECTIONS;

/// What a receiver is sent of an event: JSON, or nothing where it is none of its events.
pub(crate) type Body = fn(&Event) -> Option<Vec<u8>>;

/// Posts each event as a request of its own. Those of one key go one after the other, others beside them.
pub struct EventSink {
    channel: Channel,
    body: Body,
}

impl EventSink {
    pub(crate) const fn new(channel: Channel, body: Body) -> Self {
        Self { channel, body }
    }

    /// One of four that deliver key after key.
    async fn work(&self, events: &[Letter], round: &Mutex<Round>) {
        loop {
            let Some(key) = lock(round).keys.pop_front() else { return };
            for place in key {
                let Some(event) = events.get(place) else { return };
                if lock(round).is_over {
                    return;
                }
                let outcome = self.deliver_one(event).await;
                if !lock(round).settle(place, &outcome) {
                    break;
                }
            }
        }
    }

    async fn deliver_one(&self, letter: &Letter) -> Attempt {
        let Some(body) = (self.body)(&letter.event) else {
            return Attempt::Unfit("the receiver has no form for events of this kind");
        };
        if body.len() > LONGEST_BODY {
            return Attempt::Unfit("it is longer than 256 KiB");
        }
        let delivery = Delivery { id: DeliveryId::of(&letter.event_id), body: body.into() };
        Attempt::Made(self.channel.post(&delivery).await)
    }
}

/// What became of an event.
enum Attempt {
    Made(Outcome),
    /// It cannot be sent, and why.
    Unfit(&'static str),
}

/// A batch that is being delivered.
struct Round {
    /// The places of the events of each key that nobody works on yet.
    keys: VecDeque<Vec<usize>>,
    outcomes: Vec<Delivered>,
    failures: usize,
    /// Nothing more is begun.
    is_over: bool,
    is_gone: bool,
}

impl Round {
    fn new(events: &[Letter]) -> Self {
        let (mut keys, mut known) = (VecDeque::<Vec<usize>>::new(), HashMap::new());
        for (place, letter) in events.iter().enumerate() {
            let key = *known.entry(letter.event.key()).or_insert_with(|| {
                keys.push_back(Vec::new());
                keys.len().saturating_sub(1)
            });
            if let Some(places) = keys.get_mut(key) {
                places.push(place);
            }
        }
        let outcomes = vec![Delivered::Later(Duration::ZERO); events.len()];
        Self { keys, outcomes, failures: 0, is_over: false, is_gone: false }
    }

    /// Takes what became of an event; says whether the next one of its key may go.
    fn settle(&mut self, place: usize, attempt: &Attempt) -> bool {
        let delivered = match *attempt {
            Attempt::Made(Outcome::Delivered) => Delivered::Accepted,
            Attempt::Made(Outcome::Refused { reason }) => {
                Delivered::Refused(format!("the receiver {reason}"))
            }
            Attempt::Unfit(reason) => Delivered::Refused(reason.to_owned()),
            Attempt::Made(Outcome::Retry { after, .. }) => {
                self.failures = self.failures.saturating_add(1);
                // Who asks to be left alone is.
                self.is_over |= !after.is_zero() || self.failures >= FAILURES;
                Delivered::Later(after)
            }
            Attempt::Made(Outcome::Gone) => {
                (self.is_over, self.is_gone) = (true, true);
                Delivered::Later(Duration::ZERO)
            }
        };
        let is_accepted = delivered == Delivered::Accepted;
        if let Some(outcome) = self.outcomes.get_mut(place) {
            *outcome = delivered;
        }
        is_accepted
    }

    fn end(self) -> Result<Vec<Delivered>, SinkError> {
        // What is settled counts first; that it wants nothing more is heard again at the next attempt.
        let is_settled = self.outcomes.iter().any(|outcome| !matches!(outcome, Delivered::Later(_)));
        if self.is_gone && !is_settled { Err(SinkError::Gone) } else { Ok(self.outcomes) }
    }
}

fn lock(round: &Mutex<Round>) -> MutexGuard<'_, Round> {
    // Nothing under this lock panics.
    round.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Sink for EventSink {
    async fn deliver(&self, events: &[Letter]) -> Result<Vec<Delivered>, SinkError> {
        let round = Mutex::new(Round::new(events));
        join_all((0..CONNECTIONS).map(|_| self.work(events, &round))).await;
        round.into_inner().unwrap_or_else(PoisonError::into_inner).end()
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("channel", &self.channel).finish_non_exhaustive()
    }
}
