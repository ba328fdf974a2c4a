//! Days that are summed up: over restarts, beside a corrupt user, and in a file of the first release.

use std::{path::Path, sync::Arc};

use futures_executor::block_on;
use presence_core::{
    CheckpointQuery, DaySummary, Envelope, ManualClock, Policy, StateType, StoreError, SummaryCache, Tracker,
    Window, Zone,
    conformance::summed_life::{Life, Step},
};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore, rusqlite::Connection};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{at, user};

const DAY: i64 = 86_400;

fn open(path: &Path) -> Arc<SqliteStore> {
    let config = SqliteConfig::new(path).durability(Durability::Process);
    Arc::new(block_on(SqliteStore::open_with(config)).expect("a store"))
}

/// A tracker without timeout on the tenth day of 1970.
fn tracker(store: &Arc<SqliteStore>) -> Tracker {
    let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
    let clock = ManualClock::new(at(10 * DAY));
    Tracker::with_policy(store.clone(), clock, policy).cached_by(store.clone())
}

fn report(tracker: &Tracker, name: &str, state: StateType, secs: i64) {
    let report = Envelope::checkpoint(user(name), state).at(at(secs));
    block_on(tracker.record(report)).expect("taken");
}

fn days(tracker: &Tracker, name: &str) -> Result<Vec<DaySummary>, presence_core::Error> {
    let (first, last) = ("1970-01-01".parse().expect("a date"), "1970-01-10".parse().expect("a date"));
    block_on(tracker.summaries(&user(name), first, last, &Zone::utc()))
}

fn kept(store: &SqliteStore, name: &str) -> usize {
    let kept = block_on(store.kept(&user(name), Window::all())).expect("a store that works");
    kept.expect("a user").days.len()
}

fn step() -> impl Strategy<Value = Option<Step>> {
    let late = || prop_oneof![0..100_u32, 0..90_000_u32, 0..1_000_000_u32];
    prop_oneof![
        5 => prop_oneof![0..120_u32, 0..90_000_u32].prop_map(|secs| Some(Step::Wait(secs))),
        5 => (any::<usize>(), late()).prop_map(|(state, late)| Some(Step::Report(state, late))),
        3 => Just(Some(Step::Beat)),
        2 => late().prop_map(|late| Some(Step::LateBeat(late))),
        2 => Just(Some(Step::Flush)),
        2 => Just(Some(Step::Sweep)),
        4 => any::<usize>().prop_map(|zone| Some(Step::Summarise(zone))),
        1 => prop_oneof![Just(0), Just(60), Just(3600)].prop_map(|secs| Some(Step::Timeout(secs))),
        1 => Just(Some(Step::Erase)),
        1 => Just(None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]

    /// `None` is a restart.
    #[test]
    fn days_say_what_the_status_says_over_restarts(steps in prop::collection::vec(step(), 1..30)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("presence.db");
        let mut store = open(&path);
        let mut life = Life::on(store.clone());
        for step in steps {
            match step {
                Some(step) => block_on(life.step(step)),
                None => {
                    block_on(store.close());
                    store = open(&path);
                    life = life.continued_on(store.clone());
                }
            }
            block_on(life.assert_days_equal_status());
        }
    }
}

#[test]
fn a_corrupt_user_does_not_keep_the_others_from_being_summed_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("presence.db");
    let store = open(&path);
    for name in ["alice", "bob", "carol"] {
        report(&tracker(&store), name, StateType::Working, 100);
        report(&tracker(&store), name, StateType::Idle, 2 * DAY);
    }
    block_on(store.close());
    let corrupt = "UPDATE checkpoints SET source = 'nonsense' WHERE user_id = 'bob'";
    assert_eq!(Connection::open(&path).and_then(|file| file.execute(corrupt, [])).expect("a file"), 2);

    let store = open(&path);
    let step = block_on(tracker(&store).summarise(&Zone::utc(), None, 10)).expect("a step");
    assert!(matches!(step.corrupt, Some(StoreError::Corrupt(_))), "{step:?}");
    assert_eq!((step.days, step.next), (2, None));
    assert_eq!((kept(&store, "alice"), kept(&store, "bob"), kept(&store, "carol")), (1, 0, 1));
}

/// A file as the first release made it, with a user.
fn file_of_the_first_release(path: &Path) {
    const FIRST: &str = include_str!("../../migrations/001_checkpoints.sql");
    let file = Connection::open(path).expect("a file");
    let checksum: String = Sha256::digest(FIRST).iter().map(|byte| format!("{byte:02x}")).collect();
    file.execute_batch(FIRST).expect("the first migration");
    file.execute_batch(
        "PRAGMA application_id = 0x50524553;
         CREATE TABLE _presence_migrations (
             version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
         ) STRICT;
         INSERT INTO checkpoints (user_id, timestamp, id, state, source) VALUES
             ('alice', 100000, 1, 'Working', 'client'),
             ('alice', 86500000, 2, 'Idle', 'client'),
             ('alice', 200000000, 3, 'Offline', 'client');
         INSERT INTO user_sessions VALUES ('alice', 'Offline', 100000, 86500000, 200000000, 3);
         INSERT INTO state_totals VALUES ('alice', 'Working', 86400000), ('alice', 'Idle', 113500000);
         UPDATE store_meta SET version = 3, checkpoint_id = 3;",
    )
    .expect("what the first release wrote");
    file.execute("INSERT INTO _presence_migrations VALUES (1, 'checkpoints', ?1)", [checksum])
        .expect("a row");
}

#[test]
fn a_file_of_the_first_release_is_upgraded_and_answers_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("presence.db");
    file_of_the_first_release(&path);
    let told = |tracker: &Tracker| -> Vec<String> {
        let told = |day: &DaySummary| {
            let parts =
                day.durations.iter().map(|part| format!("{} {}", part.state, part.duration.as_secs()));
            format!("{}: {}", day.date(), parts.collect::<Vec<_>>().join(", "))
        };
        days(tracker, "alice").expect("few days").iter().map(told).collect()
    };
    let store = open(&path);
    let before = told(&tracker(&store));
    assert_eq!(
        before[..3],
        [
            "1970-01-01: Working 86300",
            "1970-01-02: Idle 86300, Working 100",
            "1970-01-03: Offline 59200, Idle 27200"
        ]
    );
    assert_eq!(before.len(), 10, "up to now");
    assert_eq!(kept(&store, "alice"), 0);
    let step = block_on(tracker(&store).summarise(&Zone::utc(), None, 10)).expect("a step");
    assert_eq!(step.days, 2);
    assert_eq!(told(&tracker(&store)), before);
    block_on(store.close());
    let store = open(&path);
    assert_eq!(kept(&store, "alice"), 2);
    assert_eq!(told(&tracker(&store)), before);
    let rows = block_on(store.history(&user("alice"), Window::all(), None, 10)).expect("rows");
    assert_eq!(rows.len(), 3);
}
