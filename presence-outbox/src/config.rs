//! The settings of an outbox.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::{Backoff, Telemetry, telemetry::Silence};

/// When an event counts as enqueued.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// Once it is on disk: it survives the end of the process and a power failure. One flush of the disk answers all
    /// that has gathered meanwhile.
    #[default]
    Fsync,
    /// Once the operating system has it: it survives the end of the process; a power failure takes the last 200 ms.
    Process,
}

/// What gives way where more bytes would wait than may.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenFull {
    /// The new event, which is answered with [`Enqueued::Dropped`](crate::Enqueued::Dropped).
    #[default]
    DropNewest,
    /// The oldest sealed files, as many as it takes, whoever has not had them; each event is counted. A file of which
    /// a batch is out is removed once that is settled.
    DropOldest,
}

/// What an outbox is made of.
///
/// ```
/// use std::time::Duration;
/// use presence_outbox::{OutboxConfig, SinkName};
///
/// let config = OutboxConfig::new("outbox")
///     .batch_size(100)
///     .flush_interval(Duration::from_millis(200))
///     .sink(SinkName::new("webhook")?)
///     .sink(SinkName::new("kafka")?);
/// # Ok::<(), presence_outbox::InvalidSinkName>(())
/// ```
#[derive(Clone)]
pub struct OutboxConfig {
    pub(crate) backoff: Backoff,
    pub(crate) batch_size: usize,
    pub(crate) dir: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) flush_interval: Duration,
    pub(crate) has_checksums: bool,
    pub(crate) is_enabled: bool,
    pub(crate) max_bytes: u64,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_kept_bytes: u64,
    pub(crate) refusals: u32,
    pub(crate) reserve_bytes: u64,
    pub(crate) retention: Duration,
    pub(crate) sinks: Vec<SinkName>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) when_full: WhenFull,
}

impl OutboxConfig {
    /// An outbox in the directory `dir`, with the defaults that each method names.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            backoff: Backoff::default(),
            batch_size: 500,
            dir: dir.into(),
            durability: Durability::Fsync,
            flush_interval: Duration::from_secs(1),
            has_checksums: true,
            is_enabled: true,
            max_bytes: 256 << 20,
            max_event_bytes: 256 << 10,
            max_kept_bytes: 64 << 20,
            refusals: 1,
            reserve_bytes: 64 << 20,
            retention: Duration::from_secs(72 * 3600),
            sinks: Vec::new(),
            telemetry: Arc::new(Silence),
            when_full: WhenFull::DropNewest,
        }
    }

    /// Whether there is an outbox at all: see [`Outbox::configured`](crate::Outbox::configured). Default yes.
    #[must_use]
    pub const fn enabled(mut self, is_enabled: bool) -> Self {
        self.is_enabled = is_enabled;
        self
    }

    /// How many events the active file holds before it is sealed, and how many a batch holds at most. At least 1; 0
    /// is taken as 1. Default 500. Events that are written together go into one file, so that one may hold more.
    #[must_use]
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size.max(1);
        self
    }

    /// How long an event may wait in the active file before that is sealed, and so can be delivered. Default 1 s.
    #[must_use]
    pub const fn flush_interval(mut self, flush_interval: Duration) -> Self {
        self.flush_interval = flush_interval;
        self
    }

    /// How many bytes may wait to be delivered; beyond, [`WhenFull`] says which event is dropped. Default 256 MiB.
    #[must_use]
    pub const fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// What gives way where more would wait than may. Default [`WhenFull::DropNewest`].
    #[must_use]
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// How many bytes of the disk have to stay free. An event that would take of them is refused, and may be enqueued
    /// once there is room again; cursors, dead letters and quarantine, which delivering needs, may take of them. No
    /// share of the disk: delivering needs no more on a larger one. Default 64 MiB; 0 lets events fill the disk. Only
    /// looked at on Unix.
    #[must_use]
    pub const fn reserve_bytes(mut self, reserve_bytes: u64) -> Self {
        self.reserve_bytes = reserve_bytes;
        self
    }

    /// How long a sealed file waits for its sinks; then it is removed, and what each of them has not had is counted.
    /// A clock that steps while the process lives changes nothing; at the start the clock decides how old the files
    /// are that are there. Default 72 h; [`Duration::MAX`] is for ever.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How many bytes the JSON of one event may have; a larger one is refused. Default 256 KiB, and at most 1 MiB
    /// less 1 KiB, which is the longest line that is read.
    #[must_use]
    pub fn max_event_bytes(mut self, max_event_bytes: usize) -> Self {
        self.max_event_bytes = max_event_bytes.min(crate::lines::LONGEST - 1024);
        self
    }

    /// How many bytes of `corrupt-*` and `dead-*` files are kept; beyond, the oldest file is removed, and counted.
    /// The newest is always kept. Default 64 MiB.
    #[must_use]
    pub const fn max_kept_bytes(mut self, max_kept_bytes: u64) -> Self {
        self.max_kept_bytes = max_kept_bytes;
        self
    }

    /// When an event counts as enqueued. Default [`Durability::Fsync`].
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether a line carries a checksum of its event, so that a bit that turned is found. Default yes. One that is
    /// there is verified either way.
    #[must_use]
    pub const fn checksums(mut self, has_checksums: bool) -> Self {
        self.has_checksums = has_checksums;
        self
    }

    /// Adds a sink. Each sink gets every event, at its own pace; a file is removed when all have had it. Without any,
    /// there is one named `default`. A new sink begins with the oldest event that is still there.
    #[must_use]
    pub fn sink(mut self, sink: SinkName) -> Self {
        if !self.sinks.contains(&sink) {
            self.sinks.push(sink);
        }
        self
    }

    /// How long a sink is left alone after it failed. Default 1 s, doubled up to 30 s.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How often a sink has to refuse one event for good before that becomes a dead letter; between two refusals it
    /// is left alone as after a failure. At least 1. Default 1.
    #[must_use]
    pub fn refusals(mut self, refusals: u32) -> Self {
        self.refusals = refusals.max(1);
        self
    }

    /// Who is told what happens. Default nobody.
    #[must_use]
    pub fn telemetry(mut self, telemetry: impl Telemetry + 'static) -> Self {
        self.telemetry = Arc::new(telemetry);
        self
    }

    /// As it is used: with at least one sink.
    pub(crate) fn complete(mut self) -> Self {
        if self.sinks.is_empty() {
            self.sinks.push(SinkName::default());
        }
        self
    }
}

impl fmt::Debug for OutboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxConfig")
            .field("dir", &self.dir)
            .field("batch_size", &self.batch_size)
            .field("flush_interval", &self.flush_interval)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// The name of a sink: 1 to 32 lower-case letters, digits and `_`. It is a part of file names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SinkName(Arc<str>);

impl SinkName {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// It is not of that form.
    pub fn new(name: &str) -> Result<Self, InvalidSinkName> {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=32).contains(&name.len()) && name.bytes().all(is_fit) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidSinkName)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SinkName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no sink can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the name of a sink is 1 to 32 lower-case letters, digits and '_'")]
pub struct InvalidSinkName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sinks_fit_into_file_names() {
        for name in ["a", "webhook", "kafka_2", &"x".repeat(32)] {
            assert_eq!(SinkName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "A", "a-b", "a.b", "../a", "a b", "ä", &"x".repeat(33)] {
            assert_eq!(SinkName::new(name), Err(InvalidSinkName), "{name}");
        }
    }
}
