//! What follows from a command, for whoever holds the sockets.

use crate::{ConnectionId, Frame};

/// Something to be done with connections, in the order in which it is given.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// The connection is a member from here on: what is for everybody is for it too.
    Admit(ConnectionId),
    /// Whether what this member asks for as an administrator is worth passing on. Nobody's is before this says so.
    Rights(ConnectionId, bool),
    /// A frame for one connection.
    Send(ConnectionId, Frame),
    /// What a member missed while it was away, in order. The room holds the same frames, so that they cost a queue
    /// nothing but their places.
    Replay(ConnectionId, Vec<Frame>),
    /// A frame for every member.
    Broadcast(Frame),
    /// The connection is no member any more. It is closed when what was sent to it before is on its way.
    Close(ConnectionId, CloseReason),
    /// The same for every member.
    CloseAll(CloseReason),
}

/// Why a room closes a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The user is banned from the room.
    Banned,
    /// The user was taken out, and may come back.
    Kicked,
    /// The user has joined on another connection.
    TakenOver,
    /// The room is closed for good.
    RoomClosed,
    /// The user was erased.
    Erased,
    /// The process ends; another connection finds the room again.
    GoingAway,
    /// The room lives on another node now.
    Moved,
    /// The store is behind, and the room takes nobody in for now.
    StoreBehind,
}

impl CloseReason {
    /// The close code of the WebSocket.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Moved => 1012,
            Self::StoreBehind => 1013,
            Self::Banned | Self::Kicked => 4403,
            Self::RoomClosed => 4404,
            Self::TakenOver => 4409,
            Self::Erased => 4410,
        }
    }

    /// The reason that goes with it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::Kicked => "kicked",
            Self::TakenOver => "taken over",
            Self::RoomClosed => "room closed",
            Self::Erased => "erased",
            Self::GoingAway => "going away",
            Self::Moved => "moved",
            Self::StoreBehind => "store behind",
        }
    }

    /// Whether the client may connect again at once, to the same room as the same user.
    #[must_use]
    pub const fn may_return(self) -> bool {
        matches!(self, Self::Kicked | Self::GoingAway | Self::Moved | Self::StoreBehind)
    }
}
