//! The example on Kafka: against librdkafka's mock cluster, and a server in this process.

use std::{
    path::Path,
    process::{Command, Output},
    sync::mpsc,
    thread,
    time::Duration,
};

use presence_core::{Envelope, StateType, UserId};
use presence_kafka::rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    message::Message,
    mocking::MockCluster,
};
use presence_server::{
    AppState, Server,
    config::{self, Config, Environment},
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;
const EVENTS: &str = "presence.events";

/// librdkafka's mock cluster; it may not change threads, so it has one that lives as long as the process.
fn brokers() -> String {
    let (brokers, told) = mpsc::channel();
    thread::spawn(move || {
        let mock = MockCluster::new(1).expect("a cluster");
        mock.create_topic(EVENTS, PARTITIONS, 1).expect("a topic");
        brokers.send(mock.bootstrap_servers()).expect("somebody who waits");
        loop {
            thread::park();
        }
    });
    told.recv().expect("a cluster")
}

/// Waits until a state is on the topic: what happened to its user before is there too.
async fn until_told(brokers: &str, state: &str) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("group.id", "test").set("enable.auto.commit", "false");
    let reader: StreamConsumer = client.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(EVENTS, partition, Offset::Beginning).expect("a partition");
    }
    reader.assign(&partitions).expect("partitions");
    let state = format!(r#""after":"{state}""#);
    let reading = async {
        loop {
            let message = reader.recv().await.expect("a broker");
            if String::from_utf8_lossy(message.payload().unwrap_or_default()).contains(&state) {
                break;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("it is told within a minute");
}

/// So many seconds ago.
async fn happens(state: &AppState, envelope: Envelope, ago: u64) {
    let at = state.tracker().now().saturating_sub(Duration::from_secs(ago));
    state.tracker().record(envelope.at(at)).await.expect("a store");
}

fn report(user: &str, state: &str) -> Envelope {
    Envelope::checkpoint(UserId::new(user).expect("a user"), StateType::new(state).expect("a state"))
}

fn kafka_timeline(brokers: &str, server: &str) -> (bool, String) {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let path = folder.join("examples").join(format!("kafka_timeline{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is built by `make stream`", path.display());
    let mut example = Command::new(path);
    example.args(["alice", "--server", server]).env("KAFKA_BROKERS", brokers);
    let Output { status, stdout, stderr } = example.output().expect("an example that starts");
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    (status.success(), String::from_utf8(stdout).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_and_the_server_tell_one_timeline_until_a_report_comes_late() {
    let brokers = brokers();
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("presence.db").display());
    let env = Environment::new([
        ("BIND_ADDRESS", "127.0.0.1:0"),
        ("DATABASE_URL", &database),
        ("HEARTBEAT_TIMEOUT_SECS", "60"),
        ("KAFKA_ENABLED", "1"),
        ("KAFKA_BROKERS", &brokers),
    ]);
    let Ok(config::Command::Serve(config)) = Config::from_env_and_args(["presence-server"], &env) else {
        panic!("a configuration")
    };
    let server = Server::open(config).await.expect("a server");
    let (state, address) = (server.state().clone(), format!("http://{}", server.address()));
    let serving = tokio::spawn(server.serve());

    let alice = Envelope::heartbeat(UserId::new("alice").expect("a user"));
    happens(&state, report("alice", "Working"), 6_000).await;
    happens(&state, report("bob", "Sleeping"), 6_000).await;
    state.tracker().sweep(1_000).await.expect("a store");
    // Her silence began later than it had seemed.
    happens(&state, alice.clone(), 5_960).await;
    happens(&state, report("alice", "Idle"), 20).await;
    happens(&state, report("alice", "Gaming"), 10).await;
    until_told(&brokers, "Gaming").await;

    let shown = |shown: String| -> Vec<(String, String)> {
        let rows = shown.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned));
        rows.filter_map(|mut words| words.nth(1).zip(words.next())).collect()
    };
    let (is_same, text) = kafka_timeline(&brokers, &address);
    println!("{text}");
    assert!(is_same && text.ends_with("4 changes from 5 events, as the server has them\n"), "{text}");
    let states = ["Working", "Offline", "Idle", "Gaming"];
    let lengths = ["0h01m", "1h38m", "0h00m", "0h00m"];
    let expected: Vec<_> = states
        .into_iter()
        .zip(lengths)
        .map(|(state, length)| (state.to_owned(), length.to_owned()))
        .collect();
    assert_eq!(shown(text)[..4], expected);

    // What she did in a time that is over, nobody is told.
    happens(&state, report("alice", "Reading"), 4_000).await;
    let (is_same, text) = kafka_timeline(&brokers, &address);
    println!("{text}");
    assert!(!is_same && text.contains("only the server has: Reading since second "), "{text}");
    serving.abort();
}
