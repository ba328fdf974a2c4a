//! What a copy of rooms lacks, in memory.

use std::ops::Bound::{Excluded, Unbounded};

use async_trait::async_trait;

use crate::{Behind, ChatMessage, Feed, MemoryStore, RoomFeed, RoomId, RoomSession, StoreError};

#[async_trait]
impl RoomFeed for MemoryStore {
    async fn behind(
        &self,
        feed: Feed,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<Behind>, StoreError> {
        let log = self.room_log();
        let later = log.rooms.range::<RoomId, _>((after.map_or(Unbounded, Excluded), Unbounded));
        let behind = later.filter_map(|(room, kept)| {
            let (last, copied) = match feed {
                Feed::Messages => (kept.counters.last_seq, kept.messages_copied),
                Feed::Sessions => (kept.counters.last_end, kept.sessions_copied),
            };
            (copied < last).then(|| Behind { room: room.clone(), copied, last })
        });
        Ok(behind.take(limit).collect())
    }

    async fn messages_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<ChatMessage>, StoreError> {
        let log = self.room_log();
        let Some(kept) = log.rooms.get(room).filter(|_| after < last) else { return Ok(Vec::new()) };
        let messages = kept.messages.rows.range(after.saturating_add(1)..=last);
        Ok(messages.take(limit).map(|(_, message)| message.clone()).collect())
    }

    async fn sessions_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<(i64, RoomSession)>, StoreError> {
        let log = self.room_log();
        let Some(kept) = log.rooms.get(room).filter(|_| after < last) else { return Ok(Vec::new()) };
        let ends = kept.ends.range(after.saturating_add(1)..=last);
        let sessions = ends.filter_map(|(end, number)| Some((*end, kept.sessions.rows.get(number)?.clone())));
        Ok(sessions.take(limit).collect())
    }

    async fn copied(&self, feed: Feed, room: &RoomId, last: i64) -> Result<(), StoreError> {
        let mut log = self.room_log();
        let Some(kept) = log.rooms.get_mut(room) else { return Ok(()) };
        let copied = match feed {
            Feed::Messages => &mut kept.messages_copied,
            Feed::Sessions => &mut kept.sessions_copied,
        };
        *copied = last.max(*copied);
        Ok(())
    }
}
