//! What has become of every event.

use crate::SinkName;

/// The books of an outbox since it was opened.
///
/// At every moment, and for each sink, they balance: see [`SinkBooks::balances`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Books {
    /// What each sink has had.
    pub sinks: Vec<SinkBooks>,
    /// Events that were enqueued.
    pub enqueued: u64,
    /// Events that were dropped, because with them more than the maximum would wait.
    pub dropped: u64,
    /// Events that were answered with [`EnqueueError::Unavailable`](crate::EnqueueError::Unavailable).
    pub failed: u64,
    /// Bytes that wait to be delivered to at least one sink.
    pub pending_bytes: u64,
    /// Sealed files.
    pub pending_files: u64,
    /// Sealed files of an earlier process whose events were not counted yet: `found` and `pending` lack them. They
    /// are counted in the background.
    pub uncounted_files: u64,
    /// When the oldest sealed file was sealed, in microseconds since 1970.
    pub oldest_micros: Option<u64>,
    /// `corrupt-*` files that were made from sealed files.
    pub corrupt_files: u64,
    /// `corrupt-*` and `dead-*` files that are there.
    pub kept_files: u64,
    /// The bytes of those.
    pub kept_bytes: u64,
    /// `corrupt-*` and `dead-*` files that were removed, because there were too many bytes of them.
    pub removed_files: u64,
    /// Whether the last attempt to write failed. The next one may succeed; nobody has to do anything here.
    pub is_failing: bool,
    /// Whether less of the disk is free than its reserve, when this was asked: until that is over events are refused.
    pub is_short_of_space: bool,
}

/// What one sink has had.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SinkBooks {
    /// Which sink.
    pub sink: SinkName,
    /// Lines that an earlier process left for it.
    pub found: u64,
    /// Events that wait for it.
    pub pending: u64,
    /// Events that it accepted.
    pub delivered: u64,
    /// Events that it refused for good.
    pub dead: u64,
    /// Lines that could not be read.
    pub quarantined: u64,
    /// Lines with nothing in them for it: white space, and what was requeued for another sink.
    pub blank: u64,
    /// Events that it had not had when their time was over.
    pub expired: u64,
    /// Events that it had not had when room was made for newer ones.
    pub evicted: u64,
    /// Events that were erased before it had them: counted when it comes by, and pending until then.
    pub erased: u64,
    /// How often it failed in a row.
    pub failures: u32,
    /// Whether it gets nothing, because its destination is gone.
    pub is_disabled: bool,
}

impl Books {
    /// Whether, for each sink, what it was to have is what it had and what waits:
    /// `found + enqueued = pending + delivered + dead + quarantined + blank + expired + evicted + erased`.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.sinks.iter().all(|sink| sink.balances(self.enqueued))
    }
}

impl SinkBooks {
    /// Whether what this sink was to have, with so many events enqueued, is what it had and what waits.
    #[must_use]
    pub const fn balances(&self, enqueued: u64) -> bool {
        let settled = self.delivered + self.dead + self.quarantined + self.blank;
        let gone = self.expired + self.evicted + self.erased;
        self.found + enqueued == self.pending + settled + gone
    }
}
