//! Where timelines are kept: the reading side.

use async_trait::async_trait;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    AdminAction, ChatMessage, Checkpoint, CheckpointId, EventId, EventLog, Facts, InRoom, InstallId, Request,
    RoomId, RoomRole, RoomSession, Session, Sighting, StateType, StoreError, Timestamp, UserId, Window,
};

/// One thing that is stored about a user; an export is all of them, in order of their [`Place`].
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, Record, StateType, Timestamp, Tracker, UserId};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// let records = tracker.export(&alice, None, 100).await?.items;
/// assert!(matches!(&records[..], [Record::Session(_), Record::Checkpoint(_)]));
/// println!("{}", serde_json::to_string(&records[1])?); // one line of NDJSON
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Record {
    /// The current state.
    Session(Session),
    /// When the user was last counted as online.
    Online {
        /// The last heartbeat of the online count.
        last_seen: Timestamp,
    },
    /// Closed time in one state.
    Total {
        /// The state.
        state: StateType,
        /// How long, in milliseconds.
        duration_ms: i64,
    },
    /// A row of the timeline.
    Checkpoint(Checkpoint),
    /// A remembered request.
    Request {
        /// The request.
        #[serde(flatten)]
        request: Request,
        /// The checkpoint that answered it.
        checkpoint: CheckpointId,
    },
    /// A day and an install on which the user was active.
    Sighting(Sighting),
    /// An event of the log.
    Event(EventLog),
    /// What the user may do in a room, or may not.
    RoomRole {
        /// Which room.
        room_id: RoomId,
        /// Which role.
        role: RoomRole,
        /// Since when.
        at: Timestamp,
    },
    /// A stay in a room.
    RoomSession(InRoom<RoomSession>),
    /// A message in a room.
    RoomMessage(InRoom<ChatMessage>),
    /// Something that the user did as an administrator, or that was done to it.
    AdminAction(InRoom<AdminAction>),
}

/// Where a [`Record`] stands in an export: by kind, then by key.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The session comes first.
    Session,
    /// Then the presence.
    Online,
    /// Then the totals, by state.
    Total(StateType),
    /// Then the rows of the timeline, by (at, id).
    Checkpoint(Timestamp, CheckpointId),
    /// Then the requests, by event id.
    Request(EventId),
    /// Then the sightings, by day and install.
    Sighting(NaiveDate, InstallId),
    /// Then the events of the log, by event id.
    Event(EventId),
    /// Then the roles in rooms.
    RoomRole(RoomId, RoomRole),
    /// Then the sessions in rooms, by number.
    RoomSession(RoomId, i64),
    /// Then the messages in rooms, by number.
    RoomMessage(RoomId, i64),
    /// Then the records of administrators, by number.
    AdminAction(RoomId, i64),
}

impl Record {
    /// Where it stands in an export.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Session(_) => Place::Session,
            Self::Online { .. } => Place::Online,
            Self::Total { state, .. } => Place::Total(state.clone()),
            Self::Checkpoint(row) => Place::Checkpoint(row.at, row.id),
            Self::Request { request, .. } => Place::Request(request.event_id.clone()),
            Self::Sighting(sighting) => Place::Sighting(sighting.day, sighting.install.clone()),
            Self::Event(event) => Place::Event(event.event_id.clone()),
            Self::RoomRole { room_id, role, .. } => Place::RoomRole(room_id.clone(), *role),
            Self::RoomSession(session) => Place::RoomSession(session.room_id.clone(), session.what.number),
            Self::RoomMessage(message) => {
                Place::RoomMessage(message.room_id.clone(), message.what.position.seq)
            }
            Self::AdminAction(action) => Place::AdminAction(action.room_id.clone(), action.what.number),
        }
    }
}

/// Answers questions about timelines. Each answer is one snapshot.
#[async_trait]
pub trait CheckpointQuery: Send + Sync {
    /// The session, and the closed time per state in each of `windows`, which are in order and do not overlap; `None`
    /// for a user that the store does not know.
    ///
    /// # Contract
    ///
    /// - `facts_clip_closed_time_to_each_window`: time from the first row to `last_state_change`, each row's until the
    ///   next one.
    /// - `facts_of_all_time_equal_the_sum_of_their_parts`, and cost the same however long the history is.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError>;

    /// One row of a user's timeline.
    ///
    /// # Contract
    ///
    /// - `a_checkpoint_is_found_under_its_user_only`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn checkpoint(&self, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, StoreError>;

    /// At most `limit` rows inside `window`, newest first, that come before the row (at, id) where one is given.
    ///
    /// # Contract
    ///
    /// - `history_is_newest_first_and_pages_without_gaps`: by (at, id), descending.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn history(
        &self,
        user: &UserId,
        window: Window,
        before: Option<(Timestamp, CheckpointId)>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, StoreError>;

    /// At most `limit` records about a user after `after`, in order of [`Place`].
    ///
    /// # Contract
    ///
    /// - `an_export_holds_everything_and_pages_without_gaps`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;
}
