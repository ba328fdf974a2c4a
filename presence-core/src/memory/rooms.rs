//! Rooms in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    ops::Bound::{Excluded, Unbounded},
    sync::{MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Action, AdminAction, Batch, ChatMessage, Epoch, Event, InRoom, Lease, MemoryStore, NewRoom, Part, Record,
    RetiredRooms, RoomCounters, RoomId, RoomName, RoomQuery, RoomRole, RoomRow, RoomSession, RoomStore,
    StoreError, StoredRoom, TakenRoom, Timestamp, UserId, Window, Written,
};

/// All that is kept of rooms. Its lock is taken before that of activity, and of the timelines.
#[derive(Debug, Default)]
pub(super) struct RoomLog {
    pub(super) rooms: BTreeMap<RoomId, Kept>,
    /// In which rooms something is kept of a user.
    of_users: HashMap<UserId, BTreeSet<RoomId>>,
}

#[derive(Debug)]
pub(super) struct Kept {
    name: RoomName,
    created_at: Timestamp,
    closed_at: Option<Timestamp>,
    pub(super) counters: RoomCounters,
    alive_at: Timestamp,
    lease: Lease,
    /// The number of the last batch under this lease.
    last_batch: i64,
    roles: BTreeMap<(RoomRole, UserId), Timestamp>,
    pub(super) messages: Rows<ChatMessage>,
    /// Those that are over.
    pub(super) sessions: Rows<RoomSession>,
    /// Their numbers in the order in which they ended.
    pub(super) ends: BTreeMap<i64, i64>,
    pub(super) messages_copied: i64,
    pub(super) sessions_copied: i64,
    unfinished: BTreeMap<i64, RoomSession>,
    actions: BTreeMap<i64, AdminAction>,
}

/// Rows by number, and by time.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pub(super) rows: BTreeMap<i64, T>,
    in_time: BTreeSet<(Timestamp, i64)>,
}

impl<T: Clone> Rows<T> {
    const fn new() -> Self {
        Self { rows: BTreeMap::new(), in_time: BTreeSet::new() }
    }

    fn insert(&mut self, at: Timestamp, number: i64, row: T) {
        if let Entry::Vacant(place) = self.rows.entry(number) {
            place.insert(row);
            self.in_time.insert((at, number));
        }
    }

    fn remove(&mut self, at: Timestamp, number: i64) {
        self.rows.remove(&number);
        self.in_time.remove(&(at, number));
    }

    /// Those inside the window, newest first.
    fn part(&self, window: Window, skip: u64, limit: usize) -> Part<T> {
        let inside = || self.in_time.range((window.from(), i64::MIN)..(window.to(), i64::MIN)).rev();
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX);
        let rows = inside().skip(skipped).take(limit).filter_map(|(_, number)| self.rows.get(number));
        Part { records: rows.cloned().collect(), total: inside().count() as u64 }
    }
}

impl MemoryStore {
    /// Keeps events for those who want them, but for what they say of users who were erased since.
    fn tell(&self, events: Vec<Event>, at: Timestamp) {
        let known = events.into_iter().filter_map(|event| event.unerased(|user| self.erased_at(user)));
        let known: Vec<_> = known.collect();
        self.outbox().keep(&known, at);
    }

    pub(super) fn room_log(&self) -> MutexGuard<'_, RoomLog> {
        // Nothing below panics between two writes that belong together.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RoomLog {
    fn create(&mut self, room: NewRoom, erased_at: impl Fn(&UserId) -> Option<Timestamp>) -> bool {
        let NewRoom { id, name, admins, created_at, .. } = room;
        let Entry::Vacant(place) = self.rooms.entry(id.clone()) else { return false };
        let kept = place.insert(Kept {
            name,
            created_at,
            closed_at: None,
            counters: RoomCounters { last_action: 1, ..RoomCounters::default() },
            alive_at: created_at,
            lease: Lease::none(),
            last_batch: 0,
            roles: BTreeMap::new(),
            messages: Rows::new(),
            sessions: Rows::new(),
            ends: BTreeMap::new(),
            messages_copied: 0,
            sessions_copied: 0,
            unfinished: BTreeMap::new(),
            actions: BTreeMap::new(),
        });
        let made =
            AdminAction { number: 1, actor: None, action: Action::Create, target: None, at: created_at };
        kept.actions.insert(1, made);
        for user in
            admins.into_iter().filter(|user| erased_at(user).is_none_or(|erased_at| erased_at < created_at))
        {
            self.of_users.entry(user.clone()).or_default().insert(id.clone());
            kept.roles.insert((RoomRole::Admin, user), created_at);
        }
        true
    }

    /// Writes a batch, and says whether it is written for the first time.
    fn write(&mut self, batch: Batch, erased_at: impl Fn(&UserId) -> Option<Timestamp>) -> (Written, bool) {
        let Batch { room, epoch, number, at, counters, rows, .. } = batch;
        let Some(kept) = self.rooms.get_mut(&room) else { return (Written::Fenced, false) };
        if kept.lease.epoch != epoch {
            return (Written::Fenced, false);
        }
        let is_known = |user: &UserId, at: Timestamp| erased_at(user).is_none_or(|erased_at| erased_at < at);
        let of_users = &mut self.of_users;
        let mut about = |user: &UserId| {
            of_users.entry(user.clone()).or_default().insert(room.clone());
        };
        for row in rows {
            match row {
                RoomRow::Message(message) if is_known(&message.user_id, message.created_at) => {
                    about(&message.user_id);
                    kept.messages.insert(message.created_at, message.position.seq, message);
                }
                RoomRow::Joined(session) if is_known(&session.user_id, session.join_time) => {
                    about(&session.user_id);
                    if !kept.sessions.rows.contains_key(&session.number) {
                        kept.unfinished.entry(session.number).or_insert(session);
                    }
                }
                RoomRow::Message(_) | RoomRow::Joined(_) => {}
                RoomRow::Left { number, end, leave_time } => {
                    if let Some(session) = kept.unfinished.remove(&number) {
                        let session = RoomSession { leave_time: Some(leave_time), ..session };
                        kept.sessions.insert(session.join_time, number, session);
                        kept.ends.insert(end, number);
                    }
                }
                RoomRow::Granted { user_id, role, at } => {
                    if is_known(&user_id, at) {
                        about(&user_id);
                        kept.roles.entry((role, user_id)).or_insert(at);
                    }
                }
                RoomRow::Revoked { user_id, role } => {
                    kept.roles.remove(&(role, user_id));
                }
                RoomRow::Action(mut action) => {
                    action.actor = action.actor.filter(|actor| is_known(actor, action.at));
                    action.target = action.target.filter(|target| is_known(target, action.at));
                    action.actor.iter().chain(&action.target).for_each(&mut about);
                    kept.actions.entry(action.number).or_insert(action);
                }
                RoomRow::Closed { at } => kept.closed_at = Some(at),
            }
        }
        let is_new = kept.last_batch < number;
        (kept.counters, kept.alive_at, kept.last_batch) = (counters, at, number);
        (Written::Stored, is_new)
    }

    fn retire(&mut self, before: Timestamp, limit: usize) -> RetiredRooms {
        let mut retired = RetiredRooms::default();
        let mut left = limit;
        let mut take = |count: &mut u64| {
            let is_left = left > 0;
            left = left.saturating_sub(1);
            *count = count.saturating_add(is_left.into());
            is_left
        };
        for kept in self.rooms.values_mut() {
            while let Some(&(at, seq)) = kept.messages.in_time.first().filter(|(at, _)| *at < before)
                && take(&mut retired.messages)
            {
                kept.messages.remove(at, seq);
            }
        }
        for kept in self.rooms.values_mut() {
            let is_old =
                |session: &&RoomSession| session.leave_time.is_some_and(|leave_time| leave_time < before);
            let old: Vec<_> =
                kept.sessions.rows.values().filter(is_old).map(|old| (old.join_time, old.number)).collect();
            for (at, number) in old {
                if take(&mut retired.sessions) {
                    kept.sessions.remove(at, number);
                }
            }
        }
        for kept in self.rooms.values_mut() {
            kept.actions.retain(|_, action| action.at >= before || !take(&mut retired.actions));
        }
        self.rooms.retain(|_, kept| {
            let is_old = kept.closed_at.is_some_and(|closed_at| closed_at < before);
            let has_sessions = !kept.sessions.rows.is_empty() || !kept.unfinished.is_empty();
            let is_empty = kept.messages.rows.is_empty() && !has_sessions && kept.actions.is_empty();
            !(is_old && is_empty && take(&mut retired.rooms))
        });
        let rooms = &self.rooms;
        self.of_users.retain(|user, in_rooms| {
            in_rooms.retain(|room| rooms.get(room).is_some_and(|kept| kept.is_about(user)));
            !in_rooms.is_empty()
        });
        retired
    }

    /// Removes what is known of a user, and says how many messages and sessions there were.
    pub(super) fn erase(&mut self, user: &UserId) -> (u64, u64) {
        let (mut messages, mut sessions) = (0_u64, 0_u64);
        for room in self.of_users.remove(user).unwrap_or_default() {
            let Some(kept) = self.rooms.get_mut(&room) else { continue };
            kept.roles.retain(|(_, of), _| of != user);
            let said = kept.messages.rows.values().filter(|message| message.user_id == *user);
            let said: Vec<_> = said.map(|message| (message.created_at, message.position.seq)).collect();
            messages = messages.saturating_add(said.len() as u64);
            said.into_iter().for_each(|(at, seq)| kept.messages.remove(at, seq));
            let stays = kept.sessions.rows.values().filter(|session| session.user_id == *user);
            let stays: Vec<_> = stays.map(|session| (session.join_time, session.number)).collect();
            sessions = sessions.saturating_add(stays.len() as u64);
            stays.into_iter().for_each(|(at, number)| kept.sessions.remove(at, number));
            let stays = kept.unfinished.extract_if(.., |_, session| session.user_id == *user);
            sessions = sessions.saturating_add(stays.count() as u64);
            for action in kept.actions.values_mut() {
                action.actor.take_if(|actor| actor == user);
                action.target.take_if(|target| target == user);
            }
        }
        (messages, sessions)
    }

    /// What an export tells of a user.
    pub(super) fn records(&self, user: &UserId) -> Vec<Record> {
        let mut records = Vec::new();
        for room_id in self.of_users.get(user).into_iter().flatten() {
            let Some(kept) = self.rooms.get(room_id) else { continue };
            let roles = kept.roles.iter().filter(|((_, of), _)| of == user);
            records.extend(roles.map(|((role, _), at)| Record::RoomRole {
                room_id: room_id.clone(),
                role: *role,
                at: *at,
            }));
            let sessions = kept.sessions.rows.values().chain(kept.unfinished.values());
            let sessions = sessions.filter(|session| session.user_id == *user);
            records.extend(sessions.map(|session| Record::RoomSession(in_room(room_id, session))));
            let messages = kept.messages.rows.values().filter(|message| message.user_id == *user);
            records.extend(messages.map(|message| Record::RoomMessage(in_room(room_id, message))));
            let actions = kept.actions.values().filter(|action| is_about(action, user));
            records.extend(actions.map(|action| Record::AdminAction(in_room(room_id, action))));
        }
        records
    }

    fn stored(&self, id: &RoomId) -> Option<StoredRoom> {
        self.rooms.get(id).map(|kept| kept.stored(id))
    }
}

fn in_room<T: Clone>(room: &RoomId, what: &T) -> InRoom<T> {
    InRoom { room_id: room.clone(), what: what.clone() }
}

fn is_about(action: &AdminAction, user: &UserId) -> bool {
    action.actor.as_ref() == Some(user) || action.target.as_ref() == Some(user)
}

impl Kept {
    fn is_about(&self, user: &UserId) -> bool {
        self.roles.keys().any(|(_, of)| of == user)
            || self.messages.rows.values().any(|message| message.user_id == *user)
            || self
                .sessions
                .rows
                .values()
                .chain(self.unfinished.values())
                .any(|session| session.user_id == *user)
            || self.actions.values().any(|action| is_about(action, user))
    }

    fn users(&self, role: RoomRole) -> Vec<UserId> {
        self.roles.keys().filter(|(of, _)| *of == role).map(|(_, user)| user.clone()).collect()
    }

    fn stored(&self, id: &RoomId) -> StoredRoom {
        StoredRoom {
            id: id.clone(),
            name: self.name.clone(),
            admins: self.users(RoomRole::Admin),
            banned: self.users(RoomRole::Banned),
            created_at: self.created_at,
            closed_at: self.closed_at,
            counters: self.counters,
            alive_at: self.alive_at,
            lease: self.lease.clone(),
        }
    }

    fn take(&mut self, id: &RoomId, expected: Epoch, lease: Lease, messages: usize) -> Option<TakenRoom> {
        if self.lease.epoch != expected || self.closed_at.is_some() {
            return None;
        }
        (self.lease, self.last_batch) = (lease, 0);
        let mut last: Vec<_> = self.messages.rows.values().rev().take(messages).cloned().collect();
        last.reverse();
        Some(TakenRoom {
            room: self.stored(id),
            muted: self.users(RoomRole::Muted),
            messages: last,
            unfinished: self.unfinished.values().cloned().collect(),
        })
    }
}

#[async_trait]
impl RoomStore for MemoryStore {
    async fn create_room(&self, room: NewRoom) -> Result<bool, StoreError> {
        let mut log = self.room_log();
        let (events, at) = (room.events.clone(), room.created_at);
        let is_made = log.create(room, |user| self.erased_at(user));
        if is_made {
            self.tell(events, at);
        }
        Ok(is_made)
    }

    async fn take_room(
        &self,
        room: &RoomId,
        expected: Epoch,
        lease: Lease,
        messages: usize,
    ) -> Result<Option<TakenRoom>, StoreError> {
        let mut log = self.room_log();
        Ok(log.rooms.get_mut(room).and_then(|kept| kept.take(room, expected, lease, messages)))
    }

    async fn renew_leases(
        &self,
        held: Vec<(RoomId, Epoch)>,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let mut log = self.room_log();
        let renew = |(room, epoch)| match log.rooms.get_mut(&room) {
            Some(kept) if kept.lease.epoch == epoch => {
                kept.lease.until = until;
                true
            }
            _ => false,
        };
        Ok(held.into_iter().map(renew).collect())
    }

    async fn write_batches(&self, batches: Vec<Batch>) -> Result<Vec<Written>, StoreError> {
        let mut log = self.room_log();
        let write = |mut batch: Batch| {
            let (events, at) = (std::mem::take(&mut batch.events), batch.at);
            let (written, is_new) = log.write(batch, |user| self.erased_at(user));
            if is_new {
                self.tell(events, at);
            }
            written
        };
        Ok(batches.into_iter().map(write).collect())
    }

    async fn retire_rooms(&self, before: Timestamp, limit: usize) -> Result<RetiredRooms, StoreError> {
        Ok(self.room_log().retire(before, limit))
    }
}

#[async_trait]
impl RoomQuery for MemoryStore {
    async fn room(&self, room: &RoomId) -> Result<Option<StoredRoom>, StoreError> {
        Ok(self.room_log().stored(room))
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<StoredRoom>, StoreError> {
        let log = self.room_log();
        let later = log.rooms.range::<RoomId, _>((after.map_or(Unbounded, Excluded), Unbounded));
        let open = later.filter(|(_, kept)| kept.closed_at.is_none());
        Ok(open.take(limit).map(|(id, kept)| kept.stored(id)).collect())
    }

    async fn abandoned(&self, now: Timestamp, limit: usize) -> Result<Vec<RoomId>, StoreError> {
        let log = self.room_log();
        let is_abandoned = |kept: &Kept| {
            kept.closed_at.is_none() && kept.counters.stats.current_users > 0 && kept.lease.until <= now
        };
        let abandoned = log.rooms.iter().filter(|(_, kept)| is_abandoned(kept));
        Ok(abandoned.take(limit).map(|(id, _)| id.clone()).collect())
    }

    async fn messages(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<ChatMessage>, StoreError> {
        let log = self.room_log();
        let part = log.rooms.get(room).map(|kept| kept.messages.part(window, skip, limit));
        Ok(part.unwrap_or(Part { records: Vec::new(), total: 0 }))
    }

    async fn sessions(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<RoomSession>, StoreError> {
        let log = self.room_log();
        let part = log.rooms.get(room).map(|kept| kept.sessions.part(window, skip, limit));
        Ok(part.unwrap_or(Part { records: Vec::new(), total: 0 }))
    }

    async fn actions(
        &self,
        room: &RoomId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AdminAction>, StoreError> {
        let log = self.room_log();
        let Some(kept) = log.rooms.get(room) else { return Ok(Vec::new()) };
        let earlier = kept.actions.range(..before.unwrap_or(i64::MAX)).rev();
        Ok(earlier.take(limit).map(|(_, action)| action.clone()).collect())
    }
}
