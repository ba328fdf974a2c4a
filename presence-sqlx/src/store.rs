//! The store: what users hold.

use std::{fmt, time::Duration};

use presence_core::{StoreError, Subscribed};
use sqlx::PgPool;

use crate::{OpenError, PostgresConfig, connection::Connections, eraser::Eraser, migrate};

/// How many users, or rows, are a few: to compare every one of a batch with every other is still fast.
const FEW: usize = 64;
/// How many connections are for batches of a few users: a process writes one after the other.
const QUICK: u32 = 2;
/// How many connections a store must have to set some aside.
const ENOUGH: u32 = 3 * QUICK;

/// Timelines, the online count and active users in one PostgreSQL database, shared by any number of nodes.
///
/// Its futures need a Tokio runtime. Whatever they were asked, they end: after the time for getting a connection, the
/// time for a statement, and some seconds for the network. A call that is dropped half way closes its connection, so
/// that no half transaction stays.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use presence_core::{Envelope, StateType, Tracker, UserId, Window};
/// use presence_sqlx::{PostgresClock, PostgresConfig, PostgresStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = PostgresConfig::new("postgres://presence@db.example/app?sslmode=verify-full")?;
/// let store = Arc::new(PostgresStore::connect(config).await?);
/// let clock = PostgresClock::new(store.clone()).await?; // the same time on every node
/// let tracker = Tracker::new(store.clone(), clock);
/// let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// println!("{:?}", tracker.status(&alice, Window::all()).await?);
/// store.close().await;
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    pub(crate) connections: Connections,
    /// Connections that plan a statement once, for batches of a few users.
    quick: Option<Connections>,
    pub(crate) eraser: Eraser,
    pub(crate) wanted: Subscribed,
    config: Option<PostgresConfig>,
}

impl PostgresStore {
    /// Connects to the store that `config` describes, and creates or updates its tables. Any number of nodes may do so
    /// at once.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is in the way, and what happened to the database.
    pub async fn connect(config: PostgresConfig) -> Result<Self, OpenError> {
        config.check_schema()?;
        let has_quick = config.max_connections >= ENOUGH;
        let all = if has_quick { config.max_connections - QUICK } else { config.max_connections };
        let connections = Connections::new(&config, config.connect_options(), all);
        let store = Self::open(connections, Some(&config.schema)).await?;
        let quick = has_quick.then(|| Connections::new(&config, config.quick_options(), QUICK));
        Ok(Self { quick, config: Some(config), ..store })
    }

    /// The store in the database of an application's own pool, whose tables lie in the first schema of its
    /// `search_path`.
    ///
    /// Statements name no schema, so every connection of the pool must have the same `search_path`;
    /// [`PostgresConfig::connect_options`] sets it, and what makes the statements fast. When a write is answered is what
    /// the pool's connections say. Connections that no longer answer are closed after 35 s.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, OpenError> {
        Self::open(Connections::of(pool, Duration::from_secs(30)), None).await
    }

    /// The connections for a batch of this size.
    pub(crate) fn connections_for(&self, size: usize) -> &Connections {
        self.quick.as_ref().filter(|_| size <= FEW).unwrap_or(&self.connections)
    }

    async fn open(connections: Connections, schema: Option<&str>) -> Result<Self, OpenError> {
        migrate::migrate(&connections, schema).await?;
        let eraser = Eraser::load(&connections).await?;
        Ok(Self { connections, quick: None, eraser, wanted: Subscribed::default(), config: None })
    }

    /// Whether the database answers now: for a readiness probe.
    ///
    /// # Errors
    ///
    /// It does not; [`StoreError::is_retryable`] says whether waiting may help.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.connections.rows(|| sqlx::query("SELECT")).await.map(drop)?)
    }

    /// Waits until what was asked is answered, and closes the connections. Later calls answer
    /// [`StoreError::Unavailable`].
    pub async fn close(&self) {
        for connections in [Some(&self.connections), self.quick.as_ref()].into_iter().flatten() {
            connections.pool().close().await;
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("config", &self.config).finish_non_exhaustive()
    }
}
