//! What members, administrators and operators see of a room.

use std::time::Duration;

use presence_core::RoomPolicy;

use crate::{
    client::{Client, Heard},
    world::World,
};

fn say(content: &str) -> String {
    serde_json::json!({ "type": "SendMessage", "payload": { "content": content } }).to_string()
}

fn about(kind: &str, user: &str) -> String {
    serde_json::json!({ "type": kind, "payload": { "user_id": user } }).to_string()
}

#[tokio::test]
async fn who_says_something_is_heard_by_all_in_one_order() {
    let world = World::start(World::quick());
    let room = world.room(&["root"]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    assert!(alice.text().await.contains(r#""WelcomeInfo""#));
    alice.until(r#""current_users":1"#).await;
    let mut bob = Client::join(world.address, &room, "bob").await;
    bob.until(r#""current_users":2"#).await;
    let seen = alice.until(r#""current_users":2"#).await;
    assert_eq!(seen[0], r#"{"type":"UserJoined","payload":{"user_id":"bob","nickname":"bob"}}"#);
    alice.say(&say("one")).await;
    bob.until(r#""content":"one""#).await;
    bob.say(&say("two")).await;
    for member in [&mut alice, &mut bob] {
        let last = member.until(r#""content":"two""#).await.pop().expect("a frame");
        assert!(last.contains(r#""seq":2"#), "{last}");
    }
    drop(bob);
    alice.until(r#""type":"UserLeft""#).await;
    let (status, listed) = world.manage("GET /management/rooms", "").await;
    assert!(
        status == 200 && listed.contains(r#""current_users":1,"peak_users":2,"total_joins":2"#),
        "{listed}"
    );
}

#[tokio::test]
async fn what_an_administrator_says_counts_and_what_others_order_does_not() {
    let world = World::start(World::quick());
    let room = world.room(&["root"]).await;
    let mut root = Client::join(world.address, &room, "root").await;
    let mut eve = Client::join(world.address, &room, "eve").await;
    root.until(r#""current_users":2"#).await;
    eve.until(r#""current_users":2"#).await;
    eve.say(&about("KickUser", "root")).await;
    eve.say(&say("I am here")).await;
    root.until("I am here").await;
    root.say(&about("MuteUser", "eve")).await;
    eve.until(r#""YouAreMuted""#).await;
    eve.say(&say("still here")).await;
    eve.until(r#""YouAreMuted""#).await;
    root.say(&about("KickUser", "eve")).await;
    let (texts, code) = eve.rest().await;
    assert_eq!((texts.last().map(String::as_str), code), (Some(r#"{"type":"YouAreKicked"}"#), Some(4403)));
    let mut eve = Client::join(world.address, &room, "eve").await;
    let (texts, code) = eve.rest().await;
    assert!(texts[0].contains("你已被踢出该房间，无法再次加入") && code == Some(4403), "{texts:?}");
    let (status, done) = world.manage(&format!("GET /management/rooms/{room}/actions"), "").await;
    assert_eq!(status, 200);
    for action in [r#""actor":"root","action":"ban","target":"eve""#, r#""actor":"root","action":"mute""#] {
        assert!(done.contains(action), "{done}");
    }
    assert_eq!(done.matches("\"action\":\"ban\"").count(), 1, "{done}");
}

#[tokio::test]
async fn a_second_connection_of_a_user_takes_over() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut first = Client::join(world.address, &room, "alice").await;
    first.until(r#""current_users":1"#).await;
    let mut second = Client::join(world.address, &room, "alice").await;
    assert!(second.text().await.contains("WelcomeInfo"));
    let (texts, code) = first.rest().await;
    assert_eq!((texts.last().map(String::as_str), code), (Some(r#"{"type":"YouAreKicked"}"#), Some(4409)));
    second.say(&say("me")).await;
    second.until(r#""content":"me""#).await;
}

#[tokio::test]
async fn whoever_speaks_too_often_is_told_how_long_to_wait() {
    let world = World::start(RoomPolicy { stats_interval: Duration::ZERO, ..RoomPolicy::default() });
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
    alice.say(&say("one")).await;
    alice.say(&say("two")).await;
    alice.until(r#""content":"one""#).await;
    let refused = alice.text().await;
    assert!(refused.contains("发送过于频繁，请3秒后再试") && refused.contains("RATE_LIMITED"), "{refused}");
}

#[tokio::test]
async fn whoever_comes_back_gets_what_it_missed_once() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    let mut bob = Client::join(world.address, &room, "bob").await;
    alice.say(&say("one")).await;
    let one = bob.until(r#""content":"one""#).await.pop().expect("a frame");
    let one: serde_json::Value = serde_json::from_str(&one).expect("JSON");
    drop(bob);
    alice.until(r#""type":"UserLeft""#).await;
    for content in ["two", "three"] {
        alice.say(&say(content)).await;
    }
    alice.until(r#""content":"three""#).await;
    let (epoch, seq) = (&one["payload"]["epoch"], &one["payload"]["seq"]);
    let back = format!("/ws/rooms/{room}?user_id=bob&nickname=bob&epoch={epoch}&seq={seq}");
    let (status, answer, mut bob) = Client::ask(world.address, &back, "").await;
    assert_eq!(status, 101, "{answer}");
    let texts = bob.until(r#""current_users":2"#).await;
    assert!(texts[0].contains(r#""recovered":true"#), "{texts:?}");
    let missed: Vec<_> = texts.iter().filter(|text| text.contains(r#""type":"Message""#)).collect();
    assert_eq!(missed.len(), 2, "{texts:?}");
    assert!(missed[0].contains("two") && missed[1].contains("three"), "{texts:?}");
    let unknown = format!("/ws/rooms/{room}?user_id=carol&nickname=carol&epoch={epoch}&seq=9");
    let (_, _, mut carol) = Client::ask(world.address, &unknown, "").await;
    assert!(carol.text().await.contains(r#""recovered":false"#));
}

#[tokio::test]
async fn a_room_that_is_closed_sends_everybody_away_and_its_history_stays() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.say(&say("hello")).await;
    alice.until("hello").await;
    world.pass(Duration::from_millis(90_500));
    assert_eq!(world.manage(&format!("DELETE /management/rooms/{room}"), "").await.0, 204);
    let (texts, code) = alice.rest().await;
    assert_eq!(
        texts.last().map(String::as_str),
        Some(r#"{"type":"System","payload":{"message":"房间已关闭"}}"#)
    );
    assert_eq!(code, Some(4404));
    let again = world.manage(&format!("DELETE /management/rooms/{room}"), "").await;
    assert!(again.0 == 404 && again.1.contains(&format!(r#""error":"Room {room} not found""#)), "{again:?}");
    let (status, said) = world.manage(&format!("GET /management/sync/chat-history/{room}"), "").await;
    assert!(
        status == 200 && said.contains(r#""content":"hello""#) && said.contains(r#""total_records":1"#),
        "{said}"
    );
    let (_, stays) = world.manage(&format!("GET /management/sync/session-history/{room}"), "").await;
    assert!(stays.contains(r#""user_id":"alice""#) && stays.contains(r#""duration_seconds":90"#), "{stays}");
    let target = format!("/ws/rooms/{room}?user_id=alice&nickname=alice");
    assert_eq!(Client::ask(world.address, &target, "").await.0, 404);
}

#[tokio::test]
async fn an_operator_moderates_without_being_there() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut eve = Client::join(world.address, &room, "eve").await;
    eve.until(r#""current_users":1"#).await;
    let at = |path: &str| format!("/management/rooms/{room}/{path}");
    let changed = |changed: bool| (200, format!(r#"{{"changed":{changed}}}"#));
    assert_eq!(
        world.manage(&format!("POST {}", at("system-message")), r#"{"content":"hi"}"#).await,
        changed(true)
    );
    eve.until(r#"{"type":"System","payload":{"message":"hi"}}"#).await;
    assert_eq!(world.manage(&format!("PUT {}", at("mutes/eve")), "").await, changed(true));
    eve.until("YouAreMuted").await;
    assert_eq!(world.manage(&format!("DELETE {}", at("members/eve")), "").await, changed(true));
    assert_eq!(eve.rest().await.1, Some(4403));
    assert_eq!(world.manage(&format!("PUT {}", at("bans/eve")), "").await, changed(true));
    assert_eq!(world.manage(&format!("DELETE {}", at("bans/eve")), "").await, changed(true));
    assert_eq!(world.manage(&format!("DELETE {}", at("bans/eve")), "").await, changed(false));
    assert_eq!(
        world.manage(&format!("PUT {}", at("admins")), r#"{"admin_user_ids":["eve"]}"#).await,
        changed(true)
    );
    let mut eve = Client::join(world.address, &room, "eve").await;
    assert!(eve.text().await.contains(r#""is_admin":true"#));
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
    let (ended, ()) = tokio::join!(alice.rest(), world.end());
    assert_eq!(ended.1, Some(1001));
}

#[tokio::test]
async fn a_ping_comes_back() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
    alice.say(r#"{"type":"Ping","payload":{"timestamp":17}}"#).await;
    assert_eq!(alice.text().await, r#"{"type":"Pong","payload":{"timestamp":17}}"#);
    alice.send(&crate::client::frame(0x89, b"there?")).await;
    assert_eq!(alice.hear().await, Heard::Pong(b"there?".to_vec()));
}

#[tokio::test]
async fn what_is_no_way_into_a_room_is_refused_before_the_upgrade() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    for (target, headers, status, code) in [
        ("/ws/rooms/nowhere?user_id=a&nickname=A".to_owned(), "", 404, "ROOM_NOT_FOUND"),
        (format!("/ws/rooms/{room}?nickname=A"), "", 400, "INVALID_USER_ID"),
        (format!("/ws/rooms/{room}?user_id=a"), "", 400, "INVALID_NICKNAME"),
        (format!("/ws/rooms/{room}?user_id=%20&nickname=A"), "", 400, "INVALID_USER_ID"),
        (format!("/ws/rooms/{room}?user_id=a&nickname=%E2%80%AE"), "", 400, "INVALID_NICKNAME"),
        (format!("/ws/rooms/{room}?user_id=a&nickname=A&seq=1"), "", 400, "INVALID_QUERY"),
        (format!("/ws/rooms/{room}?user_id=a&nickname=A&seq=x&epoch=1"), "", 400, "INVALID_QUERY"),
        (
            format!("/ws/rooms/{room}?user_id=a&nickname=A"),
            "Origin: https://evil.example\r\n",
            403,
            "FORBIDDEN",
        ),
        (format!("/ws/rooms/{room}?user_id=a&nickname=A"), "Origin: null\r\n", 403, "FORBIDDEN"),
        (format!("/ws/rooms/{}?user_id=a&nickname=A", "x".repeat(129)), "", 400, "INVALID_ROOM_ID"),
    ] {
        let (answered, answer, _) = Client::ask(world.address, &target, headers).await;
        assert!(answered == status && answer.contains(code), "{target}: {answer}");
    }
    let own = format!("Origin: http://{}\r\n", world.address);
    let target = format!("/ws/rooms/{room}?user_id=a&nickname=A");
    assert_eq!(Client::ask(world.address, &target, &own).await.0, 101);
    let offers = "Sec-WebSocket-Protocol: bearer.x, presence.v1\r\n";
    let (status, answer, _) = Client::ask(world.address, &target, offers).await;
    assert!(status == 101 && answer.contains("sec-websocket-protocol: presence.v1"), "{answer}");
    let (status, answer) = world.manage(&format!("GET {target}"), "").await;
    assert!(status == 400 && answer.contains("INVALID_UPGRADE"), "{answer}");
}
