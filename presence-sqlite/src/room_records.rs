//! What rooms know of a user, for an export.

use presence_core::{AdminAction, InRoom, Place, Record, RoomId};
use rusqlite::{Row, params};

use crate::{
    checkpoint_query::Page,
    codec::{self, action_columns, message_columns, room_session_columns},
    error::Fault,
};

pub(crate) const ROLES: &str = "SELECT role, at, room_id FROM room_roles
    WHERE user_id = ?1 AND (room_id, role) > (?2, ?3) ORDER BY room_id, role LIMIT ?4";
pub(crate) const SESSIONS: &str = concat!(
    "SELECT ",
    room_session_columns!(),
    ", room_id FROM room_sessions WHERE user_id = ?1 AND (room_id, number) > (?2, ?3)
     ORDER BY room_id, number LIMIT ?4"
);
pub(crate) const MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    ", room_id FROM chat_history WHERE user_id = ?1 AND (room_id, seq) > (?2, ?3) ORDER BY room_id, seq LIMIT ?4"
);
pub(crate) const DONE: &str = concat!(
    "SELECT ",
    action_columns!(),
    ", room_id FROM admin_actions WHERE actor_id = ?1 AND (room_id, number) > (?2, ?3)
     ORDER BY room_id, number LIMIT ?4"
);
pub(crate) const SUFFERED: &str = concat!(
    "SELECT ",
    action_columns!(),
    ", room_id FROM admin_actions WHERE target_id = ?1 AND actor_id IS NOT ?1 AND (room_id, number) > (?2, ?3)
     ORDER BY room_id, number LIMIT ?4"
);

/// Fills a page with records after a place: roles, sessions, messages, and what administrators did.
pub(crate) fn fill(page: &mut Page<'_>, after: Option<&Place>) -> Result<(), Fault> {
    // Whatever stands before rooms stands before all of them; no room has an empty id.
    let (kind, room, number) = match after {
        Some(Place::RoomRole(room, role)) => {
            page.roles(room.as_str(), role.name())?;
            (1, "", 0)
        }
        Some(Place::RoomSession(room, number)) => (1, room.as_str(), *number),
        Some(Place::RoomMessage(room, number)) => (2, room.as_str(), *number),
        Some(Place::AdminAction(room, number)) => (3, room.as_str(), *number),
        _ => {
            page.roles("", "")?;
            (1, "", 0)
        }
    };
    let from = |own| if own == kind { (room, number) } else { ("", 0) };
    if kind <= 1 {
        page.sessions(from(1))?;
    }
    if kind <= 2 {
        page.messages(from(2))?;
    }
    page.actions(from(3))
}

impl Page<'_> {
    /// The rows of a statement after a room and a number.
    fn rows<T>(
        &self,
        sql: &str,
        (room, number): (&str, i64),
        read: impl Fn(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let mut found = Vec::new();
        if self.room() > 0 {
            let mut page = self.conn.prepare_cached(sql)?;
            let mut rows =
                page.query(params![self.user.as_str(), room, number, codec::limit(self.room())])?;
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }

    fn roles(&mut self, room: &str, role: &str) -> Result<(), Fault> {
        let mut page = self.conn.prepare_cached(ROLES)?;
        let mut rows = page.query(params![self.user.as_str(), room, role, codec::limit(self.room())])?;
        while let Some(row) = rows.next()? {
            self.records.push(Record::RoomRole {
                room_id: codec::room_id(row, 2, "room_roles.room_id")?,
                role: codec::role(row, 0)?,
                at: codec::timestamp(row, 1, "room_roles.at")?,
            });
        }
        Ok(())
    }

    fn sessions(&mut self, after: (&str, i64)) -> Result<(), Fault> {
        let sessions = self.rows(SESSIONS, after, |row| {
            let room_id = codec::room_id(row, 5, "room_sessions.room_id")?;
            Ok(Record::RoomSession(InRoom { room_id, what: codec::room_session(row)? }))
        })?;
        self.records.extend(sessions);
        Ok(())
    }

    fn messages(&mut self, after: (&str, i64)) -> Result<(), Fault> {
        let messages = self.rows(MESSAGES, after, |row| {
            let room_id = codec::room_id(row, 7, "chat_history.room_id")?;
            Ok(Record::RoomMessage(InRoom { room_id, what: codec::message(row)? }))
        })?;
        self.records.extend(messages);
        Ok(())
    }

    /// What the user did, and what was done to it, in one order.
    fn actions(&mut self, after: (&str, i64)) -> Result<(), Fault> {
        let read = |row: &Row<'_>| {
            let room_id = codec::room_id(row, 5, "admin_actions.room_id")?;
            Ok(InRoom { room_id, what: codec::action(row)? })
        };
        let mut actions = self.rows(DONE, after, read)?;
        actions.extend(self.rows(SUFFERED, after, read)?);
        let place =
            |action: &InRoom<AdminAction>| -> (RoomId, i64) { (action.room_id.clone(), action.what.number) };
        actions.sort_unstable_by_key(place);
        self.records.extend(actions.into_iter().take(self.room()).map(Record::AdminAction));
        Ok(())
    }
}
