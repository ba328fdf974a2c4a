//! What became of an attempt.

use std::{fmt, time::Duration};

use presence_core::Timestamp;

use super::retry_after::retry_after;

/// What became of one attempt to deliver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum Outcome {
    /// The receiver has it: it answered 2xx.
    Delivered,
    /// It may be accepted later, and may have been accepted already: only the answer is certain to be missing.
    #[non_exhaustive]
    Retry {
        /// For how long the receiver asks to be left alone, at most an hour; zero where it does not ask.
        after: Duration,
        /// What was in the way.
        reason: Reason,
    },
    /// It will never be accepted as it is.
    #[non_exhaustive]
    Refused {
        /// What was in the way.
        reason: Reason,
    },
    /// Nobody wants callbacks there any more: 410.
    Gone,
}

/// What was in the way of a delivery. It holds nothing that a user, a receiver or an operator wrote, so it may be shown
/// and kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The receiver answered with this status.
    Status(u16),
    /// The receiver did not answer in time.
    Timeout,
    /// No connection came about: the name, the port, or TLS.
    Unreachable,
    /// The name leads to no address that may be dialled.
    Blocked,
    /// The connection broke, or what came was no answer.
    Broken,
}

impl Outcome {
    /// What an answer with `status` means that came at `now`, with `asked` as its `Retry-After`.
    pub(super) fn of_answer(status: u16, asked: Option<&str>, now: Timestamp) -> Self {
        let reason = Reason::Status(status);
        match status {
            200..=299 => Self::Delivered,
            410 => Self::Gone,
            408 | 425 | 429 | 500..=599 => {
                Self::Retry { after: asked.map(|asked| retry_after(asked, now)).unwrap_or_default(), reason }
            }
            // A redirect too: following it would lead to where nobody looked.
            _ => Self::Refused { reason },
        }
    }

    /// What it means that no answer came.
    pub(super) const fn without_answer(reason: Reason) -> Self {
        Self::Retry { after: Duration::ZERO, reason }
    }
}

/// The end of a sentence that begins with the receiver.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Timeout => f.write_str("did not answer in time"),
            Self::Unreachable => f.write_str("cannot be reached"),
            Self::Blocked => f.write_str("has no address that may be dialled"),
            Self::Broken => f.write_str("broke the connection or sent no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_one_meaning() {
        let now = Timestamp::from_secs(1000).unwrap();
        for status in 100..=999 {
            let (plain, asked) =
                (Outcome::of_answer(status, None, now), Outcome::of_answer(status, Some("7"), now));
            let reason = Reason::Status(status);
            let expected = match status {
                200..=299 => Outcome::Delivered,
                410 => Outcome::Gone,
                408 | 425 | 429 | 500..=599 => Outcome::Retry { after: Duration::ZERO, reason },
                _ => Outcome::Refused { reason },
            };
            assert_eq!(plain, expected, "{status}");
            let expected = match expected {
                Outcome::Retry { .. } => Outcome::Retry { after: Duration::from_secs(7), reason },
                other => other,
            };
            assert_eq!(asked, expected, "{status}");
        }
    }
}
