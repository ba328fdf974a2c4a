//! Active users on many nodes: over a kill, over erasures and moves of the horizon, and over each other.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use futures_util::future::join_all;
use presence_core::{
    ActiveUsers, ActivityQuery, ActivityStore, Appended, CheckpointStore, DayMark, Figures, Horizon,
    IdentityFold, OnlineSnapshot, Period, RegionName, SnapshotStore, TimeWindow, Window,
    conformance::crowd::{self, EVENTS},
};
use presence_postgres_testing::Database;
use presence_sqlx::{
    PostgresStore,
    sqlx::{AssertSqlSafe, Executor},
};

use crate::support::{
    another_connection, at, connect, event, fresh, half_an_erasure, until_it_waits_for,
    until_it_waits_for_a_row, user,
};

#[expect(dead_code, reason = "its main runs as a program, below")]
#[path = "../../examples/ingest_nodes.rs"]
mod ingest;

/// A program of the examples, built beside the tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let path = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is built by `cargo test` or `cargo build --examples`", path.display());
    path
}

/// How many events there are, after all backends but this one have ended.
fn stored(database: &Database) -> u64 {
    let count = "SELECT count(*), count(DISTINCT event_id) FROM presence.analytics_event_log";
    let counts = database.psql(count);
    let (all, ids) = counts.split_once('|').expect("two counts");
    assert_eq!(all, ids, "each once");
    all.parse().expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn two_nodes_that_are_killed_and_begin_again_store_each_event_once() {
    let database = Database::create();
    let mut child = Command::new(program("ingest_nodes"))
        .arg(database.url())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let acknowledged = lines.by_ref().take(60).filter(Result::is_ok).count();
    child.kill().expect("it runs");
    let acknowledged = acknowledged + lines.count();
    child.wait().expect("it ends");
    assert!((60..800).contains(&acknowledged), "{acknowledged} batches");

    let before = stored(&database);
    assert!(before > 1000 && before < EVENTS, "{before} were stored before the kill");
    let nodes = ingest::nodes(database.url()).await.expect("two nodes");
    // Figures of what is there, so that the rest has something to make stale.
    nodes[0].refold(100).await.expect("a store that works");
    ingest::ingest(&nodes, |_| Ok(())).await.expect("a store that works");
    assert_eq!(stored(&database), EVENTS);
    // Both at once: each day is saved by one of them, at least.
    let refolds = join_all(nodes.iter().map(|node| node.refold(100))).await;
    let days: u64 = refolds.into_iter().map(|refold| refold.expect("a store that works").days).sum();
    assert!((7..=14).contains(&days), "{days}");
    for node in &nodes {
        assert_eq!(node.refold(100).await.expect("a store that works").days, 0, "nothing is stale");
        crowd::assert_figures(node).await;
    }
    println!("{before} events before the kill, {acknowledged} batches acknowledged");
}

const DAY: &str = "1970-01-01";

fn period() -> Period {
    Period::day(DAY.parse().unwrap()).unwrap()
}

async fn events(store: &PostgresStore) -> usize {
    store.events(Window::all(), None, 10_000).await.unwrap().len()
}

async fn mark(store: &PostgresStore) -> DayMark {
    let marks = store.day_marks(period()).await.unwrap();
    marks.days.first().copied().unwrap_or_else(|| DayMark::new(period().first()))
}

async fn active(store: &PostgresStore) -> ActiveUsers {
    store.fold(period(), None, 10_000, IdentityFold::new()).await.unwrap().0.finish()
}

fn figures(mark: DayMark, count: u64) -> Figures {
    Figures {
        mark,
        active: ActiveUsers { count, ..ActiveUsers::default() },
        calculated_at: at(1000),
        events: Vec::new(),
    }
}

#[tokio::test]
async fn an_event_that_somebody_else_is_storing_is_waited_for() {
    let (store, database) = fresh().await;
    let mut other = another_connection(&database).await;
    for (number, end, expected) in [(1, "COMMIT", Appended::Reused), (2, "ROLLBACK", Appended::Stored)] {
        let id = format!("event {number}");
        let insert = format!(
            "BEGIN; INSERT INTO presence.analytics_event_log VALUES
             (nextval('presence.event_log_id'), '{id}', decode(md5('another body'), 'hex'), 'alice', 'phone-4711', 'other', 0, 0)"
        );
        other.execute(AssertSqlSafe(insert)).await.unwrap();
        let events = vec![event(&id, "phone-4711", Some("alice"), 1), event(&id, "phone-4711", None, 1)];
        let append = tokio::spawn({
            let store = store.clone();
            async move { store.append(events).await }
        });
        until_it_waits_for_a_row(1, &append, &database).await;
        other.execute(end).await.unwrap();
        assert_eq!(append.await.unwrap().unwrap(), [expected, Appended::Stored], "after a {end}");
    }
    assert_eq!(events(&store).await, 4);
}

#[tokio::test]
async fn an_append_that_waited_for_an_erasure_sees_it() {
    let (store, database) = fresh().await;
    let erasure = half_an_erasure(&database).await;
    let late = tokio::spawn({
        let store = store.clone();
        let alice = |id, secs| event(id, "phone-4711", Some("alice"), secs);
        async move { store.append(vec![alice("a", 1999), alice("b", 2000), alice("c", 2001)]).await }
    });
    until_it_waits_for("erased_users", &late, &database).await;
    erasure.end().await;
    assert_eq!(late.await.unwrap().unwrap(), [Appended::Erased, Appended::Erased, Appended::Stored]);
    assert_eq!(events(&store).await, 1);
}

#[tokio::test]
async fn an_append_that_waited_for_the_horizon_sees_it_move() {
    let (store, database) = fresh().await;
    let mut other = another_connection(&database).await;
    other.execute("BEGIN; LOCK TABLE erased_users IN EXCLUSIVE MODE").await.unwrap();
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.append(vec![event("a", "phone-4711", Some("alice"), 1)]).await }
    });
    until_it_waits_for("erased_users", &late, &database).await;
    other.execute("UPDATE store_meta SET kept_from = '1970-01-02'; COMMIT").await.unwrap();
    assert_eq!(late.await.unwrap().unwrap(), [Appended::Stored]);
    assert_eq!((active(&store).await.count, mark(&store).await.changes), (0, 0), "the day is as it was");
}

#[tokio::test]
async fn the_horizon_waits_for_appends_and_moves_once() {
    let (store, database) = fresh().await;
    store.append(vec![event("a", "phone-4711", Some("alice"), 1)]).await.unwrap();
    // An append on another node, held open in its middle.
    let mut other = another_connection(&database).await;
    other.execute("BEGIN; SELECT FROM erased_users FOR KEY SHARE").await.unwrap();
    let retirement = tokio::spawn({
        let (store, before) = (store.clone(), Horizon { day: "1970-01-02".parse().unwrap(), at: at(86_400) });
        async move { store.retire(before, 100).await }
    });
    until_it_waits_for("erased_users", &retirement, &database).await;
    assert_eq!(active(&store).await.count, 1, "nothing goes before the horizon has moved");
    other.execute("COMMIT").await.unwrap();
    let retired = retirement.await.unwrap().unwrap();
    assert_eq!((retired.events, retired.sightings), (1, 1));

    // From now on the way is free: what is retired later waits for nobody.
    store.append(vec![event("b", "phone-4711", Some("alice"), 1)]).await.unwrap();
    other.execute("BEGIN; SELECT FROM erased_users FOR KEY SHARE").await.unwrap();
    let before = Horizon { day: "1970-01-02".parse().unwrap(), at: at(86_400) };
    let retired = store.retire(before, 100).await.unwrap();
    assert_eq!((retired.events, retired.sightings), (1, 0));
}

#[tokio::test]
async fn nodes_that_retire_at_once_take_different_rows() {
    let (store, database) = fresh().await;
    let other = connect(database.url()).await;
    let sent = (0..500).map(|n| event(&format!("e{n}"), &format!("phone-{n:04}"), None, n));
    store.append(sent.collect()).await.unwrap();
    let before = Horizon { day: "1970-01-02".parse().unwrap(), at: at(400) };
    let retirements = (0..20).map(|number| {
        let node = if number % 2 == 0 { &store } else { &other };
        node.retire(before, 70)
    });
    let retired = join_all(retirements).await;
    let retired: Vec<_> = retired.into_iter().map(|retired| retired.unwrap()).collect();
    let events_gone: u64 = retired.iter().map(|retired| retired.events).sum();
    let sightings_gone: u64 = retired.iter().map(|retired| retired.sightings).sum();
    let last = store.retire(before, 1000).await.unwrap();
    assert_eq!((events_gone + last.events, sightings_gone + last.sightings), (400, 500), "{retired:?}");
    assert_eq!(events(&store).await, 100);
}

#[tokio::test]
async fn of_two_nodes_that_count_a_day_at_once_one_saves_it() {
    let (store, database) = fresh().await;
    let nodes = [store.clone(), connect(database.url()).await, connect(database.url()).await];
    for round in 0..40 {
        let id = format!("e{round}");
        store.append(vec![event(&id, &format!("phone-{round:04}"), None, 1)]).await.unwrap();
        let before = mark(&store).await;
        assert_eq!((before.version, before.is_stale()), (round, true));
        let saves = (1..).zip(&nodes).map(|(count, node)| node.save(figures(before, count)));
        let saved: Vec<_> = join_all(saves).await.into_iter().map(|saved| saved.unwrap()).collect();
        let winner = saved.iter().position(|saved| *saved).unwrap();
        assert_eq!(saved.iter().filter(|saved| **saved).count(), 1, "{saved:?}");
        let stored = store.days(period()).await.unwrap();
        assert_eq!((stored[0].active.count, stored[0].mark.version), (winner as u64 + 1, round + 1));
        assert!(!mark(&store).await.is_stale());
    }
}

#[tokio::test]
async fn the_first_of_many_nodes_keeps_the_snapshot() {
    let (store, database) = fresh().await;
    let nodes = [store.clone(), connect(database.url()).await, connect(database.url()).await];
    let mut kept = Vec::new();
    for minute in 0..40 {
        let snapshot = |online_count| {
            let window = TimeWindow::from_secs(180).unwrap();
            OnlineSnapshot { at: at(minute * 60), online_count, window }
        };
        let keeps = (1..).zip(&nodes).map(|(count, node)| node.keep_snapshot(snapshot(count)));
        let first: Vec<_> = join_all(keeps).await.into_iter().map(|first| first.unwrap()).collect();
        assert_eq!(first.iter().filter(|first| **first).count(), 1, "{first:?}");
        kept.push(snapshot(first.iter().position(|first| *first).unwrap() as u64 + 1));
    }
    assert_eq!(nodes[1].snapshots(Window::all(), 100).await.unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_in_any_order_never_block_each_other_nor_what_else_happens() {
    const EVENTS: usize = 64;
    let (store, database) = fresh().await;
    let other = connect(database.url()).await;
    // Half of the events are the same for all, half of the sightings are: of other events.
    let event_of = |number: usize, round: i64, task: usize| {
        let by = ["alice", "bob", "carol"].get(number % 4).copied();
        let install = format!("phone-{:04}", number % 16);
        let id = if number < EVENTS / 2 { number.to_string() } else { format!("{number} of {task}") };
        event(&format!("{id} in {round}"), &install, by, round * 10 + number as i64 % 7)
    };
    let tasks = (0..6).map(|task| {
        let store = if task % 2 == 0 { store.clone() } else { other.clone() };
        tokio::spawn(async move {
            let mut stored = 0;
            for round in 0..30 {
                let mut events: Vec<_> = (0..EVENTS).map(|number| event_of(number, round, task)).collect();
                if task % 3 == 0 {
                    events.reverse();
                }
                events.rotate_left(task * 10);
                let outcomes = store.append(events).await.unwrap();
                stored += outcomes.iter().filter(|outcome| **outcome == Appended::Stored).count();
                for mark in store.stale(10).await.unwrap() {
                    store.save(figures(mark, 1)).await.unwrap();
                }
                match task {
                    1 => drop(store.erase(&user("nobody"), at(0)).await.unwrap()),
                    2 => {
                        let before = Horizon { day: DAY.parse().unwrap(), at: at(0) };
                        store.retire(before, 10).await.unwrap();
                    }
                    _ => {}
                }
            }
            stored
        })
    });
    let stored: Vec<_> = join_all(tasks).await.into_iter().map(|stored| stored.unwrap()).collect();
    let all = 30 * (EVENTS / 2 + 6 * EVENTS / 2);
    assert_eq!(stored.iter().sum::<usize>(), all, "each once: {stored:?}");
    let deadlocks = "SELECT pg_stat_force_next_flush(); SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.psql(deadlocks).trim(), "0");
    assert_eq!(events(&store).await, all);
    assert_eq!(active(&store).await.count, 7, "three people and four phones");
}

#[tokio::test]
async fn of_two_regions_of_one_rank_the_name_decides_and_the_same_is_no_news() {
    let (store, _database) = fresh().await;
    // Ids that begin with the same 16 bytes have one rank.
    let steps = [("Hubei", "Hubei", 1), ("Hunan", "Hunan", 2), ("Hubei", "Hunan", 2), ("Hunan", "Hunan", 2)];
    for (number, (said, counted, changes)) in steps.into_iter().enumerate() {
        let mut event = event(&format!("of one long name {number}"), "phone-4711", Some("alice"), 1);
        let city = event.sighting.as_mut().and_then(|sighting| sighting.city.as_mut()).unwrap();
        city.name = RegionName::parse(said).unwrap();
        store.append(vec![event]).await.unwrap();
        assert_eq!(mark(&store).await.changes, changes, "{number}");
        assert_eq!(active(&store).await.by_city.into_keys().collect::<Vec<_>>(), [counted], "{number}");
    }
}
