//! What the tests share: short names for the shapes that go into a store.

use presence_core::{
    Ask, Commit, EventId, Fingerprint, NewCheckpoint, Outcome, Request, Session, Source, StateType,
    Timestamp, UserId, Version,
};

pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn row(state: &str, secs: i64) -> NewCheckpoint {
    let state = StateType::new(state).unwrap();
    NewCheckpoint { state, at: at(secs), content: None, source: Source::Client, proof_at: None }
}

pub(crate) fn timeout(secs: i64, proof: i64) -> NewCheckpoint {
    NewCheckpoint { source: Source::Timeout, proof_at: Some(at(proof)), ..row("Offline", secs) }
}

/// A commit of these rows, with the session that their last one leaves.
pub(crate) fn commit(name: &str, expected: Option<Version>, rows: &[NewCheckpoint]) -> Commit {
    let last = rows.last().expect("a commit has rows");
    let session = Session {
        user: user(name),
        current_state: last.state.clone(),
        live_since: last.at,
        last_heartbeat: last.at,
        last_state_change: last.at,
        version: Version(0),
    };
    Commit {
        expected,
        erased_at: None,
        session,
        withdraw: Vec::new(),
        insert: rows.to_vec(),
        totals: Vec::new(),
        changed: None,
        requests: Vec::new(),
        events: Vec::new(),
        decided_at: last.at,
    }
}

pub(crate) fn ask(name: &str, first: i64, last: i64) -> Ask {
    Ask { user: user(name), first: at(first), last: at(last), event_ids: Vec::new() }
}

pub(crate) fn request(id: &str) -> Request {
    let fingerprint = Fingerprint::of(&[id.as_bytes()]);
    Request { event_id: EventId::new(id).unwrap(), fingerprint, created: true }
}

pub(crate) fn version(outcome: &Outcome) -> Version {
    let Outcome::Committed { version, .. } = outcome else { panic!("{outcome:?}") };
    *version
}
