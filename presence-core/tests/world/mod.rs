//! Scripts of a user's life, and what a tracker makes of them.

use std::{sync::Arc, time::Duration};

use futures_executor::block_on;
use presence_core::{
    Clock, Envelope, ManualClock, MemoryStore, Policy, Recorded, Source, StateType, Status, Timestamp,
    Tracker, UserId, Window,
};

/// An instant, in seconds.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).expect("an instant of this age")
}

/// A window, in seconds.
pub(crate) fn window(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to)).expect("in order")
}

/// One user, one tracker, and a clock that the script moves.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) tracker: Tracker,
    pub(crate) user: UserId,
    /// How many silences each `sweep` of the script concluded.
    pub(crate) lapsed: Vec<u64>,
    /// What became of each envelope of the script.
    pub(crate) recorded: Vec<Recorded>,
}

impl World {
    /// A world with a heartbeat timeout of 60 s.
    pub(crate) fn new() -> Self {
        Self::with_timeout(Some(60))
    }

    /// A world without a heartbeat timeout.
    pub(crate) fn without_timeout() -> Self {
        Self::with_timeout(None)
    }

    pub(crate) fn with_timeout(secs: Option<u64>) -> Self {
        let policy = Policy { heartbeat_timeout: secs.map(Duration::from_secs), ..Policy::default() };
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(MemoryStore::new());
        let tracker = Tracker::with_policy(store.clone(), clock.clone(), policy);
        let user = UserId::new("alice").expect("a name");
        Self { clock, store, tracker, user, lapsed: Vec::new(), recorded: Vec::new() }
    }

    /// Plays a script of `State@stamp`, `hb@stamp`, `hb:State@stamp`, `sweep@time` and `now@time`, in seconds.
    ///
    /// The clock moves to each stamp that lies ahead of it, and never back: what is stamped earlier arrives late.
    pub(crate) fn given(mut self, script: &str) -> Self {
        self.then(script);
        self
    }

    pub(crate) fn then(&mut self, script: &str) {
        for step in script.split_whitespace() {
            let (verb, secs) = step.split_once('@').expect("verb@seconds");
            let stamp = at(secs.parse().expect("seconds"));
            self.clock.set(stamp.max(self.clock.now()));
            let state = |name: &str| StateType::new(name).expect("a state");
            let user = self.user.clone();
            let envelope = match verb {
                "now" => continue,
                "sweep" => {
                    self.lapsed.push(block_on(self.tracker.sweep(1000)).expect("a store that works").lapsed);
                    continue;
                }
                "hb" => Envelope::heartbeat(user),
                other => match other.strip_prefix("hb:") {
                    Some(name) => Envelope::heartbeat_in(user, state(name)),
                    None => Envelope::checkpoint(user, state(other)),
                },
            };
            let recorded = block_on(self.tracker.record(envelope.at(stamp))).expect("an envelope in order");
            self.recorded.push(recorded);
        }
    }

    pub(crate) fn status_in(&self, window: Window, now: i64) -> Status {
        self.clock.set(at(now));
        block_on(self.tracker.status(&self.user, window)).expect("a store that works").expect("a known user")
    }

    /// The durations of all time at `now`, in seconds: `Offline 150, Working 150, Online 10`.
    pub(crate) fn now(&self, now: i64) -> String {
        durations(&self.status_in(Window::all(), now))
    }

    /// The same for a window.
    pub(crate) fn window(&self, from: i64, to: i64, now: i64) -> String {
        durations(&self.status_in(window(from, to), now))
    }

    /// The current state at `now`: `Offline since 1150`.
    pub(crate) fn current(&self, now: i64) -> String {
        let status = self.status_in(Window::all(), now);
        format!("{} since {}", status.current_state, status.since.as_secs())
    }

    /// The rows in order: `Working@1000 Offline@1150! Online@1300~`, where `!` is a timeout and `~` a wake.
    pub(crate) fn rows(&self) -> String {
        let page = block_on(self.tracker.history(&self.user, Window::all(), None, 1000)).expect("a page");
        let rows = page.items.iter().rev().map(|row| {
            let mark = match row.source {
                Source::Client => "",
                Source::Timeout => "!",
                Source::Wake => "~",
            };
            format!("{}@{}{mark}", row.state, row.at.as_secs())
        });
        rows.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn last_heartbeat(&self) -> i64 {
        let status = block_on(self.tracker.status(&self.user, Window::all())).expect("a store that works");
        status.expect("a known user").last_heartbeat.as_secs()
    }
}

fn durations(status: &Status) -> String {
    let parts = status.durations.iter().map(|part| {
        assert_eq!(part.duration.subsec_millis(), 0, "scripts are in whole seconds");
        format!("{} {}", part.state, part.duration.as_secs())
    });
    parts.collect::<Vec<_>>().join(", ")
}
