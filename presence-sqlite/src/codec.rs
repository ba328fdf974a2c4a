//! Between rows and types.

use presence_core::{
    Checkpoint, CheckpointId, Content, Fingerprint, Member, Session, Source, StateType, Timestamp, UserId,
    Version,
};
use rusqlite::{Row, types::ValueRef};

use crate::error::Fault;

/// The columns that [`session`] reads.
macro_rules! session_columns {
    () => {
        "current_state, live_since, last_heartbeat, last_state_change, version"
    };
}
/// The columns that [`checkpoint`] reads, of the table `c`.
macro_rules! checkpoint_columns {
    () => {
        "c.id, c.state, c.timestamp, c.content, c.source, c.proof_at"
    };
}
pub(crate) use {checkpoint_columns, session_columns};

pub(crate) fn session(row: &Row<'_>, user: UserId) -> Result<Session, Fault> {
    Ok(Session {
        user,
        current_state: state(row, 0, "user_sessions.current_state")?,
        live_since: timestamp(row, 1, "user_sessions.live_since")?,
        last_heartbeat: timestamp(row, 2, "user_sessions.last_heartbeat")?,
        last_state_change: timestamp(row, 3, "user_sessions.last_state_change")?,
        version: Version(row.get(4)?),
    })
}

pub(crate) fn checkpoint(row: &Row<'_>, user: &UserId) -> Result<Checkpoint, Fault> {
    let content = optional(row, 3)?
        .map(|value| {
            let text = value.as_str().map_err(Fault::value("checkpoints.content"))?;
            Content::from_stored(text).map_err(Fault::rejected("checkpoints.content"))
        })
        .transpose()?;
    let source = text(row, 4, "checkpoints.source")?;
    let proof_at = optional(row, 5)?.map(|_| timestamp(row, 5, "checkpoints.proof_at")).transpose()?;
    Ok(Checkpoint {
        id: id(row, 0, "checkpoints.id")?,
        user: user.clone(),
        state: state(row, 1, "checkpoints.state")?,
        at: timestamp(row, 2, "checkpoints.timestamp")?,
        content,
        source: Source::from_name(source).ok_or_else(|| Fault::unknown("checkpoints.source"))?,
        proof_at,
    })
}

pub(crate) fn text<'r>(row: &'r Row<'_>, index: usize, column: &'static str) -> Result<&'r str, Fault> {
    row.get_ref(index)?.as_str().map_err(Fault::value(column))
}

pub(crate) fn state(row: &Row<'_>, index: usize, column: &'static str) -> Result<StateType, Fault> {
    StateType::new(text(row, index, column)?).map_err(Fault::rejected(column))
}

pub(crate) fn timestamp(row: &Row<'_>, index: usize, column: &'static str) -> Result<Timestamp, Fault> {
    Timestamp::from_millis(row.get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn id(row: &Row<'_>, index: usize, column: &'static str) -> Result<CheckpointId, Fault> {
    CheckpointId::new(row.get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn user(row: &Row<'_>, index: usize, column: &'static str) -> Result<UserId, Fault> {
    UserId::new(text(row, index, column)?).map_err(Fault::rejected(column))
}

pub(crate) fn member(row: &Row<'_>, index: usize) -> Result<Member, Fault> {
    const COLUMN: &str = "online_members.member";
    Member::parse(text(row, index, COLUMN)?).map_err(Fault::rejected(COLUMN))
}

pub(crate) fn fingerprint(row: &Row<'_>, index: usize) -> Result<Fingerprint, Fault> {
    let bytes: [u8; 16] = row.get(index)?;
    Ok(Fingerprint(u128::from_be_bytes(bytes)))
}

/// The value, where there is one.
fn optional<'r>(row: &'r Row<'_>, index: usize) -> Result<Option<ValueRef<'r>>, Fault> {
    Ok(Some(row.get_ref(index)?).filter(|value| *value != ValueRef::Null))
}

/// A number of rows as SQLite takes it; it has no more than that anyway.
pub(crate) fn limit(limit: usize) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}
