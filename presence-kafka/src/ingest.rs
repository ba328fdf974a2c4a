//! Heartbeats and client events, in.

use std::{fmt, time::Duration};

use futures_util::FutureExt;
use presence_core::{Activity, Beats, HeartbeatRef, Rejection, StoreError};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError as Cause, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};

use crate::{KafkaConfig, KafkaError, Topics, item, item::Item, log::Log, sink::EVENT_ID};

/// How many messages are taken at once.
const BATCH: usize = 1_000;

/// Takes client events and heartbeats from topics: each is stored at least once, and under its id once.
///
/// Bodies are those of the HTTP routes, one item a message:
///
/// ```text
/// presence.in.events      {"eventName", "installId", "userId"?, "clientTs" (Unix seconds), "eventId"?, "properties"?}
/// presence.in.heartbeats  {"installId", "userId"?, "clientTs" (Unix seconds)}
/// ```
///
/// - An event without an `eventId` is named by the header `event-id` of its message, or else by its content.
/// - How far it has read is written down after the store has committed; so a crash repeats some, and nothing is lost.
/// - What is refused for good goes to `presence.in.dead`, as it came and under its key, with the headers `reason` (a code, as
///   the routes answer it), `topic`, `partition` and `offset`. What an erased user sent goes without its body.
/// - While the store is away the messages at hand are held, and nothing more is read than 16 MiB.
///
/// Any number of them share the topics, where they have one [group](KafkaConfig::group).
pub struct KafkaIngest {
    topics: Topics,
    timeout: Duration,
    consumer: StreamConsumer<Log>,
    dead: FutureProducer<Log>,
    /// What was read and is not stored.
    held: Vec<Received>,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ingested {
    /// How many messages are stored, or were before.
    pub stored: u64,
    /// How many went to the dead-letter topic.
    pub dead: u64,
}

/// Why a step did not get through. The messages are held, and the next step goes on with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Nothing can be read, or no dead letter written.
    #[error("Kafka failed")]
    Kafka(#[from] KafkaError),
}

/// A message, and what it says.
struct Received {
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    body: Vec<u8>,
    item: Result<Item, &'static str>,
}

impl KafkaIngest {
    /// Joins the group. Nothing is connected before the first step.
    ///
    /// # Errors
    ///
    /// librdkafka does not take the settings.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let topics = config.topics.clone();
        let consumer: StreamConsumer<Log> = config.consumer().create_with_context(Log)?;
        consumer.subscribe(&[topics.events_in(), topics.heartbeats_in()])?;
        let dead = config.producer().create_with_context(Log)?;
        Ok(Self { topics, timeout: config.timeout, consumer, dead, held: Vec::new() })
    }

    /// Waits for messages, and stores what has come: up to 1,000 in one write. Dropped half way, it goes on with the same
    /// messages.
    ///
    /// # Errors
    ///
    /// The store or the brokers failed; the next step goes on.
    pub async fn step(&mut self, beats: &Beats, activity: &Activity) -> Result<Ingested, IngestError> {
        if self.held.is_empty() {
            self.held = self.receive().await?;
        }
        let dead = self.store(beats, activity).await?;
        for (place, reason) in &dead {
            if let Some(received) = self.held.get(*place) {
                self.bury(received, reason).await?;
            }
        }
        let ingested =
            Ingested { stored: self.held.len().saturating_sub(dead.len()) as u64, dead: dead.len() as u64 };
        self.mark();
        self.held.clear();
        Ok(ingested)
    }

    async fn receive(&self) -> Result<Vec<Received>, KafkaError> {
        let mut received = vec![self.read(&self.consumer.recv().await?)];
        while received.len() < BATCH {
            match self.consumer.recv().now_or_never() {
                Some(Ok(message)) => received.push(self.read(&message)),
                // An error comes again, or has passed.
                Some(Err(_)) | None => break,
            }
        }
        Ok(received)
    }

    fn read(&self, message: &BorrowedMessage<'_>) -> Received {
        let body = message.payload().unwrap_or_default();
        let item = if message.topic() == self.topics.heartbeats_in() {
            item::heartbeat(body)
        } else {
            let headers = message.headers();
            let named = headers.and_then(|headers| headers.iter().find(|header| header.key == EVENT_ID));
            let id = named.and_then(|header| header.value).and_then(|id| std::str::from_utf8(id).ok());
            item::event(body, id)
        };
        Received {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            body: body.to_vec(),
            item,
        }
    }

    /// Stores what is held, and says which of it was refused.
    async fn store(
        &self,
        beats: &Beats,
        activity: &Activity,
    ) -> Result<Vec<(usize, &'static str)>, StoreError> {
        let (mut events, mut places_of_events) = (Vec::new(), Vec::new());
        let (mut heartbeats, mut places_of_heartbeats) = (Vec::new(), Vec::new());
        let mut dead = Vec::new();
        for (place, received) in self.held.iter().enumerate() {
            match &received.item {
                Ok(Item::Event(event)) => {
                    events.push(event.clone());
                    places_of_events.push(place);
                }
                Ok(Item::Heartbeat(heartbeat)) => {
                    heartbeats.push(HeartbeatRef::from(heartbeat));
                    places_of_heartbeats.push(place);
                }
                Err(code) => dead.push((place, *code)),
            }
        }
        let mut judge = |place: usize, rejection: Option<Rejection>| {
            dead.extend(rejection.map(|rejection| (place, rejection.code())));
        };
        if !events.is_empty() {
            let verdicts = activity.ingest(events).await?;
            places_of_events
                .into_iter()
                .zip(verdicts)
                .for_each(|(place, verdict)| judge(place, verdict.err()));
        }
        if !heartbeats.is_empty() {
            let verdicts = beats.beat_many(&heartbeats).await?;
            places_of_heartbeats
                .into_iter()
                .zip(verdicts)
                .for_each(|(place, verdict)| judge(place, verdict.err()));
            // In memory is not stored.
            beats.flush().await?;
        }
        Ok(dead)
    }

    /// Writes a dead letter, and waits until the brokers have it.
    async fn bury(&self, received: &Received, reason: &str) -> Result<(), KafkaError> {
        let is_erased = reason == Rejection::UserErased.code();
        let body = if is_erased { &[][..] } else { &received.body };
        match self.send(received, reason, body).await {
            // Just as long as may be, and no longer with what is said of it.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Ok(self.send(received, reason, &[]).await?)
            }
            sent => Ok(sent?),
        }
    }

    async fn send(&self, received: &Received, reason: &str, body: &[u8]) -> Result<(), Cause> {
        let Received { topic, partition, offset, key, .. } = received;
        let (partition, offset) = (partition.to_string(), offset.to_string());
        let headers = [("reason", reason), ("topic", topic), ("partition", &partition), ("offset", &offset)]
            .into_iter();
        let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = FutureRecord::to(self.topics.dead()).payload(body).headers(headers);
        let record = match key {
            Some(key) => record.key(key.as_slice()),
            None => record,
        };
        self.dead.send(record, self.timeout).await.map(drop).map_err(|(error, _)| error)
    }

    /// Notes how far it has read; that is written down within a second, and when the group is left.
    fn mark(&self) {
        let mut read = TopicPartitionList::new();
        for Received { topic, partition, offset, .. } in &self.held {
            let next = Offset::Offset(offset.saturating_add(1));
            // Offsets of a partition rise, so that the last one stays.
            let noted = match read.find_partition(topic, *partition) {
                Some(mut known) => known.set_offset(next),
                None => read.add_partition_offset(topic, *partition, next),
            };
            if let Err(error) = noted {
                tracing::debug!(%error, "kafka: an offset is not noted");
            }
        }
        // A partition that somebody else has by now is read by them once more.
        if let Err(error) = self.consumer.store_offsets(&read) {
            tracing::debug!(%error, "kafka: offsets are not noted");
        }
    }
}

impl fmt::Debug for KafkaIngest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaIngest")
            .field("topics", &self.topics)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
