//! How connections to rooms ended.

use crate::traffic::Count;

/// How a connection to a room ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Parting {
    /// The client left, or was cut off.
    Gone,
    /// The room sent it away, or is not here any more.
    SentAway,
    /// It did not read what it was sent.
    Slow,
    /// It did not answer a ping.
    Silent,
    /// It sent what no client may send, or too much of it.
    Broken,
    /// Its token ended.
    Expired,
}

const NAMES: [(Parting, &str); 6] = [
    (Parting::Gone, "gone"),
    (Parting::SentAway, "sent_away"),
    (Parting::Slow, "slow"),
    (Parting::Silent, "silent"),
    (Parting::Broken, "broken"),
    (Parting::Expired, "expired"),
];

/// How many ended in which way.
#[derive(Debug, Default)]
pub(crate) struct Partings([Count; NAMES.len()]);

impl Partings {
    pub(crate) fn add(&self, parting: Parting) {
        let counts = self.0.iter().zip(NAMES).filter(|(_, (name, _))| *name == parting);
        counts.for_each(|(count, _)| count.add(1));
    }

    /// Each with its name.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().zip(NAMES).map(|(count, (_, name))| (name, count.get()))
    }
}
