//! What a room is asked to do.

use std::{fmt, time::Duration};

use serde_json::Value;

use crate::{Admins, ClientFrame, Nickname, Position, Timestamp, UserId};

/// A connection to a room, by a number that its process gives to no other.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

/// Now, by two clocks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moment {
    /// By the clock that tells the date. It may step, and stamps what is stored.
    pub at: Timestamp,
    /// By a clock that never steps, since any beginning. It measures intervals.
    pub uptime: Duration,
}

/// Who asks for something that not everybody may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asker {
    /// An operator, who has proved it with the key of the deployment.
    Operator,
    /// A connection; what it asks for is done if its user is in the room and one of its administrators.
    Connection(ConnectionId),
}

/// Something that a room is asked to do. `Debug` tells its name only.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Lets a user in.
    Join {
        /// On which connection.
        connection: ConnectionId,
        /// Who.
        user_id: UserId,
        /// What the user is called.
        nickname: Nickname,
        /// The place of the last message that the client has seen, if it comes back.
        seen: Option<Position>,
    },
    /// A connection has ended.
    Leave {
        /// Which.
        connection: ConnectionId,
    },
    /// A member says something.
    Say {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        content: String,
    },
    /// Takes a user out, and keeps it out.
    Ban {
        /// Who asks.
        by: Asker,
        /// Whom to take out, in the room or not.
        user_id: UserId,
    },
    /// Lets a banned user in again.
    Unban {
        /// Who asks.
        by: Asker,
        /// Whom to let in.
        user_id: UserId,
    },
    /// Takes a user out, who may come back.
    Kick {
        /// Who asks.
        by: Asker,
        /// Whom to take out.
        user_id: UserId,
    },
    /// Silences a user.
    Mute {
        /// Who asks.
        by: Asker,
        /// Whom to silence, in the room or not.
        user_id: UserId,
    },
    /// Sends an event of the application to all members.
    CustomEvent {
        /// Who asks.
        by: Asker,
        /// What kind of event it is.
        event_type: String,
        /// Any JSON.
        payload: Value,
    },
    /// Tells all members something; operators do.
    System {
        /// What.
        message: String,
    },
    /// Replaces the administrators; operators do. It takes effect for members who are there.
    SetAdmins {
        /// All of them.
        admins: Admins,
    },
    /// Closes the room for good; operators do.
    Close,
    /// Forgets a user who was erased: takes it out, and drops what it said from memory. What began after the erasure stays.
    Forget {
        /// Whom.
        user_id: UserId,
        /// When it was erased.
        erased_at: Timestamp,
    },
    /// Takes everybody out because this process ends; the room lives on.
    Drain,
    /// The room lives elsewhere now: what this process still has to write is refused, and everybody is sent away.
    Lose,
}

/// How soon a command is handled.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// What administrators, operators and the system want: before any chat that waits.
    High,
    /// Joining, leaving and chat, in the order of arrival.
    Low,
}

impl Command {
    /// What a member's frame asks of the room; `None` for a ping, which is [answered](ClientFrame::pong) without it.
    #[must_use]
    pub fn from_frame(connection: ConnectionId, frame: ClientFrame) -> Option<Self> {
        let by = Asker::Connection(connection);
        Some(match frame {
            ClientFrame::SendMessage { content } => Self::Say { connection, content },
            ClientFrame::KickUser { user_id } => Self::Ban { by, user_id },
            ClientFrame::MuteUser { user_id } => Self::Mute { by, user_id },
            ClientFrame::CustomEvent { event_type, payload } => Self::CustomEvent { by, event_type, payload },
            ClientFrame::Ping(_) => return None,
        })
    }

    /// Which lane it belongs to.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        match self {
            Self::Join { .. } | Self::Leave { .. } | Self::Say { .. } => Priority::Low,
            _ => Priority::High,
        }
    }
}

/// Its name only: what users say is not told to logs.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join { .. } => "Join",
            Self::Leave { .. } => "Leave",
            Self::Say { .. } => "Say",
            Self::Ban { .. } => "Ban",
            Self::Unban { .. } => "Unban",
            Self::Kick { .. } => "Kick",
            Self::Mute { .. } => "Mute",
            Self::CustomEvent { .. } => "CustomEvent",
            Self::System { .. } => "System",
            Self::SetAdmins { .. } => "SetAdmins",
            Self::Close => "Close",
            Self::Forget { .. } => "Forget",
            Self::Drain => "Drain",
            Self::Lose => "Lose",
        })
    }
}
