//! The reading side of activity.

use async_trait::async_trait;
use presence_core::{ActivityQuery, EventLog, Period, StoreError, StoredDay, Timestamp, Window};
use rusqlite::{Connection, params};

use crate::{SqliteStore, codec, error::Fault};

pub(crate) const DAYS: &str = concat!(
    "SELECT ",
    codec::mark_columns!(),
    ", f.dau_count, f.dau_by_province, f.dau_by_city, f.calculated_at FROM analytics_daily_active_users f
     CROSS JOIN activity_days a ON a.day = f.day WHERE f.day >= ?1 AND f.day <= ?2 ORDER BY f.day"
);
pub(crate) const EVENTS: &str = concat!(
    "SELECT ",
    codec::event_columns!(),
    " FROM analytics_event_log WHERE (event_time, id) > (?1, ?2) AND event_time < ?3
     ORDER BY event_time, id LIMIT ?4"
);

#[async_trait]
impl ActivityQuery for SqliteStore {
    async fn days(&self, period: Period) -> Result<Vec<StoredDay>, StoreError> {
        self.read(move |conn| days(conn, period)).await
    }

    async fn events(
        &self,
        window: Window,
        after: Option<(Timestamp, i64)>,
        limit: usize,
    ) -> Result<Vec<EventLog>, StoreError> {
        self.read(move |conn| events(conn, window, after, limit)).await
    }
}

fn days(conn: &Connection, period: Period) -> Result<Vec<StoredDay>, Fault> {
    let mut days = conn.prepare_cached(DAYS)?;
    let mut rows = days.query([period.first().to_string(), period.last().to_string()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(StoredDay {
            mark: codec::mark(row)?,
            active: codec::active_users(row, 4)?,
            calculated_at: codec::timestamp(row, 7, "analytics_daily_active_users.calculated_at")?,
        });
    }
    Ok(found)
}

fn events(
    conn: &Connection,
    window: Window,
    after: Option<(Timestamp, i64)>,
    limit: usize,
) -> Result<Vec<EventLog>, Fault> {
    // Ids are positive, so (from, 0) lies before all at `from`.
    let begin = (window.from().as_millis(), 0);
    let (at, id) = after.map_or(begin, |(at, id)| begin.max((at.as_millis(), id)));
    let mut events = conn.prepare_cached(EVENTS)?;
    let mut rows = events.query(params![at, id, window.to().as_millis(), codec::limit(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(codec::event(row)?);
    }
    Ok(found)
}
