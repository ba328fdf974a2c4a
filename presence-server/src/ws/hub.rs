//! Which rooms are open here.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    ops::Bound::{Excluded, Unbounded},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use presence_core::{
    Command, ConnectionId, Epoch, Opening, RoomId, Rooms, StoreError, Timestamp, Tracker, UserId,
};
use tokio::{sync::Mutex as TurnMutex, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    room_handle::{Overview, RoomHandle},
    room_task::RoomTask,
};

/// How many rooms are settled at a time.
const SETTLED: usize = 100;
/// How many erasures are remembered before those are let go of that concern nobody here.
const HEARD: usize = 10_000;
/// How many users are looked up at once, whether they were erased, and at least in one step.
const LOOKED_AT: usize = 1000;
/// In how many steps all are looked at, however many they are: an erasure is heard within a minute.
const STEPS: usize = 8;

/// The rooms that are open in this process; cheap to clone. A room is opened when somebody asks for it.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    rooms: Rooms,
    open: Mutex<Open>,
    /// Rooms that are being opened: one at a time opens a room, so that none is opened twice, and no other room waits for
    /// it.
    opening: Mutex<HashMap<RoomId, Arc<TurnMutex<()>>>>,
    connections: AtomicU64,
    erasures: Mutex<Erasures>,
    /// The tasks of rooms, and those of their members.
    tasks: TaskTracker,
    members: TaskTracker,
}

#[derive(Default)]
struct Open {
    rooms: HashMap<RoomId, RoomHandle>,
    /// Everybody was sent away: no room is opened any more.
    is_over: bool,
}

/// What is known of erasures, which may happen on any node.
#[derive(Default)]
struct Erasures {
    /// Whom the rooms here have forgotten, and as of when.
    heard: HashMap<UserId, Timestamp>,
    /// The last user who was looked at.
    looked_at: Option<UserId>,
}

/// The place of a room among those that are open; it is given back however its task ends.
struct Place {
    hub: Hub,
    id: RoomId,
    epoch: Epoch,
}

impl Erasures {
    /// Those whose turn it is to be looked at, round and round.
    fn next(&mut self, known: &BTreeSet<UserId>) -> Vec<UserId> {
        if self.heard.len() > HEARD {
            // Of whom no room knows any more, nothing is left to be forgotten.
            self.heard.retain(|user, _| known.contains(user));
        }
        let share = LOOKED_AT.max(known.len().div_ceil(STEPS)).min(known.len());
        let after = self.looked_at.as_ref().map_or(Unbounded, Excluded);
        let mut users: Vec<_> = known.range::<UserId, _>((after, Unbounded)).take(share).cloned().collect();
        let more = known.iter().take(share - users.len());
        users.extend(more.cloned());
        self.looked_at = users.last().cloned();
        users
    }

    fn have_heard(&self, user: &UserId, erased_at: Timestamp) -> bool {
        self.heard.get(user).is_some_and(|heard| *heard >= erased_at)
    }
}

impl Place {
    /// Lets other nodes take the room. Where the process ends, that is done for all of them at once.
    async fn give_up(self) {
        if self.hub.lock().is_over {
            return;
        }
        let held = vec![(self.id.clone(), self.epoch)];
        if let Err(error) = self.hub.shared.rooms.give_up(held).await {
            tracing::warn!(%error, "a room is not given up: its lease ends by itself");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.hub.lock();
        // A later opening keeps its own.
        if open.rooms.get(&self.id).is_some_and(|room| room.epoch() == self.epoch) {
            open.rooms.remove(&self.id);
        }
    }
}

/// A turn at opening a room. The last one takes the room off the list.
struct Turn<'a> {
    hub: &'a Hub,
    id: &'a RoomId,
    mine: Arc<TurnMutex<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut opening = self.hub.opening();
        // The list's and our own: others are made under this lock.
        if Arc::strong_count(&self.mine) == 2 {
            opening.remove(self.id);
        }
    }
}

/// Why a room is not here.
#[derive(Debug)]
pub(crate) enum Absent {
    /// There is none, or it was closed.
    Unknown,
    /// Another node has it.
    Elsewhere,
    /// The store does not say.
    Store(StoreError),
}

impl From<StoreError> for Absent {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Hub {
    /// Rooms of this process.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self {
            shared: Arc::new(Shared {
                rooms,
                open: Mutex::default(),
                opening: Mutex::default(),
                connections: AtomicU64::new(0),
                erasures: Mutex::default(),
                tasks: TaskTracker::new(),
                members: TaskTracker::new(),
            }),
        }
    }

    /// What they are kept in.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.shared.rooms
    }

    /// A room, opened here if it lives nowhere.
    pub(crate) async fn find(&self, id: &RoomId) -> Result<RoomHandle, Absent> {
        if let Some(room) = self.opened(id) {
            return Ok(room);
        }
        let turn = self.turn(id);
        let _mine = turn.mine.lock().await;
        if let Some(room) = self.opened(id) {
            return Ok(room);
        }
        let mut room = match self.shared.rooms.open(id).await? {
            Opening::Open(room) => room,
            Opening::Elsewhere(_) => return Err(Absent::Elsewhere),
            Opening::Closed | Opening::Unknown => return Err(Absent::Unknown),
        };
        // What earlier openings left unfinished is ended before anybody comes in.
        self.shared.rooms.write(room.batch(self.shared.rooms.now()).into_iter().collect()).await?;
        let (task, handle) = RoomTask::new(*room, self.shared.rooms.clone());
        let place = Place { hub: self.clone(), id: id.clone(), epoch: handle.epoch() };
        if !self.admit(id, &handle) {
            self.shared.rooms.give_up(vec![(id.clone(), handle.epoch())]).await?;
            return Err(Absent::Elsewhere);
        }
        self.shared.tasks.spawn(async move {
            task.run().await;
            place.give_up().await;
        });
        Ok(handle)
    }

    fn turn<'a>(&'a self, id: &'a RoomId) -> Turn<'a> {
        let mine = Arc::clone(self.opening().entry(id.clone()).or_default());
        Turn { hub: self, id, mine }
    }

    fn opening(&self) -> MutexGuard<'_, HashMap<RoomId, Arc<TurnMutex<()>>>> {
        // Nothing under this lock panics half way.
        self.shared.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a room among those that are open here, unless the last of them were just sent their end.
    fn admit(&self, id: &RoomId, room: &RoomHandle) -> bool {
        let mut open = self.lock();
        if !open.is_over {
            open.rooms.insert(id.clone(), room.clone());
        }
        !open.is_over
    }

    fn opened(&self, id: &RoomId) -> Option<RoomHandle> {
        self.lock().rooms.get(id).filter(|room| !room.is_closed()).cloned()
    }

    /// How a room that is open here is.
    pub(crate) fn overview(&self, id: &RoomId) -> Option<Overview> {
        Some(self.opened(id)?.overview())
    }

    /// How many rooms are open here, and how many are in them.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let open = self.lock();
        (open.rooms.len(), open.rooms.values().map(|room| room.overview().stats.current_users).sum())
    }

    /// A number for a connection, which no other has had.
    pub(super) fn connection(&self) -> ConnectionId {
        ConnectionId(self.shared.connections.fetch_add(1, Relaxed))
    }

    /// Runs the task of a member, so that the end of the process waits for it.
    pub(super) fn spawn(&self, member: impl Future<Output = ()> + Send + 'static) {
        self.shared.members.spawn(member);
    }

    /// Forgets what the rooms here know of a user who was erased.
    pub(crate) async fn forget(&self, user: &UserId, erased_at: Timestamp) {
        self.erasures().heard.insert(user.clone(), erased_at);
        let open: Vec<_> = self.lock().rooms.values().cloned().collect();
        // All at once: a room that waits for the store keeps no other from it.
        join_all(open.iter().map(|room| room.ask(Command::Forget { user_id: user.clone(), erased_at })))
            .await;
    }

    /// Forgets users who were erased on other nodes. Looks at [a part](STEPS) of those whom the rooms here know; the next
    /// call goes on.
    ///
    /// # Errors
    ///
    /// The store failed; looking again is safe.
    pub(crate) async fn hear_erasures(&self, tracker: &Tracker) -> Result<(), StoreError> {
        let open: Vec<_> = self.lock().rooms.values().cloned().collect();
        let known = join_all(open.iter().map(RoomHandle::users)).await;
        let known: BTreeSet<UserId> = known.into_iter().flatten().collect();
        let users = self.erasures().next(&known);
        for users in users.chunks(LOOKED_AT) {
            for (user, erased_at) in users.iter().zip(tracker.erased_at(users).await?) {
                let Some(erased_at) = erased_at.filter(|at| !self.erasures().have_heard(user, *at)) else {
                    continue;
                };
                self.erasures().heard.insert(user.clone(), erased_at);
                // Nobody waits for this to be stored: a room that cannot write would keep all others from their leases.
                let tell = |room: &RoomHandle| {
                    let room = room.clone();
                    let command = Command::Forget { user_id: user.clone(), erased_at };
                    async move { room.send(command).await }
                };
                join_all(open.iter().map(tell)).await;
            }
        }
        Ok(())
    }

    fn erasures(&self) -> MutexGuard<'_, Erasures> {
        // Nothing under this lock panics half way.
        self.shared.erasures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prolongs the leases of the rooms here, and lets go of those that live elsewhere; says how many are here still.
    ///
    /// # Errors
    ///
    /// The store failed; renewing again is safe.
    pub(crate) async fn renew(&self) -> Result<u64, StoreError> {
        let held = self.held();
        let kept = self.shared.rooms.renew(held.clone()).await?;
        let mut count = 0;
        for ((id, epoch), is_kept) in held.iter().zip(kept) {
            if is_kept {
                count += 1;
            } else if let Some(room) = self.opened(id).filter(|room| room.epoch() == *epoch) {
                // Its end was on the way already where it does not hear this.
                let _ = room.send(Command::Lose).await;
            }
        }
        Ok(count)
    }

    /// Ends what was left unfinished in rooms of nodes that are gone; says how many rooms there were.
    ///
    /// # Errors
    ///
    /// The store failed; settling again is safe.
    pub(crate) async fn settle(&self) -> Result<u64, StoreError> {
        let settled = self.shared.rooms.settle(SETTLED, |id| self.opened(id).is_some()).await?;
        Ok(settled.rooms)
    }

    fn held(&self) -> Vec<(RoomId, Epoch)> {
        self.lock().rooms.iter().map(|(id, room)| (id.clone(), room.epoch())).collect()
    }

    /// Sends everybody away, has what happened written, and gives the rooms up; what is not done within `limit` is
    /// left: the leases end by themselves.
    pub async fn drain(&self, limit: Duration) {
        self.lock().is_over = true;
        let held = self.held();
        let drained = timeout(limit, async {
            let open: Vec<_> = self.lock().rooms.values().cloned().collect();
            for room in open {
                // Its end was on the way already where it does not hear this.
                let _ = room.send(Command::Drain).await;
            }
            self.shared.tasks.close();
            self.shared.tasks.wait().await;
            // Before the members: one that answers nothing would keep the rooms from other nodes.
            let given_up = self.shared.rooms.give_up(held).await;
            self.shared.members.close();
            self.shared.members.wait().await;
            given_up
        });
        match drained.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "rooms are not given up: their leases end by themselves")
            }
            Err(_) => tracing::warn!("rooms were not drained in time"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing under this lock panics half way.
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("rooms", &self.shared.rooms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_looked_at_within_a_minute_however_many_they_are() {
        for count in [0, 1, 999, 1000, 1001, 50_000] {
            let known: BTreeSet<_> =
                (0..count).map(|number| UserId::new(format!("user-{number}")).unwrap()).collect();
            let mut erasures = Erasures::default();
            let steps: Vec<_> = (0..STEPS).map(|_| erasures.next(&known)).collect();
            assert_eq!(steps.iter().flatten().collect::<BTreeSet<_>>().len(), count);
            let most = steps.iter().map(Vec::len).max().unwrap_or_default();
            assert!(most <= LOOKED_AT.max(count.div_ceil(STEPS)), "{most} of {count} at once");
        }
    }
}
