//! The same on PostgreSQL, on a server of our own that flushes to this disk.

use std::{collections::BTreeMap, sync::Arc};

use presence_benches::table::{self, median, seconds};
use presence_core::{Activity, ActivityStore, EventProperties, NewEvent, Period, Timestamp, UserId};
use presence_postgres_testing::Server;
use presence_sqlx::{
    PostgresConfig, PostgresStore,
    sqlx::{self, Connection, PgConnection},
};
use tokio::runtime::Runtime;

use crate::{DAY, Events, PEOPLE, activity, event, judged};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn open(url: &str) -> (Arc<PostgresStore>, Activity) {
    let config = PostgresConfig::new(url).expect("a URL").max_connections(2);
    let store = Arc::new(PostgresStore::connect(config).await.expect("a store"));
    (store.clone(), activity(store))
}

/// One event of each of a million people, and the day counted anew.
pub(crate) fn refold() {
    let (server, runtime) = (Server::durable(), runtime());
    let database = server.database();
    let (store, activity) = runtime.block_on(open(database.url()));
    let events = Events::of(2_400_000, PEOPLE);
    for batch in judged(&events).chunks(10_000) {
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
    let events = Events::of(BATCHES * 1000, 30_000);
    let sent: Vec<_> = (0..events.at.len()).map(|row| event(&events, row)).collect();
    let rows = judged(&events);
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
                runtime.block_on(write(&mut connection, batch));
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

const WRITE: &str = "WITH logged AS (
    INSERT INTO analytics_event_log
        (id, event_id, fingerprint, user_id, install_id, event_name, event_time, created_at, properties)
    SELECT nextval('event_log_id'), l.event_id, l.fingerprint, l.user_id, l.install_id, l.event_name, l.event_time,
        l.event_time, l.properties::json
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])
        AS l (event_id, fingerprint, user_id, install_id, event_name, event_time, properties)
), seen AS (
    INSERT INTO daily_sightings AS d
        (day, install_id, user_id, province, province_at, province_rank, city, city_at, city_rank)
    SELECT DATE '2025-01-01', s.install_id, s.user_id, s.province, s.at, s.rank, s.city, s.at, s.rank
    FROM unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bytea[])
        AS s (install_id, user_id, province, city, at, rank)
    ON CONFLICT (day, install_id, user_id) DO UPDATE SET province = excluded.province,
        province_at = excluded.province_at, province_rank = excluded.province_rank, city = excluded.city,
        city_at = excluded.city_at, city_rank = excluded.city_rank
    WHERE d.province_at IS NULL OR excluded.province_at > d.province_at
)
INSERT INTO activity_days AS a (day, changes, folded) VALUES ('2025-01-01', 1, 0)
ON CONFLICT (day) DO UPDATE SET changes = a.changes + 1";

/// The rows of these events, and nothing checked but what a statement cannot write twice.
async fn write(connection: &mut PgConnection, rows: &[NewEvent]) {
    let text = |of: fn(&NewEvent) -> &str| rows.iter().map(of).collect::<Vec<_>>();
    let fingerprints: Vec<_> = rows.iter().map(|row| row.fingerprint.0.to_be_bytes()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user.as_ref().map(UserId::as_str)).collect();
    let at: Vec<_> = rows.iter().map(|row| row.at.as_millis()).collect();
    let properties: Vec<_> =
        rows.iter().map(|row| row.properties.as_ref().map(EventProperties::as_str)).collect();
    let mut seen: BTreeMap<_, &NewEvent> = BTreeMap::new();
    for row in rows {
        let last = seen.entry((row.install.as_str(), row.user.as_ref().map_or("", UserId::as_str)));
        let last = last.or_insert(row);
        let names_region = row.sighting.as_ref().is_some_and(|sighting| sighting.province.is_some());
        if names_region && row.at > last.at {
            *last = row;
        }
    }
    let (installs, people): (Vec<_>, Vec<_>) = seen.keys().copied().unzip();
    let sightings = || seen.values().filter_map(|row| row.sighting.as_ref());
    let provinces: Vec<_> =
        sightings().map(|seen| seen.province.as_ref().map(|region| region.name.as_str())).collect();
    let cities: Vec<_> =
        sightings().map(|seen| seen.city.as_ref().map(|region| region.name.as_str())).collect();
    let seen_at: Vec<_> =
        sightings().map(|seen| seen.province.as_ref().map(|region| region.at.as_millis())).collect();
    let ranks: Vec<_> =
        sightings().map(|seen| seen.province.as_ref().map(|region| region.rank.0.to_be_bytes())).collect();
    let write = sqlx::query(WRITE).bind(text(|row| row.event_id.as_str())).bind(fingerprints).bind(users);
    let write = write.bind(text(|row| row.install.as_str())).bind(text(|row| row.name.as_str())).bind(at);
    let write = write.bind(properties).bind(installs).bind(people).bind(provinces).bind(cities);
    write.bind(seen_at).bind(ranks).execute(connection).await.expect("rows");
}
