//! What a copy of rooms lacks.

use async_trait::async_trait;
use presence_core::{Behind, ChatMessage, Feed, RoomFeed, RoomId, RoomSession, StoreError};
use rusqlite::params;

use crate::{
    SqliteStore,
    codec::{self, message_columns, room_session_columns},
    job::After,
};

pub(crate) const MESSAGES_BEHIND: &str = "SELECT id, messages_copied, last_seq FROM rooms
    INDEXED BY rooms_messages_behind WHERE messages_copied < last_seq AND id > ?1 ORDER BY id LIMIT ?2";
pub(crate) const SESSIONS_BEHIND: &str = "SELECT id, sessions_copied, last_end FROM rooms
    INDEXED BY rooms_sessions_behind WHERE sessions_copied < last_end AND id > ?1 ORDER BY id LIMIT ?2";
pub(crate) const MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM chat_history WHERE room_id = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4"
);
pub(crate) const SESSIONS: &str = concat!(
    "SELECT ",
    room_session_columns!(),
    ", end_number FROM room_sessions INDEXED BY room_sessions_end
     WHERE room_id = ?1 AND end_number > ?2 AND end_number <= ?3 ORDER BY end_number LIMIT ?4"
);
pub(crate) const MESSAGES_COPIED: &str =
    "UPDATE rooms SET messages_copied = ?2 WHERE id = ?1 AND messages_copied < ?2";
pub(crate) const SESSIONS_COPIED: &str =
    "UPDATE rooms SET sessions_copied = ?2 WHERE id = ?1 AND sessions_copied < ?2";

#[async_trait]
impl RoomFeed for SqliteStore {
    async fn behind(
        &self,
        feed: Feed,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<Behind>, StoreError> {
        // No id is empty, so that all come after the empty one.
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.read(move |conn| {
            let sql = match feed {
                Feed::Messages => MESSAGES_BEHIND,
                Feed::Sessions => SESSIONS_BEHIND,
            };
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![after, codec::limit(limit)])?;
            let mut behind = Vec::new();
            while let Some(row) = rows.next()? {
                let room = codec::room_id(row, 0, "rooms.id")?;
                behind.push(Behind { room, copied: row.get(1)?, last: row.get(2)? });
            }
            Ok(behind)
        })
        .await
    }

    async fn messages_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<ChatMessage>, StoreError> {
        let room = room.clone();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(MESSAGES)?;
            let mut rows = statement.query(params![room.as_str(), after, last, codec::limit(limit)])?;
            let mut messages = Vec::new();
            while let Some(row) = rows.next()? {
                messages.push(codec::message(row)?);
            }
            Ok(messages)
        })
        .await
    }

    async fn sessions_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<(i64, RoomSession)>, StoreError> {
        let room = room.clone();
        self.read(move |conn| {
            const END: usize = 5;
            let mut statement = conn.prepare_cached(SESSIONS)?;
            let mut rows = statement.query(params![room.as_str(), after, last, codec::limit(limit)])?;
            let mut sessions = Vec::new();
            while let Some(row) = rows.next()? {
                sessions.push((row.get(END)?, codec::room_session(row)?));
            }
            Ok(sessions)
        })
        .await
    }

    async fn copied(&self, feed: Feed, room: &RoomId, last: i64) -> Result<(), StoreError> {
        let room = room.clone();
        self.write(1, After::Nothing, move |writer| {
            let sql = match feed {
                Feed::Messages => MESSAGES_COPIED,
                Feed::Sessions => SESSIONS_COPIED,
            };
            writer.conn.prepare_cached(sql)?.execute(params![room.as_str(), last])?;
            Ok(())
        })
        .await
    }
}
