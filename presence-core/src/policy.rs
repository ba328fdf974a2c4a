//! The settings that rules take.

use std::time::Duration;

/// What counts as silence, as online and as the future.
///
/// ```
/// use std::time::Duration;
/// use presence_core::Policy;
///
/// let policy = Policy::default();
/// assert_eq!(policy.heartbeat_timeout, Some(Duration::from_secs(60)));
///
/// // A deployment that sends checkpoints and no heartbeats switches the timeout off.
/// let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
/// # assert_eq!(policy.heartbeat_timeout, None);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Silence longer than this ends in Offline, stamped exactly this long after the last sign of life. `None`: never.
    /// Default 60 s. Switching it on later lapses the silent at once, backdated; a silence that was concluded keeps
    /// the timeout it was concluded with. Below 1 ms it counts as `None`: time has no finer grain.
    pub heartbeat_timeout: Option<Duration>,
    /// A stamp up to this far ahead of the clock is taken as now; beyond, it is refused. Default 300 s.
    pub max_future: Duration,
    /// The default window of the online count, and how long an install stays bound to its user. Default 180 s.
    pub online_window: Duration,
    /// How much longer than the timeout a sweep and a read wait before they conclude silence, because another node may
    /// hold beats that it has not flushed. Zero where one process owns the store, two flush intervals on a shared
    /// one. The stamp of a silence does not depend on it. Default 0.
    pub slack: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            heartbeat_timeout: Some(Duration::from_secs(60)),
            max_future: Duration::from_secs(300),
            online_window: Duration::from_secs(180),
            slack: Duration::ZERO,
        }
    }
}
