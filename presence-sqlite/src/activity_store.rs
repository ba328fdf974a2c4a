//! The writing side of activity.

use async_trait::async_trait;
use chrono::NaiveDate;
use presence_core::{
    ActivityStore, Appended, DayMark, DayMarks, Figures, Horizon, IdentityFold, InstallId, NewEvent, Period,
    Retired, SightingPlace, SightingRef, StoreError, UserId,
};
use rusqlite::{Connection, params};

use crate::{SqliteStore, append, codec, error::Fault, job::After, outbox};

pub(crate) const STALE: &str = concat!(
    "SELECT ",
    codec::mark_columns!(),
    " FROM activity_days a LEFT JOIN analytics_daily_active_users f ON f.day = a.day
     WHERE a.changes > a.folded AND a.day > '' ORDER BY a.day DESC LIMIT ?1"
);
pub(crate) const MARKS: &str = concat!(
    "SELECT ",
    codec::mark_columns!(),
    " FROM activity_days a LEFT JOIN analytics_daily_active_users f ON f.day = a.day
     WHERE a.day >= ?1 AND a.day <= ?2 ORDER BY a.day"
);
pub(crate) const KEPT_FROM: &str = "SELECT coalesce(kept_from, '') FROM store_meta WHERE id = 1";
pub(crate) const SIGHTINGS: &str = concat!(
    "SELECT ",
    codec::region_columns!(),
    ", day, install_id, user_id FROM daily_sightings
     WHERE (day, install_id, user_id) > (?1, ?2, ?3) AND day <= ?4 ORDER BY day, install_id, user_id LIMIT ?5"
);
pub(crate) const START_FIGURES: &str = "INSERT INTO analytics_daily_active_users
    (day, dau_count, dau_by_province, dau_by_city, calculated_at, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6 + 1)
    ON CONFLICT (day) DO NOTHING";
pub(crate) const RENEW_FIGURES: &str =
    "UPDATE analytics_daily_active_users SET dau_count = ?2, dau_by_province = ?3,
    dau_by_city = ?4, calculated_at = ?5, version = version + 1 WHERE day = ?1 AND version = ?6";
pub(crate) const FOLDED: &str = "INSERT INTO activity_days (day, changes, folded) VALUES (?1, 0, ?2)
    ON CONFLICT (day) DO UPDATE SET folded = max(folded, excluded.folded)";
pub(crate) const MOVE_HORIZON: &str =
    "UPDATE store_meta SET kept_from = ?1 WHERE id = 1 AND coalesce(kept_from, '') < ?1";
pub(crate) const SETTLE: &str =
    "UPDATE activity_days SET folded = changes WHERE changes > folded AND day < ?1";
pub(crate) const RETIRE_SIGHTINGS: &str =
    "DELETE FROM daily_sightings WHERE (day, install_id, user_id) IN (SELECT day, install_id, user_id
    FROM daily_sightings WHERE day < ?1 ORDER BY day, install_id, user_id LIMIT ?2)";
pub(crate) const RETIRE_EVENTS: &str = "DELETE FROM analytics_event_log WHERE id IN (SELECT id
    FROM analytics_event_log WHERE event_time < ?1 ORDER BY event_time LIMIT ?2)";
pub(crate) const ERASE_CHANGES: &str =
    "UPDATE activity_days SET changes = changes + 1 WHERE day >= ?2 AND day IN
    (SELECT day FROM daily_sightings WHERE user_id = ?1 AND user_id <> '')";
pub(crate) const ERASE_SIGHTINGS: &str = "DELETE FROM daily_sightings WHERE user_id = ?1 AND user_id <> ''";
pub(crate) const ERASE_EVENTS: &str = "DELETE FROM analytics_event_log WHERE user_id = ?1";

#[async_trait]
impl ActivityStore for SqliteStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.write(events.len(), After::Nothing, move |writer| append::append(writer, &events)).await
    }

    async fn stale(&self, limit: usize) -> Result<Vec<DayMark>, StoreError> {
        self.read(move |conn| {
            let mut stale = conn.prepare_cached(STALE)?;
            let mut rows = stale.query([codec::limit(limit)])?;
            let mut marks = Vec::new();
            while let Some(row) = rows.next()? {
                marks.push(codec::mark(row)?);
            }
            Ok(marks)
        })
        .await
    }

    async fn day_marks(&self, period: Period) -> Result<DayMarks, StoreError> {
        self.read(move |conn| day_marks(conn, period)).await
    }

    async fn fold(
        &self,
        period: Period,
        after: Option<SightingPlace>,
        limit: usize,
        fold: IdentityFold,
    ) -> Result<(IdentityFold, Option<SightingPlace>), StoreError> {
        self.read(move |conn| show(conn, period, after, limit, fold)).await
    }

    async fn save(&self, figures: Figures) -> Result<bool, StoreError> {
        self.write(2, After::Nothing, move |writer| {
            let is_saved = save(&writer.conn, &figures)?;
            if is_saved {
                outbox::tell(writer, &figures.events, figures.calculated_at)?;
            }
            Ok(is_saved)
        })
        .await
    }

    async fn retire(&self, before: Horizon, limit: usize) -> Result<Retired, StoreError> {
        self.write(limit, After::Nothing, move |writer| retire(&writer.conn, before, limit)).await
    }
}

/// The first day whose events are all there, empty where none were ever retired: text that days are compared with.
pub(crate) fn kept_from(conn: &Connection) -> Result<String, Fault> {
    Ok(conn.prepare_cached(KEPT_FROM)?.query_row([], |row| row.get(0))?)
}

fn day_marks(conn: &Connection, period: Period) -> Result<DayMarks, Fault> {
    let kept_from = Some(kept_from(conn)?).filter(|day| !day.is_empty());
    let kept_from = kept_from.map(|day| codec::parse_day(&day, "store_meta.kept_from")).transpose()?;
    let mut marks = conn.prepare_cached(MARKS)?;
    let mut rows = marks.query([period.first().to_string(), period.last().to_string()])?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        days.push(codec::mark(row)?);
    }
    Ok(DayMarks { kept_from, days })
}

/// Shows sightings to the fold as they stand in the pages of the file.
fn show(
    conn: &Connection,
    period: Period,
    after: Option<SightingPlace>,
    limit: usize,
    mut fold: IdentityFold,
) -> Result<(IdentityFold, Option<SightingPlace>), Fault> {
    // No install is empty, so that all of a day come after the empty one.
    let before = |first: NaiveDate| (first.to_string(), String::new(), String::new());
    let (day, install, user) = after.map_or_else(
        || before(period.first()),
        |SightingPlace { day, install, user }| {
            let user = user.map(|user| user.to_string()).unwrap_or_default();
            (day.to_string(), install.to_string(), user).max(before(period.first()))
        },
    );
    let mut sightings = conn.prepare_cached(SIGHTINGS)?;
    let mut rows =
        sightings.query(params![day, install, user, period.last().to_string(), codec::limit(limit)])?;
    let mut seen = 0_usize;
    while let Some(row) = rows.next()? {
        let (province, city) = codec::region_refs(row, 0)?;
        let install = codec::text(row, 7, "daily_sightings.install_id")?;
        let user = codec::text(row, 8, "daily_sightings.user_id")?;
        fold.see(&SightingRef { install, user: Some(user).filter(|user| !user.is_empty()), province, city });
        seen += 1;
        if seen == limit {
            let place = SightingPlace {
                day: codec::day(row, 6, "daily_sightings.day")?,
                install: InstallId::new(install).map_err(Fault::rejected("daily_sightings.install_id"))?,
                user: codec::known_user(row, 8, "daily_sightings.user_id")?,
            };
            return Ok((fold, Some(place)));
        }
    }
    Ok((fold, None))
}

fn save(conn: &Connection, Figures { mark, active, calculated_at, .. }: &Figures) -> Result<bool, Fault> {
    let day = mark.day.to_string();
    if day < kept_from(conn)? {
        return Ok(false);
    }
    let sql = if mark.version == 0 { START_FIGURES } else { RENEW_FIGURES };
    let [provinces, cities] = active.to_stored();
    let (count, at) = (codec::count(active.count), calculated_at.as_millis());
    let saved =
        conn.prepare_cached(sql)?.execute(params![day, count, provinces, cities, at, mark.version])?;
    if saved == 1 {
        conn.prepare_cached(FOLDED)?.execute(params![day, mark.changes])?;
    }
    Ok(saved == 1)
}

fn retire(conn: &Connection, before: Horizon, limit: usize) -> Result<Retired, Fault> {
    let day = before.day.to_string();
    conn.prepare_cached(MOVE_HORIZON)?.execute([&day])?;
    conn.prepare_cached(SETTLE)?.execute([&day])?;
    let sightings = conn.prepare_cached(RETIRE_SIGHTINGS)?.execute(params![day, codec::limit(limit)])?;
    let left = codec::limit(limit.saturating_sub(sightings));
    let events = conn.prepare_cached(RETIRE_EVENTS)?.execute(params![before.at.as_millis(), left])?;
    Ok(Retired { events: events as u64, sightings: sightings as u64 })
}

/// Removes what is known of a user, makes its days stale, and says how many events there were.
pub(crate) fn erase(conn: &Connection, user: &UserId) -> Result<u64, Fault> {
    let user = user.as_str();
    conn.prepare_cached(ERASE_CHANGES)?.execute(params![user, kept_from(conn)?])?;
    conn.prepare_cached(ERASE_SIGHTINGS)?.execute([user])?;
    Ok(conn.prepare_cached(ERASE_EVENTS)?.execute([user])? as u64)
}
