//! Heartbeats that do not wait for a store.
//!
//! A heartbeat of somebody who is known to be live changes nothing but the last sign of life. Such beats are kept per
//! user as their first and last, and one flush writes them all. What does change something is recorded at once:
//!
//! ```text
//! beat --> known to be live, within a timeout? --yes--> pending --flush--> CheckpointStore::touch
//!             | no                                                            | not taken
//!             +-----------> Tracker::record <---------------------------------+
//! ```

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::lock::Mutex as TurnMutex;

use crate::{
    Envelope, Erasure, Error, Heartbeat, HeartbeatRef, InstallId, InstallRef, LiveSet, MemberRef,
    MemoryLiveSet, Recorded, Rejection, SeenRef, Session, Status, StoreError, Sweep, Taken, Timestamp,
    Tracker, UserId, UserRef, Window,
    service::{
        online::Counts,
        pending::{Pending, Shard},
    },
    tracking::decide::stamp,
};

/// How many parts the pending beats are kept in, each behind its own lock.
const SHARDS: usize = 64;
/// The most members that are read at once.
const CHUNK: usize = 10_000;
/// The longest window of the online count, in seconds.
const DAY: Duration = Duration::from_secs(86_400);

/// Takes heartbeats at the speed of memory, in front of a [`Tracker`], and knows who is online.
///
/// Something must call [`flush`](Self::flush), at least four times in a heartbeat timeout: what was taken and not
/// flushed is lost with the process. Opt-in: [`Tracker::record`] is always durable.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use presence_core::{Beats, Heartbeat, MemoryStore, SystemClock, Taken, Tracker, UserId};
///
/// # futures_executor::block_on(async {
/// let beats = Beats::new(Tracker::new(Arc::new(MemoryStore::new()), SystemClock));
/// let alice = UserId::new("alice")?;
/// assert!(matches!(beats.beat(Heartbeat::of_user(alice.clone())).await?, Taken::Committed(_)));
/// assert!(matches!(beats.beat(Heartbeat::of_user(alice)).await?, Taken::Kept { .. }));
/// assert_eq!(beats.online_count(Duration::from_secs(180)).await?, 1);
/// assert_eq!(beats.flush().await?.beats, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Beats {
    pub(super) tracker: Tracker,
    pub(super) live: MemoryLiveSet,
    pub(super) backing: Option<Arc<dyn LiveSet>>,
    /// Where other processes keep their members in `backing` too: what it said last.
    pub(super) shared: Option<Counts>,
    pub(super) shards: Vec<Mutex<Shard>>,
    hasher: foldhash::fast::RandomState,
    /// One flush at a time.
    pub(super) flushing: TurnMutex<()>,
    next_evicted: AtomicUsize,
}

impl Beats {
    /// Heartbeats in front of `tracker`; who is online is known to this process only.
    #[must_use]
    pub fn new(tracker: Tracker) -> Self {
        Self {
            tracker,
            live: MemoryLiveSet::new(),
            backing: None,
            shared: None,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
            flushing: TurnMutex::new(()),
            next_evicted: AtomicUsize::new(0),
        }
    }

    /// Keeps the online members in `backing` too, from flush to flush; see [`load`](Self::load). To be said before
    /// the first heartbeat.
    #[must_use]
    pub fn backed_by(mut self, backing: Arc<dyn LiveSet>) -> Self {
        self.backing = Some(backing);
        self.live = MemoryLiveSet::recording();
        self
    }

    /// The same where other processes keep their members there too: who is online is asked of `backing`, so that all
    /// of them give the same answer, at most a flush interval and a second late. [`load`](Self::load) is not needed.
    #[must_use]
    pub fn shared_with(self, backing: Arc<dyn LiveSet>) -> Self {
        Self { shared: Some(Counts::default()), ..self.backed_by(backing) }
    }

    /// The tracker behind.
    #[must_use]
    pub const fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The members that this process has seen.
    #[must_use]
    pub const fn live(&self) -> &MemoryLiveSet {
        &self.live
    }

    /// Reads the members of the last day from the backing live set, and says how many there were; to be called before
    /// the first heartbeat. Which installs are bound is not read: for one window after a start, a straggler of a
    /// bound install counts as anonymous.
    ///
    /// # Errors
    ///
    /// The store failed; some of the members may be known.
    pub async fn load(&self) -> Result<u64, StoreError> {
        let Some(backing) = &self.backing else { return Ok(0) };
        let since = self.tracker.now().saturating_sub(DAY);
        let (mut loaded, mut after) = (0_u64, None);
        loop {
            let page = backing.list(since, after, CHUNK).await?;
            let seen: Vec<_> = page
                .iter()
                .map(|(member, at)| SeenRef::Member {
                    member: member.into(),
                    at: *at,
                    floor: self.floor(*at),
                })
                .collect();
            self.live.touch_all(&seen);
            // What was just read needs no writing.
            while self.live.changes(CHUNK).len() >= CHUNK {}
            loaded = loaded.saturating_add(page.len() as u64);
            after = page.last().map(|(member, _)| member.clone());
            if page.len() < CHUNK {
                return Ok(loaded);
            }
        }
    }

    /// Takes a heartbeat.
    ///
    /// One that only says that a live user is still there is kept in memory until the next flush. Any other of a user
    /// is committed before the answer.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] or [`Error::Store`], as [`Tracker::record`]; then nothing was taken.
    pub async fn beat(&self, heartbeat: Heartbeat) -> Result<Taken, Error> {
        self.beat_ref((&heartbeat).into()).await
    }

    /// The same by names that somebody else owns.
    ///
    /// # Errors
    ///
    /// As [`beat`](Self::beat).
    pub async fn beat_ref(&self, heartbeat: HeartbeatRef<'_>) -> Result<Taken, Error> {
        let stamp = stamp(heartbeat.at, self.tracker.now(), self.tracker.policy())?;
        let owed = match self.keep(heartbeat, stamp) {
            Kept::Done(taken) => return Ok(taken),
            Kept::Owed(owed) => owed,
        };
        let verdict = self.commit(vec![owed]).await?.into_iter().next();
        Ok(verdict
            .ok_or_else(|| StoreError::backend("a heartbeat without a verdict"))?
            .map(Taken::Committed)?)
    }

    /// Takes many heartbeats at one instant, and commits those that change something together; one verdict per
    /// heartbeat, in order. Each user's are taken in order too, and those of installs whose user is not known last.
    ///
    /// # Errors
    ///
    /// The store failed: the heartbeats that only say that a live user is still there were taken, the others were not,
    /// or where the error [`is_retryable`](StoreError::is_retryable), it is unknown. Taking all of them again is safe.
    pub async fn beat_many(&self, heartbeats: &[HeartbeatRef<'_>]) -> Result<Vec<Verdict>, StoreError> {
        let (mut verdicts, mut owed) = self.keep_many(heartbeats);
        if !owed.is_empty() {
            owed.sort_by_key(|(place, _)| *place);
            let (places, owed): (Vec<_>, Vec<_>) = owed.into_iter().unzip();
            for (place, verdict) in places.into_iter().zip(self.commit(owed).await?) {
                verdicts[place] = verdict.map(Taken::Committed);
            }
        }
        Ok(verdicts)
    }

    /// Records an envelope durably, after the pending beats of its user and in one commit with them. An Offline that is
    /// in force ends the user's presence; a live report is a heartbeat too.
    ///
    /// # Errors
    ///
    /// As [`Tracker::record`].
    pub async fn record(&self, envelope: Envelope) -> Result<Recorded, Error> {
        let stamp = self.stamp(envelope.at)?;
        let verdicts = self.commit(vec![Owed { envelope, install: None, stamp }]).await?;
        let verdict = verdicts.into_iter().next();
        Ok(verdict.ok_or_else(|| StoreError::backend("an envelope without a verdict"))??)
    }

    /// Flushes, and then concludes silences; see [`Tracker::sweep`].
    ///
    /// # Errors
    ///
    /// The store failed; flushing and sweeping again is safe.
    pub async fn sweep(&self, limit: usize) -> Result<Sweep, StoreError> {
        // Whoever is silent now stays so: no beat that comes during the flush continues that life.
        let now = self.tracker.now();
        match self.flush().await {
            // The flush says so itself, to whoever calls it; the others are still to be timed out.
            Ok(_) | Err(StoreError::Corrupt(_)) => self.tracker.sweep_at(now, limit).await,
            Err(error) => Err(error),
        }
    }

    /// The status of a user, its pending beats included; see [`Tracker::status`].
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn status(&self, user: &UserId, window: Window) -> Result<Option<Status>, StoreError> {
        let facts = self.tracker.facts(user, &[window]).await?;
        Ok(facts.map(|mut facts| {
            self.raise(&mut facts.session);
            facts.status(window, self.tracker.now(), self.tracker.policy())
        }))
    }

    /// How many users have beats in memory that no flush has begun to write. A user whose beats were written with a
    /// report counts until the next flush.
    #[must_use]
    pub fn pending(&self) -> usize {
        (0..self.shards.len()).map(|shard| self.shard(shard).dirty()).sum()
    }

    /// Forgets members that no window reaches any more, at most `limit`, here and in the backing live set; says how
    /// many were forgotten here.
    ///
    /// # Errors
    ///
    /// The store failed; evicting again is safe.
    pub async fn evict(&self, limit: usize) -> Result<u64, StoreError> {
        let before = self.tracker.now().saturating_sub(DAY);
        if let Some(backing) = &self.backing {
            backing.evict(before, limit).await?;
        }
        self.forget_idle();
        Ok(self.live.evict(before, limit))
    }

    /// Removes everything about a user, pending beats first; see [`Tracker::erase`].
    ///
    /// # Errors
    ///
    /// As [`Tracker::erase`].
    pub async fn erase(&self, user: &UserId) -> Result<Erasure, StoreError> {
        // No flush may bring back what is being erased.
        let _flushing = self.flushing.lock().await;
        let erasure = self.tracker.erase(user).await?;
        let mut shard = self.shard(self.shard_of(user.as_str()));
        shard.forget(user);
        self.live.leave(MemberRef::User(user.into()));
        drop(shard);
        Ok(erasure)
    }

    fn stamp(&self, at: Option<Timestamp>) -> Result<Timestamp, Rejection> {
        stamp(at, self.tracker.now(), self.tracker.policy())
    }

    pub(super) fn floor(&self, at: Timestamp) -> Timestamp {
        at.saturating_sub(self.tracker.policy().online_window)
    }

    fn see(&self, user: UserRef<'_>, install: Option<InstallRef<'_>>, at: Timestamp) {
        let member = self.seen(MemberRef::User(user), at);
        match install {
            Some(install) => self.live.touch_all(&[member, SeenRef::Bound { install, at }]),
            None => self.live.touch(member),
        }
    }

    fn seen<'a>(&self, member: MemberRef<'a>, at: Timestamp) -> SeenRef<'a> {
        SeenRef::Member { member, at, floor: self.floor(at) }
    }

    /// Raises a session by the pending beats of its user.
    pub(super) fn raise(&self, session: &mut Session) {
        let user = &session.user;
        if let Some(pending) = self.shard(self.shard_of(user.as_str())).pending(user).cloned() {
            pending.raise(session, self.tracker.policy().heartbeat_timeout);
        }
    }

    /// Whether a session leaves its user among the members: all but one that the user ended. A timeout does not.
    fn is_present(&self, session: &Session) -> bool {
        let timeout = self.tracker.policy().heartbeat_timeout;
        let lapse = timeout.map(|timeout| session.last_heartbeat.saturating_add(timeout));
        session.current_state.is_live() || lapse == Some(session.last_state_change)
    }

    /// Keeps a heartbeat in memory where that is enough.
    fn keep(&self, heartbeat: HeartbeatRef<'_>, stamp: Timestamp) -> Kept {
        let user = match heartbeat.member {
            MemberRef::User(user) => user,
            member @ MemberRef::Install(_) => {
                self.live.touch(self.seen(member, stamp));
                return Kept::Done(Taken::Counted);
            }
        };
        let timeout = self.tracker.policy().heartbeat_timeout;
        let mut shard = self.shard(self.shard_of(user.as_str()));
        match shard.keep(user, stamp, heartbeat.state, timeout) {
            Some(taken) => {
                // Under the lock: an erasure comes before or after both.
                self.see(user, heartbeat.install, stamp);
                Kept::Done(taken)
            }
            None => Kept::Owed(Owed::new(heartbeat, user, stamp)),
        }
    }

    /// Keeps heartbeats in memory where that is enough; what is owed comes with its place among the verdicts.
    ///
    /// The users of a shard are kept together, under one lock, and looked up before one of them is worked on, so that
    /// their cache misses can overlap.
    fn keep_many(&self, heartbeats: &[HeartbeatRef<'_>]) -> (Vec<Verdict>, Vec<(usize, Owed)>) {
        let (now, policy) = (self.tracker.now(), self.tracker.policy());
        let mut verdicts = Vec::with_capacity(heartbeats.len());
        let mut of_users = Vec::with_capacity(heartbeats.len());
        let mut of_installs = Vec::new();
        for (place, heartbeat) in heartbeats.iter().enumerate() {
            let stamp = match stamp(heartbeat.at, now, policy) {
                Ok(stamp) => stamp,
                Err(rejection) => {
                    verdicts.push(Err(rejection));
                    continue;
                }
            };
            verdicts.push(Ok(Taken::Counted));
            match heartbeat.member {
                MemberRef::User(user) => of_users.push((self.shard_of(user.as_str()), place, user, stamp)),
                member @ MemberRef::Install(_) => of_installs.push(self.seen(member, stamp)),
            }
        }
        of_users.sort_unstable_by_key(|(shard, place, ..)| (*shard, *place));
        let (mut seen, mut owed) = (Vec::new(), Vec::new());
        for together in of_users.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((shard, ..)) = together.first() else { continue };
            let mut shard = self.shard(*shard);
            shard.prefetch(together.iter().map(|(_, _, user, _)| *user));
            for (_, place, user, stamp) in together {
                let heartbeat = heartbeats[*place];
                match shard.keep(*user, *stamp, heartbeat.state, policy.heartbeat_timeout) {
                    Some(taken) => {
                        verdicts[*place] = Ok(taken);
                        seen.push(self.seen(MemberRef::User(*user), *stamp));
                        let bound = |install| SeenRef::Bound { install, at: *stamp };
                        seen.extend(heartbeat.install.map(bound));
                    }
                    None => owed.push((*place, Owed::new(heartbeat, *user, *stamp))),
                }
            }
            // Under the lock: an erasure comes before or after both.
            self.live.touch_all(&seen);
            seen.clear();
        }
        self.live.touch_all(&of_installs);
        (verdicts, owed)
    }

    /// Records envelopes, each user's after its pending beats and in one commit with them; learns what the sessions
    /// are now, and who is present.
    async fn commit(&self, owed: Vec<Owed>) -> Result<Vec<Result<Recorded, Rejection>>, StoreError> {
        let timeout = self.tracker.policy().heartbeat_timeout;
        let mut written: HashMap<UserId, (Option<Pending>, u64)> = HashMap::new();
        let (mut envelopes, mut places) = (Vec::with_capacity(owed.len()), Vec::with_capacity(owed.len()));
        for Owed { envelope, .. } in &owed {
            let user = envelope.user();
            if !written.contains_key(user) {
                let shard = self.shard(self.shard_of(user.as_str()));
                let (pending, ended) = (shard.pending(user).cloned(), shard.ended());
                drop(shard);
                envelopes.extend(pending.as_ref().map(|beats| beats.envelope(user)));
                written.insert(user.clone(), (pending, ended));
            }
            places.push(envelopes.len());
            envelopes.push(envelope.clone());
        }
        let mut all: Vec<_> = self.tracker.record_many(envelopes).await?.into_iter().map(Some).collect();
        let mut verdicts = Vec::with_capacity(owed.len());
        for (Owed { envelope, install, stamp }, place) in owed.into_iter().zip(places) {
            let verdict = all.get_mut(place).and_then(Option::take);
            let verdict = verdict.ok_or_else(|| StoreError::backend("an envelope without a verdict"))?;
            let user = envelope.user();
            let mut shard = self.shard(self.shard_of(user.as_str()));
            let ended = match written.get_mut(user) {
                Some((beats, ended)) => {
                    if let Some(beats) = beats.take() {
                        shard.settle(user, &beats);
                    }
                    *ended
                }
                None => shard.ended(),
            };
            // An answer that is read after somebody went away, or was erased, may tell of the time before.
            if let Ok(Recorded { session: Some(session), .. }) = &verdict
                && (!session.current_state.is_live() || shard.ended() == ended)
            {
                shard.learn(user, session, timeout);
                let is_live = session.current_state.is_live();
                let ends = !envelope.is_sign() && !is_live && session.last_heartbeat <= stamp;
                if ends || !self.is_present(session) {
                    self.live.leave(MemberRef::User(user.into()));
                } else if envelope.is_sign() {
                    self.see(user.into(), install.as_ref().map(InstallRef::from), stamp);
                }
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// Forgets the users of one part that have nothing pending and would have to be recorded anyway.
    fn forget_idle(&self) {
        let policy = self.tracker.policy();
        let limit = policy.heartbeat_timeout.unwrap_or(policy.online_window);
        let shard = self.next_evicted.fetch_add(1, Ordering::Relaxed).checked_rem(SHARDS);
        self.shard(shard.unwrap_or_default()).forget_idle(self.tracker.now(), limit);
    }

    fn shard_of(&self, user: &str) -> usize {
        // The low bits choose inside the map, so the high ones choose the map.
        (self.hasher.hash_one(user) >> 58) as usize
    }

    pub(super) fn shard(&self, shard: usize) -> MutexGuard<'_, Shard> {
        // Nothing under this lock panics half way.
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of one of many heartbeats.
type Verdict = Result<Taken, Rejection>;

/// What becomes of a heartbeat in memory.
enum Kept {
    /// That was all.
    Done(Taken),
    /// It changes something, or might, and has to be committed.
    Owed(Owed),
}

/// An envelope to commit, and what the live set is to know of it.
struct Owed {
    envelope: Envelope,
    install: Option<InstallId>,
    stamp: Timestamp,
}

impl Owed {
    fn new(heartbeat: HeartbeatRef<'_>, user: UserRef<'_>, stamp: Timestamp) -> Self {
        let envelope = match heartbeat.state {
            Some(state) => Envelope::heartbeat_in(user.into(), state.clone()),
            None => Envelope::heartbeat(user.into()),
        };
        Self { envelope: envelope.at(stamp), install: heartbeat.install.map(InstallId::from), stamp }
    }
}

impl fmt::Debug for Beats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beats").field("tracker", &self.tracker).finish_non_exhaustive()
    }
}
