//! A directory, its outbox, and destinations.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc::Sender},
    time::Duration,
};

use futures_executor::block_on;
use presence_outbox::{
    Backoff, Deliver, DeliveryError, Outbox, OutboxConfig, Signal, Telemetry, TrackingEvent,
};

/// Failures are followed by no wait.
pub(crate) const NO_WAIT: Backoff = Backoff { first: Duration::ZERO, longest: Duration::ZERO };

pub(crate) fn event(number: u64) -> TrackingEvent {
    TrackingEvent {
        event_id: number.to_string(),
        event_key: "login".to_owned(),
        scope_kind: "app".to_owned(),
        scope_id: "7".to_owned(),
        user_id: Some("u1".to_owned()),
        metadata_json: "{}".to_owned(),
        occurred_at_micros: 1,
        ..TrackingEvent::default()
    }
}

/// The line of an event, without a checksum.
pub(crate) fn line(number: u64) -> String {
    format!("{{\"event\":{}}}\n", serde_json::to_string(&event(number)).unwrap())
}

pub(crate) fn ids(events: &[TrackingEvent]) -> Vec<u64> {
    events.iter().map(|event| event.event_id.parse().unwrap()).collect()
}

/// What was told: why files were sealed, in order, and sums of the rest.
#[derive(Debug, Default)]
struct Log {
    sealed: Mutex<Vec<String>>,
    told: Mutex<Told>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    pub(crate) pending_bytes: u64,
    pub(crate) pending_files: u64,
    pub(crate) enqueued: u64,
    pub(crate) dropped: Vec<(&'static str, u64)>,
    /// Sink, why, and how many.
    pub(crate) discarded: Vec<(String, &'static str, u64)>,
    pub(crate) erased: u64,
    pub(crate) corrupt_lines: u64,
    pub(crate) dead: Vec<String>,
    pub(crate) disabled: Vec<String>,
    /// Sink, events, bytes, and whether it failed.
    pub(crate) flushed: Vec<(String, u64, u64, bool)>,
}

impl Telemetry for Log {
    fn tell(&self, signal: &Signal<'_>) {
        let mut told = self.told.lock().unwrap();
        match signal {
            Signal::PendingBytes(bytes) => told.pending_bytes = *bytes,
            Signal::PendingFiles(files) => told.pending_files = *files,
            Signal::Enqueued { events } => told.enqueued += events,
            Signal::Dropped { reason, events } => told.dropped.push((reason.as_str(), *events)),
            Signal::Discarded { sink, reason, events } => {
                told.discarded.push((sink.to_string(), reason.as_str(), *events));
            }
            Signal::Sealed { reason } => {
                self.sealed.lock().unwrap().push(format!("sealed {}", reason.as_str()));
            }
            Signal::CorruptFile { lines } => told.corrupt_lines += lines,
            Signal::Erased { lines } => told.erased += lines,
            Signal::Disabled { sink } => told.disabled.push(sink.to_string()),
            Signal::DeadLetter { sink } => told.dead.push(sink.to_string()),
            Signal::Flushed { sink, events, bytes, has_failed, .. } => {
                told.flushed.push((sink.to_string(), *events, *bytes, *has_failed));
            }
            _ => {}
        }
    }
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    log: Arc<Log>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), log: Arc::default() }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("outbox")
    }

    /// One that seals nothing by time, and takes what the disk has.
    pub(crate) fn config(&self) -> OutboxConfig {
        OutboxConfig::new(self.dir())
            .flush_interval(Duration::from_secs(3600))
            .reserve_bytes(0)
            .telemetry(self.log.clone())
    }

    pub(crate) fn open(&self, change: impl FnOnce(OutboxConfig) -> OutboxConfig) -> Outbox<TrackingEvent> {
        block_on(Outbox::open(change(self.config()))).unwrap()
    }

    pub(crate) fn enqueue(&self, outbox: &Outbox<TrackingEvent>, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            assert!(block_on(outbox.enqueue(&event(number))).unwrap().is_enqueued());
        }
    }

    /// Delivers all there is to a destination that accepts everything: the ids of each batch.
    pub(crate) fn flush(&self, outbox: &Outbox<TrackingEvent>) -> Vec<Vec<u64>> {
        self.flush_to(outbox, "default")
    }

    pub(crate) fn flush_to(&self, outbox: &Outbox<TrackingEvent>, sink: &str) -> Vec<Vec<u64>> {
        let glad = Destination::default();
        let mut sink = outbox.sink(sink).unwrap();
        block_on(sink.flush(&glad)).unwrap();
        glad.accepted()
    }

    pub(crate) fn signals(&self) -> Vec<String> {
        self.log.sealed.lock().unwrap().clone()
    }

    pub(crate) fn told(&self) -> Told {
        self.log.told.lock().unwrap().clone()
    }

    /// The names in the directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.dir().join(name).exists()
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.names().iter().filter(|name| name.starts_with(prefix)).count()
    }

    /// The one file with such a name.
    pub(crate) fn read(&self, prefix: &str) -> Vec<u8> {
        let mut names = self.names();
        names.retain(|name| name.starts_with(prefix));
        assert_eq!(names.len(), 1, "{names:?}");
        fs::read(self.dir().join(&names[0])).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.dir()).unwrap();
        fs::write(self.dir().join(name), content).unwrap();
    }
}

/// Where events go.
#[derive(Debug, Default)]
pub(crate) struct Destination {
    is_away: bool,
    is_gone: bool,
    /// How many calls fail before one does not.
    fails: usize,
    tell: Option<Sender<Vec<u64>>>,
    refuses: Option<u64>,
    calls: Mutex<usize>,
    accepted: Mutex<Vec<Vec<u64>>>,
}

impl Destination {
    pub(crate) fn away() -> Self {
        Self { is_away: true, ..Self::default() }
    }

    pub(crate) fn gone() -> Self {
        Self { is_gone: true, ..Self::default() }
    }

    /// It wants no batch with this event in it.
    pub(crate) fn refusing(number: u64) -> Self {
        Self { refuses: Some(number), ..Self::default() }
    }

    /// It fails so many times first, and then tells of each batch that it accepted.
    pub(crate) fn failing(fails: usize, tell: Sender<Vec<u64>>) -> Self {
        Self { fails, tell: Some(tell), ..Self::default() }
    }

    pub(crate) fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    /// The ids of each batch that it accepted.
    pub(crate) fn accepted(&self) -> Vec<Vec<u64>> {
        self.accepted.lock().unwrap().clone()
    }
}

impl Deliver<TrackingEvent> for Destination {
    async fn deliver(&self, events: &[TrackingEvent]) -> Result<usize, DeliveryError> {
        let calls = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        let ids = ids(events);
        if self.is_gone {
            return Err(DeliveryError::Gone);
        }
        if self.is_away || calls <= self.fails {
            return Err(DeliveryError::Retry { after: Duration::ZERO });
        }
        if self.refuses.is_some_and(|refused| ids.contains(&refused)) {
            return Err(DeliveryError::Refused { reason: "not six".to_owned() });
        }
        if let Some(tell) = &self.tell {
            tell.send(ids.clone()).unwrap();
        }
        self.accepted.lock().unwrap().push(ids);
        Ok(events.len())
    }
}
