//! The current state of one user.

use serde::{Deserialize, Serialize};

use crate::{StateType, Timestamp, UserId};

/// The number of a session's last change. It comes from one counter for the whole store, so that it never restarts,
/// not even after an erasure.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Version(pub i64);

/// The current state of one user: one row per user, written with every commit and raised by every flushed beat.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, StateType, Timestamp, Tracker, UserId};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// clock.set(Timestamp::from_secs(1030)?);
/// let session = tracker.record(Envelope::heartbeat(alice)).await?.session.expect("a session");
/// assert_eq!(session.current_state, StateType::Working);
/// assert_eq!((session.last_state_change.as_secs(), session.last_heartbeat.as_secs()), (1000, 1030));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Session {
    /// Whose session it is.
    pub user: UserId,
    /// The state of the last row of the timeline.
    pub current_state: StateType,
    /// Since when life is known to be unbroken, never earlier than the truth; without meaning while Offline.
    pub live_since: Timestamp,
    /// The last sign of life.
    pub last_heartbeat: Timestamp,
    /// When the current state began: the start of the last run of equal states.
    pub last_state_change: Timestamp,
    /// Which change this is; a commit that was decided on an older one conflicts. It is not serialised: it counts what
    /// the store wrote, whoever it was about, and says nothing of the user.
    #[serde(skip)]
    pub version: Version,
}
