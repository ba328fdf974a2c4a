//! The facade: reports in, exact states and durations out.

use std::{fmt, sync::Arc};

use crate::{
    Ask, Beat, Checkpoint, CheckpointId, CheckpointQuery, CheckpointStore, Clock, Context, Cursor, Envelope,
    Erasure, Error, Facts, Outcome, Page, Place, Policy, Record, Recorded, Rejection, Status, StoreError,
    SummaryCache, Timestamp, UserId, Window, expire, service::batcher::Batcher,
};

/// Tracks what users are doing, and for how long, on a store of your choice.
///
/// Cheap to clone; clones share the same batches. Every call that writes has been committed, with the durability of
/// the store, when it returns. It needs no runtime: it awaits nothing but the store.
///
/// ```
/// use std::sync::Arc;
/// use presence_core::{Envelope, MemoryStore, StateType, SystemClock, Tracker, UserId, Window};
///
/// # futures_executor::block_on(async {
/// let tracker = Tracker::new(Arc::new(MemoryStore::new()), SystemClock);
/// let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// tracker.record(Envelope::heartbeat(alice.clone())).await?;
/// tracker.sweep(1_000).await?; // time out whoever went silent
/// let status = tracker.status(&alice, Window::all()).await?.expect("alice was recorded");
/// assert_eq!(status.current_state, StateType::Working);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Tracker {
    shared: Arc<Parts>,
    pub(super) summaries: Option<Arc<dyn SummaryCache>>,
}

struct Parts {
    store: Arc<dyn CheckpointStore>,
    query: Arc<dyn CheckpointQuery>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    batcher: Batcher,
}

/// What a sweep did.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, StateType, Timestamp, Tracker, UserId};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// clock.set(Timestamp::from_secs(1061)?);
/// assert_eq!(tracker.sweep(1_000).await?.lapsed, 1);
/// assert_eq!(tracker.sweep(1_000).await?.lapsed, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sweep {
    /// How many users went Offline.
    pub lapsed: u64,
    /// Whether there may be more: the limit was reached.
    pub more: bool,
}

impl Tracker {
    /// A tracker on `store`, with the default [`Policy`].
    pub fn new<S>(store: Arc<S>, clock: impl Clock + 'static) -> Self
    where
        S: CheckpointQuery + CheckpointStore + 'static,
    {
        Self::with_policy(store, clock, Policy::default())
    }

    /// A tracker on `store` under `policy`.
    pub fn with_policy<S>(store: Arc<S>, clock: impl Clock + 'static, mut policy: Policy) -> Self
    where
        S: CheckpointQuery + CheckpointStore + 'static,
    {
        // A timeout below the resolution of time is none: silence would begin in the instant of the sign.
        policy.heartbeat_timeout = policy.heartbeat_timeout.filter(|timeout| timeout.as_millis() > 0);
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let (query, store): (Arc<dyn CheckpointQuery>, Arc<dyn CheckpointStore>) = (store.clone(), store);
        let batcher = Batcher::new(Arc::clone(&store), Arc::clone(&clock), policy.clone());
        Self { shared: Arc::new(Parts { store, query, clock, policy, batcher }), summaries: None }
    }

    /// Reads the days that are over from `cache`, which is a side of the tracker's own store, as far as
    /// [`summarise`](Self::summarise) has summed them up. Answers are the same without.
    #[must_use]
    pub fn cached_by(mut self, cache: Arc<dyn SummaryCache>) -> Self {
        self.summaries = Some(cache);
        self
    }

    /// The policy it was made with.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// The instant now, by the tracker's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// How many envelopes wait for their turn to be written; those of the commit that runs are not among them. At most
    /// some 160,000: beyond, callers are turned away with [`StoreError::Unavailable`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.batcher.waiting()
    }

    /// Records one envelope, durably.
    ///
    /// Callers that come together are written together, and drive the write together: a future that was polled must be
    /// polled on or dropped, or the others wait for it.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`]: nothing was written. [`Error::Store`]: nothing was written, or where it
    /// [`is_retryable`](StoreError::is_retryable), it is unknown; repeating a report under the same event id is safe,
    /// and so is repeating a heartbeat.
    pub async fn record(&self, envelope: Envelope) -> Result<Recorded, Error> {
        let stamped = envelope.stamped(self.now(), self.policy())?;
        let verdicts = self.shared.batcher.record(vec![stamped]).await?;
        let verdict = verdicts.into_iter().next();
        Ok(verdict.ok_or_else(|| StoreError::backend("an envelope without a verdict"))??)
    }

    /// Records many envelopes, durably and in one commit per user; one verdict per envelope, in order.
    ///
    /// What is refused does not hinder the others.
    ///
    /// # Errors
    ///
    /// The store failed: nothing was written, or where it [`is_retryable`](StoreError::is_retryable), it is unknown.
    pub async fn record_many(
        &self,
        envelopes: Vec<Envelope>,
    ) -> Result<Vec<Result<Recorded, Rejection>>, StoreError> {
        let now = self.now();
        let mut refused = Vec::new();
        let mut stamped = Vec::with_capacity(envelopes.len());
        for (place, envelope) in envelopes.into_iter().enumerate() {
            match envelope.stamped(now, self.policy()) {
                Ok(envelope) => stamped.push(envelope),
                Err(rejection) => refused.push((place, rejection)),
            }
        }
        let mut verdicts = self.shared.batcher.record(stamped).await?;
        // In rising order, so each lands where it was.
        refused.into_iter().for_each(|(place, rejection)| verdicts.insert(place, Err(rejection)));
        Ok(verdicts)
    }

    /// Concludes the silence of at most `limit` users, the longest silent first: each goes Offline, stamped one timeout
    /// after its last sign of life. Any number of sweeps may run at once, anywhere: a silence is concluded once.
    ///
    /// # Errors
    ///
    /// The store failed: nothing was written, or where it [`is_retryable`](StoreError::is_retryable), it is unknown;
    /// sweeping again is safe.
    pub async fn sweep(&self, limit: usize) -> Result<Sweep, StoreError> {
        self.sweep_at(self.now(), limit).await
    }

    /// Concludes the silences that had lasted too long at `now`.
    pub(crate) async fn sweep_at(&self, now: Timestamp, limit: usize) -> Result<Sweep, StoreError> {
        let Parts { store, policy, batcher, .. } = &*self.shared;
        let _turn = batcher.turn().await;
        let Some(cutoff) = policy.cutoff(now) else { return Ok(Sweep::default()) };
        let silent = store.overdue(cutoff, limit).await?;
        let more = silent.len() >= limit;
        let commits: Vec<_> = silent.iter().filter_map(|session| expire(session, policy, now)).collect();
        if commits.is_empty() {
            return Ok(Sweep::default());
        }
        let outcomes = store.commit(commits).await?;
        let committed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed { .. }));
        Ok(Sweep { lapsed: committed.count() as u64, more })
    }

    /// What a user is doing, since when, and how the time of `window` was spent; `None` for an unknown user.
    ///
    /// A silence that has lasted too long counts as Offline, whether or not a sweep has been by. Over
    /// [`Window::all`] the cost does not grow with the history; over any other window it grows with the rows in it.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn status(&self, user: &UserId, window: Window) -> Result<Option<Status>, StoreError> {
        let facts = self.facts(user, &[window]).await?;
        Ok(facts.map(|facts| facts.status(window, self.now(), self.policy())))
    }

    /// One row of a user's timeline; `None` where there is none of this id, or it is another user's.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn checkpoint(
        &self,
        user: &UserId,
        id: CheckpointId,
    ) -> Result<Option<Checkpoint>, StoreError> {
        self.shared.query.checkpoint(user, id).await
    }

    /// The rows of a user's timeline inside `window`, newest first, `limit` to a page.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidLimit`] where `limit` is 0 or above 1000, or the store failed.
    pub async fn history(
        &self,
        user: &UserId,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Checkpoint, Cursor>, Error> {
        let ask = Page::<Checkpoint, Cursor>::ask(limit)?;
        let before = after.map(|after| (after.at, after.id));
        let items = self.shared.query.history(user, window, before, ask).await?;
        Ok(Page::cut(items, limit, |row| Cursor { at: row.at, id: row.id }))
    }

    /// Everything that is stored about a user, `limit` records to a page, without what only follows from it: days that
    /// were summed up. A page is one snapshot, an export of several pages is not.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidLimit`] where `limit` is 0 or above 1000, or the store failed.
    pub async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Page<Record, Place>, Error> {
        let ask = Page::<Record, Place>::ask(limit)?;
        let items = self.shared.query.export(user, after, ask).await?;
        Ok(Page::cut(items, limit, Record::place))
    }

    /// Removes everything about a user. Reports stamped up to now are refused from here on; later ones start anew.
    ///
    /// # Errors
    ///
    /// The store failed; nothing was removed, or where it [`is_retryable`](StoreError::is_retryable), it is unknown;
    /// erasing again is safe.
    pub async fn erase(&self, user: &UserId) -> Result<Erasure, StoreError> {
        let _turn = self.shared.batcher.turn().await;
        self.shared.store.erase(user, self.now()).await
    }

    /// When each of these users was erased last, in order, by whichever node; `None` for one who never was. It costs a look
    /// at each, so ask for a thousand at most.
    ///
    /// # Errors
    ///
    /// The store failed. A user whose stored data is corrupt stops nobody else.
    pub async fn erased_at(&self, users: &[UserId]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let at = self.now();
        let ask = |user: &UserId| Ask { user: user.clone(), first: at, last: at, event_ids: Vec::new() };
        match self.shared.store.load(users.iter().map(ask).collect()).await {
            Ok(contexts) => return Ok(contexts.into_iter().map(|context| context.erased_at).collect()),
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => {}
        }
        let mut erased = Vec::new();
        for user in users {
            let context = self.context(user, at).await;
            if let Err(error) = &context
                && error.is_retryable()
            {
                return context.map(|_| Vec::new());
            }
            erased.push(context.ok().and_then(|context| context.erased_at));
        }
        Ok(erased)
    }

    /// Raises last signs of life; gives back the beats that change more than that. It waits for no turn, so that a flush
    /// can write several parts at once; a group that has a user in common with one decides anew.
    pub(crate) async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError> {
        self.shared.store.touch(beats).await
    }

    /// What a decision about this instant would see.
    pub(super) async fn context(&self, user: &UserId, at: Timestamp) -> Result<Context, StoreError> {
        let ask = Ask { user: user.clone(), first: at, last: at, event_ids: Vec::new() };
        let contexts = self.shared.store.load(vec![ask]).await?;
        contexts.into_iter().next().ok_or_else(|| StoreError::backend("an ask without a context"))
    }

    pub(crate) async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        self.shared.query.facts(user, windows).await
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}
