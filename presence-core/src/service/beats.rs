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

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use futures_util::lock::Mutex as TurnMutex;

use crate::{
    Envelope, Erasure, Error, Heartbeat, HeartbeatRef, InstallId, InstallRef, LiveSet, MemberRef,
    MemoryLiveSet, Page, Place, Record, Recorded, Rejection, SeenRef, Session, Status, StoreError, Sweep,
    Taken, Timestamp, Tracker, UserId, UserRef, Window,
    memory::live_set::{KeptSign, Told, Unwritten, UserSign},
    service::online::Counts,
    tracking::{decide::stamp, pending::Pending},
};

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
    pub(super) live: Arc<MemoryLiveSet>,
    pub(super) backing: Option<Arc<dyn LiveSet>>,
    /// Where other processes keep their members in `backing` too: what it said last.
    pub(super) shared: Option<Counts>,
    /// One flush of beats at a time.
    pub(super) flushing: TurnMutex<()>,
    /// One flush of members at a time.
    pub(super) telling: TurnMutex<()>,
}

impl Beats {
    /// Heartbeats in front of `tracker`; who is online is known to this process only.
    #[must_use]
    pub fn new(tracker: Tracker) -> Self {
        let (flushing, telling) = (TurnMutex::new(()), TurnMutex::new(()));
        Self { tracker, live: Arc::default(), backing: None, shared: None, flushing, telling }
    }

    /// Keeps the online members in `live`, that of a [`MemoryStore`](crate::MemoryStore) for one, which then has
    /// nothing to be told. To be said before the first heartbeat.
    #[must_use]
    pub fn living_in(self, live: Arc<MemoryLiveSet>) -> Self {
        Self { live, ..self }
    }

    /// Keeps the online members in `backing` too, from flush to flush; see [`load`](Self::load). To be said before
    /// the first heartbeat.
    #[must_use]
    pub fn backed_by(mut self, backing: Arc<dyn LiveSet>) -> Self {
        self.backing = Some(backing);
        self.live = Arc::new(MemoryLiveSet::recording());
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
    pub fn live(&self) -> &MemoryLiveSet {
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
        let now = self.tracker.now();
        let stamp = stamp(heartbeat.at, now, self.tracker.policy())?;
        let owed = match self.keep(heartbeat, stamp, now) {
            Kept::Done(taken) => return Ok(taken),
            Kept::Owed(owed) => owed,
        };
        let verdict = self.commit(vec![owed]).await?.into_iter().next();
        Ok(verdict.ok_or_else(|| StoreError::backend("a heartbeat without a verdict"))?.map(committed)?)
    }

    /// Takes many heartbeats at one instant, and commits those that change something together; one verdict per
    /// heartbeat, in order. Users' are taken in order too, and those of installs whose user is not known last.
    ///
    /// # Errors
    ///
    /// The store failed: the heartbeats that only say that a live user is still there were taken, the others were not,
    /// or where the error [`is_retryable`](StoreError::is_retryable), it is unknown. Taking all of them again is safe.
    pub async fn beat_many(&self, heartbeats: &[HeartbeatRef<'_>]) -> Result<Vec<Verdict>, StoreError> {
        let (mut verdicts, owed) = self.keep_many(heartbeats);
        if !owed.is_empty() {
            let (places, owed): (Vec<_>, Vec<_>) = owed.into_iter().unzip();
            for (place, verdict) in places.into_iter().zip(self.commit(owed).await?) {
                verdicts[place] = verdict.map(committed);
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

    /// Flushes beats, and then concludes silences; see [`Tracker::sweep`].
    ///
    /// # Errors
    ///
    /// The store failed; flushing and sweeping again is safe.
    pub async fn sweep(&self, limit: usize) -> Result<Sweep, StoreError> {
        // Whoever is silent now stays so: no beat that comes during the flush continues that life.
        let now = self.tracker.now();
        match self.flush_beats().await {
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

    /// Everything that is stored about a user, its pending beats included; see [`Tracker::export`]. When the user was
    /// last counted as online is written before the first page is read, where there is a backing live set.
    ///
    /// # Errors
    ///
    /// As [`Tracker::export`].
    pub async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Page<Record, Place>, Error> {
        if after.is_none() {
            self.flush_members().await?;
        }
        let mut page = self.tracker.export(user, after, limit).await?;
        for record in &mut page.items {
            if let Record::Session(session) = record {
                self.raise(session);
            }
        }
        Ok(page)
    }

    /// How many users have beats in memory that are not written yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.live.pending_count()
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
        Ok(self.live.evict(before, limit))
    }

    /// Removes everything about a user, pending beats first; see [`Tracker::erase`].
    ///
    /// # Errors
    ///
    /// As [`Tracker::erase`].
    pub async fn erase(&self, user: &UserId) -> Result<Erasure, StoreError> {
        // No flush may bring back what is being erased.
        let (_flushing, _telling) = (self.flushing.lock().await, self.telling.lock().await);
        let erasure = self.tracker.erase(user).await?;
        self.live.forget(user);
        Ok(erasure)
    }

    fn stamp(&self, at: Option<Timestamp>) -> Result<Timestamp, Rejection> {
        stamp(at, self.tracker.now(), self.tracker.policy())
    }

    pub(super) fn floor(&self, at: Timestamp) -> Timestamp {
        at.saturating_sub(self.tracker.policy().online_window)
    }

    fn seen<'a>(&self, member: MemberRef<'a>, at: Timestamp) -> SeenRef<'a> {
        SeenRef::Member { member, at, floor: self.floor(at) }
    }

    /// Raises a session by the pending beats of its user.
    pub(super) fn raise(&self, session: &mut Session) {
        if let Some(pending) = self.live.pending(&session.user) {
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
    fn keep(&self, heartbeat: HeartbeatRef<'_>, stamp: Timestamp, now: Timestamp) -> Kept {
        let user = match heartbeat.member {
            MemberRef::User(user) => user,
            member @ MemberRef::Install(_) => {
                self.live.touch(self.seen(member, stamp));
                return Kept::Done(Taken::Counted);
            }
        };
        match self.live.keep(&sign(&heartbeat, user, stamp), self.tracker.policy(), now) {
            Some(kept) => Kept::Done(kept.into()),
            None => Kept::Owed(Owed::new(heartbeat, user, stamp)),
        }
    }

    /// Keeps heartbeats in memory where that is enough; what is owed comes with its place among the verdicts.
    fn keep_many(&self, heartbeats: &[HeartbeatRef<'_>]) -> (Vec<Verdict>, Vec<(usize, Owed)>) {
        let (now, policy) = (self.tracker.now(), self.tracker.policy());
        let mut verdicts = Vec::with_capacity(heartbeats.len());
        let mut of_users = Vec::with_capacity(heartbeats.len());
        let mut places = Vec::with_capacity(heartbeats.len());
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
                MemberRef::User(user) => {
                    of_users.push(sign(heartbeat, user, stamp));
                    places.push(place);
                }
                member @ MemberRef::Install(_) => of_installs.push(self.seen(member, stamp)),
            }
        }
        let mut owed = Vec::new();
        let kept = self.live.keep_all(&of_users, policy, now);
        for ((place, sign), kept) in places.into_iter().zip(of_users).zip(kept) {
            match kept {
                Some(kept) => verdicts[place] = Ok(kept.into()),
                None => owed.push((place, Owed::new(heartbeats[place], sign.user, sign.at))),
            }
        }
        self.live.touch_all(&of_installs);
        (verdicts, owed)
    }

    /// Records envelopes, each user's after its pending beats and in one commit with them; learns what the sessions
    /// are now, and who is present.
    async fn commit(&self, owed: Vec<Owed>) -> Result<Vec<Result<Recorded, Rejection>>, StoreError> {
        let mut written: HashMap<UserId, (Option<Pending>, u64)> = HashMap::new();
        let mut waiting = Waiting { live: &self.live, users: Vec::new() };
        let (mut envelopes, mut places) = (Vec::with_capacity(owed.len()), Vec::with_capacity(owed.len()));
        for Owed { envelope, .. } in &owed {
            let user = envelope.user();
            if !written.contains_key(user) {
                let (pending, ended) = waiting.begin(user);
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
            let ended = written.get_mut(user).map(|(beats, ended)| {
                self.live.settle(&beats.take().map(|beats| Unwritten::new(user.clone(), beats)));
                ended
            });
            if let Ok(Recorded { session: Some(session), .. }) = &verdict {
                let is_live = session.current_state.is_live();
                let ends = !envelope.is_sign() && !is_live && session.last_heartbeat <= stamp;
                let told = if ends || !self.is_present(session) {
                    Told::Left
                } else if envelope.is_sign() {
                    Told::Here(stamp, install.as_ref().map(InstallRef::from))
                } else {
                    Told::Nothing
                };
                self.live.learn(session, told, ended, self.tracker.policy());
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }
}

/// Users about whom an answer of the store is waited for; it ends with this, also where the call is dropped half way.
struct Waiting<'a> {
    live: &'a MemoryLiveSet,
    users: Vec<UserId>,
}

impl Waiting<'_> {
    /// What is pending of a user, and how often it stopped being live.
    fn begin(&mut self, user: &UserId) -> (Option<Pending>, u64) {
        self.users.push(user.clone());
        self.live.begin_to_wait(user)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.users.iter().for_each(|user| self.live.end_to_wait(user));
    }
}

/// What a heartbeat of a user says of its life.
fn sign<'a>(heartbeat: &HeartbeatRef<'a>, user: UserRef<'a>, at: Timestamp) -> UserSign<'a> {
    UserSign { user, install: heartbeat.install, at, wakes_to: heartbeat.state }
}

fn committed(recorded: Recorded) -> Taken {
    Taken::Committed(Box::new(recorded))
}

impl From<KeptSign> for Taken {
    fn from(KeptSign { current_state, last_heartbeat }: KeptSign) -> Self {
        Self::Kept { current_state, last_heartbeat }
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
