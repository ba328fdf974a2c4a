//! What clients report: each event judged by itself, and stored once.

use serde::{Deserialize, Serialize};

use crate::{
    ActivityPolicy, Event, EventId, EventName, EventProperties, EventRank, Fingerprint, IdentityFold,
    InstallId, Region, RegionRef, Rejection, Sighting, SightingRef, Timestamp, UserId,
};

/// An event as a client sends it, already parsed.
///
/// ```
/// use presence_core::{ClientEvent, EventName, EventProperties, InstallId, UserId};
///
/// let event = ClientEvent::new(EventName::new("app_session_start")?, InstallId::new("phone-4711")?)
///     .by(UserId::new("alice")?)
///     .with_properties(EventProperties::parse(r#"{"province":"Hunan"}"#)?);
/// # let _ = event;
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientEvent {
    name: EventName,
    install: InstallId,
    user: Option<UserId>,
    at: Option<Timestamp>,
    event_id: Option<EventId>,
    properties: Option<EventProperties>,
}

impl ClientEvent {
    /// An event on an install whose user is not known, now.
    #[must_use]
    pub const fn new(name: EventName, install: InstallId) -> Self {
        Self { name, install, user: None, at: None, event_id: None, properties: None }
    }

    /// Who did it.
    #[must_use]
    pub fn by(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// When it happened; without it, when it arrives. A stamp up to [`max_future`](ActivityPolicy::max_future) ahead is
    /// taken as now, beyond that it is refused.
    #[must_use]
    pub const fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// The client's name for this event, unique for each user, and for each install while it has none: repeating it
    /// changes nothing. An event without one is named by its content, stamp included: what is equal in all of it is
    /// one event.
    #[must_use]
    pub fn with_event_id(mut self, event_id: EventId) -> Self {
        self.event_id = Some(event_id);
        self
    }

    /// What else there is to say; [`province` and `city`](EventProperties::regions) are counted by.
    #[must_use]
    pub fn with_properties(mut self, properties: EventProperties) -> Self {
        self.properties = Some(properties);
        self
    }

    /// Settles what is stored of it when it arrives at `now`, and which fact it makes.
    ///
    /// # Errors
    ///
    /// [`Rejection::FutureTimestamp`] where the stamp lies too far ahead.
    pub fn judged(self, now: Timestamp, policy: &ActivityPolicy) -> Result<NewEvent, Rejection> {
        if self.at.is_some_and(|at| at > now.saturating_add(policy.max_future)) {
            return Err(Rejection::FutureTimestamp);
        }
        // An event that neither has a name nor says when it happened is another one each time.
        let told = self.at.or_else(|| self.event_id.is_none().then_some(now));
        let fingerprint = self.fingerprint(told);
        let Self { name, install, user, at, event_id, properties } = self;
        let at = at.map_or(now, |at| at.min(now));
        let event_id = match event_id {
            Some(event_id) => event_id,
            None => EventId::new(format!("{fingerprint:?}"))?,
        };
        let sighting = policy.counts(&name, at, now).then(|| {
            let (province, city) = properties.as_ref().map(EventProperties::regions).unwrap_or_default();
            let rank = EventRank::of(&event_id);
            let region = |name| Region { at, rank, name };
            Sighting {
                day: policy.day_of(at),
                install: install.clone(),
                user: user.clone(),
                province: province.map(region),
                city: city.map(region),
            }
        });
        Ok(NewEvent { event_id, fingerprint, user, install, name, at, created_at: now, properties, sighting })
    }

    /// A digest of what the client said, so that a repetition is known by it.
    fn fingerprint(&self, at: Option<Timestamp>) -> Fingerprint {
        let at = at.map(|at| at.as_millis().to_be_bytes());
        Fingerprint::of(&[
            self.install.as_str().as_bytes(),
            self.user.as_ref().map_or(&[], |user| user.as_str().as_bytes()),
            self.name.as_str().as_bytes(),
            at.as_ref().map_or(&[], |at| at),
            self.properties.as_ref().map_or(&[], |properties| properties.as_str().as_bytes()),
        ])
    }
}

/// An event that is to be stored, with the fact that it makes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewEvent {
    /// Its name for its person: the user, or the install where there is none.
    pub event_id: EventId,
    /// What its body was; another body under the same id is refused.
    pub fingerprint: Fingerprint,
    /// Who did it, where that is known.
    pub user: Option<UserId>,
    /// On which install.
    pub install: InstallId,
    /// What happened.
    pub name: EventName,
    /// When it happened.
    pub at: Timestamp,
    /// When it arrived.
    pub created_at: Timestamp,
    /// What else it said.
    pub properties: Option<EventProperties>,
    /// Who was active, where the event counts.
    pub sighting: Option<Sighting>,
}

impl NewEvent {
    /// What others are told when it is stored.
    #[must_use]
    pub fn told(&self) -> Event {
        let Self { event_id, user, install, name, at, created_at, properties, .. } = self.clone();
        Event::EventLogged { event_id, user, install, name, at, created_at, properties }
    }
}

/// What became of a [`NewEvent`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Appended {
    /// It is stored, and its sighting is merged.
    Stored,
    /// It was stored before; nothing was written.
    Repeated,
    /// Its id is that of an event with another body; nothing was written.
    Reused,
    /// Its user was erased at or after its stamp; nothing was written.
    Erased,
}

/// A stored event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EventLog {
    /// Its number in the store.
    pub id: i64,
    /// Its name for its person.
    pub event_id: EventId,
    /// Who did it, where that is known.
    pub user: Option<UserId>,
    /// On which install.
    pub install: InstallId,
    /// What happened.
    pub name: EventName,
    /// When it happened.
    pub at: Timestamp,
    /// When it arrived.
    pub created_at: Timestamp,
    /// What else it said.
    pub properties: Option<EventProperties>,
}

impl EventLog {
    /// Shows the fold this event by itself.
    pub(crate) fn seen_by(&self, fold: &mut IdentityFold) {
        let (province, city) = self.properties.as_ref().map(EventProperties::regions).unwrap_or_default();
        let (at, rank) = (self.at, EventRank::of(&self.event_id));
        let [province, city] = [&province, &city]
            .map(|name| name.as_ref().map(|name| RegionRef { at, rank, name: name.as_str() }));
        fold.see(&SightingRef {
            install: self.install.as_str(),
            user: self.user.as_ref().map(UserId::as_str),
            province,
            city,
        });
    }
}
