//! What an outbox tells about itself while it works.

use std::{io, time::Duration};

use crate::SinkName;

/// Is told what happens, on the outbox's own threads: it should count, and be gone.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// use presence_outbox::{OutboxConfig, Signal, Telemetry};
///
/// #[derive(Default)]
/// struct Counters {
///     enqueued: AtomicU64,
/// }
///
/// impl Telemetry for Counters {
///     fn tell(&self, signal: &Signal<'_>) {
///         if let Signal::Enqueued { events } = signal {
///             self.enqueued.fetch_add(*events, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let counters = Arc::new(Counters::default());
/// let config = OutboxConfig::new("outbox").telemetry(counters.clone());
/// ```
pub trait Telemetry: Send + Sync {
    /// Something happened.
    fn tell(&self, signal: &Signal<'_>);
}

impl<T: Telemetry + ?Sized> Telemetry for std::sync::Arc<T> {
    fn tell(&self, signal: &Signal<'_>) {
        (**self).tell(signal);
    }
}

/// Something that happened. No signal carries anything of an event.
#[derive(Debug)]
#[non_exhaustive]
pub enum Signal<'a> {
    /// How many bytes wait to be delivered: at the start, and whenever that changes.
    PendingBytes(u64),
    /// How many sealed files there are: whenever that changes, and before each batch.
    PendingFiles(u64),
    /// Events were enqueued.
    Enqueued {
        /// How many.
        events: u64,
    },
    /// Events were dropped.
    Dropped {
        /// Why.
        reason: DropReason,
        /// How many.
        events: u64,
    },
    /// A sealed file was removed before a sink had all of it.
    Discarded {
        /// Who misses them.
        sink: &'a SinkName,
        /// Why.
        reason: DiscardReason,
        /// How many events.
        events: u64,
    },
    /// Lines of a file were erased.
    Erased {
        /// How many.
        lines: u64,
    },
    /// The active file was sealed.
    Sealed {
        /// Why.
        reason: SealReason,
    },
    /// Lines that cannot be read were moved to a new `corrupt-*` file.
    CorruptFile {
        /// How many lines.
        lines: u64,
    },
    /// An event became a dead letter.
    DeadLetter {
        /// Who refused it.
        sink: &'a SinkName,
    },
    /// A sink's destination is gone, and the sink gets nothing until somebody enables it. Its events are kept as long as
    /// files are: somebody should know.
    Disabled {
        /// Which sink.
        sink: &'a SinkName,
    },
    /// A `corrupt-*` or `dead-*` file was removed, because there were too many bytes of them.
    KeptFileRemoved {
        /// How many bytes it had.
        bytes: u64,
    },
    /// A batch was acknowledged, refused or given back.
    Flushed {
        /// Whose it was.
        sink: &'a SinkName,
        /// From the claim to its end.
        elapsed: Duration,
        /// How many events were accepted.
        events: u64,
        /// How many bytes of the file the batch took.
        bytes: u64,
        /// Whether it was not accepted as a whole.
        has_failed: bool,
    },
    /// The directory did not do what was asked. It is asked again.
    Fault {
        /// What was to be done.
        task: &'static str,
        /// What failed.
        error: &'a io::Error,
    },
}

/// Why an event was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DropReason {
    /// With it, more bytes would wait than may.
    MaxBytes,
}

impl DropReason {
    /// As metrics name it: `max_bytes`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxBytes => "max_bytes",
        }
    }
}

/// Why a file was removed before all had it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DiscardReason {
    /// It waited for longer than files are kept.
    Retention,
    /// It made room for newer events: see [`WhenFull::DropOldest`](crate::WhenFull::DropOldest).
    MaxBytes,
}

impl DiscardReason {
    /// As metrics name it: `retention` or `max_bytes`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::MaxBytes => "max_bytes",
        }
    }
}

/// Why the active file was sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SealReason {
    /// It has as many events as a batch, or 2 MiB.
    BatchSize,
    /// Its oldest event waited for the flush interval.
    FlushInterval,
    /// It was left by an earlier process.
    Startup,
    /// Somebody asked, or the outbox was closed.
    Asked,
    /// The disk failed while it was being written; what is good in it is kept.
    Fault,
}

impl SealReason {
    /// As metrics name it: `batch_size`, `flush_interval`, `startup`, `asked` or `fault`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BatchSize => "batch_size",
            Self::FlushInterval => "flush_interval",
            Self::Startup => "startup",
            Self::Asked => "asked",
            Self::Fault => "fault",
        }
    }
}

/// Nobody is told.
#[derive(Debug)]
pub(crate) struct Silence;

impl Telemetry for Silence {
    fn tell(&self, _: &Signal<'_>) {}
}
