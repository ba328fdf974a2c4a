//! Rooms in memory in which a test says what was said, on a clock that it moves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use presence_core::{
    Admins, Batch, ChatMessage, ChatText, Clock, Epoch, Feed, ManualClock, MemoryStore, Nickname, Opening,
    Position, RoomCounters, RoomId, RoomName, RoomRow, RoomSession, Rooms, SinkName, Timestamp, UserId,
    Written,
};
use presence_server::callbacks::{Attempts, Channel, HistoryBatches, Turn};

use crate::receiver::Receiver;

pub(crate) const ATTEMPTS: Attempts = Attempts { repeats: 3, delay: Duration::from_secs(5) };

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) rooms: Rooms,
    open: Mutex<BTreeMap<RoomId, (Epoch, i64, RoomCounters)>>,
}

pub(crate) fn room(id: &str) -> RoomId {
    RoomId::new(id).expect("an id")
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).expect("an id")
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).expect("an instant")));
        let store = Arc::new(MemoryStore::new());
        let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
        Self { clock, store, rooms, open: Mutex::default() }
    }

    pub(crate) async fn open(&self, id: &str) {
        let (id, name) = (room(id), RoomName::new("Lobby").expect("a name"));
        self.rooms.create(id.clone(), name, Admins::new([]).expect("few")).await.expect("made");
        let Opening::Open(opened) = self.rooms.open(&id).await.expect("a store") else {
            panic!("it is ours")
        };
        self.open.lock().expect("a lock").insert(id, (opened.epoch(), 0, RoomCounters::default()));
    }

    async fn write(&self, id: &str, change: impl FnOnce(&mut RoomCounters, Epoch) -> Vec<RoomRow>) {
        let batch = {
            let mut open = self.open.lock().expect("a lock");
            let (epoch, number, counters) = open.get_mut(&room(id)).expect("an open room");
            *number += 1;
            let rows = change(counters, *epoch);
            let (room, at) = (room(id), self.clock.now());
            Batch { room, epoch: *epoch, number: *number, at, counters: *counters, rows, events: Vec::new() }
        };
        assert_eq!(self.rooms.write(vec![batch]).await.expect("a store"), [Written::Stored]);
    }

    /// So many messages are said in a room, each of this text and its number.
    pub(crate) async fn says(&self, id: &str, who: &str, count: usize, text: &str) {
        let at = self.clock.now();
        self.write(id, |counters, epoch| {
            let message = |_| {
                counters.last_seq += 1;
                let content = format!("{text}{}", counters.last_seq);
                RoomRow::Message(ChatMessage {
                    position: Position { epoch, seq: counters.last_seq },
                    user_id: user(who),
                    nickname: Nickname::new(who).expect("a name"),
                    content: ChatText::new(&content).expect("a text"),
                    is_admin: false,
                    created_at: at,
                })
            };
            (0..count).map(message).collect()
        })
        .await;
    }

    /// So many users stay for a minute.
    pub(crate) async fn stays(&self, id: &str, count: i64) {
        let join_time = self.clock.now();
        let leave_time = join_time.saturating_add(Duration::from_millis(60_999));
        self.write(id, |counters, _| {
            let stay = |_| {
                counters.last_end += 1;
                let number = counters.last_end;
                let (user_id, nickname) = (user("alice"), Nickname::new("Alice").expect("a name"));
                let session = RoomSession { number, user_id, nickname, join_time, leave_time: None };
                [RoomRow::Joined(session), RoomRow::Left { number, end: number, leave_time }]
            };
            (0..count).flat_map(stay).collect()
        })
        .await;
    }

    pub(crate) fn channel(&self, receiver: &Receiver) -> Channel {
        Channel::new(receiver.endpoint("http", Duration::from_secs(30)), self.clock.clone())
    }

    pub(crate) fn turn(&self, node: &str) -> Turn {
        let name = SinkName::new("chat_history").expect("a name");
        Turn::new(self.store.clone(), self.clock.clone(), name, node)
    }

    pub(crate) fn batches(&self, feed: Feed, receiver: &Receiver, size: u32) -> HistoryBatches {
        let channel = self.channel(receiver);
        HistoryBatches::new(feed, self.store.clone(), channel, self.turn("node-1"), size, ATTEMPTS)
    }

    pub(crate) fn pass(&self, secs: u64) {
        self.clock.set(self.clock.now().saturating_add(Duration::from_secs(secs)));
    }
}
