//! How far a sink has come, and what it has out.

use std::{collections::BTreeMap, time::Duration};

use crate::{SinkName, cursor::Cursor, host::Now, ledger::Shared, segment::SegmentId};

/// A sink, as the relay sees it.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) name: SinkName,
    pub(crate) progress: BTreeMap<SegmentId, Progress>,
    /// Every file before this one is done.
    pub(crate) floor: SegmentId,
    pub(crate) held: Option<Held>,
    /// How many events a batch may have now: fewer while the one that is refused is looked for.
    pub(crate) limit: usize,
    pub(crate) failures: u32,
    /// Where the event is that was refused last, and how often it was.
    pub(crate) refused: Option<((SegmentId, u64), u32)>,
    pub(crate) not_before: Duration,
    /// Its destination is gone: it gets nothing.
    pub(crate) is_disabled: bool,
    pub(crate) settled: Settled,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) cursor: Cursor,
    pub(crate) is_done: bool,
    pub(crate) retry_at: Duration,
}

/// What became of lines since the start. `found` are those that were there at the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) found: u64,
    pub(crate) delivered: u64,
    pub(crate) dead: u64,
    pub(crate) quarantined: u64,
    pub(crate) blank: u64,
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    pub(crate) erased: u64,
}

/// A batch that is out.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: u64,
    pub(crate) segment: SegmentId,
    pub(crate) from: u64,
    /// One for each event.
    pub(crate) marks: Vec<Mark>,
    /// The end of what was read, and whether the file ends there.
    pub(crate) end: Mark,
    pub(crate) is_last: bool,
    pub(crate) since: Duration,
}

/// A place behind a line, and what was passed over to get there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) start: u64,
    pub(crate) cursor: Cursor,
    pub(crate) bad: u64,
    pub(crate) blank: u64,
    pub(crate) erased: u64,
}

impl Sink {
    pub(crate) fn new(name: SinkName, cursors: &BTreeMap<SegmentId, Cursor>, shared: &Shared) -> Self {
        let ledger = shared.lock();
        let mut found = 0;
        let mut progress = BTreeMap::new();
        for (id, segment) in &ledger.segments {
            let cursor = cursors.get(id).copied();
            found += segment.lines.unwrap_or(0).saturating_sub(cursor.map_or(0, |cursor| cursor.lines));
            if let Some(cursor) = cursor {
                let is_done = cursor.offset == segment.bytes;
                progress.insert(*id, Progress { cursor, is_done, retry_at: Duration::ZERO });
            }
        }
        Self {
            name,
            progress,
            floor: SegmentId::MIN,
            held: None,
            limit: shared.config.batch_size,
            failures: 0,
            refused: None,
            not_before: Duration::ZERO,
            is_disabled: false,
            settled: Settled { found, ..Settled::default() },
        }
    }

    /// The oldest file that it is not done with, and that can be tried now.
    pub(crate) fn next(&mut self, shared: &Shared, now: Now) -> Option<SegmentId> {
        let ledger = shared.lock();
        let mut is_first = true;
        for (&id, segment) in ledger.segments.range(self.floor..) {
            let progress = self.progress.get(&id).copied().unwrap_or_default();
            if progress.is_done || segment.is_over(now).is_some() {
                continue;
            }
            if is_first {
                self.floor = id;
                is_first = false;
            }
            if progress.retry_at <= now.tick {
                return Some(id);
            }
        }
        None
    }
}
