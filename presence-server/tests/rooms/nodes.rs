//! Rooms on two servers of one store.

use std::time::Duration;

use presence_core::RoomPolicy;
use presence_server::jobs;

use crate::{client::Client, world::World};

/// What a server says to somebody who would come in.
async fn ask(world: &World, room: &str) -> (u16, String) {
    let target = format!("/ws/rooms/{room}?user_id=bob&nickname=bob");
    let (status, answer, _) = Client::ask(world.address, &target, "").await;
    (status, answer)
}

#[tokio::test]
async fn a_room_that_everybody_has_left_moves_to_where_it_is_asked_for() {
    let one = World::start(RoomPolicy { rest_after: Duration::from_secs(1), ..World::quick() });
    let other = one.beside("node-2");
    let room = one.room(&[]).await;
    let mut alice = Client::join(one.address, &room, "alice").await;
    alice.say(r#"{"type":"SendMessage","payload":{"content":"anybody?"}}"#).await;
    alice.until("anybody?").await;
    let (status, answer) = ask(&other, &room).await;
    assert!(status == 503 && answer.contains("ROOM_ELSEWHERE"), "{answer}");

    drop(alice);
    one.store.given_up().await;
    let mut bob = Client::join(other.address, &room, "bob").await;
    let welcome = bob.until("WelcomeInfo").await.pop().expect("a frame");
    assert!(welcome.contains(r#""seq":1"#), "{welcome}");
    let (status, answer) = ask(&one, &room).await;
    assert!(status == 503 && answer.contains("ROOM_ELSEWHERE"), "{answer}");
    let (_, stays) = other.manage(&format!("GET /management/sync/session-history/{room}"), "").await;
    assert!(stays.contains(r#""user_id":"alice""#), "{stays}");
}

#[tokio::test]
async fn an_erasure_on_one_node_is_heard_on_the_other() {
    let one = World::start(World::quick());
    let other = one.beside("node-2");
    let room = one.room(&["eve"]).await;
    let mut eve = Client::join(one.address, &room, "eve").await;
    eve.say(r#"{"type":"SendMessage","payload":{"content":"mine"}}"#).await;
    eve.until("mine").await;
    let mut bob = Client::join(one.address, &room, "bob").await;
    bob.until("WelcomeInfo").await;
    assert_eq!(other.manage("DELETE /users/eve", "").await.0, 200);
    one.pass(Duration::from_secs(1));
    assert_eq!(jobs::renew_rooms(&one.state).await.expect("a store"), 1);
    assert_eq!(eve.rest().await.1, Some(4410));

    // She may come back, as somebody who is new, and stays.
    let target = format!("/ws/rooms/{room}?user_id=eve&nickname=eve&epoch=0&seq=0");
    let (status, answer, mut eve) = Client::ask(one.address, &target, "").await;
    assert_eq!(status, 101, "{answer}");
    let welcome = eve.until("WelcomeInfo").await.pop().expect("a frame");
    assert!(welcome.contains(r#""is_admin":false"#), "{welcome}");
    assert_eq!(jobs::renew_rooms(&one.state).await.expect("a store"), 1);
    bob.say(r#"{"type":"SendMessage","payload":{"content":"hello again"}}"#).await;
    let heard = eve.until("hello again").await;
    assert!(!heard.iter().any(|frame| frame.contains("mine")), "{heard:?}");
}
