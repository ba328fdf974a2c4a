//! Active users in a file: over a kill, a restart, and with many people behind a day.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use futures_executor::block_on;
use presence_core::{ActiveUsers, Activity, ActivityQuery, Period, Window};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

use crate::outside;

#[expect(dead_code, reason = "its main runs as a program, below")]
#[path = "../../examples/ingest.rs"]
mod ingest;

const EVENTS: u64 = 100_000;
const THREADS: u64 = 8;

/// The figures of some days, by the words of the rule.
fn oracle(days: std::ops::Range<u64>) -> ActiveUsers {
    let events = || (0..EVENTS).map(|number| (number, ingest::plain(number)));
    let inside: Vec<_> = events().filter(|(_, (_, _, secs, _))| days.contains(&(secs / 86_400))).collect();
    let bound: BTreeSet<_> = inside
        .iter()
        .filter(|(_, (_, user, ..))| user.is_some())
        .map(|(_, (install, ..))| *install)
        .collect();
    let mut people: BTreeMap<_, Option<(u64, u64, u64)>> = BTreeMap::new();
    for (number, (install, user, secs, province)) in inside {
        if user.is_none() && bound.contains(&install) {
            continue;
        }
        let person = user.map_or(("i", install), |user| ("u", user));
        let named = province.map(|province| (secs, number, province));
        let last = people.entry(person).or_default();
        *last = named.max(*last);
    }
    let mut by_province = BTreeMap::new();
    for (_, _, province) in people.values().flatten() {
        *by_province.entry(format!("P{province:02}")).or_default() += 1;
    }
    ActiveUsers { count: people.len() as u64, by_province, by_city: BTreeMap::new() }
}

fn period(first: &str, last: &str) -> Period {
    Period::new(first.parse().expect("a day"), last.parse().expect("a day")).expect("a period")
}

fn assert_figures(activity: &Activity) {
    let week = period("2025-01-01", "2025-01-07");
    let stats = block_on(activity.stats(week)).expect("a store that works");
    assert_eq!(stats.len(), 7);
    for (day, stats) in (0..).zip(stats) {
        assert_eq!(stats.active, oracle(day..day + 1), "{}", stats.day);
        assert!(stats.active.count > 3000 && stats.active.by_province.len() == 32, "{}", stats.active.count);
    }
    assert_eq!(block_on(activity.active_users(week)).expect("a store that works"), oracle(0..7));
}

#[test]
fn eight_threads_that_are_killed_and_begin_again_store_each_event_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("presence.db");
    let mut child = Command::new(outside::program("ingest"))
        .arg(&path)
        .args([THREADS.to_string(), EVENTS.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let acknowledged = lines.by_ref().take(60).filter(Result::is_ok).count();
    child.kill().expect("it runs");
    let acknowledged = acknowledged + lines.count();
    child.wait().expect("it ends");
    assert!((60..800).contains(&acknowledged), "{acknowledged} batches");

    let config = SqliteConfig::new(&path).durability(Durability::Process);
    let store = Arc::new(block_on(SqliteStore::open_with(config.clone())).expect("a store"));
    let stored = |store: &SqliteStore| {
        let events = block_on(store.events(Window::all(), None, usize::MAX)).expect("a store that works");
        let ids: BTreeSet<_> = events.iter().map(|event| event.event_id.clone()).collect();
        assert_eq!(ids.len(), events.len(), "each once");
        events.len()
    };
    let before = stored(&store);
    assert!(before > 1000 && before < EVENTS as usize, "{before} were stored before the kill");
    let activity = ingest::activity(store.clone()).expect("a clock");
    // Figures of what is there, so that the rest has something to make stale.
    block_on(activity.refold(100)).expect("a store that works");
    ingest::ingest(&activity, THREADS, EVENTS, |_| Ok(())).expect("a store that works");
    assert_eq!(stored(&store), EVENTS as usize);
    assert_eq!(block_on(activity.refold(100)).expect("a store that works").days, 7);
    assert_figures(&activity);
    for day in 1..=7 {
        let day = format!("2025-01-0{day}").parse().expect("a day");
        assert!(block_on(activity.audit(day)).expect("a day that is kept").agrees());
    }
    println!("{before} events before the kill, {acknowledged} batches acknowledged");
    drop(activity);
    block_on(store.close());

    let again = Arc::new(block_on(SqliteStore::open_with(config)).expect("a store"));
    let activity = ingest::activity(again.clone()).expect("a clock");
    assert_eq!(block_on(activity.refold(100)).expect("a store that works").days, 0, "nothing is stale");
    assert_figures(&activity);
    block_on(again.close());
}
