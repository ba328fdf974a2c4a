//! What a room writes.

use serde::{Deserialize, Serialize};

use crate::{
    AdminAction, ChatMessage, Epoch, Event, RoomId, RoomName, RoomRole, RoomSession, RoomStats, Timestamp,
    UserId,
};

/// A room that is to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewRoom {
    /// Its id.
    pub id: RoomId,
    /// What it is called.
    pub name: RoomName,
    /// Its administrators.
    pub admins: Vec<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What others are told.
    pub events: Vec<Event>,
}

/// Who has a room, and until when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lease {
    /// The name of the node.
    pub node: String,
    /// Which opening of the room it is.
    pub epoch: Epoch,
    /// The first instant at which others may take the room.
    pub until: Timestamp,
}

impl Lease {
    /// The lease of a room that nobody has had yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { node: String::new(), epoch: Epoch(0), until: Timestamp::MIN }
    }

    /// Whether `node` may take the room at `now`: nobody has it, or the node itself had it, which then was an earlier
    /// process of the same name.
    #[must_use]
    pub fn is_free_for(&self, node: &str, now: Timestamp) -> bool {
        self.until <= now || self.node == node
    }
}

/// A room, as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredRoom {
    /// Its id.
    pub id: RoomId,
    /// What it is called.
    pub name: RoomName,
    /// Its administrators, in order.
    pub admins: Vec<UserId>,
    /// Who is banned, in order.
    pub banned: Vec<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was closed; `None` where it is open.
    pub closed_at: Option<Timestamp>,
    /// What its last batch said.
    pub counters: RoomCounters,
    /// When its last batch was cut: the last sign of life of whoever was there then.
    pub alive_at: Timestamp,
    /// Who has it.
    pub lease: Lease,
}

impl StoredRoom {
    /// When something was last said, or else when it was made.
    #[must_use]
    pub fn last_activity(&self) -> Timestamp {
        self.counters.last_message_at.unwrap_or(self.created_at)
    }
}

/// Numbers that a room counts up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RoomCounters {
    /// How many there are, and were.
    pub stats: RoomStats,
    /// The number of the last message; 0 where there was none.
    pub last_seq: i64,
    /// The number of the last record of an administrator.
    pub last_action: i64,
    /// How many sessions have ended.
    pub last_end: i64,
    /// When something was last said.
    pub last_message_at: Option<Timestamp>,
}

/// A room that was taken: what its node needs to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TakenRoom {
    /// The room, with the new lease.
    pub room: StoredRoom,
    /// Who is silenced.
    pub muted: Vec<UserId>,
    /// Its last messages, in order of their place.
    pub messages: Vec<ChatMessage>,
    /// The sessions that earlier openings left unfinished, in order.
    pub unfinished: Vec<RoomSession>,
}

/// Everything that happened in a room since its last batch, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Which room.
    pub room: RoomId,
    /// Which opening of it: if there was a later one, nothing is written.
    pub epoch: Epoch,
    /// Which batch of this opening, from 1 on: what is written again is known by it.
    pub number: i64,
    /// When it was cut: members who have not left by then were there.
    pub at: Timestamp,
    /// The numbers after it.
    pub counters: RoomCounters,
    /// What is written.
    pub rows: Vec<RoomRow>,
    /// What others are told, once: not where the batch was written before.
    pub events: Vec<Event>,
}

/// One thing that a room writes. Writing it again changes nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RoomRow {
    /// Something was said.
    Message(ChatMessage),
    /// A stay began.
    Joined(RoomSession),
    /// A stay ended.
    Left {
        /// The number of the session.
        number: i64,
        /// Which end of a session it is, in the order in which they are written.
        end: i64,
        /// When.
        leave_time: Timestamp,
    },
    /// A user has a role from here on.
    Granted {
        /// Who.
        user_id: UserId,
        /// Which role.
        role: RoomRole,
        /// When.
        at: Timestamp,
    },
    /// A user does not have a role any more.
    Revoked {
        /// Who.
        user_id: UserId,
        /// Which role.
        role: RoomRole,
    },
    /// An administrator did something.
    Action(AdminAction),
    /// The room was closed.
    Closed {
        /// When.
        at: Timestamp,
    },
}

/// What became of a [`Batch`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// It is stored.
    Stored,
    /// The room was taken by a later opening, or is unknown; nothing was written, and nothing of this opening ever will
    /// be.
    Fenced,
}
