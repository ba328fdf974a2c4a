//! Between rows and types.

use chrono::NaiveDate;
use presence_core::{
    Action, ActiveUsers, AdminAction, ChatMessage, ChatText, Checkpoint, CheckpointId, Content, DayMark,
    Epoch, EventId, EventLog, EventName, EventProperties, EventRank, Fingerprint, InstallId, Lease, Member,
    Nickname, Position, Region, RegionName, RegionRef, RoomCounters, RoomId, RoomName, RoomRole, RoomSession,
    RoomStats, Session, Sighting, Source, StateType, StoredRoom, Timestamp, UserId, Version,
};
use sqlx::{Row, postgres::PgRow};

use crate::{day::Day, error::Fault};

/// The columns that [`session`] reads, of the table `s`.
macro_rules! session_columns {
    () => {
        "s.current_state, s.live_since, s.last_heartbeat, s.last_state_change, s.version"
    };
}
/// The columns that [`checkpoint`] reads, of the table `c`. JSON as text is the text that was stored.
macro_rules! checkpoint_columns {
    () => {
        "c.id, c.state, c.timestamp, c.content::text AS content, c.source, c.proof_at"
    };
}
/// The columns that [`mark`] reads, of the tables `a` and `f`.
macro_rules! mark_columns {
    () => {
        "a.day, coalesce(f.version, 0), a.changes, a.folded"
    };
}
/// The columns that [`regions`] and [`region_refs`] read, of the table `d`.
macro_rules! region_columns {
    () => {
        "d.province, d.province_at, d.province_rank, d.city, d.city_at, d.city_rank"
    };
}
/// The columns that [`event`] reads, of the table `l`.
macro_rules! event_columns {
    () => {
        "l.id, l.event_id, l.install_id, l.event_name, l.event_time, l.created_at, l.properties::text"
    };
}
/// The columns that [`room`] reads, of the table `r`.
macro_rules! room_columns {
    () => {
        "r.id, r.name, r.created_at, r.closed_at, r.current_users, r.peak_users, r.total_joins, r.last_seq,
    r.last_action, r.last_message_at, r.alive_at, r.lease_node, r.lease_epoch, r.lease_until, r.last_end,
    ARRAY(SELECT o.user_id FROM room_roles o WHERE o.room_id = r.id AND o.role = 'admin' ORDER BY o.user_id),
    ARRAY(SELECT o.user_id FROM room_roles o WHERE o.room_id = r.id AND o.role = 'banned' ORDER BY o.user_id)"
    };
}
/// The columns that [`message`] reads, of the table `h`.
macro_rules! message_columns {
    () => {
        "h.seq, h.epoch, h.user_id, h.nickname, h.is_admin, h.created_at, h.content"
    };
}
/// The columns that [`room_session`] reads, of the table `v`.
macro_rules! room_session_columns {
    () => {
        "v.number, v.user_id, v.nickname, v.join_time, v.leave_time"
    };
}
/// The columns that [`action`] reads, of the table `a`.
macro_rules! action_columns {
    () => {
        "a.number, a.actor_id, a.action, a.target_id, a.at"
    };
}
pub(crate) use {
    action_columns, checkpoint_columns, event_columns, mark_columns, message_columns, region_columns,
    room_columns, room_session_columns, session_columns,
};

/// The session whose columns begin at `first`.
pub(crate) fn session(row: &PgRow, first: usize, user: UserId) -> Result<Session, Fault> {
    Ok(Session {
        user,
        current_state: state(row, first, "user_sessions.current_state")?,
        live_since: timestamp(row, first + 1, "user_sessions.live_since")?,
        last_heartbeat: timestamp(row, first + 2, "user_sessions.last_heartbeat")?,
        last_state_change: timestamp(row, first + 3, "user_sessions.last_state_change")?,
        version: Version(row.try_get(first + 4)?),
    })
}

/// The row of a timeline whose columns begin at `first`.
pub(crate) fn checkpoint(row: &PgRow, first: usize, user: &UserId) -> Result<Checkpoint, Fault> {
    let content: Option<&str> = row.try_get(first + 3)?;
    let content =
        content.map(Content::from_stored).transpose().map_err(Fault::rejected("checkpoints.content"))?;
    let source =
        Source::from_name(row.try_get(first + 4)?).ok_or_else(|| Fault::unknown("checkpoints.source"))?;
    let proof_at =
        is_some(row, first + 5)?.then(|| timestamp(row, first + 5, "checkpoints.proof_at")).transpose()?;
    Ok(Checkpoint {
        id: id(row, first, "checkpoints.id")?,
        user: user.clone(),
        state: state(row, first + 1, "checkpoints.state")?,
        at: timestamp(row, first + 2, "checkpoints.timestamp")?,
        content,
        source,
        proof_at,
    })
}

/// Whether there is a value in this column, which holds integers.
pub(crate) fn is_some(row: &PgRow, index: usize) -> Result<bool, Fault> {
    Ok(row.try_get::<Option<i64>, _>(index)?.is_some())
}

pub(crate) fn state(row: &PgRow, index: usize, column: &'static str) -> Result<StateType, Fault> {
    StateType::new(row.try_get::<&str, _>(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn timestamp(row: &PgRow, index: usize, column: &'static str) -> Result<Timestamp, Fault> {
    Timestamp::from_millis(row.try_get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn id(row: &PgRow, index: usize, column: &'static str) -> Result<CheckpointId, Fault> {
    CheckpointId::new(row.try_get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn user(row: &PgRow, index: usize, column: &'static str) -> Result<UserId, Fault> {
    UserId::new(row.try_get::<&str, _>(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn member(row: &PgRow, index: usize) -> Result<Member, Fault> {
    Member::parse(row.try_get(index)?).map_err(Fault::rejected("online_members.member"))
}

pub(crate) fn fingerprint(row: &PgRow, index: usize, column: &'static str) -> Result<Fingerprint, Fault> {
    Ok(Fingerprint(number(row.try_get(index)?, column)?))
}

/// 16 bytes as a number.
fn number(bytes: &[u8], column: &'static str) -> Result<u128, Fault> {
    Ok(u128::from_be_bytes(bytes.try_into().map_err(|_| Fault::unknown(column))?))
}

/// The event whose columns begin at `first`.
pub(crate) fn event(row: &PgRow, first: usize, user: Option<UserId>) -> Result<EventLog, Fault> {
    let properties: Option<&str> = row.try_get(first + 6)?;
    let properties = properties.map(EventProperties::from_stored).transpose();
    let event_id = EventId::new(row.try_get::<&str, _>(first + 1)?);
    let name = EventName::new(row.try_get::<&str, _>(first + 3)?);
    Ok(EventLog {
        id: row.try_get(first)?,
        event_id: event_id.map_err(Fault::rejected("analytics_event_log.event_id"))?,
        user,
        install: install(row, first + 2, "analytics_event_log.install_id")?,
        name: name.map_err(Fault::rejected("analytics_event_log.event_name"))?,
        at: timestamp(row, first + 4, "analytics_event_log.event_time")?,
        created_at: timestamp(row, first + 5, "analytics_event_log.created_at")?,
        properties: properties.map_err(Fault::rejected("analytics_event_log.properties"))?,
    })
}

/// The sighting of a user whose columns begin at `first`: the regions, the day, the install.
pub(crate) fn sighting(row: &PgRow, first: usize, user: UserId) -> Result<Sighting, Fault> {
    let (province, city) = regions(row, first)?;
    Ok(Sighting {
        day: day(row, first + 6)?,
        install: install(row, first + 7, "daily_sightings.install_id")?,
        user: Some(user),
        province,
        city,
    })
}

/// The province and the city.
fn regions(row: &PgRow, first: usize) -> Result<(Option<Region>, Option<Region>), Fault> {
    let region = |region: RegionRef<'_>| {
        let name =
            RegionName::parse(region.name).ok_or_else(|| Fault::unknown("daily_sightings.province or city"));
        Ok::<_, Fault>(Region { at: region.at, rank: region.rank, name: name? })
    };
    let (province, city) = region_refs(row, first)?;
    Ok((province.map(region).transpose()?, city.map(region).transpose()?))
}

/// The same, as they stand in what the server sent.
pub(crate) fn region_refs(
    row: &PgRow,
    first: usize,
) -> Result<(Option<RegionRef<'_>>, Option<RegionRef<'_>>), Fault> {
    let region = |index: usize| {
        let Some(name) = row.try_get(index)? else { return Ok(None) };
        let at = timestamp(row, index + 1, "daily_sightings.province_at or city_at")?;
        let rank = number(row.try_get(index + 2)?, "daily_sightings.province_rank or city_rank")?;
        Ok::<_, Fault>(Some(RegionRef { at, rank: EventRank(rank), name }))
    };
    Ok((region(first)?, region(first + 3)?))
}

/// The mark whose columns begin at `first`.
pub(crate) fn mark(row: &PgRow, first: usize) -> Result<DayMark, Fault> {
    Ok(DayMark {
        day: day(row, first)?,
        version: row.try_get(first + 1)?,
        changes: row.try_get(first + 2)?,
        folded: row.try_get(first + 3)?,
    })
}

pub(crate) fn active_users(row: &PgRow, first: usize) -> Result<ActiveUsers, Fault> {
    let count: i64 = row.try_get(first)?;
    ActiveUsers::from_stored(count.unsigned_abs(), row.try_get(first + 1)?, row.try_get(first + 2)?)
        .map_err(Fault::rejected("analytics_daily_active_users.dau_by_province or dau_by_city"))
}

pub(crate) fn day(row: &PgRow, index: usize) -> Result<NaiveDate, Fault> {
    let Day(day) = row.try_get(index)?;
    Ok(day)
}

pub(crate) fn install(row: &PgRow, index: usize, column: &'static str) -> Result<InstallId, Fault> {
    InstallId::new(row.try_get::<&str, _>(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn room(row: &PgRow) -> Result<StoredRoom, Fault> {
    let name = RoomName::new(row.try_get::<&str, _>(1)?).map_err(Fault::rejected("rooms.name"))?;
    let number = |index| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
    Ok(StoredRoom {
        id: room_id(row, 0, "rooms.id")?,
        name,
        admins: users(row, 15)?,
        banned: users(row, 16)?,
        created_at: timestamp(row, 2, "rooms.created_at")?,
        closed_at: known_timestamp(row, 3, "rooms.closed_at")?,
        counters: RoomCounters {
            stats: RoomStats { current_users: number(4)?, peak_users: number(5)?, total_joins: number(6)? },
            last_seq: row.try_get(7)?,
            last_action: row.try_get(8)?,
            last_end: row.try_get(14)?,
            last_message_at: known_timestamp(row, 9, "rooms.last_message_at")?,
        },
        alive_at: timestamp(row, 10, "rooms.alive_at")?,
        lease: Lease {
            node: row.try_get(11)?,
            epoch: Epoch(row.try_get(12)?),
            until: timestamp(row, 13, "rooms.lease_until")?,
        },
    })
}

fn users(row: &PgRow, index: usize) -> Result<Vec<UserId>, Fault> {
    let users: Vec<String> = row.try_get(index)?;
    users.into_iter().map(|user| UserId::new(user).map_err(Fault::rejected("room_roles.user_id"))).collect()
}

pub(crate) fn room_id(row: &PgRow, index: usize, column: &'static str) -> Result<RoomId, Fault> {
    RoomId::new(row.try_get::<&str, _>(index)?).map_err(Fault::rejected(column))
}

/// The message whose columns begin at `first`.
pub(crate) fn message(row: &PgRow, first: usize) -> Result<ChatMessage, Fault> {
    let nickname =
        Nickname::new(row.try_get(first + 3)?).map_err(Fault::rejected("chat_history.nickname"))?;
    let content = ChatText::new(row.try_get(first + 6)?).map_err(Fault::rejected("chat_history.content"))?;
    Ok(ChatMessage {
        position: Position { epoch: Epoch(row.try_get(first + 1)?), seq: row.try_get(first)? },
        user_id: user(row, first + 2, "chat_history.user_id")?,
        nickname,
        content,
        is_admin: row.try_get(first + 4)?,
        created_at: timestamp(row, first + 5, "chat_history.created_at")?,
    })
}

/// The stay in a room whose columns begin at `first`.
pub(crate) fn room_session(row: &PgRow, first: usize) -> Result<RoomSession, Fault> {
    let nickname =
        Nickname::new(row.try_get(first + 2)?).map_err(Fault::rejected("room_sessions.nickname"))?;
    Ok(RoomSession {
        number: row.try_get(first)?,
        user_id: user(row, first + 1, "room_sessions.user_id")?,
        nickname,
        join_time: timestamp(row, first + 3, "room_sessions.join_time")?,
        leave_time: known_timestamp(row, first + 4, "room_sessions.leave_time")?,
    })
}

/// The record of an administrator whose columns begin at `first`.
pub(crate) fn action(row: &PgRow, first: usize) -> Result<AdminAction, Fault> {
    let named = |index, column| {
        let user: Option<&str> = row.try_get(index)?;
        user.map(|user| UserId::new(user).map_err(Fault::rejected(column))).transpose()
    };
    let action = Action::from_name(row.try_get(first + 2)?);
    Ok(AdminAction {
        number: row.try_get(first)?,
        actor: named(first + 1, "admin_actions.actor_id")?,
        action: action.ok_or_else(|| Fault::unknown("admin_actions.action"))?,
        target: named(first + 3, "admin_actions.target_id")?,
        at: timestamp(row, first + 4, "admin_actions.at")?,
    })
}

pub(crate) fn role(row: &PgRow, index: usize) -> Result<RoomRole, Fault> {
    RoomRole::from_name(row.try_get(index)?).ok_or_else(|| Fault::unknown("room_roles.role"))
}

fn known_timestamp(row: &PgRow, index: usize, column: &'static str) -> Result<Option<Timestamp>, Fault> {
    is_some(row, index)?.then(|| timestamp(row, index, column)).transpose()
}

/// A count as PostgreSQL takes it.
pub(crate) fn count(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// The place of an item in a batch, which the server counts from one.
pub(crate) fn place(row: &PgRow, index: usize) -> Result<usize, Fault> {
    let number: i64 = row.try_get(index)?;
    number
        .checked_sub(1)
        .and_then(|place| place.try_into().ok())
        .ok_or(Fault::Call("a row without its place"))
}

/// A number of rows as PostgreSQL takes it; it has no more than that anyway.
pub(crate) fn limit(limit: usize) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}
