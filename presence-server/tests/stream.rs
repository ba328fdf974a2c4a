//! The event stream of a server: what happens is on the topics, and what is on the topics happens.
#![cfg(feature = "kafka")]

use std::{sync::mpsc, thread, time::Duration};

use presence_core::{Envelope, Event, EventKind, StateType, UserId};
use presence_kafka::rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    message::Message,
    mocking::MockCluster,
    producer::{FutureProducer, FutureRecord},
};
use presence_server::{
    Server,
    config::{Command, Config, Environment},
};
use tokio::time::{MissedTickBehavior, interval};

/// Nothing here takes ten seconds, unless this process is stopped for longer than a session while its consumer joins: the
/// mock then forgets the consumer and never answers it, and it asks again after five minutes.
const PATIENCE: Duration = Duration::from_secs(360);
const SECOND: Duration = Duration::from_secs(1);

/// So long, but for the time in which this process is stopped: nothing can happen in it then.
async fn patience() {
    let mut seconds = interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..PATIENCE.as_secs() {
        seconds.tick().await;
    }
}
const PARTITIONS: i32 = 4;
const OUT: [&str; 3] = ["presence.events", "presence.dau", "presence.heartbeat"];
const IN: [&str; 3] = ["presence.in.events", "presence.in.heartbeats", "presence.in.dead"];

/// librdkafka's mock cluster; it may not change threads, so it has one that lives as long as the process.
fn brokers() -> String {
    let (brokers, told) = mpsc::channel();
    thread::spawn(move || {
        let mock = MockCluster::new(1).expect("a cluster");
        for topic in OUT.into_iter().chain(IN) {
            mock.create_topic(topic, PARTITIONS, 1).expect("a topic");
        }
        brokers.send(mock.bootstrap_servers()).expect("somebody who waits");
        loop {
            thread::park();
        }
    });
    told.recv().expect("a cluster")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_on_a_topic_goes_out_on_others() {
    let brokers = brokers();
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("presence.db").display());
    let env = Environment::new([
        ("BIND_ADDRESS", "127.0.0.1:0"),
        ("DATABASE_URL", &database),
        ("KAFKA_ENABLED", "1"),
        ("KAFKA_BROKERS", &brokers),
        ("KAFKA_HEARTBEATS", "1"),
        ("KAFKA_CONSUMER_ENABLED", "1"),
    ]);
    let Ok(Command::Serve(config)) = Config::from_env_and_args(["presence-server"], &env) else {
        panic!("a configuration")
    };
    let server = Server::open(config).await.expect("a server");
    let state = server.state().clone();
    let mut serving = tokio::spawn(server.serve());

    let alice = UserId::new("alice").expect("a user");
    let working = Envelope::checkpoint(alice, StateType::Working);
    state.tracker().record(working).await.expect("a store");
    let now = state.tracker().now().as_secs();
    let mut client = ClientConfig::new();
    let producer: FutureProducer = client.set("bootstrap.servers", &brokers).create().expect("a producer");
    for (topic, body) in [
        (
            "presence.in.events",
            format!(
                r#"{{"eventName":"app_session_start","installId":"phone-4711","userId":"bob","clientTs":{now}}}"#
            ),
        ),
        (
            "presence.in.heartbeats",
            format!(r#"{{"installId":"phone-4711","userId":"bob","clientTs":{now}}}"#),
        ),
    ] {
        let record = FutureRecord::to(topic).key("bob").payload(&body);
        producer.send(record, Duration::from_secs(60)).await.expect("a broker");
    }

    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &brokers).set("group.id", "reader").set("enable.auto.commit", "false");
    let reader: StreamConsumer = client.create().expect("a consumer");
    // Without a group, which takes its time to gather.
    let mut partitions = TopicPartitionList::new();
    for (topic, partition) in OUT.into_iter().flat_map(|topic| (0..PARTITIONS).map(move |part| (topic, part)))
    {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    reader.assign(&partitions).expect("partitions");
    let mut seen: Vec<(String, String, String)> = Vec::new();
    let reading = async {
        let expected = [
            ("presence.events", "u:alice", EventKind::StateChanged),
            ("presence.events", "u:bob", EventKind::EventLogged),
            ("presence.events", "u:bob", EventKind::StateChanged),
            ("presence.heartbeat", "u:bob", EventKind::Heartbeat),
        ];
        let is_there = |seen: &[(String, String, String)], (topic, key, kind): (&str, &str, EventKind)| {
            let kind = format!(r#""kind":"{kind}""#);
            seen.iter().any(|(on, under, body)| on == topic && under == key && body.contains(&kind))
        };
        let is_counted = |seen: &[(String, String, String)]| {
            seen.iter().any(|(topic, _, body)| topic == "presence.dau" && body.contains(r#""dauCount":1"#))
        };
        while !(expected.iter().all(|expected| is_there(&seen, *expected)) && is_counted(&seen)) {
            let message = reader.recv().await.expect("a broker");
            let text =
                |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("text");
            seen.push((message.topic().to_owned(), text(message.key()), text(message.payload())));
        }
    };
    let is_read = tokio::select! {
        () = reading => true,
        () = patience() => false,
        ended = &mut serving => panic!("the server ended: {ended:?}"),
    };
    assert!(is_read, "within {PATIENCE:?} no more than {seen:?}");
    for (_, _, body) in seen.iter().filter(|(topic, ..)| topic != "presence.dau") {
        serde_json::from_str::<Event>(body).expect("an event");
    }
    serving.abort();
}
