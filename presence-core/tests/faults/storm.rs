//! Many callers on real threads, a store that fails at random, and callers that hang up.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use futures_executor::block_on;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use presence_core::{
    CheckpointQuery, Envelope, ManualClock, Policy, StoreError, Timestamp, Tracker, UserId, Window,
};

use crate::{
    at, state,
    store::{Op, Trouble, Troubled},
    user,
};

const THREADS: usize = 4;
const USERS: u64 = 3;
/// Far longer than any storm takes; whoever waits longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// How rough it is.
#[derive(Clone, Copy, Debug)]
struct Roughness {
    /// Callers on each thread, and how many calls each makes, one after the other.
    callers: usize,
    calls: usize,
    /// One operation in so many fails; none, if that is zero.
    faults: u64,
    /// An operation waits less than so many times.
    waits: u64,
}

/// Chance, the same for a seed up to the order in which threads ask.
struct Dice(AtomicU64);

impl Dice {
    /// A number below `sides` (splitmix64).
    fn roll(&self, sides: u64) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

struct Storm {
    dice: Dice,
    roughness: Roughness,
    /// The thread that wakes those who wait.
    alarm: mpsc::Sender<Waker>,
}

impl Storm {
    fn is_fault(&self) -> bool {
        self.roughness.faults > 0 && self.dice.roll(self.roughness.faults) == 0
    }

    /// Waits some times, woken at once or by another thread.
    async fn wait(&self) {
        let mut left = self.dice.roll(self.roughness.waits);
        poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            if self.dice.roll(2) == 0 {
                cx.waker().wake_by_ref();
            } else {
                self.alarm.send(cx.waker().clone()).expect("a thread that wakes");
            }
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl Trouble for Storm {
    async fn before(&self, op: Op, _: &[UserId]) -> Result<(), StoreError> {
        self.wait().await;
        if self.is_fault() {
            return Err(StoreError::backend(format!("no {op:?}")));
        }
        if self.is_fault() { Err(StoreError::unavailable("before")) } else { Ok(()) }
    }

    async fn after(&self, _: Op) -> Result<(), StoreError> {
        self.wait().await;
        if self.is_fault() { Err(StoreError::unavailable("after")) } else { Ok(()) }
    }

    fn is_outrun(&self) -> bool {
        self.is_fault()
    }
}

/// What a caller was told about its reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Written,
    NotWritten,
    /// It hung up, or the store may or may not have written.
    Nothing,
}

/// A report in a state of its own, by user, and what was told about it.
type Fate = ((String, String), Told);

/// Drives a call, and drops it after so many polls.
async fn hang_up_after<T>(mut polls: u64, mut call: BoxFuture<'_, T>) -> Option<T> {
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        let poll = call.poll_unpin(cx).map(Some);
        if poll.is_pending() && polls == 0 {
            cx.waker().wake_by_ref();
        }
        poll
    })
    .await
}

/// One call of one or some reports about random users.
async fn call(name: String, tracker: &Tracker, dice: &Dice) -> Vec<Fate> {
    let size = if dice.roll(10) == 0 { 1 + dice.roll(5) } else { 1 };
    let reports: Vec<(String, String)> =
        (0..size).map(|part| (format!("user-{}", dice.roll(USERS)), format!("{name}-{part}"))).collect();
    let envelope = |(name, to): &(String, String)| {
        let second = i64::try_from(dice.roll(900_000)).expect("a small number");
        Envelope::checkpoint(user(name), state(to)).at(at(1000 + second))
    };
    let envelopes = reports.iter().map(envelope).collect();
    let polls = if dice.roll(3) == 0 { dice.roll(12) } else { u64::MAX };
    let told = match hang_up_after(polls, tracker.record_many(envelopes).boxed()).await {
        Some(Ok(verdicts)) => {
            assert_eq!(verdicts.len(), reports.len());
            for (verdict, (_, to)) in verdicts.into_iter().zip(&reports) {
                let row = verdict.expect("taken").checkpoint.expect("a row");
                assert_eq!(row.state.as_str(), to, "each caller is told about its own report");
            }
            Told::Written
        }
        Some(Err(error)) if !error.is_retryable() => Told::NotWritten,
        Some(Err(_)) | None => Told::Nothing,
    };
    reports.into_iter().map(|report| (report, told)).collect()
}

/// The calls of one caller, one after the other.
async fn caller(name: String, storm: &Storm, tracker: &Tracker) -> Vec<Fate> {
    let mut fates = Vec::new();
    for number in 0..storm.roughness.calls {
        fates.extend(call(format!("{name}-{number}"), tracker, &storm.dice).await);
    }
    fates
}

/// Lets a storm pass, and counts each report in the store.
fn assert_each_is_written_once(seed: u64, roughness: Roughness) {
    let (alarm, sleepers) = mpsc::channel::<Waker>();
    thread::spawn(move || sleepers.into_iter().for_each(Waker::wake));
    let trouble = Storm { dice: Dice(AtomicU64::new(seed)), roughness, alarm };
    let store = Arc::new(Troubled { inner: Arc::default(), trouble });
    let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
    let tracker = Tracker::with_policy(store.clone(), ManualClock::new(at(1_000_000)), policy);

    let (done, ended) = mpsc::sync_channel::<Vec<Fate>>(THREADS);
    for thread in 0..THREADS {
        let (store, tracker, done) = (store.clone(), tracker.clone(), done.clone());
        thread::spawn(move || {
            let callers = (0..roughness.callers)
                .map(|place| caller(format!("{thread}-{place}"), &store.trouble, &tracker));
            done.send(block_on(join_all(callers)).concat()).expect("somebody who waits");
        });
    }
    drop(done);
    let fates: Vec<Fate> =
        (0..THREADS).flat_map(|_| ended.recv_timeout(PATIENCE).expect("no caller hangs or panics")).collect();

    let mut written = BTreeMap::<(String, String), usize>::new();
    for name in (0..USERS).map(|number| format!("user-{number}")) {
        let rows = block_on(store.history(&user(&name), Window::all(), None, usize::MAX)).expect("rows");
        for row in rows {
            *written.entry((name.clone(), row.state.to_string())).or_default() += 1;
        }
        assert_totals(&store, &name);
    }
    for (report, told) in &fates {
        let times = written.remove(report).unwrap_or_default();
        let is_true = match told {
            Told::Written => times == 1,
            Told::NotWritten => times == 0,
            Told::Nothing => times <= 1,
        };
        assert!(is_true, "{report:?} is there {times} times, and its caller was told {told:?}; seed {seed}");
    }
    assert!(written.is_empty(), "nobody reported {written:?}");
    assert!(fates.iter().any(|(_, told)| *told == Told::Written));
}

/// The totals of a user are those of the rows.
fn assert_totals(store: &Troubled<Storm>, name: &str) {
    let before_the_end = Timestamp::from_millis(Timestamp::MAX.as_millis() - 1).expect("in range");
    let scan = Window::new(Timestamp::MIN, before_the_end).expect("a window");
    let closed =
        |window| block_on(store.facts(&user(name), &[window])).expect("facts").map(|facts| facts.closed);
    assert_eq!(closed(Window::all()), closed(scan), "{name}");
}

#[test]
fn callers_that_hang_up_leave_no_other_waiting() {
    for seed in 0..8 {
        assert_each_is_written_once(seed, Roughness { callers: 1, calls: 150, faults: 0, waits: 8 });
    }
}

#[test]
fn each_acknowledged_report_outlives_a_storm_once() {
    for seed in 0..4 {
        assert_each_is_written_once(seed, Roughness { callers: 2, calls: 60, faults: 30, waits: 4 });
    }
}

#[test]
fn a_crowd_in_a_storm_is_written_once() {
    assert_each_is_written_once(1, Roughness { callers: 100, calls: 3, faults: 40, waits: 6 });
}
