//! Lists of all rooms, which are read from the store while they are sent.

use presence_core::{Admins, RoomId, RoomName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::PATIENCE,
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
