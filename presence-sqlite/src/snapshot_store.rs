//! The online count, minute by minute.

use async_trait::async_trait;
use presence_core::{OnlineSnapshot, SnapshotStore, StoreError, TimeWindow, Timestamp, Window};
use rusqlite::params;

use crate::{SqliteStore, codec, error::Fault, job::After};

pub(crate) const KEEP: &str = "INSERT INTO analytics_online_snapshots (ts, online_count, window_seconds)
    VALUES (?1, ?2, ?3) ON CONFLICT (ts) DO NOTHING";
pub(crate) const SNAPSHOTS: &str = "SELECT ts, online_count, window_seconds FROM analytics_online_snapshots
    WHERE ts >= ?1 AND ts < ?2 ORDER BY ts LIMIT ?3";
pub(crate) const DISCARD: &str = "DELETE FROM analytics_online_snapshots WHERE ts IN
    (SELECT ts FROM analytics_online_snapshots WHERE ts < ?1 ORDER BY ts LIMIT ?2)";

#[async_trait]
impl SnapshotStore for SqliteStore {
    async fn keep_snapshot(&self, snapshot: OnlineSnapshot) -> Result<bool, StoreError> {
        let OnlineSnapshot { at, online_count, window } = snapshot;
        let row = (at.as_millis(), codec::count(online_count), window.as_secs());
        self.write(1, After::Nothing, move |writer| Ok(writer.conn.prepare_cached(KEEP)?.execute(row)? == 1))
            .await
    }

    async fn snapshots(&self, window: Window, limit: usize) -> Result<Vec<OnlineSnapshot>, StoreError> {
        self.read(move |conn| {
            let mut snapshots = conn.prepare_cached(SNAPSHOTS)?;
            let (from, to) = (window.from().as_millis(), window.to().as_millis());
            let mut rows = snapshots.query(params![from, to, codec::limit(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let count: i64 = row.get(1)?;
                let window = TimeWindow::from_secs(row.get(2)?);
                found.push(OnlineSnapshot {
                    at: codec::timestamp(row, 0, "analytics_online_snapshots.ts")?,
                    online_count: count.unsigned_abs(),
                    window: window.map_err(Fault::rejected("analytics_online_snapshots.window_seconds"))?,
                });
            }
            Ok(found)
        })
        .await
    }

    async fn discard_snapshots(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let before = before.as_millis();
        self.write(limit, After::Nothing, move |writer| {
            let discarded =
                writer.conn.prepare_cached(DISCARD)?.execute(params![before, codec::limit(limit)])?;
            Ok(discarded as u64)
        })
        .await
    }
}
