//! The promises of [`RoomStore`](crate::RoomStore).

use futures_util::future::join_all;

use super::{
    Rooms,
    case::{at, user},
    checkpoint_query::pages_without_gaps,
};
use crate::{
    Action, AdminAction, Batch, ChatMessage, ChatText, Epoch, Lease, NewRoom, Nickname, Part, Place,
    Position, Record, RetiredRooms, RoomCounters, RoomId, RoomName, RoomRole, RoomRow, RoomSession,
    RoomStats, StoredRoom, TakenRoom, UserId, Window, Written,
};

pub(super) fn room(name: &str) -> RoomId {
    RoomId::new(name).expect("a room of a case")
}

pub(super) fn new_room(id: &str, admins: &[&str], created_at: i64) -> NewRoom {
    NewRoom {
        id: room(id),
        name: RoomName::new(&format!("The {id}")).expect("a name"),
        admins: admins.iter().map(|name| user(name)).collect(),
        created_at: at(created_at),
        events: Vec::new(),
    }
}

pub(super) fn lease(node: &str, epoch: i64, until: i64) -> Lease {
    Lease { node: node.to_owned(), epoch: Epoch(epoch), until: at(until) }
}

pub(super) async fn create(store: &dyn Rooms, id: &str, admins: &[&str]) {
    assert!(store.create_room(new_room(id, admins, 1000)).await.expect("a store that works"));
}

pub(super) async fn take(store: &dyn Rooms, id: &str, expected: i64, lease: Lease) -> Option<TakenRoom> {
    store.take_room(&room(id), Epoch(expected), lease, 3).await.expect("a store that works")
}

/// Makes a room and takes it under epoch 5.
pub(super) async fn open(store: &dyn Rooms, id: &str) {
    create(store, id, &["root"]).await;
    take(store, id, 0, lease("one", 5, 60_000)).await.expect("free");
}

pub(super) async fn stored(store: &dyn Rooms, id: &str) -> StoredRoom {
    store.room(&room(id)).await.expect("a store that works").expect("a room")
}

/// A batch of epoch 5.
pub(super) fn batch(id: &str, millis: i64, rows: Vec<RoomRow>) -> Batch {
    let last = |number: fn(&RoomRow) -> Option<i64>| rows.iter().filter_map(number).max().unwrap_or(0);
    let counters = RoomCounters {
        stats: RoomStats { current_users: 0, peak_users: 9, total_joins: 12 },
        last_seq: last(
            |row| if let RoomRow::Message(message) = row { Some(message.position.seq) } else { None },
        ),
        last_action: last(|row| if let RoomRow::Action(action) = row { Some(action.number) } else { None }),
        last_end: last(|row| if let RoomRow::Left { end, .. } = row { Some(*end) } else { None }),
        last_message_at: None,
    };
    Batch {
        room: room(id),
        epoch: Epoch(5),
        // Each later one is another one.
        number: millis,
        at: at(millis),
        counters,
        rows,
        events: Vec::new(),
    }
}

pub(super) fn message(seq: i64, by: &str, millis: i64) -> ChatMessage {
    ChatMessage {
        position: Position { epoch: Epoch(5), seq },
        user_id: user(by),
        nickname: Nickname::new(by).expect("a nickname"),
        content: ChatText::new(&format!("said {seq}")).expect("a text"),
        is_admin: by == "root",
        created_at: at(millis),
    }
}

pub(super) fn said(seq: i64, by: &str, millis: i64) -> RoomRow {
    RoomRow::Message(message(seq, by, millis))
}

pub(super) fn session(number: i64, by: &str, join: i64, leave: Option<i64>) -> RoomSession {
    RoomSession {
        number,
        user_id: user(by),
        nickname: Nickname::new(by).expect("a nickname"),
        join_time: at(join),
        leave_time: leave.map(at),
    }
}

pub(super) fn joined(number: i64, by: &str, millis: i64) -> RoomRow {
    RoomRow::Joined(session(number, by, millis, None))
}

pub(super) fn left(number: i64, millis: i64) -> RoomRow {
    RoomRow::Left { number, end: number, leave_time: at(millis) }
}

pub(super) fn action(
    number: i64,
    actor: Option<&str>,
    action: Action,
    target: Option<&str>,
    millis: i64,
) -> AdminAction {
    AdminAction { number, actor: actor.map(user), action, target: target.map(user), at: at(millis) }
}

fn granted(by: &str, role: RoomRole, millis: i64) -> RoomRow {
    RoomRow::Granted { user_id: user(by), role, at: at(millis) }
}

fn revoked(by: &str, role: RoomRole) -> RoomRow {
    RoomRow::Revoked { user_id: user(by), role }
}

pub(super) async fn write(store: &dyn Rooms, batches: Vec<Batch>) -> Vec<Written> {
    store.write_batches(batches).await.expect("a store that works")
}

pub(super) async fn write_one(store: &dyn Rooms, batch: Batch) {
    assert_eq!(write(store, vec![batch]).await, [Written::Stored]);
}

pub(super) async fn messages(store: &dyn Rooms, id: &str) -> Vec<ChatMessage> {
    all(store.messages(&room(id), Window::all(), 0, 1000).await.expect("a store that works"))
}

pub(super) async fn sessions(store: &dyn Rooms, id: &str) -> Vec<RoomSession> {
    all(store.sessions(&room(id), Window::all(), 0, 1000).await.expect("a store that works"))
}

fn all<T>(part: Part<T>) -> Vec<T> {
    assert_eq!(part.total, part.records.len() as u64);
    part.records
}

pub(super) async fn actions(store: &dyn Rooms, id: &str) -> Vec<AdminAction> {
    store.actions(&room(id), None, 1000).await.expect("a store that works")
}

fn numbers(messages: &[ChatMessage]) -> Vec<i64> {
    messages.iter().map(|message| message.position.seq).collect()
}

/// See [`RoomStore::create_room`](crate::RoomStore::create_room).
pub async fn a_room_is_made_once(store: &dyn Rooms) {
    let made = join_all((0..8).map(|_| store.create_room(new_room("lobby", &["root"], 1000)))).await;
    let made: Vec<bool> = made.into_iter().map(|made| made.expect("a store that works")).collect();
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
    assert!(
        store.create_room(new_room("Lobby", &[], 1000)).await.expect("a store that works"),
        "compared exactly"
    );
    take(store, "lobby", 0, lease("one", 5, 60_000)).await.expect("free");
    write_one(store, batch("lobby", 2000, vec![RoomRow::Closed { at: at(2000) }])).await;
    assert!(!store.create_room(new_room("lobby", &[], 3000)).await.expect("a store that works"));
}

/// See [`RoomStore::create_room`](crate::RoomStore::create_room).
pub async fn a_new_room_has_its_administrators_and_the_record_of_its_making(store: &dyn Rooms) {
    create(store, "lobby", &["root", "alice"]).await;
    let expected = StoredRoom {
        id: room("lobby"),
        name: RoomName::new("The lobby").expect("a name"),
        admins: vec![user("alice"), user("root")],
        banned: Vec::new(),
        created_at: at(1000),
        closed_at: None,
        counters: RoomCounters { last_action: 1, ..RoomCounters::default() },
        alive_at: at(1000),
        lease: Lease::none(),
    };
    assert_eq!(stored(store, "lobby").await, expected);
    assert_eq!(actions(store, "lobby").await, [action(1, None, Action::Create, None, 1000)]);
}

/// See [`RoomStore::take_room`](crate::RoomStore::take_room).
pub async fn a_room_is_taken_on_the_epoch_it_had(store: &dyn Rooms) {
    create(store, "lobby", &[]).await;
    assert_eq!(take(store, "nowhere", 0, lease("one", 5, 60_000)).await, None);
    assert_eq!(take(store, "lobby", 4, lease("one", 5, 60_000)).await, None);
    assert_eq!(stored(store, "lobby").await.lease, Lease::none());
    let taken = take(store, "lobby", 0, lease("one", 5, 60_000)).await.expect("free");
    assert_eq!(taken.room.lease, lease("one", 5, 60_000));
    assert_eq!(stored(store, "lobby").await.lease, lease("one", 5, 60_000));
    assert_eq!(take(store, "lobby", 0, lease("two", 6, 60_000)).await, None);
    assert!(
        take(store, "lobby", 5, lease("two", 6, 70_000)).await.is_some(),
        "when, is not the store's to judge"
    );
    assert_eq!(stored(store, "lobby").await.lease, lease("two", 6, 70_000));
}

/// See [`RoomStore::take_room`](crate::RoomStore::take_room).
pub async fn a_closed_room_is_never_taken(store: &dyn Rooms) {
    open(store, "lobby").await;
    write_one(store, batch("lobby", 2000, vec![RoomRow::Closed { at: at(2000) }])).await;
    write_one(store, batch("lobby", 3000, Vec::new())).await;
    assert_eq!(stored(store, "lobby").await.closed_at, Some(at(2000)), "it stays closed");
    assert_eq!(take(store, "lobby", 5, lease("two", 6, 60_000)).await, None);
    assert_eq!(stored(store, "lobby").await.lease.epoch, Epoch(5));
}

/// See [`RoomStore::take_room`](crate::RoomStore::take_room).
pub async fn racing_nodes_take_a_room_once(store: &dyn Rooms) {
    create(store, "lobby", &[]).await;
    for round in 0..5 {
        let nodes = (0..8).map(|node| async move {
            let taken = lease(&format!("node {node}"), round + 1, 60_000);
            take(store, "lobby", round, taken).await.map(|taken| taken.room.lease)
        });
        let won: Vec<Lease> = join_all(nodes).await.into_iter().flatten().collect();
        assert_eq!(won, [stored(store, "lobby").await.lease], "round {round}");
    }
}

/// See [`RoomStore::take_room`](crate::RoomStore::take_room).
pub async fn a_taken_room_comes_with_what_its_node_needs(store: &dyn Rooms) {
    open(store, "lobby").await;
    open(store, "other").await;
    let rows = vec![
        joined(1, "alice", 2000),
        joined(2, "bob", 2100),
        // Its clock was set back meanwhile: places count.
        said(1, "alice", 2300),
        said(2, "bob", 2200),
        said(3, "alice", 2150),
        said(4, "bob", 2400),
        left(1, 2500),
        joined(3, "alice", 2600),
        granted("eve", RoomRole::Banned, 2700),
        granted("carl", RoomRole::Muted, 2700),
        granted("alice", RoomRole::Admin, 2700),
    ];
    let written = Batch {
        counters: RoomCounters {
            last_message_at: Some(at(2400)),
            ..batch("lobby", 0, rows.clone()).counters
        },
        ..batch("lobby", 3000, rows)
    };
    let mut expected = stored(store, "lobby").await;
    expected.counters = written.counters;
    expected.alive_at = at(3000);
    expected.admins = vec![user("alice"), user("root")];
    expected.banned = vec![user("eve")];
    expected.lease = lease("two", 6, 90_000);
    write_one(store, written).await;
    write_one(store, batch("other", 3000, vec![joined(1, "zoe", 2000), said(1, "zoe", 2000)])).await;
    let taken = take(store, "lobby", 5, lease("two", 6, 90_000)).await.expect("free");
    assert_eq!(taken.room, expected);
    assert_eq!(taken.muted, [user("carl")]);
    assert_eq!(taken.messages, [message(2, "bob", 2200), message(3, "alice", 2150), message(4, "bob", 2400)]);
    assert_eq!(taken.unfinished, [session(2, "bob", 2100, None), session(3, "alice", 2600, None)]);
}

/// See [`RoomStore::renew_leases`](crate::RoomStore::renew_leases).
pub async fn leases_are_renewed_by_the_epoch_that_has_them(store: &dyn Rooms) {
    for id in ["a", "b", "c"] {
        open(store, id).await;
    }
    take(store, "b", 5, lease("two", 6, 70_000)).await.expect("free");
    let held = ["a", "b", "nowhere", "c"].map(|id| (room(id), Epoch(5))).to_vec();
    let renewed = store.renew_leases(held, at(99_000)).await.expect("a store that works");
    assert_eq!(renewed, [true, false, false, true]);
    assert_eq!(stored(store, "a").await.lease, lease("one", 5, 99_000));
    assert_eq!(stored(store, "b").await.lease, lease("two", 6, 70_000));
    let given_up = store.renew_leases(vec![(room("a"), Epoch(5))], at(0)).await.expect("a store that works");
    assert_eq!((given_up, stored(store, "a").await.lease), (vec![true], lease("one", 5, 0)));
    let again = store.renew_leases(vec![(room("a"), Epoch(5))], at(9)).await.expect("a store that works");
    assert_eq!((again, stored(store, "a").await.lease.until), (vec![true], at(9)));
    assert!(store.renew_leases(Vec::new(), at(9)).await.expect("a store that works").is_empty());
}

/// See [`RoomStore::write_batches`](crate::RoomStore::write_batches).
pub async fn a_batch_is_written_wholly_and_in_order(store: &dyn Rooms) {
    open(store, "lobby").await;
    let first = batch(
        "lobby",
        3000,
        vec![
            joined(1, "alice", 2000),
            said(1, "alice", 2100),
            left(1, 2200),
            granted("alice", RoomRole::Banned, 2300),
            revoked("alice", RoomRole::Banned),
            granted("bob", RoomRole::Banned, 2300),
            RoomRow::Action(action(2, Some("root"), Action::Ban, Some("alice"), 2300)),
            revoked("root", RoomRole::Admin),
            revoked("nobody", RoomRole::Muted),
        ],
    );
    let second =
        batch("lobby", 4000, vec![revoked("bob", RoomRole::Banned), granted("bob", RoomRole::Admin, 3500)]);
    let second = Batch {
        counters: RoomCounters { last_seq: 7, last_message_at: Some(at(5)), ..second.counters },
        ..second
    };
    // Two batches of one room in one call.
    assert_eq!(write(store, vec![first, second.clone()]).await, [Written::Stored, Written::Stored]);
    let now = stored(store, "lobby").await;
    assert_eq!((now.counters, now.alive_at), (second.counters, at(4000)));
    assert_eq!((now.admins, now.banned), (vec![user("bob")], Vec::new()));
    assert_eq!(messages(store, "lobby").await, [message(1, "alice", 2100)]);
    assert_eq!(sessions(store, "lobby").await, [session(1, "alice", 2000, Some(2200))]);
    assert_eq!(actions(store, "lobby").await[0], action(2, Some("root"), Action::Ban, Some("alice"), 2300));
    // The end of a session that began in an earlier batch.
    write_one(store, batch("lobby", 5000, vec![joined(2, "bob", 4500)])).await;
    assert_eq!(sessions(store, "lobby").await.len(), 1);
    write_one(store, batch("lobby", 6000, vec![left(2, 5500), left(77, 5500)])).await;
    write_one(store, batch("lobby", 7000, vec![left(2, 6500)])).await;
    assert_eq!(sessions(store, "lobby").await[0], session(2, "bob", 4500, Some(5500)), "it ends once");
    // A role that is taken and given again is a new one.
    write_one(store, batch("lobby", 8000, vec![granted("carl", RoomRole::Muted, 7500)])).await;
    let again = vec![revoked("carl", RoomRole::Muted), granted("carl", RoomRole::Muted, 8500)];
    write_one(store, batch("lobby", 9000, again)).await;
    let kept = store.export(&user("carl"), None, 10).await.expect("a store that works");
    let expected = Record::RoomRole { room_id: room("lobby"), role: RoomRole::Muted, at: at(8500) };
    assert_eq!(kept, [expected]);
}

/// See [`RoomStore::write_batches`](crate::RoomStore::write_batches).
pub async fn a_batch_of_an_earlier_epoch_is_fenced(store: &dyn Rooms) {
    open(store, "lobby").await;
    let before = stored(store, "lobby").await;
    let rows = || {
        vec![
            said(1, "alice", 2000),
            joined(1, "alice", 2000),
            granted("eve", RoomRole::Banned, 2000),
            RoomRow::Closed { at: at(2000) },
        ]
    };
    let earlier = Batch { epoch: Epoch(4), ..batch("lobby", 3000, rows()) };
    let later = Batch { epoch: Epoch(6), ..batch("lobby", 3000, rows()) };
    let unknown = batch("nowhere", 3000, rows());
    assert_eq!(write(store, vec![earlier, later, unknown]).await, [Written::Fenced; 3]);
    assert_eq!(stored(store, "lobby").await, before);
    assert_eq!((messages(store, "lobby").await, sessions(store, "lobby").await), (Vec::new(), Vec::new()));
    assert_eq!(store.room(&room("nowhere")).await.expect("a store that works"), None);
    take(store, "lobby", 5, lease("two", 6, 60_000)).await.expect("free");
    assert_eq!(
        write(store, vec![batch("lobby", 3000, rows())]).await,
        [Written::Fenced],
        "it was taken since"
    );
    assert_eq!(messages(store, "lobby").await, []);
}

/// See [`RoomStore::write_batches`](crate::RoomStore::write_batches).
pub async fn a_batch_that_is_written_again_changes_nothing(store: &dyn Rooms) {
    open(store, "lobby").await;
    write_one(
        store,
        batch("lobby", 2000, vec![joined(1, "bob", 1500), granted("eve", RoomRole::Muted, 1500)]),
    )
    .await;
    let rows = vec![
        joined(2, "alice", 2000),
        said(1, "alice", 2100),
        left(1, 2200),
        granted("carl", RoomRole::Banned, 2300),
        revoked("eve", RoomRole::Muted),
        RoomRow::Action(action(2, None, Action::Ban, Some("carl"), 2300)),
        RoomRow::Closed { at: at(2400) },
    ];
    let last = batch("lobby", 3000, rows);
    write_one(store, last.clone()).await;
    let look = || async {
        (
            stored(store, "lobby").await,
            messages(store, "lobby").await,
            sessions(store, "lobby").await,
            actions(store, "lobby").await,
        )
    };
    let before = look().await;
    assert_eq!((before.1.len(), before.2.len(), before.3.len()), (1, 1, 2));
    write_one(store, last.clone()).await;
    assert_eq!(write(store, vec![last.clone(), last]).await, [Written::Stored; 2]);
    assert_eq!(look().await, before);
}

/// See [`RoomStore::write_batches`](crate::RoomStore::write_batches).
pub async fn a_fenced_batch_spares_the_others(store: &dyn Rooms) {
    open(store, "a").await;
    open(store, "b").await;
    let fenced = Batch { epoch: Epoch(4), ..batch("a", 3000, vec![said(1, "alice", 2000)]) };
    let (a, b) =
        (batch("a", 3000, vec![said(2, "alice", 2000)]), batch("b", 3000, vec![said(1, "alice", 2000)]));
    assert_eq!(write(store, vec![fenced, a, b]).await, [Written::Fenced, Written::Stored, Written::Stored]);
    assert_eq!(numbers(&messages(store, "a").await), [2]);
    assert_eq!(numbers(&messages(store, "b").await), [1]);
    assert_eq!(write(store, Vec::new()).await, []);
}

/// See [`RoomStore::write_batches`](crate::RoomStore::write_batches).
pub async fn what_members_say_comes_back_as_it_was(store: &dyn Rooms) {
    let odd = [
        "'; DROP TABLE rooms; --",
        "日本 🎉",
        "a%b_c\\d",
        "\u{1}\u{7f}\r\n\t\"",
        " x ",
        "\u{ffff}\u{10ffff}",
        "{\"a\":1}",
        "e\u{301}",
    ];
    let id = RoomId::new("o'brien's \"room\" %").expect("an id");
    let name = RoomName::new("日本 '\"%_\\").expect("a name");
    let admin = UserId::new("o'brien\"\\").expect("a user");
    let made = NewRoom {
        id: id.clone(),
        name,
        admins: vec![admin.clone()],
        created_at: at(1000),
        events: Vec::new(),
    };
    assert!(store.create_room(made.clone()).await.expect("a store that works"));
    let taken = store.take_room(&id, Epoch(0), lease("nöde '1'", i64::MAX - 1, 60_000), 100).await;
    let taken = taken.expect("a store that works").expect("free").room;
    assert_eq!(
        (taken.name, taken.admins, taken.lease.node),
        (made.name, vec![admin.clone()], "nöde '1'".to_owned())
    );
    let epoch = Epoch(i64::MAX - 1);
    let mut sent = Vec::new();
    for (place, text) in odd.into_iter().chain([&*"ü".repeat(32 * 1024)]).enumerate() {
        sent.push(ChatMessage {
            position: Position { epoch, seq: place as i64 + 1 },
            user_id: admin.clone(),
            nickname: Nickname::new("日本 '\"").expect("a nickname"),
            content: ChatText::new(text).expect("a text"),
            is_admin: place % 2 == 0,
            created_at: at(2000 + place as i64),
        });
    }
    let rows: Vec<RoomRow> = sent.iter().cloned().map(RoomRow::Message).collect();
    let counters =
        RoomCounters { last_seq: i64::MAX, last_action: i64::MAX, ..batch("x", 0, Vec::new()).counters };
    let batch = Batch { room: id.clone(), epoch, at: crate::Timestamp::MAX, counters, ..batch("x", 1, rows) };
    write_one(store, batch).await;
    let part = store.messages(&id, Window::all(), 0, 100).await.expect("a store that works");
    sent.reverse();
    assert_eq!(part.records, sent);
    let stored = store.room(&id).await.expect("a store that works").expect("a room");
    assert_eq!((stored.counters, stored.alive_at), (counters, crate::Timestamp::MAX));
}

/// See [`RoomStore::retire_rooms`](crate::RoomStore::retire_rooms).
pub async fn retiring_takes_what_is_old_in_slices(store: &dyn Rooms) {
    for id in ["a", "b", "c"] {
        open(store, id).await;
    }
    let rows = |closes: bool| {
        let rows = [
            joined(1, "alice", 1500),
            joined(2, "bob", 1600),
            said(1, "alice", 1700),
            said(2, "bob", 2000),
            left(1, 1800),
            left(2, 2000),
            joined(3, "carl", 1500),
            RoomRow::Action(action(2, None, Action::System, None, 1900)),
            RoomRow::Action(action(3, None, Action::System, None, 2000)),
        ];
        rows.into_iter().chain(closes.then_some(RoomRow::Closed { at: at(1900) })).collect()
    };
    write_one(store, batch("a", 3000, rows(false))).await;
    write_one(store, batch("b", 3000, rows(true))).await;
    write_one(store, batch("c", 3000, vec![RoomRow::Closed { at: at(1900) }])).await;
    let retire = |before: i64, limit| async move {
        let RetiredRooms { messages, sessions, actions, rooms } =
            store.retire_rooms(at(before), limit).await.expect("a store that works");
        (messages, sessions, actions, rooms)
    };
    assert_eq!(retire(900, 100).await, (0, 0, 0, 0));
    assert_eq!(retire(2000, 1).await, (1, 0, 0, 0));
    assert_eq!(retire(2000, 2).await, (1, 1, 0, 0));
    let mut rest = (0, 0, 0, 0);
    for _ in 0..20 {
        let (messages, sessions, actions, rooms) = retire(2000, 1).await;
        assert!(messages + sessions + actions + rooms <= 1);
        rest = (rest.0 + messages, rest.1 + sessions, rest.2 + actions, rest.3 + rooms);
    }
    // Each room has the record of its making, and two have one more; of the closed rooms one has nothing left.
    assert_eq!(rest, (0, 1, 5, 1));
    for id in ["a", "b"] {
        assert_eq!(messages(store, id).await, [message(2, "bob", 2000)]);
        assert_eq!(sessions(store, id).await, [session(2, "bob", 1600, Some(2000))]);
        assert_eq!(actions(store, id).await, [action(3, None, Action::System, None, 2000)]);
    }
    assert_eq!(store.room(&room("c")).await.expect("a store that works"), None);
    let taken = take(store, "a", 5, lease("two", 6, 60_000)).await.expect("free");
    assert_eq!((taken.room.counters.last_seq, taken.room.counters.last_action), (2, 3), "numbers go on");
    assert_eq!(taken.unfinished, [session(3, "carl", 1500, None)], "what is not over is not old");
    assert_eq!(taken.room.admins, [user("root")]);
}

/// A room in which alice was, said and did things; and one she had nothing to do with.
async fn with_alice(store: &dyn Rooms) {
    open(store, "lobby").await;
    open(store, "attic").await;
    open(store, "other").await;
    let rows = vec![
        joined(1, "alice", 2000),
        joined(2, "bob", 2000),
        said(1, "alice", 2100),
        said(2, "bob", 2200),
        said(3, "alice", 2300),
        left(1, 2400),
        granted("alice", RoomRole::Muted, 2500),
        granted("alice", RoomRole::Admin, 2500),
        granted("bob", RoomRole::Banned, 2500),
        RoomRow::Action(action(2, Some("alice"), Action::Ban, Some("bob"), 2500)),
        RoomRow::Action(action(3, Some("root"), Action::Mute, Some("alice"), 2500)),
        RoomRow::Action(action(4, Some("root"), Action::Kick, Some("bob"), 2500)),
    ];
    write_one(store, batch("lobby", 3000, rows)).await;
    let rows =
        vec![joined(1, "alice", 2000), said(1, "alice", 2100), granted("alice", RoomRole::Banned, 2500)];
    write_one(store, batch("attic", 3000, rows)).await;
    write_one(store, batch("other", 3000, vec![joined(1, "bob", 2000), said(1, "bob", 2100)])).await;
}

/// See [`RoomStore`](crate::RoomStore).
pub async fn an_erasure_takes_rooms_along(store: &dyn Rooms) {
    with_alice(store).await;
    let erasure = store.erase(&user("alice"), at(5000)).await.expect("a store that works");
    assert_eq!((erasure.messages, erasure.room_sessions), (3, 2));
    assert_eq!(numbers(&messages(store, "lobby").await), [2]);
    assert_eq!(messages(store, "attic").await, []);
    assert_eq!(messages(store, "other").await.len(), 1);
    let lobby = stored(store, "lobby").await;
    assert_eq!((lobby.admins, lobby.banned), (vec![user("root")], vec![user("bob")]));
    assert_eq!(lobby.counters.last_seq, 3, "numbers go on");
    assert_eq!(stored(store, "attic").await.banned, []);
    assert_eq!(
        actions(store, "lobby").await[..3],
        [
            action(4, Some("root"), Action::Kick, Some("bob"), 2500),
            action(3, Some("root"), Action::Mute, None, 2500),
            action(2, None, Action::Ban, Some("bob"), 2500),
        ]
    );
    let taken = take(store, "lobby", 5, lease("two", 6, 60_000)).await.expect("free");
    assert_eq!((taken.muted, taken.unfinished), (Vec::new(), vec![session(2, "bob", 2000, None)]));
    let taken = take(store, "attic", 5, lease("two", 6, 60_000)).await.expect("free");
    assert_eq!(taken.unfinished, []);
    assert_eq!(store.export(&user("alice"), None, 100).await.expect("a store that works"), []);
    let again = store.erase(&user("alice"), at(5000)).await.expect("a store that works");
    assert_eq!((again.messages, again.room_sessions), (0, 0));
}

/// See [`RoomStore`](crate::RoomStore).
pub async fn rows_up_to_an_erasure_are_left_out(store: &dyn Rooms) {
    open(store, "lobby").await;
    store.erase(&user("alice"), at(2000)).await.expect("a store that works");
    let about = |first: i64, millis: i64| {
        vec![
            joined(first, "alice", millis),
            said(first, "alice", millis),
            said(first + 1, "bob", millis),
            granted("alice", RoomRole::Admin, millis),
            granted("alice", RoomRole::Muted, millis),
            RoomRow::Action(action(first + 1, Some("alice"), Action::Kick, Some("alice"), millis)),
            left(first, millis),
        ]
    };
    write_one(store, batch("lobby", 3000, about(1, 2000))).await;
    assert_eq!(store.export(&user("alice"), None, 100).await.expect("a store that works"), []);
    assert_eq!(numbers(&messages(store, "lobby").await), [2]);
    assert_eq!(sessions(store, "lobby").await, []);
    assert_eq!(actions(store, "lobby").await[0], action(2, None, Action::Kick, None, 2000));
    assert_eq!(stored(store, "lobby").await.counters.last_seq, 2);
    // Later ones start anew.
    write_one(store, batch("lobby", 3000, about(3, 2001))).await;
    assert_eq!(store.export(&user("alice"), None, 100).await.expect("a store that works").len(), 5);
    let attic = NewRoom { created_at: at(2000), ..new_room("attic", &["alice", "bob"], 0) };
    assert!(store.create_room(attic).await.expect("a store that works"));
    assert_eq!(stored(store, "attic").await.admins, [user("bob")]);
}

/// See [`RoomStore`](crate::RoomStore).
pub async fn an_export_holds_what_rooms_know(store: &dyn Rooms) {
    with_alice(store).await;
    let alice = user("alice");
    let everything = store.export(&alice, None, 100).await.expect("a store that works");
    let (attic, lobby) = (room("attic"), room("lobby"));
    let places: Vec<Place> = everything.iter().map(Record::place).collect();
    assert_eq!(
        places,
        [
            Place::RoomRole(attic.clone(), RoomRole::Banned),
            Place::RoomRole(lobby.clone(), RoomRole::Admin),
            Place::RoomRole(lobby.clone(), RoomRole::Muted),
            Place::RoomSession(attic.clone(), 1),
            Place::RoomSession(lobby.clone(), 1),
            Place::RoomMessage(attic, 1),
            Place::RoomMessage(lobby.clone(), 1),
            Place::RoomMessage(lobby.clone(), 3),
            Place::AdminAction(lobby.clone(), 2),
            Place::AdminAction(lobby, 3),
        ]
    );
    let Record::RoomSession(stay) = &everything[4] else { panic!("{:?}", everything[4]) };
    assert_eq!(stay.what, session(1, "alice", 2000, Some(2400)));
    let Record::RoomMessage(message) = &everything[6] else { panic!("{:?}", everything[6]) };
    assert_eq!(message.what, super::room_store::message(1, "alice", 2100));
    pages_without_gaps(store, &alice, &everything).await;
    for record in everything {
        let line = serde_json::to_string(&record).expect("JSON");
        assert_eq!(serde_json::from_str::<Record>(&line).expect("a record"), record, "{line}");
    }
}
