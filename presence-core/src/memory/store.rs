//! Timelines in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::BuildHasher,
    hint::black_box,
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use foldhash::{fast::RandomState as FastState, quality::RandomState};

use crate::{
    Ask, Beat, Checkpoint, CheckpointId, CheckpointQuery, CheckpointStore, Commit, Context, Erasure, EventId,
    EventKind, Facts, Fold, Kept, LiveSet, Mark, Member, MemberRef, MemoryLiveSet, NewCheckpoint, Outcome,
    Place, Record, Request, Row, Seen, Session, Source, StateType, StoreError, SummaryCache, Tally,
    Timestamp, UserId, Version, Window,
    memory::{activity::ActivityLog, outbox::OutboxLog, rooms::RoomLog, summaries::Summaries},
};

/// How many sessions are filed anew before the lock is let go.
const FILED: usize = 1024;
/// How many sessions are loaded before they are touched.
const GROUP: usize = 32;

/// A store in memory, for tests, demos and deployments that may forget everything at a restart.
///
/// It keeps every promise of the ports but durability, and is what other adapters are compared with.
///
/// ```
/// use std::sync::Arc;
/// use presence_core::{Envelope, MemoryStore, StateType, SystemClock, Tracker, UserId};
///
/// # futures_executor::block_on(async {
/// let tracker = Tracker::new(Arc::new(MemoryStore::new()), SystemClock);
/// tracker.record(Envelope::checkpoint(UserId::new("alice")?, StateType::Working)).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    timelines: Mutex<Timelines>,
    live: Arc<MemoryLiveSet>,
    pub(super) activity: Mutex<ActivityLog>,
    pub(super) rooms: Mutex<RoomLog>,
    pub(super) outbox: Mutex<OutboxLog>,
}

#[derive(Debug, Default)]
struct Timelines {
    users: HashMap<UserId, Timeline, FastState>,
    /// Their ids in order, so that one can go from page to page.
    names: BTreeSet<UserId>,
    /// Live sessions by [`Timeline::filed`], so that the overdue are found without a scan. A heartbeat does not move its
    /// session here: that is done once, by whoever looks for the overdue, and not with each heartbeat.
    live: BTreeSet<(Timestamp, UserId)>,
    /// Erasures under a digest of the user id: two keyed 64-bit hashes, whose keys are made anew in each process.
    erased: HashMap<(u64, u64), Timestamp>,
    digests: (RandomState, RandomState),
    last_version: i64,
    last_id: i64,
}

#[derive(Debug)]
struct Timeline {
    session: Session,
    /// Where a live session stands among the others: no later than its last heartbeat.
    filed: Timestamp,
    rows: BTreeMap<(Timestamp, CheckpointId), Checkpoint>,
    instants: HashMap<CheckpointId, Timestamp>,
    totals: BTreeMap<StateType, i64>,
    requests: BTreeMap<EventId, (Request, CheckpointId)>,
    summaries: Summaries,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its live set, to be shared with [`Beats`](crate::Beats): what that keeps need not be written here.
    #[must_use]
    pub fn live_set(&self) -> Arc<MemoryLiveSet> {
        Arc::clone(&self.live)
    }

    /// When a user was erased last.
    pub(super) fn erased_at(&self, user: &UserId) -> Option<Timestamp> {
        let timelines = self.lock();
        timelines.erased.get(&timelines.digest(user)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Timelines> {
        // Nothing below panics between two writes that belong together.
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timelines {
    fn digest(&self, user: &UserId) -> (u64, u64) {
        (self.digests.0.hash_one(user), self.digests.1.hash_one(user))
    }

    fn load(&self, ask: &Ask) -> Context {
        let erased_at = self.erased.get(&self.digest(&ask.user)).copied();
        let Some(timeline) = self.users.get(&ask.user) else {
            return Context { erased_at, ..Context::default() };
        };
        let last_id = CheckpointId::new(i64::MAX).ok();
        let key = |at| last_id.map(|id| (at, id));
        let (first, last) = (key(ask.first), key(ask.last));
        let rows = &timeline.rows;
        let mut loaded: Vec<Checkpoint> = Vec::new();
        if let (Some(first), Some(last)) = (first, last) {
            loaded.extend(rows.range(..=first).rev().take(2).map(|(_, row)| row.clone()));
            loaded.reverse();
            let later = (Excluded(first), Unbounded);
            let mut after = 0_usize;
            for (key, row) in rows.range(later) {
                after = after.saturating_add(usize::from(*key > last));
                if after > 3 && loaded.last().is_none_or(|third| third.at < row.at) {
                    break;
                }
                loaded.push(row.clone());
            }
        }
        let run_start = loaded.first().map(|first| {
            let run = rows.range(..(first.at, first.id)).rev().map(|(_, row)| row);
            run.take_while(|row| row.state == first.state).last().map_or(first.at, |row| row.at)
        });
        let requests = ask.event_ids.iter().filter_map(|id| timeline.requests.get(id));
        let requests =
            requests.filter_map(|(request, id)| Some((request.clone(), timeline.row(*id)?.clone())));
        Context {
            session: Some(timeline.session.clone()),
            requests: requests.collect(),
            rows: loaded,
            run_start,
            erased_at,
        }
    }

    fn commit(&mut self, commit: Commit) -> Outcome {
        let Commit { expected, erased_at, mut session, withdraw, insert, totals, changed, requests, .. } =
            commit;
        let known = self.users.get(&session.user);
        let fits = match (known, expected) {
            (None, None) => self.erased.get(&self.digest(&session.user)).copied() == erased_at,
            (Some(timeline), Some(version)) => timeline.session.version == version,
            _ => false,
        };
        let repeats_lapse = known.is_some_and(|timeline| {
            let mut lapses = insert.iter().filter(|row| row.source == Source::Timeout);
            let is_stored = |lapse: &NewCheckpoint, row: &Checkpoint| {
                row.source == Source::Timeout && row.proof_at == lapse.proof_at && !withdraw.contains(&row.id)
            };
            lapses.any(|lapse| timeline.rows.values().any(|row| is_stored(lapse, row)))
        });
        if !fits || repeats_lapse {
            return Outcome::Conflict;
        }
        self.last_version = self.last_version.saturating_add(1);
        session.version = Version(self.last_version);
        let version = session.version;
        let user = session.user.clone();
        if let Some(timeline) = known {
            self.live.remove(&(timeline.filed, user.clone()));
        } else {
            self.names.insert(user.clone());
        }
        if session.current_state.is_live() {
            self.live.insert((session.last_heartbeat, user.clone()));
        }
        let timeline = self.users.entry(user.clone()).or_insert_with(|| Timeline::new(session.clone()));
        timeline.filed = session.last_heartbeat;
        timeline.session = session;
        for id in withdraw {
            if let Some(at) = timeline.instants.remove(&id) {
                timeline.rows.remove(&(at, id));
            }
        }
        let mut ids = Vec::with_capacity(insert.len());
        for row in insert {
            self.last_id = self.last_id.saturating_add(1);
            // Counted up from one, so it is positive.
            let Ok(id) = CheckpointId::new(self.last_id) else { continue };
            timeline.instants.insert(id, row.at);
            timeline.rows.insert((row.at, id), row.numbered(id, user.clone()));
            ids.push(id);
        }
        if let Some(changed) = changed {
            timeline.summaries.forget(changed);
        }
        for (state, sum) in totals {
            let total = timeline.totals.entry(state).or_default();
            *total = total.saturating_add(sum);
        }
        for (request, row) in requests {
            let id = match row {
                Row::Stored(id) => Some(id),
                Row::Inserted(place) => ids.get(place).copied(),
            };
            if let Some(id) = id {
                timeline.requests.insert(request.event_id.clone(), (request, id));
            }
        }
        Outcome::Committed { version, ids }
    }

    /// Loads the sessions that are about to be touched: reads that do not wait for each other overlap.
    fn load_sessions(&self, beats: &[Beat]) {
        for beat in beats {
            black_box(self.users.get(&beat.user).map(|timeline| timeline.session.last_heartbeat));
        }
    }

    fn touch(&mut self, beat: &Beat) -> bool {
        let Some(timeline) = self.users.get_mut(&beat.user) else { return false };
        let session = &mut timeline.session;
        let is_connected = session.live_since <= beat.first && session.last_heartbeat >= beat.floor;
        if !session.current_state.is_live() || !is_connected {
            return false;
        }
        self.last_version = self.last_version.saturating_add(1);
        session.version = Version(self.last_version);
        session.last_heartbeat = session.last_heartbeat.max(beat.last);
        true
    }

    /// Files those anew that were filed before `cutoff` and seen since, from `next` on and looking at some only; `next`
    /// is then where to go on, if anywhere. The first `limit` that stay where they are, are enough.
    fn file(&mut self, cutoff: Timestamp, limit: &mut usize, next: &mut Option<(Timestamp, UserId)>) {
        let from = next.take().map_or(Unbounded, Excluded);
        let looked_at = self.live.range((from, Unbounded)).take_while(|(filed, _)| *filed < cutoff);
        let looked_at: Vec<_> = looked_at.take(FILED).cloned().collect();
        *next = looked_at.last().filter(|_| looked_at.len() == FILED).cloned();
        for (filed, user) in looked_at {
            let Some(timeline) = self.users.get_mut(&user) else { continue };
            let last = timeline.session.last_heartbeat;
            if last == filed {
                *limit = limit.saturating_sub(1);
                if *limit == 0 {
                    *next = None;
                    return;
                }
            } else {
                timeline.filed = last;
                self.live.remove(&(filed, user.clone()));
                self.live.insert((last, user));
            }
        }
    }
}

impl Timeline {
    fn new(session: Session) -> Self {
        Self {
            filed: session.last_heartbeat,
            session,
            rows: BTreeMap::new(),
            instants: HashMap::new(),
            totals: BTreeMap::new(),
            requests: BTreeMap::new(),
            summaries: Summaries::default(),
        }
    }

    fn row(&self, id: CheckpointId) -> Option<&Checkpoint> {
        self.rows.get(&(*self.instants.get(&id)?, id))
    }

    /// The last row at or before an instant, or the first of all.
    fn before(&self, at: Timestamp) -> Option<(Timestamp, CheckpointId)> {
        let end = CheckpointId::new(i64::MAX).ok()?;
        let before = self.rows.range(..=(at, end)).next_back().or_else(|| self.rows.first_key_value());
        before.map(|(key, _)| *key)
    }

    /// Closed time per state in each of these windows, which touch.
    fn sums(&self, windows: &[Window]) -> Vec<Vec<(StateType, i64)>> {
        let mut tally = Tally::new(windows.to_vec());
        let to = windows.last().map_or(Timestamp::MIN, |last| last.to()).min(self.session.last_state_change);
        let from = windows.first().and_then(|window| self.before(window.from()));
        let rows = from.map(|from| self.rows.range(from..)).into_iter().flatten();
        for (_, row) in rows.take_while(|(_, row)| row.at < to) {
            tally.row(row.at, &row.state);
        }
        tally.finish(self.session.last_state_change)
    }

    fn totals(&self) -> impl Iterator<Item = (&StateType, i64)> {
        self.totals.iter().map(|(state, sum)| (state, *sum)).filter(|(_, sum)| *sum != 0)
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn load(&self, asks: Vec<Ask>) -> Result<Vec<Context>, StoreError> {
        let timelines = self.lock();
        Ok(asks.iter().map(|ask| timelines.load(ask)).collect())
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        let mut timelines = self.lock();
        let mut outbox = self.outbox();
        let commit = |mut commit: Commit| {
            let (events, at) = (std::mem::take(&mut commit.events), commit.decided_at);
            let outcome = timelines.commit(commit);
            if outcome != Outcome::Conflict {
                outbox.keep(&events, at);
            }
            outcome
        };
        Ok(commits.into_iter().map(commit).collect())
    }

    async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError> {
        let mut not_taken = Vec::new();
        let mut timelines = self.lock();
        for group in beats.chunks(GROUP) {
            timelines.load_sessions(group);
            not_taken.extend(group.iter().filter(|beat| !timelines.touch(beat)).cloned());
        }
        Ok(not_taken)
    }

    async fn overdue(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, StoreError> {
        let (mut left, mut next) = (limit, None);
        let mut timelines = self.lock();
        timelines.file(cutoff, &mut left, &mut next);
        while next.is_some() {
            // Others may write between the steps, so what was looked at is looked at again below.
            drop(timelines);
            timelines = self.lock();
            timelines.file(cutoff, &mut left, &mut next);
        }
        let filed = timelines.live.iter().take_while(|(filed, _)| *filed < cutoff);
        let sessions = filed.filter_map(|(_, user)| Some(&timelines.users.get(user)?.session));
        let silent = sessions.filter(|session| session.last_heartbeat < cutoff).take(limit);
        Ok(silent.cloned().collect())
    }

    async fn erase(&self, user: &UserId, at: Timestamp) -> Result<Erasure, StoreError> {
        self.live.leave(MemberRef::User(user.into()));
        let erasure = self.erase_timeline(user, at);
        // Behind the fence: what was let in before it is gone with the others.
        let (messages, room_sessions) = self.room_log().erase(user);
        let events = self.activity().erase(user);
        self.outbox().erase(user);
        Ok(Erasure { events, messages, room_sessions, ..erasure })
    }
}

impl MemoryStore {
    fn erase_timeline(&self, user: &UserId, at: Timestamp) -> Erasure {
        let mut timelines = self.lock();
        let digest = timelines.digest(user);
        let erased_at = timelines.erased.entry(digest).or_insert(at);
        *erased_at = at.max(*erased_at);
        let Some(timeline) = timelines.users.remove(user) else { return Erasure::default() };
        timelines.live.remove(&(timeline.filed, user.clone()));
        timelines.names.remove(user);
        Erasure {
            checkpoints: timeline.rows.len() as u64,
            requests: timeline.requests.len() as u64,
            ..Erasure::default()
        }
    }
}

impl MemoryStore {
    /// Takes heartbeats one by one, so that it is known which of them were news.
    async fn touch_and_tell(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        for seen in seen {
            let told = seen.told();
            let last_seen = || match &seen {
                Seen::Member { member, .. } => self.live.last_seen(member.into()),
                Seen::Bound { .. } => None,
            };
            let before = last_seen();
            LiveSet::touch(&*self.live, vec![seen.clone()]).await?;
            if let Some(told) = told.filter(|told| last_seen() == Some(told.at()) && before < Some(told.at()))
            {
                let left = told.unerased(|user| self.erased_at(user));
                left.into_iter().for_each(|told| self.outbox().keep(std::slice::from_ref(&told), told.at()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl CheckpointQuery for MemoryStore {
    async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        let timelines = self.lock();
        let Some(timeline) = timelines.users.get(user) else { return Ok(None) };
        let session = timeline.session.clone();
        let closed = if windows == [Window::all()] {
            vec![timeline.totals().map(|(state, sum)| (state.clone(), sum)).collect()]
        } else {
            // Rows between windows that do not touch are passed over.
            let runs = windows.chunk_by(|window, next| window.to() == next.from());
            runs.flat_map(|run| timeline.sums(run)).collect()
        };
        Ok(Some(Facts { session, closed }))
    }

    async fn checkpoint(&self, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, StoreError> {
        let timelines = self.lock();
        Ok(timelines.users.get(user).and_then(|timeline| timeline.row(id)).cloned())
    }

    async fn history(
        &self,
        user: &UserId,
        window: Window,
        before: Option<(Timestamp, CheckpointId)>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let timelines = self.lock();
        let Some(timeline) = timelines.users.get(user) else { return Ok(Vec::new()) };
        let newest_first = timeline.rows.iter().rev();
        let rows = newest_first
            .skip_while(|(key, _)| key.0 >= window.to() || before.is_some_and(|before| **key >= before))
            .take_while(|(key, _)| key.0 >= window.from());
        Ok(rows.take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let online = self.live.last_seen(MemberRef::User(user.into()));
        let (rooms, activity) = (self.room_log(), self.activity());
        let timelines = self.lock();
        let mut records: Vec<Record> = Vec::new();
        if let Some(timeline) = timelines.users.get(user) {
            records.push(Record::Session(timeline.session.clone()));
            records.extend(
                timeline
                    .totals()
                    .map(|(state, sum)| Record::Total { state: state.clone(), duration_ms: sum }),
            );
            records.extend(timeline.rows.values().cloned().map(Record::Checkpoint));
            let requests = timeline.requests.values();
            records.extend(
                requests.map(|(request, id)| Record::Request { request: request.clone(), checkpoint: *id }),
            );
        }
        records.extend(online.map(|last_seen| Record::Online { last_seen }));
        records.extend(activity.records(user));
        records.extend(rooms.records(user));
        records.sort_by_cached_key(Record::place);
        let start =
            records.partition_point(|record| after.as_ref().is_some_and(|after| record.place() <= *after));
        Ok(records.drain(start..).take(limit).collect())
    }
}

#[async_trait]
impl SummaryCache for MemoryStore {
    async fn marks(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(Session, Option<Mark>)>, StoreError> {
        let timelines = self.lock();
        let later = match after {
            Some(after) => timelines.names.range::<UserId, _>((Excluded(after), Unbounded)),
            None => timelines.names.range::<UserId, _>(..),
        };
        let marked = later.take(limit).filter_map(|user| timelines.users.get(user));
        Ok(marked.map(|timeline| (timeline.session.clone(), timeline.summaries.mark().cloned())).collect())
    }

    async fn keep(&self, folds: Vec<Fold>) -> Result<Vec<bool>, StoreError> {
        let mut timelines = self.lock();
        let keep = |fold: Fold| match timelines.users.get_mut(&fold.user) {
            Some(timeline) if timeline.session.version == fold.version => {
                timeline.summaries.keep(fold);
                true
            }
            _ => false,
        };
        Ok(folds.into_iter().map(keep).collect())
    }

    async fn kept(&self, user: &UserId, within: Window) -> Result<Option<Kept>, StoreError> {
        let timelines = self.lock();
        Ok(timelines.users.get(user).map(|timeline| {
            let days = timeline.summaries.within(within).collect();
            Kept { version: timeline.session.version, days }
        }))
    }
}

#[async_trait]
impl LiveSet for MemoryStore {
    async fn touch(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        if self.outbox().wants(EventKind::Heartbeat) {
            self.touch_and_tell(seen).await
        } else {
            LiveSet::touch(&*self.live, seen).await
        }
    }

    async fn leave(&self, members: Vec<Member>) -> Result<(), StoreError> {
        LiveSet::leave(&*self.live, members).await
    }

    async fn count(&self, since: Timestamp) -> Result<u64, StoreError> {
        LiveSet::count(&*self.live, since).await
    }

    async fn list(
        &self,
        since: Timestamp,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Timestamp)>, StoreError> {
        LiveSet::list(&*self.live, since, after, limit).await
    }

    async fn evict(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        LiveSet::evict(&*self.live, before, limit).await
    }
}
