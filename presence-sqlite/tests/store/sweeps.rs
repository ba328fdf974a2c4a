//! Many sweepers on one file.

use std::{sync::Arc, thread, time::Duration};

use futures_executor::block_on;
use presence_core::{CheckpointQuery, Envelope, ManualClock, Source, StateType, Tracker, Window};
use presence_sqlite::SqliteStore;

use crate::support::{at, user};

#[test]
fn eight_sweepers_conclude_ten_thousand_silences_once_each() {
    const USERS: i64 = 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(block_on(SqliteStore::open(folder.path().join("presence.db"))).expect("a store"));
    let clock = Arc::new(ManualClock::new(at(100_000)));
    // Each sweeper has a tracker of its own, as if it were another node: nothing keeps them apart but the store.
    let sweepers: Vec<_> = (0..8).map(|_| Tracker::new(store.clone(), clock.clone())).collect();
    let name = |number: i64| user(&format!("user-{number}"));
    let heartbeat =
        |number: i64| at(1000 + number % 977).saturating_add(Duration::from_millis(number as u64 % 1000));
    let reports =
        (0..USERS).map(|number| Envelope::checkpoint(name(number), StateType::Working).at(heartbeat(number)));
    block_on(sweepers[0].record_many(reports.collect())).expect("a store that works");

    let sweeps = sweepers.into_iter().map(|tracker| {
        thread::spawn(move || {
            let mut lapsed = 0;
            loop {
                let sweep = block_on(tracker.sweep(256)).expect("a store that works");
                lapsed += sweep.lapsed;
                if !sweep.more {
                    return lapsed;
                }
            }
        })
    });
    let sweeps: Vec<_> = sweeps.collect();
    let lapsed: Vec<_> = sweeps.into_iter().map(|sweep| sweep.join().expect("a sweep")).collect();
    assert_eq!(lapsed.iter().sum::<u64>(), USERS as u64, "{lapsed:?}");
    for number in 0..USERS {
        let rows =
            block_on(store.history(&name(number), Window::all(), None, 10)).expect("a store that works");
        let rows: Vec<_> =
            rows.into_iter().map(|row| (row.state, row.source, row.at, row.proof_at)).collect();
        let (last, timeout) = (heartbeat(number), Duration::from_secs(60));
        let expected = [
            (StateType::Offline, Source::Timeout, last.saturating_add(timeout), Some(last)),
            (StateType::Working, Source::Client, last, None),
        ];
        assert_eq!(rows, expected, "user-{number}");
    }
    println!("{USERS} silences, concluded by sweeper: {lapsed:?}");
    block_on(store.close());
}
