//! Batches of what happened in rooms: each row arrives, in order, and once where nothing fails.

use std::time::Duration;

use presence_core::{CheckpointStore, Clock, Feed};
use presence_server::callbacks::{HistoryBatches, Progress, Progress::*};
use serde_json::Value;

use crate::{
    receiver::{Receiver, SECRET, Step, Step::*, answer, answer_with},
    rooms::{ATTEMPTS, World, user},
};

const AGAIN: Progress = Again(Duration::from_secs(5));

/// All batches that arrived, with the rows in them: `chat_lobby_1_1000 1..1000 more`.
fn told(receiver: &Receiver) -> Vec<String> {
    let bodies = receiver.seen().into_iter().map(|request| {
        assert!(request.is_signed_once_with(SECRET), "{request:?}");
        let id = request.header("webhook-id").expect("an id").to_owned();
        (id, serde_json::from_slice(&request.body).expect("JSON"))
    });
    let line = |(id, body): (String, Value)| {
        assert_eq!(body["batch_id"], id.as_str());
        let said = |row: &Value| row["content"].as_str().expect("text").trim_start_matches('x').to_owned();
        let rows: Vec<_> = body["messages"].as_array().expect("rows").iter().map(said).collect();
        let rows = match &rows[..] {
            [first, .., last] if rows.len() > 4 => {
                assert!(rows.iter().is_sorted_by_key(|row| row.parse::<u32>().expect("a number")));
                format!("{first}..{last}")
            }
            few => few.join(" "),
        };
        format!("{id} {rows} {}", if body["is_last_batch"] == true { "last" } else { "more" })
    };
    bodies.map(line).collect()
}

/// What the steps of a run do, up to its end. Between attempts time passes as each step says.
async fn run(world: &World, batches: &HistoryBatches) -> Vec<Progress> {
    let mut steps = Vec::new();
    loop {
        let step = batches.step().await.expect("a store that works");
        steps.push(step);
        match step {
            Sent(_) | Refused => {}
            Again(after) => world.pass(after.as_secs()),
            _ => return steps,
        }
    }
}

fn fails() -> Vec<Step> {
    vec![Read, answer("500 Oh", "")]
}

fn takes() -> Vec<Step> {
    vec![Read, answer("200 OK", "{}")]
}

async fn lobby_with(count: usize) -> World {
    let world = World::new();
    world.open("lobby").await;
    world.says("lobby", "alice", count, "").await;
    world
}

#[tokio::test]
async fn rows_come_oldest_first_in_full_batches_and_the_last_one_says_so() {
    let (world, receiver) = (lobby_with(2500).await, Receiver::start(Vec::new()).await);
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(run(&world, &batches).await, [Sent(1000), Sent(1000), Sent(500), Done]);
    assert_eq!(
        told(&receiver),
        [
            "chat_lobby_1_1000 1..1000 more",
            "chat_lobby_1001_2000 1001..2000 more",
            "chat_lobby_2001_2500 2001..2500 last",
        ]
    );
}

#[tokio::test]
async fn two_full_batches_have_no_empty_third() {
    let (world, receiver) = (lobby_with(2000).await, Receiver::start(Vec::new()).await);
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(run(&world, &batches).await, [Sent(1000), Sent(1000), Done]);
    assert_eq!(told(&receiver)[1..], ["chat_lobby_1001_2000 1001..2000 last"]);
}

#[tokio::test]
async fn nothing_new_is_no_call() {
    let (world, receiver) = (lobby_with(3).await, Receiver::start(Vec::new()).await);
    world.open("empty").await;
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(run(&world, &batches).await, [Sent(3), Done]);
    assert_eq!(run(&world, &batches).await, [Done]);
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn what_a_receiver_does_not_take_begins_the_next_run() {
    let mut behaviours = vec![takes()];
    behaviours.extend([fails(), fails(), fails(), fails()]);
    let (world, receiver) = (lobby_with(2500).await, Receiver::start(behaviours).await);
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(run(&world, &batches).await, [Sent(1000), AGAIN, AGAIN, AGAIN, GivenUp]);
    assert_eq!(run(&world, &batches).await, [Sent(1000), Sent(500), Done]);
    let second = "chat_lobby_1001_2000 1001..2000 more";
    assert_eq!(
        told(&receiver),
        [
            "chat_lobby_1_1000 1..1000 more",
            second,
            second,
            second,
            second,
            second,
            "chat_lobby_2001_2500 2001..2500 last"
        ]
    );
    // Another process knows the batch too: it is full.
    let (world, receiver) = (lobby_with(2500).await, Receiver::start(vec![takes(), fails()]).await);
    let earlier = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!([earlier.step().await.ok(), earlier.step().await.ok()], [Some(Sent(1000)), Some(AGAIN)]);
    let later = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(later.step().await.ok(), Some(Sent(1000)));
    assert_eq!(told(&receiver)[1..], [second, second]);
}

#[tokio::test]
async fn what_is_said_during_a_run_is_for_the_next_one() {
    let (world, receiver) = (lobby_with(4).await, Receiver::start(Vec::new()).await);
    let batches = world.batches(Feed::Messages, &receiver, 2);
    assert_eq!(batches.step().await.ok(), Some(Sent(2)));
    world.says("lobby", "bob", 10, "").await;
    assert_eq!(run(&world, &batches).await, [Sent(2), Done]);
    let batches = world.batches(Feed::Messages, &receiver, 10);
    assert_eq!(run(&world, &batches).await, [Sent(10), Done]);
    assert_eq!(
        told(&receiver),
        ["chat_lobby_1_2 1 2 more", "chat_lobby_3_4 3 4 last", "chat_lobby_5_14 5..14 last"]
    );
}

#[tokio::test]
async fn a_row_that_comes_between_two_pages_moves_no_other() {
    let (world, receiver) = (lobby_with(4).await, Receiver::start(Vec::new()).await);
    let batches = world.batches(Feed::Messages, &receiver, 2);
    assert_eq!(batches.step().await.ok(), Some(Sent(2)));
    world.says("lobby", "alice", 1, "").await;
    assert_eq!(run(&world, &batches).await, [Sent(2), Done]);
    assert_eq!(run(&world, &batches).await, [Sent(1), Done]);
    let rows = ["chat_lobby_1_2 1 2 more", "chat_lobby_3_4 3 4 last", "chat_lobby_5_5 5 last"];
    assert_eq!(told(&receiver), rows);
}

#[tokio::test]
async fn a_batch_has_at_most_256_kib() {
    let world = World::new();
    world.open("lobby").await;
    // About 16 KiB each, so that 15 or 16 of them fit.
    world.says("lobby", "alice", 40, &"x".repeat(16_000)).await;
    let receiver = Receiver::start(Vec::new()).await;
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    run(&world, &batches).await;
    let lengths: Vec<_> = receiver.seen().iter().map(|request| request.body.len()).collect();
    assert!(lengths.iter().all(|length| *length <= 256 * 1024), "{lengths:?}");
    assert!(lengths[..2].iter().all(|length| *length > 220 * 1024), "{lengths:?}");
    let told = told(&receiver);
    assert!(told.len() == 3 && told[2].ends_with("..40 last"), "{told:?}");
}

#[tokio::test]
async fn a_batch_stays_as_it_was_cut_though_more_is_said() {
    let behaviours = vec![fails(); 5];
    let (world, receiver) = (lobby_with(3).await, Receiver::start(behaviours).await);
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(run(&world, &batches).await, [AGAIN, AGAIN, AGAIN, GivenUp]);
    world.says("lobby", "alice", 3, "").await;
    world.pass(300);
    assert_eq!(run(&world, &batches).await, [AGAIN, Sent(3), Sent(3), Done]);
    let seen = receiver.seen();
    assert!(seen[..6].iter().all(|request| request.body == seen[0].body), "one id, one body");
    assert_eq!(
        told(&receiver)[5..],
        ["chat_lobby_1_3 1 2 3 last", "chat_lobby_4_6 4..6 last".replace("4..6", "4 5 6").as_str()]
    );
}

#[tokio::test]
async fn nothing_is_sent_of_a_user_who_was_erased_meanwhile() {
    let (world, receiver) = (lobby_with(2).await, Receiver::start(vec![fails(), fails()]).await);
    world.says("lobby", "bob", 1, "").await;
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(batches.step().await.ok(), Some(AGAIN));
    world.store.erase(&user("alice"), world.clock.now()).await.expect("erased");
    assert_eq!(batches.step().await.ok(), Some(AGAIN));
    world.store.erase(&user("bob"), world.clock.now()).await.expect("erased");
    assert_eq!(run(&world, &batches).await, [Done], "nothing is left of it");
    assert_eq!(told(&receiver), ["chat_lobby_1_3 1 2 3 last", "chat_lobby_1_3 3 last"]);
    world.says("lobby", "carol", 1, "").await;
    assert_eq!(run(&world, &batches).await, [Sent(1), Done]);
}

#[tokio::test]
async fn a_room_that_is_refused_keeps_no_other_back_and_comes_again() {
    let refuses = || vec![Read, answer("400 Bad Request", "")];
    let (world, receiver) =
        (lobby_with(1).await, Receiver::start(vec![fails(), refuses(), takes(), refuses()]).await);
    world.open("other").await;
    world.says("other", "alice", 2, "").await;
    let batches = world.batches(Feed::Messages, &receiver, 1);
    assert_eq!(run(&world, &batches).await, [AGAIN, Refused, Sent(1), Refused, Done]);
    assert_eq!(run(&world, &batches).await, [Sent(1), Sent(1), Done]);
    let first = "chat_lobby_1_1 1 last";
    let (one, two) = ("chat_other_1_1 1 more", "chat_other_2_2 2 last");
    assert_eq!(told(&receiver), [first, first, one, two, first, two]);
}

#[tokio::test]
async fn who_asks_for_time_gets_it_and_who_wants_nothing_more_is_left_alone() {
    let busy = vec![Read, answer_with("429 Too Many", "Retry-After: 120\r\n", "")];
    let gone = vec![Read, answer("410 Gone", "")];
    let (world, receiver) = (lobby_with(1).await, Receiver::start(vec![busy, gone]).await);
    let batches = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(run(&world, &batches).await, [Again(Duration::from_secs(120)), Gone]);
    assert_eq!(run(&world, &batches).await, [Gone]);
    assert_eq!(receiver.seen().len(), 2);
    let next_process = world.batches(Feed::Messages, &receiver, 1000);
    assert_eq!(run(&world, &next_process).await, [Sent(1), Done]);
}

#[tokio::test]
async fn one_node_sends_at_a_time() {
    let (world, receiver) = (lobby_with(2).await, Receiver::start(vec![takes(), fails()]).await);
    let first = world.batches(Feed::Messages, &receiver, 1);
    let channel = world.channel(&receiver);
    let turn = world.turn("node-2");
    let second = HistoryBatches::new(Feed::Messages, world.store.clone(), channel, turn, 1, ATTEMPTS);
    assert_eq!(first.step().await.ok(), Some(Sent(1)));
    assert_eq!(second.step().await.ok(), Some(Elsewhere));
    assert_eq!(first.step().await.ok(), Some(AGAIN));
    // It is gone for longer than its turn lasts, and what it was about to send is sent by another.
    world.pass(61);
    assert_eq!(run(&world, &second).await, [Sent(1), Done]);
    assert_eq!(first.step().await.ok(), Some(Elsewhere));
    second.turn().release().await.expect("a store");
    assert_eq!(run(&world, &first).await, [Done]);
    assert_eq!(receiver.seen().len(), 3);
}

#[tokio::test]
async fn stays_come_in_the_order_in_which_they_ended() {
    let world = World::new();
    world.open("日本").await;
    world.stays("日本", 3).await;
    let receiver = Receiver::start(vec![fails()]).await;
    let batches = world.batches(Feed::Sessions, &receiver, 2);
    assert_eq!(run(&world, &batches).await, [AGAIN, Sent(2), Sent(1), Done]);
    let seen = receiver.seen();
    let body: Value = serde_json::from_slice(&seen[1].body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({
            "event_type": "SessionHistoryBatch",
            "room_id": "日本",
            "sessions": vec![serde_json::json!({
                "user_id": "alice", "nickname": "Alice", "join_time": 1_717_161_600, "leave_time": 1_717_161_660,
                "duration_seconds": 60,
            }); 2],
            "batch_id": "session_日本_1_2",
            "is_last_batch": false,
            "timestamp": 1_717_161_600,
        })
    );
    // What no header holds has an id nevertheless, the same at every attempt.
    let ids: Vec<_> = seen.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
}
