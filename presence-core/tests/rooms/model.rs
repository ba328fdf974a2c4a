//! A room, told in 100,000 steps, beside a model of it that shares no code: lists that are searched from end to end.

use std::{sync::Arc, time::Duration};

use futures_executor::block_on;
use presence_core::{
    Admins, Asker, Command, ConnectionId, ManualClock, MemoryStore, Moment, Nickname, Opening, Room, RoomId,
    RoomName, RoomPolicy, Rooms, Window, Written,
};

use crate::world::{at, user};

const STEPS: u64 = 100_000;
const USERS: u64 = 12;

/// What is known of a stay: number, user, beginning, end.
type Stay = (u64, u64, u64, Option<u64>);

/// What survives a crash.
#[derive(Clone, Default)]
struct Naive {
    /// Connection, user.
    members: Vec<(u64, u64)>,
    banned: Vec<u64>,
    peak: u64,
    joins: u64,
    /// Those that are not in the store yet, or not over there.
    stays: Vec<Stay>,
}

impl Naive {
    fn end(&mut self, user: u64, now: u64) {
        self.members.retain(|member| member.1 != user);
        for stay in &mut self.stays {
            if stay.1 == user && stay.3.is_none() {
                stay.3 = Some(now);
            }
        }
    }

    fn join(&mut self, connection: u64, user: u64, now: u64) {
        if self.banned.contains(&user) {
            return;
        }
        self.end(user, now);
        self.members.push((connection, user));
        self.joins += 1;
        self.peak = self.peak.max(self.members.len() as u64);
        self.stays.push((self.joins, user, now, None));
    }

    fn leave(&mut self, connection: u64, now: u64) {
        let found = self.members.iter().find(|member| member.0 == connection).copied();
        if let Some((_, user)) = found {
            self.end(user, now);
        }
    }

    fn everybody_leaves(&mut self, now: u64) {
        for user in 0..USERS {
            self.end(user, now);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

struct Run {
    seed: u64,
    random: Random,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    rooms: Rooms,
    room: Room,
    now: u64,
    connections: u64,
    naive: Naive,
    /// The same as of the last batch, and when that was.
    written: (Naive, u64),
    /// The stays that are over in the store.
    over: Vec<Stay>,
    steps_of: [u64; 10],
}

fn lobby() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn name(number: u64) -> String {
    format!("u{number}")
}

fn open(rooms: &Rooms) -> Room {
    match block_on(rooms.open(&lobby())).unwrap() {
        Opening::Open(room) => *room,
        other => panic!("{other:?}"),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(ManualClock::new(at(0))));
        let rooms = Rooms::new(store.clone(), clock.clone(), "0");
        block_on(rooms.create(lobby(), RoomName::new("Lobby").unwrap(), Admins::default())).unwrap();
        let room = open(&rooms);
        Self {
            seed,
            random: Random(seed),
            store,
            clock,
            rooms,
            room,
            now: 0,
            connections: 0,
            naive: Naive::default(),
            written: (Naive::default(), 0),
            over: Vec::new(),
            steps_of: [0; 10],
        }
    }

    fn tell(&mut self, command: Command) {
        let now = Moment { at: at(self.now), uptime: Duration::from_millis(self.now) };
        self.room.handle(command, now, &mut Vec::new());
    }

    fn step(&mut self, step: u64) {
        self.now += self.random.below(1500);
        self.clock.set(at(self.now));
        let user_number = self.random.below(USERS);
        let (who, now) = (user(&name(user_number)), self.now);
        let kind = match self.random.below(100) {
            0..=39 => 0,
            40..=64 => 1,
            65..=69 => 2,
            70..=71 => 3,
            72..=76 => 4,
            77..=91 => 5,
            92..=94 => 6,
            95..=96 => 7,
            97..=98 => 8,
            _ => 9,
        };
        self.steps_of[kind] += 1;
        match kind {
            0 => {
                self.connections += 1;
                self.naive.join(self.connections, user_number, now);
                let nickname = Nickname::new(&name(user_number)).unwrap();
                let connection = ConnectionId(self.connections);
                self.tell(Command::Join { connection, user_id: who, nickname, seen: None });
            }
            1 => {
                // One of the last, which may be gone or taken over by now.
                let connection = self.connections.saturating_sub(self.random.below(30));
                self.naive.leave(connection, now);
                self.tell(Command::Leave { connection: ConnectionId(connection) });
            }
            2 => {
                self.naive.end(user_number, now);
                self.tell(Command::Kick { by: Asker::Operator, user_id: who });
            }
            3 => {
                self.naive.end(user_number, now);
                self.naive.banned.push(user_number);
                self.tell(Command::Ban { by: Asker::Operator, user_id: who });
            }
            4 => {
                self.naive.banned.retain(|banned| *banned != user_number);
                self.tell(Command::Unban { by: Asker::Operator, user_id: who });
            }
            5 => self.write(),
            6 => self.crash(false),
            7 => self.crash(true),
            8 => self.lose(),
            _ => self.drain(),
        }
        let told = format!("seed {}, step {step}", self.seed);
        let mut members: Vec<(u64, String)> =
            self.room.members().map(|member| (member.connection.0, member.user_id.to_string())).collect();
        members.sort_unstable();
        let mut expected: Vec<_> =
            self.naive.members.iter().map(|(connection, user)| (*connection, name(*user))).collect();
        expected.sort_unstable();
        assert_eq!(members, expected, "{told}");
        let stats = self.room.stats();
        let expected = (self.naive.members.len() as u64, self.naive.peak, self.naive.joins);
        assert_eq!((stats.current_users, stats.peak_users, stats.total_joins), expected, "{told}");
    }

    /// Writes what has gathered, sometimes twice.
    fn write(&mut self) {
        let Some(batch) = self.room.batch(at(self.now)) else { return };
        let again = (self.random.below(5) == 0).then(|| batch.clone());
        let batches: Vec<_> = std::iter::once(batch).chain(again).collect();
        let expected = vec![Written::Stored; batches.len()];
        assert_eq!(block_on(self.rooms.write(batches)).unwrap(), expected, "seed {}", self.seed);
        let (over, open): (Vec<Stay>, Vec<Stay>) = self.naive.stays.iter().partition(|stay| stay.3.is_some());
        self.over.extend(over);
        self.naive.stays = open;
        self.written = (self.naive.clone(), self.now);
    }

    /// What was not written is gone, and so is everybody who was there.
    fn forget(&mut self) {
        let (naive, alive_at) = self.written.clone();
        self.naive = naive;
        for stay in &mut self.naive.stays {
            stay.3 = Some(alive_at.max(stay.2));
        }
        self.naive.members.clear();
    }

    /// The process dies; a later one opens the room under the same name, or another node settles it first.
    fn crash(&mut self, is_settled: bool) {
        self.forget();
        if is_settled {
            self.now += 15_000;
            self.clock.set(at(self.now));
            let other = Rooms::new(self.store.clone(), self.clock.clone(), "other");
            let settled = block_on(other.settle(10, |_| false)).unwrap().rooms;
            assert!(settled <= 1);
        }
        self.room = open(&self.rooms);
        self.write_all();
    }

    /// Another node takes the room while this one is still at it.
    fn lose(&mut self) {
        self.now += 15_000;
        self.clock.set(at(self.now));
        self.rooms = Rooms::with_policy(
            self.store.clone(),
            self.clock.clone(),
            self.now.to_string(),
            RoomPolicy::default(),
        );
        let mut old = std::mem::replace(&mut self.room, open(&self.rooms));
        if let Some(late) = old.batch(at(self.now)) {
            assert_eq!(block_on(self.rooms.write(vec![late])).unwrap(), [Written::Fenced]);
        }
        self.forget();
        self.write_all();
    }

    /// The process ends in order.
    fn drain(&mut self) {
        self.naive.everybody_leaves(self.now);
        self.tell(Command::Drain);
        self.write();
        self.room = open(&self.rooms);
        self.write_all();
    }

    /// Writes what a room says when it was opened; nobody is in it, so that no session is open any more.
    fn write_all(&mut self) {
        self.write();
        let stays = std::mem::take(&mut self.naive.stays);
        assert!(stays.iter().all(|stay| stay.3.is_some()));
        self.over.extend(stays);
        self.written = (self.naive.clone(), self.now);
        assert_eq!(self.over.len() as u64, self.naive.joins, "every stay is over");
        if self.random.below(10) == 0 {
            self.assert_sessions(3);
        }
    }

    /// The newest sessions that are over are those of the model, and there are as many.
    fn assert_sessions(&self, limit: u64) {
        let page = block_on(self.rooms.sessions(&lobby(), Window::all(), 1, limit)).unwrap().unwrap();
        assert_eq!(page.pagination.total_records, self.over.len() as u64, "seed {}", self.seed);
        let told = page.records.iter().map(|session| {
            (session.number as u64, session.user_id.to_string(), session.join_time, session.leave_time)
        });
        let told: Vec<_> = told.collect();
        // Who came last went among the last, for there are few users.
        let mut expected: Vec<_> = self
            .over
            .iter()
            .rev()
            .take(100)
            .map(|stay| (stay.0, name(stay.1), at(stay.2), stay.3.map(at)))
            .collect();
        expected.sort_unstable_by_key(|stay| std::cmp::Reverse((stay.2, stay.0)));
        expected.truncate(limit as usize);
        assert_eq!(told, expected, "seed {}", self.seed);
    }
}

#[test]
fn any_order_of_joins_leaves_take_overs_kicks_and_crashes_is_as_in_the_model() {
    let mut run = Run::new(7);
    for step in 0..STEPS {
        run.step(step);
    }
    run.drain();
    // All of them, page by page.
    for page in 1..=run.over.len() as u64 / 5000 + 1 {
        let told = block_on(run.rooms.sessions(&lobby(), Window::all(), page, 5000)).unwrap().unwrap();
        let mut over = run.over.clone();
        over.sort_unstable_by_key(|stay| std::cmp::Reverse((stay.2, stay.0)));
        let expected = over.iter().skip((page as usize - 1) * 5000).take(5000);
        let expected: Vec<_> = expected.map(|stay| (stay.0, at(stay.2), stay.3.map(at))).collect();
        let told: Vec<_> =
            told.records.iter().map(|stay| (stay.number as u64, stay.join_time, stay.leave_time)).collect();
        assert_eq!(told, expected);
    }
    assert!(run.steps_of.iter().all(|steps| *steps > 500), "each kind of step was taken: {:?}", run.steps_of);
    assert!(run.over.len() > 10_000, "{}", run.over.len());
}
