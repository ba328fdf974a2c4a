//! The facade of active users: events in, exact figures out.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::NaiveDate;
use futures_util::lock::Mutex as TurnMutex;

use crate::{
    ActiveUsers, ActivityPolicy, ActivityQuery, ActivityStore, Appended, Audit, ClientEvent, Clock,
    DailyActiveStats, DayMark, DayMarks, Error, Event, Figures, IdentityFold, Interval, NewEvent,
    OnlineHistory, OnlinePoint, OnlineSnapshot, Period, Rejection, SnapshotStore, StoreError, StoredDay,
    TimeWindow, Timestamp, Window,
};

/// How many sightings, events or snapshots are read at once.
const PAGE: usize = 10_000;
/// How many periods are remembered with their figures.
const PERIODS: usize = 64;
/// How often a day is folded anew where others save it meanwhile.
const ATTEMPTS: usize = 8;

/// Counts who was active: takes events, keeps the figures of each day, and the online count minute by minute.
///
/// Cheap to clone. Events are durable, with the durability of the store, when [`ingest`](Self::ingest) returns; the
/// figures of their days follow with the next [`refold`](Self::refold), which something must call. It needs no runtime:
/// it awaits nothing but the store.
///
/// ```
/// use std::sync::Arc;
/// use presence_core::{Activity, ClientEvent, EventName, InstallId, MemoryStore, Period, SystemClock, UserId};
///
/// # futures_executor::block_on(async {
/// let activity = Activity::new(Arc::new(MemoryStore::new()), SystemClock);
/// let start = EventName::new("app_session_start")?;
/// let phone = InstallId::new("phone-4711")?;
/// let anonymous = ClientEvent::new(start.clone(), phone.clone());
/// let logged_in = ClientEvent::new(start, phone).by(UserId::new("alice")?);
/// activity.ingest(vec![anonymous, logged_in]).await?;
/// activity.refold(8).await?;
/// let today = Period::day(activity.today())?;
/// assert_eq!(activity.stats(today).await?[0].active.count, 1); // one person
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Activity {
    shared: Arc<Parts>,
}

struct Parts {
    store: Arc<dyn ActivityStore>,
    query: Arc<dyn ActivityQuery>,
    snapshots: Arc<dyn SnapshotStore>,
    clock: Arc<dyn Clock>,
    policy: ActivityPolicy,
    /// Periods that were folded, with the marks they were folded at: the same marks give the same figures.
    periods: Mutex<VecDeque<(Period, DayMarks, ActiveUsers)>>,
    /// One long fold at a time.
    folding: TurnMutex<()>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Logged {
    /// Whether it was stored now; else it was stored before.
    pub is_new: bool,
    /// Whether it counts: it has the right name, and is not too late.
    pub is_counted: bool,
}

/// What a refold did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Refold {
    /// How many days got new figures.
    pub days: u64,
    /// Whether there may be more: the limit was reached.
    pub more: bool,
}

/// What was let go of because of its age.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retained {
    /// Events of the log.
    pub events: u64,
    /// Sightings.
    pub sightings: u64,
    /// Snapshots of the online count.
    pub snapshots: u64,
    /// Whether there may be more: the limit was reached.
    pub more: bool,
}

impl Activity {
    /// Active users on `store`, with the default [`ActivityPolicy`].
    pub fn new<S>(store: Arc<S>, clock: impl Clock + 'static) -> Self
    where
        S: ActivityQuery + ActivityStore + SnapshotStore + 'static,
    {
        Self::with_policy(store, clock, ActivityPolicy::default())
    }

    /// Active users on `store` under `policy`.
    pub fn with_policy<S>(store: Arc<S>, clock: impl Clock + 'static, policy: ActivityPolicy) -> Self
    where
        S: ActivityQuery + ActivityStore + SnapshotStore + 'static,
    {
        Self {
            shared: Arc::new(Parts {
                query: store.clone(),
                snapshots: store.clone(),
                store,
                clock: Arc::new(clock),
                policy,
                periods: Mutex::default(),
                folding: TurnMutex::new(()),
            }),
        }
    }

    /// The policy it was made with.
    #[must_use]
    pub fn policy(&self) -> &ActivityPolicy {
        &self.shared.policy
    }

    /// The local day of now.
    #[must_use]
    pub fn today(&self) -> NaiveDate {
        self.shared.policy.day_of(self.now())
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Stores events, durably and in one write; one verdict per event, in order. What is refused does not hinder the
    /// others.
    ///
    /// # Errors
    ///
    /// The store failed: nothing was stored, or where it [`is_retryable`](StoreError::is_retryable), it is unknown;
    /// repeating is safe.
    pub async fn ingest(
        &self,
        events: Vec<ClientEvent>,
    ) -> Result<Vec<Result<Logged, Rejection>>, StoreError> {
        let (accepted, mut verdicts) = self.judge(events);
        let stored = self.store(accepted).await?;
        for (verdict, stored) in verdicts.iter_mut().filter(|verdict| verdict.is_ok()).zip(stored) {
            *verdict = stored;
        }
        Ok(verdicts)
    }

    /// Judges events as they arrive, without storing them: what is to be [stored](Self::store), and a verdict on each, in
    /// order, as if it was. For those who keep events elsewhere first.
    #[must_use]
    pub fn judge(&self, events: Vec<ClientEvent>) -> (Vec<NewEvent>, Vec<Result<Logged, Rejection>>) {
        let (now, policy) = (self.now(), &self.shared.policy);
        let mut accepted = Vec::with_capacity(events.len());
        let judge = |event: ClientEvent| {
            let event = event.judged(now, policy)?;
            let is_counted = event.sighting.is_some();
            accepted.push(event);
            Ok(Logged { is_new: true, is_counted })
        };
        let verdicts = events.into_iter().map(judge).collect();
        (accepted, verdicts)
    }

    /// Stores events that were [judged](Self::judge) when they arrived, durably and in one write; one verdict per event, in
    /// order.
    ///
    /// # Errors
    ///
    /// As of [`ingest`](Self::ingest).
    pub async fn store(&self, events: Vec<NewEvent>) -> Result<Vec<Result<Logged, Rejection>>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let counted: Vec<bool> = events.iter().map(|event| event.sighting.is_some()).collect();
        let appended = self.shared.store.append(events).await?;
        let verdicts = counted.into_iter().zip(appended).map(|(is_counted, appended)| match appended {
            Appended::Stored => Ok(Logged { is_new: true, is_counted }),
            Appended::Repeated => Ok(Logged { is_new: false, is_counted }),
            Appended::Reused => Err(Rejection::EventIdReused),
            Appended::Erased => Err(Rejection::UserErased),
        });
        Ok(verdicts.collect())
    }

    /// Counts at most `limit` days anew on which something came that is not counted yet, the newest first; a day whose
    /// figures are younger than [`refold_after`](ActivityPolicy::refold_after) waits. Any number of refolds may run at
    /// once, anywhere; where another one was faster, a day is left to the next call. Today and the days of the late
    /// window come first each time, so a limit above their number lets older days through.
    ///
    /// # Errors
    ///
    /// The store failed; some of the days may have their new figures. Refolding again is safe.
    pub async fn refold(&self, limit: usize) -> Result<Refold, StoreError> {
        let stale = self.shared.store.stale(limit).await?;
        let mut refold = Refold { days: 0, more: stale.len() >= limit };
        for mark in stale {
            let is_saved = self.is_due(&mark).await? && self.fold_day(mark).await?;
            refold.days = refold.days.saturating_add(is_saved.into());
        }
        Ok(refold)
    }

    /// How many days have something that is not counted yet; those beyond `limit` are not looked at.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn stale_days(&self, limit: usize) -> Result<usize, StoreError> {
        Ok(self.shared.store.stale(limit).await?.len())
    }

    /// Gives figures to those of the last `days` days before today on which nobody came, so that a series has no holes,
    /// and says to how many. Days before the first one that has figures there are left alone: nothing is made up of the
    /// time before there was anybody to count.
    ///
    /// # Errors
    ///
    /// The store failed; some of the days may have their figures. Catching up again is safe.
    pub async fn catch_up(&self, days: u16) -> Result<u64, StoreError> {
        let yesterday = self.today().pred_opt();
        let Some(Ok(period)) = yesterday.map(|yesterday| Period::trailing(days, yesterday)) else {
            return Ok(0);
        };
        let known = self.shared.store.day_marks(period).await?;
        let mark_of = |day: NaiveDate| known.days.iter().find(|mark| mark.day == day);
        let since_first = period.days().skip_while(|day| mark_of(*day).is_none_or(|mark| mark.version == 0));
        // What is stale is counted by a refold, and what a zone skipped was no day.
        let is_hole =
            |day: &NaiveDate| mark_of(*day).is_none() && !self.policy().zone.day(*day).spans().is_empty();
        let mut filled = 0_u64;
        for day in since_first.filter(is_hole) {
            filled = filled.saturating_add(self.fold_day(DayMark::new(day)).await?.into());
        }
        Ok(filled)
    }

    /// Counts a day anew, whether or not something came, and gives its figures. They replace what was there and add one
    /// to the version.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidDay`] outside the years 1 to 9999, [`Rejection::EventsRetired`] where the day's events are no
    /// longer kept, or the store failed.
    pub async fn recalculate(&self, day: NaiveDate) -> Result<DailyActiveStats, Error> {
        let period = Period::day(day)?;
        for _ in 0..ATTEMPTS {
            let marks = self.kept_marks(period).await?;
            let mark = marks.days.first().copied().unwrap_or_else(|| DayMark::new(day));
            // Somebody else may have saved the day meanwhile: then it is counted on top of that.
            if self.fold_day(mark).await?
                && let Some(stats) = self.stats(period).await?.into_iter().next()
            {
                return Ok(stats);
            }
        }
        Err(StoreError::unavailable("others keep calculating this day").into())
    }

    /// The figures of the days of a period, in order; days that were never counted are left out. The cost does not grow
    /// with the people behind them.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn stats(&self, period: Period) -> Result<Vec<DailyActiveStats>, StoreError> {
        let (now, policy) = (self.now(), &self.shared.policy);
        let days = self.shared.query.days(period).await?;
        let stats = days.into_iter().map(|StoredDay { mark, active, calculated_at }| DailyActiveStats {
            day: mark.day,
            active,
            calculated_at,
            version: mark.version,
            is_final: !mark.is_stale() && policy.is_over(&policy.zone.day(mark.day), now),
        });
        Ok(stats.collect())
    }

    /// How many people were active in a period: each once, however many days they came. Everything that is stored
    /// counts. The sightings of the period are read once; after that only where something came.
    ///
    /// # Errors
    ///
    /// [`Rejection::EventsRetired`] where the period reaches back to days whose events are no longer kept, or the store
    /// failed.
    pub async fn active_users(&self, period: Period) -> Result<ActiveUsers, Error> {
        // What is known waits for nobody's fold.
        if let Some(known) = self.remembered(period, &self.news(period).await?) {
            return Ok(known);
        }
        let _turn = self.shared.folding.lock().await;
        let marks = self.news(period).await?;
        if let Some(known) = self.remembered(period, &marks) {
            return Ok(known);
        }
        let active = self.fold(period).await?;
        self.remember(period, marks, active.clone());
        Ok(active)
    }

    /// Counts a day from the event log, and sets it beside what is stored: both are the same, unless the policy was
    /// changed since, or somebody else wrote to the store.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidDay`] outside the years 1 to 9999, [`Rejection::EventsRetired`] where the day's events are no
    /// longer kept, or the store failed.
    pub async fn audit(&self, day: NaiveDate) -> Result<Audit, Error> {
        let Parts { query, policy, .. } = &*self.shared;
        let period = Period::day(day)?;
        let marks = self.kept_marks(period).await?;
        let stored = self.stats(period).await?.into_iter().next();
        let mut fold = IdentityFold::new();
        for span in policy.zone.day(day).spans() {
            let mut after = None;
            loop {
                let events = query.events(*span, after, PAGE).await?;
                let counted =
                    events.iter().filter(|event| policy.counts(&event.name, event.at, event.created_at));
                counted.for_each(|event| event.seen_by(&mut fold));
                let Some(last) = events.last().filter(|_| events.len() >= PAGE) else { break };
                after = Some((last.at, last.id));
            }
        }
        Ok(Audit { folded: fold.finish(), stored, is_stale: marks.days.iter().any(DayMark::is_stale) })
    }

    /// Keeps the online count of this minute, unless it is kept already; says whether it was. Any number of nodes may
    /// do so: the first one counts.
    ///
    /// # Errors
    ///
    /// The store failed: it was not kept, or where it [`is_retryable`](StoreError::is_retryable), it is unknown.
    pub async fn snapshot(&self, online_count: u64, window: TimeWindow) -> Result<bool, StoreError> {
        self.snapshot_at(self.now(), online_count, window).await
    }

    /// The same for the minute of another instant: for replaying what happened earlier.
    ///
    /// # Errors
    ///
    /// As of [`snapshot`](Self::snapshot).
    pub async fn snapshot_at(
        &self,
        at: Timestamp,
        online_count: u64,
        window: TimeWindow,
    ) -> Result<bool, StoreError> {
        let at = OnlineSnapshot::minute(at);
        self.shared.snapshots.keep_snapshot(OnlineSnapshot { at, online_count, window }).await
    }

    /// The online count over a window, in points of an interval. Minutes without a snapshot are not made up, and a point
    /// without any is absent.
    ///
    /// # Errors
    ///
    /// [`Rejection::TooManyPoints`] above 10,000 points, or the store failed.
    pub async fn online_history(
        &self,
        window: Window,
        interval: Interval,
    ) -> Result<Vec<OnlinePoint>, Error> {
        let mut history = OnlineHistory::new(window, interval)?;
        let mut left = window;
        loop {
            let page = self.shared.snapshots.snapshots(left, PAGE).await?;
            page.iter().for_each(|snapshot| history.add(snapshot));
            let Some(last) = page.last().filter(|_| page.len() >= PAGE) else { break };
            let next = last.at.saturating_add(Duration::from_millis(1));
            left = Window::new(next.min(left.to()), left.to())?;
        }
        Ok(history.finish())
    }

    /// Lets go of at most `limit` events, sightings and snapshots that the policy no longer keeps. Those of their days
    /// that still have something to count are counted first; figures stay.
    ///
    /// # Errors
    ///
    /// The store failed; some may be gone.
    pub async fn retain(&self, limit: usize) -> Result<Retained, StoreError> {
        let Parts { store, snapshots, policy, .. } = &*self.shared;
        let now = self.now();
        let mut retained = Retained::default();
        if let Some(horizon) = policy.horizon(now) {
            if self.settle(horizon.day, limit).await? {
                return Ok(Retained { more: true, ..retained });
            }
            let retired = store.retire(horizon, limit).await?;
            (retained.events, retained.sightings) = (retired.events, retired.sightings);
        }
        let gone = usize::try_from(retained.events.saturating_add(retained.sightings)).unwrap_or(usize::MAX);
        let left = limit.saturating_sub(gone);
        if let Some(age) = policy.keep_snapshots {
            retained.snapshots = snapshots.discard_snapshots(now.saturating_sub(age), left).await?;
        }
        retained.more =
            gone.saturating_add(usize::try_from(retained.snapshots).unwrap_or(usize::MAX)) >= limit;
        Ok(retained)
    }

    /// Counts at most `limit` days before `day` that have something to count, and says whether there may be more.
    async fn settle(&self, day: NaiveDate, limit: usize) -> Result<bool, StoreError> {
        let stale = self.shared.store.stale(PAGE).await?;
        // Newest first: where not all are seen, those before `day` are behind the others.
        let is_cut = stale.len() >= PAGE;
        let due: Vec<_> = stale.into_iter().filter(|mark| is_cut || mark.day < day).take(limit).collect();
        let more = is_cut || due.len() >= limit;
        for mark in due {
            self.fold_day(mark).await?;
        }
        Ok(more)
    }

    /// Whether the figures of a day are old enough to be counted anew, or there are none.
    async fn is_due(&self, mark: &DayMark) -> Result<bool, StoreError> {
        let Parts { query, policy, .. } = &*self.shared;
        if policy.refold_after.is_zero() || mark.version == 0 {
            return Ok(true);
        }
        let Ok(period) = Period::day(mark.day) else { return Ok(false) };
        let now = self.now();
        // A clock that was set back does not make a day wait for it.
        let is_young =
            |day: &StoredDay| day.calculated_at <= now && now.since(day.calculated_at) < policy.refold_after;
        Ok(!query.days(period).await?.iter().any(is_young))
    }

    /// The marks of a period, as far as they say what came: how often figures were saved is no matter.
    async fn news(&self, period: Period) -> Result<DayMarks, Error> {
        let marks = self.kept_marks(period).await?;
        let days = marks.days.iter().map(|mark| DayMark { changes: mark.changes, ..DayMark::new(mark.day) });
        Ok(DayMarks { kept_from: None, days: days.collect() })
    }

    /// The marks of a period whose events are all there.
    async fn kept_marks(&self, period: Period) -> Result<DayMarks, Error> {
        let marks = self.shared.store.day_marks(period).await?;
        match marks.kept_from {
            Some(kept_from) if period.first() < kept_from => Err(Rejection::EventsRetired.into()),
            _ => Ok(marks),
        }
    }

    /// Folds a day, and saves its figures unless somebody else did meanwhile. What comes while it is folded may be in
    /// them or not: the mark is older, so the day stays stale.
    async fn fold_day(&self, mark: DayMark) -> Result<bool, StoreError> {
        // Days that a store has are days of an instant.
        let Ok(period) = Period::day(mark.day) else { return Ok(false) };
        let active = self.fold(period).await?;
        let (at, version) = (self.now(), mark.version.saturating_add(1));
        let told = Event::DauCalculated { day: mark.day, version, active: active.clone(), at };
        self.shared.store.save(Figures { mark, active, calculated_at: at, events: vec![told] }).await
    }

    async fn fold(&self, period: Period) -> Result<ActiveUsers, StoreError> {
        let (mut fold, mut after) = (IdentityFold::new(), None);
        loop {
            (fold, after) = self.shared.store.fold(period, after, PAGE, fold).await?;
            if after.is_none() {
                return Ok(fold.finish());
            }
        }
    }

    fn remembered(&self, period: Period, marks: &DayMarks) -> Option<ActiveUsers> {
        let periods = self.shared.periods.lock().unwrap_or_else(PoisonError::into_inner);
        let known = periods.iter().find(|(known, at, _)| *known == period && at == marks);
        known.map(|(.., active)| active.clone())
    }

    fn remember(&self, period: Period, marks: DayMarks, active: ActiveUsers) {
        let mut periods = self.shared.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.retain(|(known, ..)| *known != period);
        periods.push_back((period, marks, active));
        if periods.len() > PERIODS {
            periods.pop_front();
        }
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}
