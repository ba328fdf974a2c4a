//! Beats in memory until they are in the store.

use std::sync::Arc;

use futures_executor::block_on;
use futures_util::FutureExt;
use presence_core::{CheckpointQuery, Clock, Heartbeat, StoreError, Taken, Timestamp, Window};

use crate::{World, at, is_waiting, store::Op, user};

#[test]
fn a_flush_that_is_dropped_half_way_loses_no_beat() {
    let w = World::new();
    w.beat("alice");
    w.now(1030).keep("alice");
    w.gate().close(Op::Touch);
    assert!(is_waiting(Box::pin(w.node.flush()).as_mut()));
    w.gate().open();
    for second in [1050, 1080, 1110] {
        w.now(second).keep("alice");
    }
    w.flush();
    assert_eq!(w.last_heartbeat("alice"), at(1110));
    assert_eq!(w.sweep(), 0);
}

/// Another node's Offline is why the beats are recorded, and not just added to a life.
#[test]
fn beats_that_are_recorded_at_a_flush_keep_their_stamps() {
    let w = World::new();
    w.beat("alice");
    let second_1030 = |millis: i64| Timestamp::from_millis(1_030_000 + millis).expect("in range");
    w.clock.set(second_1030(100));
    w.keep("alice");
    w.offline_elsewhere("alice", 1020);
    w.clock.set(second_1030(900));
    w.flush();
    assert_eq!(w.last_heartbeat("alice"), second_1030(100));
}

#[test]
fn a_clock_that_steps_back_before_a_flush_moves_no_sign_of_life() {
    let w = World::new();
    w.now(500).beat("alice");
    for (second, to) in [(900, "Idle"), (950, "Working"), (960, "Idle"), (970, "Working"), (980, "Reading")] {
        w.now(second).report("alice", to);
    }
    w.now(1030).keep("alice");
    w.offline_elsewhere("alice", 1000);
    w.now(800).flush();
    assert!(!w.rows("alice").contains("@800"), "nobody was alive at 800: {}", w.rows("alice"));
    let before_the_end = Timestamp::from_millis(Timestamp::MAX.as_millis() - 1).expect("in range");
    let scan = Window::new(Timestamp::MIN, before_the_end).expect("a window");
    let closed =
        |window| block_on(w.store.facts(&user("alice"), &[window])).expect("facts").expect("alice").closed;
    assert_eq!(closed(Window::all()), closed(scan), "the totals are those of the rows");
}

#[test]
fn a_clock_that_steps_back_far_before_a_flush_loses_no_beat() {
    let w = World::new();
    w.beat("alice");
    w.now(1030).keep("alice");
    w.offline_elsewhere("alice", 1020);
    w.now(700).flush();
    w.now(1031).flush();
    assert_eq!(w.rows("alice"), "Online@1000~ Offline@1020 Online@1030~");
}

#[test]
fn a_clock_that_steps_back_before_a_report_loses_no_beat() {
    let w = World::new();
    w.beat("alice");
    for second in (1050..=1400).step_by(50) {
        w.now(second).keep("alice");
    }
    w.now(1000).report("alice", "Working");
    assert_eq!(w.now(1420).sweep(), 0, "alice was alive at 1400");
    assert!(!w.rows("alice").contains("Offline"), "{}", w.rows("alice"));
}

/// The write of the flush takes a second, in which a timeout passes.
#[test]
fn a_beat_that_is_taken_while_a_sweep_flushes_is_not_swept() {
    let w = Arc::new(World::new());
    w.beat("alice");
    w.beat("bob");
    w.now(1060).keep("bob");
    let meanwhile = Arc::downgrade(&w);
    w.gate().fault(move |op, _| {
        if op == Op::Touch {
            let w = meanwhile.upgrade().expect("the world");
            let taken = w.node.beat(Heartbeat::of_user(user("alice"))).now_or_never().expect("memory");
            assert!(matches!(taken, Ok(Taken::Kept { .. })));
            w.now(1061);
        }
        Ok(())
    });
    assert_eq!(w.sweep(), 0, "{}", w.rows("alice"));
    assert_eq!(w.clock.now(), at(1061), "the beat was taken meanwhile");
}

#[test]
fn a_late_beat_does_not_bridge_a_silence() {
    let w = World::new();
    w.beat("alice");
    w.now(1200).gate().close(Op::Load);
    let mut wake = Box::pin(w.node.beat(Heartbeat::of_user(user("alice"))));
    assert!(is_waiting(wake.as_mut()));
    let mut late = Box::pin(w.node.beat(Heartbeat::of_user(user("alice")).at(at(1040))));
    assert!(is_waiting(late.as_mut()), "the silence may be concluded already: it is not kept in memory");
    w.gate().open();
    block_on(wake).expect("taken");
    block_on(late).expect("taken");
    w.now(1205).beat("alice");
    w.flush();
    assert_eq!(w.rows("alice"), "Online@1000~ Offline@1100! Online@1200~");
}

#[test]
fn a_beat_from_before_an_erasure_elsewhere_is_not_written() {
    let w = World::new();
    w.beat("alice");
    w.now(1010).keep("alice");
    block_on(w.now(1020).elsewhere().erase(&user("alice"))).expect("erased");
    w.now(1030).beat("alice");
    w.flush();
    assert!(!w.rows("alice").contains("@1010"), "{}", w.rows("alice"));
}

#[test]
fn an_erasure_that_fails_loses_no_beat() {
    let w = World::new();
    w.beat("alice");
    w.now(1050).keep("alice");
    w.gate().fault(|op, _| if op == Op::Erase { Err(StoreError::backend("no")) } else { Ok(()) });
    block_on(w.node.erase(&user("alice"))).expect_err("a store that cannot erase");
    assert_eq!(w.now(1070).sweep(), 0, "alice was alive at 1050");
    assert_eq!(w.last_heartbeat("alice"), at(1050));
}

#[test]
fn a_corrupt_user_keeps_nobody_elses_beats_from_the_store() {
    let w = World::new();
    let names: Vec<String> = (0..200).map(|number| format!("user-{number}")).collect();
    let all = || names.iter().map(String::as_str).chain(["mallory"]);
    all().for_each(|name| drop(w.beat(name)));
    w.now(1030);
    all().for_each(|name| w.keep(name));
    w.offline_elsewhere("mallory", 1020);
    w.gate().fault(|op, users| {
        let is_hit = op == Op::Load && users.contains(&user("mallory"));
        if is_hit { Err(StoreError::corrupt("a row of mallory")) } else { Ok(()) }
    });
    drop(block_on(w.node.flush()));
    for name in &names {
        assert_eq!(w.last_heartbeat(name), at(1030), "{name}");
    }
    w.gate().fault(|_, _| Ok(()));
    w.flush();
    assert_eq!(w.last_heartbeat("mallory"), at(1030), "a repaired user's beats were kept");
}

/// A `Corrupt` touch wrote nothing, and does not say whose data it was.
#[test]
fn a_touch_that_finds_corrupt_data_silences_nobody() {
    let w = World::new();
    w.beat("alice");
    w.now(1050).keep("alice");
    w.gate().fault(|op, _| if op == Op::Touch { Err(StoreError::corrupt("a row")) } else { Ok(()) });
    assert_eq!(w.now(1070).sweep(), 0, "alice was alive at 1050");
    assert_eq!(w.last_heartbeat("alice"), at(1050));
}
