//! The store keeps the promises of the ports, on a database of its own.

use std::sync::Arc;

use presence_postgres_testing::Database;
use presence_sqlx::{PostgresConfig, PostgresStore};

async fn fresh() -> (Arc<PostgresStore>, Database) {
    let database = Database::create();
    let config = PostgresConfig::new(database.url()).expect("a URL");
    (Arc::new(PostgresStore::connect(config).await.expect("a store")), database)
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

presence_core::conformance_tests!(fresh, run);
presence_core::outbox_tests!(fresh, run);
presence_core::room_tests!(fresh, run);
