//! Events on their way to a receiver: in order per key, and no key waits for another.

use std::{sync::Arc, time::Duration};

use presence_core::{
    Delivered, Delivery, Event, ManualClock, RoomName, RoomStats, Sink, SinkError, Timestamp,
};
use presence_server::callbacks::{Channel, EventSink};
use serde_json::Value;

use crate::{
    receiver::{Receiver, SECRET, Step, Step::*, answer, answer_with},
    rooms::{room, user},
};

fn channel(receiver: &Receiver) -> Channel {
    let clock = ManualClock::new(Timestamp::from_secs(1_717_161_600).expect("an instant"));
    Channel::new(receiver.endpoint("http", Duration::from_secs(30)), Arc::new(clock))
}

/// Somebody joins a room, as an event of this id: `lobby#7`.
fn joined(name: &str) -> Delivery {
    let (id, session) = name.split_once('#').expect("room#number");
    let (room, user, at) = (room(id), user("alice"), Timestamp::from_secs(1000).expect("an instant"));
    let session = session.parse().expect("a number");
    Delivery { event_id: name.to_owned(), event: Event::UserJoined { room, user, session, at } }
}

async fn deliver(receiver: &Receiver, names: &[&str]) -> Result<String, SinkError> {
    let events: Vec<_> = names.iter().map(|name| joined(name)).collect();
    let outcomes = EventSink::room_events(channel(receiver)).deliver(&events).await?;
    let said = outcomes.into_iter().map(|outcome| match outcome {
        Delivered::Accepted => "accepted".to_owned(),
        Delivered::Later(after) if after.is_zero() => "later".to_owned(),
        Delivered::Later(after) => format!("later by {} s", after.as_secs()),
        Delivered::Refused(reason) => format!("refused: {reason}"),
    });
    Ok(said.collect::<Vec<_>>().join(", "))
}

/// The ids of what arrived, in order.
fn ids(receiver: &Receiver) -> Vec<String> {
    let id = |request: &crate::receiver::Request| request.header("webhook-id").expect("an id").to_owned();
    receiver.seen().iter().map(id).collect()
}

fn says(status: &str) -> Vec<Step> {
    vec![Read, answer(status, "")]
}

#[tokio::test]
async fn events_of_one_key_arrive_one_after_the_other() {
    let receiver = Receiver::start(Vec::new()).await;
    let names: Vec<_> = (0..40).map(|number| format!("room-{}#{number}", number % 3)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let outcomes = deliver(&receiver, &names).await.expect("accepted");
    assert_eq!(outcomes, vec!["accepted"; 40].join(", "));
    let ids = ids(&receiver);
    assert_eq!(ids.len(), 40);
    for room in 0..3 {
        let of_room = |names: Vec<String>| -> Vec<String> {
            names.into_iter().filter(|name| name.starts_with(&format!("room-{room}"))).collect()
        };
        let expected = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(of_room(ids.clone()), of_room(expected));
    }
    assert!(receiver.seen().iter().all(|request| request.is_signed_once_with(SECRET)));
}

#[tokio::test]
async fn keys_go_at_once_and_one_that_hangs_keeps_no_other_back() {
    let receiver = Receiver::start(vec![vec![Read, Signal, Hang]]).await;
    let delivering = deliver(&receiver, &["a#1", "b#1", "a#2", "c#1", "b#2"]);
    let looks = async {
        receiver.signal(1).await;
        receiver.read(4).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(15)).await;
        tokio::time::resume();
    };
    let (outcomes, ()) = tokio::join!(delivering, looks);
    let hanging = ids(&receiver).remove(0);
    let outcomes = outcomes.expect("some are accepted");
    // Which key came first is the network's choice.
    let expected = match &*hanging {
        "a#1" => "later, accepted, later, accepted, accepted",
        "b#1" => "accepted, later, accepted, accepted, later",
        _ => "accepted, accepted, accepted, later, accepted",
    };
    assert_eq!(outcomes, expected, "{hanging}");
}

#[tokio::test]
async fn after_what_was_not_accepted_the_rest_of_its_key_waits() {
    for (status, first) in [
        ("500 Oh", "later"),
        ("400 Bad Request", "refused: the receiver answered 400"),
        ("301 Moved", "refused: the receiver answered 301"),
    ] {
        let receiver = Receiver::start(vec![says("200 OK"), says(status)]).await;
        let outcomes = deliver(&receiver, &["a#1", "a#2", "a#3"]).await;
        assert_eq!(outcomes, Ok(format!("accepted, {first}, later")));
        assert_eq!(ids(&receiver), ["a#1", "a#2"]);
    }
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is() {
    let busy = vec![Read, answer_with("503 Busy", "Retry-After: 90\r\n", "")];
    // Four are asked at once at most, before the first answer is there.
    let receiver = Receiver::start(vec![busy; 4]).await;
    let names = ["a#1", "b#1", "c#1", "d#1", "e#1", "f#1"];
    let outcomes = deliver(&receiver, &names).await.expect("an outcome each");
    assert!(outcomes.contains("later by 90 s") && !outcomes.contains("accepted"), "{outcomes}");
    assert!(ids(&receiver).len() <= 4, "{:?}", ids(&receiver));
}

#[tokio::test]
async fn four_failures_are_enough() {
    let receiver = Receiver::start(vec![says("500 Oh"); 7]).await;
    let names: Vec<_> = (0..50).map(|number| format!("room-{number}#1")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let outcomes = deliver(&receiver, &names).await.expect("an outcome each");
    assert!(!outcomes.contains("accepted"), "{outcomes}");
    // Three more may have been under way when the fourth failed.
    assert!((4..=7).contains(&ids(&receiver).len()), "{:?}", ids(&receiver));
}

#[tokio::test]
async fn a_few_that_fail_keep_no_others_back() {
    let receiver = Receiver::start(vec![says("500 Oh"); 3]).await;
    let names: Vec<_> = (0..50).map(|number| format!("room-{number}#1")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let outcomes = deliver(&receiver, &names).await.expect("an outcome each");
    assert_eq!(outcomes.split(", ").filter(|outcome| *outcome == "accepted").count(), 47);
}

#[tokio::test]
async fn a_receiver_that_is_gone_says_so_after_what_it_took() {
    let receiver = Receiver::start(vec![says("200 OK"), says("410 Gone"), says("410 Gone")]).await;
    assert_eq!(deliver(&receiver, &["a#1", "a#2", "a#3"]).await, Ok("accepted, later, later".to_owned()));
    assert_eq!(deliver(&receiver, &["a#2", "a#3"]).await, Err(SinkError::Gone));
    assert_eq!(receiver.seen().len(), 3);
}

#[tokio::test]
async fn what_is_too_long_or_no_event_of_its_receiver_is_refused_without_a_request() {
    let receiver = Receiver::start(Vec::new()).await;
    let at = Timestamp::from_secs(1000).expect("an instant");
    let admins = (0..3000).map(|number| user(&format!("{number:0>128}"))).collect();
    let name = RoomName::new("Lobby").expect("a name");
    let made = Event::RoomCreated { room: room("lobby"), room_name: name, admins, at };
    let long = Delivery { event_id: "long".to_owned(), event: made };
    for sink in [EventSink::room_events, EventSink::events, EventSink::made_rooms] {
        let outcomes = sink(channel(&receiver)).deliver(std::slice::from_ref(&long)).await;
        assert_eq!(outcomes, Ok(vec![Delivered::Refused("it is longer than 256 KiB".to_owned())]));
    }
    let closed = Event::RoomClosed { room: room("lobby"), stats: RoomStats::default(), at };
    let closed = Delivery { event_id: "closed".to_owned(), event: closed };
    let outcomes = EventSink::made_rooms(channel(&receiver)).deliver(&[closed]).await.expect("an outcome");
    let [Delivered::Refused(reason)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(reason, "the receiver has no form for events of this kind");
    assert_eq!(receiver.seen().len(), 0);
}

#[tokio::test]
async fn a_room_is_handed_over_as_it_was_made() {
    let receiver = Receiver::start(vec![says("500 Oh")]).await;
    let at = Timestamp::from_secs(1_717_161_600).expect("an instant");
    let room_name = RoomName::new("Lobby").expect("a name");
    let made = Event::RoomCreated { room: room("lobby"), room_name, admins: vec![user("root")], at };
    let made = [Delivery { event_id: "evt_1".to_owned(), event: made }];
    let sink = EventSink::made_rooms(channel(&receiver));
    assert_eq!(sink.deliver(&made).await, Ok(vec![Delivered::Later(Duration::ZERO)]));
    assert_eq!(sink.deliver(&made).await, Ok(vec![Delivered::Accepted]));
    let [first, second] = &receiver.seen()[..] else { panic!("two attempts") };
    assert_eq!(first.body, second.body);
    let body: Value = serde_json::from_slice(&first.body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({
            "room_id": "lobby", "room_name": "Lobby", "admin_user_ids": ["root"], "start_time": 1_717_161_600,
            "current_users": 0, "peak_users": 0, "total_joins": 0,
            "stats": {"current_users": 0, "peak_users": 0, "total_joins": 0},
            "banned_user_ids": [], "chat_history": [], "session_history": [],
        })
    );
}
