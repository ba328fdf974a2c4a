//! The reading side of rooms.

use async_trait::async_trait;
use presence_core::{
    AdminAction, ChatMessage, Part, RoomId, RoomQuery, RoomRole, RoomSession, StoreError, StoredRoom,
    Timestamp, UserId, Window,
};
use rusqlite::{Connection, Row, params};

use crate::{
    SqliteStore,
    codec::{self, action_columns, message_columns, room_columns, room_session_columns},
    error::Fault,
};

pub(crate) const ROOM: &str = concat!("SELECT ", room_columns!(), " FROM rooms WHERE id = ?1");
pub(crate) const ROOMS: &str = concat!(
    "SELECT ",
    room_columns!(),
    " FROM rooms INDEXED BY rooms_open WHERE closed_at IS NULL AND id > ?1 ORDER BY id LIMIT ?2"
);
pub(crate) const USERS: &str =
    "SELECT user_id FROM room_roles WHERE room_id = ?1 AND role = ?2 ORDER BY user_id";
pub(crate) const ABANDONED: &str = "SELECT id FROM rooms
    WHERE closed_at IS NULL AND current_users > 0 AND lease_until <= ?1 ORDER BY lease_until LIMIT ?2";
pub(crate) const MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM chat_history WHERE room_id = ?1 AND created_at >= ?2 AND created_at < ?3
     ORDER BY created_at DESC, seq DESC LIMIT ?4 OFFSET ?5"
);
pub(crate) const COUNT_MESSAGES: &str =
    "SELECT count(*) FROM chat_history WHERE room_id = ?1 AND created_at >= ?2 AND created_at < ?3";
pub(crate) const SESSIONS: &str = concat!(
    "SELECT ",
    room_session_columns!(),
    " FROM room_sessions WHERE room_id = ?1 AND join_time >= ?2 AND join_time < ?3 AND leave_time IS NOT NULL
     ORDER BY join_time DESC, number DESC LIMIT ?4 OFFSET ?5"
);
pub(crate) const COUNT_SESSIONS: &str = "SELECT count(*) FROM room_sessions
    WHERE room_id = ?1 AND join_time >= ?2 AND join_time < ?3 AND leave_time IS NOT NULL";
pub(crate) const ACTIONS: &str = concat!(
    "SELECT ",
    action_columns!(),
    " FROM admin_actions WHERE room_id = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3"
);

#[async_trait]
impl RoomQuery for SqliteStore {
    async fn room(&self, room: &RoomId) -> Result<Option<StoredRoom>, StoreError> {
        let id = room.clone();
        self.read(move |conn| self::room(conn, &id)).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<StoredRoom>, StoreError> {
        // No id is empty, so that all come after the empty one.
        let after = after.map(RoomId::to_string).unwrap_or_default();
        self.read(move |conn| {
            let mut rooms = conn.prepare_cached(ROOMS)?;
            let mut rows = rooms.query(params![after, codec::limit(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(with_users(conn, codec::room(row)?)?);
            }
            Ok(found)
        })
        .await
    }

    async fn abandoned(&self, now: Timestamp, limit: usize) -> Result<Vec<RoomId>, StoreError> {
        self.read(move |conn| {
            let mut abandoned = conn.prepare_cached(ABANDONED)?;
            let mut rows = abandoned.query(params![now.as_millis(), codec::limit(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(codec::room_id(row, 0, "rooms.id")?);
            }
            Ok(found)
        })
        .await
    }

    async fn messages(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<ChatMessage>, StoreError> {
        let part = Asked { sql: [MESSAGES, COUNT_MESSAGES], room: room.clone(), window, skip, limit };
        self.read(move |conn| part.read(conn, codec::message)).await
    }

    async fn sessions(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<RoomSession>, StoreError> {
        let part = Asked { sql: [SESSIONS, COUNT_SESSIONS], room: room.clone(), window, skip, limit };
        self.read(move |conn| part.read(conn, codec::room_session)).await
    }

    async fn actions(
        &self,
        room: &RoomId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AdminAction>, StoreError> {
        let (room, before) = (room.clone(), before.unwrap_or(i64::MAX));
        self.read(move |conn| {
            let mut actions = conn.prepare_cached(ACTIONS)?;
            let mut rows = actions.query(params![room.as_str(), before, codec::limit(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(codec::action(row)?);
            }
            Ok(found)
        })
        .await
    }
}

pub(crate) fn room(conn: &Connection, id: &RoomId) -> Result<Option<StoredRoom>, Fault> {
    let mut room = conn.prepare_cached(ROOM)?;
    let mut rows = room.query([id.as_str()])?;
    rows.next()?.map(|row| with_users(conn, codec::room(row)?)).transpose()
}

fn with_users(conn: &Connection, room: StoredRoom) -> Result<StoredRoom, Fault> {
    let (admins, banned) =
        (users(conn, &room.id, RoomRole::Admin)?, users(conn, &room.id, RoomRole::Banned)?);
    Ok(StoredRoom { admins, banned, ..room })
}

pub(crate) fn users(conn: &Connection, room: &RoomId, role: RoomRole) -> Result<Vec<UserId>, Fault> {
    let mut users = conn.prepare_cached(USERS)?;
    let mut rows = users.query([room.as_str(), role.name()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(codec::user(row, 0, "room_roles.user_id")?);
    }
    Ok(found)
}

/// A part of a list that is asked for: the statement that gives it, and the one that counts all.
struct Asked {
    sql: [&'static str; 2],
    room: RoomId,
    window: Window,
    skip: u64,
    limit: usize,
}

impl Asked {
    fn read<T>(&self, conn: &Connection, read: fn(&Row<'_>) -> Result<T, Fault>) -> Result<Part<T>, Fault> {
        let [part, count] = self.sql;
        let (from, to) = (self.window.from().as_millis(), self.window.to().as_millis());
        let (room, limit, skip) = (self.room.as_str(), codec::limit(self.limit), codec::count(self.skip));
        let mut records = Vec::new();
        let mut part = conn.prepare_cached(part)?;
        let mut rows = part.query(params![room, from, to, limit, skip])?;
        while let Some(row) = rows.next()? {
            records.push(read(row)?);
        }
        let total: i64 = conn.prepare_cached(count)?.query_row(params![room, from, to], |row| row.get(0))?;
        Ok(Part { records, total: total.unsigned_abs() })
    }
}
