//! A user's timeline, rebuilt from the topic of events and held against what the server answers:
//!
//! ```text
//! KAFKA_BROKERS=127.0.0.1:9092 cargo run -p presence-examples --features kafka --example kafka_timeline -- alice
//! ```
//!
//! It ends with 1 where the two differ. They do for a while after each change (an event is out within a second), and for
//! reports that came late: the topic tells what a user is doing now and what of that is corrected, not what a report adds
//! to a time that is over.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    error::Error,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use presence_core::{Clock, Event, StateType, SystemClock, Timestamp};
use presence_kafka::rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
    message::{Headers, Message},
};
use reqwest::{Client, Url, header::LINK};
use serde::Deserialize;
use tokio::time::timeout;

/// The longest wait for a broker.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Parser)]
#[command(
    about = "A user's timeline from Kafka, held against the server; brokers are those of KAFKA_BROKERS"
)]
struct Arguments {
    /// Whose timeline
    user: String,
    /// Where events are
    #[arg(long, default_value = "presence.events")]
    topic: String,
    /// The server, which is shown the token of PRESENCE_TOKEN, if there is one
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    server: Url,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Arguments { user, topic, server } = Arguments::parse();
    let brokers = env::var("KAFKA_BROKERS").map_err(|_| "KAFKA_BROKERS says where the brokers are")?;
    let events = read(&brokers, &topic, &format!("u:{user}")).await?;
    let mut timeline = Timeline::default();
    events.iter().for_each(|event| timeline.apply(event));
    let changes = timeline.changes();
    show(&changes);
    let (told, stored) = (seconds(&changes), history(server, &user).await?);
    if told == stored {
        println!("{} changes from {} events, as the server has them", told.len(), events.len());
        return Ok(ExitCode::SUCCESS);
    }
    for (side, one, other) in [("topic", &told, &stored), ("server", &stored, &told)] {
        for change in one.iter().filter(|change| !other.contains(change)) {
            println!("only the {side} has: {} since second {}", change.1, change.0);
        }
    }
    Ok(ExitCode::FAILURE)
}

/// The states of a user by the instants at which they began.
#[derive(Default)]
struct Timeline(BTreeMap<Timestamp, StateType>);

impl Timeline {
    fn apply(&mut self, event: &Event) {
        match event {
            // The state since `at`, whatever was thought before.
            Event::StateChanged { after, at, .. } => {
                self.0.retain(|since, _| since < at);
                self.0.insert(*at, after.clone());
            }
            // Silences, and ends of silences, that a late sign of life moved or withdrew.
            Event::TimelineCorrected { before, after, .. } => {
                for (at, state) in before {
                    if self.0.get(at) == Some(state) {
                        self.0.remove(at);
                    }
                }
                self.0.extend(after.iter().cloned());
            }
            // New kinds may come.
            _ => {}
        }
    }

    /// Each state that differs from the one before it.
    fn changes(self) -> Vec<(Timestamp, StateType)> {
        let mut changes: Vec<_> = self.0.into_iter().collect();
        changes.dedup_by(|later, earlier| later.1 == earlier.1);
        changes
    }
}

/// Events of this key that are in the topic now, in order. What came twice is taken once: an event is delivered at least
/// once, always under one id.
async fn read(brokers: &str, topic: &str, key: &str) -> Result<Vec<Event>, Box<dyn Error>> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        // Nobody joins it and nothing is written down: every run reads the topic from its beginning to its end.
        .set("group.id", "kafka_timeline")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    if partitions.count() == 0 {
        return Err(format!("there is no topic {topic}").into());
    }
    consumer.assign(&partitions)?;
    let (mut events, mut ids, mut read) = (Vec::new(), HashSet::new(), HashSet::new());
    while read.len() < partitions.count() {
        let message = match timeout(PATIENCE, consumer.recv()).await? {
            Ok(message) => message,
            Err(KafkaError::PartitionEOF(partition)) => {
                read.insert(partition);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if message.key() != Some(key.as_bytes()) {
            continue;
        }
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let id = headers.filter(|header| header.key == "event-id").find_map(|header| header.value);
        let is_new = id.is_none_or(|id| ids.insert(id.to_vec()));
        // An event of a kind that this program does not know is none of its business.
        let event = message.payload().and_then(|body| serde_json::from_slice(body).ok());
        events.extend(event.filter(|_| is_new));
    }
    Ok(events)
}

/// A row of the history.
#[derive(Deserialize)]
struct Row {
    state: StateType,
    /// In seconds.
    timestamp: i64,
}

/// What the server says: each state that differs from the one before it, by its second.
async fn history(server: Url, user: &str) -> Result<Vec<(i64, StateType)>, Box<dyn Error>> {
    let client = Client::new();
    let mut url = server;
    url.path_segments_mut().map_err(|()| "the server has no path")?.extend(["users", user, "checkpoints"]);
    url.set_query(Some("limit=1000"));
    let mut rows = Vec::new();
    loop {
        let mut request = client.get(url.clone());
        if let Ok(token) = env::var("PRESENCE_TOKEN") {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?.error_for_status()?;
        let link = response.headers().get(LINK).map(|link| link.to_str().map(str::to_owned)).transpose()?;
        rows.extend(serde_json::from_str::<Vec<Row>>(&response.text().await?)?);
        let next = link.as_deref().and_then(|link| link.strip_prefix('<')?.split_once('>'));
        let Some((next, _)) = next else { break };
        url = url.join(next)?;
    }
    // They come newest first.
    let mut changes: Vec<_> = rows.into_iter().rev().map(|row| (row.timestamp, row.state)).collect();
    changes.dedup_by(|later, earlier| later.1 == earlier.1);
    Ok(changes)
}

fn seconds(changes: &[(Timestamp, StateType)]) -> Vec<(i64, StateType)> {
    changes.iter().map(|(at, state)| (at.as_secs(), state.clone())).collect()
}

/// Prints a line for each state: since when, and for how long.
fn show(changes: &[(Timestamp, StateType)]) {
    println!("{:26}{:12}{:>10}", "since", "state", "for");
    let ends = changes.iter().skip(1).map(|(at, _)| *at).chain([SystemClock.now()]);
    for ((at, state), end) in changes.iter().zip(ends) {
        let minutes = end.since(*at).as_secs() / 60;
        let length = format!("{}h{:02}m", minutes / 60, minutes % 60);
        println!("{:26}{:12}{length:>10}", at.to_string(), state.as_str());
    }
}
