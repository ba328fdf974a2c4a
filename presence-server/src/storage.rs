//! The one place that knows which stores there are.

use std::sync::Arc;

use presence_core::{Beats, MemoryStore, Policy, SystemClock, Tracker};
use presence_sqlite::{Durability, OpenError, SqliteConfig, SqliteStore};

use crate::config::{Config, StoreUrl};

/// An open store, and the heartbeats in front of it.
pub(crate) struct Storage {
    pub(crate) beats: Beats,
    /// What `Presence-Durability` says of a committed write.
    pub(crate) durability: &'static str,
    sqlite: Option<Arc<SqliteStore>>,
}

impl Storage {
    /// Opens the store that the configuration names.
    ///
    /// # Errors
    ///
    /// The store does not open; nothing was changed.
    pub(crate) async fn open(config: &Config) -> Result<Self, OpenError> {
        let policy = config.policy();
        match config.store() {
            StoreUrl::Memory => {
                let store = Arc::new(MemoryStore::new());
                let tracker = Tracker::with_policy(store.clone(), SystemClock, policy).cached_by(store);
                Ok(Self { beats: Beats::new(tracker), durability: "memory", sqlite: None })
            }
            StoreUrl::Sqlite { path } => {
                let durability = config.durability();
                let store = SqliteStore::open_with(SqliteConfig::new(path).durability(durability)).await?;
                Ok(Self::on(Arc::new(store), policy, durability))
            }
        }
    }

    fn on(store: Arc<SqliteStore>, policy: Policy, durability: Durability) -> Self {
        let tracker = Tracker::with_policy(store.clone(), SystemClock, policy).cached_by(store.clone());
        let durability = match durability {
            Durability::Process => "process",
            _ => "fsync",
        };
        Self { beats: Beats::new(tracker).backed_by(store.clone()), durability, sqlite: Some(store) }
    }

    /// What is to be closed at the end.
    pub(crate) fn sqlite(&self) -> Option<Arc<SqliteStore>> {
        self.sqlite.clone()
    }
}
