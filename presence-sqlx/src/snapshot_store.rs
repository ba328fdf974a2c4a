//! The online count, minute by minute.

use async_trait::async_trait;
use presence_core::{OnlineSnapshot, SnapshotStore, StoreError, TimeWindow, Timestamp, Window};
use sqlx::{Row, postgres::PgRow};

use crate::{PostgresStore, codec, error::Fault};

pub(crate) const KEEP: &str = "INSERT INTO analytics_online_snapshots (ts, online_count, window_seconds)
    VALUES ($1, $2, $3) ON CONFLICT (ts) DO NOTHING RETURNING ts";
pub(crate) const SNAPSHOTS: &str =
    "SELECT ts, online_count, window_seconds::bigint FROM analytics_online_snapshots
    WHERE ts >= $1 AND ts < $2 ORDER BY ts LIMIT $3";
/// Whatever another node is discarding in this moment is passed over.
pub(crate) const DISCARD: &str = "WITH old AS MATERIALIZED (
    SELECT ts FROM analytics_online_snapshots WHERE ts < $1 ORDER BY ts LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM analytics_online_snapshots s USING old WHERE s.ts = old.ts RETURNING s.ts";

#[async_trait]
impl SnapshotStore for PostgresStore {
    async fn keep_snapshot(&self, snapshot: OnlineSnapshot) -> Result<bool, StoreError> {
        Ok(keep(self, snapshot).await?)
    }

    async fn snapshots(&self, window: Window, limit: usize) -> Result<Vec<OnlineSnapshot>, StoreError> {
        let (from, to) = (window.from().as_millis(), window.to().as_millis());
        let statement = || sqlx::query(SNAPSHOTS).bind(from).bind(to).bind(codec::limit(limit));
        let rows = self.connections.rows(statement).await?;
        Ok(rows.iter().map(snapshot).collect::<Result<_, Fault>>()?)
    }

    async fn discard_snapshots(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let discard = sqlx::query(DISCARD).bind(before.as_millis()).bind(codec::limit(limit));
        Ok(self.connections.once(discard).await?.len() as u64)
    }
}

async fn keep(store: &PostgresStore, snapshot: OnlineSnapshot) -> Result<bool, Fault> {
    let OnlineSnapshot { at, online_count, window } = snapshot;
    let (count, seconds) = (codec::count(online_count), i64::from(window.as_secs()));
    let statement = || sqlx::query(KEEP).bind(at.as_millis()).bind(count).bind(seconds);
    let answer = store
        .connections
        .fold(
            statement,
            || false,
            |kept, _| {
                *kept = true;
                Ok(())
            },
        )
        .await?;
    // Where the connection broke, the one that is there may be this one.
    if answer.is_repeated && !answer.value { Err(Fault::Unknown) } else { Ok(answer.value) }
}

fn snapshot(row: &PgRow) -> Result<OnlineSnapshot, Fault> {
    let count: i64 = row.try_get(1)?;
    let window = TimeWindow::from_secs(row.try_get(2)?);
    Ok(OnlineSnapshot {
        at: codec::timestamp(row, 0, "analytics_online_snapshots.ts")?,
        online_count: count.unsigned_abs(),
        window: window.map_err(Fault::rejected("analytics_online_snapshots.window_seconds"))?,
    })
}
