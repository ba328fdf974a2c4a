//! What comes in, and what becomes of it.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use presence_core::{
    Activity, ActivityQuery, Beats, ManualClock, MemoryStore, Timestamp, Tracker, UserId, Window,
};
use presence_kafka::{
    Ingested, KafkaIngest,
    rdkafka::{
        ClientConfig,
        consumer::{Consumer, StreamConsumer},
        message::{Header, OwnedHeaders},
        producer::{FutureProducer, FutureRecord},
    },
};
use presence_sqlite::SqliteStore;
use tokio::{task::JoinHandle, time::timeout};

use crate::{cluster::Cluster, reader::read_all};

/// The instant at which all this happens, in seconds.
const NOW: i64 = 1_717_161_600;

/// Somebody else's producer.
struct Producer(FutureProducer);

impl Producer {
    fn new(cluster: &Cluster) -> Self {
        let mut client = ClientConfig::new();
        Self(client.set("bootstrap.servers", cluster.brokers()).set("linger.ms", "20").create().unwrap())
    }

    async fn send(&self, topic: &str, key: &str, body: &str, id: Option<&str>) {
        let mut headers = OwnedHeaders::new();
        if let Some(id) = id {
            headers = headers.insert(Header { key: "event-id", value: Some(id) });
        }
        let record = FutureRecord::to(topic).key(key).payload(body).headers(headers);
        self.0.send(record, Duration::from_secs(30)).await.unwrap();
    }
}

fn event(user: &str, id: &str) -> String {
    format!(
        r#"{{"eventName":"app_session_start","installId":"phone-4711","userId":"{user}","clientTs":{NOW},"eventId":"{id}"}}"#
    )
}

fn beat(user: &str) -> String {
    format!(r#"{{"installId":"phone-4711","userId":"{user}","clientTs":{NOW},"appVersion":"1"}}"#)
}

/// Steps until so many messages are settled; what does not come within a minute was lost.
async fn settle(ingest: &mut KafkaIngest, beats: &Beats, activity: &Activity, messages: u64) -> Ingested {
    let mut all = Ingested::default();
    let steps = async {
        while all.stored + all.dead < messages {
            let step = ingest.step(beats, activity).await.unwrap();
            all = Ingested { stored: all.stored + step.stored, dead: all.dead + step.dead };
        }
    };
    let settled = timeout(Duration::from_secs(60), steps).await;
    settled.unwrap_or_else(|_| panic!("{messages} messages, and no more than {all:?}"));
    all
}

fn services<S>(store: &Arc<S>) -> (Beats, Activity)
where
    S: presence_core::CheckpointStore
        + presence_core::CheckpointQuery
        + ActivityQuery
        + presence_core::ActivityStore
        + presence_core::SnapshotStore
        + 'static,
{
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW).unwrap()));
    let beats = Beats::new(Tracker::new(store.clone(), clock.clone()));
    (beats, Activity::new(store.clone(), clock))
}

async fn event_ids(store: &impl ActivityQuery) -> Vec<String> {
    let mut ids = Vec::new();
    read_on(store, &mut None, &mut ids).await;
    ids
}

/// Adds the ids of events after a place, and moves it. Those of one instant come in the order in which they were stored.
async fn read_on(store: &impl ActivityQuery, after: &mut Option<(Timestamp, i64)>, ids: &mut Vec<String>) {
    loop {
        let page = store.events(Window::all(), *after, 10_000).await.unwrap();
        let Some(last) = page.last() else { return };
        *after = Some((last.at, last.id));
        ids.extend(page.iter().map(|event| event.event_id.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_heartbeats_are_stored_and_what_is_none_lies_dead() {
    let cluster = Cluster::start().await;
    let producer = Producer::new(&cluster);
    let (events_in, beats_in) = (cluster.topics().events_in(), cluster.topics().heartbeats_in());
    producer.send(events_in, "bad", "{", None).await;
    producer.send(events_in, "alice", &event("alice", "e-1"), None).await;
    producer.send(events_in, "alice", &event("alice", "e-1"), Some("m-1")).await;
    let unnamed = event("alice", "e-2").replace(r#","eventId":"e-2""#, "");
    producer.send(events_in, "alice", &unnamed, Some("m-2")).await;
    producer.send(events_in, "alice", &unnamed, Some("m-2")).await;
    producer.send(events_in, "alice", &event("alice", "e-3").replace("app_session", "1"), None).await;
    producer.send(events_in, "carol", &event("carol", "e-4"), None).await;
    producer.send(beats_in, "bob", &beat("bob"), None).await;
    producer.send(beats_in, "bob", &beat("bob").replace("phone-4711", "x"), None).await;

    let store = Arc::new(MemoryStore::new());
    let (beats, activity) = services(&store);
    beats.erase(&UserId::new("carol").unwrap()).await.unwrap();
    let mut ingest = KafkaIngest::new(&cluster.config()).unwrap();
    let all = settle(&mut ingest, &beats, &activity, 9).await;
    assert_eq!(all, Ingested { stored: 5, dead: 4 });
    assert_eq!(event_ids(&*store).await, ["e-1", "m-2"]);
    assert_eq!(beats.online_count(Duration::from_secs(180)).await.unwrap(), 1);
    let bob = beats.tracker().status(&UserId::new("bob").unwrap(), Window::all()).await.unwrap();
    assert!(bob.is_some(), "it is in the store, and not only in memory");

    let dead = read_all(cluster.brokers(), cluster.topics().dead()).await;
    let mut told: Vec<_> =
        dead.iter().map(|dead| (dead.header("reason"), dead.key.as_str(), dead.header("topic"))).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("INVALID_BODY", "bad", events_in),
            ("INVALID_EVENT_NAME", "alice", events_in),
            ("INVALID_INSTALL_ID", "bob", beats_in),
            ("USER_ERASED", "carol", events_in),
        ]
    );
    for dead in &dead {
        let is_erased = dead.header("reason") == "USER_ERASED";
        assert_eq!(dead.body.is_empty(), is_erased, "nothing of an erased user is kept: {dead:?}");
        assert!(dead.header("offset").parse::<i64>().is_ok() && dead.header("partition").len() == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_did_not_take_is_read_again() {
    let cluster = Cluster::start().await;
    let producer = Producer::new(&cluster);
    for number in 0..20 {
        let id = format!("e-{number}");
        producer.send(cluster.topics().events_in(), &id, &event("alice", &id), None).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = cluster.config().session_timeout(Duration::from_secs(4));
    {
        let store = Arc::new(SqliteStore::open(folder.path().join("presence.db")).await.unwrap());
        let (beats, activity) = services(&store);
        store.close().await;
        let mut ingest = KafkaIngest::new(&config).unwrap();
        for _ in 0..3 {
            ingest.step(&beats, &activity).await.expect_err("the store is closed");
        }
    }
    let store = Arc::new(SqliteStore::open(folder.path().join("presence.db")).await.unwrap());
    let (beats, activity) = services(&store);
    let mut ingest = KafkaIngest::new(&config).unwrap();
    assert_eq!(settle(&mut ingest, &beats, &activity, 20).await, Ingested { stored: 20, dead: 0 });
    assert_eq!(event_ids(&*store).await.len(), 20);
}

/// Somebody of the group who is in it first, reads something else, and lives: the mock lets the first one lead, and never
/// gets over one that is dead.
async fn colleague(cluster: &Cluster) -> JoinHandle<()> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.brokers()).set("group.id", cluster.topics().to_string());
    client.set("session.timeout.ms", "4000").set("heartbeat.interval.ms", "250");
    let consumer: StreamConsumer = client.create().unwrap();
    consumer.subscribe(&[cluster.topics().heartbeats_in()]).unwrap();
    while consumer.assignment().unwrap().count() == 0 {
        // Nothing is read: it joins while it tries to.
        let _ = timeout(Duration::from_millis(100), consumer.recv()).await;
    }
    tokio::spawn(async move {
        loop {
            consumer.recv().await.unwrap();
        }
    })
}

/// The example of this name.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let path = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is built by `cargo test` or `cargo build --examples`", path.display());
    path
}

/// Takes events until so many are stored in this life, and is killed.
fn consume_until(cluster: &Cluster, path: &Path, stored: u64) -> u64 {
    let mut command = Command::new(program("consume"));
    command.arg(cluster.brokers()).arg(cluster.topics().to_string()).arg(path);
    let mut consumer = command.stdout(Stdio::piped()).spawn().expect("a process");
    let lines = BufReader::new(consumer.stdout.take().expect("its output")).lines();
    let counts = lines.map_while(Result::ok).map(|line| line.parse::<u64>().expect("a count"));
    let reached = counts.into_iter().find(|count| *count >= stored).expect("it goes on until it is killed");
    consumer.kill().expect("it still lives");
    consumer.wait().expect("it ends");
    reached
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_killed_twenty_times_stores_each_event_once() {
    const EVENTS: usize = 100_000;
    const KILLS: u64 = 20;
    let cluster = Cluster::start().await;
    let producer = Producer::new(&cluster);
    let topic = cluster.topics().events_in();
    let sent = stream::iter(0..EVENTS).map(|number| {
        let (user, id) = (format!("u{}", number % 997), number.to_string());
        let producer = &producer;
        async move { producer.send(topic, &user, &event(&user, &id), None).await }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("presence.db");
    let colleague = colleague(&cluster).await;
    let handle = tokio::runtime::Handle::current();
    let killing = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                // Now at the first write, now after many: any number that does not repeat itself will do.
                let kill = |kill| consume_until(&cluster, &path, 1 + kill * 7_919 % 4_000);
                (1..=KILLS).map(kill).sum::<u64>()
            });
            handle.block_on(sent.buffer_unordered(5_000).map(Ok::<_, ()>).try_collect::<()>()).unwrap();
            killer.join().expect("twenty kills")
        })
    });
    assert!(killing < EVENTS as u64, "some is left for the last: {killing}");
    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let (beats, activity) = services(&store);
    let mut ingest = KafkaIngest::new(&cluster.config().session_timeout(Duration::from_secs(4))).unwrap();
    let (mut ids, mut after) = (Vec::new(), None);
    read_on(&*store, &mut after, &mut ids).await;
    println!("{KILLS} kills, {killing} messages stored before the last of them, {} events", ids.len());
    let rest = async {
        while ids.len() < EVENTS {
            ingest.step(&beats, &activity).await.unwrap();
            read_on(&*store, &mut after, &mut ids).await;
        }
    };
    timeout(Duration::from_secs(120), rest).await.expect("the rest comes, or is lost");
    colleague.abort();
    let ids = event_ids(&*store).await;
    assert_eq!(ids.len(), EVENTS);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), EVENTS);
}
