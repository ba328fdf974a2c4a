//! What is in memory, written: nothing is forgotten before it is, and nothing twice.

use std::{collections::HashSet, future::poll_fn, iter, task::Poll};

use futures_util::{
    future::{join, join_all},
    stream::{FuturesUnordered, StreamExt},
};

use crate::{
    Beats, Changes, LiveSet, MemoryLiveSet, Recorded, Seen, StoreError,
    memory::live_set::{Told, Unwritten},
};

/// The most members of one write.
const CHUNK: usize = 10_000;
/// About how many beats one write has.
const PART: usize = 2_500;
/// How many parts of a flush are written at once; no two have a user in common.
const AT_ONCE: usize = 4;

/// What a flush wrote.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flush {
    /// How many users' beats were written.
    pub beats: u64,
    /// How many of those the store did not take as they were, so that they were recorded one by one.
    pub recorded: u64,
    /// How many changes of the online members were written.
    pub members: u64,
}

impl Flush {
    fn add(&mut self, other: Self) {
        self.beats = self.beats.saturating_add(other.beats);
        self.recorded = self.recorded.saturating_add(other.recorded);
        self.members = self.members.saturating_add(other.members);
    }
}

impl Beats {
    /// Writes what is pending: [`flush_beats`](Self::flush_beats) and [`flush_members`](Self::flush_members) at the same
    /// time.
    ///
    /// # Errors
    ///
    /// The store failed; what was not written stays pending, and is written by the next flush.
    pub async fn flush(&self) -> Result<Flush, StoreError> {
        let (beats, members) = join(self.flush_beats(), self.flush_members()).await;
        let members = members?;
        beats.map(|flush| Flush { members, ..flush })
    }

    /// Writes the pending beats to the tracker's store. Members are more than their users, and nobody's silence hangs on
    /// them, so that these need not wait for those.
    ///
    /// # Errors
    ///
    /// As of [`flush`](Self::flush).
    pub async fn flush_beats(&self) -> Result<Flush, StoreError> {
        let _flushing = self.flushing.lock().await;
        let (mut flush, mut corrupt, mut failed) = (Flush::default(), Ok(()), Ok(()));
        let (mut parts, mut writes) = (self.unwritten(), FuturesUnordered::new());
        loop {
            // Where one fails, those that have begun are waited for.
            while failed.is_ok()
                && writes.len() < AT_ONCE
                && let Some(part) = parts.next()
            {
                writes.push(self.flush_users(part));
            }
            match writes.next().await {
                None => break,
                Some(Ok(written)) => flush.add(written),
                // Somebody's stored data is corrupt: the others need not wait for its repair.
                Some(Err(error @ StoreError::Corrupt(_))) => corrupt = Err(error),
                Some(Err(error)) => failed = Err(error),
            }
            pause().await;
        }
        failed.and(corrupt).map(|()| flush)
    }

    /// What is not written yet, in parts.
    fn unwritten(&self) -> impl Iterator<Item = Vec<Unwritten>> {
        let mut chunks = 0..;
        iter::from_fn(move || {
            let mut part = Vec::new();
            while part.len() < PART
                && let Some(more) = chunks.next().and_then(|chunk| self.live.pending_in(chunk))
            {
                part.extend(more);
            }
            Some(part).filter(|part| !part.is_empty())
        })
    }

    async fn flush_users(&self, pending: Vec<Unwritten>) -> Result<Flush, StoreError> {
        let policy = self.tracker.policy();
        let beat = |beats: &Unwritten| beats.pending.beat(&beats.user, policy.heartbeat_timeout);
        let beats = || pending.iter().map(beat).collect();
        let not_taken = match self.tracker.touch(beats()).await {
            // Nothing was written, and nobody knows whose data it was: each is recorded instead.
            Err(StoreError::Corrupt(_)) => beats(),
            not_taken => not_taken?,
        };
        let not_taken: HashSet<_> = not_taken.iter().map(|beat| &beat.user).collect();
        let (owed, taken): (Vec<_>, Vec<_>) =
            pending.iter().partition(|beats| !not_taken.is_empty() && not_taken.contains(&beats.user));
        self.live.settle(taken);
        // Together in one group, each as a call of its own: one whose data is corrupt fails alone.
        let record = |beats: &&Unwritten| self.tracker.record_many(vec![beats.pending.envelope(&beats.user)]);
        let answers = join_all(owed.iter().map(record)).await;
        let mut failed = Ok(());
        for (beats, answer) in owed.iter().zip(answers) {
            match answer.map(|verdicts| verdicts.into_iter().next()) {
                Ok(Some(Ok(Recorded { session: Some(session), .. }))) => {
                    self.live.settle([*beats]);
                    self.live.learn(&session, Told::Nothing, None, policy);
                }
                // Refused now is who was erased meanwhile: there is nobody to keep alive.
                Ok(_) => self.live.forget_life(&beats.user),
                // Where the store failed otherwise too, that is what counts.
                Err(StoreError::Corrupt(_)) if failed.is_err() => {}
                Err(error) => failed = Err(error),
            }
        }
        failed?;
        Ok(Flush { beats: pending.len() as u64, recorded: owed.len() as u64, members: 0 })
    }

    /// Writes what changed of the online members to the backing live set, and says how many changes there were.
    ///
    /// # Errors
    ///
    /// As of [`flush`](Self::flush).
    pub async fn flush_members(&self) -> Result<u64, StoreError> {
        let Some(backing) = &self.backing else { return Ok(0) };
        // One after the other: of two changes of one member the later one counts.
        let _telling = self.telling.lock().await;
        let mut members = 0_u64;
        loop {
            let mut unwritten = UnwrittenMembers { changes: self.live.changes(CHUNK), live: &self.live };
            let written = unwritten.changes.len();
            self.write_members(&**backing, &unwritten.changes).await?;
            unwritten.changes = Changes::default();
            members = members.saturating_add(written as u64);
            if written < CHUNK {
                return Ok(members);
            }
        }
    }

    async fn write_members(&self, backing: &dyn LiveSet, changes: &Changes) -> Result<(), StoreError> {
        if !changes.left.is_empty() {
            backing.leave(changes.left.clone()).await?;
        }
        let bound =
            changes.bound.iter().map(|(install, at)| Seen::Bound { install: install.clone(), at: *at });
        let seen = changes.seen.iter().map(|(member, at)| Seen::Member {
            member: member.clone(),
            at: *at,
            floor: self.floor(*at),
        });
        let seen: Vec<_> = bound.chain(seen).collect();
        if seen.is_empty() { Ok(()) } else { backing.touch(seen).await }
    }
}

/// Lets others run once: a store in memory never waits, and a flush of millions would hold up its thread.
async fn pause() {
    let mut has_paused = false;
    poll_fn(|cx| {
        if has_paused {
            return Poll::Ready(());
        }
        has_paused = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Changes of the members: they go back unless they were written.
struct UnwrittenMembers<'a> {
    changes: Changes,
    live: &'a MemoryLiveSet,
}

impl Drop for UnwrittenMembers<'_> {
    fn drop(&mut self) {
        self.live.put_back(&self.changes);
    }
}
