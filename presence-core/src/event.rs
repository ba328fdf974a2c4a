//! What leaves the building: facts for others, tagged and versioned.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    ActiveUsers, EventId, EventName, EventProperties, InstallId, Member, RoomId, RoomName, RoomStats, Source,
    StateType, Timestamp, UserId, Version,
};

/// Something that happened to a user's timeline, in a room, to the figures of a day, or in an app.
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
    /// The current state is another one. Where several came at once, each is told, in order.
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
        /// The version of the session that it was decided on, 0 for a new user: those that came at once have the same.
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
    /// The people of a day were counted.
    DauCalculated {
        /// The local day.
        day: NaiveDate,
        /// How often it was counted: with the day it names the event.
        version: i64,
        /// How many, and where.
        #[serde(flatten)]
        active: ActiveUsers,
        /// When.
        at: Timestamp,
    },
    /// What a client reported was stored, for the first time.
    EventLogged {
        /// The client's name for it, or a digest of it: with the user, or the install where there is none, it names the
        /// event.
        event_id: EventId,
        /// Who did it, where that is known.
        user: Option<UserId>,
        /// On which install.
        install: InstallId,
        /// What happened.
        name: EventName,
        /// When it happened.
        at: Timestamp,
        /// When it arrived.
        created_at: Timestamp,
        /// What else it said.
        properties: Option<EventProperties>,
    },
    /// A member gave signs of life: one event for all of them since the last flush.
    Heartbeat {
        /// Who: `user`, or `install` where the user is not known.
        #[serde(flatten)]
        member: Member,
        /// The last of them.
        at: Timestamp,
    },
}

impl Event {
    /// What its order belongs to: events of one key reach a sink in the order in which they happened. `u:` and a user,
    /// `i:` and an install whose user is not known, `r:` and a room, or `d:` and a day.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::StateChanged { user, .. } | Self::TimelineCorrected { user, .. } => format!("u:{user}"),
            Self::RoomCreated { room, .. }
            | Self::RoomClosed { room, .. }
            | Self::UserJoined { room, .. }
            | Self::UserLeft { room, .. } => format!("r:{room}"),
            Self::DauCalculated { day, .. } => format!("d:{day}"),
            Self::EventLogged { user: Some(user), .. } => format!("u:{user}"),
            Self::EventLogged { install, .. } => format!("i:{install}"),
            Self::Heartbeat { member, .. } => member.to_string(),
        }
    }

    /// It as JSON.
    pub(crate) fn to_body(&self) -> String {
        // Its maps have text as keys, so it always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// When it happened. For a correction, the first instant that is told otherwise.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::StateChanged { at, .. }
            | Self::TimelineCorrected { from: at, .. }
            | Self::RoomCreated { at, .. }
            | Self::RoomClosed { at, .. }
            | Self::UserJoined { at, .. }
            | Self::UserLeft { at, .. }
            | Self::DauCalculated { at, .. }
            | Self::EventLogged { at, .. }
            | Self::Heartbeat { at, .. } => *at,
        }
    }

    /// The users it names.
    #[must_use]
    pub fn users(&self) -> &[UserId] {
        match self {
            Self::StateChanged { user, .. }
            | Self::TimelineCorrected { user, .. }
            | Self::UserJoined { user, .. }
            | Self::UserLeft { user, .. } => std::slice::from_ref(user),
            Self::RoomCreated { admins, .. } => admins,
            Self::EventLogged { user, .. } => user.as_slice(),
            Self::Heartbeat { member: Member::User(user), .. } => std::slice::from_ref(user),
            Self::RoomClosed { .. } | Self::DauCalculated { .. } | Self::Heartbeat { .. } => &[],
        }
    }

    /// What is left of it where users may have been erased at or after it.
    #[must_use]
    pub fn unerased(self, mut erased_at: impl FnMut(&UserId) -> Option<Timestamp>) -> Option<Self> {
        let is_erased = |user: &&UserId| erased_at(user).is_some_and(|erased_at| erased_at >= self.at());
        let erased: Vec<_> = self.users().iter().filter(is_erased).cloned().collect();
        erased.iter().try_fold(self, |event, user| event.without(user))
    }

    /// What is left of it when a user is erased: nothing of an event about that user; others name the user no more.
    #[must_use]
    pub fn without(self, erased: &UserId) -> Option<Self> {
        match self {
            Self::StateChanged { ref user, .. }
            | Self::TimelineCorrected { ref user, .. }
            | Self::UserJoined { ref user, .. }
            | Self::UserLeft { ref user, .. } => (user != erased).then_some(self),
            Self::RoomCreated { room, room_name, mut admins, at } => {
                admins.retain(|admin| admin != erased);
                Some(Self::RoomCreated { room, room_name, admins, at })
            }
            Self::EventLogged { ref user, .. } => (user.as_ref() != Some(erased)).then_some(self),
            Self::Heartbeat { ref member, .. } => {
                (!matches!(member, Member::User(user) if user == erased)).then_some(self)
            }
            Self::RoomClosed { .. } | Self::DauCalculated { .. } => Some(self),
        }
    }
}
