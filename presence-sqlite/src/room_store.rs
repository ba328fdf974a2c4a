//! The writing side of rooms.

use async_trait::async_trait;
use presence_core::{
    Action, Batch, Epoch, Lease, NewRoom, RetiredRooms, RoomId, RoomRole, RoomStore, StoreError, TakenRoom,
    Timestamp, UserId, Written,
};
use rusqlite::{Connection, params};

use crate::{
    SqliteStore,
    codec::{self, message_columns, room_session_columns},
    error::Fault,
    job::After,
    outbox,
    room_batch::{self, ACT, GRANT},
    room_query,
    writer::Writer,
};

pub(crate) const CREATE: &str = "INSERT INTO rooms (id, name, created_at, last_action, alive_at)
    VALUES (?1, ?2, ?3, 1, ?3) ON CONFLICT (id) DO NOTHING";
pub(crate) const TAKE: &str =
    "UPDATE rooms SET lease_node = ?3, lease_epoch = ?4, lease_until = ?5, last_batch = 0
    WHERE id = ?1 AND lease_epoch = ?2 AND closed_at IS NULL";
pub(crate) const LAST_MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM chat_history WHERE room_id = ?1 ORDER BY seq DESC LIMIT ?2"
);
pub(crate) const UNFINISHED: &str = concat!(
    "SELECT ",
    room_session_columns!(),
    " FROM room_sessions INDEXED BY room_sessions_unfinished
     WHERE room_id = ?1 AND leave_time IS NULL ORDER BY number"
);
pub(crate) const RENEW: &str = "UPDATE rooms SET lease_until = ?3 WHERE id = ?1 AND lease_epoch = ?2";
pub(crate) const RETIRE_MESSAGES: &str = "DELETE FROM chat_history WHERE (room_id, seq) IN
    (SELECT room_id, seq FROM chat_history WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
pub(crate) const RETIRE_SESSIONS: &str = "DELETE FROM room_sessions WHERE (room_id, number) IN
    (SELECT room_id, number FROM room_sessions WHERE leave_time < ?1 ORDER BY leave_time LIMIT ?2)";
pub(crate) const RETIRE_ACTIONS: &str = "DELETE FROM admin_actions WHERE (room_id, number) IN
    (SELECT room_id, number FROM admin_actions WHERE at < ?1 ORDER BY at LIMIT ?2)";
pub(crate) const RETIRED_ROOMS: &str = "SELECT id FROM rooms r WHERE closed_at < ?1
    AND NOT EXISTS (SELECT 1 FROM chat_history m WHERE m.room_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM room_sessions s WHERE s.room_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM admin_actions a WHERE a.room_id = r.id) ORDER BY closed_at LIMIT ?2";
pub(crate) const RETIRE_ROLES: &str = "DELETE FROM room_roles WHERE room_id = ?1";
pub(crate) const RETIRE_ROOM: &str = "DELETE FROM rooms WHERE id = ?1";
pub(crate) const ERASE_MESSAGES: &str = "DELETE FROM chat_history WHERE user_id = ?1";
pub(crate) const ERASE_SESSIONS: &str = "DELETE FROM room_sessions WHERE user_id = ?1";
pub(crate) const ERASE_ROLES: &str = "DELETE FROM room_roles WHERE user_id = ?1";
pub(crate) const ERASE_ACTOR: &str = "UPDATE admin_actions SET actor_id = NULL WHERE actor_id = ?1";
pub(crate) const ERASE_TARGET: &str = "UPDATE admin_actions SET target_id = NULL WHERE target_id = ?1";

#[async_trait]
impl RoomStore for SqliteStore {
    async fn create_room(&self, room: NewRoom) -> Result<bool, StoreError> {
        let weight = room.admins.len().saturating_add(2);
        self.write(weight, After::Nothing, move |writer| {
            let is_made = create(writer, &room)?;
            if is_made {
                outbox::tell(writer, &room.events, room.created_at)?;
            }
            Ok(is_made)
        })
        .await
    }

    async fn take_room(
        &self,
        room: &RoomId,
        expected: Epoch,
        lease: Lease,
        messages: usize,
    ) -> Result<Option<TakenRoom>, StoreError> {
        let room = room.clone();
        self.write(1, After::Nothing, move |writer| take(&writer.conn, &room, expected, &lease, messages))
            .await
    }

    async fn renew_leases(
        &self,
        held: Vec<(RoomId, Epoch)>,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.write(held.len(), After::Nothing, move |writer| {
            let mut renew = writer.conn.prepare_cached(RENEW)?;
            let renew = held.iter().map(|(room, epoch)| {
                Ok(renew.execute(params![room.as_str(), epoch.0, until.as_millis()])? == 1)
            });
            renew.collect()
        })
        .await
    }

    async fn write_batches(&self, batches: Vec<Batch>) -> Result<Vec<Written>, StoreError> {
        let weight = batches.iter().map(|batch| batch.rows.len().saturating_add(1)).sum();
        self.write(weight, After::Nothing, move |writer| {
            batches.iter().map(|batch| room_batch::write(writer, batch)).collect()
        })
        .await
    }

    async fn retire_rooms(&self, before: Timestamp, limit: usize) -> Result<RetiredRooms, StoreError> {
        self.write(limit, After::Nothing, move |writer| retire(&writer.conn, before, limit)).await
    }
}

fn create(writer: &mut Writer, room: &NewRoom) -> Result<bool, Fault> {
    let Writer { conn, eraser, .. } = writer;
    let NewRoom { id, name, admins, created_at, .. } = room;
    let at = created_at.as_millis();
    if conn.prepare_cached(CREATE)?.execute(params![id.as_str(), name.as_str(), at])? == 0 {
        return Ok(false);
    }
    let (nobody, made) = (None::<&str>, Action::Create.name());
    conn.prepare_cached(ACT)?.execute(params![id.as_str(), 1, nobody, made, nobody, at])?;
    let mut grant = conn.prepare_cached(GRANT)?;
    for admin in admins {
        if eraser.fence(conn, admin)?.is_none_or(|erased_at| erased_at < *created_at) {
            grant.execute(params![id.as_str(), RoomRole::Admin.name(), admin.as_str(), at])?;
        }
    }
    Ok(true)
}

fn take(
    conn: &Connection,
    id: &RoomId,
    expected: Epoch,
    lease: &Lease,
    messages: usize,
) -> Result<Option<TakenRoom>, Fault> {
    let (epoch, until) = (lease.epoch.0, lease.until.as_millis());
    let taken =
        conn.prepare_cached(TAKE)?.execute(params![id.as_str(), expected.0, lease.node, epoch, until])?;
    if taken == 0 {
        return Ok(None);
    }
    let room = room_query::room(conn, id)?.ok_or(Fault::Call("a room is there and is not"))?;
    let mut last = conn.prepare_cached(LAST_MESSAGES)?;
    let mut rows = last.query(params![id.as_str(), codec::limit(messages)])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(codec::message(row)?);
    }
    messages.reverse();
    let mut sessions = conn.prepare_cached(UNFINISHED)?;
    let mut rows = sessions.query([id.as_str()])?;
    let mut unfinished = Vec::new();
    while let Some(row) = rows.next()? {
        unfinished.push(codec::room_session(row)?);
    }
    let muted = room_query::users(conn, id, RoomRole::Muted)?;
    Ok(Some(TakenRoom { room, muted, messages, unfinished }))
}

fn retire(conn: &Connection, before: Timestamp, limit: usize) -> Result<RetiredRooms, Fault> {
    let (before, mut left) = (before.as_millis(), limit);
    let mut delete = |sql| {
        let deleted = conn.prepare_cached(sql)?.execute(params![before, codec::limit(left)])?;
        left = left.saturating_sub(deleted);
        Ok::<_, Fault>(deleted as u64)
    };
    let mut retired = RetiredRooms {
        messages: delete(RETIRE_MESSAGES)?,
        sessions: delete(RETIRE_SESSIONS)?,
        actions: delete(RETIRE_ACTIONS)?,
        rooms: 0,
    };
    let mut rooms = conn.prepare_cached(RETIRED_ROOMS)?;
    let rooms = rooms.query_map(params![before, codec::limit(left)], |row| row.get(0))?;
    let rooms: Vec<String> = rooms.collect::<Result<_, _>>()?;
    for room in rooms {
        conn.prepare_cached(RETIRE_ROLES)?.execute([&room])?;
        conn.prepare_cached(RETIRE_ROOM)?.execute([&room])?;
        retired.rooms += 1;
    }
    Ok(retired)
}

/// Removes what is known of a user, and says how many messages and sessions there were.
pub(crate) fn erase(conn: &Connection, user: &UserId) -> Result<(u64, u64), Fault> {
    let run = |sql| Ok::<_, Fault>(conn.prepare_cached(sql)?.execute([user.as_str()])? as u64);
    for sql in [ERASE_ROLES, ERASE_ACTOR, ERASE_TARGET] {
        run(sql)?;
    }
    Ok((run(ERASE_MESSAGES)?, run(ERASE_SESSIONS)?))
}
