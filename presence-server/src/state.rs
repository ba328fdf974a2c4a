//! What every handler shares.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use presence_core::{
    Activity, Beats, Outbox, OutboxQuery, RoomFeed, Rooms, SinkBooks, StoreError, Timestamp, Tracker, Zone,
};
use presence_sqlite::{SqliteStore, Workload};
use tokio::sync::Semaphore;

use crate::{
    auth::Access, config::Origins, deliveries::Syncs, metrics::Metrics, tracking_outbox::TrackingOutbox,
    traffic::Traffic, ws::Hub,
};

/// How many folds over weeks and months wait for their turn or are under way.
const FOLDS: usize = 16;

/// What the handlers need to know beside the services.
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
    /// How many requests are handled at once; those beyond are answered 503. Health and `/metrics` are answered always.
    /// Default 1,024.
    pub max_in_flight: usize,
    /// Who may do what.
    pub access: Access,
    /// The pages of other servers that browsers let ask this one.
    pub cors_origins: Origins,
    /// Whether joining, speaking and pinging in a room are heartbeats of the user too. Default: no.
    pub room_activity_is_heartbeat: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            zone: Zone::utc(),
            durability: "memory",
            max_in_flight: 1024,
            access: Access::open(),
            cors_origins: Origins::default(),
            room_activity_is_heartbeat: false,
        }
    }
}

/// The services behind the routes; cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    beats: Beats,
    activity: Activity,
    hub: Hub,
    settings: Settings,
    begun: Timestamp,
    metrics: Metrics,
    traffic: Arc<Traffic>,
    sqlite: OnceLock<Arc<SqliteStore>>,
    tracking_outbox: OnceLock<TrackingOutbox>,
    folds: Arc<Semaphore>,
    outbox: OnceLock<OutboxParts>,
    syncs: OnceLock<Syncs>,
}

/// What a store keeps for others, as each caller sees it.
#[derive(Clone)]
pub(crate) struct OutboxParts {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) query: Arc<dyn OutboxQuery>,
    pub(crate) feed: Arc<dyn RoomFeed>,
}

impl OutboxParts {
    pub(crate) fn of<S>(store: Arc<S>) -> Self
    where
        S: Outbox + OutboxQuery + RoomFeed + 'static,
    {
        Self { outbox: store.clone(), query: store.clone(), feed: store }
    }

    /// The books of all sinks. What only keeps the turns of nodes apart has none.
    pub(crate) async fn books(&self) -> Result<Vec<SinkBooks>, StoreError> {
        let mut books = self.query.books().await?;
        books
            .retain(|books| books.accepted() > 0 || !crate::deliveries::TURNS.contains(&books.sink.as_str()));
        Ok(books)
    }
}

impl fmt::Debug for OutboxParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxParts").finish_non_exhaustive()
    }
}

impl AppState {
    /// Serves `beats`, the tracker behind it, `activity` and `rooms`.
    #[must_use]
    pub fn new(beats: Beats, activity: Activity, rooms: Rooms, settings: Settings) -> Self {
        let begun = beats.tracker().now();
        let (metrics, traffic) = (Metrics::default(), Arc::new(Traffic::new(begun)));
        let (sqlite, tracking_outbox) = (OnceLock::new(), OnceLock::new());
        let folds = Arc::new(Semaphore::new(FOLDS));
        let hub = Hub::new(rooms);
        let (outbox, syncs) = (OnceLock::new(), OnceLock::new());
        let shared = Shared {
            beats,
            activity,
            hub,
            settings,
            begun,
            metrics,
            traffic,
            sqlite,
            tracking_outbox,
            folds,
            outbox,
            syncs,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Shows at `/metrics` what the threads of `store` do; a second store is not shown.
    #[must_use]
    pub fn showing(self, store: Arc<SqliteStore>) -> Self {
        let _ = self.shared.sqlite.set(store);
        self
    }

    /// Keeps events of apps in `outbox` first; a second one is not taken. Whoever serves by hand runs it too:
    /// [`jobs::bring_events`](crate::jobs::bring_events).
    #[must_use]
    pub fn with_tracking_outbox(self, outbox: TrackingOutbox) -> Self {
        let _ = self.shared.tracking_outbox.set(outbox);
        self
    }

    /// Where events of apps wait, if they do.
    #[must_use]
    pub fn tracking_outbox(&self) -> Option<&TrackingOutbox> {
        self.shared.tracking_outbox.get()
    }

    /// Shows operators, and at `/metrics`, what `store` keeps for its sinks; a second store is not shown. Without this
    /// nothing is kept for anybody.
    #[must_use]
    pub fn delivering<S>(self, store: Arc<S>) -> Self
    where
        S: Outbox + OutboxQuery + RoomFeed + 'static,
    {
        self.with_outbox(OutboxParts::of(store))
    }

    pub(crate) fn with_outbox(self, outbox: OutboxParts) -> Self {
        let _ = self.shared.outbox.set(outbox);
        self
    }

    /// What is kept for others, where something is.
    pub(crate) fn outbox(&self) -> Option<&OutboxParts> {
        self.shared.outbox.get()
    }

    /// Lets operators call for the syncs that there are.
    pub(crate) fn set_syncs(&self, syncs: Syncs) {
        let _ = self.shared.syncs.set(syncs);
    }

    pub(crate) fn syncs(&self) -> Option<&Syncs> {
        self.shared.syncs.get()
    }

    /// Heartbeats, and who is online.
    #[must_use]
    pub fn beats(&self) -> &Beats {
        &self.shared.beats
    }

    /// Who was active.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.shared.activity
    }

    /// The rooms that are open here.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    /// Timelines.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        self.shared.beats.tracker()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// When it was made.
    pub(crate) fn begun(&self) -> Timestamp {
        self.shared.begun
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// What comes through the port: for [`serve`](crate::serve::serve), which counts there too.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.shared.traffic
    }

    /// Room for folds over weeks and months that go on when nobody waits for them any more.
    pub(crate) fn folds(&self) -> &Arc<Semaphore> {
        &self.shared.folds
    }

    /// How many of them there are.
    pub(crate) fn active_folds(&self) -> usize {
        FOLDS.saturating_sub(self.shared.folds.available_permits())
    }

    /// What the store's threads do, where it has some.
    pub(crate) fn workload(&self) -> Option<Workload> {
        self.shared.sqlite.get().map(|store| store.workload())
    }
}
