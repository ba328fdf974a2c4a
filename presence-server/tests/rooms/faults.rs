//! What members see of a room that breaks, and what is left of them.

use std::time::Duration;

use presence_server::jobs;

use crate::{client::Client, world::World};

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
