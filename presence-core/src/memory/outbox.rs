//! What waits for sinks, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    sync::{MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Claim, DeadLetter, Event, EventKind, Letter, MemoryStore, Outbox, OutboxQuery, SinkBooks, SinkName,
    StoreError, Subscriptions, Timestamp, UserId, Which,
};

/// All that is kept for sinks. Its lock is taken while others are held, and never the other way round.
#[derive(Debug, Default)]
pub(super) struct OutboxLog {
    subscriptions: Subscriptions,
    last_number: i64,
    sinks: BTreeMap<SinkName, Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Who has it, and until when.
    claim: Option<(String, Timestamp)>,
    waiting: BTreeMap<i64, Waiting>,
    /// The same by key.
    keys: BTreeSet<(String, i64)>,
    dead: BTreeMap<i64, (DeadLetter, String)>,
    /// Its counters.
    books: SinkBooks,
}

/// A letter that waits, since when, and its key.
#[derive(Debug)]
struct Waiting {
    letter: Letter,
    at: Timestamp,
    key: String,
}

impl Kept {
    const fn new(sink: SinkName) -> Self {
        Self {
            claim: None,
            waiting: BTreeMap::new(),
            keys: BTreeSet::new(),
            dead: BTreeMap::new(),
            books: SinkBooks::new(sink),
        }
    }

    fn put(&mut self, waiting: Waiting) {
        let number = waiting.letter.number;
        self.keys.insert((waiting.key.clone(), number));
        self.waiting.insert(number, waiting);
    }

    fn take(&mut self, number: i64) -> Option<Waiting> {
        let taken = self.waiting.remove(&number)?;
        self.keys.remove(&(taken.key.clone(), number));
        Some(taken)
    }

    /// The letters that a claim takes.
    fn letters(&self, claim: &Claim) -> Vec<Letter> {
        let letter = |waiting: &Waiting| waiting.letter.clone();
        let after = |number| self.waiting.range((Excluded(number), Unbounded)).map(|(_, waiting)| waiting);
        let spans = match &claim.which {
            Which::Oldest => return self.waiting.values().take(claim.limit).map(letter).collect(),
            Which::After(number) => return after(*number).take(claim.limit).map(letter).collect(),
            Which::Within(spans) => spans,
        };
        let places = spans.iter().filter(|span| span.from < span.before).flat_map(|span| {
            let (first, end) = ((span.from.clone(), i64::MIN), (span.before.clone(), i64::MIN));
            self.keys.range(first..end).take(span.limit)
        });
        places.take(claim.limit).filter_map(|(_, number)| self.waiting.get(number).map(letter)).collect()
    }
}

impl OutboxLog {
    /// Whether somebody wants events of this kind.
    pub(super) fn wants(&self, kind: EventKind) -> bool {
        self.subscriptions.wants(kind)
    }

    /// Keeps what is wanted of some events that happened at `at`.
    pub(super) fn keep(&mut self, events: &[Event], at: Timestamp) {
        for outgoing in self.subscriptions.outgoing(events) {
            self.last_number = self.last_number.saturating_add(1);
            for sink in outgoing.sinks {
                let kept = self.sinks.entry(sink.clone()).or_insert_with(|| Kept::new(sink.clone()));
                let letter = Letter { number: self.last_number, body: outgoing.body.clone() };
                kept.put(Waiting { letter, at, key: outgoing.key.clone() });
            }
        }
    }

    fn kept(&mut self, sink: &SinkName) -> &mut Kept {
        self.sinks.entry(sink.clone()).or_insert_with(|| Kept::new(sink.clone()))
    }

    /// Removes what is known of a user.
    pub(super) fn erase(&mut self, user: &UserId) {
        let naming = Letter::naming(user);
        // Says whether anything is left.
        let without = |letter: &mut Letter| {
            !letter.body.contains(&naming) || letter.without(user).map(|left| *letter = left).is_some()
        };
        for kept in self.sinks.values_mut() {
            let before = kept.waiting.len().saturating_add(kept.dead.len());
            let gone: Vec<_> =
                kept.waiting.extract_if(.., |_, waiting| !without(&mut waiting.letter)).collect();
            for (number, waiting) in gone {
                kept.keys.remove(&(waiting.key, number));
            }
            kept.dead.retain(|_, (dead, _)| without(&mut dead.letter));
            let left = kept.waiting.len().saturating_add(kept.dead.len());
            kept.books.erased = kept.books.erased.saturating_add(before.saturating_sub(left) as u64);
        }
    }
}

impl MemoryStore {
    pub(super) fn outbox(&self) -> MutexGuard<'_, OutboxLog> {
        // Nothing below panics between two writes that belong together.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    fn subscribe(&self, subscriptions: Subscriptions) {
        self.outbox().subscriptions = subscriptions;
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Vec<Letter>>, StoreError> {
        let mut log = self.outbox();
        let kept = log.kept(&claim.sink);
        if kept.claim.as_ref().is_some_and(|(node, until)| *node != claim.node && *until > claim.now) {
            return Ok(None);
        }
        kept.claim = Some((claim.node.clone(), claim.until));
        Ok(Some(kept.letters(&claim)))
    }

    async fn ack(&self, sink: &SinkName, numbers: Vec<i64>) -> Result<(), StoreError> {
        let mut log = self.outbox();
        let kept = log.kept(sink);
        let removed = numbers.iter().filter(|number| kept.take(**number).is_some()).count();
        kept.books.delivered = kept.books.delivered.saturating_add(removed as u64);
        Ok(())
    }

    async fn nack(
        &self,
        sink: &SinkName,
        refused: Vec<(i64, String)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut log = self.outbox();
        let kept = log.kept(sink);
        for (number, reason) in refused {
            if let Some(Waiting { letter, key, .. }) = kept.take(number) {
                kept.dead.insert(number, (DeadLetter { letter, reason, at }, key));
            }
        }
        Ok(())
    }

    async fn requeue(&self, sink: &SinkName, numbers: Option<Vec<i64>>) -> Result<u64, StoreError> {
        let mut log = self.outbox();
        let kept = log.kept(sink);
        let is_meant = |number: &i64| numbers.as_ref().is_none_or(|numbers| numbers.contains(number));
        let again: Vec<_> = kept.dead.extract_if(.., |number, _| is_meant(number)).collect();
        let count = again.len() as u64;
        for (_, (DeadLetter { letter, at, .. }, key)) in again {
            kept.put(Waiting { letter, at, key });
        }
        Ok(count)
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let mut log = self.outbox();
        let mut left = limit;
        for kept in log.sinks.values_mut() {
            let mut take = |at: Timestamp| {
                let is_taken = at < before && left > 0;
                left = left.saturating_sub(is_taken.into());
                is_taken
            };
            let waited: Vec<_> = kept.waiting.extract_if(.., |_, waiting| take(waiting.at)).collect();
            let lay = kept.dead.extract_if(.., |_, (dead, _)| take(dead.at)).count();
            kept.books.expired = kept.books.expired.saturating_add(waited.len().saturating_add(lay) as u64);
            for (number, waiting) in waited {
                kept.keys.remove(&(waiting.key, number));
            }
        }
        Ok(limit.saturating_sub(left) as u64)
    }
}

#[async_trait]
impl OutboxQuery for MemoryStore {
    async fn books(&self) -> Result<Vec<SinkBooks>, StoreError> {
        let log = self.outbox();
        let books = |kept: &Kept| SinkBooks {
            pending: kept.waiting.len() as u64,
            oldest: kept.waiting.values().map(|waiting| waiting.at).min(),
            dead: kept.dead.len() as u64,
            ..kept.books.clone()
        };
        Ok(log.sinks.values().map(books).collect())
    }

    async fn dead_letters(
        &self,
        sink: &SinkName,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let log = self.outbox();
        let dead = log.sinks.get(sink).map(|kept| &kept.dead);
        let later =
            dead.into_iter().flatten().filter(|(number, _)| after.is_none_or(|after| **number > after));
        Ok(later.take(limit).map(|(_, (dead, _))| dead.clone()).collect())
    }
}
