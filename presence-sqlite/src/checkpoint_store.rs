//! The writing side of timelines.

use async_trait::async_trait;
use presence_core::{
    Ask, Beat, CheckpointStore, Commit, Context, Erasure, Outcome, Session, StoreError, Timestamp, UserId,
};
use rusqlite::{Connection, params};

use crate::{
    SqliteStore, activity_store,
    codec::{self, session_columns},
    commit,
    error::Fault,
    job::After,
    load, outbox, room_store,
    summary_cache::{ERASE_MARK, ERASE_SUMMARIES},
    writer::Writer,
};

pub(crate) const TOUCH: &str =
    "UPDATE user_sessions SET last_heartbeat = max(last_heartbeat, ?2), version = ?3
    WHERE user_id = ?1 AND current_state <> 'Offline' AND live_since <= ?4 AND last_heartbeat >= ?5";
pub(crate) const OVERDUE: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", user_id FROM user_sessions WHERE current_state <> 'Offline' AND last_heartbeat < ?1
     ORDER BY last_heartbeat, user_id LIMIT ?2"
);
pub(crate) const ERASE_CHECKPOINTS: &str = "DELETE FROM checkpoints WHERE user_id = ?1";
pub(crate) const ERASE_REQUESTS: &str = "DELETE FROM requests WHERE user_id = ?1";
pub(crate) const ERASE_TOTALS: &str = "DELETE FROM state_totals WHERE user_id = ?1";
pub(crate) const ERASE_SESSION: &str = "DELETE FROM user_sessions WHERE user_id = ?1";
pub(crate) const ERASE_MEMBER: &str = "DELETE FROM online_members WHERE member = 'u:' || ?1";

#[async_trait]
impl CheckpointStore for SqliteStore {
    async fn load(&self, asks: Vec<Ask>) -> Result<Vec<Context>, StoreError> {
        self.read_own(move |writer| load::load(writer, &asks)).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        let weight = commit::weight(&commits);
        self.write(weight, After::Nothing, move |writer| commit::apply(writer, &commits)).await
    }

    async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError> {
        self.write(beats.len(), After::Nothing, move |writer| touch(writer, &beats)).await
    }

    async fn overdue(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, StoreError> {
        self.read(move |conn| overdue(conn, cutoff, limit)).await
    }

    async fn erase(&self, user: &UserId, at: Timestamp) -> Result<Erasure, StoreError> {
        let user = user.clone();
        self.write(1, self.after_erasure(), move |writer| erase(writer, &user, at)).await
    }
}

fn touch(writer: &mut Writer, beats: &[Beat]) -> Result<Vec<Beat>, Fault> {
    let mut touch = writer.conn.prepare_cached(TOUCH)?;
    let mut not_taken = Vec::new();
    for beat in beats {
        writer.counters.version += 1;
        let (first, last, floor) = (beat.first.as_millis(), beat.last.as_millis(), beat.floor.as_millis());
        let user = beat.user.as_str();
        if touch.execute(params![user, last, writer.counters.version, first, floor])? == 0 {
            not_taken.push(beat.clone());
        }
    }
    Ok(not_taken)
}

fn overdue(conn: &Connection, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, Fault> {
    let mut overdue = conn.prepare_cached(OVERDUE)?;
    let mut rows = overdue.query(params![cutoff.as_millis(), codec::limit(limit)])?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        let user = codec::user(row, 5, "user_sessions.user_id")?;
        sessions.push(codec::session(row, user)?);
    }
    Ok(sessions)
}

fn erase(writer: &mut Writer, user: &UserId, at: Timestamp) -> Result<Erasure, Fault> {
    let conn = &writer.conn;
    let delete = |sql| Ok::<_, Fault>(conn.prepare_cached(sql)?.execute([user.as_str()])? as u64);
    let (checkpoints, requests) = (delete(ERASE_CHECKPOINTS)?, delete(ERASE_REQUESTS)?);
    for sql in [ERASE_TOTALS, ERASE_SUMMARIES, ERASE_MARK, ERASE_SESSION, ERASE_MEMBER] {
        delete(sql)?;
    }
    let events = activity_store::erase(conn, user)?;
    let (messages, room_sessions) = room_store::erase(conn, user)?;
    outbox::erase(conn, user)?;
    writer.eraser.forget(conn, user, at)?;
    Ok(Erasure { checkpoints, requests, events, messages, room_sessions })
}
