//! Days: summed up in the background, and asked for.

use chrono::NaiveDate;

use crate::{
    Beats, DaySummary, Error, Facts, Fold, Mark, Session, StoreError, SummaryCache, Tracker, UserId, Window,
    Zone, tracking::fold::Plan,
};

/// The most days of one write.
const CHUNK: usize = 1_000;

/// What a step of [`Tracker::summarise`] did.
#[derive(Clone, Debug, Default)]
pub struct Summarised {
    /// How many days were summed up and kept.
    pub days: u64,
    /// Where the next step goes on; `None` after the last user.
    pub next: Option<UserId>,
    /// The error of a user whose stored data is corrupt; the others were summed up all the same.
    pub corrupt: Option<StoreError>,
}

impl Tracker {
    /// How the user spent each local day of `zone` from `first` to `last`, both included; days without time are left
    /// out, and so is every day of an unknown user.
    ///
    /// Days that [`summarise`](Self::summarise) has summed up cost a few rows each, others all of their rows.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidWindow`](crate::Rejection::InvalidWindow) where `last` lies before `first`,
    /// [`Rejection::TooManyDays`](crate::Rejection::TooManyDays) above 366 days, or the store failed.
    pub async fn summaries(
        &self,
        user: &UserId,
        first: NaiveDate,
        last: NaiveDate,
        zone: &Zone,
    ) -> Result<Vec<DaySummary>, Error> {
        self.summaries_of(user, (first, last), zone, |_| ()).await
    }

    /// Sums up days that are over, of the next `limit` users after `after`; the first step begins with `None`.
    ///
    /// Going from [`next`](Summarised::next) to `next` looks at every user once; a user who has no new day costs a few
    /// microseconds, and of one who has, at most 366 days are summed up. Any number may run at once, anywhere. Nothing is
    /// done without a cache: see [`cached_by`](Self::cached_by).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use presence_core::{Envelope, ManualClock, MemoryStore, Policy, StateType, Timestamp, Tracker, UserId, Zone};
    /// # futures_executor::block_on(async {
    /// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
    /// # let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
    /// let store = Arc::new(MemoryStore::new());
    /// let tracker = Tracker::with_policy(store.clone(), clock.clone(), policy).cached_by(store);
    /// # let alice = UserId::new("alice")?;
    /// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
    /// clock.set(Timestamp::from_secs(100_000)?); // the next day
    /// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Offline)).await?;
    /// assert_eq!(tracker.summarise(&Zone::utc(), None, 1_000).await?.days, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The store failed; summing up again is safe.
    pub async fn summarise(
        &self,
        zone: &Zone,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Summarised, StoreError> {
        let Some(cache) = &self.summaries else { return Ok(Summarised::default()) };
        let marks = cache.marks(after, limit).await?;
        let last = marks.last().filter(|_| marks.len() >= limit);
        let next = last.map(|(session, _)| session.user.clone());
        let mut step = Summarised { next, ..Summarised::default() };
        let (mut folds, mut days) = (Vec::new(), 0);
        for (session, mark) in &marks {
            if !Mark::is_due(mark.as_ref(), session, zone) {
                continue;
            }
            match self.fold(&session.user, mark.as_ref(), zone).await {
                Ok(fold) => {
                    days = fold.iter().map(|fold| fold.days.len()).fold(days, usize::saturating_add);
                    folds.extend(fold);
                }
                Err(error @ StoreError::Corrupt(_)) => step.corrupt = Some(error),
                Err(error) => return Err(error),
            }
            if days >= CHUNK {
                step.keep(&**cache, std::mem::take(&mut folds)).await?;
                days = 0;
            }
        }
        step.keep(&**cache, folds).await?;
        Ok(step)
    }

    /// The next days of one user, summed up; `None` where the user was erased meanwhile.
    async fn fold(
        &self,
        user: &UserId,
        mark: Option<&Mark>,
        zone: &Zone,
    ) -> Result<Option<Fold>, StoreError> {
        let start = Mark::start(mark, zone);
        let context = self.context(user, start).await?;
        let Some(plan) = Plan::new(context, start, zone) else { return Ok(None) };
        let facts = self.facts(user, &plan.windows).await?;
        Ok(facts.map(|facts| plan.fold(facts, self.now())))
    }

    /// The summaries, of a session as `raise` knows it.
    async fn summaries_of(
        &self,
        user: &UserId,
        (first, last): (NaiveDate, NaiveDate),
        zone: &Zone,
        raise: impl FnOnce(&mut Session) + Send,
    ) -> Result<Vec<DaySummary>, Error> {
        let days = zone.days(first, last)?;
        let (numbers, windows): (Vec<_>, Vec<_>) = DaySummary::windows(&days).into_iter().unzip();
        let Some(mut facts) = self.day_facts(user, &windows).await? else { return Ok(Vec::new()) };
        raise(&mut facts.session);
        let durations = facts.durations(&windows, self.now(), self.policy());
        Ok(DaySummary::of(days, numbers.into_iter().zip(durations)))
    }

    /// The facts of some windows, taken from the cache where it has them.
    async fn day_facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        let hull = windows.first().zip(windows.last());
        let hull = hull.and_then(|(first, last)| Window::new(first.from(), last.to()).ok());
        if let (Some(cache), Some(hull)) = (&self.summaries, hull)
            && let Some(kept) = cache.kept(user, hull).await?
            && !kept.days.is_empty()
        {
            let Some(facts) = self.facts(user, &kept.missing(windows)).await? else { return Ok(None) };
            // Two questions, one version: as if it were one. Where a commit came between, what was kept counts no more.
            if facts.session.version == kept.version {
                return Ok(Some(kept.complete(windows, facts)));
            }
        }
        self.facts(user, windows).await
    }
}

impl Summarised {
    async fn keep(&mut self, cache: &dyn SummaryCache, folds: Vec<Fold>) -> Result<(), StoreError> {
        if folds.is_empty() {
            return Ok(());
        }
        let days: Vec<_> = folds.iter().map(|fold| fold.days.len() as u64).collect();
        let kept = cache.keep(folds).await?;
        let days = days.into_iter().zip(kept).filter(|(_, is_kept)| *is_kept).map(|(days, _)| days);
        self.days = days.fold(self.days, u64::saturating_add);
        Ok(())
    }
}

impl Beats {
    /// How a user spent each local day, its pending beats included; see [`Tracker::summaries`].
    ///
    /// # Errors
    ///
    /// As [`Tracker::summaries`].
    pub async fn summaries(
        &self,
        user: &UserId,
        first: NaiveDate,
        last: NaiveDate,
        zone: &Zone,
    ) -> Result<Vec<DaySummary>, Error> {
        let raise = |session: &mut Session| self.raise(session);
        self.tracker.summaries_of(user, (first, last), zone, raise).await
    }
}
