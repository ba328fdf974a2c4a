//! What happened in rooms, in the order in which it was written, for those who keep a copy of it.

use async_trait::async_trait;

use crate::{ChatMessage, RoomId, RoomSession, StoreError};

/// What is copied.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Feed {
    /// Messages, by their number in the room.
    Messages,
    /// Sessions that are over, by the number of their end.
    Sessions,
}

impl Feed {
    /// Its name: `chat` or `session`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "chat",
            Self::Sessions => "session",
        }
    }
}

/// A room that has something that was not copied yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Behind {
    /// Which room, open or closed.
    pub room: RoomId,
    /// Up to which number everything is copied.
    pub copied: i64,
    /// The last number there is.
    pub last: i64,
}

/// Tells what the copy of a room lacks, and remembers what it has. There is one copy of each feed.
#[async_trait]
pub trait RoomFeed: Send + Sync {
    /// At most `limit` rooms after the one of id `after` that have something that is not copied, by id.
    ///
    /// # Contract
    ///
    /// - `a_room_is_behind_until_its_rows_are_copied`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn behind(
        &self,
        feed: Feed,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<Behind>, StoreError>;

    /// At most `limit` messages of a room after number `after` and up to number `last`, in order. What was erased or
    /// retired is missing.
    ///
    /// # Contract
    ///
    /// - `messages_come_in_the_order_of_their_numbers`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn messages_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<ChatMessage>, StoreError>;

    /// The same of sessions that are over, each with the number of its end.
    ///
    /// # Contract
    ///
    /// - `sessions_come_in_the_order_in_which_they_ended`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn sessions_after(
        &self,
        room: &RoomId,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<(i64, RoomSession)>, StoreError>;

    /// The copy has everything of a room up to this number.
    ///
    /// # Contract
    ///
    /// - `a_copy_never_goes_back`.
    ///
    /// # Errors
    ///
    /// The store failed; it is unknown whether that is remembered. Saying it again is safe.
    async fn copied(&self, feed: Feed, room: &RoomId, last: i64) -> Result<(), StoreError>;
}
