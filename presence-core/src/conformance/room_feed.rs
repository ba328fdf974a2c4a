//! The promises of [`RoomFeed`](crate::RoomFeed).

use super::{
    Feeds,
    case::{at, user},
    room_store::{batch, joined, left, message, open, room, said, session, write_one},
};
use crate::{Behind, Feed, RoomId};

async fn behind(store: &dyn Feeds, feed: Feed) -> Vec<(String, i64, i64)> {
    let behind = store.behind(feed, None, 100).await.expect("a store that works");
    behind.into_iter().map(|Behind { room, copied, last }| (room.to_string(), copied, last)).collect()
}

async fn copied(store: &dyn Feeds, feed: Feed, id: &str, last: i64) {
    store.copied(feed, &room(id), last).await.expect("a store that works");
}

/// See [`RoomFeed::behind`](crate::RoomFeed::behind).
pub async fn a_room_is_behind_until_its_rows_are_copied(store: &dyn Feeds) {
    for id in ["b", "a", "c"] {
        open(store, id).await;
    }
    assert_eq!(behind(store, Feed::Messages).await, []);
    let rows = vec![joined(1, "alice", 1500), said(1, "alice", 1600), said(2, "alice", 1700)];
    for id in ["a", "b", "c"] {
        write_one(store, batch(id, 2000, rows.clone())).await;
    }
    let at = |id: &str, copied, last| (id.to_owned(), copied, last);
    assert_eq!(behind(store, Feed::Messages).await, [at("a", 0, 2), at("b", 0, 2), at("c", 0, 2)]);
    assert_eq!(behind(store, Feed::Sessions).await, [], "nobody has left");
    copied(store, Feed::Messages, "b", 1).await;
    copied(store, Feed::Messages, "a", 2).await;
    assert_eq!(behind(store, Feed::Messages).await, [at("b", 1, 2), at("c", 0, 2)]);
    write_one(store, batch("a", 3000, vec![left(1, 2500), said(3, "root", 2600)])).await;
    assert_eq!(behind(store, Feed::Sessions).await, [at("a", 0, 1)]);
    let mut paged = Vec::new();
    let mut after: Option<RoomId> = None;
    while let Some(next) = {
        let page = store.behind(Feed::Messages, after.as_ref(), 1).await.expect("a store that works");
        page.into_iter().next()
    } {
        paged.push((next.room.to_string(), next.copied, next.last));
        after = Some(next.room);
    }
    assert_eq!(paged, [at("a", 2, 3), at("b", 1, 2), at("c", 0, 2)]);
}

/// See [`RoomFeed::messages_after`](crate::RoomFeed::messages_after).
pub async fn messages_come_in_the_order_of_their_numbers(store: &dyn Feeds) {
    open(store, "lobby").await;
    open(store, "other").await;
    // The clock went back after the second.
    let times = [(1, 5000), (2, 6000), (3, 4000), (4, 4000), (5, 7000)];
    let rows = times.map(|(seq, millis)| said(seq, if seq == 4 { "bob" } else { "alice" }, millis));
    write_one(store, batch("lobby", 8000, rows.to_vec())).await;
    write_one(store, batch("other", 8000, vec![said(1, "alice", 1)])).await;
    let of_lobby = async |after, last, limit| {
        let messages = store.messages_after(&room("lobby"), after, last, limit).await;
        messages.expect("a store that works")
    };
    let expected: Vec<_> = times[1..4].iter().map(|(seq, millis)| (*seq, *millis)).collect();
    let expected =
        expected.iter().map(|(seq, millis)| message(*seq, if *seq == 4 { "bob" } else { "alice" }, *millis));
    assert_eq!(of_lobby(1, 4, 10).await, expected.collect::<Vec<_>>());
    assert_eq!(of_lobby(0, 5, 2).await.len(), 2);
    assert_eq!(of_lobby(5, 5, 2).await, []);
    store.erase(&user("bob"), at(9000)).await.expect("a store that works");
    let left: Vec<_> = of_lobby(2, 5, 10).await.iter().map(|message| message.position.seq).collect();
    assert_eq!(left, [3, 5]);
}

/// See [`RoomFeed::sessions_after`](crate::RoomFeed::sessions_after).
pub async fn sessions_come_in_the_order_in_which_they_ended(store: &dyn Feeds) {
    open(store, "lobby").await;
    let ended = |number, end, millis| crate::RoomRow::Left { number, end, leave_time: at(millis) };
    let rows = vec![
        joined(1, "alice", 1100),
        joined(2, "bob", 1200),
        joined(3, "carol", 1300),
        joined(4, "dave", 1400),
        ended(3, 1, 1350),
        ended(1, 2, 1350),
    ];
    write_one(store, batch("lobby", 2000, rows)).await;
    write_one(store, batch("lobby", 3000, vec![ended(4, 3, 1500)])).await;
    let sessions = store.sessions_after(&room("lobby"), 0, 3, 10).await.expect("a store that works");
    let expected = [
        (1, session(3, "carol", 1300, Some(1350))),
        (2, session(1, "alice", 1100, Some(1350))),
        (3, session(4, "dave", 1400, Some(1500))),
    ];
    assert_eq!(sessions, expected);
    let some = store.sessions_after(&room("lobby"), 1, 2, 10).await.expect("a store that works");
    assert_eq!(some, expected[1..2]);
    let some = store.sessions_after(&room("lobby"), 0, 3, 1).await.expect("a store that works");
    assert_eq!(some, expected[..1]);
}

/// See [`RoomFeed::copied`](crate::RoomFeed::copied).
pub async fn a_copy_never_goes_back(store: &dyn Feeds) {
    open(store, "lobby").await;
    let rows = vec![joined(1, "alice", 1500), said(1, "alice", 1600), said(2, "alice", 1700), left(1, 1800)];
    write_one(store, batch("lobby", 2000, rows)).await;
    copied(store, Feed::Messages, "lobby", 2).await;
    copied(store, Feed::Messages, "lobby", 1).await;
    assert_eq!(behind(store, Feed::Messages).await, []);
    assert_eq!(behind(store, Feed::Sessions).await.len(), 1, "the other feed is another matter");
    copied(store, Feed::Sessions, "lobby", 1).await;
    copied(store, Feed::Sessions, "unknown", 1).await;
    assert_eq!(behind(store, Feed::Sessions).await, []);
}
