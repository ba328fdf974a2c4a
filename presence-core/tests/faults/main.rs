//! Stores that fail or dawdle, callers that give up, and clocks that step back: nothing acknowledged is lost.

mod commits;
mod flush;
mod presence;
mod store;
mod storm;

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Waker},
    time::Duration,
};

use futures_executor::block_on;
use futures_util::{FutureExt, future::BoxFuture};
use presence_core::{
    Beats, CheckpointQuery, Envelope, Erasure, Error, Heartbeat, ManualClock, Recorded, Source, StateType,
    Taken, Timestamp, Tracker, UserId, Window,
};

use crate::store::{Gate, Op, Troubled};

const MINUTES_3: Duration = Duration::from_secs(180);

/// An instant, in seconds.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).expect("an instant of this age")
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

fn state(name: &str) -> StateType {
    StateType::new(name).expect("a state")
}

/// Polls a call once; whether it waits.
fn is_waiting<F: Future + ?Sized>(call: Pin<&mut F>) -> bool {
    call.poll(&mut task::Context::from_waker(Waker::noop())).is_pending()
}

/// A heartbeat on its way to the store.
fn recording(tracker: &Tracker, name: &str) -> BoxFuture<'static, Result<Recorded, Error>> {
    let (tracker, envelope) = (tracker.clone(), Envelope::heartbeat(user(name)));
    async move { tracker.record(envelope).await }.boxed()
}

/// A node on a gated store that also keeps its members, and their clock, at 1000.
struct World {
    clock: Arc<ManualClock>,
    store: Arc<Troubled<Gate>>,
    node: Beats,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(at(1000)));
        let store = Arc::<Troubled<Gate>>::default();
        let node = Beats::new(Tracker::new(store.clone(), clock.clone())).backed_by(store.clone());
        Self { clock, store, node }
    }

    fn now(&self, secs: i64) -> &Self {
        self.clock.set(at(secs));
        self
    }

    fn gate(&self) -> &Gate {
        &self.store.trouble
    }

    /// Another node on the same store; no gate and no fault is in its way.
    fn elsewhere(&self) -> Tracker {
        Tracker::new(self.store.inner.clone(), self.clock.clone())
    }

    /// Keeps the turn to write at the gate until it is driven: what is called meanwhile gathers in one group.
    fn turn(&self) -> BoxFuture<'static, Erasure> {
        self.gate().close(Op::Erase);
        let tracker = self.node.tracker().clone();
        let mut turn = async move { tracker.erase(&user("zed")).await.expect("erased") }.boxed();
        assert!(is_waiting(turn.as_mut()));
        turn
    }

    fn beat(&self, name: &str) -> Taken {
        block_on(self.node.beat(Heartbeat::of_user(user(name)))).expect("taken")
    }

    /// A beat that is kept in memory.
    fn keep(&self, name: &str) {
        let taken = self.beat(name);
        assert!(matches!(taken, Taken::Kept { .. }), "{taken:?}");
    }

    fn report(&self, name: &str, to: &str) {
        let report = Envelope::checkpoint(user(name), state(to));
        block_on(self.node.record(report)).expect("taken");
    }

    /// Another node records that a user went, at an instant.
    fn offline_elsewhere(&self, name: &str, secs: i64) {
        let report = Envelope::checkpoint(user(name), StateType::Offline).at(at(secs));
        block_on(self.elsewhere().record(report)).expect("taken");
    }

    fn flush(&self) {
        block_on(self.node.flush()).expect("a store that works");
    }

    /// How many users a sweep finds silent.
    fn sweep(&self) -> u64 {
        block_on(self.node.sweep(10)).expect("a store that works").lapsed
    }

    /// The rows of a user in order, such as `Online@1000~ Offline@1060!`: a wake, and a timeout.
    fn rows(&self, name: &str) -> String {
        let rows = block_on(self.store.history(&user(name), Window::all(), None, 100)).expect("rows");
        let show = |source| match source {
            Source::Client => "",
            Source::Timeout => "!",
            Source::Wake => "~",
        };
        let rows =
            rows.iter().rev().map(|row| format!("{}@{}{}", row.state, row.at.as_secs(), show(row.source)));
        rows.collect::<Vec<_>>().join(" ")
    }

    fn last_heartbeat(&self, name: &str) -> Timestamp {
        let facts = block_on(self.store.facts(&user(name), &[])).expect("facts");
        facts.expect("a session").session.last_heartbeat
    }

    fn online_count(&self) -> u64 {
        block_on(self.node.online_count(MINUTES_3)).expect("counted here")
    }
}
