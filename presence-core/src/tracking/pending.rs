//! Signs of life that are not written yet.

use std::time::Duration;

use crate::{Beat, Envelope, Session, StateType, Timestamp, UserId, is_alive};

/// A sign of life, and what it would wake to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sign {
    pub(crate) at: Timestamp,
    pub(crate) wakes_to: Option<StateType>,
}

/// Beats of one user that are not written yet: alive without a break from first to last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pending {
    pub(crate) first: Sign,
    pub(crate) last: Sign,
}

impl Pending {
    /// As a store takes them, where they only continue a life.
    pub(crate) fn beat(&self, user: &UserId, timeout: Option<Duration>) -> Beat {
        let (first, last) = (self.first.at, self.last.at);
        let floor = timeout.map_or(Timestamp::MIN, |timeout| first.saturating_sub(timeout));
        Beat { user: user.clone(), first, last, floor }
    }

    /// As they are recorded otherwise.
    pub(crate) fn envelope(&self, user: &UserId) -> Envelope {
        Envelope::beats(user.clone(), self.first.clone(), self.last.clone())
    }

    /// Raises a session by them, as writing them would.
    pub(crate) fn raise(&self, session: &mut Session, timeout: Option<Duration>) {
        if session.current_state.is_live()
            && is_connected(session.live_since, session.last_heartbeat, self.first.at, timeout)
        {
            session.last_heartbeat = session.last_heartbeat.max(self.last.at);
        }
    }
}

/// Whether a sign at `at` continues a life that is unbroken from `live_since` to `last`.
pub(crate) fn is_connected(
    live_since: Timestamp,
    last: Timestamp,
    at: Timestamp,
    timeout: Option<Duration>,
) -> bool {
    live_since <= at && timeout.is_none_or(|limit| is_alive(last, at, limit))
}
