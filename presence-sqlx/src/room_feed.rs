//! What a copy of rooms lacks.

use async_trait::async_trait;
use presence_core::{Behind, ChatMessage, Feed, RoomFeed, RoomId, RoomSession, StoreError};
use sqlx::Row;

use crate::{
    PostgresStore,
    codec::{self, message_columns, room_session_columns},
    error::Fault,
};

pub(crate) const MESSAGES_BEHIND: &str = "SELECT r.id, r.messages_copied, r.last_seq FROM rooms r
    WHERE r.messages_copied < r.last_seq AND r.id > $1 ORDER BY r.id LIMIT $2";
pub(crate) const SESSIONS_BEHIND: &str = "SELECT r.id, r.sessions_copied, r.last_end FROM rooms r
    WHERE r.sessions_copied < r.last_end AND r.id > $1 ORDER BY r.id LIMIT $2";
pub(crate) const MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM chat_history h WHERE h.room_id = $1 AND h.seq > $2 AND h.seq <= $3 ORDER BY h.seq LIMIT $4"
);
pub(crate) const SESSIONS: &str = concat!(
    "SELECT v.end_number, ",
    room_session_columns!(),
    " FROM room_sessions v WHERE v.room_id = $1 AND v.end_number > $2 AND v.end_number <= $3
    ORDER BY v.end_number LIMIT $4"
);
pub(crate) const MESSAGES_COPIED: &str =
    "UPDATE rooms SET messages_copied = $2 WHERE id = $1 AND messages_copied < $2";
pub(crate) const SESSIONS_COPIED: &str =
    "UPDATE rooms SET sessions_copied = $2 WHERE id = $1 AND sessions_copied < $2";

#[async_trait]
impl RoomFeed for PostgresStore {
    async fn behind(
        &self,
        feed: Feed,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<Behind>, StoreError> {
        let sql = match feed {
            Feed::Messages => MESSAGES_BEHIND,
            Feed::Sessions => SESSIONS_BEHIND,
        };
        // No id is empty, so that all come after the empty one.
        let after = after.map_or("", RoomId::as_str);
        let rows = self.connections.rows(|| sqlx::query(sql).bind(after).bind(codec::limit(limit))).await?;
        let behind = rows.iter().map(|row| {
            let room = codec::room_id(row, 0, "rooms.id")?;
            Ok(Behind { room, copied: row.try_get(1)?, last: row.try_get(2)? })
        });
        Ok(behind.collect::<Result<_, Fault>>()?)
    }

    async fn messages_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<ChatMessage>, StoreError> {
        let statement = || {
            let messages = sqlx::query(MESSAGES).bind(room.as_str()).bind(after).bind(last);
            messages.bind(codec::limit(limit))
        };
        let rows = self.connections.rows(statement).await?;
        Ok(rows.iter().map(|row| codec::message(row, 0)).collect::<Result<_, Fault>>()?)
    }

    async fn sessions_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<(i64, RoomSession)>, StoreError> {
        let statement = || {
            let sessions = sqlx::query(SESSIONS).bind(room.as_str()).bind(after).bind(last);
            sessions.bind(codec::limit(limit))
        };
        let rows = self.connections.rows(statement).await?;
        let sessions = rows.iter().map(|row| Ok((row.try_get(0)?, codec::room_session(row, 1)?)));
        Ok(sessions.collect::<Result<_, Fault>>()?)
    }

    async fn copied(&self, feed: Feed, room: &RoomId, last: i64) -> Result<(), StoreError> {
        let sql = match feed {
            Feed::Messages => MESSAGES_COPIED,
            Feed::Sessions => SESSIONS_COPIED,
        };
        let statement = || sqlx::query(sql).bind(room.as_str()).bind(last);
        Ok(self.connections.rows(statement).await.map(drop)?)
    }
}
