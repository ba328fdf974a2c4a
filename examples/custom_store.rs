//! A store of your own, in the simplest form there is: lists that are searched from end to end.
//!
//! `cargo run --example custom_store` uses it; the tests run the promises of the ports on it.
//! The rules are all in the library, so a store only finds, compares and keeps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use presence_core::{
    Ask, Beat, Checkpoint, CheckpointId, CheckpointQuery, CheckpointStore, Commit, Context, Envelope,
    Erasure, Facts, Outcome, Place, Record, Request, Row, Session, Source, StateType, StoreError,
    SystemClock, Tally, Timestamp, Tracker, UserId, Version, Window,
};

/// Keeps everything in lists.
#[derive(Debug, Default)]
struct ListStore(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    sessions: Vec<Session>,
    /// In order of (user, at, id).
    rows: Vec<Checkpoint>,
    totals: Vec<(UserId, StateType, i64)>,
    requests: Vec<(UserId, Request, CheckpointId)>,
    /// A real store keeps a keyed hash here, so that the name of an erased user is gone.
    erased: Vec<(UserId, Timestamp)>,
    last_id: i64,
    last_version: i64,
}

impl ListStore {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn session(&self, user: &UserId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.user == *user)
    }

    fn rows<'a>(&'a self, user: &'a UserId) -> impl DoubleEndedIterator<Item = &'a Checkpoint> {
        self.rows.iter().filter(move |row| row.user == *user)
    }

    fn erased_at(&self, user: &UserId) -> Option<Timestamp> {
        self.erased.iter().find(|(erased, _)| erased == user).map(|(_, at)| *at)
    }

    /// Two rows before, all between, three after with all others of the third's instant.
    fn load(&self, ask: &Ask) -> Context {
        let rows: Vec<_> = self.rows(&ask.user).cloned().collect();
        let first = rows.partition_point(|row| row.at <= ask.first).saturating_sub(2);
        let last = rows.partition_point(|row| row.at <= ask.last);
        let third = rows.get(last + 2).map(|row| row.at);
        let end = third.map_or(rows.len(), |third| rows.partition_point(|row| row.at <= third));
        let run = rows.iter().take(first + 1).rev();
        let run = run.take_while(|row| Some(&row.state) == rows.get(first).map(|first| &first.state));
        let requests = self
            .requests
            .iter()
            .filter(|(user, request, _)| *user == ask.user && ask.event_ids.contains(&request.event_id));
        let answer = |id: CheckpointId| rows.iter().find(|row| row.id == id).cloned();
        Context {
            session: self.session(&ask.user).cloned(),
            run_start: run.last().map(|row| row.at),
            requests: requests.filter_map(|(_, request, id)| Some((request.clone(), answer(*id)?))).collect(),
            rows: rows.get(first..end).unwrap_or_default().to_vec(),
            erased_at: self.erased_at(&ask.user),
        }
    }

    fn commit(&mut self, commit: Commit) -> Outcome {
        let Commit { expected, erased_at, session, withdraw, insert, totals, requests, .. } = commit;
        let user = session.user.clone();
        let version = self.session(&user).map(|session| session.version);
        let is_current = version == expected && (version.is_some() || self.erased_at(&user) == erased_at);
        let is_new_lapse = insert.iter().filter(|row| row.source == Source::Timeout).all(|lapse| {
            let mut others = self.rows(&user).filter(|row| !withdraw.contains(&row.id));
            others.all(|row| row.source != Source::Timeout || row.proof_at != lapse.proof_at)
        });
        if !is_current || !is_new_lapse {
            return Outcome::Conflict;
        }
        self.last_version += 1;
        let version = Version(self.last_version);
        self.sessions.retain(|session| session.user != user);
        self.sessions.push(Session { version, ..session });
        self.rows.retain(|row| row.user != user || !withdraw.contains(&row.id));
        let mut ids = Vec::new();
        for row in insert {
            self.last_id += 1;
            let id = CheckpointId::new(self.last_id).expect("counted up from one");
            self.rows.push(row.numbered(id, user.clone()));
            ids.push(id);
        }
        self.rows.sort_by(|a, b| (&a.user, a.at, a.id).cmp(&(&b.user, b.at, b.id)));
        for (state, sum) in totals {
            match self.totals.iter_mut().find(|total| (&total.0, &total.1) == (&user, &state)) {
                Some(total) => total.2 += sum,
                None => self.totals.push((user.clone(), state, sum)),
            }
        }
        self.requests.extend(requests.into_iter().map(|(request, row)| match row {
            Row::Stored(id) => (user.clone(), request, id),
            Row::Inserted(place) => (user.clone(), request, ids[place]),
        }));
        Outcome::Committed { version, ids }
    }

    fn touch(&mut self, beat: &Beat) -> bool {
        let version = Version(self.last_version + 1);
        let session = self.sessions.iter_mut().find(|session| session.user == beat.user);
        let Some(session) = session.filter(|session| {
            session.current_state.is_live()
                && session.live_since <= beat.first
                && session.last_heartbeat >= beat.floor
        }) else {
            return false;
        };
        session.last_heartbeat = session.last_heartbeat.max(beat.last);
        session.version = version;
        self.last_version = version.0;
        true
    }
}

#[async_trait]
impl CheckpointStore for ListStore {
    async fn load(&self, asks: Vec<Ask>) -> Result<Vec<Context>, StoreError> {
        let lists = self.lists();
        Ok(asks.iter().map(|ask| lists.load(ask)).collect())
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        let mut lists = self.lists();
        Ok(commits.into_iter().map(|commit| lists.commit(commit)).collect())
    }

    async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError> {
        let mut lists = self.lists();
        Ok(beats.into_iter().filter(|beat| !lists.touch(beat)).collect())
    }

    async fn overdue(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, StoreError> {
        let mut silent = self.lists().sessions.clone();
        silent.retain(|session| session.current_state.is_live() && session.last_heartbeat < cutoff);
        silent.sort_by(|a, b| (a.last_heartbeat, &a.user).cmp(&(b.last_heartbeat, &b.user)));
        silent.truncate(limit);
        Ok(silent)
    }

    async fn erase(&self, user: &UserId, at: Timestamp) -> Result<Erasure, StoreError> {
        let mut lists = self.lists();
        let at = lists.erased_at(user).map_or(at, |earlier| earlier.max(at));
        lists.erased.retain(|(erased, _)| erased != user);
        lists.erased.push((user.clone(), at));
        let before = (lists.rows.len(), lists.requests.len());
        lists.sessions.retain(|session| session.user != *user);
        lists.rows.retain(|row| row.user != *user);
        lists.totals.retain(|total| total.0 != *user);
        lists.requests.retain(|request| request.0 != *user);
        Ok(Erasure {
            checkpoints: (before.0 - lists.rows.len()) as u64,
            requests: (before.1 - lists.requests.len()) as u64,
            ..Erasure::default()
        })
    }
}

#[async_trait]
impl CheckpointQuery for ListStore {
    async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        let lists = self.lists();
        let Some(session) = lists.session(user).cloned() else { return Ok(None) };
        let closed = if windows == [Window::all()] {
            let totals = lists.totals.iter().filter(|(total, _, sum)| total == user && *sum != 0);
            vec![totals.map(|(_, state, sum)| (state.clone(), *sum)).collect()]
        } else {
            let mut tally = Tally::new(windows.to_vec());
            let closed = lists.rows(user).filter(|row| row.at < session.last_state_change);
            closed.for_each(|row| tally.row(row.at, &row.state));
            tally.finish(session.last_state_change)
        };
        Ok(Some(Facts { session, closed }))
    }

    async fn checkpoint(&self, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.lists().rows(user).find(|row| row.id == id).cloned())
    }

    async fn history(
        &self,
        user: &UserId,
        window: Window,
        before: Option<(Timestamp, CheckpointId)>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let lists = self.lists();
        let inside = lists.rows(user).rev().filter(|row| window.contains(row.at));
        let rows = inside.filter(|row| before.is_none_or(|before| (row.at, row.id) < before));
        Ok(rows.take(limit).cloned().collect())
    }

    async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let lists = self.lists();
        let mut records: Vec<_> = lists.session(user).cloned().map(Record::Session).into_iter().collect();
        let totals = lists.totals.iter().filter(|(total, _, sum)| total == user && *sum != 0);
        records
            .extend(totals.map(|(_, state, sum)| Record::Total { state: state.clone(), duration_ms: *sum }));
        records.extend(lists.rows(user).cloned().map(Record::Checkpoint));
        let requests = lists.requests.iter().filter(|(owner, _, _)| owner == user);
        records.extend(
            requests.map(|(_, request, id)| Record::Request { request: request.clone(), checkpoint: *id }),
        );
        records.sort_by_key(Record::place);
        records.retain(|record| after.as_ref().is_none_or(|after| record.place() > *after));
        records.truncate(limit);
        Ok(records)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = Tracker::new(Arc::new(ListStore::default()), SystemClock);
    let alice = UserId::new("alice")?;
    for state in ["Working", "Working", "Gaming"] {
        tracker.record(Envelope::checkpoint(alice.clone(), StateType::new(state)?)).await?;
    }
    let rows = tracker.history(&alice, Window::all(), None, 10).await?.items;
    for row in &rows {
        println!("{} {} {}", row.id, row.at, row.state);
    }
    assert_eq!(rows.len(), 2, "the second Working was redundant");
    Ok(())
}

/// The promises of the ports, one test each.
#[cfg(test)]
mod conformance {
    use super::*;

    async fn fresh() -> (Arc<ListStore>, ()) {
        (Arc::new(ListStore::default()), ())
    }

    fn run(case: impl Future<Output = ()>) {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(case);
    }

    presence_core::checkpoint_tests!(fresh, run);
}
