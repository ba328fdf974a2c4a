//! What PostgreSQL says to each statement.

use presence_postgres_testing::Database;
use sqlx::{Executor, PgPool, SqlSafeStr};

use crate::{
    PostgresConfig, PostgresStore, checkpoint_query as query, checkpoint_store as store, commit, eraser,
    live_set as live, load,
};

const STATEMENTS: &[&str] = &[
    eraser::KEY,
    load::LOAD,
    commit::COMMIT,
    store::TOUCH,
    store::OVERDUE,
    store::HOLD_COMMITS,
    store::ERASE,
    query::TOTALS,
    query::STATES,
    query::CHECKPOINT,
    query::HISTORY,
    query::EXPORT,
    live::SEE,
    live::LEAVE,
    live::COUNT,
    live::LIST,
    live::EVICT,
];

async fn migrated(database: &Database) -> PgPool {
    let config = PostgresConfig::new(database.url()).unwrap();
    PostgresStore::connect(config.clone()).await.unwrap();
    PgPool::connect_with(config.connect_options()).await.unwrap()
}

#[tokio::test]
async fn every_statement_is_understood() {
    let database = Database::create();
    let pool = migrated(&database).await;
    for sql in STATEMENTS {
        let prepared = pool.prepare(sql.into_sql_str()).await;
        prepared.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    }
}
