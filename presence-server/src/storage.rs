//! The one place that knows which stores there are.

use std::sync::Arc;

use aws_lc_rs::rand;
use presence_core::{Activity, Beats, Clock, MemoryStore, Rooms, StoreError, SystemClock, Tracker};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};
use presence_sqlx::{PostgresClock, PostgresConfig, PostgresStore};

use crate::{
    config::{Config, PostgresUrl, StoreUrl},
    state::OutboxParts,
};

/// The name of a server that has its store to itself: rooms are its own after a restart.
const LONE: &str = "lone";

/// An open store, and the services in front of it.
pub(crate) struct Storage {
    pub(crate) beats: Beats,
    pub(crate) activity: Activity,
    pub(crate) rooms: Rooms,
    pub(crate) outbox: OutboxParts,
    /// What this process is called by others on the same store.
    pub(crate) node: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// What `Presence-Durability` says of a committed write.
    pub(crate) durability: &'static str,
    pub(crate) store: Store,
}

/// What the process has to look after, and to close at the end.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Memory,
    Sqlite(Arc<SqliteStore>),
    Postgres { store: Arc<PostgresStore>, clock: Arc<PostgresClock> },
}

/// Why a store does not open. Nothing was changed, but for migrations that were applied whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file does not open.
    #[error(transparent)]
    Sqlite(#[from] presence_sqlite::OpenError),
    /// PostgreSQL cannot be used.
    #[error(transparent)]
    Postgres(#[from] presence_sqlx::OpenError),
    /// The database does not tell the time.
    #[error("the database does not tell the time")]
    Clock(#[source] StoreError),
}

impl Storage {
    /// Opens the store that the configuration names.
    ///
    /// # Errors
    ///
    /// The store does not open; nothing was changed.
    pub(crate) async fn open(config: &Config) -> Result<Self, StorageError> {
        match config.store() {
            StoreUrl::Memory => {
                let store = Arc::new(MemoryStore::new());
                let tracker = Tracker::with_policy(store.clone(), SystemClock, config.policy());
                let beats = Beats::new(tracker.cached_by(store.clone())).living_in(store.live_set());
                let activity = Activity::with_policy(store.clone(), SystemClock, config.activity_policy());
                let rooms = Rooms::with_policy(store.clone(), SystemClock, LONE, config.room_policy());
                Ok(Self {
                    beats,
                    activity,
                    rooms,
                    outbox: OutboxParts::of(store),
                    node: LONE.to_owned(),
                    clock: Arc::new(SystemClock),
                    durability: "memory",
                    store: Store::Memory,
                })
            }
            StoreUrl::Sqlite { path } => {
                let sqlite = SqliteConfig::new(path).durability(config.durability());
                let store = Arc::new(SqliteStore::open_with(sqlite).await?);
                let tracker = Tracker::with_policy(store.clone(), SystemClock, config.policy());
                let beats = Beats::new(tracker.cached_by(store.clone())).backed_by(store.clone());
                let activity = Activity::with_policy(store.clone(), SystemClock, config.activity_policy());
                let rooms = Rooms::with_policy(store.clone(), SystemClock, LONE, config.room_policy());
                Ok(Self {
                    beats,
                    activity,
                    rooms,
                    outbox: OutboxParts::of(store.clone()),
                    node: LONE.to_owned(),
                    clock: Arc::new(SystemClock),
                    durability: durability(config),
                    store: Store::Sqlite(store),
                })
            }
            StoreUrl::Postgres { url } => Self::postgres(config, &url).await,
        }
    }

    /// On a store that other servers may share: with the database's clock, and who is online asked of it.
    async fn postgres(config: &Config, url: &PostgresUrl) -> Result<Self, StorageError> {
        let durability_there = match config.durability() {
            Durability::Process => presence_sqlx::Durability::Process,
            _ => presence_sqlx::Durability::Fsync,
        };
        let postgres = PostgresConfig::new(url.as_str())?
            .schema(config.database_schema())
            .max_connections(config.database_max_connections())
            .durability(durability_there);
        let store = Arc::new(PostgresStore::connect(postgres).await?);
        let clock = Arc::new(PostgresClock::new(store.clone()).await.map_err(StorageError::Clock)?);
        let tracker = Tracker::with_policy(store.clone(), clock.clone(), config.policy());
        let beats = Beats::new(tracker.cached_by(store.clone())).shared_with(store.clone());
        let activity = Activity::with_policy(store.clone(), clock.clone(), config.activity_policy());
        let node = config.node_name().map_or_else(any_name, str::to_owned);
        let rooms = Rooms::with_policy(store.clone(), clock.clone(), node.clone(), config.room_policy());
        Ok(Self {
            beats,
            activity,
            rooms,
            outbox: OutboxParts::of(store.clone()),
            node,
            clock: clock.clone(),
            durability: durability(config),
            store: Store::Postgres { store, clock },
        })
    }
}

impl Store {
    /// Finishes what has begun, and lets go of what is open.
    pub(crate) async fn close(&self) {
        match self {
            Self::Memory => {}
            Self::Sqlite(store) => store.close().await,
            Self::Postgres { store, .. } => store.close().await,
        }
    }
}

/// A name that no other server has.
fn any_name() -> String {
    let mut random = [0; 16];
    // Where there is no randomness, TLS has failed before.
    let _ = rand::fill(&mut random);
    format!("{:032x}", u128::from_be_bytes(random))
}

fn durability(config: &Config) -> &'static str {
    match config.durability() {
        Durability::Process => "process",
        _ => "fsync",
    }
}
