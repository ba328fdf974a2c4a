//! Files that are removed before every sink had them: their time is over, or they make room.

use std::time::Duration;

use super::Relay;
use crate::{DiscardReason, Signal, fs::FileSystem, host::Now, ledger::Segment, segment::SegmentId};

impl<F: FileSystem> Relay<F> {
    /// Removes the oldest file that nobody gets any more, and counts what each sink has not had of it; whether there is
    /// another.
    pub(super) fn discard_next(&mut self, now: Now) -> bool {
        let over = {
            let ledger = self.shared.lock();
            let over = ledger.segments.iter().map_while(|(id, segment)| Some((*id, segment.is_over(now)?)));
            over.filter(|(id, _)| self.is_free(*id)).take(2).collect::<Vec<_>>()
        };
        if let Some(&(id, reason)) = over.first() {
            self.discard(id, reason, now);
        }
        over.len() > 1
    }

    /// When [`Relay::discard_next`] has something to do, if time alone decides.
    pub(super) fn discard_at(&self) -> Option<Duration> {
        let ledger = self.shared.lock();
        let (_, segment) = ledger.segments.iter().find(|(id, _)| self.is_free(**id))?;
        let at = if segment.is_condemned { Duration::ZERO } else { segment.expires_at };
        Some(at).filter(|at| *at < Duration::MAX)
    }

    /// Whether no batch of it is out, and it is not on its way already.
    fn is_free(&self, id: SegmentId) -> bool {
        let is_out = |sink: &crate::progress::Sink| sink.held.as_ref().is_some_and(|held| held.segment == id);
        !self.leftover.contains(&id) && !self.sinks.iter().any(is_out)
    }

    fn discard(&mut self, id: SegmentId, reason: DiscardReason, now: Now) {
        // One that cannot be read has what this process wrote into it.
        let _ = self.count(id).map_err(|error| self.shared.fault("read", error));
        let Some(Segment { events, lines, .. }) = self.shared.lock().segments.get(&id).copied() else {
            return;
        };
        for sink in &mut self.sinks {
            let progress = sink.progress.entry(id).or_default();
            if progress.is_done {
                continue;
            }
            progress.is_done = true;
            let missed = lines.unwrap_or(events).saturating_sub(progress.cursor.lines);
            match reason {
                DiscardReason::Retention => sink.settled.expired += missed,
                DiscardReason::MaxBytes => sink.settled.evicted += missed,
            }
            if missed > 0 {
                self.shared.tell(&Signal::Discarded { sink: &sink.name, reason, events: missed });
            }
        }
        self.finish(id, now);
    }
}
