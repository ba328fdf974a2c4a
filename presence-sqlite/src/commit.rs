//! What a decision writes: [`CheckpointStore::commit`](presence_core::CheckpointStore::commit).

use std::collections::BTreeSet;

use presence_core::{CheckpointId, Commit, NewCheckpoint, Outcome, Row, Source, Version};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::{
    error::Fault,
    outbox,
    summary_cache::Forget,
    writer::{Counters, Writer},
};

pub(crate) const RENEW_SESSION: &str = "UPDATE user_sessions SET current_state = ?2, live_since = ?3,
    last_heartbeat = ?4, last_state_change = ?5, version = ?6 WHERE user_id = ?1 AND version = ?7";
pub(crate) const START_SESSION: &str = "INSERT INTO user_sessions
    (user_id, current_state, live_since, last_heartbeat, last_state_change, version)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (user_id) DO NOTHING";
pub(crate) const LAPSE: &str =
    "SELECT id FROM checkpoints WHERE user_id = ?1 AND proof_at = ?2 AND source = 'timeout'";
pub(crate) const WITHDRAW: &str = "DELETE FROM checkpoints WHERE id = ?2 AND user_id = ?1";
pub(crate) const INSERT: &str = "INSERT INTO checkpoints
    (user_id, timestamp, id, state, source, proof_at, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(crate) const ADD_TOTAL: &str =
    "INSERT INTO state_totals (user_id, state, duration_ms) VALUES (?1, ?2, ?3)
    ON CONFLICT (user_id, state) DO UPDATE SET duration_ms = duration_ms + excluded.duration_ms";
pub(crate) const REMEMBER: &str = "INSERT INTO requests
    (user_id, event_id, fingerprint, checkpoint_id, created) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (user_id, event_id) DO UPDATE SET fingerprint = excluded.fingerprint,
    checkpoint_id = excluded.checkpoint_id, created = excluded.created";

/// How many rows some commits write, about.
pub(crate) fn weight(commits: &[Commit]) -> usize {
    let rows = |commit: &Commit| 1 + commit.insert.len() + commit.withdraw.len() + commit.requests.len();
    commits.iter().map(rows).sum()
}

/// Applies commits in order; each for itself, all in the transaction that is open.
pub(crate) fn apply(writer: &mut Writer, commits: &[Commit]) -> Result<Vec<Outcome>, Fault> {
    let mut counters = writer.counters;
    let wanted = writer.wanted.get();
    let mut tables = Tables::new(&writer.conn)?;
    let outcomes = commits.iter().map(|commit| {
        let Writer { conn, eraser, .. } = &*writer;
        let is_erased_since =
            commit.expected.is_none() && eraser.fence(conn, &commit.session.user)? != commit.erased_at;
        if is_erased_since {
            return Ok(Outcome::Conflict);
        }
        let outcome = tables.apply(commit, &mut counters)?;
        if outcome != Outcome::Conflict && !wanted.is_empty() {
            outbox::keep(conn, &wanted, &mut counters.outbox_number, &commit.events, commit.decided_at)?;
        }
        Ok(outcome)
    });
    let outcomes = outcomes.collect();
    drop(tables);
    writer.counters = counters;
    outcomes
}

/// The statements of a commit.
struct Tables<'c> {
    renew_session: CachedStatement<'c>,
    start_session: CachedStatement<'c>,
    lapse: CachedStatement<'c>,
    withdraw: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    add_total: CachedStatement<'c>,
    remember: CachedStatement<'c>,
    forget: Forget<'c>,
}

impl<'c> Tables<'c> {
    fn new(conn: &'c Connection) -> Result<Self, Fault> {
        Ok(Self {
            renew_session: conn.prepare_cached(RENEW_SESSION)?,
            start_session: conn.prepare_cached(START_SESSION)?,
            lapse: conn.prepare_cached(LAPSE)?,
            withdraw: conn.prepare_cached(WITHDRAW)?,
            insert: conn.prepare_cached(INSERT)?,
            add_total: conn.prepare_cached(ADD_TOTAL)?,
            remember: conn.prepare_cached(REMEMBER)?,
            forget: Forget::new(conn)?,
        })
    }

    /// Applies one commit. What can conflict comes first, and the session is the first that is written: so a conflict
    /// has written nothing, and needs no savepoint to take it back.
    fn apply(&mut self, commit: &Commit, counters: &mut Counters) -> Result<Outcome, Fault> {
        let user = commit.session.user.as_str();
        if self.repeats_a_lapse(commit)? {
            return Ok(Outcome::Conflict);
        }
        counters.version += 1;
        let version = Version(counters.version);
        if !self.put_session(commit, version)? {
            return Ok(Outcome::Conflict);
        }
        for id in &commit.withdraw {
            self.withdraw.execute(params![user, id.get()])?;
        }
        let mut ids = Vec::with_capacity(commit.insert.len());
        for row in &commit.insert {
            counters.checkpoint_id += 1;
            ids.push(self.insert(user, row, counters.checkpoint_id)?);
        }
        if let Some(changed) = commit.changed {
            self.forget.days(user, changed)?;
        }
        for (state, sum) in &commit.totals {
            self.add_total.execute(params![user, state.as_str(), sum])?;
        }
        for (request, row) in &commit.requests {
            let id = match row {
                Row::Stored(id) => *id,
                Row::Inserted(place) => *ids.get(*place).ok_or(Fault::Call("a request names no row"))?,
            };
            let fingerprint = request.fingerprint.0.to_be_bytes();
            let event_id = request.event_id.as_str();
            self.remember.execute(params![user, event_id, fingerprint, id.get(), request.created])?;
        }
        Ok(Outcome::Committed { version, ids })
    }

    /// Whether a silence that the commit concludes has a timeout row that stays.
    fn repeats_a_lapse(&mut self, commit: &Commit) -> Result<bool, Fault> {
        let timeouts = commit.insert.iter().filter(|row| row.source == Source::Timeout);
        let mut seen = BTreeSet::new();
        for proof_at in timeouts.filter_map(|row| row.proof_at) {
            let key = params![commit.session.user.as_str(), proof_at.as_millis()];
            let stored: Option<i64> = self.lapse.query_row(key, |row| row.get(0)).optional()?;
            let stays = stored.is_some_and(|id| commit.withdraw.iter().all(|gone| gone.get() != id));
            if stays || !seen.insert(proof_at) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the session, if it is still the one that the commit was decided on.
    fn put_session(&mut self, commit: &Commit, Version(version): Version) -> Result<bool, Fault> {
        let session = &commit.session;
        let (user, state) = (session.user.as_str(), session.current_state.as_str());
        let (since, heartbeat) = (session.live_since.as_millis(), session.last_heartbeat.as_millis());
        let change = session.last_state_change.as_millis();
        let written = match commit.expected {
            Some(Version(expected)) => {
                self.renew_session.execute((user, state, since, heartbeat, change, version, expected))?
            }
            None => self.start_session.execute((user, state, since, heartbeat, change, version))?,
        };
        Ok(written == 1)
    }

    fn insert(&mut self, user: &str, row: &NewCheckpoint, id: i64) -> Result<CheckpointId, Fault> {
        let proof_at = row.proof_at.map(|at| at.as_millis());
        let content = row.content.as_ref().map(|content| content.as_str());
        let (at, state, source) = (row.at.as_millis(), row.state.as_str(), row.source.as_str());
        self.insert.execute(params![user, at, id, state, source, proof_at, content])?;
        CheckpointId::new(id).map_err(Fault::rejected("store_meta.checkpoint_id"))
    }
}
