//! Calls to sweep, from a schedule in the database.

use crate::support::{end_connections, fresh};

/// What pg_cron has of it: the function that takes a job, and keeps it.
const PG_CRON: &str = "CREATE SCHEMA cron;
    CREATE TABLE cron.job (jobname TEXT, schedule TEXT, command TEXT, database TEXT);
    CREATE FUNCTION cron.schedule_in_database(TEXT, TEXT, TEXT, TEXT) RETURNS VOID
        LANGUAGE sql AS 'INSERT INTO cron.job VALUES ($1, $2, $3, $4)'";

#[tokio::test]
async fn the_schedule_that_ships_wakes_every_node() {
    let (store, database) = fresh().await;
    let (mut one, mut other) = (store.wakes().await.unwrap(), store.wakes().await.unwrap());
    database.psql(PG_CRON);
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/pg_cron.sql");
    database.psql_file(deploy, &[("store", database.name())]);
    let job = database.psql("SELECT jobname, schedule, command, database FROM cron.job");
    let expected = format!("detect-offline|* * * * *|NOTIFY presence_sweep|{}", database.name());
    assert_eq!(job, expected);
    database.psql("NOTIFY presence_sweep");
    one.next().await.unwrap();
    other.next().await.unwrap();

    // A connection that breaks is replaced, and hears the next call.
    end_connections(&database);
    let next = tokio::spawn(async move { one.next().await });
    while !next.is_finished() {
        database.psql("NOTIFY presence_sweep");
        tokio::task::yield_now().await;
    }
    next.await.unwrap().unwrap();
}
