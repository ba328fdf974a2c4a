//! The rows of a timeline.

use serde::{Deserialize, Serialize};

use crate::{CheckpointId, Content, StateType, Timestamp, UserId};

/// Where a row of the timeline comes from: a report, or one of the two conclusions.
///
/// ```
/// use presence_core::Source;
///
/// assert_eq!(Source::Timeout.as_str(), "timeout");
/// assert!(Source::Wake.is_conclusion() && !Source::Client.is_conclusion());
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The client said so. A report never changes.
    Client,
    /// Silence: Offline, one timeout after the last sign of life.
    Timeout,
    /// A heartbeat ended a silence, or was the first of its user.
    Wake,
}

impl Source {
    /// The name on every wire and in every store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Timeout => "timeout",
            Self::Wake => "wake",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Client, Self::Timeout, Self::Wake].into_iter().find(|source| source.as_str() == name)
    }

    /// Whether a row of this source was concluded, so that a late report may move or withdraw it.
    #[must_use]
    pub const fn is_conclusion(self) -> bool {
        !matches!(self, Self::Client)
    }
}

/// A row of a user's timeline: from `at` until the next row, the user was in `state`.
///
/// Rows are ordered by (`at`, `id`). A report never changes; a conclusion that a late report moves is withdrawn, and
/// another one is inserted under a new id.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, Source, StateType, Timestamp, Tracker, UserId, Window};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// clock.set(Timestamp::from_secs(1100)?);
/// tracker.sweep(1_000).await?;
///
/// let rows = tracker.history(&alice, Window::all(), None, 10).await?.items; // newest first
/// assert_eq!((rows[0].source, rows[0].at.as_secs()), (Source::Timeout, 1060));
/// assert_eq!((rows[1].source, rows[1].state.as_str()), (Source::Client, "Working"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Checkpoint {
    /// The row's id; ids increase and are never reused.
    pub id: CheckpointId,
    /// Whose row it is.
    pub user: UserId,
    /// What the user is doing from `at` on.
    pub state: StateType,
    /// When the state begins.
    pub at: Timestamp,
    /// What the client sent along; only on reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Report or conclusion.
    pub source: Source,
    /// On a timeout: the last sign of life before the silence. It keeps `at` explicable when the timeout changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_at: Option<Timestamp>,
}

/// A row that a store has not numbered yet; see [`Checkpoint`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewCheckpoint {
    /// What the user is doing from `at` on.
    pub state: StateType,
    /// When the state begins.
    pub at: Timestamp,
    /// What the client sent along.
    pub content: Option<Content>,
    /// Report or conclusion.
    pub source: Source,
    /// On a timeout: the last sign of life before the silence.
    pub proof_at: Option<Timestamp>,
}

impl NewCheckpoint {
    /// The row as stored under `id`.
    #[must_use]
    pub fn numbered(self, id: CheckpointId, user: UserId) -> Checkpoint {
        let Self { state, at, content, source, proof_at } = self;
        Checkpoint { id, user, state, at, content, source, proof_at }
    }
}
