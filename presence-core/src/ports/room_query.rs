//! Where rooms are kept: the reading side.

use async_trait::async_trait;

use crate::{AdminAction, ChatMessage, RoomId, RoomSession, StoreError, StoredRoom, Timestamp, Window};

/// A part of a longer list, and how long that is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part<T> {
    /// What was asked for.
    pub records: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

/// Answers questions about rooms. Each answer is one snapshot, as of the last batch of each room.
#[async_trait]
pub trait RoomQuery: Send + Sync {
    /// A room, open or closed; `None` where there is none of this id, or it was retired.
    ///
    /// # Contract
    ///
    /// - `a_room_is_found_open_or_closed`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn room(&self, room: &RoomId) -> Result<Option<StoredRoom>, StoreError>;

    /// At most `limit` open rooms after the one of id `after`, by id.
    ///
    /// # Contract
    ///
    /// - `open_rooms_page_in_order_without_gaps`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<StoredRoom>, StoreError>;

    /// At most `limit` open rooms that have members by their last batch, and whose lease is at its end at `now`.
    ///
    /// # Contract
    ///
    /// - `abandoned_rooms_have_members_and_no_lease`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn abandoned(&self, now: Timestamp, limit: usize) -> Result<Vec<RoomId>, StoreError>;

    /// At most `limit` messages of a room that were said inside `window`, newest first, without the first `skip`.
    ///
    /// # Contract
    ///
    /// - `messages_come_newest_first_with_their_number`: by (time, place), descending; the window is half open.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn messages(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<ChatMessage>, StoreError>;

    /// The same of sessions that are over, by the time at which they began.
    ///
    /// # Contract
    ///
    /// - `sessions_come_newest_first_when_they_are_over`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn sessions(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<RoomSession>, StoreError>;

    /// At most `limit` records of what administrators did in a room, newest first, before the one of number `before`.
    ///
    /// # Contract
    ///
    /// - `actions_page_newest_first_without_gaps`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn actions(
        &self,
        room: &RoomId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AdminAction>, StoreError>;
}
