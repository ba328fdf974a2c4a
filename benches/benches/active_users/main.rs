//! Active users: folding ten million events, refolding a day of a million people, ingesting in batches.
//!
//! `cargo bench --bench active_users` prints one table. `benches/beside_duckdb.py` runs the fold beside DuckDB on the same
//! columns: `-- fold PATH` writes them as CSV, and prints the figures as JSON. `-- postgres` prints those of PostgreSQL
//! alone.

mod postgres;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

use futures_executor::block_on;
use presence_benches::{
    activity::{DAY, Events, activity, bare_sqlite},
    process,
    table::{self, median, seconds},
};
use presence_core::{
    ActiveUsers, ActivityStore, EventRank, IdentityFold, Period, RegionRef, SightingRef, Timestamp,
};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

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

fn folded(events: &Events) -> IdentityFold {
    let mut fold = IdentityFold::new();
    let mut block = Vec::with_capacity(1024);
    for (row, at) in events.at.iter().enumerate() {
        let at = Timestamp::from_millis(*at).expect("an instant");
        let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let region = |name| RegionRef { at, rank: EventRank(row as u128), name };
        block.push(SightingRef {
            install: events.install.get(row),
            user: some(events.user.get(row)),
            province: some(events.province.get(row)).map(region),
            city: some(events.city.get(row)).map(region),
        });
        if block.len() == block.capacity() {
            fold.see_all(&block);
            block.clear();
        }
    }
    fold.see_all(&block);
    fold
}

const EVENTS: u64 = 10_000_000;
const PEOPLE: u64 = 1_000_000;

fn fold() {
    let events = Events::of(DAY, EVENTS, PEOPLE);
    let before = resident();
    let fold = folded(&events);
    let grown = resident() - before;
    let count = fold.finish().count;
    table::row("fold: bytes a person", &format!("{:.0}", grown / count as f64), "", "", "<= 200");
    let took = (0..3).map(|_| busy(|| drop(std::hint::black_box(folded(&events).finish()))));
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
    let events = Events::of(DAY, EVENTS, PEOPLE);
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    writeln!(file, "number,millis,install,usr,province,city").expect("written");
    for (row, at) in events.at.iter().enumerate() {
        let (install, user) = (events.install.get(row), events.user.get(row));
        let (province, city) = (events.province.get(row), events.city.get(row));
        writeln!(file, "{row},{at},{install},{user},{province},{city}").expect("written");
    }
    file.flush().expect("written");
    let mut active = ActiveUsers::default();
    let took: Vec<_> = (0..5).map(|_| busy(|| active = folded(&events).finish())).collect();
    let [provinces, cities] = active.to_stored();
    println!(
        r#"{{"seconds":{},"count":{},"by_province":{provinces},"by_city":{cities}}}"#,
        median(took),
        active.count
    );
}

fn open(path: &Path, durability: Durability) -> Arc<SqliteStore> {
    Arc::new(
        block_on(SqliteStore::open_with(SqliteConfig::new(path).durability(durability))).expect("a store"),
    )
}

/// A day of a million people, counted anew.
fn refold() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("presence.db"), Durability::Process);
    let events = Events::once_each(DAY, PEOPLE);
    for batch in events.judged().chunks(10_000) {
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
    let events = Events::of(DAY, BATCHES as u64 * 1000, 30_000);
    let sent: Vec<_> = (0..events.at.len()).map(|row| events.event(row)).collect();
    let rows = events.judged();
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
        let against = seconds(|| bare_sqlite::write(&path, &rows));
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
