//! Active users: folding ten million events, refolding a day of a million people, ingesting in batches.
//!
//! `cargo bench --bench active_users` prints one table. `benches/beside_duckdb.py` runs the fold beside DuckDB on the same
//! columns: `-- fold PATH` writes them as CSV, and prints the figures as JSON. `-- postgres` prints those of PostgreSQL
//! alone.

mod postgres;

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write as _},
    sync::Arc,
};

use futures_executor::block_on;
use presence_benches::{
    process,
    table::{self, median, seconds},
    user,
};
use presence_core::{
    ActiveUsers, Activity, ActivityPolicy, ActivityQuery, ActivityStore, ClientEvent, EventId, EventName,
    EventProperties, EventRank, IdentityFold, InstallId, ManualClock, NewEvent, Period, RegionRef,
    SightingRef, SnapshotStore, Timestamp,
};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore, rusqlite};

/// 2025-01-01.
const DAY: i64 = 1_735_689_600_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("fold"), Some(path)) => beside_duckdb(&path),
        (Some("postgres"), None) => {
            postgres::refold();
            postgres::ingest();
        }
        _ => {
            fold();
            refold();
            postgres::refold();
            ingest();
            postgres::ingest();
        }
    }
}

/// How long the processor works on it: what it takes on a machine that has nothing else to do, in hundredths.
fn busy(work: impl FnOnce()) -> f64 {
    let spent = || process::cpu(std::process::id()).map_or(f64::NAN, |time| time.as_secs_f64());
    let before = spent();
    work();
    spent() - before
}

/// The memory of this process that is resident, in bytes.
fn resident() -> f64 {
    process::resident(std::process::id()).map_or(f64::NAN, |bytes| bytes as f64)
}

/// Text of many rows, each behind the one before.
#[derive(Default)]
struct Column {
    text: String,
    ends: Vec<usize>,
}

impl Column {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[row]]
    }
}

/// A day of events; empty text is none.
#[derive(Default)]
struct Events {
    at: Vec<i64>,
    install: Column,
    user: Column,
    province: Column,
    city: Column,
}

impl Events {
    /// Half of the events are of a tenth of the people. Seven in ten people log in, on one or two installs, and at times
    /// before they do; ids are 36 bytes long, as UUIDs are.
    fn of(events: u64, people: u64) -> Self {
        let mut all = Self::default();
        let mut text = String::new();
        for number in 0..events {
            let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = mixed ^ (mixed >> 32);
            let person = if mixed & 1 == 0 { (mixed >> 8) % (people / 10) } else { (mixed >> 8) % people };
            let has_account = person % 10 < 7;
            let install = person * 2 + u64::from(has_account && mixed >> 1 & 3 == 0);
            let is_known = has_account && mixed >> 3 & 3 != 0;
            all.at.push(DAY + (mixed >> 20) as i64 % 86_400_000);
            all.install.push(user(install).as_str());
            all.user.push(
                if is_known { user(1 << 40 | person).as_str().to_owned() } else { String::new() }.as_str(),
            );
            for (column, kind, count) in [(&mut all.province, "province", 32), (&mut all.city, "city", 300)] {
                text.clear();
                if mixed >> 5 & 7 < 6 {
                    let _ = write!(text, "{kind}-{}", (person + (mixed >> 40 & 3)) % count);
                }
                column.push(&text);
            }
        }
        all
    }

    fn fold(&self) -> IdentityFold {
        let mut fold = IdentityFold::new();
        let mut block = Vec::with_capacity(1024);
        for (row, at) in self.at.iter().enumerate() {
            let at = Timestamp::from_millis(*at).expect("an instant");
            let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
            let region = |name| RegionRef { at, rank: EventRank(row as u128), name };
            block.push(SightingRef {
                install: self.install.get(row),
                user: some(self.user.get(row)),
                province: some(self.province.get(row)).map(region),
                city: some(self.city.get(row)).map(region),
            });
            if block.len() == block.capacity() {
                fold.see_all(&block);
                block.clear();
            }
        }
        fold.see_all(&block);
        fold
    }
}

const EVENTS: u64 = 10_000_000;
const PEOPLE: u64 = 1_000_000;

fn fold() {
    let events = Events::of(EVENTS, PEOPLE);
    let before = resident();
    let fold = events.fold();
    let grown = resident() - before;
    let count = fold.finish().count;
    table::row("fold: bytes a person", &format!("{:.0}", grown / count as f64), "", "", "<= 200");
    let took = (0..3).map(|_| busy(|| drop(std::hint::black_box(events.fold().finish()))));
    let rate = EVENTS as f64 / median(took.collect());
    table::row(
        &format!("fold: 10 M events in text columns, {count} people"),
        &format!("{:.1} M/s", rate / 1e6),
        "",
        "",
        "benches/beside_duckdb.py",
    );
}

/// Writes the columns, folds them, and prints how long that took and what it came to.
fn beside_duckdb(path: &str) {
    let events = Events::of(EVENTS, PEOPLE);
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    writeln!(file, "number,millis,install,usr,province,city").expect("written");
    for (row, at) in events.at.iter().enumerate() {
        let (install, user) = (events.install.get(row), events.user.get(row));
        let (province, city) = (events.province.get(row), events.city.get(row));
        writeln!(file, "{row},{at},{install},{user},{province},{city}").expect("written");
    }
    file.flush().expect("written");
    let mut active = ActiveUsers::default();
    let took: Vec<_> = (0..5).map(|_| busy(|| active = events.fold().finish())).collect();
    let [provinces, cities] = active.to_stored();
    println!(
        r#"{{"seconds":{},"count":{},"by_province":{provinces},"by_city":{cities}}}"#,
        median(took),
        active.count
    );
}

fn open(path: &std::path::Path, durability: Durability) -> Arc<SqliteStore> {
    Arc::new(
        block_on(SqliteStore::open_with(SqliteConfig::new(path).durability(durability))).expect("a store"),
    )
}

fn activity<S: ActivityQuery + ActivityStore + SnapshotStore + 'static>(store: Arc<S>) -> Activity {
    let clock = ManualClock::new(Timestamp::from_millis(DAY + 86_400_000).expect("an instant"));
    Activity::with_policy(store, clock, ActivityPolicy::default())
}

fn event(events: &Events, row: usize) -> ClientEvent {
    let install = InstallId::new(events.install.get(row)).expect("an install");
    let mut event = ClientEvent::new(EventName::new("app_session_start").expect("a name"), install)
        .at(Timestamp::from_millis(events.at[row]).expect("an instant"))
        .with_event_id(EventId::new(user(1 << 41 | row as u64).as_str()).expect("an event id"));
    if let Ok(user) = presence_core::UserId::new(events.user.get(row)) {
        event = event.by(user);
    }
    let (province, city) = (events.province.get(row), events.city.get(row));
    let json = format!(r#"{{"city":"{city}","province":"{province}"}}"#);
    event.with_properties(EventProperties::parse(&json).expect("an object"))
}

fn judged(events: &Events) -> Vec<NewEvent> {
    let now = Timestamp::from_millis(DAY + 86_400_000).expect("an instant");
    let policy = ActivityPolicy::default();
    (0..events.at.len()).map(|row| event(events, row).judged(now, &policy).expect("in the past")).collect()
}

/// One event of each of a million people, and the day counted anew.
fn refold() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("presence.db"), Durability::Process);
    let events = Events::of(2_400_000, PEOPLE);
    for batch in judged(&events).chunks(10_000) {
        block_on(store.append(batch.to_vec())).expect("a store that works");
    }
    let activity = activity(store.clone());
    let day = activity.policy().day_of(Timestamp::from_millis(DAY).expect("an instant"));
    let took = seconds(|| {
        block_on(activity.refold(8)).expect("a store that works");
    });
    let period = Period::day(day).expect("a day");
    let count = block_on(activity.stats(period)).expect("a store that works")[0].active.count;
    table::row(&format!("refold: a day of {count} people, SQLite"), &format!("{took:.2} s"), "", "", "< 3 s");
    let took = (0..100).map(|_| {
        seconds(|| drop(std::hint::black_box(block_on(activity.stats(period)).expect("a store that works"))))
    });
    table::row(
        "stats: a stored day, SQLite",
        &format!("{:.0} us", median(took.collect()) * 1e6),
        "",
        "",
        "< 5 ms",
    );
}

/// Batches of 1,000 into a file that flushes each, and a bare loop that writes the same rows.
fn ingest() {
    const BATCHES: usize = 100;
    let events = Events::of(BATCHES as u64 * 1000, 30_000);
    let sent: Vec<_> = (0..events.at.len()).map(|row| event(&events, row)).collect();
    let rows = judged(&events);
    let (mut ratios, mut ours, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder.path().join("presence.db"), Durability::Fsync);
        let activity = activity(store.clone());
        let batches: Vec<_> = sent.chunks(1000).map(<[_]>::to_vec).collect();
        let took = seconds(|| {
            for batch in batches {
                let verdicts = block_on(activity.ingest(batch)).expect("a store that works");
                assert!(verdicts.iter().all(|verdict| verdict.as_ref().is_ok_and(|logged| logged.is_new)));
            }
        });
        drop(activity);
        block_on(store.close());

        let path = folder.path().join("bare.db");
        block_on(open(&path, Durability::Fsync).close());
        let against = seconds(|| write(&path, &rows));
        ours.push(rows.len() as f64 / took);
        bare.push(rows.len() as f64 / against);
        ratios.push(against / took);
    }
    table::row(
        "ingest: events in batches of 1,000, fsync, SQLite",
        &format!("{:.0} k/s", median(ours) / 1e3),
        &format!("{:.0} k/s", median(bare) / 1e3),
        &format!("{:.2}", median(ratios)),
        ">= 0.6",
    );
}

/// The rows of these events, a transaction for every thousand, and nothing checked.
fn write(path: &std::path::Path, rows: &[NewEvent]) {
    let mut connection = rusqlite::Connection::open(path).expect("a file of a store");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 20000;
             PRAGMA secure_delete = ON; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;",
        )
        .expect("settings");
    for batch in rows.chunks(1000) {
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut log = transaction
                .prepare_cached(
                    "INSERT INTO analytics_event_log (event_id, fingerprint, user_id, install_id, event_name,
                     event_time, created_at, properties) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )
                .expect("a statement");
            let mut sighting = transaction
                .prepare_cached(
                    "INSERT INTO daily_sightings (day, install_id, user_id, province, province_at, province_rank,
                     city, city_at, city_rank) VALUES ('2025-01-01', ?1, ?2, ?3, ?4, ?5, ?6, ?4, ?5)
                     ON CONFLICT DO UPDATE SET province = excluded.province, province_at = excluded.province_at,
                     province_rank = excluded.province_rank, city = excluded.city, city_at = excluded.city_at,
                     city_rank = excluded.city_rank WHERE province_at IS NULL OR excluded.province_at > province_at",
                )
                .expect("a statement");
            for row in batch {
                let (install, at) = (row.install.as_str(), row.at.as_millis());
                let user = row.user.as_ref().map(presence_core::UserId::as_str);
                let properties = row.properties.as_ref().map(EventProperties::as_str);
                let (id, digest) = (row.event_id.as_str(), row.fingerprint.0.to_be_bytes());
                let name = row.name.as_str();
                log.execute(rusqlite::params![id, digest, user, install, name, at, at, properties])
                    .expect("a row");
                let seen = row.sighting.as_ref().expect("counted");
                let province = seen.province.as_ref();
                let rank = province.map(|region| region.rank.0.to_be_bytes());
                let (province, city) = [province, seen.city.as_ref()]
                    .map(|region| region.map(|region| region.name.as_str()))
                    .into();
                let at = rank.map(|_| at);
                sighting
                    .execute(rusqlite::params![install, user.unwrap_or(""), province, at, rank, city])
                    .expect("a row");
            }
            transaction
                .execute(
                    "INSERT INTO activity_days (day, changes, folded) VALUES ('2025-01-01', 1, 0)
                     ON CONFLICT DO UPDATE SET changes = changes + 1",
                    [],
                )
                .expect("a row");
        }
        transaction.commit().expect("a commit");
    }
    connection.close().expect("closed");
}
