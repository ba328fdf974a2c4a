//! Rooms on two servers of one store.

use std::{net::SocketAddr, time::Duration};

use presence_core::RoomPolicy;
use presence_postgres_testing::Database;
use presence_server::jobs;
use tokio::time::timeout;

use crate::{
    client::{Client, PATIENCE},
    server::Server,
    world::{World, make, manage},
};

/// What a server says to somebody who would come in.
async fn ask(address: SocketAddr, room: &str) -> (u16, String) {
    let target = format!("/ws/rooms/{room}?user_id=bob&nickname=bob");
    let (status, answer, _) = Client::ask(address, &target, "").await;
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
    let (status, answer) = ask(other.address, &room).await;
    assert!(status == 503 && answer.contains("ROOM_ELSEWHERE"), "{answer}");

    drop(alice);
    one.store.given_up().await;
    let mut bob = Client::join(other.address, &room, "bob").await;
    let welcome = bob.until("WelcomeInfo").await.pop().expect("a frame");
    assert!(welcome.contains(r#""seq":1"#), "{welcome}");
    let (status, answer) = ask(one.address, &room).await;
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

#[tokio::test]
async fn a_room_that_waits_for_the_store_hears_of_an_erasure_and_keeps_no_other_from_its_lease() {
    let one = World::start(World::quick());
    let other = one.beside("node-2");
    let room = one.room(&[]).await;
    let mut eve = Client::join(one.address, &room, "eve").await;
    eve.until(r#""current_users":1"#).await;
    assert_eq!(other.manage("DELETE /users/eve", "").await.0, 200);
    one.store.stall(true);
    let renewed = timeout(PATIENCE, jobs::renew_rooms(&one.state)).await.expect("it waits for no batch");
    assert_eq!(renewed.expect("a store"), 1);
    assert_eq!(eve.rest().await.1, Some(4410));
    one.store.stall(false);
}

/// In which tables something still is about a user.
fn traces(database: &Database, text: &str) -> String {
    let tables = database.psql(
        "SELECT schemaname || '.' || tablename FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY tablename",
    );
    let holding = tables.lines().filter(|table| {
        database.psql(&format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%{text}%'")).trim() != "0"
    });
    holding.filter_map(|table| Some(table.split_once('.')?.1)).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn an_erasure_on_one_of_two_processes_is_heard_in_the_rooms_of_the_other() {
    let database = Database::create();
    let settings =
        |name| [("DATABASE_URL", database.url()), ("NODE_NAME", name), ("USER_MESSAGE_INTERVAL_SECS", "0")];
    let (one, other) = (Server::start(&settings("node-1")), Server::start(&settings("node-2")));
    let room = make(other.address, &["eve-77"]).await;
    let mut eve = Client::join(one.address, &room, "eve-77").await;
    eve.say(r#"{"type":"SendMessage","payload":{"content":"mine"}}"#).await;
    eve.until("mine").await;
    let mut bob = Client::join(one.address, &room, "bob").await;
    bob.until("WelcomeInfo").await;
    bob.say(r#"{"type":"SendMessage","payload":{"content":"not hers"}}"#).await;
    eve.until("not hers").await;
    let (status, answer) = ask(other.address, &room).await;
    assert!(status == 503 && answer.contains("ROOM_ELSEWHERE"), "{answer}");
    // What an operator was told is stored, and what went before it.
    let at = format!("/management/rooms/{room}");
    assert_eq!(manage(one.address, &format!("PUT {at}/mutes/eve-77"), "").await.0, 200);

    assert_eq!(traces(&database, "eve-77"), "admin_actions chat_history room_roles room_sessions");

    let (status, receipt) = manage(other.address, "DELETE /users/eve-77", "").await;
    assert!(status == 200 && receipt.contains(r#""messages":1,"room_sessions":1"#), "{receipt}");
    let (texts, code) = eve.rest().await;
    assert_eq!((texts.last().map(String::as_str), code), (Some(r#"{"type":"YouAreKicked"}"#), Some(4410)));
    let told = bob.until(r#""current_users":1"#).await;
    assert!(!told.iter().any(|frame| frame.contains("UserLeft")), "{told:?}");
    // The room has written that she is gone by the time an operator is answered.
    assert_eq!(manage(one.address, &format!("DELETE {at}/members/nobody"), "").await.0, 200);
    assert_eq!(traces(&database, "eve-77"), "");

    // She may come back, as somebody who is new: nobody's administrator, not silenced, and nothing is said twice.
    let back = format!("/ws/rooms/{room}?user_id=eve-77&nickname=eve-77&epoch=0&seq=0");
    let (status, answer, mut eve) = Client::ask(one.address, &back, "").await;
    assert_eq!(status, 101, "{answer}");
    let welcome = eve.text().await;
    assert!(welcome.contains(r#""is_muted":false,"is_admin":false"#), "{welcome}");
    bob.say(r#"{"type":"SendMessage","payload":{"content":"hello again"}}"#).await;
    let heard = eve.until("hello again").await;
    assert!(!heard.iter().any(|frame| frame.contains("mine")), "{heard:?}");
    for address in [one.address, other.address] {
        let (status, said) = manage(address, &format!("GET /management/sync/chat-history/{room}"), "").await;
        assert!(status == 200 && said.contains("not hers") && !said.contains("mine"), "{said}");
    }
}
