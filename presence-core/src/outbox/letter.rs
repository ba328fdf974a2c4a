//! An event on its way to one sink, and what became of those before it.

use crate::{Event, Fingerprint, SinkName, Timestamp, UserId};

/// An event that is kept for a sink until it has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Letter {
    /// Its number in the store; the same for all sinks. Later events of one key have higher numbers.
    pub number: i64,
    /// The event as JSON, as it was when it was kept.
    pub body: String,
}

impl Letter {
    /// The event's name, the same at every attempt and for every sink, and that of no other event: its number, so that
    /// nobody can make up an event that passes for another one, and a digest of its body, so that a store that was
    /// restored from a copy, or another store, does not give a name twice.
    #[must_use]
    pub fn event_id(&self) -> String {
        format!("evt_{}_{:032x}", self.number, Fingerprint::of(&[self.body.as_bytes()]).0)
    }

    /// The event; `None` where the body is none, as after a return to an earlier version that does not know its kind.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        serde_json::from_str(&self.body).ok()
    }

    /// How a user's id stands in a body: no body without it names the user.
    #[must_use]
    pub fn naming(user: &UserId) -> String {
        // Text always serialises.
        serde_json::to_string(user).unwrap_or_default()
    }

    /// What is left of it when a user is erased; `None` where nothing is. What cannot be read may say anything, and goes.
    #[must_use]
    pub fn without(&self, erased: &UserId) -> Option<Self> {
        let left = self.event()?.without(erased)?;
        Some(Self { number: self.number, body: left.to_body() })
    }
}

/// A letter that its sink refused for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadLetter {
    /// The letter.
    pub letter: Letter,
    /// Why, for people. It holds nothing that a user sent.
    pub reason: String,
    /// When it was refused.
    pub at: Timestamp,
}

/// What became of all events that were kept for a sink.
///
/// Everything is accounted for: what was accepted is pending, or one of the others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SinkBooks {
    /// Which sink.
    pub sink: SinkName,
    /// Waiting.
    pub pending: u64,
    /// When the oldest of them was kept.
    pub oldest: Option<Timestamp>,
    /// Acknowledged.
    pub delivered: u64,
    /// Refused for good, and kept as dead letters.
    pub dead: u64,
    /// Waited, or lay dead, for too long.
    pub expired: u64,
    /// Removed because their user was erased.
    pub erased: u64,
}

impl SinkBooks {
    /// The books of a sink that nothing was kept for yet.
    #[must_use]
    pub const fn new(sink: SinkName) -> Self {
        Self { sink, pending: 0, oldest: None, delivered: 0, dead: 0, expired: 0, erased: 0 }
    }

    /// All that were ever kept for it.
    #[must_use]
    pub const fn accepted(&self) -> u64 {
        let settled = self.delivered.saturating_add(self.expired).saturating_add(self.erased);
        settled.saturating_add(self.pending).saturating_add(self.dead)
    }
}
