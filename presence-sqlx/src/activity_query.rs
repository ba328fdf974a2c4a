//! The reading side of activity.

use async_trait::async_trait;
use presence_core::{ActivityQuery, EventLog, Period, StoreError, StoredDay, Timestamp, Window};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    codec::{self, event_columns, mark_columns},
    day::Day,
    error::Fault,
};

pub(crate) const DAYS: &str = concat!(
    "SELECT ",
    mark_columns!(),
    ", f.dau_count, f.dau_by_province::text, f.dau_by_city::text, f.calculated_at
    FROM analytics_daily_active_users f JOIN activity_days a ON a.day = f.day
    WHERE f.day >= $1 AND f.day <= $2 ORDER BY f.day"
);
pub(crate) const EVENTS: &str = concat!(
    "SELECT ",
    event_columns!(),
    ", l.user_id FROM analytics_event_log l WHERE (l.event_time, l.id) > ($1, $2) AND l.event_time < $3
    ORDER BY l.event_time, l.id LIMIT $4"
);

#[async_trait]
impl ActivityQuery for PostgresStore {
    async fn days(&self, period: Period) -> Result<Vec<StoredDay>, StoreError> {
        let (first, last) = (Day(period.first()), Day(period.last()));
        let rows = self.connections.rows(|| sqlx::query(DAYS).bind(first).bind(last)).await?;
        Ok(rows.iter().map(stored_day).collect::<Result<_, Fault>>()?)
    }

    async fn events(
        &self,
        window: Window,
        after: Option<(Timestamp, i64)>,
        limit: usize,
    ) -> Result<Vec<EventLog>, StoreError> {
        // Ids are positive, so (from, 0) lies before all at `from`.
        let begin = (window.from().as_millis(), 0);
        let (at, id) = after.map_or(begin, |(at, id)| begin.max((at.as_millis(), id)));
        let statement = || {
            let events = sqlx::query(EVENTS).bind(at).bind(id).bind(window.to().as_millis());
            events.bind(codec::limit(limit))
        };
        let rows = self.connections.rows(statement).await?;
        Ok(rows.iter().map(event).collect::<Result<_, Fault>>()?)
    }
}

fn stored_day(row: &PgRow) -> Result<StoredDay, Fault> {
    Ok(StoredDay {
        mark: codec::mark(row, 0)?,
        active: codec::active_users(row, 4)?,
        calculated_at: codec::timestamp(row, 7, "analytics_daily_active_users.calculated_at")?,
    })
}

fn event(row: &PgRow) -> Result<EventLog, Fault> {
    const USER: usize = 7;
    let is_known = row.try_get::<Option<&str>, _>(USER)?.is_some();
    let user = is_known.then(|| codec::user(row, USER, "analytics_event_log.user_id")).transpose()?;
    codec::event(row, 0, user)
}
