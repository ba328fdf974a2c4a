//! What the tracking outbox tells of itself.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use presence_outbox::{DropReason, SealReason, Signal, Telemetry};
use prometheus_client::encoding::DescriptorEncoder;

use super::{histogram::Histogram, text::Text};
use crate::traffic::Count;

const SEALED: [SealReason; 5] = [
    SealReason::BatchSize,
    SealReason::FlushInterval,
    SealReason::Startup,
    SealReason::Asked,
    SealReason::Fault,
];

/// What the outbox tells of itself.
#[derive(Debug, Default)]
pub(crate) struct TrackingCounters {
    pending_bytes: AtomicU64,
    pending_files: AtomicU64,
    enqueued: Count,
    dropped: Count,
    discarded: Count,
    dead: Count,
    sealed: [Count; SEALED.len()],
    corrupt_files: Count,
    flushed: Count,
    failures: Count,
    durations: Histogram,
}

impl Telemetry for TrackingCounters {
    fn tell(&self, signal: &Signal<'_>) {
        match signal {
            Signal::PendingBytes(bytes) => self.pending_bytes.store(*bytes, Relaxed),
            Signal::PendingFiles(files) => self.pending_files.store(*files, Relaxed),
            Signal::Enqueued { events } => self.enqueued.add(*events),
            Signal::Dropped { events, .. } => self.dropped.add(*events),
            Signal::Discarded { events, .. } => self.discarded.add(*events),
            Signal::DeadLetter { .. } => self.dead.add(1),
            Signal::Sealed { reason } => {
                let place = SEALED.iter().position(|known| known == reason);
                place.and_then(|place| self.sealed.get(place)).into_iter().for_each(|count| count.add(1));
            }
            Signal::CorruptFile { lines } => {
                self.corrupt_files.add(1);
                tracing::warn!(lines, "lines of the tracking outbox cannot be read, and are put aside");
            }
            Signal::Flushed { elapsed, events, has_failed, .. } => {
                self.durations.observe(*elapsed);
                self.flushed.add(*events);
                self.failures.add((*has_failed).into());
            }
            Signal::Fault { task, error } => {
                tracing::warn!(task, %error, "the directory of the tracking outbox fails");
            }
            _ => {}
        }
    }
}

impl TrackingCounters {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (bytes, files) = (self.pending_bytes.load(Relaxed), self.pending_files.load(Relaxed));
        encoder.gauge(
            "tracking_outbox_pending_bytes",
            "Bytes of events that wait in the tracking outbox.",
            i64::try_from(bytes).unwrap_or(i64::MAX),
        )?;
        encoder.gauge(
            "tracking_outbox_pending_files",
            "Sealed files of the tracking outbox.",
            i64::try_from(files).unwrap_or(i64::MAX),
        )?;
        encoder.counter(
            "tracking_outbox_enqueued",
            "Events that the tracking outbox took.",
            self.enqueued.get(),
        )?;
        let dropped = [([("reason", DropReason::MaxBytes.as_str())], self.dropped.get())];
        encoder.counters(
            "tracking_outbox_dropped",
            "Events that it had no room for; they go to the store at once, or are refused.",
            dropped.into_iter(),
        )?;
        encoder.counter(
            "tracking_outbox_discarded",
            "Events that waited for too long, and are gone.",
            self.discarded.get(),
        )?;
        encoder.counter(
            "tracking_outbox_dead_letters",
            "Events that the store refused for good; they lie in the directory with the reason.",
            self.dead.get(),
        )?;
        let sealed = SEALED.iter().zip(&self.sealed);
        encoder.counters(
            "tracking_outbox_sealed",
            "Files that were sealed, by the reason.",
            sealed.map(|(reason, count)| ([("reason", reason.as_str())], count.get())),
        )?;
        encoder.counter(
            "tracking_outbox_corrupt_files",
            "Files of lines that could not be read and were put aside.",
            self.corrupt_files.get(),
        )?;
        let mut durations = encoder.durations(
            "tracking_outbox_flush_duration",
            "From the claim of a batch of the tracking outbox to its end.",
        )?;
        self.durations.encode(&mut durations, &[("sink", "store")])?;
        encoder.counter(
            "tracking_outbox_flushed_events",
            "Events that went from the tracking outbox to the store.",
            self.flushed.get(),
        )?;
        encoder.counter(
            "tracking_outbox_flush_failures",
            "Batches of the tracking outbox that the store did not take as a whole.",
            self.failures.get(),
        )
    }
}
