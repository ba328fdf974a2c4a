//! How often a callback is tried that no outbox keeps.

use std::time::Duration;

use super::{Outcome, Reason};

/// What a step of a run did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// The receiver took so many records, and there may be more.
    Sent(u64),
    /// The receiver did not take it: the next step tries again, and is not to come earlier.
    Again(Duration),
    /// The receiver will not take this, which is left for the next run.
    Refused,
    /// The receiver did not take it, often enough. The run is over.
    GivenUp,
    /// There is nothing more. The run is over.
    Done,
    /// It is another node's turn.
    Elsewhere,
    /// The receiver wants nothing any more.
    Gone,
}

/// How often a callback is sent again that was not accepted, and how long after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempts {
    /// The most repetitions.
    pub repeats: u32,
    /// How long after an attempt the next one follows; longer where the receiver asks for it.
    pub delay: Duration,
}

impl Attempts {
    /// What follows after an attempt that was the last of `failures` that failed in a row, and what was in the way.
    pub(super) fn after(self, outcome: Outcome, failures: u32) -> Result<(), (Progress, Reason)> {
        match outcome {
            Outcome::Delivered => Ok(()),
            Outcome::Retry { after, reason } if failures <= self.repeats => {
                Err((Progress::Again(self.delay.max(after)), reason))
            }
            Outcome::Retry { reason, .. } => Err((Progress::GivenUp, reason)),
            Outcome::Refused { reason } => Err((Progress::Refused, reason)),
            Outcome::Gone => Err((Progress::Gone, Reason::Status(410))),
        }
    }
}
