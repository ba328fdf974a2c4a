//! What every handler shares.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use presence_core::{Beats, Tracker, Zone};

/// What the handlers need to know beside the tracker.
///
/// ```
/// use presence_server::Settings;
///
/// let settings = Settings { durability: "fsync", ..Settings::default() };
/// assert_eq!(settings.zone.name(), "UTC");
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// The zone of day summaries where a request names none.
    pub zone: Zone,
    /// What `Presence-Durability` says of a committed write: `fsync`, `process` or `memory`.
    pub durability: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { zone: Zone::utc(), durability: "memory" }
    }
}

/// The tracker behind the routes; cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    beats: Beats,
    settings: Settings,
    /// Where request ids begin: different in each process.
    first_request: u64,
    requests: AtomicU64,
}

impl AppState {
    /// Serves `beats` and the tracker behind it.
    #[must_use]
    pub fn new(beats: Beats, settings: Settings) -> Self {
        // Not a secret, only unlikely to repeat: the start in milliseconds.
        let first_request = beats.tracker().now().as_millis().unsigned_abs();
        Self { shared: Arc::new(Shared { beats, settings, first_request, requests: AtomicU64::new(0) }) }
    }

    /// Heartbeats, and who is online.
    #[must_use]
    pub fn beats(&self) -> &Beats {
        &self.shared.beats
    }

    /// Timelines.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        self.shared.beats.tracker()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// An id for a request that brought none.
    pub(crate) fn next_request_id(&self) -> String {
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number:x}", self.shared.first_request)
    }
}
