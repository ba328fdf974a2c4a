//! The SQLite store beside a bare loop that writes the same rows, both waiting for the disk.

use std::{sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_executor::block_on;
use presence_benches::{BareLoop, report, user};
use presence_core::{CheckpointQuery, Policy, SystemClock, Tracker, Window};
use presence_sqlite::SqliteStore;

const GROUP: u64 = 64;

fn tracker(store: Arc<SqliteStore>) -> Tracker {
    Tracker::with_policy(store, SystemClock, Policy { heartbeat_timeout: None, ..Policy::default() })
}

fn writing(c: &mut Criterion) {
    let mut group = c.benchmark_group("sqlite, fsync");
    group.throughput(Throughput::Elements(GROUP));
    let folder = tempfile::tempdir().expect("a folder");

    let store = Arc::new(block_on(SqliteStore::open(folder.path().join("store.db"))).expect("a store"));
    let tracker = tracker(store.clone());
    let mut round = 0;
    group.bench_function("64 reports in one call", |b| {
        b.iter(|| {
            round += 1;
            let reports = (0..GROUP).map(|number| report(user(number), round)).collect();
            block_on(tracker.record_many(reports)).expect("a store that works")
        });
    });
    drop(tracker);
    block_on(store.close());

    let path = folder.path().join("bare.db");
    block_on(async { SqliteStore::open(&path).await.expect("a store").close().await });
    let mut bare = BareLoop::open(&path);
    group.bench_function("the same rows in a bare loop", |b| {
        b.iter(|| {
            round += 1;
            let reports: Vec<_> = (0..GROUP).map(|number| (user(number), round)).collect();
            bare.write(&reports);
        });
    });
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("sqlite");
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(block_on(SqliteStore::open(folder.path().join("store.db"))).expect("a store"));
    let tracker = tracker(store.clone());
    for (number, rows) in [(1, 10), (2, 100_000)] {
        let history = (0..rows).map(|at| report(user(number), at)).collect();
        block_on(tracker.record_many(history)).expect("a store that works");
        group.bench_function(format!("all of {rows} checkpoints, from totals"), |b| {
            b.iter(|| block_on(store.facts(&user(number), &[Window::all()])).expect("a store that works"));
        });
    }
    block_on(store.close());
}

criterion_group! {
    name = store;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = writing, reading
}
criterion_main!(store);
