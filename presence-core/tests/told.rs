//! What is told of states: every change once, in order, whatever arrives together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_executor::block_on;
use presence_core::{
    Claim, Envelope, Event, EventKind, ManualClock, MemoryStore, Outbox, Policy, SinkName, StateType,
    Subscriptions, Timestamp, Tracker, UserId, Which, Window,
};
use proptest::prelude::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).unwrap()
}

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

fn report(state: &str, secs: i64) -> Envelope {
    Envelope::checkpoint(alice(), StateType::new(state).unwrap()).at(at(secs))
}

fn beat(secs: i64) -> Envelope {
    Envelope::heartbeat(alice()).at(at(secs))
}

/// One user, whose silence is concluded after 60 s.
struct World {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    tracker: Tracker,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let kinds = [EventKind::StateChanged, EventKind::TimelineCorrected];
        store.subscribe(Subscriptions::none().with(sink(), kinds));
        let clock = Arc::new(ManualClock::default());
        let policy = Policy { heartbeat_timeout: Some(Duration::from_secs(60)), ..Policy::default() };
        let tracker = Tracker::with_policy(store.clone(), clock.clone(), policy);
        Self { clock, store, tracker }
    }

    /// These arrive together at this second.
    fn arrive(&self, secs: i64, envelopes: Vec<Envelope>) {
        self.clock.set(at(secs));
        let verdicts = block_on(self.tracker.record_many(envelopes)).unwrap();
        assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    }

    fn sweep(&self, secs: i64) {
        self.clock.set(at(secs));
        block_on(self.tracker.sweep(10)).unwrap();
    }

    /// All that was told so far.
    fn events(&self) -> Vec<Event> {
        let claim = Claim {
            sink: sink(),
            node: "one".to_owned(),
            now: at(0),
            until: at(60),
            limit: 1000,
            which: Which::Oldest,
        };
        let letters = block_on(self.store.claim(claim)).unwrap().unwrap();
        letters.iter().map(|letter| letter.event().unwrap()).collect()
    }

    /// The same in short.
    fn told(&self) -> Vec<String> {
        let told = |event| match event {
            Event::StateChanged { before, after, at, source, .. } => {
                let before = before.map_or("-".to_owned(), |state| state.to_string());
                format!("{before} > {after} @{} by {}", at.as_secs(), source.as_str())
            }
            Event::TimelineCorrected { before, after, .. } => {
                let list = |rows: Vec<(Timestamp, StateType)>| {
                    let rows: Vec<_> =
                        rows.iter().map(|(at, state)| format!("{state}@{}", at.as_secs())).collect();
                    rows.join(",")
                };
                format!("corrected [{}] [{}]", list(before), list(after))
            }
            other => panic!("{other:?}"),
        };
        self.events().into_iter().map(told).collect()
    }

    /// When the state changed, as it is stored.
    fn stored(&self) -> Vec<(Timestamp, StateType)> {
        let page = block_on(self.tracker.history(&alice(), Window::all(), None, 1000)).unwrap();
        let mut rows: Vec<_> = page.items.into_iter().rev().map(|row| (row.at, row.state)).collect();
        rows.dedup_by(|later, earlier| later.1 == earlier.1);
        rows
    }
}

fn sink() -> SinkName {
    SinkName::new("events").unwrap()
}

#[test]
fn reports_that_arrive_together_are_told_one_by_one() {
    let w = World::new();
    w.arrive(100, vec![report("Working", 10), report("Idle", 20), report("Idle", 30), report("Working", 40)]);
    assert_eq!(
        w.told(),
        ["- > Working @10 by client", "Working > Idle @20 by client", "Idle > Working @40 by client"]
    );
}

#[test]
fn a_silence_that_nobody_saw_is_told_with_the_report_that_ends_it() {
    let w = World::new();
    w.arrive(10, vec![report("Working", 10)]);
    w.arrive(500, vec![report("Idle", 500)]);
    assert_eq!(
        w.told(),
        ["- > Working @10 by client", "Working > Offline @70 by timeout", "Offline > Idle @500 by client"]
    );
}

#[test]
fn a_silence_that_a_sweep_concludes_is_told_and_told_back_by_a_late_sign() {
    let w = World::new();
    w.arrive(10, vec![report("Working", 10)]);
    w.sweep(100);
    w.arrive(100, vec![beat(60)]);
    assert_eq!(
        w.told(),
        [
            "- > Working @10 by client",
            "Working > Offline @70 by timeout",
            "Offline > Working @10 by client",
            "corrected [Offline@70] []"
        ]
    );
}

#[test]
fn what_a_late_report_adds_to_a_time_that_is_over_is_not_told() {
    let w = World::new();
    w.arrive(50, vec![report("Working", 20), report("Idle", 40)]);
    let told = w.told();
    w.arrive(50, vec![report("Reading", 30)]);
    assert_eq!((w.told(), w.stored().len()), (told, 3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever arrives in order, together or one by one, swept or not: what is told is the timeline.
    #[test]
    fn what_is_told_in_order_adds_up_to_the_timeline(
        steps in prop::collection::vec((1_i64..90, prop::option::of(0_usize..4), any::<bool>()), 1..20),
    ) {
        let w = World::new();
        let (mut now, mut waiting) = (0, Vec::new());
        for (later, state, is_last) in steps {
            now += later;
            waiting.push(match state {
                Some(state) => report(["Working", "Idle", "Offline", "Reading"][state], now),
                None => beat(now),
            });
            if is_last {
                w.arrive(now, std::mem::take(&mut waiting));
            } else if waiting.len() == 1 && later > 45 {
                // As far as a sweep can come before what waits.
                w.sweep(now - 1);
            }
        }
        w.arrive(now, waiting);
        let mut changes = BTreeMap::new();
        for event in w.events() {
            match event {
                Event::StateChanged { before, after, at, .. } => {
                    prop_assert_eq!(before.as_ref(), changes.last_key_value().map(|(_, (state, _))| state));
                    let number = changes.len();
                    changes.insert(number, (after, at));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let told: Vec<_> = changes.into_values().map(|(state, at)| (at, state)).collect();
        prop_assert_eq!(told, w.stored());
    }
}
