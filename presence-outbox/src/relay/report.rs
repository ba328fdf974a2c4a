//! What has become of every event, told by the relay.

use super::Relay;
use crate::{
    books::{Books, SinkBooks},
    fs::FileSystem,
    ledger::Segment,
    progress::Settled,
    segment::SegmentId,
};

impl<F: FileSystem> Relay<F> {
    /// What has become of everything.
    pub(crate) fn books(&self) -> Books {
        // Asked of the disk each time: while events are refused nobody else asks.
        let free = self.fs.free().ok().flatten();
        let ledger = self.shared.lock();
        let uncounted = ledger.segments.values().filter(|segment| segment.lines.is_none()).count();
        let sinks = self.sinks.iter().map(|sink| {
            let waits = |(id, segment): (&SegmentId, &Segment)| {
                let progress = sink.progress.get(id).copied().unwrap_or_default();
                // One that is done and not removed yet has nothing more for anybody.
                if progress.is_done {
                    0
                } else {
                    segment.lines.unwrap_or(segment.events).saturating_sub(progress.cursor.lines)
                }
            };
            let Settled { found, delivered, dead, quarantined, blank, expired, evicted, erased } =
                sink.settled;
            SinkBooks {
                sink: sink.name.clone(),
                found,
                pending: ledger.segments.iter().map(waits).sum::<u64>() + ledger.active_events,
                delivered,
                dead,
                quarantined,
                blank,
                expired,
                evicted,
                erased,
                failures: sink.failures,
                is_disabled: sink.is_disabled,
            }
        });
        Books {
            sinks: sinks.collect(),
            enqueued: ledger.enqueued,
            dropped: ledger.dropped,
            failed: ledger.failed,
            pending_bytes: ledger.pending_bytes(),
            pending_files: ledger.segments.len() as u64,
            uncounted_files: uncounted as u64,
            oldest_micros: ledger.segments.keys().next().map(|id| id.micros),
            corrupt_files: self.corrupt_files,
            kept_files: self.kept.files(),
            kept_bytes: self.kept.bytes(),
            removed_files: self.removed_files,
            is_failing: ledger.is_failing,
            is_short_of_space: free.is_some_and(|free| free < self.shared.config.reserve_bytes),
        }
    }
}
