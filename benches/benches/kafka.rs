//! Events to Kafka and from it: `cargo bench --features kafka --bench kafka` prints one table.
//!
//! The brokers are librdkafka's mock cluster in this process, so both sides of each row pay for them.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use presence_benches::table::{self, median};
use presence_core::{
    Activity, ActivityPolicy, ActivityStore, Beats, ClientEvent, Clock, EventId, EventKind, EventName,
    InstallId, Letter, MemoryStore, NewEvent, Outbox, Relay, RetryPolicy, SinkName, Step, Subscriptions,
    SystemClock, Timestamp, Tracker, UserId,
};
use presence_kafka::{
    KafkaConfig, KafkaIngest, KafkaSink,
    rdkafka::{
        ClientConfig,
        error::{KafkaError, RDKafkaErrorCode},
        message::{Header, OwnedHeaders},
        mocking::MockCluster,
        producer::{FutureProducer, FutureRecord, future_producer::DeliveryFuture},
    },
};
use presence_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// As the server has it, on both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: usize = 50_000;
const USERS: usize = 5_000;
/// Events of one call, as many as the consumer takes at once.
const CALL: usize = 1_000;
const PARTITIONS: i32 = 8;
const PAIRS: usize = 7;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    table::head();
    runtime.block_on(relay());
    runtime.block_on(ingest());
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn rate(events: usize, start: Instant) -> f64 {
    events as f64 / start.elapsed().as_secs_f64()
}

/// Brokers with the topics of this prefix; they live as long as this process.
fn cluster(prefix: &str) -> String {
    let (brokers, told) = mpsc::channel();
    let topics = ["events", "in.events", "in.heartbeats", "in.dead"].map(|name| format!("{prefix}.{name}"));
    thread::spawn(move || {
        let mock = MockCluster::new(1).expect("a cluster");
        topics.iter().for_each(|topic| mock.create_topic(topic, PARTITIONS, 1).expect("a topic"));
        brokers.send(mock.bootstrap_servers()).expect("somebody who waits");
        // The mock may not change threads.
        loop {
            thread::park();
        }
    });
    told.recv().expect("a cluster")
}

/// A producer as the sink has one, but for the queue, which is librdkafka's own.
fn producer(brokers: &str) -> FutureProducer {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("acks", "all");
    client.create().expect("a producer")
}

/// What is sent: a key, a body, and a header with an id.
struct Message {
    key: String,
    body: String,
    id: String,
}

/// Sends messages as fast as they go, with as many under way as the queue holds.
async fn send(producer: &FutureProducer, topic: &str, messages: &[Message]) {
    let mut reports: VecDeque<DeliveryFuture> = VecDeque::new();
    for Message { key, body, id } in messages {
        let id = OwnedHeaders::new_with_capacity(1).insert(Header { key: "event-id", value: Some(id) });
        let mut record = FutureRecord::to(topic).key(key).payload(body).headers(id);
        loop {
            match producer.send_result(record) {
                Ok(report) => break reports.push_back(report),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    let oldest = reports.pop_front().expect("a full queue");
                    oldest.await.expect("a producer").expect("a broker");
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }
    for report in reports {
        report.await.expect("a producer").expect("a broker");
    }
}

/// The event of this number, as an app reports it.
fn reported(number: usize, at: Timestamp) -> ClientEvent {
    let (name, install) = (EventName::new("app_session_start"), InstallId::new("phone-4711"));
    let user = UserId::new(format!("user-{}", number % USERS)).expect("a user");
    ClientEvent::new(name.expect("a name"), install.expect("an install"))
        .by(user)
        .at(at)
        .with_event_id(EventId::new(format!("event-{number}")).expect("an id"))
}

/// The same as a message.
fn message(number: usize, at: Timestamp) -> Message {
    let (user, at) = (format!("user-{}", number % USERS), at.as_secs());
    let body = format!(
        r#"{{"eventName":"app_session_start","installId":"phone-4711","userId":"{user}","clientTs":{at},"eventId":"event-{number}"}}"#
    );
    Message { key: user, body, id: format!("event-{number}") }
}

fn events() -> Vec<NewEvent> {
    let at = SystemClock.now();
    let judged = |number| reported(number, at).judged(at, &ActivityPolicy::default());
    (0..EVENTS).map(|number| judged(number).expect("an event")).collect()
}

/// From the outbox of a store to the brokers, in events a second.
async fn relayed(sink: &Arc<KafkaSink>) -> f64 {
    let store = Arc::new(MemoryStore::new());
    let name = SinkName::new("kafka").expect("a name");
    store.subscribe(Subscriptions::none().with(name.clone(), [EventKind::EventLogged]));
    store.append(events()).await.expect("memory");
    let relay = Relay::new(store, sink.clone(), SystemClock, name, "here", RetryPolicy::default());
    let start = now();
    let mut delivered = 0;
    loop {
        match relay.step(0).await.expect("memory") {
            Step::Delivered { accepted, refused: 0 } => delivered += accepted,
            Step::Idle => break,
            other => panic!("{other:?}"),
        }
    }
    let rate = rate(EVENTS, start);
    assert_eq!(delivered, EVENTS as u64);
    rate
}

/// The same messages by a bare loop.
async fn looped(producer: &FutureProducer, topic: &str) -> f64 {
    let told = |(number, event): (i64, NewEvent)| {
        let event = event.told();
        let letter = Letter { number, body: serde_json::to_string(&event).expect("JSON") };
        Message { key: event.key(), id: letter.event_id(), body: letter.body }
    };
    let messages: Vec<_> = (1..).zip(events()).map(told).collect();
    let start = now();
    send(producer, topic, &messages).await;
    rate(EVENTS, start)
}

fn row(name: &str, goal: &str, ours: Vec<f64>, bare: Vec<f64>) {
    let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    table::row(
        name,
        &format!("{:.0} k/s", median(ours) / 1e3),
        &format!("{:.0} k/s", median(bare) / 1e3),
        &format!("{:.2}", median(ratios)),
        goal,
    );
}

async fn relay() {
    let brokers = cluster("presence");
    let sink = Arc::new(KafkaSink::new(&KafkaConfig::new(&brokers)).expect("a sink"));
    let producer = producer(&brokers);
    // Both know the brokers before anything counts.
    looped(&producer, "presence.events").await;
    relayed(&sink).await;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        ours.push(relayed(&sink).await);
        bare.push(looped(&producer, "presence.events").await);
    }
    row("relay to Kafka beside a bare producer loop", ">= 0.5", ours, bare);
}

async fn activity(folder: &TempDir) -> (Activity, Beats) {
    let store = Arc::new(SqliteStore::open(folder.path().join("presence.db")).await.expect("a disk"));
    (Activity::new(store.clone(), SystemClock), Beats::new(Tracker::new(store, SystemClock)))
}

/// From the brokers into SQLite, once the first of it is there: a group takes its time to gather.
async fn consumed(prefix: &str) -> f64 {
    let brokers = cluster(prefix);
    let topics: presence_kafka::Topics = prefix.parse().expect("a prefix");
    let at = SystemClock.now();
    let messages: Vec<_> = (0..EVENTS).map(|number| message(number, at)).collect();
    send(&producer(&brokers), topics.events_in(), &messages).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (activity, beats) = activity(&folder).await;
    let mut ingest = KafkaIngest::new(&KafkaConfig::new(&brokers).topics(topics)).expect("a consumer");
    let first = ingest.step(&beats, &activity).await.expect("a broker").stored;
    let (start, mut stored) = (now(), first);
    while stored < EVENTS as u64 {
        stored += ingest.step(&beats, &activity).await.expect("a broker").stored;
    }
    rate(EVENTS - first as usize, start)
}

/// The same events into SQLite, by calls.
async fn called() -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (activity, _) = activity(&folder).await;
    let at = SystemClock.now();
    let event = |number| reported(number, at);
    let calls: Vec<Vec<_>> =
        (0..EVENTS / CALL).map(|call| (call * CALL..(call + 1) * CALL).map(event).collect()).collect();
    let start = now();
    for call in calls {
        for verdict in activity.ingest(call).await.expect("a disk") {
            assert!(verdict.expect("an event").is_new);
        }
    }
    rate(EVENTS, start)
}

async fn ingest() {
    let (mut ours, mut called_directly) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        ours.push(consumed(&format!("presence-{pair}")).await);
        called_directly.push(called().await);
    }
    row("Kafka into SQLite beside Activity called directly", ">= 0.6", ours, called_directly);
}
