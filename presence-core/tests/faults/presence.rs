//! Who is online while answers are late and writes are dropped.

use futures_executor::block_on;
use presence_core::{Heartbeat, LiveSet, StateType, Taken, Window};

use crate::{World, at, is_waiting, store::Op, user};

#[test]
fn a_flush_that_is_dropped_half_way_loses_no_change_of_the_members() {
    let w = World::new();
    w.beat("alice");
    w.flush();
    w.now(1010).report("alice", "Offline");
    w.gate().close(Op::Members);
    assert!(is_waiting(Box::pin(w.node.flush()).as_mut()));
    w.gate().open();
    w.flush();
    assert_eq!(w.online_count(), 0);
    assert_eq!(block_on(w.store.count(at(0))).expect("a count"), 0, "alice left, also in the backing set");
}

#[test]
fn an_offline_after_a_silence_ends_the_presence() {
    let w = World::new();
    w.beat("alice");
    w.now(1100).report("alice", "Offline");
    assert_eq!(w.online_count(), 0);
}

#[test]
fn an_offline_at_the_very_timeout_ends_the_presence() {
    let w = World::new();
    w.beat("alice");
    w.now(1060).report("alice", "Offline");
    assert_eq!(w.online_count(), 0);
}

/// Two beats are committed in one group, which bob's task drives; alice's task comes around after the erasure.
#[test]
fn an_answer_that_is_read_after_an_erasure_brings_nobody_back() {
    let w = World::new();
    let turn = w.turn();
    let [mut alice, mut bob] =
        ["alice", "bob"].map(|name| Box::pin(w.node.beat(Heartbeat::of_user(user(name)))));
    assert!(is_waiting(alice.as_mut()) && is_waiting(bob.as_mut()));
    w.gate().open();
    block_on(turn);
    block_on(bob).expect("taken");
    assert_eq!(w.rows("alice"), "Online@1000~");
    block_on(w.node.erase(&user("alice"))).expect("erased");
    block_on(alice).expect("taken");
    assert_eq!(w.online_count(), 1, "bob; alice was erased");
}

#[test]
fn an_answer_that_is_read_after_a_later_offline_brings_nobody_back() {
    let w = World::new();
    let turn = w.turn();
    let [mut alice, mut bob] =
        ["alice", "bob"].map(|name| Box::pin(w.node.beat(Heartbeat::of_user(user(name)))));
    assert!(is_waiting(alice.as_mut()) && is_waiting(bob.as_mut()));
    w.gate().open();
    block_on(turn);
    block_on(bob).expect("taken");
    w.now(1001).report("alice", "Offline");
    block_on(alice).expect("taken");
    assert_eq!(w.online_count(), 1, "bob; alice went");
    assert!(matches!(w.now(1002).beat("alice"), Taken::Committed(_)), "it changes the state");
    let status = block_on(w.node.status(&user("alice"), Window::all())).expect("works").expect("alice");
    assert_eq!(status.current_state, StateType::Online);
}
