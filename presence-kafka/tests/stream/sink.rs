//! What the sink says of events, and where they go.

use std::time::Duration;

use presence_core::{
    ActiveUsers, Delivered, Delivery, Event, InstallId, Letter, Member, Sink, Source, StateType, Timestamp,
    UserId, Version,
};
use presence_kafka::KafkaSink;

use crate::{
    cluster::{Cluster, LIMIT},
    reader::read_all,
};

fn changed(user: &str, state: &str, version: i64) -> Event {
    Event::StateChanged {
        user: UserId::new(user).unwrap(),
        before: None,
        after: StateType::new(state).unwrap(),
        at: Timestamp::from_secs(1000).unwrap(),
        source: Source::Client,
        version: Version(version),
    }
}

fn deliveries(events: &[Event]) -> Vec<Delivery> {
    let letter = |(number, event)| Letter { number, body: serde_json::to_string(event).unwrap() };
    (1..).zip(events).map(letter).map(|letter| Delivery::of(&letter).unwrap()).collect()
}

/// An event of about so many bytes.
fn of_length(user: &str, bytes: usize) -> Event {
    let before = vec![(Timestamp::MIN, StateType::Offline); bytes / 16];
    let user = UserId::new(user).unwrap();
    Event::TimelineCorrected {
        user,
        from: Timestamp::MIN,
        to: None,
        before,
        after: vec![],
        version: Version(1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_goes_to_its_topic_under_its_key_and_id() {
    let cluster = Cluster::start().await;
    let sink = KafkaSink::new(&cluster.config()).unwrap();
    let member = Member::Install(InstallId::new("phone-4711").unwrap());
    let at = Timestamp::from_secs(1000).unwrap();
    let day = "2024-05-31".parse().unwrap();
    let events = deliveries(&[
        changed("o'brien \"%_\\ 日本", "Working", 0),
        Event::Heartbeat { member, at },
        Event::DauCalculated { day, version: 2, active: ActiveUsers::default(), at },
    ]);
    assert_eq!(sink.deliver(&events).await.unwrap(), vec![Delivered::Accepted; 3]);
    for (name, delivery) in ["events", "heartbeat", "dau"].into_iter().zip(&events) {
        let read = read_all(cluster.brokers(), &format!("{}.{name}", cluster.topics())).await;
        let [message] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!(message.key, delivery.event.key());
        assert_eq!(message.header("event-id"), delivery.event_id);
        let kind = delivery.event.kind();
        assert!(message.body.contains(&format!(r#""kind":"{kind}""#)), "{message:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_us_is_refused_and_its_key_goes_on() {
    let cluster = Cluster::start().await;
    let sink = KafkaSink::new(&cluster.config().longest_message(2_000)).unwrap();
    let events = [changed("alice", "one", 1), of_length("alice", 4_000), changed("alice", "two", 2)];
    let delivered = sink.deliver(&deliveries(&events)).await.unwrap();
    let too_large = Delivered::Refused("the event is larger than Kafka takes".to_owned());
    assert_eq!(delivered, [Delivered::Accepted, too_large, Delivered::Accepted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_the_topic_is_found_and_spares_the_others() {
    let cluster = Cluster::limited().await;
    let sink = KafkaSink::new(&cluster.config()).unwrap();
    // Each fits; what they come to in one batch does not.
    let users = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
    let small: Vec<_> = users.iter().flat_map(|user| vec![of_length(user, LIMIT / 2); 2]).collect();
    cluster.will_refuse(1);
    let delivered = sink.deliver(&deliveries(&small)).await.unwrap();
    assert_eq!(delivered, vec![Delivered::Accepted; 16]);
    let alice = [of_length("alice", 2 * LIMIT), changed("alice", "after", 3)];
    cluster.will_refuse(2);
    let delivered = sink.deliver(&deliveries(&alice)).await.unwrap();
    let too_large = Delivered::Refused("the event is larger than Kafka takes".to_owned());
    assert_eq!(delivered, [too_large, Delivered::Accepted]);
    let read = read_all(cluster.brokers(), &format!("{}.events", cluster.topics())).await;
    assert_eq!(read.len(), 17, "nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_key_nothing_is_sent_after_what_was_not_accepted() {
    let cluster = Cluster::start().await;
    let sink = KafkaSink::new(&cluster.config()).unwrap();
    cluster.goes_away();
    let events =
        deliveries(&[changed("alice", "one", 1), changed("alice", "two", 2), changed("bob", "one", 1)]);
    let delivered = sink.deliver(&events).await.unwrap();
    assert!(delivered.iter().all(|outcome| matches!(outcome, Delivered::Later(_))), "{delivered:?}");
    cluster.comes_back();
    assert_eq!(sink.deliver(&events).await.unwrap(), vec![Delivered::Accepted; 3]);
    let read = read_all(cluster.brokers(), &format!("{}.events", cluster.topics())).await;
    let of_alice: Vec<_> = read.iter().filter(|message| message.key == "u:alice").collect();
    assert_eq!(of_alice.len(), 2);
    assert!(of_alice[0].body.contains("one") && of_alice[1].body.contains("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_for_now_holds_back_its_key() {
    let cluster = Cluster::start().await;
    let sink = KafkaSink::new(&cluster.config()).unwrap();
    let events = deliveries(&[changed("alice", "one", 1), changed("alice", "two", 2)]);
    let expected = if cluster.will_forbid() { Delivered::Later(Duration::ZERO) } else { Delivered::Accepted };
    // There was time for both.
    assert_eq!(sink.deliver(&events).await.unwrap(), vec![expected; 2]);
    assert_eq!(sink.deliver(&events).await.unwrap(), vec![Delivered::Accepted; 2]);
}
