//! What goes between the rules and a store: what a decision needs, and everything it writes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Checkpoint, CheckpointId, Event, EventId, NewCheckpoint, Session, StateType, Timestamp, UserId, Version,
    Window,
};

/// What one decision about one user will look at: the span of the stamps in its envelopes, and their event ids.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// Whose timeline.
    pub user: UserId,
    /// The earliest stamp.
    pub first: Timestamp,
    /// The latest stamp.
    pub last: Timestamp,
    /// The event ids that may have been used before, each once.
    pub event_ids: Vec<EventId>,
}

/// The part of a user's timeline that a decision looks at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Context {
    /// The session; `None` for a user that the store does not know.
    pub session: Option<Session>,
    /// Rows in order of (at, id): two at or before [`Ask::first`], all in between, and three after [`Ask::last`] with
    /// all others of the third's instant; or as many as there are.
    pub rows: Vec<Checkpoint>,
    /// Where the run of equal states began that holds the first of `rows`; `None` where there are no rows.
    pub run_start: Option<Timestamp>,
    /// The requests among [`Ask::event_ids`] that were answered before, with their checkpoints.
    pub requests: Vec<(Request, Checkpoint)>,
    /// When the user was erased last: stamps up to here are refused.
    pub erased_at: Option<Timestamp>,
}

/// A request that was answered, remembered as long as the checkpoint it was answered with.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Request {
    /// The client's name for it, unique per user.
    pub event_id: EventId,
    /// What its body was; another body under the same id is refused.
    pub fingerprint: Fingerprint,
    /// Whether it wrote the checkpoint, or found it in force.
    pub created: bool,
}

/// Which checkpoint answers a request of a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Row {
    /// One that the store has.
    Stored(CheckpointId),
    /// The one at this place of [`Commit::insert`].
    Inserted(usize),
}

/// Everything one decision writes about one user: together, or not at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Commit {
    /// The version of the session it was decided on; `None` where there was none.
    pub expected: Option<Version>,
    /// Where there was no session: the erasure it was decided on.
    pub erased_at: Option<Timestamp>,
    /// The session after it; the store puts the new version in.
    pub session: Session,
    /// Conclusions that no longer hold.
    pub withdraw: Vec<CheckpointId>,
    /// Rows to number and insert, in this order.
    pub insert: Vec<NewCheckpoint>,
    /// What to add to the user's total per state, in milliseconds; may be negative. Totals cover closed time: all
    /// before [`Session::last_state_change`].
    pub totals: Vec<(StateType, i64)>,
    /// From the first to the last instant of closed time that is told otherwise than before; `None` where the commit only
    /// adds to the end. Closed was what lay before [`Session::last_state_change`] as it was: so sums of whole windows
    /// that end by then hold until a commit changes an instant in them.
    pub changed: Option<Window>,
    /// Requests to remember, each with the checkpoint that answers it.
    pub requests: Vec<(Request, Row)>,
    /// What happened, for those who want to hear of it: stores keep what a sink has subscribed to.
    pub events: Vec<Event>,
    /// When it was decided.
    pub decided_at: Timestamp,
}

/// What became of a [`Commit`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was written; the ids are those of [`Commit::insert`], in its order.
    Committed {
        /// The session's new version.
        version: Version,
        /// The ids of the inserted rows.
        ids: Vec<CheckpointId>,
    },
    /// The session was changed meanwhile, and nothing was written: load and decide again.
    Conflict,
}

/// Heartbeats of one user, coalesced: alive without a break from `first` to `last`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Beat {
    /// Whose heartbeats.
    pub user: UserId,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How late the last sign before them may have been for life to be unbroken: `first` minus the timeout.
    pub floor: Timestamp,
}

/// A digest of a request's body: 128 bits of FNV-1a, so that it is the same in every version and on every machine.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// Digests the parts of a body; lengths are part of it, so that no two bodies run into each other.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        // Offset basis and prime: Fowler, Noll, Vo, Eastlake, draft-eastlake-fnv, 128 bits.
        const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let digest = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        Self(parts.iter().fold(BASIS, |hash, part| {
            let hash = (part.len() as u64).to_be_bytes().iter().fold(hash, digest);
            part.iter().fold(hash, digest)
        }))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}
