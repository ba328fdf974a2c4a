//! The settings of rooms.

use std::time::Duration;

/// How often members may speak, what is remembered, and how long a node may hold a room without a word.
///
/// ```
/// use std::time::Duration;
/// use presence_core::RoomPolicy;
///
/// let policy = RoomPolicy::default();
/// assert_eq!(policy.message_interval, Duration::from_secs(3));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomPolicy {
    /// How long an ordinary member waits between two messages; zero: not at all. Default 3 s.
    pub message_interval: Duration,
    /// How long joins and leaves gather before the members are told. Default 1 s.
    pub stats_interval: Duration,
    /// How many messages a member that comes back can be given. Default 1,000.
    pub history_messages: usize,
    /// How many bytes of frames they may have, all together. Default 4 MiB.
    pub history_bytes: usize,
    /// How old they may be. Default 24 h.
    pub history_age: Duration,
    /// How many rows may wait to be written before a room takes neither messages nor members. Default 10,000.
    pub backlog: usize,
    /// How many bytes of messages may wait so. Default 8 MiB.
    pub backlog_bytes: usize,
    /// How often a room in which nothing happens says that its members are still there. If it ends without a word, their
    /// stays end at the last time it did. Default 10 s.
    pub alive_interval: Duration,
    /// How long a node holds a room without renewing its lease. Default 15 s.
    pub lease: Duration,
    /// How long a room stays on its node when everybody has left, and nobody asks anything of it; at least a
    /// [`message_interval`](Self::message_interval). Any node may take it then. Default 60 s.
    pub rest_after: Duration,
    /// How long messages, sessions that are over and records of administrators are kept, and rooms that were closed and
    /// have none left. `None`: for ever. Default `None`.
    pub keep_history: Option<Duration>,
}

impl Default for RoomPolicy {
    fn default() -> Self {
        Self {
            message_interval: Duration::from_secs(3),
            stats_interval: Duration::from_secs(1),
            history_messages: 1000,
            history_bytes: 4 << 20,
            history_age: Duration::from_hours(24),
            backlog: 10_000,
            backlog_bytes: 8 << 20,
            alive_interval: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            rest_after: Duration::from_secs(60),
            keep_history: None,
        }
    }
}
