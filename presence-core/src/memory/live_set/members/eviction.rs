//! Who was not seen for long enough: forgotten one by one, or buried as a whole second and cleared away later.

use std::hint::black_box;

use super::{
    super::{
        buckets::{is_start, second_of},
        slots::{Owed, State},
    },
    GROUP, GROUPS, Members, Progress,
};
use crate::Timestamp;

impl Members {
    /// Forgets at most `limit` entries whose time lies before `before`, and says how many.
    pub(in super::super) fn evict(&mut self, before: Timestamp, limit: u64) -> Progress<u64> {
        let boundary = second_of(before);
        let mut left = limit;
        for _ in 0..GROUPS {
            if left == 0 {
                return Progress::Done(limit);
            }
            let Some(second) = self.buckets.first_queued(0, boundary) else {
                left = match self.evict_within(boundary, before, left) {
                    Some(left) => left,
                    None => return Progress::More(limit.saturating_sub(left)),
                };
                return Progress::Done(limit.saturating_sub(left));
            };
            let waiting = self.buckets.queue(second).len() as u64;
            if waiting > left || !self.graves.is_vacant(second) {
                left = self.evict_last(second, left);
            } else if self.arm_some(second) {
                left = left.saturating_sub(self.bury(second));
            }
        }
        Progress::More(limit.saturating_sub(left))
    }

    /// Clears away the dead that were evicted last, as many as one step takes, and says whether there may be more.
    pub(in super::super) fn clear_away(&mut self) -> bool {
        (0..GROUPS).all(|_| self.clear_group())
    }

    /// Clears away a group of the dead, so that their slots serve others; `false` where nobody is dead.
    pub(super) fn clear_group(&mut self) -> bool {
        let dead = self.graves.latest();
        if dead.is_empty() {
            return false;
        }
        let (group, length) = self.group(dead);
        self.load_entries(&group);
        for id in group.into_iter().take(length).rev() {
            self.exhume(id);
            if self.slots[id].owed == Owed::Nothing {
                self.release(id);
            }
        }
        true
    }

    /// Takes a dead member out of its grave: it is absent then, as if it had been forgotten alone.
    #[cold]
    pub(super) fn exhume(&mut self, id: u32) {
        self.bindings.remove(&id);
        let slot = &mut self.slots[id];
        slot.state = State::Gone;
        let (position, owed) = (slot.position, slot.owed);
        if let Some(moved) = self.graves.take(slot.queue, position) {
            self.slots[moved].position = position;
        }
        if owed != Owed::Nothing {
            self.slots.owe(id, Owed::Departure);
        }
    }

    /// Forgets all who wait in `second`, the first in which anybody waits, and armed; says how many.
    ///
    /// No slot is read. All of them were last seen in that second, and nobody else was: who was waits there or in an
    /// earlier second. So it counts nobody any more.
    fn bury(&mut self, second: u32) -> u64 {
        let queue = self.buckets.take_all(second);
        let length = queue.len() as u64;
        self.graves.bury(second, queue);
        length
    }

    /// Forgets or moves on the last group that waits in `second`, which has passed altogether; says how much is
    /// left of the limit.
    fn evict_last(&mut self, second: u32, mut left: u64) -> u64 {
        let (group, length) = self.group(self.buckets.queue(second));
        self.load_entries(&group);
        for id in group.into_iter().take(length).rev() {
            if self.rearm(id) {
                continue;
            }
            if left == 0 {
                break;
            }
            self.forget(id, self.slots[id].owed != Owed::Nothing);
            left = left.saturating_sub(1);
        }
        left
    }

    /// Forgets who waits in the second of `before`, but was last seen before it; says how much is left of the limit,
    /// or `None` where that takes another call.
    fn evict_within(&mut self, second: u32, before: Timestamp, mut left: u64) -> Option<u64> {
        if is_start(before) {
            return Some(left);
        }
        if !self.arm(second) {
            return None;
        }
        let mut rest = self.buckets.queue(second).len();
        while rest > 0 && left > 0 {
            rest = rest.saturating_sub(1);
            let id = self.buckets.queue(second)[rest];
            if self.slots[id].last < before {
                self.forget(id, self.slots[id].owed != Owed::Nothing);
                left = left.saturating_sub(1);
            }
        }
        Some(left)
    }

    /// Reads where the index has the members of a group, whose slots are loaded: they are about to be taken out.
    fn load_entries(&self, group: &[u32; GROUP]) {
        let hashes = group.map(|id| self.slots[id].hash);
        for (id, hash) in group.iter().zip(hashes) {
            black_box(self.index.find(hash, |slot| slot == *id));
        }
    }
}
