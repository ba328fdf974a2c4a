//! Where the online count is kept, minute by minute.

use async_trait::async_trait;

use crate::{OnlineSnapshot, StoreError, Timestamp, Window};

/// Keeps snapshots of the online count.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Keeps a snapshot, unless its minute has one; says whether it was the first.
    ///
    /// # Contract
    ///
    /// - `the_first_snapshot_of_a_minute_stays`, whoever brings the second.
    ///
    /// # Errors
    ///
    /// The store failed: nothing was kept, or where the error is [`StoreError::Unavailable`], it is unknown. Keeping it
    /// again is safe.
    async fn keep_snapshot(&self, snapshot: OnlineSnapshot) -> Result<bool, StoreError>;

    /// At most `limit` snapshots inside `window`, oldest first.
    ///
    /// # Contract
    ///
    /// - `snapshots_come_oldest_first_out_of_a_half_open_window`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn snapshots(&self, window: Window, limit: usize) -> Result<Vec<OnlineSnapshot>, StoreError>;

    /// Removes at most `limit` snapshots before `before`, and says how many there were.
    ///
    /// # Contract
    ///
    /// - `old_snapshots_go_in_slices`.
    ///
    /// # Errors
    ///
    /// The store failed; some may be removed.
    async fn discard_snapshots(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
