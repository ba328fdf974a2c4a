//! Heartbeats in memory: what is kept, what is committed at once, and that no silence is concluded against them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_executor::block_on;
use presence_core::{
    Beats, CheckpointQuery, CheckpointStore, Envelope, Heartbeat, HeartbeatRef, InstallId, ManualClock,
    MemoryStore, Policy, Record, StateType, Taken, Timestamp, Tracker, UserId, UserRef, Window,
};
use proptest::prelude::*;

/// An instant, in seconds.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).expect("an instant of this age")
}

/// Some nodes on one store, and their clock.
struct Nodes {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    nodes: Vec<Beats>,
}

impl Nodes {
    fn new(count: usize, timeout: u64) -> Self {
        let clock = Arc::new(ManualClock::new(at(0)));
        let store = Arc::new(MemoryStore::new());
        let policy = Policy { heartbeat_timeout: Some(Duration::from_secs(timeout)), ..Policy::default() };
        let node = |_| {
            let tracker = Tracker::with_policy(store.clone(), clock.clone(), policy.clone());
            Beats::new(tracker).backed_by(store.clone())
        };
        Self { nodes: (0..count).map(node).collect(), clock, store }
    }

    fn one() -> Self {
        Self::new(1, 60)
    }

    fn now(&self, secs: i64) -> &Beats {
        self.clock.set(at(secs));
        &self.nodes[0]
    }

    fn rows(&self, user: &UserId) -> Vec<(StateType, i64)> {
        let rows =
            block_on(self.store.history(user, Window::all(), None, 10_000)).expect("a store that works");
        rows.iter().rev().map(|row| (row.state.clone(), row.at.as_secs())).collect()
    }
}

fn online(node: &Beats, window: Duration) -> u64 {
    block_on(node.online_count(window)).expect("a store that works")
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

fn beat(node: &Beats, name: &str) -> Taken {
    block_on(node.beat(Heartbeat::of_user(user(name)))).expect("taken")
}

fn flush(node: &Beats) -> (u64, u64) {
    let flush = block_on(node.flush()).expect("a store that works");
    (flush.beats, flush.recorded)
}

const MINUTES_3: Duration = Duration::from_secs(180);

#[test]
fn an_export_says_what_is_pending() {
    let nodes = Nodes::one();
    let alice = user("alice");
    for second in [10, 20] {
        let beat = Heartbeat::of_user(alice.clone());
        block_on(nodes.now(second).beat(beat)).expect("a store that works");
    }
    let page = block_on(nodes.now(21).export(&alice, None, 100)).expect("a store that works");
    let sessions = page.items.iter().filter_map(|record| match record {
        Record::Session(session) => Some(session.last_heartbeat),
        _ => None,
    });
    assert_eq!(sessions.collect::<Vec<_>>(), [at(20)]);
    assert_eq!(nodes.nodes[0].pending(), 1, "it is written by the next flush");
}

#[test]
fn a_beat_that_changes_the_state_is_committed_and_others_wait_for_the_flush() {
    let w = Nodes::one();
    assert!(matches!(beat(w.now(1000), "alice"), Taken::Committed(recorded) if recorded.changed));
    for second in [1010, 1020, 1030] {
        let kept = Taken::Kept { current_state: StateType::Online, last_heartbeat: at(second) };
        assert_eq!(beat(w.now(second), "alice"), kept);
    }
    let stored = || block_on(w.store.facts(&user("alice"), &[])).expect("works").expect("alice").session;
    assert_eq!((stored().last_heartbeat, w.nodes[0].pending()), (at(1000), 1));
    assert_eq!(flush(&w.nodes[0]), (1, 0), "three beats are one write");
    assert_eq!((stored().last_heartbeat, w.nodes[0].pending()), (at(1030), 0));
    assert_eq!(flush(&w.nodes[0]), (0, 0));
}

#[test]
fn many_beats_are_judged_one_by_one_and_committed_together() {
    let w = Nodes::one();
    beat(w.now(1000), "alice");
    let node = w.now(1010);
    let phone = InstallId::new("phone-4711").expect("an install");
    let heartbeats = [
        Heartbeat::of_user(user("alice")),
        Heartbeat::of_user(user("bob")).at(at(1005)),
        Heartbeat::of_user(user("carol")).at(at(9999)),
        Heartbeat::of_install(phone),
        Heartbeat::of_user(user("bob")).waking_to(StateType::Working),
    ];
    let heartbeats = heartbeats.each_ref().map(HeartbeatRef::from);
    let verdicts = block_on(node.beat_many(&heartbeats)).expect("a store that works");
    assert!(matches!(verdicts[0], Ok(Taken::Kept { .. })), "alice is still there");
    assert!(matches!(&verdicts[1], Ok(Taken::Committed(recorded)) if recorded.changed), "bob is new");
    assert_eq!(verdicts[2].as_ref().expect_err("too far ahead").code(), "FUTURE_TIMESTAMP");
    assert_eq!(verdicts[3], Ok(Taken::Counted));
    assert!(matches!(&verdicts[4], Ok(Taken::Committed(_))));
    assert_eq!(w.rows(&user("bob")), [(StateType::Online, 1005)]);
    assert_eq!(online(&w.nodes[0], MINUTES_3), 3);
}

/// Which users are kept behind one lock is random, so there are as many as make it certain that some share one.
#[test]
fn who_stays_away_takes_nobody_along_who_came_at_the_same_moment() {
    const PAIRS: usize = 500;
    let nodes = Nodes::new(2, 60);
    let names: Vec<_> =
        (0..PAIRS).map(|pair| (user(&format!("away-{pair}")), user(&format!("here-{pair}")))).collect();
    let sign = |user, secs| HeartbeatRef::of_user(UserRef::from(user)).at(at(secs));
    let beat_all = |node: &Beats, beats: &[HeartbeatRef<'_>]| {
        assert!(block_on(node.beat_many(beats)).expect("a store that works").iter().all(Result::is_ok));
    };
    beat_all(nodes.now(1_000), &names.iter().map(|(away, _)| sign(away, 1_000)).collect::<Vec<_>>());
    assert_eq!(block_on(nodes.now(9_000).sweep(10_000)).expect("a store that works").lapsed, PAIRS as u64);
    // On another node, a sign of life from long ago leaves them Offline.
    let node = &nodes.nodes[1];
    let beats: Vec<_> =
        names.iter().flat_map(|(away, here)| [sign(away, 1_030), sign(here, 9_000)]).collect();
    beat_all(node, &beats);
    // A late sign counts in its own time.
    assert_eq!(online(node, Duration::from_secs(180)), PAIRS as u64);
    for (_, here) in &names {
        assert!(matches!(beat(node, here.as_str()), Taken::Kept { .. }), "{here} is known to be live");
    }
}

/// A node may have forgotten somebody who was silent, or not: what is answered does not depend on it.
#[test]
fn a_late_beat_of_somebody_silent_is_committed_before_the_answer() {
    let w = Nodes::one();
    beat(w.now(1000), "alice");
    assert_eq!(block_on(w.now(1100).sweep(10)).expect("a store that works").lapsed, 1);
    let alice = Heartbeat::of_user(user("alice")).at(at(1030));
    let taken = block_on(w.now(1100).beat(alice)).expect("a store that works");
    assert!(matches!(taken, Taken::Committed(_)), "{taken:?}");
    assert_eq!(w.rows(&user("alice")).last(), Some(&(StateType::Offline, 1090)));
}

#[test]
fn who_beats_is_not_overdue_among_thousands() {
    let w = Nodes::one();
    let names: Vec<_> = (0..3000).map(|number| format!("user-{number:04}")).collect();
    let beat_all = |node: &Beats, names: &[&String]| {
        let users: Vec<_> = names.iter().map(|name| UserRef::new(name).expect("a name")).collect();
        let heartbeats: Vec<_> = users.into_iter().map(HeartbeatRef::of_user).collect();
        let verdicts = block_on(node.beat_many(&heartbeats)).expect("a store that works");
        assert!(verdicts.iter().all(Result::is_ok));
        flush(node);
    };
    let (silent, seen): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.ends_with('7'));
    beat_all(w.now(1000), &names.iter().collect::<Vec<_>>());
    beat_all(w.now(1020), &seen);
    let overdue = |cutoff, limit| {
        let sessions = block_on(w.store.overdue(at(cutoff), limit)).expect("a store that works");
        sessions.into_iter().map(|session| session.user.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(overdue(1020, 10), silent.iter().take(10).copied().cloned().collect::<Vec<_>>());
    beat_all(w.now(1030), &seen[..1]);
    assert_eq!(overdue(1020, 5000), silent.iter().copied().cloned().collect::<Vec<_>>());
    let oldest_first = silent.iter().chain(&seen[1..]).copied().cloned();
    assert_eq!(overdue(1030, 5000), oldest_first.collect::<Vec<_>>());
    beat_all(w.now(1031), &silent[..1]);
    assert_eq!(overdue(1020, 1), silent[1..2].iter().copied().cloned().collect::<Vec<_>>());
}

#[test]
fn a_status_shows_the_pending_beats() {
    let w = Nodes::one();
    beat(w.now(1000), "alice");
    beat(w.now(1050), "alice");
    let node = w.now(1100);
    let status = block_on(node.status(&user("alice"), Window::all())).expect("works").expect("alice");
    assert_eq!((status.current_state, status.last_heartbeat), (StateType::Online, at(1050)));
    let status =
        block_on(node.tracker().status(&user("alice"), Window::all())).expect("works").expect("alice");
    assert_eq!(status.current_state, StateType::Offline, "the store does not know them yet");
}

#[test]
fn a_sweep_flushes_first() {
    let w = Nodes::one();
    beat(w.now(1000), "alice");
    beat(w.now(1050), "alice");
    assert_eq!(block_on(w.now(1100).sweep(10)).expect("works").lapsed, 0);
    assert_eq!(block_on(w.now(1111).sweep(10)).expect("works").lapsed, 1);
    assert_eq!(w.rows(&user("alice")), [(StateType::Online, 1000), (StateType::Offline, 1110)]);
}

#[test]
fn a_report_takes_the_pending_beats_of_its_user_along() {
    let w = Nodes::one();
    beat(w.now(1000), "alice");
    beat(w.now(1050), "alice");
    let report = Envelope::checkpoint(user("alice"), StateType::Working);
    let recorded = block_on(w.now(1105).record(report)).expect("taken");
    assert!(recorded.created);
    assert_eq!(
        w.rows(&user("alice")),
        [(StateType::Online, 1000), (StateType::Working, 1105)],
        "no silence between"
    );
    assert_eq!(flush(&w.nodes[0]), (0, 0));
}

#[test]
fn an_explicit_offline_ends_the_presence_and_a_timeout_does_not() {
    let w = Nodes::one();
    beat(w.now(1000), "alice");
    beat(w.now(1000), "bob");
    let offline = Envelope::checkpoint(user("alice"), StateType::Offline);
    block_on(w.now(1010).record(offline)).expect("taken");
    assert_eq!(online(&w.nodes[0], MINUTES_3), 1);
    block_on(w.now(1100).sweep(10)).expect("works");
    assert_eq!(online(&w.nodes[0], MINUTES_3), 1, "bob is Offline, and was here within three minutes");
    let late = Heartbeat::of_user(user("alice")).at(at(1005));
    assert!(matches!(block_on(w.nodes[0].beat(late)).expect("taken"), Taken::Committed(_)));
    assert_eq!(online(&w.nodes[0], MINUTES_3), 1, "a beat from before the Offline does not bring alice back");
    let page = block_on(w.nodes[0].online_users(MINUTES_3, None, 10)).expect("a page");
    assert_eq!(page.items, [(presence_core::Member::User(user("bob")), at(1000))]);
}

/// Table S: who is online.
mod online {
    use super::*;

    fn noon(secs: i64) -> i64 {
        1_717_156_800 + secs
    }

    fn three() -> Nodes {
        let w = Nodes::one();
        for (second, name) in [(0, "a"), (150, "b"), (180, "c")] {
            beat(w.now(noon(second)), name);
        }
        w
    }

    #[test]
    fn s_1_the_window_is_inclusive() {
        assert_eq!(online(three().now(noon(180)), MINUTES_3), 3);
    }

    #[test]
    fn s_2_a_millisecond_later_the_first_is_gone() {
        let w = three();
        w.clock.set(Timestamp::from_millis(noon(180) * 1000 + 1).expect("in range"));
        assert_eq!(online(&w.nodes[0], MINUTES_3), 2);
    }

    #[test]
    fn s_3_a_shorter_window_counts_fewer() {
        assert_eq!(online(three().now(noon(180)), Duration::from_secs(30)), 2);
    }

    #[test]
    fn s_6_a_login_replaces_the_install_and_its_straggler() {
        let w = Nodes::one();
        let phone = InstallId::new("phone-4711").expect("an install");
        let anonymous = || Heartbeat::of_install(phone.clone());
        block_on(w.now(1000).beat(anonymous())).expect("taken");
        assert_eq!(online(&w.nodes[0], MINUTES_3), 1);
        let login = Heartbeat::of_user(user("7")).on(phone.clone());
        block_on(w.now(1010).beat(login)).expect("taken");
        block_on(w.now(1015).beat(anonymous())).expect("taken");
        assert_eq!(online(w.now(1020), MINUTES_3), 1);
    }

    #[test]
    fn s_7_a_late_heartbeat_does_not_lower_the_score() {
        let w = Nodes::one();
        beat(w.now(100), "a");
        block_on(w.nodes[0].beat(Heartbeat::of_user(user("a")).at(at(90)))).expect("taken");
        let page = block_on(w.nodes[0].online_users(MINUTES_3, None, 10)).expect("a page");
        assert_eq!(page.items[0].1, at(100));
    }

    /// Nodes that ask the store who is online.
    fn sharing(count: usize) -> Nodes {
        let mut w = Nodes::new(count, 60);
        let share = |node: Beats| node.shared_with(w.store.clone());
        w.nodes = w.nodes.into_iter().map(share).collect();
        w
    }

    #[test]
    fn nodes_that_share_a_live_set_count_each_others_members() {
        let w = sharing(2);
        beat(w.now(1000), "a");
        beat(&w.nodes[1], "b");
        beat(&w.nodes[1], "a");
        assert_eq!(online(&w.nodes[1], MINUTES_3), 2, "a was asked for once, b is not flushed elsewhere");
        assert_eq!(online(&w.nodes[0], MINUTES_3), 2);
        let page = block_on(w.nodes[0].online_users(MINUTES_3, None, 10)).expect("a page");
        assert_eq!(page.items.len(), 2);
        let offline = Envelope::checkpoint(user("a"), StateType::Offline);
        block_on(w.now(1002).record(offline)).expect("taken");
        assert_eq!(online(&w.nodes[0], MINUTES_3), 1);
        assert_eq!(online(&w.nodes[1], MINUTES_3), 1);
    }

    #[test]
    fn a_shared_count_is_asked_for_once_a_second_and_window() {
        let w = sharing(1);
        beat(w.now(1000), "a");
        assert_eq!(online(&w.nodes[0], MINUTES_3), 1);
        beat(&w.nodes[0], "b");
        assert_eq!(online(&w.nodes[0], MINUTES_3), 1, "what was said a moment ago");
        assert_eq!(online(&w.nodes[0], Duration::from_secs(60)), 2, "another question");
        assert_eq!(online(w.now(1001), MINUTES_3), 2);
        assert_eq!(online(w.now(900), MINUTES_3), 2, "the clock went back");
        assert_eq!(online(w.now(1500), MINUTES_3), 0);
    }

    #[test]
    fn members_outlive_the_process() {
        let w = three();
        block_on(w.now(noon(180)).flush()).expect("a store that works");
        let next = Nodes { nodes: vec![], clock: w.clock.clone(), store: w.store.clone() };
        let tracker = Tracker::new(next.store.clone(), next.clock.clone());
        let restarted = Beats::new(tracker).backed_by(next.store.clone());
        assert_eq!(online(&restarted, MINUTES_3), 0);
        assert_eq!(block_on(restarted.load()).expect("a store that works"), 3);
        assert_eq!(online(&restarted, MINUTES_3), 3);
        assert_eq!(
            block_on(restarted.flush()).expect("a store that works").members,
            0,
            "what was read is not written"
        );
    }
}

/// One step of a race in virtual time.
#[derive(Clone, Debug)]
enum Step {
    /// A user beats at this node, stamped so many seconds ago.
    Beat {
        node: usize,
        user: usize,
        ago: i64,
    },
    Flush {
        node: usize,
    },
    Sweep {
        node: usize,
    },
    /// Time goes on.
    Wait(i64),
}

fn race(nodes: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..nodes, 0..4_usize, prop_oneof![3 => Just(0), 1 => 1..25_i64])
            .prop_map(|(node, user, ago)| Step::Beat { node, user, ago }),
        2 => (0..nodes).prop_map(|node| Step::Flush { node }),
        2 => (0..nodes).prop_map(|node| Step::Sweep { node }),
        6 => (1..8_i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

/// The timeline that the acknowledged beats of a user amount to, with a timeout of 10 s: told sign by sign.
fn expected(signs: &BTreeSet<i64>, end: i64) -> Vec<(StateType, i64)> {
    let mut rows = Vec::new();
    let mut last: Option<i64> = None;
    for sign in signs {
        match last {
            Some(last) if sign - last <= 10 => {}
            Some(last) => rows.extend([(StateType::Offline, last + 10), (StateType::Online, *sign)]),
            None => rows.push((StateType::Online, *sign)),
        }
        last = Some(*sign);
    }
    rows.extend(last.filter(|last| end - last > 10).map(|last| (StateType::Offline, last + 10)));
    rows
}

/// Plays a race, flushes, and compares each user's rows with its acknowledged beats.
fn assert_no_false_silence(nodes: usize, steps: &[Step]) {
    let world = Nodes::new(nodes, 10);
    let mut now = 1000;
    let mut acknowledged: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    world.clock.set(at(now));
    for step in steps {
        match step {
            Step::Wait(seconds) => {
                now += seconds;
                world.clock.set(at(now));
            }
            Step::Flush { node } => drop(block_on(world.nodes[*node].flush()).expect("works")),
            Step::Sweep { node } => drop(block_on(world.nodes[*node].sweep(10)).expect("works")),
            Step::Beat { node, user: number, ago } => {
                let heartbeat = Heartbeat::of_user(user(&format!("user-{number}"))).at(at(now - ago));
                block_on(world.nodes[*node].beat(heartbeat)).expect("taken");
                acknowledged.entry(*number).or_default().insert(now - ago);
            }
        }
    }
    for node in &world.nodes {
        block_on(node.flush()).expect("works");
    }
    world.clock.set(at(now + 1000));
    block_on(world.nodes[0].sweep(100)).expect("works");
    for (number, signs) in acknowledged {
        let rows = world.rows(&user(&format!("user-{number}")));
        assert_eq!(rows, expected(&signs, now + 1000), "user-{number} of {nodes} nodes");
    }
}

/// Heartbeats of one request: a user or none, an install or none, how many seconds ago.
type Sent = (Option<usize>, Option<usize>, i64);

fn requests() -> impl Strategy<Value = Vec<(i64, Vec<Sent>)>> {
    let user = prop::option::weighted(0.7, 0..5_usize);
    let heartbeat = (user, prop::option::weighted(0.7, 0..5_usize), 0..100_i64);
    prop::collection::vec((0..90_i64, prop::collection::vec(heartbeat, 1..12)), 1..12)
}

/// What is known of everybody after these requests, at once or one by one.
fn known_after(requests: &[(i64, Vec<Sent>)], at_once: bool) -> String {
    let w = Nodes::one();
    let mut now = 1000;
    for (wait, sent) in requests {
        now += wait;
        let node = w.now(now);
        let heartbeats = sent.iter().map(|(person, install, ago)| {
            let install = InstallId::new(format!("install-{}", install.unwrap_or(9))).expect("an install");
            let heartbeat = match person {
                Some(number) => Heartbeat::of_user(user(&format!("user-{number}"))).on(install),
                None => Heartbeat::of_install(install),
            };
            heartbeat.at(at(now - ago))
        });
        let heartbeats: Vec<_> = heartbeats.collect();
        if at_once {
            let heartbeats: Vec<_> = heartbeats.iter().map(HeartbeatRef::from).collect();
            let verdicts = block_on(node.beat_many(&heartbeats)).expect("a store that works");
            assert_eq!(verdicts.len(), heartbeats.len());
        } else {
            heartbeats.into_iter().for_each(|heartbeat| drop(block_on(node.beat(heartbeat)).expect("taken")));
        }
    }
    let node = w.now(now);
    let statuses = |node: &Beats| -> Vec<_> {
        let names = (0..5).map(|number| user(&format!("user-{number}")));
        names.map(|user| block_on(node.status(&user, Window::all())).expect("works")).collect()
    };
    let online = block_on(node.online_users(MINUTES_3, None, 100)).expect("a page").items;
    let before = statuses(node);
    flush(node);
    let rows: Vec<_> = (0..5).map(|number| w.rows(&user(&format!("user-{number}")))).collect();
    format!("{online:#?}\n{before:#?}\n{:#?}\n{rows:#?}", statuses(node))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_at_once_tell_what_they_tell_one_by_one(requests in requests()) {
        prop_assert_eq!(known_after(&requests, true), known_after(&requests, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_silence_contradicts_an_acknowledged_beat_on_one_node(steps in race(1)) {
        assert_no_false_silence(1, &steps);
    }

    #[test]
    fn no_silence_contradicts_an_acknowledged_beat_on_two_nodes(steps in race(2)) {
        assert_no_false_silence(2, &steps);
    }
}
