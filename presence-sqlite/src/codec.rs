//! Between rows and types.

use chrono::NaiveDate;
use presence_core::{
    ActiveUsers, Checkpoint, CheckpointId, Content, DayMark, EventId, EventLog, EventName, EventProperties,
    EventRank, Fingerprint, InstallId, Member, Region, RegionName, RegionRef, Session, Sighting, Source,
    StateType, Timestamp, UserId, Version,
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
pub(crate) use {checkpoint_columns, event_columns, mark_columns, region_columns, session_columns};

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
