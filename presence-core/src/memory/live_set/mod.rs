//! The live set of one process.
//!
//! Ids are looked up once, in `index`, and stand for a slot from then on. A heartbeat writes the instant into its slot
//! and moves a counter from one second to another; it does not touch the queues. Those find who was *not* seen: each
//! member waits in the queue of a second no later than its last, and is moved on only when that second is looked at.
//! Who still waits there when the second is evicted is not read again: the queue as a whole moves to the graves.
//!
//! ```text
//! heartbeats of a         x     x       x
//! second               0  1  2  3  4  5  6  7  8
//! counted in              1     1       1             moves with each heartbeat
//! waits in                1 - - - - - > 6             moves when second 1 is looked at: late, and once
//! since 2.5, inclusive          [-----------------    the seconds from 3 on, and who of second 2 is not before 2.5
//! before 4.0           -----------)                   who still waits there, once moved on, was not seen again
//! ```
//!
//! Beside the slot of a user is its life, where [`Beats`](crate::Beats) keeps it: since when it is unbroken, and which
//! signs of it are still to be written. A slot with such signs is not freed, whoever leaves or is evicted.

mod buckets;
mod changes;
mod graves;
mod index;
mod lives;
mod living;
mod members;
mod name;
mod slots;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use foldhash::fast::RandomState;

pub use self::{
    changes::Changes,
    name::{InstallRef, MemberRef, SeenRef, UserRef},
};
pub(crate) use self::{
    lives::KeptSign,
    living::{Told, Unwritten, UserSign},
};
use self::{
    members::{Beat, Hashed, Members, Progress},
    name::Kind,
};
use crate::{LiveSet, Member, Seen, StoreError, Timestamp};

/// How many heartbeats of a batch are applied before the lock is let go: some 20 us.
const BATCH: usize = 256;

/// The most changes that are taken before the lock is let go: some 30 us.
const DRAIN: usize = 256;

/// How many steps of some 0.1 ms an eviction spends on those that earlier ones left behind: enough to be done within
/// half a minute of 100,000 at a call each second, and little beside a heartbeat's work in that second.
const CLEARED: usize = 4;

/// Who is online, in this process.
///
/// Exact to the millisecond at any distance, fastest near the newest instant. Time is an argument everywhere. The
/// methods of this type wait for nothing but a short lock, and [`touch`](Self::touch) allocates nothing for a member
/// that is known; [`LiveSet`] is implemented on top of them. A member costs about 90 bytes, and an id of more than 38
/// bytes an allocation besides.
/// Members are kept until they leave or are evicted, and their memory is then kept for the next ones: call
/// [`evict`](Self::evict) at intervals.
///
/// ```
/// use presence_core::{InstallRef, MemberRef, MemoryLiveSet, SeenRef, Timestamp, UserRef};
///
/// let online = MemoryLiveSet::new();
/// let (t0, t1) = (Timestamp::from_secs(1_000)?, Timestamp::from_secs(1_010)?);
///
/// let install = InstallRef::new("a1b2c3d4")?;
/// online.touch(SeenRef::Member { member: MemberRef::Install(install), at: t0, floor: Timestamp::MIN });
///
/// let alice = MemberRef::User(UserRef::new("alice")?);
/// online.touch(SeenRef::Member { member: alice, at: t1, floor: Timestamp::MIN });
/// online.touch(SeenRef::Bound { install, at: t1 });
///
/// assert_eq!(online.count(t0), 1);
/// assert_eq!(online.list(t0, None, 10)[0].0.to_string(), "u:alice");
/// # Ok::<(), presence_core::Rejection>(())
/// ```
pub struct MemoryLiveSet {
    // One lock: a heartbeat holds it for 100 to 300 ns and one of a batch for 50 to 75, nearly all cache misses. Maps of
    // 64 locked shards were measured slower on two cores than one core behind one lock that is taken per batch. Held
    // for one step of work, some 0.1 ms at most, but for who was last seen in the very second that a question begins
    // in; never across an await.
    members: Mutex<Members>,
    // Ids come from clients: with a seed of this process they cannot choose ids that collide.
    seed: RandomState,
}

impl MemoryLiveSet {
    /// An empty live set that keeps no record of changes.
    #[must_use]
    pub fn new() -> Self {
        Self { members: Mutex::new(Members::new(false)), seed: RandomState::default() }
    }

    /// An empty live set that keeps what changed until [`changes`](Self::changes) takes it. Somebody must: a member
    /// that left or was evicted keeps its memory until its change is taken.
    #[must_use]
    pub fn recording() -> Self {
        Self { members: Mutex::new(Members::new(true)), seed: RandomState::default() }
    }

    /// Takes one heartbeat.
    ///
    /// - A member was last seen at the latest of its heartbeats, in whatever order they come.
    /// - An install that a user was on stops being a member, and is bound at the latest such instant.
    /// - The heartbeat of an install that is bound at or after `floor` does nothing; one bound before it is a member
    ///   again, seen at `at`.
    pub fn touch(&self, seen: SeenRef<'_>) {
        let beat = self.beat(&seen);
        self.lock().touch_one(&beat);
    }

    /// Takes heartbeats, in order: several times as fast as one by one. The lock is taken once for each 256 of
    /// them; who reads meanwhile may see a part of a larger batch.
    pub fn touch_all(&self, seen: &[SeenRef<'_>]) {
        let mut beats = Vec::with_capacity(seen.len().min(BATCH));
        for batch in seen.chunks(BATCH) {
            beats.clear();
            beats.extend(batch.iter().map(|seen| self.beat(seen)));
            self.lock().touch_all(&beats);
        }
    }

    /// Removes a member, until its next heartbeat; an install that is bound stays bound.
    pub fn leave(&self, member: MemberRef<'_>) {
        let member = self.hashed(member);
        self.lock().leave(member);
    }

    /// How many members were seen at or after `since`.
    ///
    /// Adds up the seconds since, and reads who was last seen in the second of `since` itself, unless that is whole.
    /// Where many wait to be moved on, that is done in steps, and heartbeats go on between them; the answer is of
    /// one instant.
    #[must_use]
    pub fn count(&self, since: Timestamp) -> u64 {
        loop {
            if let Some(count) = self.lock().count(since) {
                return count;
            }
        }
    }

    /// At most `limit` members seen at or after `since` that come after `after`, and when last; ordered as written,
    /// byte by byte.
    ///
    /// Reads all members, 1,024 at a time, and keeps `limit`. Heartbeats go on between the steps: whoever is a member
    /// all the time is listed once, whoever comes or leaves meanwhile may be.
    #[must_use]
    pub fn list(
        &self,
        since: Timestamp,
        after: Option<MemberRef<'_>>,
        limit: usize,
    ) -> Vec<(Member, Timestamp)> {
        let after = after.map(key_of);
        let mut page = BTreeMap::new();
        for index in 0.. {
            let members = self.lock();
            let Some(seen) = members.seen(index, since).filter(|_| limit > 0) else { break };
            for slot in seen {
                let is_after = after.is_none_or(|after| after < slot.key());
                let last = page.last_key_value().filter(|_| page.len() >= limit);
                if !is_after || last.is_some_and(|(last, _)| key_of(MemberRef::from(last)) < slot.key()) {
                    continue;
                }
                page.insert(slot.member(), slot.last);
                if page.len() > limit {
                    page.pop_last();
                }
            }
        }
        page.into_iter().collect()
    }

    /// Forgets who was last seen, or bound, before `before`, oldest seconds first, at most `limit` of them, and says
    /// how many there were.
    ///
    /// A second that lies before `before` as a whole, and fits into `limit`, is forgotten at once: 100,000 members
    /// cost some microseconds, once those that were seen later have moved on. Its members are cleared away by the
    /// next evictions, 4,096 by each, and by whoever needs their memory. Only the second of `before`, where that is
    /// not whole, and the last one within the limit are read member by member. The lock is let go every 1,024 members.
    pub fn evict(&self, before: Timestamp, limit: usize) -> u64 {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        for _ in 0..CLEARED {
            if !self.lock().clear_away() {
                break;
            }
        }
        let mut evicted: u64 = 0;
        loop {
            let progress = self.lock().evict(before, limit.saturating_sub(evicted));
            match progress {
                Progress::More(count) => evicted = evicted.saturating_add(count),
                Progress::Done(count) => return evicted.saturating_add(count),
            }
        }
    }

    /// Takes what changed about at most `limit` members since it was last taken: nothing, unless the set is
    /// [`recording`](Self::recording). Fewer than `limit` members mean that nothing more is waiting.
    ///
    /// Whoever applies all changes in turn to a live set has the same members, but for what was evicted here: that is
    /// not a change, since everybody evicts. A change that could not be written goes back with
    /// [`put_back`](Self::put_back). A member that left counts once, though it may have come back.
    pub fn changes(&self, limit: usize) -> Changes {
        let mut changes = Changes::default();
        let mut left = limit;
        let mut chunks: usize = 0;
        while left > 0 {
            let mut members = self.lock();
            if chunks > members.chunks() {
                break;
            }
            match members.drain(left.min(DRAIN), &mut changes) {
                Progress::More(count) => left = left.saturating_sub(count),
                Progress::Done(count) => {
                    left = left.saturating_sub(count);
                    chunks = chunks.saturating_add(1);
                }
            }
        }
        changes
    }

    /// Puts changes back that could not be written: [`changes`](Self::changes) will say again what is then true of
    /// these members. Does nothing where the set is not [`recording`](Self::recording).
    pub fn put_back(&self, changes: &Changes) {
        let seen = changes.seen.iter().map(|(member, _)| MemberRef::from(member));
        let bound = changes.bound.iter().map(|(install, _)| MemberRef::Install(install.into()));
        for member in changes.left.iter().map(MemberRef::from) {
            let member = self.hashed(member);
            self.lock().owe(member, true);
        }
        for member in seen.chain(bound) {
            let member = self.hashed(member);
            self.lock().owe(member, false);
        }
    }

    /// When a member was last seen; `None` where it is none.
    #[must_use]
    pub fn last_seen(&self, member: MemberRef<'_>) -> Option<Timestamp> {
        let member = self.hashed(member);
        self.lock().last_seen(member)
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // Nothing behind the lock panics half way but for a bug, and then a live set that goes on is worth more than
        // one that stops: heartbeats mend it.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn beat<'a>(&self, seen: &SeenRef<'a>) -> Beat<'a> {
        Beat { member: self.hashed(seen.member()), seen: *seen }
    }

    #[inline]
    fn hashed<'a>(&self, member: MemberRef<'a>) -> Hashed<'a> {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u8(u8::from(member.kind() == Kind::User));
        hasher.write(member.text().as_bytes());
        Hashed { member, hash: (hasher.finish() >> 32) as u32 }
    }
}

impl Default for MemoryLiveSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLiveSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLiveSet").finish_non_exhaustive() // the members may be millions
    }
}

#[async_trait]
impl LiveSet for MemoryLiveSet {
    async fn touch(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        let seen: Vec<_> = seen.iter().map(SeenRef::from).collect();
        self.touch_all(&seen);
        Ok(())
    }

    async fn leave(&self, members: Vec<Member>) -> Result<(), StoreError> {
        members.iter().for_each(|member| self.leave(member.into()));
        Ok(())
    }

    async fn count(&self, since: Timestamp) -> Result<u64, StoreError> {
        Ok(self.count(since))
    }

    async fn list(
        &self,
        since: Timestamp,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Timestamp)>, StoreError> {
        Ok(self.list(since, after.as_ref().map(MemberRef::from), limit))
    }

    async fn evict(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        Ok(self.evict(before, limit))
    }
}

/// What orders members as they are written.
fn key_of(member: MemberRef<'_>) -> (Kind, &[u8]) {
    (member.kind(), member.text().as_bytes())
}
