//! What waits for sinks, in memory.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Claim, DeadLetter, Event, EventKind, Letter, MemoryStore, Outbox, OutboxQuery, SinkBooks, SinkName,
    StoreError, Subscriptions, Timestamp, UserId,
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
    waiting: BTreeMap<i64, (Letter, Timestamp)>,
    dead: BTreeMap<i64, DeadLetter>,
    /// Its counters.
    books: SinkBooks,
}

impl Kept {
    const fn new(sink: SinkName) -> Self {
        Self { claim: None, waiting: BTreeMap::new(), dead: BTreeMap::new(), books: SinkBooks::new(sink) }
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
                kept.waiting.insert(self.last_number, (letter, at));
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
            kept.waiting.retain(|_, (letter, _)| without(letter));
            kept.dead.retain(|_, dead| without(&mut dead.letter));
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
        kept.claim = Some((claim.node, claim.until));
        let letters = kept.waiting.values().take(claim.limit).map(|(letter, _)| letter.clone());
        Ok(Some(letters.collect()))
    }

    async fn ack(&self, sink: &SinkName, numbers: Vec<i64>) -> Result<(), StoreError> {
        let mut log = self.outbox();
        let Kept { waiting, books, .. } = log.kept(sink);
        let removed = numbers.iter().filter(|number| waiting.remove(number).is_some()).count();
        books.delivered = books.delivered.saturating_add(removed as u64);
        Ok(())
    }

    async fn nack(
        &self,
        sink: &SinkName,
        refused: Vec<(i64, String)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut log = self.outbox();
        let Kept { waiting, dead, .. } = log.kept(sink);
        for (number, reason) in refused {
            if let Some((letter, _)) = waiting.remove(&number) {
                dead.insert(number, DeadLetter { letter, reason, at });
            }
        }
        Ok(())
    }

    async fn requeue(&self, sink: &SinkName, numbers: Option<Vec<i64>>) -> Result<u64, StoreError> {
        let mut log = self.outbox();
        let Kept { waiting, dead, .. } = log.kept(sink);
        let is_meant = |number: &i64| numbers.as_ref().is_none_or(|numbers| numbers.contains(number));
        let again: Vec<_> = dead.extract_if(.., |number, _| is_meant(number)).collect();
        let count = again.len() as u64;
        waiting.extend(again.into_iter().map(|(number, dead)| (number, (dead.letter, dead.at))));
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
            let waited = kept.waiting.extract_if(.., |_, (_, at)| take(*at)).count();
            let lay = kept.dead.extract_if(.., |_, dead| take(dead.at)).count();
            kept.books.expired = kept.books.expired.saturating_add(waited.saturating_add(lay) as u64);
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
            oldest: kept.waiting.values().map(|(_, at)| *at).min(),
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
        Ok(later.take(limit).map(|(_, dead)| dead.clone()).collect())
    }
}
