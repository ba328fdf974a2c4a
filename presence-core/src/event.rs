//! What leaves the building: facts for others, tagged and versioned.

use serde::{Deserialize, Serialize};

use crate::{RoomId, RoomName, RoomStats, Source, StateType, Timestamp, UserId, Version};

/// Something that happened to a user's timeline, or in a room.
///
/// Written as JSON with a `kind`; new kinds and new members may come, so readers ignore what
/// they do not know.
///
/// ```
/// use presence_core::{Event, Source, StateType, Timestamp, UserId, Version};
///
/// let event = Event::StateChanged {
///     user: UserId::new("alice")?,
///     before: None,
///     after: StateType::Working,
///     at: Timestamp::from_secs(1000)?,
///     source: Source::Client,
///     version: Version(7),
/// };
/// assert_eq!(
///     serde_json::to_string(&event)?,
///     r#"{"kind":"state_changed","user":"alice","before":null,"after":"Working","at":1000000,"source":"client","version":7}"#,
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Event {
    /// The current state is another one.
    StateChanged {
        /// Whose state.
        user: UserId,
        /// The state before; `None` for a new user.
        before: Option<StateType>,
        /// The state now.
        after: StateType,
        /// When the new state began.
        at: Timestamp,
        /// What brought it.
        source: Source,
        /// The version of the session that it was decided on, 0 for a new user: with the user it names the event.
        version: Version,
    },
    /// A late report moved or withdrew conclusions that were already written.
    TimelineCorrected {
        /// Whose timeline.
        user: UserId,
        /// The first instant at which the timeline may differ.
        from: Timestamp,
        /// The first instant from which it is the same again; `None` where it differs to the end.
        to: Option<Timestamp>,
        /// The conclusions that were withdrawn, as (at, state).
        before: Vec<(Timestamp, StateType)>,
        /// The conclusions that came instead, as (at, state).
        after: Vec<(Timestamp, StateType)>,
        /// The version of the session that it was decided on.
        version: Version,
    },
    /// A room was made.
    RoomCreated {
        /// Which.
        room: RoomId,
        /// What it is called.
        room_name: RoomName,
        /// Its administrators.
        admins: Vec<UserId>,
        /// When.
        at: Timestamp,
    },
    /// A room was closed.
    RoomClosed {
        /// Which.
        room: RoomId,
        /// How many there were in the end.
        stats: RoomStats,
        /// When.
        at: Timestamp,
    },
    /// A user joined a room.
    UserJoined {
        /// Which room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// The number of the session in the room: with the room it names the event.
        session: i64,
        /// When.
        at: Timestamp,
    },
    /// A user left a room.
    UserLeft {
        /// Which room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// The number of the session in the room: with the room it names the event.
        session: i64,
        /// How long the user was there.
        duration_ms: i64,
        /// When.
        at: Timestamp,
    },
}
