//! Who is in a room, and who may do what there.

use std::collections::{BTreeSet, HashMap, HashSet};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Nickname, RoomSession, Timestamp, UserId};

/// How many there are, and were.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RoomStats {
    /// Members now.
    pub current_users: u64,
    /// The most there ever were at once.
    pub peak_users: u64,
    /// How often somebody joined, counting each time a user came back, and each time it took over from itself.
    pub total_joins: u64,
}

/// A member of a room: one user on one connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomMember {
    /// Its connection.
    pub connection: ConnectionId,
    /// Who it is.
    pub user_id: UserId,
    /// What it is called.
    pub nickname: Nickname,
    /// The number of its session.
    pub session: i64,
    /// When it joined.
    pub join_time: Timestamp,
}

impl RoomMember {
    /// The stay, as long as it lasts.
    pub(crate) fn session(&self) -> RoomSession {
        RoomSession {
            number: self.session,
            user_id: self.user_id.clone(),
            nickname: self.nickname.clone(),
            join_time: self.join_time,
            leave_time: None,
        }
    }
}

/// The members of a room, one connection per user, and its administrators, banned and muted users.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: HashMap<ConnectionId, RoomMember, RandomState>,
    connections: HashMap<UserId, ConnectionId, RandomState>,
    pub(crate) admins: BTreeSet<UserId>,
    banned: HashSet<UserId, RandomState>,
    muted: HashSet<UserId, RandomState>,
    stats: RoomStats,
}

impl Roster {
    /// A room without members.
    pub(crate) fn new(
        admins: impl IntoIterator<Item = UserId>,
        banned: impl IntoIterator<Item = UserId>,
        muted: impl IntoIterator<Item = UserId>,
        stats: RoomStats,
    ) -> Self {
        Self {
            admins: admins.into_iter().collect(),
            banned: banned.into_iter().collect(),
            muted: muted.into_iter().collect(),
            stats: RoomStats { current_users: 0, ..stats },
            ..Self::default()
        }
    }

    /// Takes a user in, on a connection that is not in the room. If the user is in the room on another connection, that
    /// member goes: it comes back first, the new one second.
    pub(crate) fn join(
        &mut self,
        connection: ConnectionId,
        user_id: UserId,
        nickname: Nickname,
        now: Timestamp,
    ) -> (Option<RoomMember>, RoomMember) {
        let replaced = self.connections.insert(user_id.clone(), connection);
        let replaced = replaced.and_then(|connection| self.members.remove(&connection));
        let RoomStats { current_users, peak_users, total_joins } = &mut self.stats;
        *total_joins = total_joins.saturating_add(1);
        let session = i64::try_from(*total_joins).unwrap_or(i64::MAX);
        let member = RoomMember { connection, user_id, nickname, session, join_time: now };
        self.members.insert(connection, member.clone());
        *current_users = self.members.len() as u64;
        *peak_users = (*peak_users).max(*current_users);
        (replaced, member)
    }

    /// Takes a connection out; `None` where it is not in the room, or no longer.
    pub(crate) fn leave(&mut self, connection: ConnectionId) -> Option<RoomMember> {
        let member = self.members.remove(&connection)?;
        self.connections.remove(&member.user_id);
        self.stats.current_users = self.members.len() as u64;
        Some(member)
    }

    /// Takes everybody out, in the order in which they came.
    pub(crate) fn clear(&mut self) -> Vec<RoomMember> {
        let mut members: Vec<_> = self.members.drain().map(|(_, member)| member).collect();
        self.connections.clear();
        self.stats.current_users = 0;
        members.sort_unstable_by_key(|member| member.session);
        members
    }

    pub(crate) fn member(&self, connection: ConnectionId) -> Option<&RoomMember> {
        self.members.get(&connection)
    }

    pub(crate) fn connection(&self, user: &UserId) -> Option<ConnectionId> {
        self.connections.get(user).copied()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &RoomMember> {
        self.members.values()
    }

    /// Members, and whoever may or must not do something.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.connections.keys().chain(&self.admins).chain(&self.banned).chain(&self.muted)
    }

    pub(crate) fn is_admin(&self, user: &UserId) -> bool {
        self.admins.contains(user)
    }

    pub(crate) fn is_banned(&self, user: &UserId) -> bool {
        self.banned.contains(user)
    }

    pub(crate) fn is_muted(&self, user: &UserId) -> bool {
        self.muted.contains(user)
    }

    /// Says whether it is new.
    pub(crate) fn ban(&mut self, user: &UserId) -> bool {
        self.banned.insert(user.clone())
    }

    /// Says whether there was a ban.
    pub(crate) fn unban(&mut self, user: &UserId) -> bool {
        self.banned.remove(user)
    }

    /// Says whether it is new.
    pub(crate) fn mute(&mut self, user: &UserId) -> bool {
        self.muted.insert(user.clone())
    }

    /// Forgets what an erased user was allowed and forbidden.
    pub(crate) fn forget(&mut self, user: &UserId) {
        self.admins.remove(user);
        self.banned.remove(user);
        self.muted.remove(user);
    }

    pub(crate) const fn stats(&self) -> RoomStats {
        self.stats
    }
}
