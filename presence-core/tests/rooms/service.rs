//! Rooms on a store: who has one, what becomes of it after a crash, and what is asked later.

use std::{sync::Arc, time::Duration};

use futures_executor::block_on;
use presence_core::{
    Action, Admins, Asker, Command, ConnectionId, Effect, Error, ManualClock, MemoryStore, Moment, Nickname,
    Opening, PageNumber, Pagination, Position, Rejection, Room, RoomId, RoomName, RoomPolicy, Rooms, Window,
    Written,
};

use crate::world::{at, short, user};

/// Some nodes on one store, with one clock.
struct Nodes {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    policy: RoomPolicy,
}

impl Nodes {
    fn new() -> Self {
        let (store, clock) = (Arc::default(), Arc::new(ManualClock::new(at(0))));
        let policy = RoomPolicy { message_interval: Duration::ZERO, ..RoomPolicy::default() };
        Self { store, clock, policy }
    }

    fn node(&self, name: &str) -> Rooms {
        Rooms::with_policy(self.store.clone(), self.clock.clone(), name, self.policy.clone())
    }

    fn pass_to(&self, millis: u64) {
        self.clock.set(at(millis));
    }
}

fn lobby() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn make(rooms: &Rooms) {
    let admins = Admins::new([user("root")]).unwrap();
    block_on(rooms.create(lobby(), RoomName::new("Lobby").unwrap(), admins)).unwrap();
}

fn open(rooms: &Rooms) -> Room {
    match block_on(rooms.open(&lobby())).unwrap() {
        Opening::Open(room) => *room,
        other => panic!("{other:?}"),
    }
}

fn tell(rooms: &Rooms, room: &mut Room, command: Command) -> Vec<String> {
    let uptime = rooms.now().since(at(0));
    let mut effects = Vec::new();
    room.handle(command, Moment { at: rooms.now(), uptime }, &mut effects);
    let frames = effects.iter().filter_map(|effect| match effect {
        Effect::Send(_, frame) | Effect::Broadcast(frame) => Some(short(frame)),
        _ => None,
    });
    frames.collect()
}

fn join(connection: u64, name: &str) -> Command {
    let nickname = Nickname::new(name).unwrap();
    Command::Join { connection: ConnectionId(connection), user_id: user(name), nickname, seen: None }
}

fn say(connection: u64, content: &str) -> Command {
    Command::Say { connection: ConnectionId(connection), content: content.to_owned() }
}

fn flush(rooms: &Rooms, room: &mut Room) -> Vec<Written> {
    block_on(rooms.write(room.batch(rooms.now()).into_iter().collect())).unwrap()
}

/// The sessions that are over: user, beginning and end in milliseconds; the newest first.
fn sessions(rooms: &Rooms) -> Vec<String> {
    let page = block_on(rooms.sessions(&lobby(), Window::all(), 1, 500)).unwrap().unwrap();
    let line = |session: &presence_core::RoomSession| {
        let since = |time: presence_core::Timestamp| time.since(at(0)).as_millis();
        format!("{} {}-{}", session.user_id, since(session.join_time), since(session.leave_time.unwrap()))
    };
    page.records.iter().map(line).collect()
}

#[test]
fn a_room_is_made_once_and_listed_until_it_is_closed() {
    let nodes = Nodes::new();
    let rooms = nodes.node("one");
    make(&rooms);
    let again = block_on(rooms.create(lobby(), RoomName::new("Other").unwrap(), Admins::default()));
    assert!(matches!(again, Err(Error::Rejected(Rejection::RoomExists))), "{again:?}");
    let listed = block_on(rooms.list(None, 10)).unwrap();
    assert_eq!((listed.items.len(), listed.next), (1, None));
    let mut room = open(&rooms);
    tell(&rooms, &mut room, Command::Close);
    flush(&rooms, &mut room);
    assert!(block_on(rooms.list(None, 10)).unwrap().items.is_empty());
    assert!(matches!(block_on(rooms.open(&lobby())).unwrap(), Opening::Closed));
    assert!(block_on(rooms.room(&lobby())).unwrap().is_some(), "its history stays");
    assert!(matches!(block_on(rooms.open(&RoomId::new("nowhere").unwrap())).unwrap(), Opening::Unknown));
}

#[test]
fn at_most_a_thousand_administrators() {
    let users = |count: usize| (0..count).map(|n| user(&format!("u{n}")));
    assert!(Admins::new(users(1000)).is_ok());
    assert_eq!(Admins::new(users(1001)), Err(Rejection::TooManyAdmins));
    assert!(Admins::new(users(1000).chain(users(1000))).is_ok(), "each counts once");
}

#[test]
fn a_room_lives_on_one_node_until_its_lease_ends() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.node("one"), nodes.node("two"));
    make(&one);
    let room = open(&one);
    nodes.pass_to(14_999);
    let Opening::Elsewhere(lease) = block_on(two.open(&lobby())).unwrap() else { panic!("it is free") };
    assert_eq!((lease.node.as_str(), lease.until), ("one", at(15_000)));
    assert_eq!(block_on(one.renew(vec![(lobby(), room.epoch())])).unwrap(), [true]);
    nodes.pass_to(29_998);
    assert!(matches!(block_on(two.open(&lobby())).unwrap(), Opening::Elsewhere(_)));
    nodes.pass_to(29_999);
    open(&two);
    assert_eq!(block_on(one.renew(vec![(lobby(), room.epoch())])).unwrap(), [false]);
    assert!(matches!(block_on(one.open(&lobby())).unwrap(), Opening::Elsewhere(_)));
}

#[test]
fn a_room_that_was_given_up_is_free_at_once() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.node("one"), nodes.node("two"));
    make(&one);
    let mut room = open(&one);
    tell(&one, &mut room, join(1, "alice"));
    nodes.pass_to(2000);
    tell(&one, &mut room, Command::Drain);
    assert_eq!(flush(&one, &mut room), [Written::Stored]);
    block_on(one.give_up(vec![(lobby(), room.epoch())])).unwrap();
    open(&two);
    assert_eq!(sessions(&two), ["alice 0-2000"]);
}

#[test]
fn what_a_node_writes_after_its_room_was_taken_is_refused() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.node("one"), nodes.node("two"));
    make(&one);
    let mut old = open(&one);
    tell(&one, &mut old, join(1, "alice"));
    flush(&one, &mut old);
    nodes.pass_to(15_000);
    let mut new = open(&two);
    flush(&two, &mut new);
    tell(&one, &mut old, say(1, "lost"));
    assert_eq!(flush(&one, &mut old), [Written::Fenced]);
    tell(&one, &mut old, Command::Lose);
    assert_eq!((old.batch(at(99_000)), old.stats().current_users), (None, 0));
    let messages = block_on(two.messages(&lobby(), Window::all(), 1, 10)).unwrap().unwrap();
    assert_eq!(messages.records, []);
    assert_eq!(sessions(&two), ["alice 0-0"]);
}

#[test]
fn after_a_restart_unfinished_sessions_end_at_their_last_sign_of_life() {
    let nodes = Nodes::new();
    let rooms = nodes.node("one");
    make(&rooms);
    let mut room = open(&rooms);
    tell(&rooms, &mut room, join(1, "alice"));
    tell(&rooms, &mut room, join(2, "root"));
    tell(&rooms, &mut room, Command::Ban { by: Asker::Operator, user_id: user("eve") });
    tell(&rooms, &mut room, Command::Mute { by: Asker::Operator, user_id: user("carl") });
    tell(&rooms, &mut room, say(2, "hello"));
    nodes.pass_to(3000);
    flush(&rooms, &mut room);
    nodes.pass_to(14_000);
    flush(&rooms, &mut room); // nothing happened, but they were there
    nodes.pass_to(15_000);
    tell(&rooms, &mut room, join(3, "bob"));
    tell(&rooms, &mut room, say(2, "never written"));
    drop(room); // the process dies

    nodes.pass_to(16_000);
    let rooms = nodes.node("one");
    let mut room = open(&rooms);
    flush(&rooms, &mut room);
    assert_eq!(sessions(&rooms), ["root 0-14000", "alice 0-14000"]);
    let stats = room.stats();
    assert_eq!((stats.current_users, stats.peak_users, stats.total_joins), (0, 2, 2));
    let Position { epoch, seq } = room.position();
    assert_eq!((epoch, seq), (room.epoch(), 1));
    assert_eq!(tell(&rooms, &mut room, join(4, "eve"))[0], "Error BANNED 你已被踢出该房间，无法再次加入");
    assert!(tell(&rooms, &mut room, join(5, "carl"))[0].ends_with(".1 muted"));
    assert_eq!(tell(&rooms, &mut room, say(4, "x")), [""; 0], "the banned are not in");
    tell(&rooms, &mut room, join(6, "root"));
    assert_eq!(tell(&rooms, &mut room, say(6, "again")), ["Message 2 root (admin): again"]);
    let recorded = block_on(rooms.actions(&lobby(), None, 10)).unwrap().items;
    assert_eq!(
        recorded.iter().map(|done| done.action).collect::<Vec<_>>(),
        [Action::Mute, Action::Ban, Action::Create]
    );
}

#[test]
fn what_a_dead_node_left_is_settled_by_the_others() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.node("one"), nodes.node("two"));
    make(&one);
    let mut room = open(&one);
    tell(&one, &mut room, join(1, "alice"));
    nodes.pass_to(1000);
    flush(&one, &mut room);
    nodes.pass_to(14_999);
    assert_eq!(block_on(two.settle(10, |_| false)).unwrap().rooms, 0, "its lease holds");
    nodes.pass_to(15_000);
    assert_eq!(
        block_on(two.settle(10, |room| *room == lobby())).unwrap().rooms,
        0,
        "it is open here, and was slow"
    );
    let settled = block_on(two.settle(10, |_| false)).unwrap();
    assert_eq!((settled.rooms, settled.more), (1, false));
    assert_eq!(sessions(&two), ["alice 0-1000"]);
    assert_eq!(block_on(two.settle(10, |_| false)).unwrap().rooms, 0);
    assert_eq!(block_on(two.room(&lobby())).unwrap().unwrap().counters.stats.current_users, 0);
    open(&one);
}

#[test]
fn a_room_whose_only_member_was_erased_is_settled_too() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.node("one"), nodes.node("two"));
    make(&one);
    let mut room = open(&one);
    tell(&one, &mut room, join(1, "alice"));
    flush(&one, &mut room);
    block_on(presence_core::CheckpointStore::erase(&*nodes.store, &user("alice"), at(10))).unwrap();
    nodes.pass_to(15_000);
    assert_eq!(block_on(two.settle(10, |_| false)).unwrap().rooms, 1);
    assert_eq!(block_on(two.settle(10, |_| false)).unwrap().rooms, 0);
}

#[test]
fn history_is_kept_as_long_as_the_policy_says() {
    let mut nodes = Nodes::new();
    nodes.policy.keep_history = Some(Duration::from_secs(100));
    let rooms = nodes.node("one");
    make(&rooms);
    let mut room = open(&rooms);
    tell(&rooms, &mut room, join(1, "root"));
    tell(&rooms, &mut room, say(1, "old"));
    nodes.pass_to(50_000);
    tell(&rooms, &mut room, say(1, "new"));
    tell(&rooms, &mut room, Command::Leave { connection: ConnectionId(1) });
    flush(&rooms, &mut room);
    nodes.pass_to(100_000);
    assert_eq!(block_on(rooms.retain(10)).unwrap().total(), 0);
    nodes.pass_to(100_001);
    let gone = block_on(rooms.retain(10)).unwrap();
    assert_eq!((gone.messages, gone.sessions, gone.actions, gone.rooms), (1, 0, 1, 0));
    let left = block_on(rooms.messages(&lobby(), Window::all(), 1, 10)).unwrap().unwrap();
    assert_eq!(left.records.iter().map(|message| message.content.as_str()).collect::<Vec<_>>(), ["new"]);
    nodes.policy.keep_history = None;
    nodes.pass_to(1_000_000);
    assert_eq!(block_on(nodes.node("one").retain(10)).unwrap().total(), 0, "for ever");
}

#[test]
fn p1_to_p3_pages_of_a_room() {
    let nodes = Nodes::new();
    let rooms = nodes.node("one");
    make(&rooms);
    let mut room = open(&rooms);
    tell(&rooms, &mut room, join(1, "root"));
    for (text, secs) in [("1", 10), ("2", 20), ("3", 30), ("4", 30), ("5", 40)] {
        nodes.pass_to(secs * 1000);
        tell(&rooms, &mut room, say(1, text));
    }
    flush(&rooms, &mut room);
    let page = |from: u64, to: u64, page, limit| {
        let window = Window::new(at(from * 1000), at((to + 1) * 1000)).unwrap(); // `to` covers its whole second
        let history = block_on(rooms.messages(&lobby(), window, page, limit)).unwrap().unwrap();
        let ids: String = history.records.iter().map(|message| message.content.as_str().to_owned()).collect();
        (ids, history.pagination)
    };
    let stands = |current_page, total_pages, total_records, page_size, has_next, has_prev| Pagination {
        current_page,
        total_pages,
        total_records,
        page_size,
        has_next,
        has_prev,
    };
    assert_eq!(page(0, 99, 1, 2), ("54".to_owned(), stands(1, 3, 5, 2, true, false)));
    assert_eq!(page(0, 99, 2, 2), ("32".to_owned(), stands(2, 3, 5, 2, true, true)));
    assert_eq!(page(0, 99, 3, 2), ("1".to_owned(), stands(3, 3, 5, 2, false, true)));
    assert_eq!(page(0, 99, 4, 2), (String::new(), stands(4, 3, 5, 2, false, true)), "behind the last one");
    assert_eq!(page(20, 30, 1, 1000), ("432".to_owned(), stands(1, 1, 3, 1000, false, false)));
    assert_eq!(page(41, 99, 1, 1000), (String::new(), stands(1, 0, 0, 1000, false, false)));
    assert_eq!(page(0, 99, 1, 99_999).1.page_size, 10_000, "no page holds more");
    for (number, limit) in [(0, 1), (1, 0)] {
        let refused = block_on(rooms.messages(&lobby(), Window::all(), number, limit));
        assert!(matches!(refused, Err(Error::Rejected(Rejection::InvalidPage))));
        let refused = block_on(rooms.sessions(&lobby(), Window::all(), number, limit));
        assert!(matches!(refused, Err(Error::Rejected(Rejection::InvalidPage))));
    }
    let nowhere = RoomId::new("nowhere").unwrap();
    assert_eq!(block_on(rooms.messages(&nowhere, Window::all(), 1, 1)).unwrap(), None);
    assert_eq!(block_on(rooms.sessions(&nowhere, Window::all(), 1, 1)).unwrap(), None);
    let far = PageNumber::new(u64::MAX, u64::MAX, 10).unwrap();
    assert_eq!((far.skip(), far.of(0).has_prev), (u64::MAX, false));
}
