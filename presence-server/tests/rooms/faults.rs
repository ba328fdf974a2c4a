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

use tokio::time::Instant;

use crate::{
    client::{Client, Heard, frame},
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

/// When a world begins.
const NOW: i64 = 1_717_161_600;
const SECRET: &str = "vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6";

/// A server whose users show tokens.
fn signed() -> World {
    let secret = Secret::new(SECRET).expect("a secret");
    let tokens = Tokens::new(&secret, "presence", None, Duration::from_secs(86_400));
    let access = Access::open().with_tokens(tokens);
    World::with(World::quick(), Settings { access, ..Settings::default() })
}

fn token(claims: &serde_json::Value) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn nobody_joins_in_another_name() {
    let world = signed();
    let room = world.room(&["root"]).await;
    let of = |sub: &str, scope: &str| {
        let claims = serde_json::json!({ "sub": sub, "aud": "presence", "iat": NOW, "exp": NOW + 600, "scope": scope });
        token(&claims)
    };
    let (eve, boss) = (of("eve", ""), of("boss", "admin"));
    for (query, headers, status) in [
        ("user_id=root", String::new(), 401),
        ("user_id=eve", format!("Authorization: Bearer {eve}x\r\n"), 401),
        // What stands in a URL stands in logs.
        ("user_id=eve&token=TOKEN", String::new(), 401),
        ("user_id=eve&access_token=TOKEN", String::new(), 401),
        ("user_id=eve", format!("Cookie: token={eve}\r\n"), 401),
        ("user_id=root", format!("Authorization: Bearer {eve}\r\n"), 403),
        ("user_id=root", format!("Sec-WebSocket-Protocol: presence.v1, bearer.{eve}\r\n"), 403),
        ("user_id=root", format!("Authorization: Bearer {boss}\r\n"), 403),
        ("user_id=eve", format!("Authorization: Bearer {eve}\r\n"), 101),
        ("x=1", format!("Sec-WebSocket-Protocol: bearer.{eve}, presence.v1\r\n"), 101),
    ] {
        let query = query.replace("TOKEN", &eve);
        let target = format!("/ws/rooms/{room}?nickname=root&{query}");
        let (answered, answer, mut client) = Client::ask(world.address, &target, &headers).await;
        assert_eq!(answered, status, "{target} {headers}: {answer}");
        assert!(!answer.contains(&eve) && !answer.contains(&boss), "{answer}");
        if status == 101 {
            let welcome = client.text().await;
            assert!(
                welcome.contains(r#""user_id":"eve","nickname":"root","is_muted":false,"is_admin":false"#)
            );
        }
    }
    // What a frame says of itself is not looked at.
    let headers = format!("Authorization: Bearer {eve}\r\n");
    let target = format!("/ws/rooms/{room}?nickname=Eve");
    let (_, _, mut client) = Client::ask(world.address, &target, &headers).await;
    client
        .say(r#"{"type":"SendMessage","from":"root","is_admin":true,"payload":{"content":"pay me","from":"root","user_id":"root","nickname":"root","is_admin":true,"epoch":1,"seq":77,"created_at":1,"ts":1}}"#)
        .await;
    let said = client.until("pay me").await.pop().expect("a frame");
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let payload = &said["payload"];
    assert_eq!(
        (
            &payload["from"],
            &payload["nickname"],
            &payload["is_admin"],
            &payload["seq"],
            &payload["created_at"]
        ),
        (&"eve".into(), &"Eve".into(), &false.into(), &1.into(), &NOW.into())
    );
}

/// How connections ended, and how many did so.
async fn partings(world: &World) -> String {
    let (status, figures) = world.manage("GET /metrics", "").await;
    assert_eq!(status, 200, "{figures}");
    let partings =
        figures.lines().filter_map(|line| line.strip_prefix("presence_room_partings_total{how=\""));
    let partings =
        partings.filter(|parting| !parting.ends_with(" 0")).map(|parting| parting.replace("\"}", ""));
    partings.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn every_connection_that_ends_is_counted_by_how() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut bob = Client::join(world.address, &room, "bob").await;
    for user in ["one", "two", "three"] {
        let mut client = Client::join(world.address, &room, user).await;
        bob.until(&format!(r#""UserJoined","payload":{{"user_id":"{user}""#)).await;
        match user {
            "one" => drop(client),
            "two" => {
                let kick = format!("DELETE /management/rooms/{room}/members/two");
                assert_eq!(world.manage(&kick, "").await.0, 200);
                assert_eq!(client.rest().await.1, Some(4403));
            }
            _ => {
                client.send(&frame(0x82, b"bytes")).await;
                assert_eq!(client.rest().await.1, Some(1003));
            }
        }
        bob.until(&format!(r#""UserLeft","payload":{{"user_id":"{user}""#)).await;
    }
    assert_eq!(partings(&world).await, "gone 1, sent_away 1, broken 1");
}

#[tokio::test]
async fn who_answers_no_ping_is_gone_in_half_a_minute_and_who_answers_stays() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
    let mut bob = Client::join(world.address, &room, "bob").await;
    bob.until(r#""current_users":2"#).await;
    alice.until(r#""current_users":2"#).await;
    // From here on time passes where nobody has anything to do.
    tokio::time::pause();
    let began = Instant::now();
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.hear().await, Heard::Ping);
    }
    let asked = began.elapsed();
    assert!((24..=30).contains(&asked.as_secs()), "{asked:?}");
    bob.send(&frame(0x8a, b"")).await;
    assert_eq!(alice.rest().await.1, Some(4408));
    let gone = began.elapsed();
    assert!((34..=41).contains(&gone.as_secs()), "{gone:?}");
    bob.until(r#""current_users":1"#).await;
    assert_eq!(partings(&world).await, "silent 1");
    for _ in 0..3 {
        assert_eq!(bob.hear().await, Heard::Ping);
        bob.send(&frame(0x8a, b"")).await;
    }
}

#[tokio::test]
async fn who_reads_nothing_for_ten_seconds_is_gone() {
    let world = World::start(World::quick());
    let room = world.room(&["root"]).await;
    let mut root = Client::join(world.address, &room, "root").await;
    let mut stuck = Client::narrow(world.address, &room, "stuck").await;
    stuck.until(r#""current_users":2"#).await;
    root.until(r#""current_users":2"#).await;
    // Less than may wait for a member, and more than its socket takes.
    let long = say(&"x".repeat(60_000));
    for _ in 0..3 {
        root.say(&long).await;
        root.until("xxx").await;
    }
    tokio::time::pause();
    let began = Instant::now();
    root.until(r#""current_users":1"#).await;
    let gone = began.elapsed();
    assert!((9..=12).contains(&gone.as_secs()), "{gone:?}");
    assert!(matches!(stuck.rest().await.1, None | Some(1013)));
    assert_eq!(partings(&world).await, "slow 1");
}

#[tokio::test]
async fn a_connection_ends_with_the_token_that_opened_it() {
    let world = signed();
    let room = world.room(&[]).await;
    // It is taken until 30 s after its end, which is a second from now.
    let token = token(&serde_json::json!({ "sub": "alice", "aud": "presence", "exp": NOW - 29 }));
    let headers = format!("Authorization: Bearer {token}\r\n");
    let target = format!("/ws/rooms/{room}?nickname=alice");
    let (status, answer, mut alice) = Client::ask(world.address, &target, &headers).await;
    assert_eq!(status, 101, "{answer}");
    let (texts, code) = alice.rest().await;
    assert!(texts[0].contains(r#""user_id":"alice""#), "{texts:?}");
    assert_eq!(code, Some(4401));
    assert_eq!(partings(&world).await, "expired 1");
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
