//! Rooms with a random life, told to an adapter and to the store in memory: after each step both say the same.

use std::{sync::Arc, time::Duration};

use super::{Rooms, model::Random};
use crate::{
    Admins, Asker, Batch, ClientFrame, Command, ConnectionId, Epoch, Lease, MemoryStore, Moment, NewRoom,
    Nickname, Record, Room, RoomId, RoomName, RoomPolicy, Timestamp, UserId, Window,
};

/// How many steps a life has.
const STEPS: usize = 1200;

/// Joins, leaves, messages, moderation, batches that come twice or too late, crashes, takings, renewals, retirement and
/// erasures in a seeded random order. The seed stands in the message of a failure.
pub async fn a_random_room_is_the_same_as_in_memory(store: &dyn Rooms) {
    // One life: what is retired is retired in all rooms of the store.
    Life::new(1).told_to(store).await;
}

struct Life {
    seed: u64,
    random: Random,
    now: Timestamp,
    /// The rooms, and what is open of them.
    rooms: Vec<(RoomId, Option<Room>)>,
    users: Vec<UserId>,
    connections: u64,
    memory: Arc<MemoryStore>,
    /// A batch of a while ago.
    old: Option<Batch>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let name = |name: &str| format!("{name}-{seed}");
        Self {
            seed,
            random: Random(seed),
            now: Timestamp::from_secs(1_700_000_000).expect("an instant"),
            rooms: ["lobby", "日本", "o'brien"]
                .map(|room| (RoomId::new(name(room)).expect("a name"), None))
                .into(),
            users: ["alice", "bob", "o'brien", "日本"]
                .map(|user| UserId::new(name(user)).expect("a name"))
                .into(),
            connections: 0,
            memory: Arc::new(MemoryStore::new()),
            old: None,
        }
    }

    async fn told_to(mut self, store: &dyn Rooms) {
        let memory = self.memory.clone();
        let both: [&dyn Rooms; 2] = [store, &*memory];
        for step in 0..STEPS {
            self.now = self.now.saturating_add(Duration::from_millis(self.random.below(4000)));
            let place = self.random.below(self.rooms.len() as u64) as usize;
            match self.random.below(20) {
                0..=1 => self.make(both, place).await,
                2..=3 => self.take(both, place).await,
                4..=12 => self.command(place),
                13..=16 => self.batch(both, place).await,
                17 => self.renew(both, place).await,
                // The process died.
                18 => self.rooms[place].1 = None,
                _ if step % 5 == 0 => self.retire(both).await,
                _ => self.erase(both).await,
            }
            self.assert_same(both, place, step).await;
        }
    }

    fn user(&mut self) -> UserId {
        let users = self.users.clone();
        self.random.pick(&users).clone()
    }

    async fn make(&mut self, both: [&dyn Rooms; 2], place: usize) {
        let admins = [self.user(), self.user()];
        let mut admins: Vec<UserId> = Admins::new(admins).expect("few").into_iter().collect();
        admins.truncate(self.random.below(3) as usize);
        let name = RoomName::new("日本 'room'").expect("a name");
        let id = self.rooms[place].0.clone();
        let room = NewRoom { id, name, admins, created_at: self.now, events: Vec::new() };
        let mut made = Vec::new();
        for store in both {
            made.push(store.create_room(room.clone()).await.expect("a store that works"));
        }
        assert_eq!(made[0], made[1], "seed {}", self.seed);
    }

    async fn take(&mut self, both: [&dyn Rooms; 2], place: usize) {
        let id = self.rooms[place].0.clone();
        let known =
            both[1].room(&id).await.expect("a store that works").map_or(Epoch(0), |room| room.lease.epoch);
        let expected = if self.random.below(8) == 0 { Epoch(7) } else { known };
        let until = self.now.saturating_add(Duration::from_millis(self.random.below(20_000)));
        let lease = Lease { node: "n'1".to_owned(), epoch: known.next(self.now), until };
        let limit = self.random.below(6) as usize;
        let mut taken = Vec::new();
        for store in both {
            taken.push(
                store.take_room(&id, expected, lease.clone(), limit).await.expect("a store that works"),
            );
        }
        assert_eq!(taken[0], taken[1], "seed {}", self.seed);
        if let Some(taken) = taken.pop().flatten() {
            self.rooms[place].1 = Some(Room::new(taken, RoomPolicy::default(), self.now));
        }
    }

    fn command(&mut self, place: usize) {
        self.connections += 1;
        let user_id = self.user();
        let picked = self.random.below(30);
        let closes = self.random.below(8) == 0;
        let (seed, now) = (self.seed, self.now);
        let connection = ConnectionId(self.connections.saturating_sub(self.random.below(12)));
        let (by, new) = (Asker::Operator, ConnectionId(self.connections));
        let Some(room) = &mut self.rooms[place].1 else { return };
        let command = match picked {
            0..=9 => {
                let nickname = Nickname::new(&format!("'nick' {seed}")).expect("a nickname");
                Command::Join { connection: new, user_id, nickname, seen: None }
            }
            10..=12 => Command::Leave { connection },
            13..=20 => {
                let frame = ClientFrame::SendMessage { content: format!("it's {} 日本", now.as_millis()) };
                Command::from_frame(connection, frame).expect("a command")
            }
            21 => Command::Ban { by, user_id },
            22..=23 => Command::Unban { by, user_id },
            24 => Command::Kick { by, user_id },
            25 => Command::Mute { by, user_id },
            26 => Command::SetAdmins { admins: Admins::new([user_id]).expect("few") },
            27 => Command::CustomEvent {
                by: Asker::Connection(connection),
                event_type: "x".to_owned(),
                payload: 1.into(),
            },
            28 => Command::Drain,
            _ if closes => Command::Close,
            _ => Command::System { message: "x".to_owned() },
        };
        let uptime = Duration::from_millis(now.as_millis().unsigned_abs());
        room.handle(command, Moment { at: now, uptime }, &mut Vec::new());
    }

    async fn batch(&mut self, both: [&dyn Rooms; 2], place: usize) {
        let fresh = self.rooms[place].1.as_mut().and_then(|room| room.batch(self.now));
        let repeated = fresh.clone().filter(|_| self.random.below(4) == 0);
        // One that was written before another of the same opening is written no more; of an earlier opening it may be.
        let old = self.old.take_if(|old| {
            fresh.as_ref().is_some_and(|fresh| fresh.room == old.room && fresh.epoch != old.epoch)
        });
        let batches: Vec<Batch> = old.into_iter().chain(fresh.clone()).chain(repeated).collect();
        let mut written = Vec::new();
        for store in both {
            written.push(store.write_batches(batches.clone()).await.expect("a store that works"));
        }
        assert_eq!(written[0], written[1], "seed {}", self.seed);
        if self.old.is_none() {
            self.old = fresh;
        }
    }

    async fn renew(&mut self, both: [&dyn Rooms; 2], place: usize) {
        let epoch = self.rooms[place].1.as_ref().map_or(Epoch(3), Room::epoch);
        let held = vec![(self.rooms[place].0.clone(), epoch)];
        let until = self.now.saturating_add(Duration::from_millis(self.random.below(3) * 5000));
        let mut renewed = Vec::new();
        for store in both {
            renewed.push(store.renew_leases(held.clone(), until).await.expect("a store that works"));
        }
        assert_eq!(renewed[0], renewed[1], "seed {}", self.seed);
    }

    async fn retire(&mut self, both: [&dyn Rooms; 2]) {
        let before = self.now.saturating_sub(Duration::from_secs(self.random.below(600)));
        let mut retired = Vec::new();
        for store in both {
            // All of it, for which of several go first is not promised.
            retired.push(store.retire_rooms(before, 100_000).await.expect("a store that works"));
        }
        assert_eq!(retired[0], retired[1], "seed {}", self.seed);
    }

    async fn erase(&mut self, both: [&dyn Rooms; 2]) {
        let user = self.user();
        let mut erased = Vec::new();
        for store in both {
            erased.push(store.erase(&user, self.now).await.expect("a store that works"));
        }
        assert_eq!(erased[0], erased[1], "seed {}", self.seed);
    }

    async fn assert_same(&mut self, both: [&dyn Rooms; 2], place: usize, step: usize) {
        let told = format!("seed {}, step {step}", self.seed);
        let (id, user) = (self.rooms[place].0.clone(), self.user());
        let from = self.now.saturating_sub(Duration::from_secs(self.random.below(400)));
        let window = Window::new(from, self.now).expect("in order");
        let (skip, limit) = (self.random.below(4), 1 + self.random.below(9) as usize);
        let mut said = Vec::new();
        for store in both {
            let works = "a store that works";
            let mut open = Vec::new();
            for (id, _) in &self.rooms {
                open.push(store.room(id).await.expect(works));
            }
            let mut abandoned = store.abandoned(self.now, 1000).await.expect(works);
            abandoned.sort_unstable();
            let records: Vec<Record> = store.export(&user, None, 10_000).await.expect(works);
            said.push((
                (open, abandoned, records),
                store.messages(&id, window, skip, limit).await.expect(works),
                store.sessions(&id, window, skip, limit).await.expect(works),
                store.actions(&id, None, 10_000).await.expect(works),
            ));
        }
        assert_eq!(said[0], said[1], "{told}");
    }
}
