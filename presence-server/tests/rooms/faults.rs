//! What members see of a room that breaks, and what is left of them.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use presence_core::{Opening, RoomId, Rooms};
use presence_server::{
    Settings,
    auth::{Access, Secret, Tokens},
    jobs,
};

use crate::{
    client::Client,
    world::{World, manage},
};

fn say(content: &str) -> String {
    serde_json::json!({ "type": "SendMessage", "payload": { "content": content } }).to_string()
}

#[tokio::test]
async fn nobody_stays_in_a_room_whose_task_died() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.say(&say("one")).await;
    alice.until(r#""content":"one""#).await;
    // What an operator was told is stored, and what went before it.
    let kicked = world.manage(&format!("DELETE /management/rooms/{room}/members/nobody"), "").await;
    assert_eq!(kicked.0, 200);
    world.store.panic_once();
    alice.say(&say("two")).await;
    assert_eq!(alice.rest().await.1, Some(1012));

    // Its lease is not prolonged, so that its stays are ended like those of a server that is gone.
    assert_eq!(jobs::renew_rooms(&world.state).await.expect("a store"), 0);
    world.pass(Duration::from_secs(16));
    assert_eq!(jobs::settle_rooms(&world.state).await.expect("a store"), 1);
    let (_, stays) = world.manage(&format!("GET /management/sync/session-history/{room}"), "").await;
    assert!(stays.contains(r#""user_id":"alice""#), "{stays}");
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
}

#[tokio::test]
async fn a_member_who_answers_nothing_keeps_no_room_from_other_nodes() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
    // Shorter than a server waits for the answer to a close.
    world.state.hub().drain(Duration::from_secs(1)).await;
    let other = Rooms::with_policy(world.store.clone(), world.clock.clone(), "node-2", World::quick());
    let opening = other.open(&RoomId::new(room).expect("an id")).await.expect("a store");
    assert!(matches!(opening, Opening::Open(_)), "{opening:?}");
}

#[tokio::test]
async fn a_server_that_ends_opens_no_room_again() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let alice = Client::join(world.address, &room, "alice").await;
    drop(alice);
    world.state.hub().drain(Duration::from_secs(10)).await;
    // A request that was under way: nobody would send its member away, nor write what it says.
    let target = format!("/ws/rooms/{room}?user_id=bob&nickname=bob");
    let (status, answer, _) = Client::ask(world.address, &target, "").await;
    assert!(status == 503 && answer.contains("ROOM_ELSEWHERE"), "{answer}");
}

#[tokio::test]
async fn a_room_that_ends_here_is_not_said_to_be_none() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
    world.store.stall(true);
    let hub = world.state.hub().clone();
    let drain = tokio::spawn(async move { hub.drain(Duration::from_secs(60)).await });
    assert_eq!(alice.rest().await.1, Some(1001));
    let at = format!("POST /management/rooms/{room}/system-message");
    let (status, answer) = world.manage(&at, r#"{"content":"hi"}"#).await;
    world.store.stall(false);
    assert!(status == 503 && answer.contains("ROOM_ELSEWHERE"), "{answer}");
    drain.await.expect("an end in order");
}

#[tokio::test]
async fn a_user_who_is_erased_is_out_of_all_rooms_while_the_store_is_slow() {
    let world = World::start(World::quick());
    let rooms = [world.room(&[]).await, world.room(&[]).await, world.room(&[]).await];
    let mut stays = Vec::new();
    for room in &rooms {
        let mut eve = Client::join(world.address, room, "eve").await;
        eve.until(r#""current_users":1"#).await;
        stays.push(eve);
    }
    world.store.stall(true);
    let address = world.address;
    let erased = tokio::spawn(async move { manage(address, "DELETE /users/eve", "").await });
    for mut eve in stays {
        assert_eq!(eve.rest().await.1, Some(4410));
    }
    world.store.stall(false);
    assert_eq!(erased.await.expect("an answer").0, 200);
}

#[tokio::test]
async fn a_connection_ends_with_the_token_that_opened_it() {
    const SECRET: &str = "vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6";
    let secret = Secret::new(SECRET).expect("a secret");
    let tokens = Tokens::new(&secret, "presence", None, Duration::from_secs(86_400));
    let access = Access::open().with_tokens(tokens);
    let world = World::with(World::quick(), Settings { access, ..Settings::default() });
    let room = world.room(&[]).await;
    // It is taken until 30 s after its end, which is a second from now.
    let claims = serde_json::json!({ "sub": "alice", "aud": "presence", "exp": 1_717_161_600 - 29 });
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    let headers = format!("Authorization: Bearer {message}.{signature}\r\n");
    let target = format!("/ws/rooms/{room}?nickname=alice");
    let (status, answer, mut alice) = Client::ask(world.address, &target, &headers).await;
    assert_eq!(status, 101, "{answer}");
    let (texts, code) = alice.rest().await;
    assert!(texts[0].contains(r#""user_id":"alice""#), "{texts:?}");
    assert_eq!(code, Some(4401));
}

#[tokio::test]
async fn an_event_that_is_longer_than_it_was_sent_costs_no_other_the_connection() {
    let world = World::start(World::quick());
    let room = world.room(&["root"]).await;
    let mut root = Client::join(world.address, &room, "root").await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    root.until(r#""current_users":2"#).await;
    // 80 KB, which are 300 KB when they are written out.
    let payload = vec!["1e15"; 16_000].join(",");
    root.say(&format!(r#"{{"type":"CustomEvent","payload":{{"event_type":"long","payload":[{payload}]}}}}"#))
        .await;
    assert_eq!(root.rest().await.1, Some(1009));
    alice.say(&say("still here")).await;
    alice.until("still here").await;
}

#[tokio::test]
async fn a_room_that_is_slow_to_open_keeps_nobody_from_another() {
    let world = World::start(World::quick());
    let (slow, quick) = (world.room(&[]).await, world.room(&[]).await);
    world.store.slow(Some(RoomId::new(slow.clone()).expect("an id")));
    let address = world.address;
    let alice = tokio::spawn(async move { Client::join(address, &slow, "alice").await });
    world.store.asked().await;
    let mut bob = Client::join(address, &quick, "bob").await;
    bob.until(r#""current_users":1"#).await;
    world.store.slow(None);
    alice.await.expect("joined").until(r#""current_users":1"#).await;
}
