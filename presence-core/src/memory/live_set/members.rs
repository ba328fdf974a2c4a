//! What is behind the lock: the rules of the live set over slots, index and buckets.

mod eviction;
mod living;

use std::{collections::HashMap, hint::black_box};

use foldhash::fast::RandomState;

use super::{
    buckets::{Buckets, is_start, second_of},
    changes::Changes,
    graves::Graves,
    index::Index,
    lives::States,
    name::{MemberRef, SeenRef},
    slots::{Owed, Slot, Slots, State},
};
use crate::{StateType, Timestamp, UserId};

/// How many members are looked at together, so that their cache misses overlap: one by one, each costs 100 ns or more.
const GROUP: usize = 32;

/// How many groups are worked through before the lock is let go: some 0.1 ms.
const GROUPS: usize = 32;

/// A member and its hash, which is computed before the lock is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<'a> {
    pub(super) member: MemberRef<'a>,
    pub(super) hash: u32,
}

/// A heartbeat, ready to be applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat<'a> {
    pub(super) member: Hashed<'a>,
    pub(super) seen: SeenRef<'a>,
}

/// A heartbeat of a user, on an install or on none, ready to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserBeat<'a> {
    pub(super) user: Hashed<'a>,
    pub(super) install: Option<Hashed<'a>>,
    pub(super) at: Timestamp,
    pub(super) wakes_to: Option<&'a StateType>,
}

/// A user about whom somebody waits for an answer of a store.
#[derive(Debug, Default)]
struct Awaited {
    /// How many wait.
    calls: usize,
    /// How often the user stopped being live meanwhile: an answer from before then may be stale.
    ended: u64,
}

/// What became of a piece of work that may stop half way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress<T> {
    Done(T),
    /// The lock was held long enough; there is more to do.
    More(T),
}

/// All members.
///
/// Two rules tie a slot to the buckets. A present member is counted in the second of its `last`. A present or bound
/// one waits in the queue of the second `queue`, which is never later than that of its `last`, and equal to it where
/// the queue is `armed`.
///
/// A slot that the graves hold follows neither, and says what was true of its member when it died: that is absent, for
/// whoever asks, and known again only once it is exhumed.
#[derive(Debug)]
pub(super) struct Members {
    slots: Slots,
    index: Index,
    buckets: Buckets,
    graves: Graves,
    states: States,
    /// About whom somebody waits for an answer of a store.
    awaited: HashMap<UserId, Awaited, RandomState>,
    /// All queues before this second are armed, but for the rest of the last of them.
    armed_to: u32,
    /// How many members at the front of the last armed queue are still to be looked at.
    unarmed: usize,
    /// When a user was last on a present install. Few installs become members again while that is remembered, so they
    /// are not worth a place in every slot.
    bindings: HashMap<u32, Timestamp, RandomState>,
    /// Whether changes are kept until they are drained.
    is_recording: bool,
    /// The chunk where the next drain begins.
    drained_to: usize,
}

impl Members {
    pub(super) fn new(is_recording: bool) -> Self {
        Self {
            slots: Slots::new(),
            index: Index::new(),
            buckets: Buckets::default(),
            graves: Graves::default(),
            states: States::new(),
            awaited: HashMap::default(),
            armed_to: 0,
            unarmed: 0,
            bindings: HashMap::default(),
            is_recording,
            drained_to: 0,
        }
    }

    /// Applies heartbeats, in order.
    pub(super) fn touch_all(&mut self, beats: &[Beat<'_>]) {
        for group in beats.chunks(GROUP) {
            // First look everybody up by hash alone, then load the slots, and only then work on them: reads that do
            // not wait for each other overlap. A slot that is released meanwhile has no name, or another one.
            let mut guesses = [None; GROUP];
            for (guess, beat) in guesses.iter_mut().zip(group) {
                *guess = self.guess(beat.member);
            }
            for id in guesses.into_iter().flatten() {
                black_box(self.slots[id].last);
            }
            for (guess, beat) in guesses.into_iter().zip(group) {
                self.touch(beat, guess);
            }
        }
    }

    /// Applies one heartbeat.
    pub(super) fn touch_one(&mut self, beat: &Beat<'_>) {
        self.touch(beat, None);
    }

    /// Removes a member; a bound install stays bound.
    pub(super) fn leave(&mut self, member: Hashed<'_>) {
        if let Some(id) = self.find_living(member)
            && self.slots[id].state == State::Present
        {
            match self.bindings.get(&id).copied() {
                Some(bound) => self.bind(id, bound),
                None => self.forget(id, self.is_recording),
            }
        }
    }

    pub(super) fn last_seen(&self, member: Hashed<'_>) -> Option<Timestamp> {
        let slot = &self.slots[self.find_living(member)?];
        (slot.state == State::Present).then_some(slot.last)
    }

    /// How many members were seen at or after `since`; `None` where the answer takes another call.
    pub(super) fn count(&mut self, since: Timestamp) -> Option<u64> {
        let second = second_of(since);
        if is_start(since) {
            return Some(self.buckets.count_from(second));
        }
        let later = self.buckets.count_from(second.saturating_add(1));
        if self.buckets.count(second) == 0 {
            return Some(later);
        }
        if !self.arm(second) {
            return None;
        }
        let queue = self.buckets.queue(second).iter().map(|id| &self.slots[*id]);
        let here = queue.filter(|slot| is_seen(slot, since)).fold(0, |sum: u64, _| sum.wrapping_add(1));
        Some(later.wrapping_add(here))
    }

    /// Who of one chunk was seen at or after `since`, for a reader that takes the chunks in turn; none where there is
    /// no such chunk.
    pub(super) fn seen(&self, chunk: usize, since: Timestamp) -> Option<impl Iterator<Item = &Slot>> {
        let seen = self.slots.chunk(chunk)?.filter(move |(_, slot)| is_seen(slot, since));
        Some(seen.filter(|(id, slot)| !self.graves.holds(*id, slot)).map(|(_, slot)| slot))
    }

    /// Adds to `changes` what is owed about at most `limit` members of the chunk whose turn it is, and says about how
    /// many. Done is the chunk; the next call goes on with the next one.
    pub(super) fn drain(&mut self, limit: usize, changes: &mut Changes) -> Progress<usize> {
        for taken in 0..limit {
            let Some(id) = self.slots.owing(self.drained_to) else {
                let next = self.drained_to.saturating_add(1);
                self.drained_to = if next < self.slots.chunks() { next } else { 0 };
                return Progress::Done(taken);
            };
            if self.graves.holds(id, &self.slots[id]) {
                self.exhume(id);
            }
            let slot = &self.slots[id];
            let state = slot.state;
            if slot.owed == Owed::Departure {
                changes.left.push(slot.member());
            }
            match state {
                State::Present => changes.seen.push((slot.member(), slot.last)),
                State::Bound => changes.bound.push((slot.install(), slot.last)),
                State::Gone | State::Free => {}
            }
            if state == State::Gone {
                self.release(id);
            } else {
                self.slots.settle(id);
            }
        }
        Progress::More(limit)
    }

    /// The number of chunks that a full drain goes through.
    pub(super) fn chunks(&self) -> usize {
        self.slots.chunks()
    }

    /// Owes another report about `member`, of what is then true of it.
    pub(super) fn owe(&mut self, member: Hashed<'_>, is_departure: bool) {
        if !self.is_recording {
            return;
        }
        let id = self.find_or_insert(member);
        if self.graves.holds(id, &self.slots[id]) {
            self.exhume(id);
        }
        let is_gone = self.slots[id].state == State::Gone;
        self.slots.owe(id, if is_departure || is_gone { Owed::Departure } else { Owed::State });
    }

    // As a call, it keeps the misses of one heartbeat from overlapping those of the next: 15 % of a batch, measured
    // with a bound install for each user.
    #[inline(always)]
    fn touch(&mut self, beat: &Beat<'_>, guess: Option<u32>) {
        let id = self.confirm(beat.member, guess);
        if self.graves.holds(id, &self.slots[id]) {
            self.exhume(id);
        }
        match beat.seen {
            SeenRef::Member { at, floor, .. } => self.see(id, at, floor),
            SeenRef::Bound { at, .. } => self.bind(id, at),
        }
    }

    /// Notes that a member was seen at `at`.
    #[inline]
    fn see(&mut self, id: u32, at: Timestamp, floor: Timestamp) {
        let slot = &self.slots[id];
        let (state, last) = (slot.state, slot.last);
        match state {
            State::Present if at <= last => return,
            State::Bound if floor <= last => return,
            State::Present => {
                let (from, to) = (second_of(last), second_of(at));
                if from != to {
                    self.buckets.add(to);
                    self.buckets.remove(from);
                }
            }
            State::Bound => {
                self.bindings.insert(id, last);
                self.buckets.add(second_of(at));
            }
            State::Gone | State::Free => self.buckets.add(second_of(at)),
        }
        self.place(id, State::Present, at);
    }

    /// Notes that a user was on an install at `at`.
    fn bind(&mut self, id: u32, at: Timestamp) {
        let slot = &self.slots[id];
        let mut latest = at;
        match slot.state {
            State::Bound if at <= slot.last => return,
            State::Present => {
                self.buckets.remove(second_of(slot.last));
                latest = self.bindings.remove(&id).map_or(at, |bound| bound.max(at));
            }
            State::Bound | State::Gone | State::Free => {}
        }
        self.place(id, State::Bound, latest);
    }

    /// Gives a member its state and instant, and a place in a queue where it needs another one.
    #[inline]
    fn place(&mut self, id: u32, state: State, at: Timestamp) {
        let armed_to = self.armed_to;
        let slot = &mut self.slots[id];
        let was = slot.state;
        // Another live set keeps the latest instant that it hears of: where that was not it, it must forget first.
        let owed = if at < slot.last && was != State::Gone { Owed::Departure } else { Owed::State };
        slot.last = at;
        slot.state = state;
        let (queue, second) = (slot.queue, second_of(at));
        if was == State::Gone {
            self.enqueue(id, second);
        } else if second < queue || (queue < armed_to && queue != second) {
            self.dequeue(id);
            self.enqueue(id, second);
        }
        if self.is_recording {
            self.slots.owe(id, owed);
        }
    }

    /// Makes a member absent. Its slot is kept while a change report owes its departure.
    fn forget(&mut self, id: u32, is_departure: bool) {
        let slot = &self.slots[id];
        if slot.state == State::Present {
            self.buckets.remove(second_of(slot.last));
            self.bindings.remove(&id);
        }
        self.dequeue(id);
        if is_departure {
            self.slots[id].state = State::Gone;
            self.slots.owe(id, Owed::Departure);
        } else {
            self.release(id);
        }
    }

    /// Moves everybody who waits in a queue up to `second`, but was seen in a later second, into the queue of that
    /// one; `false` where that takes another call.
    fn arm(&mut self, second: u32) -> bool {
        (0..GROUPS).any(|_| self.arm_some(second))
    }

    /// The next step of [`arm`](Self::arm): `true` where there is nothing more to move.
    fn arm_some(&mut self, second: u32) -> bool {
        let arming = self.armed_to.saturating_sub(1);
        self.unarmed = self.unarmed.min(self.buckets.queue(arming).len());
        if self.unarmed > 0 && arming <= second {
            self.arm_group(arming);
            return false;
        }
        // Only queues that hold somebody count as armed: an instant far ahead costs nothing later.
        let Some(next) = self.buckets.first_queued(self.armed_to, second.saturating_add(1)) else {
            return true;
        };
        self.armed_to = next.saturating_add(1);
        self.unarmed = self.buckets.queue(next).len();
        false
    }

    /// Looks at the last group of the part of `second`'s queue that is not armed yet. Whoever takes the place of one
    /// that moves on was behind it, and so has been looked at.
    fn arm_group(&mut self, second: u32) {
        let (group, length) = self.group(&self.buckets.queue(second)[..self.unarmed]);
        for id in group.into_iter().take(length).rev() {
            self.rearm(id);
        }
        self.unarmed = self.unarmed.saturating_sub(length);
    }

    /// Moves a member on to the queue of its own second; `false` where it is there already.
    fn rearm(&mut self, id: u32) -> bool {
        let slot = &self.slots[id];
        let second = second_of(slot.last);
        if slot.queue == second {
            return false;
        }
        self.dequeue(id);
        self.enqueue(id, second);
        true
    }

    /// The last members of a queue, at most a group, with their slots loaded; and how many.
    fn group(&self, queue: &[u32]) -> ([u32; GROUP], usize) {
        let last = &queue[queue.len().saturating_sub(GROUP)..];
        let Some(first) = last.first() else { return ([0; GROUP], 0) };
        let mut group = [*first; GROUP];
        group[..last.len()].copy_from_slice(last);
        for id in group {
            black_box(self.slots[id].last);
        }
        (group, last.len())
    }

    fn enqueue(&mut self, id: u32, second: u32) {
        let position = self.buckets.push(second, id);
        let slot = &mut self.slots[id];
        slot.queue = second;
        slot.position = position;
    }

    fn dequeue(&mut self, id: u32) {
        let slot = &self.slots[id];
        let position = slot.position;
        if let Some(moved) = self.buckets.take(slot.queue, position) {
            self.slots[moved].position = position;
        }
    }

    /// Frees the slot of a member that is absent, and of which nothing is owed; not yet where beats of it are to be
    /// written.
    fn release(&mut self, id: u32) {
        if self.slots.is_pending(id) {
            self.slots.settle(id);
            self.slots[id].state = State::Gone;
            return;
        }
        self.index.remove(self.slots[id].hash, id);
        self.slots.release(id);
    }

    /// The slot of `member`, with or without a guess that may be wrong.
    #[inline]
    fn confirm(&mut self, member: Hashed<'_>, guess: Option<u32>) -> u32 {
        match guess {
            Some(id) if self.slots[id].is(member.member) => id,
            _ => self.find_or_insert(member),
        }
    }

    #[inline]
    fn find_or_insert(&mut self, member: Hashed<'_>) -> u32 {
        self.find(member).unwrap_or_else(|| self.insert(member))
    }

    /// A slot for a member that has none. Apart from the search, which every heartbeat does.
    #[inline(never)]
    fn insert(&mut self, member: Hashed<'_>) -> u32 {
        // The dead make room before more memory is taken, a group at a time, since that overlaps its misses.
        if self.slots.is_full(member.member.kind()) {
            self.clear_group();
        }
        let id = self.slots.insert(member.member, member.hash);
        self.index.insert(member.hash, id);
        id
    }

    #[inline]
    fn find(&self, member: Hashed<'_>) -> Option<u32> {
        self.index.find(member.hash, |id| self.slots[id].is(member.member))
    }

    fn find_living(&self, member: Hashed<'_>) -> Option<u32> {
        self.find(member).filter(|id| !self.graves.holds(*id, &self.slots[*id]))
    }

    /// A slot with the hash of `member`: nearly always its own.
    #[inline]
    fn guess(&self, member: Hashed<'_>) -> Option<u32> {
        self.index.find(member.hash, |_| true)
    }
}

/// Whether a slot holds a member that was seen at or after `since`.
fn is_seen(slot: &Slot, since: Timestamp) -> bool {
    slot.state == State::Present && since <= slot.last
}
