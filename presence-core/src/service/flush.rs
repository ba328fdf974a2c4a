//! What is in memory, written: nothing is forgotten before it is, and nothing twice.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    sync::{Mutex, PoisonError},
    task::Poll,
};

use foldhash::fast::RandomState;
use futures_util::future::join_all;

use crate::{
    Beat, Beats, Changes, LiveSet, MemoryLiveSet, Recorded, Seen, StoreError, UserId,
    service::pending::{Pending, Shard},
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
        for shard in 0..self.shards.len() {
            let mut dirty = Dirty { users: self.shard(shard).take_dirty(), shard: &self.shards[shard] };
            let mut kept = Vec::new();
            for users in dirty.users.chunks(CHUNK) {
                match self.flush_users(shard, users, &mut flush).await {
                    Ok(()) => {}
                    // Somebody's stored data is corrupt: the others need not wait for its repair.
                    Err(error @ StoreError::Corrupt(_)) => {
                        corrupt = Err(error);
                        kept.extend_from_slice(users);
                    }
                    Err(error) => return Err(error),
                }
                pause().await;
            }
            dirty.users = kept;
        }
        self.flush_members(&mut flush).await?;
        corrupt.map(|()| flush)
    }

    async fn flush_users(&self, shard: usize, users: &[UserId], flush: &mut Flush) -> Result<(), StoreError> {
        let timeout = self.tracker.policy().heartbeat_timeout;
        let pending: HashMap<UserId, Pending, RandomState> = {
            let mut pending = HashMap::with_capacity_and_hasher(users.len(), RandomState::default());
            let shard = self.shard(shard);
            pending
                .extend(users.iter().filter_map(|user| Some((user.clone(), shard.pending(user)?.clone()))));
            pending
        };
        if pending.is_empty() {
            return Ok(());
        }
        let beats = || pending.iter().map(|(user, beats)| beats.beat(user, timeout)).collect();
        let not_taken = match self.tracker.touch(beats()).await {
            // Nothing was written, and nobody knows whose data it was: each is recorded instead.
            Err(StoreError::Corrupt(_)) => beats(),
            not_taken => not_taken?,
        };
        // Together in one group, each as a call of its own: one whose data is corrupt fails alone.
        let record = |beat: &Beat| {
            let envelope = pending.get(&beat.user).map(|beats| beats.envelope(&beat.user));
            self.tracker.record_many(envelope.into_iter().collect())
        };
        let answers = join_all(not_taken.iter().map(record)).await;
        let mut shard = self.shard(shard);
        let mut failed = Ok(());
        for (beat, answer) in not_taken.iter().zip(answers) {
            match answer.map(|verdicts| verdicts.into_iter().next()) {
                Ok(Some(Ok(Recorded { session: Some(session), .. }))) => {
                    if let Some(beats) = pending.get(&beat.user) {
                        shard.settle(&beat.user, beats);
                    }
                    shard.learn(&beat.user, &session, timeout);
                }
                // Refused now is who was erased meanwhile: there is nobody to keep alive.
                Ok(_) => shard.forget(&beat.user),
                // Where the store failed otherwise too, that is what counts.
                Err(StoreError::Corrupt(_)) if failed.is_err() => {}
                Err(error) => failed = Err(error),
            }
        }
        let not_taken_users: HashSet<_> = not_taken.iter().map(|beat| &beat.user).collect();
        let taken = pending.iter().filter(|(user, _)| !not_taken_users.contains(user));
        taken.for_each(|(user, beats)| shard.settle(user, beats));
        failed?;
        flush.beats = flush.beats.saturating_add(pending.len() as u64);
        flush.recorded = flush.recorded.saturating_add(not_taken.len() as u64);
        Ok(())
    }

    pub(super) async fn flush_members(&self, flush: &mut Flush) -> Result<(), StoreError> {
        let Some(backing) = &self.backing else { return Ok(()) };
        loop {
            let mut unwritten = Unwritten { changes: self.live.changes(CHUNK), live: &self.live };
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

/// The dirty users of a shard: what is left of them goes back, also when the flush is dropped half way.
struct Dirty<'a> {
    users: Vec<UserId>,
    shard: &'a Mutex<Shard>,
}

impl Drop for Dirty<'_> {
    fn drop(&mut self) {
        if !self.users.is_empty() {
            let mut shard = self.shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.put_back(std::mem::take(&mut self.users));
        }
    }
}

/// Changes of the members: they go back unless they were written.
struct Unwritten<'a> {
    changes: Changes,
    live: &'a MemoryLiveSet,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.live.put_back(&self.changes);
    }
}
