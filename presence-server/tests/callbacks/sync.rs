//! The state of all rooms, from time to time.

use std::time::Duration;

use presence_core::{Clock, Command};
use presence_server::{
    callbacks::{Progress::*, RoomSync},
    ws::Hub,
};
use serde_json::{Value, json};

use crate::{
    receiver::{Receiver, SECRET, Step, Step::*, answer},
    rooms::{ATTEMPTS, World, room},
};

fn says(status: &str) -> Vec<Step> {
    vec![Read, answer(status, "")]
}

fn bodies(receiver: &Receiver) -> Vec<Value> {
    let seen = receiver.seen();
    assert!(seen.iter().all(|request| request.is_signed_once_with(SECRET)));
    seen.iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
}

fn ids(receiver: &Receiver) -> Vec<String> {
    let id = |request: &crate::receiver::Request| request.header("webhook-id").expect("an id").to_owned();
    receiver.seen().iter().map(id).collect()
}

/// Two rooms with a past.
async fn world() -> World {
    let world = World::new();
    for id in ["a", "b"] {
        world.open(id).await;
    }
    world.stays("a", 3).await;
    world.pass(100);
    world.says("a", "alice", 5, "hello ").await;
    world.pass(100);
    world
}

#[tokio::test]
async fn figures_of_each_room_are_told_with_what_its_histories_hold() {
    let (world, receiver) = (world().await, Receiver::start(Vec::new()).await);
    let sync = RoomSync::figures(Hub::new(world.rooms.clone()), world.channel(&receiver), ATTEMPTS);
    for expected in [Sent(1), Sent(1), Done, Sent(1)] {
        assert_eq!(sync.step().await.ok(), Some(expected));
    }
    assert_eq!(
        bodies(&receiver)[0],
        json!({
            "event_type": "PeriodicSync",
            "room_id": "a",
            "room_info": {
                "room_id": "a", "room_name": "Lobby", "admin_user_ids": [], "current_connections": 0,
                "created_at": 1_717_161_600, "last_activity": 1_717_161_600,
            },
            "last_sync_time": 1_717_161_800,
            "statistics": {"current_users": 0, "peak_users": 0, "total_joins": 0},
            "record_counts": {"chat_history": 5, "session_history": 3},
        })
    );
    let ids = ids(&receiver);
    assert_eq!(ids[..2], ["periodic_sync_a_1717161800000", "periodic_sync_b_1717161800000"]);
}

#[tokio::test]
async fn everything_of_each_room_is_told_as_far_as_it_fits() {
    let (world, receiver) = (world().await, Receiver::start(Vec::new()).await);
    world.stays("b", 300).await;
    world.says("b", "bob", 40, &"x".repeat(16_000)).await;
    let sync = RoomSync::everything(Hub::new(world.rooms.clone()), world.channel(&receiver), ATTEMPTS);
    for expected in [Sent(1), Sent(1), Done] {
        assert_eq!(sync.step().await.ok(), Some(expected));
    }
    let [first, second] = &bodies(&receiver)[..] else { panic!("two rooms") };
    let count = |body: &Value, history: &str| body[history].as_array().expect("rows").len();
    assert_eq!((count(first, "chat_history"), count(first, "session_history")), (5, 3));
    assert_eq!(first["chat_history"][0]["content"], "hello 5", "the newest first");
    assert_eq!(first["room_name"], "Lobby");
    // The newest that fit.
    let length = receiver.seen()[1].body.len();
    assert!((240 * 1024..=256 * 1024).contains(&length), "{length}");
    assert!(second["chat_history"][0]["content"].as_str().expect("text").ends_with("x40"));
    assert_eq!((count(second, "chat_history"), count(second, "session_history")), (14, 300));
}

#[tokio::test]
async fn a_room_is_tried_again_under_its_id_and_then_left_for_the_next_sync() {
    let behaviours =
        vec![says("500 Oh"), says("400 No"), says("500 Oh"), says("500 Oh"), says("500 Oh"), says("500 Oh")];
    let (world, receiver) = (world().await, Receiver::start(behaviours).await);
    let sync = RoomSync::figures(Hub::new(world.rooms.clone()), world.channel(&receiver), ATTEMPTS);
    let again = Again(Duration::from_secs(5));
    for expected in [again, Refused, again, again, again, GivenUp] {
        assert_eq!(sync.step().await.ok(), Some(expected));
        world.pass(5);
    }
    assert_eq!(sync.step().await.ok(), Some(Sent(1)), "the next sync begins with the first room");
    let ids = ids(&receiver);
    let (a, b) = ("periodic_sync_a_1717161800000", "periodic_sync_b_1717161800000");
    assert_eq!(ids[..6], [a, a, b, b, b, b]);
    assert!(ids[6].starts_with("periodic_sync_a_") && ids[6] != a, "{ids:?}");
}

#[tokio::test]
async fn a_room_that_is_closed_meanwhile_is_left_out() {
    let (world, receiver) = (world().await, Receiver::start(vec![says("500 Oh")]).await);
    let hub = Hub::new(world.rooms.clone());
    let sync = RoomSync::figures(hub, world.channel(&receiver), ATTEMPTS);
    assert_eq!(sync.step().await.ok(), Some(Again(Duration::from_secs(5))));
    let presence_core::Opening::Open(mut opened) = world.rooms.open(&room("a")).await.expect("a store")
    else {
        panic!("it is ours")
    };
    let now = presence_core::Moment { at: world.clock.now(), uptime: Duration::ZERO };
    opened.handle(Command::Close, now, &mut Vec::new());
    world.rooms.write(opened.batch(now.at).into_iter().collect()).await.expect("a store");
    for expected in [Sent(1), Done] {
        assert_eq!(sync.step().await.ok(), Some(expected));
    }
    assert_eq!(bodies(&receiver)[1]["room_id"], "b");
}
