//! Events, sightings and figures in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    ops::Bound,
    sync::{MutexGuard, PoisonError},
};

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::{
    ActiveUsers, ActivityQuery, ActivityStore, Appended, DayMark, DayMarks, EventId, EventKind, EventLog,
    Figures, Fingerprint, Horizon, IdentityFold, InstallId, Member, MemoryStore, NewEvent, OnlineSnapshot,
    Period, Record, Retired, Sighting, SightingPlace, SnapshotStore, StoreError, StoredDay, Timestamp,
    UserId, Window,
};

/// Where an event stands in the log: by instant, then by number.
type EventKey = (Timestamp, i64);

/// All that is kept of activity. Its lock is taken before that of the timelines.
#[derive(Debug, Default)]
pub(super) struct ActivityLog {
    events: BTreeMap<EventKey, EventLog>,
    ids: HashMap<Member, BTreeMap<EventId, (Fingerprint, EventKey)>>,
    sightings: BTreeMap<NaiveDate, BTreeMap<(InstallId, Option<UserId>), Sighting>>,
    /// Where the sightings of each user are.
    of_users: HashMap<UserId, BTreeSet<(NaiveDate, InstallId)>>,
    days: BTreeMap<NaiveDate, (DayMark, Option<(ActiveUsers, Timestamp)>)>,
    kept_from: Option<NaiveDate>,
    snapshots: BTreeMap<Timestamp, OnlineSnapshot>,
    last_id: i64,
}

impl MemoryStore {
    pub(super) fn activity(&self) -> MutexGuard<'_, ActivityLog> {
        // Nothing below panics between two writes that belong together.
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose events share an id space.
fn person(user: Option<&UserId>, install: &InstallId) -> Member {
    user.map_or_else(|| Member::Install(install.clone()), |user| Member::User(user.clone()))
}

impl ActivityLog {
    fn append(&mut self, event: NewEvent) -> Appended {
        let known = self.ids.entry(person(event.user.as_ref(), &event.install)).or_default();
        if let Some((fingerprint, _)) = known.get(&event.event_id) {
            return if *fingerprint == event.fingerprint { Appended::Repeated } else { Appended::Reused };
        }
        self.last_id = self.last_id.saturating_add(1);
        let (id, at) = (self.last_id, event.at);
        known.insert(event.event_id.clone(), (event.fingerprint, (at, id)));
        let NewEvent { event_id, user, install, name, created_at, properties, sighting, .. } = event;
        self.events
            .insert((at, id), EventLog { id, event_id, user, install, name, at, created_at, properties });
        if let Some(sighting) = sighting.filter(|sighting| self.is_kept(sighting.day)) {
            self.sight(sighting);
        }
        Appended::Stored
    }

    fn sight(&mut self, sighting: Sighting) {
        let day = sighting.day;
        let key = (sighting.install.clone(), sighting.user.clone());
        let is_news = match self.sightings.entry(day).or_default().entry(key) {
            Entry::Occupied(mut known) => known.get_mut().merge(sighting),
            Entry::Vacant(place) => {
                if let Some(user) = &sighting.user {
                    let days = self.of_users.entry(user.clone()).or_default();
                    days.insert((day, sighting.install.clone()));
                }
                place.insert(sighting);
                true
            }
        };
        if is_news {
            self.changed(day);
        }
    }

    fn changed(&mut self, day: NaiveDate) {
        let (mark, _) = self.days.entry(day).or_insert_with(|| (DayMark::new(day), None));
        mark.changes = mark.changes.saturating_add(1);
    }

    fn is_kept(&self, day: NaiveDate) -> bool {
        self.kept_from.is_none_or(|kept_from| kept_from <= day)
    }

    fn save(&mut self, Figures { mark, active, calculated_at, .. }: Figures) -> bool {
        let day = mark.day;
        let version = self.days.get(&day).map_or(0, |(known, _)| known.version);
        if version != mark.version || !self.is_kept(day) {
            return false;
        }
        let (known, figures) = self.days.entry(day).or_insert_with(|| (DayMark::new(day), None));
        known.version = version.saturating_add(1);
        known.folded = known.folded.max(mark.changes);
        *figures = Some((active, calculated_at));
        true
    }

    fn retire(&mut self, before: Horizon, limit: usize) -> Retired {
        let kept_from = self.kept_from.max(Some(before.day));
        self.kept_from = kept_from;
        for (mark, _) in self.days.range_mut(..before.day).map(|(_, day)| day) {
            mark.folded = mark.changes;
        }
        let mut retired = Retired::default();
        for _ in 0..limit {
            if let Some(sighting) = self.first_sighting(before.day) {
                self.forget_sighting(&sighting);
                retired.sightings = retired.sightings.saturating_add(1);
            } else if let Some(first) = self.events.first_entry().filter(|first| first.key().0 < before.at) {
                let event = first.remove();
                self.forget_id(&event);
                retired.events = retired.events.saturating_add(1);
            } else {
                break;
            }
        }
        retired
    }

    fn first_sighting(&self, before: NaiveDate) -> Option<Sighting> {
        let mut days = self.sightings.range(..before).map(|(_, day)| day);
        days.find_map(|day| day.first_key_value().map(|(_, sighting)| sighting.clone()))
    }

    fn forget_sighting(&mut self, Sighting { day, install, user, .. }: &Sighting) {
        if let Entry::Occupied(mut sightings) = self.sightings.entry(*day) {
            sightings.get_mut().remove(&(install.clone(), user.clone()));
            if sightings.get().is_empty() {
                sightings.remove();
            }
        }
        if let Some(user) = user
            && let Some(days) = self.of_users.get_mut(user)
        {
            days.remove(&(*day, install.clone()));
            if days.is_empty() {
                self.of_users.remove(user);
            }
        }
    }

    fn forget_id(&mut self, event: &EventLog) {
        let person = person(event.user.as_ref(), &event.install);
        if let Some(ids) = self.ids.get_mut(&person) {
            ids.remove(&event.event_id);
            if ids.is_empty() {
                self.ids.remove(&person);
            }
        }
    }

    /// Removes what is known of a user, and says how many events that were.
    pub(super) fn erase(&mut self, user: &UserId) -> u64 {
        let ids = self.ids.remove(&Member::User(user.clone())).unwrap_or_default();
        for (_, key) in ids.values() {
            self.events.remove(key);
        }
        let sightings: Vec<_> = self.sightings_of(user).cloned().collect();
        for sighting in sightings {
            self.forget_sighting(&sighting);
            if self.is_kept(sighting.day) {
                self.changed(sighting.day);
            }
        }
        ids.len() as u64
    }

    /// What an export tells of a user.
    pub(super) fn records(&self, user: &UserId) -> impl Iterator<Item = Record> {
        let ids = self.ids.get(&Member::User(user.clone())).into_iter().flat_map(BTreeMap::values);
        let events = ids.filter_map(|(_, key)| self.events.get(key));
        self.sightings_of(user).cloned().map(Record::Sighting).chain(events.cloned().map(Record::Event))
    }

    fn sightings_of(&self, user: &UserId) -> impl Iterator<Item = &Sighting> {
        let places = self.of_users.get(user).into_iter().flatten();
        let user = Some(user.clone());
        places
            .filter_map(move |(day, install)| self.sightings.get(day)?.get(&(install.clone(), user.clone())))
    }
}

#[async_trait]
impl ActivityStore for MemoryStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        let mut log = self.activity();
        let is_told = self.outbox().wants(EventKind::EventLogged);
        let append = |event: NewEvent| {
            let erased_at = event.user.as_ref().and_then(|user| self.erased_at(user));
            if erased_at.is_some_and(|erased_at| event.at <= erased_at) {
                return Appended::Erased;
            }
            let told = is_told.then(|| (event.told(), event.created_at));
            let appended = log.append(event);
            if let Some((told, at)) = told.filter(|_| appended == Appended::Stored) {
                self.outbox().keep(&[told], at);
            }
            appended
        };
        Ok(events.into_iter().map(append).collect())
    }

    async fn stale(&self, limit: usize) -> Result<Vec<DayMark>, StoreError> {
        let log = self.activity();
        let marks = log.days.values().rev().map(|(mark, _)| *mark);
        Ok(marks.filter(DayMark::is_stale).take(limit).collect())
    }

    async fn day_marks(&self, period: Period) -> Result<DayMarks, StoreError> {
        let log = self.activity();
        let days = log.days.range(period.first()..=period.last()).map(|(_, (mark, _))| *mark).collect();
        Ok(DayMarks { kept_from: log.kept_from, days })
    }

    async fn fold(
        &self,
        period: Period,
        after: Option<SightingPlace>,
        limit: usize,
        mut fold: IdentityFold,
    ) -> Result<(IdentityFold, Option<SightingPlace>), StoreError> {
        let log = self.activity();
        let first = after.as_ref().map_or(period.first(), |after| after.day.max(period.first()));
        let mut after = after.map(|after| (after.day, (after.install, after.user)));
        let inside = log.sightings.range(first..).take_while(|(day, _)| **day <= period.last());
        let inside = inside.flat_map(|(day, sightings)| {
            // Only the first day is entered in its middle.
            let from = after.take().filter(|after| after.0 == *day);
            let from = from.map_or(Bound::Unbounded, |after| Bound::Excluded(after.1));
            sightings.range((from, Bound::Unbounded)).map(|(_, sighting)| sighting)
        });
        let (mut last, mut page) = (None, Vec::new());
        for sighting in inside.take(limit) {
            page.push(sighting.as_ref());
            last = Some(sighting);
        }
        fold.see_all(&page);
        let next = last.filter(|_| page.len() == limit).map(Sighting::place);
        Ok((fold, next))
    }

    async fn save(&self, figures: Figures) -> Result<bool, StoreError> {
        let mut log = self.activity();
        let (events, at) = (figures.events.clone(), figures.calculated_at);
        let is_saved = log.save(figures);
        if is_saved {
            self.outbox().keep(&events, at);
        }
        Ok(is_saved)
    }

    async fn retire(&self, before: Horizon, limit: usize) -> Result<Retired, StoreError> {
        Ok(self.activity().retire(before, limit))
    }
}

#[async_trait]
impl ActivityQuery for MemoryStore {
    async fn days(&self, period: Period) -> Result<Vec<StoredDay>, StoreError> {
        let log = self.activity();
        let days = log.days.range(period.first()..=period.last()).filter_map(|(_, (mark, figures))| {
            let (active, calculated_at) = figures.clone()?;
            Some(StoredDay { mark: *mark, active, calculated_at })
        });
        Ok(days.collect())
    }

    async fn events(
        &self,
        window: Window,
        after: Option<(Timestamp, i64)>,
        limit: usize,
    ) -> Result<Vec<EventLog>, StoreError> {
        let log = self.activity();
        // Ids are positive.
        let from = (window.from(), 0);
        let from = after.map_or(from, |after| after.max(from));
        let events = log.events.range((Bound::Excluded(from), Bound::Unbounded));
        let inside = events.take_while(|((at, _), _)| *at < window.to());
        Ok(inside.take(limit).map(|(_, event)| event.clone()).collect())
    }
}

#[async_trait]
impl SnapshotStore for MemoryStore {
    async fn keep_snapshot(&self, snapshot: OnlineSnapshot) -> Result<bool, StoreError> {
        let mut log = self.activity();
        let Entry::Vacant(minute) = log.snapshots.entry(snapshot.at) else { return Ok(false) };
        minute.insert(snapshot);
        Ok(true)
    }

    async fn snapshots(&self, window: Window, limit: usize) -> Result<Vec<OnlineSnapshot>, StoreError> {
        let log = self.activity();
        let inside = log.snapshots.range(window.from()..window.to());
        Ok(inside.take(limit).map(|(_, snapshot)| *snapshot).collect())
    }

    async fn discard_snapshots(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let mut log = self.activity();
        let mut discarded = 0_u64;
        for _ in 0..limit {
            let Some(first) = log.snapshots.first_entry().filter(|first| *first.key() < before) else {
                break;
            };
            first.remove();
            discarded = discarded.saturating_add(1);
        }
        Ok(discarded)
    }
}
