//! The writing side of rooms.

use async_trait::async_trait;
use presence_core::{
    Batch, Epoch, Lease, NewRoom, RetiredRooms, RoomId, RoomStore, StoreError, TakenRoom, Timestamp, UserId,
    Written,
};
use sqlx::Row;

use crate::{
    PostgresStore,
    codec::{self, message_columns, room_session_columns},
    error::Fault,
    outbox::{Told, telling},
    room_batch,
    room_query::ROOM,
};

macro_rules! create {
    ($told:expr) => {
        concat!(
            "WITH fence AS MATERIALIZED (
    SELECT e.user_hash, e.at FROM erased_users e WHERE e.user_hash = ANY ($5) FOR KEY SHARE
), made AS (
    INSERT INTO rooms (id, name, created_at, last_action, alive_at) VALUES ($1, $2, $3, 1, $3)
    ON CONFLICT (id) DO NOTHING RETURNING id, 1::bigint AS place
), recorded AS (
    INSERT INTO admin_actions (room_id, number, action, at) SELECT made.id, 1, 'create', $3 FROM made
), granted AS (
    INSERT INTO room_roles (room_id, role, user_id, at)
    SELECT made.id, 'admin', admin.user_id, $3
    FROM made, unnest($4::text[], $5::bytea[]) AS admin (user_id, user_hash) LEFT JOIN fence USING (user_hash)
    WHERE fence.at IS NULL OR fence.at < $3
)",
            $told,
            "
SELECT id FROM made"
        )
    };
}

pub(crate) const CREATE: &str = create!("");
/// The same, of a room that somebody is told of.
pub(crate) const CREATE_AND_TELL: &str = create!(telling!("made", "$6", "$7", "$8", "$9", "$10", "$11"));
/// Holds off erasures until the end of the transaction.
pub(crate) const FENCES: &str =
    "SELECT e.user_hash, e.at FROM erased_users e WHERE e.user_hash = ANY ($1) FOR KEY SHARE";
/// Waits for the batch that is being written, and lets none begin: what is read next has all there will be.
pub(crate) const TAKE: &str = "UPDATE rooms SET lease_node = $3, lease_epoch = $4, lease_until = $5,
        last_batch = 0
    WHERE id = $1 AND lease_epoch = $2 AND closed_at IS NULL RETURNING id";
pub(crate) const LAST_MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM chat_history h WHERE h.room_id = $1 ORDER BY h.seq DESC LIMIT $2"
);
pub(crate) const UNFINISHED: &str = concat!(
    "SELECT ",
    room_session_columns!(),
    " FROM room_sessions v WHERE v.room_id = $1 AND v.leave_time IS NULL ORDER BY v.number"
);
pub(crate) const MUTED: &str =
    "SELECT o.user_id FROM room_roles o WHERE o.room_id = $1 AND o.role = 'muted' ORDER BY o.user_id";
/// Rooms are locked in order of their ids before any is changed, here and where they are written.
pub(crate) const RENEW: &str = "WITH item AS (
    SELECT * FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS item (id, epoch, place)
), held AS MATERIALIZED (
    SELECT r.id, item.place FROM rooms r JOIN item ON item.id = r.id AND item.epoch = r.lease_epoch
    ORDER BY r.id FOR NO KEY UPDATE OF r
)
UPDATE rooms r SET lease_until = $3 FROM held WHERE r.id = held.id RETURNING held.place";
/// Whatever another node is retiring in this moment is passed over.
pub(crate) const RETIRE: &str = "WITH message AS MATERIALIZED (
    SELECT room_id, seq FROM chat_history WHERE created_at < $1
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
), stay AS MATERIALIZED (
    SELECT room_id, number FROM room_sessions WHERE leave_time < $1
    ORDER BY leave_time LIMIT $2 - (SELECT count(*) FROM message) FOR UPDATE SKIP LOCKED
), action AS MATERIALIZED (
    SELECT room_id, number FROM admin_actions WHERE at < $1
    ORDER BY at LIMIT $2 - (SELECT count(*) FROM message) - (SELECT count(*) FROM stay)
    FOR UPDATE SKIP LOCKED
), retired_message AS (
    DELETE FROM chat_history h USING message m WHERE h.room_id = m.room_id AND h.seq = m.seq RETURNING 1
), retired_stay AS (
    DELETE FROM room_sessions v USING stay WHERE v.room_id = stay.room_id AND v.number = stay.number RETURNING 1
), retired_action AS (
    DELETE FROM admin_actions a USING action WHERE a.room_id = action.room_id AND a.number = action.number
    RETURNING 1
)
SELECT (SELECT count(*) FROM retired_message), (SELECT count(*) FROM retired_stay),
    (SELECT count(*) FROM retired_action)";
pub(crate) const RETIRE_ROOMS: &str = "WITH old AS MATERIALIZED (
    SELECT r.id FROM rooms r WHERE r.closed_at < $1
        AND NOT EXISTS (SELECT FROM chat_history h WHERE h.room_id = r.id)
        AND NOT EXISTS (SELECT FROM room_sessions v WHERE v.room_id = r.id)
        AND NOT EXISTS (SELECT FROM admin_actions a WHERE a.room_id = r.id)
    ORDER BY r.closed_at, r.id LIMIT $2 FOR UPDATE SKIP LOCKED
), role AS (
    DELETE FROM room_roles o USING old WHERE o.room_id = old.id
)
DELETE FROM rooms r USING old WHERE r.id = old.id RETURNING r.id";

#[async_trait]
impl RoomStore for PostgresStore {
    async fn create_room(&self, room: NewRoom) -> Result<bool, StoreError> {
        Ok(create(self, &room).await?)
    }

    async fn take_room(
        &self,
        room: &RoomId,
        expected: Epoch,
        lease: Lease,
        messages: usize,
    ) -> Result<Option<TakenRoom>, StoreError> {
        Ok(take(self, room, expected, &lease, messages).await?)
    }

    async fn renew_leases(
        &self,
        held: Vec<(RoomId, Epoch)>,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        Ok(renew(self, &held, until).await?)
    }

    async fn write_batches(&self, batches: Vec<Batch>) -> Result<Vec<Written>, StoreError> {
        Ok(room_batch::write(self, &batches).await?)
    }

    async fn retire_rooms(&self, before: Timestamp, limit: usize) -> Result<RetiredRooms, StoreError> {
        Ok(retire(self, before, limit).await?)
    }
}

async fn create(store: &PostgresStore, room: &NewRoom) -> Result<bool, Fault> {
    let NewRoom { id, name, admins, created_at, events } = room;
    let hashes: Vec<[u8; 32]> = admins.iter().map(|admin| store.eraser.hash(admin)).collect();
    let names: Vec<&str> = admins.iter().map(UserId::as_str).collect();
    let bind = |sql| {
        let create = sqlx::query(sql).bind(id.as_str()).bind(name.as_str()).bind(created_at.as_millis());
        create.bind(&names).bind(&hashes)
    };
    let wanted = store.wanted.get();
    if wanted.outgoing(events).next().is_none() {
        let made = |made: &mut bool, _| {
            *made = true;
            Ok(())
        };
        let answer = store.connections.fold(|| bind(CREATE), || false, made).await?;
        // Where the connection broke, the one that is there may be this one.
        return if answer.is_repeated && !answer.value { Err(Fault::Unknown) } else { Ok(answer.value) };
    }
    // What others are told names nobody who was erased since, and is put together here.
    let mut loan = store.connections.borrow_tried().await?;
    loan.rows(sqlx::query("BEGIN")).await?;
    let mut erased = Vec::new();
    for row in loan.rows(sqlx::query(FENCES).bind(&hashes)).await? {
        erased.push((row.try_get::<Vec<u8>, _>(0)?, codec::timestamp(&row, 1, "erased_users.at")?));
    }
    let erased_at = |user: &UserId| {
        let hash = store.eraser.hash(user);
        erased.iter().find(|(erased, _)| *erased == hash).map(|(_, at)| *at)
    };
    let known: Vec<_> = events.iter().filter_map(|event| event.clone().unerased(erased_at)).collect();
    let mut told = Told::default();
    told.add(&wanted, 1, &known, *created_at);
    let made = !loan.rows(told.bind(bind(CREATE_AND_TELL))).await?.is_empty();
    loan.rows(sqlx::query("COMMIT")).await?;
    loan.give_back();
    Ok(made)
}

async fn take(
    store: &PostgresStore,
    room: &RoomId,
    expected: Epoch,
    lease: &Lease,
    messages: usize,
) -> Result<Option<TakenRoom>, Fault> {
    let id = room.as_str();
    let mut loan = store.connections.borrow_tried().await?;
    loan.rows(sqlx::query("BEGIN")).await?;
    let take = sqlx::query(TAKE).bind(id).bind(expected.0).bind(&lease.node);
    let taken = loan.rows(take.bind(lease.epoch.0).bind(lease.until.as_millis())).await?;
    // What follows sees what was waited for: each statement has a snapshot of its own.
    let mut found = None;
    if !taken.is_empty() {
        let rooms = loan.rows(sqlx::query(ROOM).bind(id)).await?;
        let room = rooms.first().ok_or(Fault::Call("a room is there and is not"))?;
        let last = loan.rows(sqlx::query(LAST_MESSAGES).bind(id).bind(codec::limit(messages))).await?;
        let unfinished = loan.rows(sqlx::query(UNFINISHED).bind(id)).await?;
        let muted = loan.rows(sqlx::query(MUTED).bind(id)).await?;
        found = Some(TakenRoom {
            room: codec::room(room)?,
            muted: muted
                .iter()
                .map(|row| codec::user(row, 0, "room_roles.user_id"))
                .collect::<Result<_, Fault>>()?,
            messages: last.iter().rev().map(|row| codec::message(row, 0)).collect::<Result<_, Fault>>()?,
            unfinished: unfinished
                .iter()
                .map(|row| codec::room_session(row, 0))
                .collect::<Result<_, Fault>>()?,
        });
    }
    loan.rows(sqlx::query("COMMIT")).await?;
    loan.give_back();
    Ok(found)
}

async fn renew(
    store: &PostgresStore,
    held: &[(RoomId, Epoch)],
    until: Timestamp,
) -> Result<Vec<bool>, Fault> {
    let rooms: Vec<&str> = held.iter().map(|(room, _)| room.as_str()).collect();
    let epochs: Vec<i64> = held.iter().map(|(_, epoch)| epoch.0).collect();
    let mut renewed = vec![false; held.len()];
    let statement = || sqlx::query(RENEW).bind(&rooms).bind(&epochs).bind(until.as_millis());
    for row in store.connections.rows(statement).await? {
        renewed.get_mut(codec::place(&row, 0)?).into_iter().for_each(|renewed| *renewed = true);
    }
    Ok(renewed)
}

async fn retire(store: &PostgresStore, before: Timestamp, limit: usize) -> Result<RetiredRooms, Fault> {
    let retire = sqlx::query(RETIRE).bind(before.as_millis()).bind(codec::limit(limit));
    let rows = store.connections.once(retire).await?;
    let [row] = rows.as_slice() else { return Err(Fault::Call("a retirement without an answer")) };
    let count = |index| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
    let mut retired = RetiredRooms { messages: count(0)?, sessions: count(1)?, actions: count(2)?, rooms: 0 };
    let left = codec::limit(limit).saturating_sub(codec::count(retired.total()));
    if left > 0 {
        let rooms = sqlx::query(RETIRE_ROOMS).bind(before.as_millis()).bind(left);
        retired.rooms = store.connections.once(rooms).await?.len() as u64;
    }
    Ok(retired)
}
