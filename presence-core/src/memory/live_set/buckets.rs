//! Seconds: how many members were last seen in each, and who waits there to be looked at.

use std::{array, collections::BTreeMap};

use crate::Timestamp;

/// The last second that has a bucket of its own: 2106-02-07T06:28:14Z. Whatever is later shares it: still exact, since
/// the boundary bucket of a question is read member by member, only slower.
const LAST: u32 = u32::MAX - 1;

/// The second of `at`, at most [`LAST`], so that one more still fits.
#[inline]
pub(super) fn second_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_secs()).map_or(LAST, |second| second.min(LAST))
}

/// Whether the bucket of `at` holds nothing earlier than `at`.
pub(super) fn is_start(at: Timestamp) -> bool {
    at.as_millis() == i64::from(second_of(at)).saturating_mul(1000)
}

/// The seconds of one page. Small, since a lone member of 1970 costs one (2 KiB); large enough that the pages of
/// ten minutes fit into one node of the map.
const PAGE: usize = 64;
/// The bits of a second that say where in its page it is.
const PAGE_BITS: u32 = PAGE.trailing_zeros();

#[derive(Debug)]
struct Page {
    /// The sum of `counts`.
    count: u32,
    /// Which of the queues hold somebody, a bit each.
    queued: u64,
    counts: [u32; PAGE],
    queues: [Vec<u32>; PAGE],
}

impl Page {
    fn new() -> Self {
        Self { count: 0, queued: 0, counts: [0; PAGE], queues: array::from_fn(|_| Vec::new()) }
    }

    const fn is_empty(&self) -> bool {
        self.count == 0 && self.queued == 0
    }
}

/// A bucket per second in which somebody was seen or waits, at any distance from each other.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    pages: BTreeMap<u32, Box<Page>>,
}

impl Buckets {
    /// Counts one more member in `second`.
    #[inline]
    pub(super) fn add(&mut self, second: u32) {
        let (page, at) = self.page_mut(second);
        page.count = page.count.wrapping_add(1);
        page.counts[at] = page.counts[at].wrapping_add(1);
    }

    /// Counts one member less in `second`.
    #[inline]
    pub(super) fn remove(&mut self, second: u32) {
        let (page, at) = self.page_mut(second);
        page.count = page.count.wrapping_sub(1);
        page.counts[at] = page.counts[at].wrapping_sub(1);
        if page.is_empty() {
            self.pages.remove(&page_of(second).0);
        }
    }

    /// How many members were last seen in `second`.
    pub(super) fn count(&self, second: u32) -> u32 {
        let (page, at) = page_of(second);
        self.pages.get(&page).map_or(0, |page| page.counts[at])
    }

    /// How many members were last seen in `second` or later.
    pub(super) fn count_from(&self, second: u32) -> u64 {
        let (first, at) = page_of(second);
        let later = self.pages.range(first.saturating_add(1)..).map(|(_, page)| u64::from(page.count));
        let here = self.pages.get(&first).map_or(&[][..], |page| &page.counts[at..]);
        later.chain(here.iter().map(|count| u64::from(*count))).fold(0, u64::wrapping_add)
    }

    /// Queues `slot` in `second`, and says at which position.
    pub(super) fn push(&mut self, second: u32, slot: u32) -> u32 {
        let (page, at) = self.page_mut(second);
        let queue = &mut page.queues[at];
        // There are fewer slots than u32::MAX, and each waits once.
        let position = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        queue.push(slot);
        page.queued |= 1 << at;
        position
    }

    /// Takes out who waits at `position` of `second`, and says who waits there instead: the last of the queue.
    pub(super) fn take(&mut self, second: u32, position: u32) -> Option<u32> {
        let (page, at) = self.page_mut(second);
        let queue = &mut page.queues[at];
        queue.swap_remove(position as usize);
        if queue.is_empty() {
            *queue = Vec::new(); // a second that has passed is not filled again: return its memory
            page.queued &= !(1 << at);
            if page.is_empty() {
                self.pages.remove(&page_of(second).0);
            }
            return None;
        }
        queue.get(position as usize).copied()
    }

    /// Takes out all who wait in `second`, and counts nobody there any more.
    pub(super) fn take_all(&mut self, second: u32) -> Vec<u32> {
        let (number, at) = page_of(second);
        let Some(page) = self.pages.get_mut(&number) else { return Vec::new() };
        page.count = page.count.wrapping_sub(page.counts[at]);
        page.counts[at] = 0;
        page.queued &= !(1 << at);
        let queue = std::mem::take(&mut page.queues[at]);
        if page.is_empty() {
            self.pages.remove(&number);
        }
        queue
    }

    /// Who waits in `second`.
    pub(super) fn queue(&self, second: u32) -> &[u32] {
        let (page, at) = page_of(second);
        self.pages.get(&page).map_or(&[], |page| page.queues[at].as_slice())
    }

    /// The earliest second, from `from` on and before `to`, in which somebody waits.
    pub(super) fn first_queued(&self, from: u32, to: u32) -> Option<u32> {
        let (first, at) = page_of(from);
        let waiting = self.pages.range(first..).find_map(|(number, page)| {
            let queued = if *number == first { page.queued & (u64::MAX << at) } else { page.queued };
            let second = number.wrapping_mul(PAGE as u32).wrapping_add(queued.trailing_zeros());
            (queued != 0).then_some(second)
        });
        waiting.filter(|second| *second < to)
    }

    #[inline]
    fn page_mut(&mut self, second: u32) -> (&mut Page, usize) {
        let (page, at) = page_of(second);
        (self.pages.entry(page).or_insert_with(|| Box::new(Page::new())), at)
    }
}

/// The page of a second, and its place there.
#[inline]
const fn page_of(second: u32) -> (u32, usize) {
    (second >> PAGE_BITS, second as usize % PAGE)
}
