//! A law on real input: a channel's life, in any order of arrival.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_executor::block_on;
use presence_core::{
    Checkpoint, Clock, Envelope, ManualClock, MemoryStore, Policy, StateType, Timestamp, Tracker, UserId,
    Window,
};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::{RngExt, seq::SliceRandom};

/// How often the trace is shuffled.
const SHUFFLES: usize = 1000;

/// The trace's events by user; a leave is taken as a sign of life, so that every event may come in any order.
fn trace() -> BTreeMap<UserId, Vec<Envelope>> {
    let text = include_str!("../../examples/data/ubuntu-2005-06-27.ndjson");
    let mut users: BTreeMap<UserId, Vec<Envelope>> = BTreeMap::new();
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| event[name].as_str().expect("text");
        let user = UserId::new(field("user")).expect("a name");
        let at = Timestamp::from_datetime(field("at").parse().expect("an instant")).expect("in range");
        let envelope = match field("kind") {
            "join" => Envelope::checkpoint(user.clone(), StateType::Online),
            _ => Envelope::heartbeat(user.clone()),
        };
        users.entry(user).or_default().push(envelope.at(at));
    }
    users
}

/// When each run of equal states begins; runs of no length are dropped, neighbours of one state joined.
fn runs(rows: &[Checkpoint]) -> Vec<(Timestamp, StateType)> {
    let mut runs: Vec<(Timestamp, StateType)> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let is_empty = rows.get(number + 1).is_some_and(|next| next.at == row.at);
        if !is_empty && runs.last().is_none_or(|(_, state)| *state != row.state) {
            runs.push((row.at, row.state.clone()));
        }
    }
    runs
}

#[test]
fn the_trace_gives_the_same_runs_in_any_order_of_arrival() {
    let trace = trace();
    let last = trace.values().flatten().filter_map(Envelope::stamp).max().expect("events");
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut events = 0;
    let mut in_order = BTreeMap::new();
    for shuffle in 0..=SHUFFLES {
        let clock = Arc::new(ManualClock::new(Timestamp::MIN));
        let policy = Policy { heartbeat_timeout: Some(Duration::from_secs(900)), ..Policy::default() };
        let tracker = Tracker::with_policy(Arc::new(MemoryStore::new()), clock.clone(), policy);
        for envelopes in trace.values() {
            let mut envelopes = envelopes.clone();
            if shuffle > 0 {
                envelopes.shuffle(&mut random);
            }
            for envelope in envelopes {
                let second = Duration::from_secs(1);
                clock.set(envelope.stamp().expect("stamped").saturating_add(second).max(clock.now()));
                block_on(tracker.record(envelope)).expect("an event in order");
                events += 1;
                if shuffle > 0 && random.random_ratio(1, 50) {
                    block_on(tracker.sweep(1000)).expect("a store that works");
                }
            }
            // The next user's events begin early again: the clock may go back, and the answer must not care.
            clock.set(Timestamp::MIN);
        }
        clock.set(last.saturating_add(Duration::from_secs(100_000)));
        while block_on(tracker.sweep(1000)).expect("a store that works").lapsed > 0 {}
        for user in trace.keys() {
            let page = block_on(tracker.history(user, Window::all(), None, 1000)).expect("a page");
            let rows: Vec<_> = page.items.into_iter().rev().collect();
            let runs = runs(&rows);
            match in_order.get(user) {
                None => drop(in_order.insert(user.clone(), runs)),
                Some(expected) => assert_eq!(runs, *expected, "{user}, shuffle {shuffle}"),
            }
        }
    }
    println!("{events} events of {} users in {SHUFFLES} orders", trace.len());
}
