//! The kinds of events, by name.

use std::fmt;

use crate::Event;

/// What kind of event it is; its name is the `kind` of its JSON.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum EventKind {
    /// [`Event::StateChanged`].
    StateChanged,
    /// [`Event::TimelineCorrected`].
    TimelineCorrected,
    /// [`Event::RoomCreated`].
    RoomCreated,
    /// [`Event::RoomClosed`].
    RoomClosed,
    /// [`Event::UserJoined`].
    UserJoined,
    /// [`Event::UserLeft`].
    UserLeft,
    /// [`Event::DauCalculated`].
    DauCalculated,
    /// [`Event::EventLogged`].
    EventLogged,
    /// [`Event::Heartbeat`].
    Heartbeat,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::StateChanged,
        Self::TimelineCorrected,
        Self::RoomCreated,
        Self::RoomClosed,
        Self::UserJoined,
        Self::UserLeft,
        Self::DauCalculated,
        Self::EventLogged,
        Self::Heartbeat,
    ];

    /// Those that are as many as what clients send: nobody gets them who does not name them.
    pub const ON_REQUEST: [Self; 2] = [Self::EventLogged, Self::Heartbeat];

    /// Those that tell of rooms.
    pub const ROOMS: [Self; 4] = [Self::RoomCreated, Self::RoomClosed, Self::UserJoined, Self::UserLeft];

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name: `state_changed`, and so on.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StateChanged => "state_changed",
            Self::TimelineCorrected => "timeline_corrected",
            Self::RoomCreated => "room_created",
            Self::RoomClosed => "room_closed",
            Self::UserJoined => "user_joined",
            Self::UserLeft => "user_left",
            Self::DauCalculated => "dau_calculated",
            Self::EventLogged => "event_logged",
            Self::Heartbeat => "heartbeat",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Event {
    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::StateChanged { .. } => EventKind::StateChanged,
            Self::TimelineCorrected { .. } => EventKind::TimelineCorrected,
            Self::RoomCreated { .. } => EventKind::RoomCreated,
            Self::RoomClosed { .. } => EventKind::RoomClosed,
            Self::UserJoined { .. } => EventKind::UserJoined,
            Self::UserLeft { .. } => EventKind::UserLeft,
            Self::DauCalculated { .. } => EventKind::DauCalculated,
            Self::EventLogged { .. } => EventKind::EventLogged,
            Self::Heartbeat { .. } => EventKind::Heartbeat,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::named(kind.name()), Some(kind));
        }
        assert_eq!(EventKind::named("state"), None);
    }
}
