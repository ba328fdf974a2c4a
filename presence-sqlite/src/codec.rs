//! Between rows and types.

use chrono::NaiveDate;
use presence_core::{
    Action, ActiveUsers, AdminAction, ChatMessage, ChatText, Checkpoint, CheckpointId, Content, DayMark,
    Epoch, EventId, EventLog, EventName, EventProperties, EventRank, Fingerprint, InstallId, Lease, Member,
    Nickname, Position, Region, RegionName, RegionRef, RoomCounters, RoomId, RoomName, RoomRole, RoomSession,
    RoomStats, Session, Sighting, Source, StateType, StoredRoom, Timestamp, UserId, Version,
};
use rusqlite::{Row, types::ValueRef};

use crate::error::Fault;

/// The columns that [`session`] reads.
macro_rules! session_columns {
    () => {
        "current_state, live_since, last_heartbeat, last_state_change, version"
    };
}
/// The columns that [`checkpoint`] reads, of the table `c`.
macro_rules! checkpoint_columns {
    () => {
        "c.id, c.state, c.timestamp, c.content, c.source, c.proof_at"
    };
}
/// The columns that [`mark`] reads, of the tables `a` and `f`.
macro_rules! mark_columns {
    () => {
        "a.day, coalesce(f.version, 0), a.changes, a.folded"
    };
}
/// The columns that [`regions`] and [`region_refs`] read.
macro_rules! region_columns {
    () => {
        "province, province_at, province_rank, city, city_at, city_rank"
    };
}
/// The columns that [`event`] reads.
macro_rules! event_columns {
    () => {
        "id, event_id, user_id, install_id, event_name, event_time, created_at, properties"
    };
}
/// The columns that [`room`] reads.
macro_rules! room_columns {
    () => {
        "id, name, created_at, closed_at, current_users, peak_users, total_joins, last_seq, last_action,
         last_message_at, alive_at, lease_node, lease_epoch, lease_until, last_end"
    };
}
/// The columns that [`message`] reads.
macro_rules! message_columns {
    () => {
        "seq, epoch, user_id, nickname, is_admin, created_at, content"
    };
}
/// The columns that [`room_session`] reads.
macro_rules! room_session_columns {
    () => {
        "number, user_id, nickname, join_time, leave_time"
    };
}
/// The columns that [`action`] reads.
macro_rules! action_columns {
    () => {
        "number, actor_id, action, target_id, at"
    };
}
pub(crate) use {
    action_columns, checkpoint_columns, event_columns, mark_columns, message_columns, region_columns,
    room_columns, room_session_columns, session_columns,
};

pub(crate) fn session(row: &Row<'_>, user: UserId) -> Result<Session, Fault> {
    Ok(Session {
        user,
        current_state: state(row, 0, "user_sessions.current_state")?,
        live_since: timestamp(row, 1, "user_sessions.live_since")?,
        last_heartbeat: timestamp(row, 2, "user_sessions.last_heartbeat")?,
        last_state_change: timestamp(row, 3, "user_sessions.last_state_change")?,
        version: Version(row.get(4)?),
    })
}

pub(crate) fn checkpoint(row: &Row<'_>, user: &UserId) -> Result<Checkpoint, Fault> {
    let content = optional(row, 3)?
        .map(|value| {
            let text = value.as_str().map_err(Fault::value("checkpoints.content"))?;
            Content::from_stored(text).map_err(Fault::rejected("checkpoints.content"))
        })
        .transpose()?;
    let source = text(row, 4, "checkpoints.source")?;
    let proof_at = optional(row, 5)?.map(|_| timestamp(row, 5, "checkpoints.proof_at")).transpose()?;
    Ok(Checkpoint {
        id: id(row, 0, "checkpoints.id")?,
        user: user.clone(),
        state: state(row, 1, "checkpoints.state")?,
        at: timestamp(row, 2, "checkpoints.timestamp")?,
        content,
        source: Source::from_name(source).ok_or_else(|| Fault::unknown("checkpoints.source"))?,
        proof_at,
    })
}

pub(crate) fn text<'r>(row: &'r Row<'_>, index: usize, column: &'static str) -> Result<&'r str, Fault> {
    row.get_ref(index)?.as_str().map_err(Fault::value(column))
}

pub(crate) fn state(row: &Row<'_>, index: usize, column: &'static str) -> Result<StateType, Fault> {
    StateType::new(text(row, index, column)?).map_err(Fault::rejected(column))
}

pub(crate) fn timestamp(row: &Row<'_>, index: usize, column: &'static str) -> Result<Timestamp, Fault> {
    Timestamp::from_millis(row.get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn id(row: &Row<'_>, index: usize, column: &'static str) -> Result<CheckpointId, Fault> {
    CheckpointId::new(row.get(index)?).map_err(Fault::rejected(column))
}

pub(crate) fn user(row: &Row<'_>, index: usize, column: &'static str) -> Result<UserId, Fault> {
    UserId::new(text(row, index, column)?).map_err(Fault::rejected(column))
}

pub(crate) fn member(row: &Row<'_>, index: usize) -> Result<Member, Fault> {
    const COLUMN: &str = "online_members.member";
    Member::parse(text(row, index, COLUMN)?).map_err(Fault::rejected(COLUMN))
}

pub(crate) fn fingerprint(row: &Row<'_>, index: usize) -> Result<Fingerprint, Fault> {
    let bytes: [u8; 16] = row.get(index)?;
    Ok(Fingerprint(u128::from_be_bytes(bytes)))
}

pub(crate) fn event(row: &Row<'_>) -> Result<EventLog, Fault> {
    let user = optional(row, 2)?.map(|_| user(row, 2, "analytics_event_log.user_id")).transpose()?;
    let properties = optional(row, 7)?.map(|value| {
        let text = value.as_str().map_err(Fault::value("analytics_event_log.properties"))?;
        EventProperties::from_stored(text).map_err(Fault::rejected("analytics_event_log.properties"))
    });
    let event_id = EventId::new(text(row, 1, "analytics_event_log.event_id")?);
    let name = EventName::new(text(row, 4, "analytics_event_log.event_name")?);
    Ok(EventLog {
        id: row.get(0)?,
        event_id: event_id.map_err(Fault::rejected("analytics_event_log.event_id"))?,
        user,
        install: install(row, 3, "analytics_event_log.install_id")?,
        name: name.map_err(Fault::rejected("analytics_event_log.event_name"))?,
        at: timestamp(row, 5, "analytics_event_log.event_time")?,
        created_at: timestamp(row, 6, "analytics_event_log.created_at")?,
        properties: properties.transpose()?,
    })
}

pub(crate) fn sighting(row: &Row<'_>) -> Result<Sighting, Fault> {
    let (province, city) = regions(row, 0)?;
    Ok(Sighting {
        day: day(row, 6, "daily_sightings.day")?,
        install: install(row, 7, "daily_sightings.install_id")?,
        user: known_user(row, 8, "daily_sightings.user_id")?,
        province,
        city,
    })
}

/// The province and the city.
pub(crate) fn regions(row: &Row<'_>, index: usize) -> Result<(Option<Region>, Option<Region>), Fault> {
    let region = |region: RegionRef<'_>| {
        let name =
            RegionName::parse(region.name).ok_or_else(|| Fault::unknown("daily_sightings.province or city"));
        Ok::<_, Fault>(Region { at: region.at, rank: region.rank, name: name? })
    };
    let (province, city) = region_refs(row, index)?;
    Ok((province.map(region).transpose()?, city.map(region).transpose()?))
}

/// The same, as they stand in the page of the file.
pub(crate) fn region_refs<'r>(
    row: &'r Row<'_>,
    index: usize,
) -> Result<(Option<RegionRef<'r>>, Option<RegionRef<'r>>), Fault> {
    let region = |index: usize| {
        let Some(name) = optional(row, index)? else { return Ok(None) };
        let name = name.as_str().map_err(Fault::value("daily_sightings.province or city"))?;
        let rank: [u8; 16] = row.get(index + 2)?;
        let at = timestamp(row, index + 1, "daily_sightings.province_at or city_at")?;
        Ok::<_, Fault>(Some(RegionRef { at, rank: EventRank(u128::from_be_bytes(rank)), name }))
    };
    Ok((region(index)?, region(index + 3)?))
}

pub(crate) fn mark(row: &Row<'_>) -> Result<DayMark, Fault> {
    let day = day(row, 0, "activity_days.day")?;
    Ok(DayMark { day, version: row.get(1)?, changes: row.get(2)?, folded: row.get(3)? })
}

pub(crate) fn active_users(row: &Row<'_>, index: usize) -> Result<ActiveUsers, Fault> {
    let count: i64 = row.get(index)?;
    let provinces = text(row, index + 1, "analytics_daily_active_users.dau_by_province")?;
    let cities = text(row, index + 2, "analytics_daily_active_users.dau_by_city")?;
    ActiveUsers::from_stored(count.unsigned_abs(), provinces, cities)
        .map_err(Fault::rejected("analytics_daily_active_users.dau_by_province or dau_by_city"))
}

/// Without its administrators and banned users.
pub(crate) fn room(row: &Row<'_>) -> Result<StoredRoom, Fault> {
    let name = RoomName::new(text(row, 1, "rooms.name")?).map_err(Fault::rejected("rooms.name"))?;
    let number = |index| Ok::<_, Fault>(row.get::<_, i64>(index)?.unsigned_abs());
    Ok(StoredRoom {
        id: room_id(row, 0, "rooms.id")?,
        name,
        admins: Vec::new(),
        banned: Vec::new(),
        created_at: timestamp(row, 2, "rooms.created_at")?,
        closed_at: known_timestamp(row, 3, "rooms.closed_at")?,
        counters: RoomCounters {
            stats: RoomStats { current_users: number(4)?, peak_users: number(5)?, total_joins: number(6)? },
            last_seq: row.get(7)?,
            last_action: row.get(8)?,
            last_end: row.get(14)?,
            last_message_at: known_timestamp(row, 9, "rooms.last_message_at")?,
        },
        alive_at: timestamp(row, 10, "rooms.alive_at")?,
        lease: Lease {
            node: row.get(11)?,
            epoch: Epoch(row.get(12)?),
            until: timestamp(row, 13, "rooms.lease_until")?,
        },
    })
}

pub(crate) fn room_id(row: &Row<'_>, index: usize, column: &'static str) -> Result<RoomId, Fault> {
    RoomId::new(text(row, index, column)?).map_err(Fault::rejected(column))
}

pub(crate) fn message(row: &Row<'_>) -> Result<ChatMessage, Fault> {
    let nickname = Nickname::new(text(row, 3, "chat_history.nickname")?);
    let content = ChatText::new(text(row, 6, "chat_history.content")?);
    Ok(ChatMessage {
        position: Position { epoch: Epoch(row.get(1)?), seq: row.get(0)? },
        user_id: user(row, 2, "chat_history.user_id")?,
        nickname: nickname.map_err(Fault::rejected("chat_history.nickname"))?,
        content: content.map_err(Fault::rejected("chat_history.content"))?,
        is_admin: row.get(4)?,
        created_at: timestamp(row, 5, "chat_history.created_at")?,
    })
}

pub(crate) fn room_session(row: &Row<'_>) -> Result<RoomSession, Fault> {
    let nickname = Nickname::new(text(row, 2, "room_sessions.nickname")?);
    Ok(RoomSession {
        number: row.get(0)?,
        user_id: user(row, 1, "room_sessions.user_id")?,
        nickname: nickname.map_err(Fault::rejected("room_sessions.nickname"))?,
        join_time: timestamp(row, 3, "room_sessions.join_time")?,
        leave_time: known_timestamp(row, 4, "room_sessions.leave_time")?,
    })
}

pub(crate) fn action(row: &Row<'_>) -> Result<AdminAction, Fault> {
    let action = Action::from_name(text(row, 2, "admin_actions.action")?);
    Ok(AdminAction {
        number: row.get(0)?,
        actor: optional(row, 1)?.map(|_| user(row, 1, "admin_actions.actor_id")).transpose()?,
        action: action.ok_or_else(|| Fault::unknown("admin_actions.action"))?,
        target: optional(row, 3)?.map(|_| user(row, 3, "admin_actions.target_id")).transpose()?,
        at: timestamp(row, 4, "admin_actions.at")?,
    })
}

pub(crate) fn role(row: &Row<'_>, index: usize) -> Result<RoomRole, Fault> {
    const COLUMN: &str = "room_roles.role";
    RoomRole::from_name(text(row, index, COLUMN)?).ok_or_else(|| Fault::unknown(COLUMN))
}

fn known_timestamp(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<Timestamp>, Fault> {
    optional(row, index)?.map(|_| timestamp(row, index, column)).transpose()
}

pub(crate) fn day(row: &Row<'_>, index: usize, column: &'static str) -> Result<NaiveDate, Fault> {
    parse_day(text(row, index, column)?, column)
}

pub(crate) fn parse_day(text: &str, column: &'static str) -> Result<NaiveDate, Fault> {
    text.parse().map_err(|_| Fault::unknown(column))
}

pub(crate) fn install(row: &Row<'_>, index: usize, column: &'static str) -> Result<InstallId, Fault> {
    InstallId::new(text(row, index, column)?).map_err(Fault::rejected(column))
}

/// A user, where the text is not empty.
pub(crate) fn known_user(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<UserId>, Fault> {
    let is_known = !text(row, index, column)?.is_empty();
    is_known.then(|| user(row, index, column)).transpose()
}

/// The value, where there is one.
fn optional<'r>(row: &'r Row<'_>, index: usize) -> Result<Option<ValueRef<'r>>, Fault> {
    Ok(Some(row.get_ref(index)?).filter(|value| *value != ValueRef::Null))
}

/// A count as SQLite takes it.
pub(crate) fn count(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// A number of rows as SQLite takes it; it has no more than that anyway.
pub(crate) fn limit(limit: usize) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}
