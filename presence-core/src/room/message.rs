//! What a room remembers: messages, stays, and what its administrators did.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ChatText, Nickname, RoomId, Timestamp, UserId};

/// One opening of a room: it rises each time a node takes the room, so that what an older opening would write is refused.
///
/// Milliseconds since 1970 of the opening, or one more than the last, so that it also tells a restored backup from what
/// went on after it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

impl Epoch {
    /// The opening that follows this one at `now`.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Self {
        Self(self.0.saturating_add(1).max(now.as_millis()))
    }
}

/// The place of a message among all of its room: they are ordered by it.
///
/// `seq` has no gaps from one message to the next. Only where a process died before its last messages were on disk, a
/// later opening gives the same `seq` again, under another `epoch`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// The opening of the room in which it was said.
    pub epoch: Epoch,
    /// Its number in the room, from 1.
    pub seq: i64,
}

/// A message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChatMessage {
    /// Where it stands.
    #[serde(flatten)]
    pub position: Position,
    /// Who said it.
    pub user_id: UserId,
    /// What the user was called then.
    pub nickname: Nickname,
    /// What was said.
    pub content: ChatText,
    /// Whether an administrator of the room said it.
    pub is_admin: bool,
    /// When.
    pub created_at: Timestamp,
}

/// A stay in a room, from joining to leaving.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RoomSession {
    /// Its number in the room: so many joins there were with it.
    pub number: i64,
    /// Who was there.
    pub user_id: UserId,
    /// What the user was called.
    pub nickname: Nickname,
    /// When the user joined.
    pub join_time: Timestamp,
    /// When the user left; `None` while it is there.
    pub leave_time: Option<Timestamp>,
}

impl RoomSession {
    /// How long it lasted; `None` while it lasts.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.leave_time.map(|leave_time| leave_time.since(self.join_time))
    }
}

/// What a user may do in a room, or may not. A user may have several.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomRole {
    /// May moderate.
    Admin,
    /// May not come in.
    Banned,
    /// May not speak.
    Muted,
}

impl RoomRole {
    const ALL: [Self; 3] = [Self::Admin, Self::Banned, Self::Muted];

    /// What it is called in a store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Banned => "banned",
            Self::Muted => "muted",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What an administrator may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Made the room.
    Create,
    /// Made somebody an administrator.
    Grant,
    /// Took that back.
    Revoke,
    /// Took somebody out, for good.
    Ban,
    /// Let somebody in again.
    Unban,
    /// Took somebody out.
    Kick,
    /// Silenced somebody.
    Mute,
    /// Sent an event to all members.
    CustomEvent,
    /// Told all members something.
    System,
    /// Closed the room.
    Close,
}

impl Action {
    const ALL: [Self; 10] = [
        Self::Create,
        Self::Grant,
        Self::Revoke,
        Self::Ban,
        Self::Unban,
        Self::Kick,
        Self::Mute,
        Self::CustomEvent,
        Self::System,
        Self::Close,
    ];

    /// What it is called in a store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::Kick => "kick",
            Self::Mute => "mute",
            Self::CustomEvent => "custom_event",
            Self::System => "system",
            Self::Close => "close",
        }
    }

    /// The action of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// Something that an administrator did.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AdminAction {
    /// Its number in the room, from 1.
    pub number: i64,
    /// Who did it; `None` for an operator, who has the key of the deployment and no name, and for a user who was erased.
    pub actor: Option<UserId>,
    /// What was done.
    pub action: Action,
    /// To whom, where it was done to somebody who was not erased since.
    pub target: Option<UserId>,
    /// When.
    pub at: Timestamp,
}

/// What is stored about a user in one room; see [`Record`](crate::Record).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InRoom<T> {
    /// Which room.
    pub room_id: RoomId,
    /// What is stored.
    #[serde(flatten)]
    pub what: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_called_the_same_everywhere() {
        for role in RoomRole::ALL {
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{}\"", role.name()));
            assert_eq!(RoomRole::from_name(role.name()), Some(role));
        }
        assert_eq!(RoomRole::from_name("king"), None);
    }

    #[test]
    fn actions_are_called_the_same_everywhere() {
        for action in Action::ALL {
            assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{}\"", action.name()));
            assert_eq!(Action::from_name(action.name()), Some(action));
        }
        assert_eq!(Action::from_name("dance"), None);
    }

    #[test]
    fn an_epoch_rises_whatever_the_clock_says() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        assert_eq!(Epoch(0).next(at(5000)), Epoch(5000));
        assert_eq!(Epoch(5000).next(at(5000)), Epoch(5001));
        assert_eq!(Epoch(5000).next(at(10)), Epoch(5001));
    }
}
