//! What a room writes: [`RoomStore::write_batches`](presence_core::RoomStore::write_batches).

use presence_core::{
    AdminAction, Batch, ChatMessage, RoomCounters, RoomRow, RoomSession, RoomStats, Timestamp, UserId,
    Written,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{codec, eraser::Eraser, error::Fault, outbox, writer::Writer};

pub(crate) const EPOCH: &str = "SELECT lease_epoch, last_batch FROM rooms WHERE id = ?1";
pub(crate) const SAY: &str = "INSERT INTO chat_history
    (room_id, seq, epoch, user_id, nickname, is_admin, created_at, content)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (room_id, seq) DO NOTHING";
pub(crate) const JOIN: &str = "INSERT INTO room_sessions (room_id, number, user_id, nickname, join_time)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (room_id, number) DO NOTHING";
pub(crate) const LEAVE: &str = "UPDATE room_sessions SET leave_time = ?3, end_number = ?4 WHERE room_id = ?1 AND number = ?2 AND leave_time IS NULL";
pub(crate) const GRANT: &str = "INSERT INTO room_roles (room_id, role, user_id, at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (room_id, role, user_id) DO NOTHING";
pub(crate) const REVOKE: &str = "DELETE FROM room_roles WHERE room_id = ?1 AND role = ?2 AND user_id = ?3";
pub(crate) const ACT: &str = "INSERT INTO admin_actions (room_id, number, actor_id, action, target_id, at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (room_id, number) DO NOTHING";
pub(crate) const CLOSE: &str = "UPDATE rooms SET closed_at = ?2 WHERE id = ?1";
pub(crate) const COUNT: &str = "UPDATE rooms SET current_users = ?2, peak_users = ?3, total_joins = ?4,
    last_seq = ?5, last_action = ?6, last_message_at = ?7, alive_at = ?8,
    last_batch = ?9, last_end = ?10 WHERE id = ?1";

/// Writes a batch if the room still has its epoch.
pub(crate) fn write(writer: &mut Writer, batch: &Batch) -> Result<Written, Fault> {
    let Writer { conn, eraser, .. } = &*writer;
    let room = batch.room.as_str();
    let known = conn.prepare_cached(EPOCH)?.query_row([room], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((epoch, last_batch)): Option<(i64, i64)> = known.optional()? else { return Ok(Written::Fenced) };
    if epoch != batch.epoch.0 {
        return Ok(Written::Fenced);
    }
    let rows = Rows { conn, eraser, room };
    batch.rows.iter().try_for_each(|row| rows.write(row))?;
    let RoomCounters { stats, last_seq, last_action, last_end, last_message_at } = batch.counters;
    let RoomStats { current_users, peak_users, total_joins } = stats;
    conn.prepare_cached(COUNT)?.execute(params![
        room,
        codec::count(current_users),
        codec::count(peak_users),
        codec::count(total_joins),
        last_seq,
        last_action,
        last_message_at.map(Timestamp::as_millis),
        batch.at.as_millis(),
        batch.number,
        last_end,
    ])?;
    if last_batch < batch.number {
        outbox::tell(writer, &batch.events, batch.at)?;
    }
    Ok(Written::Stored)
}

/// The rows of one room.
struct Rows<'a> {
    conn: &'a Connection,
    eraser: &'a Eraser,
    room: &'a str,
}

impl Rows<'_> {
    /// Whether what is said of a user at an instant is to be stored.
    fn is_known(&self, user: &UserId, at: Timestamp) -> Result<bool, Fault> {
        Ok(self.eraser.fence(self.conn, user)?.is_none_or(|erased_at| erased_at < at))
    }

    fn write(&self, row: &RoomRow) -> Result<(), Fault> {
        let (conn, room) = (self.conn, self.room);
        match row {
            RoomRow::Message(message) => {
                let ChatMessage { position, user_id, nickname, content, is_admin, created_at } = message;
                if self.is_known(user_id, *created_at)? {
                    conn.prepare_cached(SAY)?.execute(params![
                        room,
                        position.seq,
                        position.epoch.0,
                        user_id.as_str(),
                        nickname.as_str(),
                        is_admin,
                        created_at.as_millis(),
                        content.as_str(),
                    ])?;
                }
            }
            RoomRow::Joined(RoomSession { number, user_id, nickname, join_time, .. }) => {
                if self.is_known(user_id, *join_time)? {
                    let (user, nickname, join_time) =
                        (user_id.as_str(), nickname.as_str(), join_time.as_millis());
                    conn.prepare_cached(JOIN)?.execute(params![room, number, user, nickname, join_time])?;
                }
            }
            RoomRow::Left { number, end, leave_time } => {
                conn.prepare_cached(LEAVE)?.execute(params![room, number, leave_time.as_millis(), end])?;
            }
            RoomRow::Granted { user_id, role, at } => {
                if self.is_known(user_id, *at)? {
                    let row = params![room, role.name(), user_id.as_str(), at.as_millis()];
                    conn.prepare_cached(GRANT)?.execute(row)?;
                }
            }
            RoomRow::Revoked { user_id, role } => {
                conn.prepare_cached(REVOKE)?.execute(params![room, role.name(), user_id.as_str()])?;
            }
            RoomRow::Action(AdminAction { number, actor, action, target, at }) => {
                let named = |user: &Option<UserId>| {
                    let Some(user) = user else { return Ok(None) };
                    Ok::<_, Fault>(self.is_known(user, *at)?.then(|| user.to_string()))
                };
                let (actor, target) = (named(actor)?, named(target)?);
                let row = params![room, number, actor, action.name(), target, at.as_millis()];
                conn.prepare_cached(ACT)?.execute(row)?;
            }
            RoomRow::Closed { at } => {
                conn.prepare_cached(CLOSE)?.execute(params![room, at.as_millis()])?;
            }
            _ => return Err(Fault::Call("a row of a room that this version does not know")),
        }
        Ok(())
    }
}
