//! The promises of [`RoomQuery`](crate::RoomQuery).

use super::{
    Rooms,
    case::{at, user},
    room_store::{
        action, actions, batch, create, joined, lease, left, message, open, room, said, session, stored,
        take, write_one,
    },
};
use crate::{Action, Batch, RoomCounters, RoomRow, RoomStats, Window};

fn window(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to)).expect("in order")
}

/// See [`RoomQuery::room`](crate::RoomQuery::room).
pub async fn a_room_is_found_open_or_closed(store: &dyn Rooms) {
    assert_eq!(store.room(&room("lobby")).await.expect("a store that works"), None);
    open(store, "lobby").await;
    let found = stored(store, "lobby").await;
    assert_eq!((found.closed_at, found.last_activity()), (None, at(1000)));
    let rows = vec![said(1, "alice", 1500), RoomRow::Closed { at: at(2000) }];
    let last = batch("lobby", 3000, rows);
    let counters = RoomCounters { last_message_at: Some(at(1500)), ..last.counters };
    write_one(store, Batch { counters, ..last }).await;
    let found = stored(store, "lobby").await;
    assert_eq!((found.closed_at, found.last_activity()), (Some(at(2000)), at(1500)));
    assert_eq!(found.admins, [user("root")]);
}

/// See [`RoomQuery::rooms`](crate::RoomQuery::rooms).
pub async fn open_rooms_page_in_order_without_gaps(store: &dyn Rooms) {
    for id in ["d", "B", "a", "日", "c", "b"] {
        open(store, id).await;
    }
    write_one(store, batch("c", 2000, vec![RoomRow::Closed { at: at(2000) }])).await;
    let ids = |rooms: Vec<crate::StoredRoom>| -> Vec<String> {
        rooms.iter().map(|room| room.id.to_string()).collect()
    };
    let everything = ids(store.rooms(None, 100).await.expect("a store that works"));
    assert_eq!(everything, ["B", "a", "b", "d", "日"]);
    for limit in 1..=6 {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = store.rooms(after.as_ref(), limit).await.expect("a store that works");
            for listed in &page {
                assert_eq!(*listed, stored(store, listed.id.as_str()).await);
            }
            after = page.last().map(|room| room.id.clone());
            let is_last = page.len() < limit;
            read.extend(ids(page));
            if is_last {
                break;
            }
        }
        assert_eq!(read, everything, "in pages of {limit}");
    }
}

/// See [`RoomQuery::abandoned`](crate::RoomQuery::abandoned).
pub async fn abandoned_rooms_have_members_and_no_lease(store: &dyn Rooms) {
    create(store, "new", &[]).await;
    for id in ["empty", "full", "later", "closed", "also"] {
        open(store, id).await;
    }
    let full = |id: &str, rows| {
        let stats = RoomStats { current_users: 2, peak_users: 2, total_joins: 2 };
        let batch = batch(id, 2000, rows);
        Batch { counters: RoomCounters { stats, ..batch.counters }, ..batch }
    };
    for id in ["full", "later", "also"] {
        write_one(store, full(id, vec![joined(1, "alice", 1500)])).await;
    }
    write_one(store, full("closed", vec![RoomRow::Closed { at: at(2000) }])).await;
    take(store, "later", 5, lease("two", 6, 80_000)).await.expect("free");
    let abandoned = |now: i64, limit| async move {
        let rooms = store.abandoned(at(now), limit).await.expect("a store that works");
        let mut ids: Vec<String> = rooms.iter().map(|room| room.to_string()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(abandoned(59_999, 10).await, [""; 0]);
    assert_eq!(abandoned(60_000, 10).await, ["also", "full"]);
    assert_eq!(abandoned(80_000, 10).await, ["also", "full", "later"]);
    assert_eq!(abandoned(80_000, 2).await.len(), 2);
    write_one(store, batch("full", 3000, vec![left(1, 2500)])).await;
    assert_eq!(abandoned(60_000, 10).await, ["also"]);
}

/// See [`RoomQuery::messages`](crate::RoomQuery::messages).
pub async fn messages_come_newest_first_with_their_number(store: &dyn Rooms) {
    open(store, "lobby").await;
    open(store, "other").await;
    let rows =
        [(1, 10), (2, 20), (3, 30), (4, 30), (5, 40)].map(|(seq, secs)| said(seq, "alice", secs * 1000));
    write_one(store, batch("lobby", 50_000, rows.to_vec())).await;
    write_one(store, batch("other", 50_000, vec![said(1, "bob", 30_000)])).await;
    let part = |window, skip, limit| async move {
        let part = store.messages(&room("lobby"), window, skip, limit).await.expect("a store that works");
        (part.records.iter().map(|message| message.position.seq).collect::<Vec<_>>(), part.total)
    };
    // Tables P-1 to P-3: `to` covers its whole second.
    assert_eq!(part(Window::all(), 0, 2).await, (vec![5, 4], 5));
    assert_eq!(part(Window::all(), 2, 2).await, (vec![3, 2], 5));
    assert_eq!(part(Window::all(), 4, 2).await, (vec![1], 5));
    assert_eq!(part(Window::all(), 6, 2).await, (vec![], 5));
    assert_eq!(part(Window::all(), u64::MAX, 2).await, (vec![], 5));
    assert_eq!(part(window(20_000, 31_000), 0, 1000).await, (vec![4, 3, 2], 3));
    assert_eq!(part(window(41_000, 100_000), 0, 1000).await, (vec![], 0));
    assert_eq!(part(window(30_000, 40_000), 0, 1000).await, (vec![4, 3], 2), "half open");
    assert_eq!(part(window(30_001, 40_001), 0, 1000).await, (vec![5], 1));
    let whole = store.messages(&room("lobby"), Window::all(), 0, 1).await.expect("a store that works");
    assert_eq!(whole.records, [message(5, "alice", 40_000)]);
    let nowhere = store.messages(&room("nowhere"), Window::all(), 0, 1).await.expect("a store that works");
    assert_eq!((nowhere.records, nowhere.total), (vec![], 0));
}

/// See [`RoomQuery::sessions`](crate::RoomQuery::sessions).
pub async fn sessions_come_newest_first_when_they_are_over(store: &dyn Rooms) {
    open(store, "lobby").await;
    let rows = vec![
        joined(1, "alice", 10_000),
        joined(2, "bob", 20_000),
        joined(3, "carl", 30_000),
        joined(4, "dave", 30_000),
        joined(5, "eve", 40_000),
        left(4, 31_000),
        left(1, 50_000),
        left(3, 50_000),
        left(5, 50_000),
    ];
    write_one(store, batch("lobby", 60_000, rows)).await;
    let part = |window, skip, limit| async move {
        let part = store.sessions(&room("lobby"), window, skip, limit).await.expect("a store that works");
        (part.records.iter().map(|session| session.number).collect::<Vec<_>>(), part.total)
    };
    assert_eq!(part(Window::all(), 0, 10).await, (vec![5, 4, 3, 1], 4), "bob is still there");
    assert_eq!(part(Window::all(), 1, 2).await, (vec![4, 3], 4));
    assert_eq!(part(window(10_000, 30_001), 0, 10).await, (vec![4, 3, 1], 3), "by the time of joining");
    assert_eq!(part(window(31_000, 32_000), 0, 10).await, (vec![], 0));
    let whole = store.sessions(&room("lobby"), Window::all(), 1, 1).await.expect("a store that works");
    assert_eq!(whole.records, [session(4, "dave", 30_000, Some(31_000))]);
    assert_eq!(whole.records[0].duration(), Some(std::time::Duration::from_secs(1)));
}

/// See [`RoomQuery::actions`](crate::RoomQuery::actions).
pub async fn actions_page_newest_first_without_gaps(store: &dyn Rooms) {
    open(store, "lobby").await;
    open(store, "other").await;
    let done = (2..=6).map(|number| action(number, Some("root"), Action::Kick, Some("eve"), 1000 * number));
    let rows: Vec<RoomRow> = done.clone().map(RoomRow::Action).collect();
    write_one(store, batch("lobby", 9000, rows)).await;
    let mut expected: Vec<_> = done.collect();
    expected.insert(0, action(1, None, Action::Create, None, 1000));
    expected.reverse();
    assert_eq!(actions(store, "lobby").await, expected);
    assert_eq!(actions(store, "other").await.len(), 1);
    for limit in 1..=7 {
        let (mut read, mut before) = (Vec::new(), None);
        loop {
            let page = store.actions(&room("lobby"), before, limit).await.expect("a store that works");
            before = page.last().map(|action| action.number);
            let is_last = page.len() < limit;
            read.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(read, expected, "in pages of {limit}");
    }
}
