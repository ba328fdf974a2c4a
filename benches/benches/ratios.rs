//! The goals as ratios, in one run: ours and what it is held against in turn, the median of several pairs.
//!
//! `cargo bench --bench ratios` prints one table. Machines are shared and noisy: the ratio is what counts.

use std::{hint::black_box, sync::Arc, time::Duration};

use futures_executor::block_on;
use presence_benches::{
    BareLoop, after, process, report,
    table::{self, median, seconds},
    user,
};
use presence_core::{
    CheckpointQuery, Envelope, ManualClock, MemberRef, MemoryLiveSet, Policy, SeenRef, StateType, Timestamp,
    Tracker, UserId, UserRef, Window, Zone,
};
use presence_sqlite::SqliteStore;

fn main() {
    table::head();
    live_set();
    writers();
    late_reports();
    status();
    summaries();
    sweep();
}

/// The memory of this process that is resident, in bytes.
fn resident() -> f64 {
    process::resident(std::process::id()).map_or(f64::NAN, |bytes| bytes as f64)
}

fn seen(user: &UserId, at: Timestamp) -> SeenRef<'_> {
    SeenRef::Member { member: MemberRef::User(UserRef::from(user)), at, floor: Timestamp::MIN }
}

fn live_set() {
    const USERS: u64 = 1_000_000;
    let users: Vec<_> = (0..USERS).map(user).collect();
    let before = resident();
    let set = MemoryLiveSet::new();
    users.iter().for_each(|user| set.touch(seen(user, after(0))));
    let bytes = (resident() - before) / USERS as f64;
    table::row("live set: bytes of a user with an id of 36 bytes", &format!("{bytes:.0}"), "", "", "<= 110");

    let mut shuffled: Vec<_> = users.iter().collect();
    let mut random = 1_u64;
    for last in (1..shuffled.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        shuffled.swap(last, (random >> 33) as usize % (last + 1));
    }
    let mut now = 0;
    for (name, order) in [("as they came", users.iter().collect()), ("shuffled", shuffled)] {
        let rates = (0..5).map(|_| {
            now += 1000;
            USERS as f64 / seconds(|| order.iter().for_each(|user| set.touch(seen(user, after(now)))))
        });
        let rate = median(rates.collect());
        let name = format!("live set: beats one by one, 1 M users, {name}");
        table::row(&name, &format!("{:.1} M/s", rate / 1e6), "", "", ">= 6 M/s");
        let rates = (0..5).map(|_| {
            now += 1000;
            let beats: Vec<_> = order.iter().map(|user| seen(user, after(now))).collect();
            USERS as f64 / seconds(|| beats.chunks(1000).for_each(|beats| set.touch_all(beats)))
        });
        let rate = median(rates.collect());
        table::row(
            &format!(
                "live set: the same, 1,000 at once, {}",
                if name.ends_with("shuffled") { "shuffled" } else { "as they came" }
            ),
            &format!("{:.1} M/s", rate / 1e6),
            "",
            "",
            "",
        );
    }
    expire(&set, &users, &mut now);
    let since = after(now + 500).saturating_sub(Duration::from_secs(180));
    let counts = (0..1000).map(|_| {
        seconds(|| {
            black_box(set.count(since));
        })
    });
    table::row(
        "live set: online count",
        &format!("{:.2} us", median(counts.collect()) * 1e6),
        "",
        "",
        "<= 1 us",
    );
}

/// Every tenth user falls silent, spread over all of them; then they expire at once. Seconds that a count has begun in
/// are sorted out already, as they are where counts and evictions run all the time.
fn expire(set: &MemoryLiveSet, users: &[UserId], now: &mut u64) {
    let took = (0..5).map(|_| {
        users.iter().for_each(|user| set.touch(seen(user, after(*now))));
        *now += 200_000;
        let stay = users.iter().enumerate().filter(|(number, _)| number % 10 != 0);
        stay.for_each(|(_, user)| set.touch(seen(user, after(*now))));
        assert_eq!(set.count(after(*now - 99_500)), users.len() as u64 * 9 / 10);
        black_box(set.count(after(*now - 199_500)));
        let mut gone = 0;
        let took = seconds(|| gone = set.evict(after(*now - 100_000), usize::MAX));
        assert_eq!(gone, users.len() as u64 / 10);
        took
    });
    let took = format!("{:.3} ms", median(took.collect()) * 1e3);
    table::row("live set: 100,000 of 1 M expire", &took, "", "", "< 2 ms");
}

fn policy() -> Policy {
    Policy { heartbeat_timeout: None, ..Policy::default() }
}

/// A store in a folder of its own.
struct Fresh {
    store: Arc<SqliteStore>,
    _folder: tempfile::TempDir,
}

fn fresh() -> Fresh {
    let folder = tempfile::tempdir().expect("a folder");
    let store = block_on(SqliteStore::open(folder.path().join("presence.db"))).expect("a store");
    Fresh { store: Arc::new(store), _folder: folder }
}

fn bare() -> (BareLoop, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("presence.db");
    block_on(async { SqliteStore::open(&path).await.expect("a store").close().await });
    (BareLoop::open(&path), folder)
}

/// Checkpoints of 64 writers, of one, and the same rows in a bare loop.
fn writers() {
    const WRITERS: u64 = 64;
    const EACH: u64 = 300;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let (mut many, mut one, mut loops) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let Fresh { store, _folder } = fresh();
        let tracker = Tracker::with_policy(store.clone(), ManualClock::new(after(1 << 40)), policy());
        let took = seconds(|| {
            runtime.block_on(async {
                let writers: Vec<_> = (0..WRITERS)
                    .map(|writer| {
                        let tracker = tracker.clone();
                        tokio::spawn(async move {
                            for number in 0..EACH {
                                let envelope = report(user(writer * 20 + number % 20), number);
                                tracker.record(envelope).await.expect("a store that works");
                            }
                        })
                    })
                    .collect();
                for writer in writers {
                    writer.await.expect("a writer");
                }
            });
        });
        many.push((WRITERS * EACH) as f64 / took);
        let took = seconds(|| {
            runtime.block_on(async {
                for number in 0..1000 {
                    let envelope = report(user(number % 20), 1_000_000 + number);
                    tracker.record(envelope).await.expect("a store that works");
                }
            });
        });
        one.push(1000.0 / took);
        block_on(store.close());

        let (mut bare, _folder) = bare();
        let rounds = (0..EACH).map(|number| {
            (0..WRITERS).map(|writer| (user(writer * 20 + number % 20), number)).collect::<Vec<_>>()
        });
        let rounds: Vec<_> = rounds.collect();
        let took = seconds(|| rounds.iter().for_each(|reports| bare.write(reports)));
        loops.push((WRITERS * EACH) as f64 / took);
    }
    let ratios = |others: &[f64]| median(many.iter().zip(others).map(|(ours, other)| ours / other).collect());
    let (to_one, to_loop) = (ratios(&one), ratios(&loops));
    let rate = |rates: Vec<f64>| format!("{:.0} /s", median(rates));
    let ours = rate(many.clone());
    table::row(
        "checkpoints, fsync: 64 writers against one",
        &ours,
        &rate(one),
        &format!("{to_one:.2}"),
        ">= 3",
    );
    table::row(
        "checkpoints, fsync: 64 writers against a bare loop of 64",
        &ours,
        &rate(loops),
        &format!("{to_loop:.2}"),
        ">= 0.5",
    );
}

fn late_reports() {
    const REPORTS: u64 = 100_000;
    let rates = (0..3).map(|_| {
        let Fresh { store, _folder } = fresh();
        let tracker = Tracker::with_policy(store.clone(), ManualClock::new(after(1 << 40)), policy());
        block_on(tracker.record(report(user(1), 10 * REPORTS))).expect("a store that works");
        let late: Vec<_> = (0..REPORTS).rev().map(|number| report(user(1), number)).collect();
        let took = seconds(|| drop(block_on(tracker.record_many(late)).expect("a store that works")));
        block_on(store.close());
        REPORTS as f64 / took
    });
    let rate = median(rates.collect());
    table::row(
        "100,000 late reports of one user, in one call",
        &format!("{rate:.0} /s"),
        "",
        "",
        ">= 30000 /s",
    );
}

fn status() {
    let Fresh { store, _folder } = fresh();
    let tracker = Tracker::with_policy(store.clone(), ManualClock::new(after(1 << 40)), policy());
    block_on(tracker.record_many((0..10).map(|number| report(user(1), number)).collect())).expect("works");
    for part in 0..10 {
        let reports = (0..100_000).map(|number| report(user(2), part * 100_000 + number)).collect();
        block_on(tracker.record_many(reports)).expect("a store that works");
    }
    let ask = |number| {
        let user = user(number);
        seconds(|| {
            for _ in 0..200 {
                black_box(block_on(store.facts(&user, &[Window::all()])).expect("works").expect("a user"));
            }
        }) / 200.0
    };
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        few.push(ask(1));
        many.push(ask(2));
    }
    let ratio = median(many.iter().zip(&few).map(|(many, few)| many / few).collect());
    let micros = |times| format!("{:.1} us", median(times) * 1e6);
    table::row(
        "status of 1,000,000 checkpoints against 10",
        &micros(many),
        &micros(few),
        &format!("{ratio:.2}"),
        "<= 1.5",
    );
    block_on(store.close());
}

/// A year of a user with 10,000 changes, summed up by the job and from rows; and a look at 100,000 users with nothing to
/// sum up.
fn summaries() {
    const CHANGES: u64 = 10_000;
    const USERS: u64 = 100_000;
    let Fresh { store, _folder } = fresh();
    let without = Tracker::with_policy(store.clone(), ManualClock::new(after(1 << 40)), policy());
    let with = without.clone().cached_by(store.clone());
    let zone = Zone::utc();
    let year = 365 * 86_400_000;
    let reports = (0..CHANGES).map(|number| {
        Envelope::checkpoint(user(1), presence_benches::state(number)).at(after(number * year / CHANGES))
    });
    block_on(without.record_many(reports.collect())).expect("a store that works");
    let took = seconds(|| {
        let days = block_on(with.summarise(&zone, None, 10)).expect("a store that works").days;
        assert_eq!(days, 365, "all but the last one");
    });
    let fold = format!("{:.1} ms", took * 1e3);
    let (first, last) = (zone.date_of(after(0)), zone.date_of(after(year)));
    let ask = |tracker: &Tracker| {
        seconds(|| {
            for _ in 0..20 {
                let days = block_on(tracker.summaries(&user(1), first, last, &zone)).expect("few days");
                assert_eq!(black_box(days).len(), 366);
            }
        }) / 20.0
    };
    let pairs: Vec<_> = (0..11).map(|_| (ask(&with), ask(&without))).collect();
    let ratio = median(pairs.iter().map(|(with, without)| without / with).collect());
    let millis = |times: Vec<f64>| format!("{:.2} ms", median(times) * 1e3);
    let (ours, rows) = pairs.into_iter().unzip();
    let (ours, rows) = (millis(ours), millis(rows));
    table::row("366 days of 10,000 changes, against all rows", &ours, &rows, &format!("{ratio:.1}"), ">= 2");
    table::row("366 days of 10,000 changes, summed up by the job", &fold, "", "", "");

    for part in 0..10 {
        let numbers = part * USERS / 10..(part + 1) * USERS / 10;
        let reports = numbers.map(|number| report(user(2 + number), 1)).collect();
        block_on(without.record_many(reports)).expect("a store that works");
    }
    let job = || {
        seconds(|| {
            let mut next = None;
            loop {
                next =
                    block_on(with.summarise(&zone, next.as_ref(), 1_000)).expect("a store that works").next;
                if next.is_none() {
                    return;
                }
            }
        })
    };
    let first = format!("{:.1} us", job() / USERS as f64 * 1e6);
    let again = median((0..5).map(|_| job()).collect()) / USERS as f64 * 1e6;
    table::row(
        "a step of the job, per user with no new day",
        &format!("{again:.2} us"),
        &first,
        "",
        "<= 5 us",
    );
    block_on(store.close());
}

fn sweep() {
    const USERS: u64 = 100_000;
    let (mut ours, mut loops) = (Vec::new(), Vec::new());
    let users: Vec<_> = (0..USERS).map(user).collect();
    for _ in 0..3 {
        let Fresh { store, _folder } = fresh();
        let clock = Arc::new(ManualClock::new(after(1000)));
        let tracker = Tracker::new(store.clone(), clock.clone());
        for users in users.chunks(10_000) {
            let online =
                users.iter().map(|user| Envelope::checkpoint(user.clone(), StateType::Working).at(after(0)));
            block_on(tracker.record_many(online.collect())).expect("a store that works");
        }
        clock.set(after(100_000));
        let took = seconds(|| while block_on(tracker.sweep(1000)).expect("a store that works").more {});
        ours.push(USERS as f64 / took);
        block_on(store.close());

        let (mut bare, _folder) = bare();
        users.chunks(10_000).for_each(|users| {
            bare.write(&users.iter().map(|user| (user.clone(), 0)).collect::<Vec<_>>());
        });
        // In the order of a sweep, which is also the order that the tables like best.
        let mut sorted = users.clone();
        sorted.sort();
        let took = seconds(|| {
            sorted.chunks(1000).for_each(|users| bare.lapse(users, after(0), after(60_000)));
        });
        loops.push(USERS as f64 / took);
    }
    let ratio = median(ours.iter().zip(&loops).map(|(ours, bare)| ours / bare).collect());
    let rate = |rates| format!("{:.0} /s", median(rates));
    table::row(
        "a sweep of 100,000 lapses against a bare loop",
        &rate(ours),
        &rate(loops),
        &format!("{ratio:.2}"),
        ">= 0.4",
    );
}
