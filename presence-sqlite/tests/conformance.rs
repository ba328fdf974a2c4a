//! The store keeps the promises of the ports, on a file and in memory.

use std::sync::Arc;

use futures_executor::block_on;
use presence_sqlite::SqliteStore;
use tempfile::TempDir;

async fn on_a_file() -> (Arc<SqliteStore>, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let store = SqliteStore::open(folder.path().join("presence.db")).await.expect("a store");
    (Arc::new(store), folder)
}

async fn in_memory() -> (Arc<SqliteStore>, ()) {
    (Arc::new(SqliteStore::open(":memory:").await.expect("a store")), ())
}

mod file {
    use super::*;

    presence_core::conformance_tests!(on_a_file, block_on);
    presence_core::outbox_tests!(on_a_file, block_on);
    presence_core::room_tests!(on_a_file, block_on);
}

mod memory {
    use super::*;

    presence_core::conformance_tests!(in_memory, block_on);
    presence_core::outbox_tests!(in_memory, block_on);
    presence_core::room_tests!(in_memory, block_on);
}
