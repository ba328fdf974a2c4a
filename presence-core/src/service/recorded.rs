//! What became of an envelope.

use crate::{Checkpoint, Session};

/// What a recorded envelope came to.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, StateType, Timestamp, Tracker, UserId};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// let first = tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// let again = tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// assert!(first.created && !again.created); // the second was redundant:
/// assert_eq!(first.checkpoint, again.checkpoint); // it is answered with the row in force
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// The session after the commit that the envelope was part of.
    pub session: Option<Session>,
    /// To a report: its row, or the row in force where it was redundant. To a heartbeat: `None`.
    pub checkpoint: Option<Checkpoint>,
    /// Whether the report wrote that row, now or when its event id was first used.
    pub created: bool,
    /// Whether the commit changed the timeline.
    pub changed: bool,
}
