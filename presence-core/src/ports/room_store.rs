//! Where rooms are kept: the writing side.

use async_trait::async_trait;

use crate::{Batch, Epoch, Lease, NewRoom, RoomId, StoreError, TakenRoom, Timestamp, Written};

/// How much was retired.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RetiredRooms {
    /// Messages.
    pub messages: u64,
    /// Sessions that are over.
    pub sessions: u64,
    /// Records of what administrators did.
    pub actions: u64,
    /// Rooms that were closed.
    pub rooms: u64,
}

impl RetiredRooms {
    /// All together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.messages.saturating_add(self.sessions).saturating_add(self.actions).saturating_add(self.rooms)
    }
}

/// Keeps rooms, and what happened in them. Who is in a room is known to the node that has it; the store says which one
/// that is, and takes nothing from any other.
///
/// Calls on one store may run at the same time, from several processes where the store is shared.
///
/// # Contract
///
/// Where the store keeps timelines too, what it knows of a user is one:
///
/// - `an_erasure_takes_rooms_along`: roles, sessions and messages of the user, in every room. Records of administrators
///   stay, and name it no more. What others said and did stays.
/// - `rows_up_to_an_erasure_are_left_out`: of a batch, what says something about an erased user that is stamped at or
///   before the erasure; the rest of the batch is written.
/// - `an_export_holds_what_rooms_know`: by kind, then by room and number, and pages without gaps.
#[async_trait]
pub trait RoomStore: Send + Sync {
    /// Makes a room, with its administrators and the record of its making, under number 1; says whether the id was free.
    ///
    /// # Contract
    ///
    /// - `a_room_is_made_once`, also where it was closed since, or several try at once.
    /// - `a_new_room_has_its_administrators_and_the_record_of_its_making`.
    ///
    /// # Errors
    ///
    /// The store failed: nothing was made, or where the error is [`StoreError::Unavailable`], it is unknown.
    async fn create_room(&self, room: NewRoom) -> Result<bool, StoreError>;

    /// Gives an open room to a node if the epoch of its lease is still the expected one, with at most `messages` of its
    /// last messages; `None` where it is not, or there is no such room, or it was closed.
    ///
    /// # Contract
    ///
    /// - `a_room_is_taken_on_the_epoch_it_had`.
    /// - `a_closed_room_is_never_taken`.
    /// - `racing_nodes_take_a_room_once`.
    /// - `a_taken_room_comes_with_what_its_node_needs`: roles, counters, the last messages in order of their place, and
    ///   the sessions that have no end.
    ///
    /// # Errors
    ///
    /// The store failed: the room was not taken, or where the error is [`StoreError::Unavailable`], it is unknown; taking
    /// again is safe.
    async fn take_room(
        &self,
        room: &RoomId,
        expected: Epoch,
        lease: Lease,
        messages: usize,
    ) -> Result<Option<TakenRoom>, StoreError>;

    /// Moves the end of leases to `until`, and says of each, in order, whether it is still the one of this epoch. An end
    /// that is past gives the room up.
    ///
    /// # Contract
    ///
    /// - `leases_are_renewed_by_the_epoch_that_has_them`: also after their end, as long as nobody else has taken the room.
    ///
    /// # Errors
    ///
    /// The store failed: it is unknown which were moved. Renewing again is safe.
    async fn renew_leases(
        &self,
        held: Vec<(RoomId, Epoch)>,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError>;

    /// Writes each batch wholly or not at all, with the durability of the store; one outcome per batch, in order. Batches
    /// of one room in one call are written in their order.
    ///
    /// # Contract
    ///
    /// - `a_batch_is_written_wholly_and_in_order`: rows, counters and the sign of life.
    /// - `a_batch_of_an_earlier_epoch_is_fenced`: of any other epoch than that of the lease.
    /// - `a_batch_that_is_written_again_changes_nothing`.
    /// - `a_fenced_batch_spares_the_others`.
    /// - `what_members_say_comes_back_as_it_was`: names and messages, whatever their characters.
    ///
    /// # Errors
    ///
    /// The store failed: none of the batches is written, or where the error is [`StoreError::Unavailable`], it is
    /// unknown. Writing them again, before any later batch of their rooms, is safe.
    async fn write_batches(&self, batches: Vec<Batch>) -> Result<Vec<Written>, StoreError>;

    /// Removes at most `limit` messages, sessions that are over, records of administrators, and rooms that were closed,
    /// all from before `before`, and says how many there were. A room goes when nothing else of it is left.
    ///
    /// # Contract
    ///
    /// - `retiring_takes_what_is_old_in_slices`; numbers go on where they were.
    ///
    /// # Errors
    ///
    /// The store failed; some may be removed. Retiring again is safe.
    async fn retire_rooms(&self, before: Timestamp, limit: usize) -> Result<RetiredRooms, StoreError>;
}
