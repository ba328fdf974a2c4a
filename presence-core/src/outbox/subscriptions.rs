//! Who wants to hear of what.

use std::{
    borrow::Borrow,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{Event, EventKind};

/// The name of a sink: 1 to 32 lower-case letters, digits and `_`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SinkName(Arc<str>);

impl SinkName {
    /// Takes a name; `None` where it is not of that form.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=32).contains(&name.len()) && name.bytes().all(is_fit);
        fits.then(|| Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SinkName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which sink wants which kinds of events: what a store keeps in its outbox, and for whom.
///
/// ```
/// use presence_core::{EventKind, SinkName, Subscriptions};
///
/// let webhook = SinkName::new("webhook").expect("a name");
/// let subscriptions = Subscriptions::none().with(webhook, EventKind::ROOMS);
/// # assert!(!subscriptions.is_empty());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subscriptions {
    sinks: Vec<(SinkName, Vec<EventKind>)>,
}

/// An event to be kept, once for each sink that wants it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outgoing<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its [key](Event::key).
    pub key: String,
    /// The event as JSON.
    pub body: String,
    /// Who wants it, in order.
    pub sinks: Vec<&'a SinkName>,
}

impl Subscriptions {
    /// Nobody wants anything.
    #[must_use]
    pub const fn none() -> Self {
        Self { sinks: Vec::new() }
    }

    /// A sink wants these kinds; what it wanted before no longer counts.
    #[must_use]
    pub fn with(mut self, sink: SinkName, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.sinks.retain(|(name, _)| *name != sink);
        self.sinks.push((sink, kinds.into_iter().collect()));
        self
    }

    /// Whether nobody wants anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sinks.iter().all(|(_, kinds)| kinds.is_empty())
    }

    /// Whether somebody wants events of this kind: what nobody wants need not be made.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        self.sinks.iter().any(|(_, kinds)| kinds.contains(&kind))
    }

    /// Those of the events that somebody wants, in order.
    pub fn outgoing<'a>(&'a self, events: &'a [Event]) -> impl Iterator<Item = Outgoing<'a>> {
        events.iter().filter_map(|event| {
            let wanted = self.sinks.iter().filter(|(_, kinds)| kinds.contains(&event.kind()));
            let sinks: Vec<_> = wanted.map(|(sink, _)| sink).collect();
            (!sinks.is_empty()).then(|| Outgoing { event, key: event.key(), body: event.to_body(), sinks })
        })
    }
}

/// Subscriptions that are replaced while others read them: what an adapter holds.
#[derive(Debug, Default)]
pub struct Subscribed(RwLock<Arc<Subscriptions>>);

impl Subscribed {
    /// Replaces them.
    pub fn set(&self, subscriptions: Subscriptions) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(subscriptions);
    }

    /// As they are now.
    #[must_use]
    pub fn get(&self) -> Arc<Subscriptions> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RoomId, RoomStats, Timestamp, UserId};

    #[test]
    fn a_sink_gets_the_kinds_that_it_wants() {
        let [all, rooms, nothing] = ["all", "rooms", "nothing"].map(|name| SinkName::new(name).unwrap());
        let subscriptions = Subscriptions::none()
            .with(all.clone(), EventKind::ALL)
            .with(rooms.clone(), EventKind::ALL)
            .with(rooms.clone(), [EventKind::RoomClosed])
            .with(nothing, []);
        let (room, at) = (RoomId::new("lobby").unwrap(), Timestamp::MIN);
        let user = UserId::new("alice").unwrap();
        let events = [
            Event::UserJoined { room: room.clone(), user, session: 1, at },
            Event::RoomClosed { room, stats: RoomStats::default(), at },
        ];
        let outgoing: Vec<_> = subscriptions.outgoing(&events).map(|outgoing| outgoing.sinks).collect();
        assert_eq!(outgoing, [vec![&all], vec![&all, &rooms]]);
        assert!(subscriptions.wants(EventKind::RoomClosed) && subscriptions.wants(EventKind::UserJoined));
        assert!(Subscriptions::none().is_empty() && !Subscriptions::none().wants(EventKind::RoomClosed));
        assert_eq!(Subscriptions::none().outgoing(&events).count(), 0);
    }

    #[test]
    fn names_of_sinks_are_plain() {
        for name in ["a", "room_events", "kafka_2", &"x".repeat(32)] {
            assert_eq!(SinkName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "A", "a-b", "a.b", "../a", "a b", "ä", &"x".repeat(33)] {
            assert_eq!(SinkName::new(name), None, "{name}");
        }
    }
}
