//! The reading side of rooms. Each answer is one statement, and so one snapshot.

use async_trait::async_trait;
use presence_core::{
    AdminAction, ChatMessage, Part, RoomId, RoomQuery, RoomSession, StoreError, StoredRoom, Timestamp, Window,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    codec::{self, action_columns, message_columns, room_columns, room_session_columns},
    error::Fault,
};

pub(crate) const ROOM: &str = concat!("SELECT ", room_columns!(), " FROM rooms r WHERE r.id = $1");
pub(crate) const ROOMS: &str = concat!(
    "SELECT ",
    room_columns!(),
    " FROM rooms r WHERE r.closed_at IS NULL AND r.id > $1 ORDER BY r.id LIMIT $2"
);
pub(crate) const ABANDONED: &str = "SELECT r.id FROM rooms r
    WHERE r.closed_at IS NULL AND r.current_users > 0 AND r.lease_until <= $1 ORDER BY r.lease_until, r.id LIMIT $2";
pub(crate) const MESSAGES: &str = concat!(
    "SELECT t.total, ",
    message_columns!(),
    " FROM (
    SELECT count(*) AS total FROM chat_history WHERE room_id = $1 AND created_at >= $2 AND created_at < $3
) t LEFT JOIN LATERAL (
    SELECT * FROM chat_history WHERE room_id = $1 AND created_at >= $2 AND created_at < $3
    ORDER BY created_at DESC, seq DESC LIMIT $4 OFFSET $5
) h ON true ORDER BY h.created_at DESC, h.seq DESC"
);
pub(crate) const SESSIONS: &str = concat!(
    "SELECT t.total, ",
    room_session_columns!(),
    " FROM (
    SELECT count(*) AS total FROM room_sessions
    WHERE room_id = $1 AND join_time >= $2 AND join_time < $3 AND leave_time IS NOT NULL
) t LEFT JOIN LATERAL (
    SELECT * FROM room_sessions
    WHERE room_id = $1 AND join_time >= $2 AND join_time < $3 AND leave_time IS NOT NULL
    ORDER BY join_time DESC, number DESC LIMIT $4 OFFSET $5
) v ON true ORDER BY v.join_time DESC, v.number DESC"
);
pub(crate) const ACTIONS: &str = concat!(
    "SELECT ",
    action_columns!(),
    " FROM admin_actions a WHERE a.room_id = $1 AND a.number < $2 ORDER BY a.number DESC LIMIT $3"
);

#[async_trait]
impl RoomQuery for PostgresStore {
    async fn room(&self, room: &RoomId) -> Result<Option<StoredRoom>, StoreError> {
        let rows = self.connections.rows(|| sqlx::query(ROOM).bind(room.as_str())).await?;
        Ok(rows.first().map(codec::room).transpose()?)
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<StoredRoom>, StoreError> {
        // No id is empty, so that all come after the empty one.
        let after = after.map_or("", RoomId::as_str);
        let rows = self.connections.rows(|| sqlx::query(ROOMS).bind(after).bind(codec::limit(limit))).await?;
        Ok(rows.iter().map(codec::room).collect::<Result<_, Fault>>()?)
    }

    async fn abandoned(&self, now: Timestamp, limit: usize) -> Result<Vec<RoomId>, StoreError> {
        let statement = || sqlx::query(ABANDONED).bind(now.as_millis()).bind(codec::limit(limit));
        let rows = self.connections.rows(statement).await?;
        Ok(rows.iter().map(|row| codec::room_id(row, 0, "rooms.id")).collect::<Result<_, Fault>>()?)
    }

    async fn messages(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<ChatMessage>, StoreError> {
        Ok(part(self, MESSAGES, room, window, (skip, limit), codec::message).await?)
    }

    async fn sessions(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<RoomSession>, StoreError> {
        Ok(part(self, SESSIONS, room, window, (skip, limit), codec::room_session).await?)
    }

    async fn actions(
        &self,
        room: &RoomId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AdminAction>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let statement = || sqlx::query(ACTIONS).bind(room.as_str()).bind(before).bind(codec::limit(limit));
        let rows = self.connections.rows(statement).await?;
        Ok(rows.iter().map(|row| codec::action(row, 0)).collect::<Result<_, Fault>>()?)
    }
}

/// How many there are in all comes first in each row; what follows is empty where there is nothing on the page.
async fn part<T>(
    store: &PostgresStore,
    sql: &'static str,
    room: &RoomId,
    window: Window,
    (skip, limit): (u64, usize),
    read: fn(&PgRow, usize) -> Result<T, Fault>,
) -> Result<Part<T>, Fault> {
    let (from, to) = (window.from().as_millis(), window.to().as_millis());
    let statement = || {
        let part = sqlx::query(sql).bind(room.as_str()).bind(from).bind(to);
        part.bind(codec::limit(limit)).bind(codec::count(skip))
    };
    let rows = store.connections.rows(statement).await?;
    let mut part = Part { records: Vec::new(), total: 0 };
    for row in &rows {
        part.total = row.try_get::<i64, _>(0)?.unsigned_abs();
        if codec::is_some(row, 1)? {
            part.records.push(read(row, 1)?);
        }
    }
    Ok(part)
}
