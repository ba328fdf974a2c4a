//! What is in memory, written: nothing is forgotten before it is, and nothing twice.

use std::{collections::HashSet, future::poll_fn, task::Poll};

use futures_util::future::join_all;

use crate::{
    Beats, Changes, LiveSet, MemoryLiveSet, Recorded, Seen, StoreError,
    memory::live_set::{Told, Unwritten},
};

/// The most beats or members of one write.
const CHUNK: usize = 10_000;

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

impl Beats {
    /// Writes what is pending: beats to the tracker's store, members to the backing live set.
    ///
    /// # Errors
    ///
    /// The store failed; what was not written stays pending, and is written by the next flush.
    pub async fn flush(&self) -> Result<Flush, StoreError> {
        let _flushing = self.flushing.lock().await;
        let (mut flush, mut corrupt) = (Flush::default(), Ok(()));
        let mut pending = Vec::new();
        for part in 0.. {
            let more = self.live.pending_in(part);
            let is_last = more.is_none();
            pending.extend(more.into_iter().flatten());
            if pending.len() >= CHUNK || (is_last && !pending.is_empty()) {
                match self.flush_users(&pending, &mut flush).await {
                    Ok(()) => {}
                    // Somebody's stored data is corrupt: the others need not wait for its repair.
                    Err(error @ StoreError::Corrupt(_)) => corrupt = Err(error),
                    Err(error) => return Err(error),
                }
                pending.clear();
                pause().await;
            }
            if is_last {
                break;
            }
        }
        self.flush_members(&mut flush).await?;
        corrupt.map(|()| flush)
    }

    async fn flush_users(&self, pending: &[Unwritten], flush: &mut Flush) -> Result<(), StoreError> {
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
        flush.beats = flush.beats.saturating_add(pending.len() as u64);
        flush.recorded = flush.recorded.saturating_add(owed.len() as u64);
        Ok(())
    }

    pub(super) async fn flush_members(&self, flush: &mut Flush) -> Result<(), StoreError> {
        let Some(backing) = &self.backing else { return Ok(()) };
        loop {
            let mut unwritten = UnwrittenMembers { changes: self.live.changes(CHUNK), live: &self.live };
            let written = unwritten.changes.len();
            self.write_members(&**backing, &unwritten.changes).await?;
            unwritten.changes = Changes::default();
            flush.members = flush.members.saturating_add(written as u64);
            if written < CHUNK {
                return Ok(());
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
