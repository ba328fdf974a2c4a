//! When silence ends in Offline. One rule serves sweeps, reads and writes.

use std::time::Duration;

use crate::{Policy, Session, Timestamp};

/// Whether somebody last heard of at `last` is alive at `now`: the time between them is at most `limit`.
///
/// ```text
/// last        last + limit
///  |---- alive ----]---- silent ----
/// ```
///
/// ```
/// # use std::time::Duration;
/// # use presence_core::{Timestamp, is_alive};
/// let (last, limit) = (Timestamp::from_secs(1000)?, Duration::from_secs(60));
/// assert!(is_alive(last, Timestamp::from_secs(1060)?, limit));
/// assert!(!is_alive(last, Timestamp::from_millis(1_060_001)?, limit));
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[must_use]
pub fn is_alive(last: Timestamp, now: Timestamp, limit: Duration) -> bool {
    now.since(last) <= limit
}

impl Policy {
    /// Sessions last heard of before this instant are silent at `now`; `None` where the timeout is off.
    #[must_use]
    pub fn cutoff(&self, now: Timestamp) -> Option<Timestamp> {
        self.heartbeat_timeout.map(|timeout| now.saturating_sub(timeout.saturating_add(self.slack)))
    }

    /// When the session of somebody who is silent at `now` went Offline: one timeout after the last sign of life.
    /// `None` where the user is Offline already, or still alive.
    #[must_use]
    pub fn lapse(&self, session: &Session, now: Timestamp) -> Option<Timestamp> {
        let silent = session.current_state.is_live() && session.last_heartbeat < self.cutoff(now)?;
        silent.then(|| session.last_heartbeat.saturating_add(self.heartbeat_timeout.unwrap_or_default()))
    }
}
