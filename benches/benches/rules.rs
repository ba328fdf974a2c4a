//! The rules, one by one: deciding, folding a history, durations, and the live set.

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_executor::block_on;
use presence_benches::{after, report, state, user};
use presence_core::{
    Ask, CheckpointStore, Context, Envelope, ManualClock, MemberRef, MemoryLiveSet, MemoryStore, Policy,
    SeenRef, Stamped, Tally, Timestamp, Tracker, UserRef, Window, decide,
};

/// A user with this many checkpoints, and what a decision about these envelopes sees of it.
fn context(checkpoints: u64, envelopes: &[Stamped]) -> Context {
    let store = std::sync::Arc::new(MemoryStore::new());
    let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
    let clock = ManualClock::new(after(10_000_000_000));
    let tracker = Tracker::with_policy(store.clone(), clock, policy);
    let history = (0..checkpoints).map(|number| report(user(1), number * 10)).collect();
    block_on(tracker.record_many(history)).expect("a store that works");
    let ask = Ask::about(envelopes).expect("envelopes");
    block_on(store.load(vec![ask])).expect("a store that works").remove(0)
}

fn stamped(envelope: Envelope) -> Stamped {
    envelope.stamped(after(10_000_000_000), &Policy::default()).expect("in the past")
}

fn deciding(c: &mut Criterion) {
    let (policy, now) = (Policy { heartbeat_timeout: None, ..Policy::default() }, after(10_000_000_000));
    let mut group = c.benchmark_group("decide");
    for (name, envelope) in [
        ("a report at the end", report(user(1), 100_001)),
        ("a late report", report(user(1), 555)),
        ("a heartbeat", Envelope::heartbeat(user(1)).at(after(100_001_000))),
    ] {
        let envelopes = [stamped(envelope)];
        let context = context(1000, &envelopes);
        group.bench_function(name, |b| b.iter(|| decide(black_box(&context), &envelopes, &policy, now)));
    }
    // The first and the last instant of a history are asked for, so that all of it is folded.
    let ends = [stamped(report(user(1), 0)), stamped(report(user(1), 100_000))];
    let context = context(10_000, &ends);
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("the fold of 10,000 rows", |b| {
        b.iter(|| decide(black_box(&context), &ends, &policy, now))
    });
    let late: Vec<_> = (0..1000).map(|number| stamped(report(user(1), number * 10 + 5))).collect();
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1,000 late reports at once", |b| {
        b.iter(|| decide(black_box(&context), &late, &policy, now))
    });
}

fn durations(c: &mut Criterion) {
    let mut group = c.benchmark_group("durations");
    group.throughput(Throughput::Elements(100_000));
    let rows: Vec<_> = (0..100_000).map(|number| (after(number * 1000), state(number))).collect();
    let days: Vec<_> = (0..2).map(|day| (after(day * 86_400_000), after((day + 1) * 86_400_000))).collect();
    let days: Vec<_> = days.into_iter().map(|(from, to)| Window::new(from, to).expect("in order")).collect();
    group.bench_function("100,000 rows over two days", |b| {
        b.iter(|| {
            let mut tally = Tally::new(days.clone());
            rows.iter().for_each(|(at, state)| tally.row(*at, state));
            black_box(tally.finish(Timestamp::MAX))
        });
    });
}

fn seen<'a>(name: &UserRef<'a>, at: Timestamp) -> SeenRef<'a> {
    SeenRef::Member { member: MemberRef::User(*name), at, floor: Timestamp::MIN }
}

fn live_set(c: &mut Criterion) {
    const USERS: u64 = 100_000;
    let users: Vec<_> = (0..USERS).map(user).collect();
    let names: Vec<_> = users.iter().map(UserRef::from).collect();
    let mut group = c.benchmark_group("live set");
    group.throughput(Throughput::Elements(USERS));
    let set = MemoryLiveSet::new();
    let mut second = 0;
    group.bench_function("touch, one by one", |b| {
        b.iter(|| {
            second += 1;
            names.iter().for_each(|name| set.touch(seen(name, after(second * 1000))));
        });
    });
    group.bench_function("touch, a thousand at once", |b| {
        b.iter(|| {
            second += 1;
            let at = after(second * 1000);
            for names in names.chunks(1000) {
                let beats: Vec<_> = names.iter().map(|name| seen(name, at)).collect();
                set.touch_all(&beats);
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("count", |b| {
        b.iter(|| set.count(black_box(after(second * 1000).saturating_sub(Duration::from_millis(180_500)))))
    });
    group.throughput(Throughput::Elements(USERS));
    group.bench_function("evict everybody", |b| {
        b.iter_batched(
            || {
                let set = MemoryLiveSet::new();
                names.iter().for_each(|name| set.touch(seen(name, after(0))));
                set
            },
            |set| {
                assert_eq!(set.evict(after(1000), usize::MAX), USERS);
                set
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group! {
    name = rules;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = deciding, durations, live_set
}
criterion_main!(rules);
