//! Group commit: one decision and one write for all that has gathered meanwhile.
//!
//! Envelopes gather in a group while another group is being written. When its turn comes, the group takes all of them,
//! folds each user's envelopes into one decision, and commits the decisions together:
//!
//! ```text
//! callers   a  b c   d  e f g
//! groups    [a ]     [b c d ]     [e f g ]
//! store       load, commit   load, commit  ...
//! ```
//!
//! A group is one future that all its callers drive together. So there is no task to spawn, a caller that gives up
//! does not take the others along, and a group that everybody gave up on is dropped, and lets the next one through.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, Waker},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
    lock::{Mutex as TurnMutex, MutexGuard as Turn},
};

use crate::{
    Answer, Ask, Checkpoint, CheckpointId, CheckpointStore, Clock, Commit, Context, Decision, NewCheckpoint,
    Outcome, Policy, Recorded, Rejection, Row, Session, Stamped, StoreError, UserId, Version, decide,
};

/// The most envelopes that gather in a group before the next one is opened; one call is never split.
const GROUP: usize = 10_000;
/// The most groups that wait; beyond, callers are turned away.
const GROUPS: usize = 16;
/// How often a user's envelopes are decided anew because others changed the session meanwhile.
const ATTEMPTS: usize = 32;

/// What became of each envelope of a call.
type Verdicts = Vec<Result<Recorded, Rejection>>;
/// What became of each call of a group.
type Answers = Arc<Vec<Result<Verdicts, StoreError>>>;
type Writing = BoxFuture<'static, Answers>;

/// Gathers envelopes, and writes them group by group.
pub(crate) struct Batcher {
    shared: Arc<Batches>,
}

struct Batches {
    store: Arc<dyn CheckpointStore>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    gathering: Mutex<Gathering>,
    /// Whoever decides and commits holds it: a process never conflicts with itself, but for what a flush touches.
    turn: TurnMutex<()>,
}

#[derive(Default)]
struct Gathering {
    groups: VecDeque<Group>,
    last_number: u64,
}

struct Group {
    number: u64,
    calls: Vec<Vec<Stamped>>,
    envelopes: usize,
    /// Weak, so that a group without callers ends.
    writing: WeakShared<Writing>,
    seats: Arc<Seats>,
}

/// Who drives a group: its callers, by place.
type Seats = Mutex<BTreeMap<usize, Waker>>;

/// One caller of a group.
///
/// `Shared` loses a wake: one that comes while a caller polls, and finds the others bounced off, is that caller's alone
/// (rust-lang/futures-rs#2706). So a caller that goes away, gives up or panics passes it on.
struct Caller {
    writing: Shared<Writing>,
    place: usize,
    seats: Arc<Seats>,
}

impl Future for Caller {
    type Output = Answers;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Answers> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.insert(self.place, cx.waker().clone());
        drop(seats);
        self.writing.poll_unpin(cx)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let next = {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            seats.remove(&self.place);
            seats.values().next().cloned()
        };
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Batcher {
    pub(crate) fn new(store: Arc<dyn CheckpointStore>, clock: Arc<dyn Clock>, policy: Policy) -> Self {
        let (gathering, turn) = (Mutex::default(), TurnMutex::new(()));
        Self { shared: Arc::new(Batches { store, clock, policy, gathering, turn }) }
    }

    /// Records the envelopes of one call, together with all that others bring meanwhile.
    pub(crate) async fn record(&self, call: Vec<Stamped>) -> Result<Verdicts, StoreError> {
        if call.is_empty() {
            return Ok(Vec::new());
        }
        let caller = self.join(call)?;
        let place = caller.place;
        let answers = caller.await;
        answers.get(place).cloned().unwrap_or_else(|| Err(StoreError::backend("a call without an answer")))
    }

    /// The turn to write: until it is dropped, no group is written.
    pub(crate) async fn turn(&self) -> Turn<'_, ()> {
        self.shared.turn.lock().await
    }

    /// How many envelopes are in groups whose turn has not come.
    pub(crate) fn waiting(&self) -> usize {
        let gathering = self.shared.gathering();
        let waiting = gathering.groups.iter().filter(|group| group.writing.upgrade().is_some());
        waiting.map(|group| group.envelopes).sum()
    }

    /// Joins the last group that has room, or opens the next one.
    fn join(&self, call: Vec<Stamped>) -> Result<Caller, StoreError> {
        let mut gathering = self.shared.gathering();
        if let Some(group) = gathering.groups.back_mut()
            && group.envelopes.saturating_add(call.len()) <= GROUP
            && let Some(writing) = group.writing.upgrade()
        {
            group.envelopes = group.envelopes.saturating_add(call.len());
            group.calls.push(call);
            let place = group.calls.len().saturating_sub(1);
            return Ok(Caller { writing, place, seats: Arc::clone(&group.seats) });
        }
        gathering.groups.retain(|group| group.writing.upgrade().is_some());
        if gathering.groups.len() >= GROUPS {
            return Err(StoreError::unavailable("too many writes are waiting"));
        }
        let number = gathering.last_number.saturating_add(1);
        gathering.last_number = number;
        let writing = Arc::clone(&self.shared).write(number).boxed().shared();
        // Just made, so it is alive.
        let Some(weak) = writing.downgrade() else { return Err(StoreError::unavailable("no group")) };
        let envelopes = call.len();
        let seats = Arc::<Seats>::default();
        let caller = Caller { writing, place: 0, seats: Arc::clone(&seats) };
        gathering.groups.push_back(Group { number, calls: vec![call], envelopes, writing: weak, seats });
        Ok(caller)
    }
}

impl Batches {
    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        // Nothing under this lock panics half way.
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn, closes the group, and writes it.
    async fn write(self: Arc<Self>, number: u64) -> Answers {
        let _turn = self.turn.lock().await;
        let calls = {
            let mut gathering = self.gathering();
            let place = gathering.groups.iter().position(|group| group.number == number);
            place.and_then(|place| gathering.groups.remove(place)).map(|group| group.calls)
        };
        let calls = calls.unwrap_or_default();
        let mut verdicts: Vec<Vec<Option<_>>> = calls.iter().map(|call| vec![None; call.len()]).collect();
        let written = self.decide_and_commit(by_user(calls), &mut verdicts).await;
        let answer = |call: Vec<Option<_>>| match (&written, call.iter().any(Option::is_some)) {
            // Who was written in an earlier round was written, whatever became of the others.
            _ if call.iter().all(Option::is_some) => Ok(call.into_iter().flatten().collect()),
            (Err(error), false) => Err(error.clone()),
            (Err(error), true) => Err(StoreError::unavailable(error.clone())), // in part
            (Ok(()), _) => Err(StoreError::backend("an envelope without a verdict")),
        };
        Arc::new(verdicts.into_iter().map(answer).collect())
    }

    /// What the decisions about the open users need. One whose stored data is corrupt is put aside, so that the others
    /// go on.
    async fn load(
        &self,
        open: &mut Vec<UserEnvelopes>,
        corrupt: &mut Result<(), StoreError>,
    ) -> Result<Vec<Context>, StoreError> {
        let asks = open.iter().filter_map(|user| Ask::about(&user.envelopes)).collect();
        match self.store.load(asks).await {
            Err(error @ StoreError::Corrupt(_)) if open.len() > 1 => *corrupt = Err(error),
            loaded => return loaded,
        }
        let mut contexts = Vec::with_capacity(open.len());
        for user in std::mem::take(open) {
            let ask = Ask::about(&user.envelopes).into_iter().collect();
            match self.store.load(ask).await {
                Ok(context) => {
                    contexts.extend(context);
                    open.push(user);
                }
                Err(error @ StoreError::Corrupt(_)) => *corrupt = Err(error),
                Err(error) => return Err(error),
            }
        }
        Ok(contexts)
    }

    async fn decide_and_commit(
        &self,
        mut open: Vec<UserEnvelopes>,
        verdicts: &mut [Vec<Option<Result<Recorded, Rejection>>>],
    ) -> Result<(), StoreError> {
        let mut corrupt = Ok(());
        for _ in 0..ATTEMPTS {
            let contexts = self.load(&mut open, &mut corrupt).await?;
            let now = self.clock.now();
            let mut decided = Vec::with_capacity(open.len());
            let mut commits = Vec::new();
            for (user, context) in open.into_iter().zip(contexts) {
                let Decision { commit, answers } = decide(&context, &user.envelopes, &self.policy, now);
                decided.push((user, Written::draft(context, commit.as_ref()), commit.is_some(), answers));
                commits.extend(commit);
            }
            let outcomes = if commits.is_empty() { Vec::new() } else { self.store.commit(commits).await? };
            let mut outcomes = outcomes.into_iter();
            open = Vec::new();
            for (user, mut written, is_committed, answers) in decided {
                if is_committed {
                    let Some(Outcome::Committed { version, ids }) = outcomes.next() else {
                        open.push(user);
                        continue;
                    };
                    written.number(version, ids);
                }
                for ((call, place), answer) in user.places.iter().zip(answers) {
                    verdicts[*call][*place] = Some(answer.map(|answer| written.recorded(&answer)));
                }
            }
            if open.is_empty() {
                return corrupt;
            }
        }
        Err(StoreError::unavailable("the session kept changing"))
    }
}

/// The envelopes of one user in a group, in order of arrival, and where in the group each comes from.
struct UserEnvelopes {
    envelopes: Vec<Stamped>,
    places: Vec<(usize, usize)>,
}

fn by_user(calls: Vec<Vec<Stamped>>) -> Vec<UserEnvelopes> {
    let mut users: Vec<UserEnvelopes> = Vec::new();
    let mut known: HashMap<UserId, usize> = HashMap::new();
    for (call, envelopes) in calls.into_iter().enumerate() {
        for (place, envelope) in envelopes.into_iter().enumerate() {
            let index = *known.entry(envelope.user().clone()).or_insert_with(|| {
                users.push(UserEnvelopes { envelopes: Vec::new(), places: Vec::new() });
                users.len().saturating_sub(1)
            });
            users[index].envelopes.push(envelope);
            users[index].places.push((call, place));
        }
    }
    users
}

/// One user's part of the store after a decision.
struct Written {
    session: Option<Session>,
    /// The rows that may answer a report: those that were there, by id, and those that were inserted.
    stored: Vec<Checkpoint>,
    drafts: Vec<NewCheckpoint>,
    inserted: Vec<Checkpoint>,
    changed: bool,
}

impl Written {
    /// What will be there when the commit is written.
    fn draft(context: Context, commit: Option<&Commit>) -> Self {
        let mut stored = context.rows;
        stored.extend(context.requests.into_iter().map(|(_, row)| row));
        stored.sort_unstable_by_key(|row| row.id);
        Self {
            session: commit.map(|commit| commit.session.clone()).or(context.session),
            stored,
            drafts: commit.map(|commit| commit.insert.clone()).unwrap_or_default(),
            inserted: Vec::new(),
            changed: commit.is_some_and(|commit| !commit.insert.is_empty() || !commit.withdraw.is_empty()),
        }
    }

    /// Takes over what the store said to the commit.
    fn number(&mut self, version: Version, ids: Vec<CheckpointId>) {
        if let Some(session) = &mut self.session {
            session.version = version;
            let rows = std::mem::take(&mut self.drafts).into_iter().zip(ids);
            self.inserted = rows.map(|(row, id)| row.numbered(id, session.user.clone())).collect();
        }
    }

    fn recorded(&self, answer: &Answer) -> Recorded {
        let find = |row: &Row| match row {
            Row::Inserted(place) => self.inserted.get(*place).cloned(),
            Row::Stored(id) => {
                let place = self.stored.binary_search_by_key(id, |row| row.id).ok()?;
                self.stored.get(place).cloned()
            }
        };
        let (checkpoint, created) = match answer {
            Answer::Created(row) => (find(row), true),
            Answer::InForce(row) => (find(row), false),
            Answer::Alive => (None, false),
        };
        Recorded { session: self.session.clone(), checkpoint, created, changed: self.changed }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_executor::block_on;

    use super::*;
    use crate::{Envelope, ManualClock, MemoryStore};

    #[test]
    fn envelopes_wait_until_their_group_has_its_turn_or_nobody_asks_any_more() {
        let clock = ManualClock::default();
        let (now, policy) = (clock.now(), Policy::default());
        let batcher = Batcher::new(Arc::new(MemoryStore::new()), Arc::new(clock), policy.clone());
        let call = |names: [&str; 2]| {
            let user = |name| UserId::new(name).unwrap();
            let stamped = |name| Envelope::heartbeat(user(name)).stamped(now, &policy).unwrap();
            names.map(stamped).to_vec()
        };
        let turn = batcher.turn().now_or_never().unwrap();
        let mut first = pin!(batcher.record(call(["a", "b"])));
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(batcher.waiting(), 2);
        {
            let mut second = pin!(batcher.record(call(["c", "d"])));
            assert!(second.as_mut().now_or_never().is_none());
            assert_eq!(batcher.waiting(), 4);
        }
        drop(turn);
        assert!(block_on(first).unwrap().iter().all(Result::is_ok));
        assert_eq!(batcher.waiting(), 0);

        let _turn = batcher.turn().now_or_never().unwrap();
        let mut given_up = Box::pin(batcher.record(call(["e", "f"])));
        assert!(given_up.as_mut().now_or_never().is_none());
        drop(given_up);
        assert_eq!(batcher.waiting(), 0);
    }
}
