//! What the cases are told with.

use crate::{
    Ask, Checkpoint, CheckpointId, CheckpointStore, Commit, Context, NewCheckpoint, Outcome, Session, Source,
    StateType, Timestamp, UserId, Version, conformance::Timelines,
};

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).expect("an instant of a case")
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name of a case")
}

pub(super) fn row(state: StateType, millis: i64) -> NewCheckpoint {
    NewCheckpoint { state, at: at(millis), content: None, source: Source::Client, proof_at: None }
}

pub(super) fn timeout(millis: i64, proof_at: i64) -> NewCheckpoint {
    let proof_at = Some(at(proof_at));
    NewCheckpoint { source: Source::Timeout, proof_at, ..row(StateType::Offline, millis) }
}

/// A commit of a new user that inserts `rows`; the last one is in force.
pub(super) fn commit(name: &str, rows: Vec<NewCheckpoint>) -> Commit {
    let last = rows.last().expect("a row");
    let last_at = last.at;
    let session = Session {
        user: user(name),
        current_state: last.state.clone(),
        live_since: rows[0].at,
        last_heartbeat: last.at,
        last_state_change: last.at,
        version: Version(0),
    };
    Commit {
        expected: None,
        erased_at: None,
        session,
        withdraw: Vec::new(),
        insert: rows,
        totals: Vec::new(),
        changed: None,
        requests: Vec::new(),
        events: Vec::new(),
        decided_at: last_at,
    }
}

/// The same on top of a session.
pub(super) fn commit_on(session: &Session, rows: Vec<NewCheckpoint>) -> Commit {
    let mut commit = commit(session.user.as_str(), rows);
    commit.expected = Some(session.version);
    commit.session.live_since = session.live_since;
    commit
}

/// Commits one commit that must not conflict.
pub(super) async fn write<S: CheckpointStore + ?Sized>(
    store: &S,
    commit: Commit,
) -> (Version, Vec<CheckpointId>) {
    let outcomes = store.commit(vec![commit]).await.expect("a store that works");
    match outcomes.into_iter().next() {
        Some(Outcome::Committed { version, ids }) => (version, ids),
        other => panic!("committed, not {other:?}"),
    }
}

/// What a decision about one span would see.
pub(super) async fn load<S: CheckpointStore + ?Sized>(
    store: &S,
    name: &str,
    first: i64,
    last: i64,
) -> Context {
    let ask = Ask { user: user(name), first: at(first), last: at(last), event_ids: Vec::new() };
    let contexts = store.load(vec![ask]).await.expect("a store that works");
    contexts.into_iter().next().expect("one context per ask")
}

pub(super) async fn session<S: CheckpointStore + ?Sized>(store: &S, name: &str) -> Session {
    load(store, name, 0, 0).await.session.expect("a session")
}

/// All rows of a user, oldest first.
pub(super) async fn rows<S: Timelines + ?Sized>(store: &S, name: &str) -> Vec<Checkpoint> {
    let history = store.history(&user(name), crate::Window::all(), None, usize::from(u16::MAX)).await;
    let mut rows = history.expect("a store that works");
    rows.reverse();
    rows
}

pub(super) fn instants(rows: &[Checkpoint]) -> Vec<i64> {
    rows.iter().map(|row| row.at.as_millis()).collect()
}
