//! The facade of rooms: which node has one, what it writes, and what is asked of it later.

use std::{fmt, sync::Arc};

use crate::{
    AdminAction, Admins, Batch, ChatMessage, Clock, Epoch, Error, Event, Lease, NewRoom, Page, PageNumber,
    Pagination, Part, Rejection, RetiredRooms, Room, RoomId, RoomName, RoomPolicy, RoomQuery, RoomSession,
    RoomStore, StoreError, StoredRoom, Timestamp, UserId, Window, Written,
};

/// How often a room is looked at anew where others take it meanwhile.
const ATTEMPTS: usize = 8;
/// The most messages of a page.
const MESSAGES: u64 = 10_000;
/// The most sessions of a page.
const SESSIONS: u64 = 5_000;

/// Keeps rooms on a store of your choice.
///
/// A room lives on one node at a time: [`open`](Self::open) takes it there, under a lease that [`renew`](Self::renew)
/// prolongs, and gives the [`Room`] that decides. Whoever holds its sockets does what it says, and has its batches
/// [written](Self::write).
///
/// Cheap to clone. It needs no runtime: it awaits nothing but the store.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use presence_core::{
///     Admins, Command, ConnectionId, Effect, MemoryStore, Moment, Nickname, Opening, RoomId, RoomName, Rooms, SystemClock, UserId,
/// };
///
/// # futures_executor::block_on(async {
/// let rooms = Rooms::new(Arc::new(MemoryStore::new()), SystemClock, "node-1");
/// let lobby = RoomId::new("lobby")?;
/// rooms.create(lobby.clone(), RoomName::new("Lobby")?, Admins::new([UserId::new("root")?])?).await?;
/// let Opening::Open(mut room) = rooms.open(&lobby).await? else { panic!("nobody else has it") };
///
/// let now = Moment { at: rooms.now(), uptime: Duration::ZERO };
/// let join = Command::Join {
///     connection: ConnectionId(1),
///     user_id: UserId::new("alice")?,
///     nickname: Nickname::new("Alice")?,
///     seen: None,
/// };
/// let mut effects = Vec::new();
/// room.handle(join, now, &mut effects);
/// assert!(matches!(&effects[..], [Effect::Send(_, _welcome), Effect::Admit(ConnectionId(1))]));
/// rooms.write(room.batch(now.at).into_iter().collect()).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Rooms {
    shared: Arc<Parts>,
}

struct Parts {
    store: Arc<dyn RoomStore>,
    query: Arc<dyn RoomQuery>,
    clock: Arc<dyn Clock>,
    policy: RoomPolicy,
    node: String,
}

/// What became of an attempt to open a room.
#[derive(Debug)]
pub enum Opening {
    /// It lives here now.
    Open(Box<Room>),
    /// It lives on another node.
    Elsewhere(Lease),
    /// It was closed.
    Closed,
    /// There is no such room.
    Unknown,
}

/// A page of what happened in a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomHistory<T> {
    /// What is on the page, newest first.
    pub records: Vec<T>,
    /// Where it stands.
    pub pagination: Pagination,
}

/// What was ended of nodes that are gone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settled {
    /// How many rooms were looked after.
    pub rooms: u64,
    /// Whether there may be more: the limit was reached.
    pub more: bool,
}

impl Rooms {
    /// Rooms on `store`, with the default [`RoomPolicy`].
    ///
    /// `node` tells this process from the others on the same store. A process may have the name of one that has ended, and
    /// takes its rooms over at once; two of the same name at a time take rooms from each other.
    pub fn new<S>(store: Arc<S>, clock: impl Clock + 'static, node: impl Into<String>) -> Self
    where
        S: RoomQuery + RoomStore + 'static,
    {
        Self::with_policy(store, clock, node, RoomPolicy::default())
    }

    /// Rooms on `store` under `policy`.
    pub fn with_policy<S>(
        store: Arc<S>,
        clock: impl Clock + 'static,
        node: impl Into<String>,
        policy: RoomPolicy,
    ) -> Self
    where
        S: RoomQuery + RoomStore + 'static,
    {
        let (query, clock, node) = (store.clone(), Arc::new(clock), node.into());
        Self { shared: Arc::new(Parts { store, query, clock, policy, node }) }
    }

    /// The policy they were made with.
    #[must_use]
    pub fn policy(&self) -> &RoomPolicy {
        &self.shared.policy
    }

    /// The instant now, by their clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Makes a room. It has no members, and no node yet.
    ///
    /// # Errors
    ///
    /// [`Rejection::RoomExists`] where there is one of this id, or was, or the store failed: nothing was made, or where it
    /// [`is_retryable`](StoreError::is_retryable), it is unknown.
    pub async fn create(&self, id: RoomId, name: RoomName, admins: Admins) -> Result<StoredRoom, Error> {
        let created_at = self.now();
        let admins: Vec<UserId> = admins.into_iter().collect();
        let (room, room_name) = (id.clone(), name.clone());
        let made = Event::RoomCreated { room, room_name, admins: admins.clone(), at: created_at };
        let room = NewRoom { id: id.clone(), name, admins, created_at, events: vec![made] };
        if !self.shared.store.create_room(room).await? {
            return Err(Rejection::RoomExists.into());
        }
        let made = self.room(&id).await?;
        Ok(made.ok_or_else(|| StoreError::backend("a room that was made is not there"))?)
    }

    /// Takes a room to this node, if no other has it: its members of earlier openings are gone, and its first batch ends
    /// their sessions at their last sign of life. Write that batch before anybody is let in.
    ///
    /// Opening a room that this process has open takes it from itself: what it had open can write no more.
    ///
    /// # Errors
    ///
    /// The store failed: the room was not taken, or where it [`is_retryable`](StoreError::is_retryable), it is unknown;
    /// opening again is safe.
    pub async fn open(&self, id: &RoomId) -> Result<Opening, StoreError> {
        let Parts { store, query, policy, node, .. } = &*self.shared;
        for _ in 0..ATTEMPTS {
            let Some(room) = query.room(id).await? else { return Ok(Opening::Unknown) };
            if room.closed_at.is_some() {
                return Ok(Opening::Closed);
            }
            let now = self.now();
            if !room.lease.is_free_for(node, now) {
                return Ok(Opening::Elsewhere(room.lease));
            }
            let expected = room.lease.epoch;
            let until = now.saturating_add(policy.lease);
            let lease = Lease { node: node.clone(), epoch: expected.next(now), until };
            let taken = store.take_room(id, expected, lease, policy.history_messages).await?;
            if let Some(taken) = taken {
                return Ok(Opening::Open(Box::new(Room::new(taken, policy.clone(), now))));
            }
            // Somebody else was faster, or it was just closed.
        }
        Err(StoreError::unavailable("others keep taking this room"))
    }

    /// Writes batches, durably; one outcome per batch, in order. A room whose batch was [fenced](Written::Fenced) lives on
    /// another node: it is to handle [`Command::Lose`](crate::Command::Lose).
    ///
    /// # Errors
    ///
    /// The store failed: none of them is written, or where it [`is_retryable`](StoreError::is_retryable), it is unknown.
    /// Writing the same batches again is safe, and later ones of their rooms have to wait for it.
    pub async fn write(&self, batches: Vec<Batch>) -> Result<Vec<Written>, StoreError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        self.shared.store.write_batches(batches).await
    }

    /// Prolongs the leases of rooms that are open here, and says of each, in order, whether it lives here still. To be
    /// called a few times per [lease](RoomPolicy::lease).
    ///
    /// # Errors
    ///
    /// The store failed. The leases end when they would have, so that others may take the rooms then.
    pub async fn renew(&self, held: Vec<(RoomId, Epoch)>) -> Result<Vec<bool>, StoreError> {
        let until = self.now().saturating_add(self.shared.policy.lease);
        self.shared.store.renew_leases(held, until).await
    }

    /// Gives rooms up that are not to live here any more; all they had to write is written. Any node may take them.
    ///
    /// # Errors
    ///
    /// The store failed. The leases end by themselves.
    pub async fn give_up(&self, held: Vec<(RoomId, Epoch)>) -> Result<(), StoreError> {
        self.shared.store.renew_leases(held, Timestamp::MIN).await.map(drop)
    }

    /// Ends the sessions in at most `limit` rooms whose node is gone, at their last sign of life, and gives the rooms up.
    /// Any number of nodes may do so at once. Rooms that are open in this process are left alone, even if it was too slow
    /// to renew their leases: `is_here` tells which those are.
    ///
    /// # Errors
    ///
    /// The store failed; some rooms may be settled. Settling again is safe.
    pub async fn settle(
        &self,
        limit: usize,
        is_here: impl Fn(&RoomId) -> bool + Send,
    ) -> Result<Settled, StoreError> {
        let abandoned = self.shared.query.abandoned(self.now(), limit).await?;
        let mut settled = Settled { rooms: 0, more: abandoned.len() >= limit };
        for id in abandoned {
            if is_here(&id) {
                continue;
            }
            // Another node may have it by now.
            let Opening::Open(mut room) = self.open(&id).await? else { continue };
            self.write(room.batch(self.now()).into_iter().collect()).await?;
            self.give_up(vec![(id, room.epoch())]).await?;
            settled.rooms = settled.rooms.saturating_add(1);
        }
        Ok(settled)
    }

    /// Lets go of at most `limit` messages, sessions, records of administrators and closed rooms that the policy no longer
    /// keeps.
    ///
    /// # Errors
    ///
    /// The store failed; some may be gone.
    pub async fn retain(&self, limit: usize) -> Result<RetiredRooms, StoreError> {
        let Some(age) = self.shared.policy.keep_history else { return Ok(RetiredRooms::default()) };
        self.shared.store.retire_rooms(self.now().saturating_sub(age), limit).await
    }

    /// A room as of its last batch, open or closed; `None` where there is none.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn room(&self, id: &RoomId) -> Result<Option<StoredRoom>, StoreError> {
        self.shared.query.room(id).await
    }

    /// The open rooms as of their last batches, by id, `limit` to a page.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidLimit`] where `limit` is 0 or above 1000, or the store failed.
    pub async fn list(
        &self,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Page<StoredRoom, RoomId>, Error> {
        let ask = Page::<StoredRoom, RoomId>::ask(limit)?;
        let rooms = self.shared.query.rooms(after, ask).await?;
        Ok(Page::cut(rooms, limit, |room| room.id.clone()))
    }

    /// What was said in a room inside `window`, newest first: page `page` of `limit` messages, at most 10,000. `None` where
    /// there is no such room.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidPage`] where `page` or `limit` is 0, or the store failed.
    pub async fn messages(
        &self,
        id: &RoomId,
        window: Window,
        page: u64,
        limit: u64,
    ) -> Result<Option<RoomHistory<ChatMessage>>, Error> {
        let page = PageNumber::new(page, limit, MESSAGES)?;
        if self.room(id).await?.is_none() {
            return Ok(None);
        }
        let part = self.shared.query.messages(id, window, page.skip(), page.limit()).await?;
        Ok(Some(RoomHistory::new(part, page)))
    }

    /// At most `limit` of the messages inside `window`, newest first, without the first `skip`: for those who read a long
    /// page in parts. Nothing, where there is no such room.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn part_of_messages(
        &self,
        id: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<ChatMessage>, StoreError> {
        self.shared.query.messages(id, window, skip, limit).await
    }

    /// The sessions of a room that are over and began inside `window`, newest first: page `page` of `limit` sessions, at
    /// most 5,000. `None` where there is no such room.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidPage`] where `page` or `limit` is 0, or the store failed.
    pub async fn sessions(
        &self,
        id: &RoomId,
        window: Window,
        page: u64,
        limit: u64,
    ) -> Result<Option<RoomHistory<RoomSession>>, Error> {
        let page = PageNumber::new(page, limit, SESSIONS)?;
        if self.room(id).await?.is_none() {
            return Ok(None);
        }
        let part = self.shared.query.sessions(id, window, page.skip(), page.limit()).await?;
        Ok(Some(RoomHistory::new(part, page)))
    }

    /// What administrators did in a room, newest first, `limit` to a page, before the record of number `before`.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidLimit`] where `limit` is 0 or above 1000, or the store failed.
    pub async fn actions(
        &self,
        id: &RoomId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<AdminAction, i64>, Error> {
        let ask = Page::<AdminAction, i64>::ask(limit)?;
        let actions = self.shared.query.actions(id, before, ask).await?;
        Ok(Page::cut(actions, limit, |action| action.number))
    }
}

impl<T> RoomHistory<T> {
    fn new(part: Part<T>, page: PageNumber) -> Self {
        Self { records: part.records, pagination: page.of(part.total) }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { policy, node, .. } = &*self.shared;
        f.debug_struct("Rooms").field("node", node).field("policy", policy).finish_non_exhaustive()
    }
}
