//! Calls that are written together, and what one of them does to the others.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Poll, Wake, Waker},
};

use async_trait::async_trait;
use futures_executor::block_on;
use futures_util::FutureExt;
use presence_core::{
    CheckpointStore, Commit, Envelope, Error, ManualClock, MemoryStore, NewCheckpoint, Outcome, Session,
    Source, StateType, StoreError, Tracker, UserId, Version,
};

use crate::{
    World, at, is_waiting, recording, state,
    store::{Op, Trouble, Troubled},
    user,
};

/// A task's waker that tells whether it was woken.
#[derive(Default)]
struct Bell {
    rang: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::SeqCst);
    }
}

impl Bell {
    /// Whether it rang since the last question.
    fn rang(&self) -> bool {
        self.rang.swap(false, Ordering::SeqCst)
    }
}

/// Bob loses a race to another node, and the store fails before he is decided anew.
#[test]
fn an_error_in_a_later_round_does_not_deny_what_was_written() {
    let w = World::new();
    let (elsewhere, has_raced) = (w.elsewhere(), AtomicBool::new(false));
    w.gate().fault(move |op, _| match op {
        Op::Commit => {
            has_raced.store(true, Ordering::SeqCst);
            recording(&elsewhere, "bob").now_or_never().expect("memory").expect("taken");
            Ok(())
        }
        Op::Load if has_raced.load(Ordering::SeqCst) => Err(StoreError::backend("no")),
        _ => Ok(()),
    });
    let reports = ["alice", "bob"].map(|name| Envelope::checkpoint(user(name), state("Working")));
    let error = block_on(w.node.tracker().record_many(reports.into())).expect_err("bob's part failed");
    assert_eq!(w.rows("alice"), "Working@1000");
    assert!(error.is_retryable(), "a `Backend` error would say that nothing was written: {error:?}");
}

#[test]
fn a_corrupt_user_fails_nobody_elses_report() {
    let w = World::new();
    w.gate().fault(|op, users| {
        let is_hit = op == Op::Load && users.contains(&user("mallory"));
        if is_hit { Err(StoreError::corrupt("a row of mallory")) } else { Ok(()) }
    });
    let turn = w.turn();
    let [mut mallory, mut alice] = ["mallory", "alice"].map(|name| recording(w.node.tracker(), name));
    assert!(is_waiting(mallory.as_mut()) && is_waiting(alice.as_mut()));
    w.gate().open();
    block_on(turn);
    assert!(matches!(block_on(mallory), Err(Error::Store(StoreError::Corrupt(_)))));
    block_on(alice).expect("taken");
    assert_eq!(w.rows("alice"), "Online@1000~");
}

#[test]
fn each_lapse_of_a_commit_is_checked_for_its_proof() {
    let store = MemoryStore::new();
    let session = Session {
        user: user("alice"),
        current_state: StateType::Offline,
        live_since: at(0),
        last_heartbeat: at(0),
        last_state_change: at(0),
        version: Version(0),
    };
    let lapse = |proof| NewCheckpoint {
        state: StateType::Offline,
        at: at(proof + 60),
        content: None,
        source: Source::Timeout,
        proof_at: Some(at(proof)),
    };
    let commit = |expected, insert| {
        let commit = Commit {
            expected,
            erased_at: None,
            session: session.clone(),
            withdraw: vec![],
            insert,
            totals: vec![],
            changed: None,
            requests: vec![],
            events: vec![],
            decided_at: at(1000),
        };
        block_on(store.commit(vec![commit])).expect("a store that works").remove(0)
    };
    let Outcome::Committed { version, .. } = commit(None, vec![lapse(100)]) else { panic!("a first commit") };
    assert_eq!(commit(Some(version), vec![lapse(500), lapse(100)]), Outcome::Conflict);
}

#[test]
fn a_store_that_panics_strands_nobody_else() {
    let w = World::new();
    let turn = w.turn();
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| recording(w.node.tracker(), name));
    let bell = Arc::<Bell>::default();
    let waker = Waker::from(bell.clone());
    assert!(is_waiting(alice.as_mut()));
    assert!(bob.poll_unpin(&mut task::Context::from_waker(&waker)).is_pending());
    w.gate().open();
    block_on(turn);
    bell.rang();
    w.gate().fault(|op, _| if op == Op::Load { panic!("a store with a defect") } else { Ok(()) });
    catch_unwind(AssertUnwindSafe(|| block_on(alice))).expect_err("the panic");
    assert!(bell.rang(), "bob would wait for ever");
}

type Meanwhile = Box<dyn FnOnce() + Send>;

/// A store whose first load is ready as soon as it waits, while something else happens on another thread.
#[derive(Default)]
struct Race(Mutex<Option<Meanwhile>>);

#[async_trait]
impl Trouble for Race {
    async fn before(&self, op: Op, _: &[UserId]) -> Result<(), StoreError> {
        let mut is_first = op == Op::Load;
        std::future::poll_fn(|cx| {
            if !std::mem::take(&mut is_first) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            let meanwhile = self.0.lock().expect("no panic").take();
            meanwhile.into_iter().for_each(|meanwhile| meanwhile());
            Poll::Pending
        })
        .await;
        Ok(())
    }
}

/// The wake comes while alice's task polls: bob's, woken by it, finds her at it and waits, and then she is dropped.
///
/// ```text
/// alice   poll [-----------------------] dropped
/// store           wake
/// bob                 poll: waits                    woken, or nobody ever is
/// ```
#[test]
fn a_caller_that_is_dropped_passes_its_wake_on() {
    let store = Arc::<Troubled<Race>>::default();
    let tracker = Tracker::new(store.clone(), ManualClock::new(at(1000)));
    let mut turn = recording(&tracker, "zed");
    assert!(is_waiting(turn.as_mut()));
    let bell = Arc::<Bell>::default();
    let waker = Waker::from(bell.clone());
    let mut alice = recording(&tracker, "alice");
    assert!(is_waiting(alice.as_mut()));
    let bob = Arc::new(Mutex::new(recording(&tracker, "bob")));
    let poll_bob = {
        let bob = bob.clone();
        move || bob.lock().expect("no panic").poll_unpin(&mut task::Context::from_waker(&waker))
    };
    assert!(poll_bob().is_pending());
    block_on(turn).expect("taken");
    let at_once = bell.clone();
    *store.trouble.0.lock().expect("no panic") = Some(Box::new(move || {
        assert!(at_once.rang(), "bob was woken");
        assert!(poll_bob().is_pending(), "alice is polling");
    }));
    assert!(is_waiting(alice.as_mut()));
    drop(alice);
    assert!(bell.rang(), "bob, and all that come after him, would wait for ever");
    block_on(bob.lock().expect("no panic").as_mut()).expect("taken");
    block_on(recording(&tracker, "carol")).expect("taken");
}
