//! What is in the directory, as both threads see it.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    OutboxConfig, SealReason, Signal, WhenFull,
    host::Now,
    random::Random,
    segment::SegmentId,
    telemetry::{DiscardReason, DropReason, Telemetry},
};

/// A sealed file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) bytes: u64,
    /// How many of its lines this process wrote.
    pub(crate) events: u64,
    /// `None` until somebody has counted: at the start no file is read.
    pub(crate) lines: Option<u64>,
    /// Until then it waits for its sinks. A file never expires before an older one.
    pub(crate) expires_at: Duration,
    /// Whether it has to make room: its bytes count no more, and nobody gets anything of it. An older one has to, too.
    pub(crate) is_condemned: bool,
}

impl Segment {
    /// A file that waits until `expires_at`.
    pub(crate) const fn new(bytes: u64, events: u64, lines: Option<u64>, expires_at: Duration) -> Self {
        Self { bytes, events, lines, expires_at, is_condemned: false }
    }

    /// Why nobody gets anything of it any more, if so.
    pub(crate) fn is_over(&self, now: Now) -> Option<DiscardReason> {
        let is_expired = self.expires_at <= now.tick;
        self.is_condemned
            .then_some(DiscardReason::MaxBytes)
            .or_else(|| is_expired.then_some(DiscardReason::Retention))
    }
}

/// When a file that was sealed at `micros` is over, where files are kept for `retention`. The clock on the wall is
/// asked this once. A time that no clock of ours could have told says nothing: such a file counts as new.
pub(crate) fn expiry(micros: u64, now: Now, retention: Duration) -> Duration {
    const YEAR_2020: u64 = 1_577_836_800_000_000;
    let age = if micros < YEAR_2020 { 0 } else { now.micros.saturating_sub(micros) };
    now.tick.saturating_add(retention.saturating_sub(Duration::from_micros(age)))
}

/// The sealed files, the bytes that wait, and what was counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) segments: BTreeMap<SegmentId, Segment>,
    pub(crate) active_bytes: u64,
    pub(crate) active_events: u64,
    sealed_bytes: u64,
    last_micros: u64,
    pub(crate) enqueued: u64,
    pub(crate) dropped: u64,
    /// Events that were answered with a fault of the disk.
    pub(crate) failed: u64,
    /// Whether the last thing that was to be written failed.
    pub(crate) is_failing: bool,
}

impl Ledger {
    /// A ledger of no files, in a directory where no file is newer than `last_micros`.
    pub(crate) fn new(last_micros: u64) -> Self {
        Self { last_micros, ..Self::default() }
    }

    /// With the files that are there.
    pub(crate) fn with(mut self, segments: BTreeMap<SegmentId, Segment>) -> Self {
        self.sealed_bytes = segments.values().map(|segment| segment.bytes).sum();
        self.segments = segments;
        self
    }

    /// The bytes that wait to be delivered.
    pub(crate) const fn pending_bytes(&self) -> u64 {
        self.active_bytes.saturating_add(self.sealed_bytes)
    }

    /// An id behind all that were given before, whatever the clock says.
    pub(crate) fn next_id(&mut self, now: Now, random: &mut Random) -> SegmentId {
        self.last_micros = now.micros.max(self.last_micros.saturating_add(1));
        SegmentId::new(self.last_micros, random.uuid())
    }

    fn insert(&mut self, id: SegmentId, segment: Segment) {
        self.sealed_bytes = self.sealed_bytes.saturating_add(segment.bytes);
        self.segments.insert(id, segment);
    }

    pub(crate) fn counted(&mut self, id: SegmentId, lines: u64) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.lines = Some(lines);
        }
    }

    fn remove(&mut self, id: SegmentId) {
        if let Some(segment) = self.segments.remove(&id).filter(|segment| !segment.is_condemned) {
            self.sealed_bytes = self.sealed_bytes.saturating_sub(segment.bytes);
        }
    }

    /// Condemns the oldest files, until no more than `max_bytes` wait; whether any was.
    fn condemn(&mut self, max_bytes: u64) -> bool {
        let mut pending = self.pending_bytes();
        let before = pending;
        for segment in self.segments.values_mut().filter(|segment| !segment.is_condemned) {
            if pending <= max_bytes {
                break;
            }
            segment.is_condemned = true;
            pending = pending.saturating_sub(segment.bytes);
            self.sealed_bytes = self.sealed_bytes.saturating_sub(segment.bytes);
        }
        pending < before
    }
}

/// The ledger, and who is told of it. Its lock is never held while the disk works.
pub(crate) struct Shared {
    pub(crate) config: OutboxConfig,
    ledger: Mutex<Ledger>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(config: OutboxConfig, ledger: Ledger) -> Arc<Self> {
        let shared = Arc::new(Self { config, ledger: Mutex::new(ledger) });
        shared.tell_pending(&shared.lock());
        shared
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, signal: &Signal<'_>) {
        self.config.telemetry.tell(signal);
    }

    fn tell_pending(&self, ledger: &Ledger) {
        self.tell(&Signal::PendingBytes(ledger.pending_bytes()));
        self.tell(&Signal::PendingFiles(ledger.segments.len() as u64));
    }

    /// The disk failed; says so, and passes the fault on.
    pub(crate) fn fault(&self, task: &'static str, error: io::Error) -> io::Error {
        self.tell(&Signal::Fault { task, error: &error });
        error
    }

    /// Whether events can be written, as the last attempt showed.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        self.lock().is_failing = is_failing;
    }

    pub(crate) fn wrote(&self, bytes: u64, events: u64) {
        let mut ledger = self.lock();
        ledger.active_bytes = ledger.active_bytes.saturating_add(bytes);
        ledger.active_events = ledger.active_events.saturating_add(events);
        ledger.enqueued = ledger.enqueued.saturating_add(events);
        self.tell(&Signal::Enqueued { events });
        self.tell(&Signal::PendingBytes(ledger.pending_bytes()));
    }

    pub(crate) fn dropped(&self, events: u64) {
        let mut ledger = self.lock();
        ledger.dropped = ledger.dropped.saturating_add(events);
        self.tell(&Signal::Dropped { reason: DropReason::MaxBytes, events });
    }

    /// Makes room for what was written, where that is what a full outbox does; whether anything has to go.
    pub(crate) fn make_room(&self) -> bool {
        let mut ledger = self.lock();
        let is_less = self.config.when_full == WhenFull::DropOldest && ledger.condemn(self.config.max_bytes);
        if is_less {
            self.tell(&Signal::PendingBytes(ledger.pending_bytes()));
        }
        is_less
    }

    pub(crate) fn failed(&self, events: u64) {
        let mut ledger = self.lock();
        ledger.failed = ledger.failed.saturating_add(events);
    }

    /// The active file is empty or gone, and a sealed file holds what was in it, but for `owed` bytes and events,
    /// which are about to be written again.
    pub(crate) fn sealed(&self, sealed: Option<(SegmentId, Segment, SealReason)>, owed: (u64, u64)) {
        let mut ledger = self.lock();
        (ledger.active_bytes, ledger.active_events) = owed;
        if let Some((id, segment, reason)) = sealed {
            ledger.insert(id, segment);
            self.tell(&Signal::Sealed { reason });
        }
        self.tell_pending(&ledger);
    }

    pub(crate) fn removed(&self, id: SegmentId) {
        let mut ledger = self.lock();
        ledger.remove(id);
        self.tell_pending(&ledger);
    }
}
