//! Lists of all rooms, which are read from the store while they are sent.

use std::time::Duration;

use presence_core::{
    Admins, Clock, Command, ConnectionId, Moment, Nickname, Opening, Room, RoomId, RoomName, RoomPolicy,
    UserId,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::{Client, PATIENCE},
    world::{KEY, World},
};

const ROOMS: usize = 250;

fn id(number: usize) -> String {
    format!("room-{number:03}")
}

/// Asks, and gives the answer as it comes: an HTTP/1.0 client is sent no chunks.
async fn ask(world: &World, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.expect("a server that listens");
    let request = format!("GET {target} HTTP/1.0\r\nHost: test\r\nX-Api-Key: {KEY}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

async fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> usize {
    timeout(PATIENCE, stream.read_buf(answer)).await.expect("the server says something").expect("bytes")
}

#[tokio::test]
async fn rooms_are_looked_up_in_slices_while_the_list_is_read() {
    let world = World::start(World::quick());
    for number in 0..ROOMS {
        let room = RoomId::new(id(number)).expect("an id");
        let name = RoomName::new("Lobby").expect("a name");
        world.state.hub().rooms().create(room, name, Admins::default()).await.expect("made");
    }
    for target in ["/management/rooms", "/management/sync/rooms", "/management/sync"] {
        world.store.stall_lists(true);
        let asked = world.store.listed().len();
        let (mut stream, mut answer) = (ask(&world, target).await, Vec::new());
        // The first rooms are here before the store says which ones follow.
        while !String::from_utf8_lossy(&answer).contains(&id(99)) {
            assert!(read(&mut stream, &mut answer).await > 0, "{}", String::from_utf8_lossy(&answer));
        }
        assert!(!String::from_utf8_lossy(&answer).contains(&id(100)));
        world.store.stall_lists(false);
        while read(&mut stream, &mut answer).await > 0 {}

        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("content-type: application/json"), "{head}");
        let listed: Vec<serde_json::Value> = serde_json::from_str(body).expect("an array");
        let listed: Vec<_> = listed.iter().map(|room| room["room_id"].as_str().expect("an id")).collect();
        assert_eq!(listed, (0..ROOMS).map(id).collect::<Vec<_>>(), "{target}");
        // One more than is told, to know whether there are more.
        assert_eq!(world.store.listed()[asked..], [101, 101, 101], "{target}");
    }
}

/// Asks for messages; what they say, and what the answer says of the page.
async fn page(world: &World, target: &str) -> (Vec<String>, serde_json::Value) {
    let (mut stream, mut answer) = (ask(world, target).await, Vec::new());
    while read(&mut stream, &mut answer).await > 0 {}
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.0 200") && head.contains("content-type: application/json"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("an object");
    let said = body["records"].as_array().expect("records").iter();
    (
        said.map(|said| said["content"].as_str().expect("text").to_owned()).collect(),
        body["pagination"].clone(),
    )
}

#[tokio::test]
async fn a_long_page_of_messages_is_read_in_slices_and_nothing_moves_meanwhile() {
    const MESSAGES: usize = 4321;
    let world = World::start(RoomPolicy { backlog: 20_000, ..World::quick() });
    let room = world.room(&[]).await;
    let rooms = world.state.hub().rooms();
    let id = RoomId::new(room.clone()).expect("an id");
    let Opening::Open(mut open) = rooms.open(&id).await.expect("a store") else { panic!("nobody has it") };
    let (connection, mut effects) = (ConnectionId(1), Vec::new());
    let user_id = UserId::new("alice").expect("an id");
    let nickname = Nickname::new("Alice").expect("a name");
    let join = Command::Join { connection, user_id, nickname, seen: None };
    let mut say = |open: &mut Room, command| {
        open.handle(command, Moment { at: world.clock.now(), uptime: Duration::ZERO }, &mut effects);
        effects.clear();
    };
    say(&mut open, join);
    for number in 0..MESSAGES {
        // Nothing for a while, then 1,500 in one millisecond, then two in each.
        if !(1200..2700).contains(&number) && number % 2 == 0 {
            world.pass(Duration::from_millis(1));
        }
        say(&mut open, Command::Say { connection, content: number.to_string() });
    }
    rooms.write(open.batch(world.clock.now()).into_iter().collect()).await.expect("a store");
    rooms.give_up(vec![(id, open.epoch())]).await.expect("a store");

    let newest: Vec<_> = (0..MESSAGES).rev().map(|number| number.to_string()).collect();
    let target = format!("/management/sync/chat-history/{room}");
    for (limit, number, slices) in [
        (10_000, 1, &[1000, 1000, 1000, 1000, 1000, 1000][..]),
        (1500, 2, &[1000, 500]),
        (1001, 5, &[1000, 684]),
        (3000, 3, &[1000]),
        (1000, 2, &[1000]),
    ] {
        let before = world.store.read().len();
        let (said, pages) = page(&world, &format!("{target}?limit={limit}&page={number}")).await;
        let skipped = (limit * (number - 1)).min(MESSAGES);
        assert_eq!(said, newest[skipped..(skipped + limit).min(MESSAGES)], "{limit} {number}");
        assert_eq!(pages["total_records"], MESSAGES);
        assert_eq!(pages["has_prev"], number > 1);
        assert!(world.store.read()[before..].iter().zip(slices).all(|(asked, slice)| asked <= slice));
    }
    // While a page is read, somebody says something.
    world.store.stall_lists(true);
    let (mut stream, mut answer) = (ask(&world, &format!("{target}?limit=2000")).await, Vec::new());
    while !String::from_utf8_lossy(&answer).contains(r#""content":"3400""#) {
        assert!(read(&mut stream, &mut answer).await > 0);
    }
    let mut bob = Client::join(world.address, &room, "bob").await;
    world.pass(Duration::from_millis(1));
    bob.say(r#"{"type":"SendMessage","payload":{"content":"news"}}"#).await;
    bob.until("news").await;
    assert_eq!(world.manage(&format!("DELETE /management/rooms/{room}/members/nobody"), "").await.0, 200);
    world.store.stall_lists(false);
    while read(&mut stream, &mut answer).await > 0 {}
    let answer = String::from_utf8(answer).expect("text");
    let body: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a head").1).expect("an object");
    let said: Vec<_> = body["records"]
        .as_array()
        .expect("records")
        .iter()
        .filter_map(|said| said["content"].as_str())
        .collect();
    assert_eq!(said, newest[..2000]);
}

#[tokio::test]
async fn a_list_of_no_rooms_is_empty_and_one_that_breaks_off_is_not_whole() {
    let world = World::start(World::quick());
    for target in ["/management/rooms", "/management/sync/rooms", "/management/sync"] {
        let (status, answer) = world.manage(&format!("GET {target}"), "").await;
        assert!(status == 200 && answer.contains("[]"), "{answer}");
    }
    for number in 0..ROOMS {
        let room = RoomId::new(id(number)).expect("an id");
        let name = RoomName::new("Lobby").expect("a name");
        world.state.hub().rooms().create(room, name, Admins::default()).await.expect("made");
    }
    for target in ["/management/rooms", "/management/sync/rooms", "/management/sync"] {
        world.store.fail_lists(true);
        let (mut stream, mut answer) = (ask(&world, target).await, Vec::new());
        while timeout(PATIENCE, stream.read_buf(&mut answer))
            .await
            .expect("an end")
            .is_ok_and(|read| read > 0)
        {}
        let answer = String::from_utf8(answer).expect("text");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(body.contains(&id(0)) && !body.ends_with(']'), "{target}: {body}");
        world.store.fail_lists(false);
    }
}
