//! The same on PostgreSQL, on a server of our own that flushes to this disk.

use std::sync::Arc;

use presence_benches::{
    activity::{DAY, Events, activity, bare_postgres},
    table::{self, median, seconds},
};
use presence_core::{Activity, ActivityStore, Period, Timestamp};
use presence_postgres_testing::Server;
use presence_sqlx::{
    PostgresConfig, PostgresStore,
    sqlx::{Connection, PgConnection},
};
use tokio::runtime::Runtime;

use crate::PEOPLE;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn open(url: &str) -> (Arc<PostgresStore>, Activity) {
    let config = PostgresConfig::new(url).expect("a URL").max_connections(2);
    let store = Arc::new(PostgresStore::connect(config).await.expect("a store"));
    (store.clone(), activity(store))
}

/// A day of a million people, counted anew.
pub(crate) fn refold() {
    let (server, runtime) = (Server::durable(), runtime());
    let database = server.database();
    let (store, activity) = runtime.block_on(open(database.url()));
    let events = Events::once_each(DAY, PEOPLE);
    for batch in events.judged().chunks(10_000) {
        runtime.block_on(store.append(batch.to_vec())).expect("a store that works");
    }
    database.psql("VACUUM ANALYZE presence.daily_sightings");
    let day = activity.policy().day_of(Timestamp::from_millis(DAY).expect("an instant"));
    let took = (0..3).map(|_| {
        seconds(|| {
            runtime.block_on(activity.recalculate(day)).expect("a day that is kept");
        })
    });
    let took = median(took.collect());
    let period = Period::day(day).expect("a day");
    let stats = || runtime.block_on(activity.stats(period)).expect("a store that works");
    let count = stats()[0].active.count;
    table::row(
        &format!("refold: a day of {count} people, PostgreSQL"),
        &format!("{took:.2} s"),
        "",
        "",
        "< 3 s",
    );
    let took = (0..100).map(|_| seconds(|| drop(std::hint::black_box(stats()))));
    let took = format!("{:.0} us", median(took.collect()) * 1e6);
    table::row("stats: a stored day, PostgreSQL", &took, "", "", "< 5 ms");
}

/// Batches of 1,000, each flushed, and a bare loop that writes the same rows.
pub(crate) fn ingest() {
    const BATCHES: u64 = 100;
    let (server, runtime) = (Server::durable(), runtime());
    let events = Events::of(DAY, BATCHES * 1000, 30_000);
    let sent: Vec<_> = (0..events.at.len()).map(|row| events.event(row)).collect();
    let rows = events.judged();
    let (mut ratios, mut ours, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let database = server.database();
        let (_store, activity) = runtime.block_on(open(database.url()));
        let batches: Vec<_> = sent.chunks(1000).map(<[_]>::to_vec).collect();
        let took = seconds(|| {
            for batch in batches {
                let verdicts = runtime.block_on(activity.ingest(batch)).expect("a store that works");
                assert!(verdicts.iter().all(|verdict| verdict.as_ref().is_ok_and(|logged| logged.is_new)));
            }
        });
        let written =
            "SELECT count(*), sum(changes) FROM presence.analytics_event_log, presence.activity_days";
        let ours_written = database.psql(written);

        let database = server.database();
        runtime.block_on(open(database.url()));
        let options = PostgresConfig::new(database.url()).expect("a URL").connect_options();
        let mut connection = runtime.block_on(PgConnection::connect_with(&options)).expect("a connection");
        let against = seconds(|| {
            for batch in rows.chunks(1000) {
                runtime.block_on(bare_postgres::write(&mut connection, batch));
            }
        });
        assert_eq!(database.psql(written), ours_written);
        ours.push(rows.len() as f64 / took);
        bare.push(rows.len() as f64 / against);
        ratios.push(against / took);
    }
    table::row(
        "ingest: events in batches of 1,000, fsync, PostgreSQL",
        &format!("{:.0} k/s", median(ours) / 1e3),
        &format!("{:.0} k/s", median(bare) / 1e3),
        &format!("{:.2}", median(ratios)),
        ">= 0.6",
    );
}
