//! Members that were evicted as a whole second, and have not been taken apart yet.
//!
//! To take one apart is to miss the cache twice, in the index and at its slot: 80 ns each, 8 ms for 100,000. So the
//! queue of a second is moved here as it is, and its members are found dead by where they say that they wait.

use std::collections::BTreeMap;

use super::slots::Slot;

/// The queues of evicted seconds.
#[derive(Debug, Default)]
pub(super) struct Graves {
    /// None is empty.
    queues: BTreeMap<u32, Vec<u32>>,
    /// The second after the latest of them, so that a heartbeat looks no further: who lives waits later, but for
    /// those whose heartbeats came late.
    end: u32,
}

impl Graves {
    /// Whether the slot `id` is that of a dead member.
    ///
    /// Both sides have to agree: a grave stays while others wait in the same second again, at the same positions,
    /// and a free slot still says where its last member waited.
    #[inline]
    pub(super) fn holds(&self, id: u32, slot: &Slot) -> bool {
        slot.queue < self.end && self.holds_at(slot.queue, slot.position, id)
    }

    #[cold]
    fn holds_at(&self, second: u32, position: u32, id: u32) -> bool {
        self.queues.get(&second).is_some_and(|queue| queue.get(position as usize) == Some(&id))
    }

    /// Whether nobody of `second` is here.
    pub(super) fn is_vacant(&self, second: u32) -> bool {
        !self.queues.contains_key(&second)
    }

    /// Takes over all who wait in `second`, which has to be vacant: two queues do not share their positions.
    pub(super) fn bury(&mut self, second: u32, queue: Vec<u32>) {
        if !queue.is_empty() {
            self.queues.insert(second, queue);
            self.end = self.end.max(second.saturating_add(1));
        }
    }

    /// Takes out who lies at `position` of `second`, and says who lies there instead: the last of that second.
    pub(super) fn take(&mut self, second: u32, position: u32) -> Option<u32> {
        let queue = self.queues.get_mut(&second)?;
        queue.swap_remove(position as usize);
        if queue.is_empty() {
            self.queues.remove(&second);
            self.end = self.queues.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
            return None;
        }
        queue.get(position as usize).copied()
    }

    /// The dead of the latest second, which go first: then `end` moves back soonest.
    pub(super) fn latest(&self) -> &[u32] {
        self.queues.last_key_value().map_or(&[], |(_, queue)| queue)
    }
}
