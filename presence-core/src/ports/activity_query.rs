//! Where events and the facts they make are kept: the reading side.

use async_trait::async_trait;

use crate::{ActiveUsers, DayMark, EventLog, Period, StoreError, Timestamp, Window};

/// The figures of a day, as they are stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredDay {
    /// The day, the version of the figures, and what came since.
    pub mark: DayMark,
    /// How many people, and where.
    pub active: ActiveUsers,
    /// When they were calculated.
    pub calculated_at: Timestamp,
}

/// Answers questions about activity. Each answer is one snapshot.
#[async_trait]
pub trait ActivityQuery: Send + Sync {
    /// The figures of the days of a period, in order; days without figures are left out.
    ///
    /// # Contract
    ///
    /// - `figures_come_back_as_they_were_saved`, in order, at a cost that does not grow with the people behind them.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn days(&self, period: Period) -> Result<Vec<StoredDay>, StoreError>;

    /// At most `limit` events inside `window` after the one of `after` (at, id), in this order.
    ///
    /// # Contract
    ///
    /// - `events_page_in_order_of_time_without_gaps`: the window is half open.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn events(
        &self,
        window: Window,
        after: Option<(Timestamp, i64)>,
        limit: usize,
    ) -> Result<Vec<EventLog>, StoreError>;
}
