//! Between rows and types.

use presence_core::{
    Checkpoint, CheckpointId, Content, Fingerprint, Member, Session, Source, StateType, Timestamp, UserId,
    Version,
};
use sqlx::{Row, postgres::PgRow};

use crate::error::Fault;

/// The columns that [`session`] reads, of the table `s`.
macro_rules! session_columns {
    () => {
        "s.current_state, s.live_since, s.last_heartbeat, s.last_state_change, s.version"
    };
}
/// The columns that [`checkpoint`] reads, of the table `c`. JSON as text is the text that was stored.
macro_rules! checkpoint_columns {
    () => {
        "c.id, c.state, c.timestamp, c.content::text AS content, c.source, c.proof_at"
    };
}
pub(crate) use {checkpoint_columns, session_columns};

/// The session whose columns begin at `first`.
pub(crate) fn session(row: &PgRow, first: usize, user: UserId) -> Result<Session, Fault> {
    Ok(Session {
        user,
        current_state: state(row, first, "user_sessions.current_state")?,
        live_since: timestamp(row, first + 1, "user_sessions.live_since")?,
        last_heartbeat: timestamp(row, first + 2, "user_sessions.last_heartbeat")?,
        last_state_change: timestamp(row, first + 3, "user_sessions.last_state_change")?,
        version: Version(row.try_get(first + 4)?),
    })
}

/// The row of a timeline whose columns begin at `first`.
pub(crate) fn checkpoint(row: &PgRow, first: usize, user: &UserId) -> Result<Checkpoint, Fault> {
    let content: Option<&str> = row.try_get(first + 3)?;
    let content =
        content.map(Content::from_stored).transpose().map_err(Fault::rejected("checkpoints.content"))?;
    let source =
        Source::from_name(row.try_get(first + 4)?).ok_or_else(|| Fault::unknown("checkpoints.source"))?;
    let proof_at =
        is_some(row, first + 5)?.then(|| timestamp(row, first + 5, "checkpoints.proof_at")).transpose()?;
    Ok(Checkpoint {
        id: id(row, first, "checkpoints.id")?,
        user: user.clone(),
        state: state(row, first + 1, "checkpoints.state")?,
        at: timestamp(row, first + 2, "checkpoints.timestamp")?,
        content,
        source,
        proof_at,
    })
}

/// Whether there is a value in this column, which holds integers.
pub(crate) fn is_some(row: &PgRow, index: usize) -> Result<bool, Fault> {
    Ok(row.try_get::<Option<i64>, _>(index)?.is_some())
}

pub(crate) fn state(row: &PgRow, index: usize, column: &'static str) -> Result<StateType, Fault> {
    StateType::new(row.try_get::<&str, _>(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn timestamp(row: &PgRow, index: usize, column: &'static str) -> Result<Timestamp, Fault> {
    Timestamp::from_millis(row.try_get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn id(row: &PgRow, index: usize, column: &'static str) -> Result<CheckpointId, Fault> {
    CheckpointId::new(row.try_get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn user(row: &PgRow, index: usize, column: &'static str) -> Result<UserId, Fault> {
    UserId::new(row.try_get::<&str, _>(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn member(row: &PgRow, index: usize) -> Result<Member, Fault> {
    Member::parse(row.try_get(index)?).map_err(Fault::rejected("online_members.member"))
}

pub(crate) fn fingerprint(row: &PgRow, index: usize) -> Result<Fingerprint, Fault> {
    let bytes: &[u8] = row.try_get(index)?;
    let bytes = bytes.try_into().map_err(|_| Fault::unknown("requests.fingerprint"))?;
    Ok(Fingerprint(u128::from_be_bytes(bytes)))
}

/// The place of an item in a batch, which the server counts from one.
pub(crate) fn place(row: &PgRow, index: usize) -> Result<usize, Fault> {
    let number: i64 = row.try_get(index)?;
    number
        .checked_sub(1)
        .and_then(|place| place.try_into().ok())
        .ok_or(Fault::Call("a row without its place"))
}

/// A number of rows as PostgreSQL takes it; it has no more than that anyway.
pub(crate) fn limit(limit: usize) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}
