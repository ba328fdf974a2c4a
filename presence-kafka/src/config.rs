//! How brokers are reached.

use std::{fmt, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use crate::{Topics, sink::BATCH};

/// The longest that an event may wait for its delivery report: both waits of [`KafkaSink`](crate::KafkaSink) fit into the
/// claim of a relay, 60 s.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// Where brokers are, what the topics are called, and how long one waits for them.
///
/// ```
/// use std::time::Duration;
/// use presence_kafka::KafkaConfig;
///
/// let config = KafkaConfig::new("kafka-1:9092,kafka-2:9092").timeout(Duration::from_secs(10));
/// # let _ = config;
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct KafkaConfig {
    brokers: String,
    pub(crate) topics: Topics,
    pub(crate) timeout: Duration,
    longest_message: usize,
    group: Option<String>,
    session_timeout: Duration,
}

impl KafkaConfig {
    /// Brokers to begin with, as `HOST:PORT` with commas between them. They name the others.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topics: Topics::default(),
            timeout: Duration::from_secs(20),
            longest_message: 1_000_000,
            group: None,
            session_timeout: Duration::from_secs(45),
        }
    }

    /// What the topics are called. Default: `presence.events` and so on.
    #[must_use]
    pub fn topics(mut self, topics: Topics) -> Self {
        self.topics = topics;
        self
    }

    /// How long a message may take until the broker has it, retries included. Default 20 s, at most 25 s, at least 1 s:
    /// what takes longer is sent again, and twice this has to fit into the 60 s for which a relay has its sink.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_secs(1), LONGEST_WAIT);
        self
    }

    /// The longest message in bytes, with its key and header, before anything is sent; from 1,000. Default 1,000,000. A
    /// topic of its own limit may refuse shorter ones.
    #[must_use]
    pub fn longest_message(mut self, bytes: usize) -> Self {
        self.longest_message = bytes.max(1_000);
        self
    }

    /// The group of those who share the topics that come in. Default: the prefix of the topics.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// How long somebody of the group may be silent until the others read in their place: a crash costs so long. Default
    /// 45 s, at least 1 s; brokers have limits of their own, 6 s and 30 min where nothing else is said.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout.max(Duration::from_secs(1));
        self
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set_log_level(RDKafkaLogLevel::Info)
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "presence")
            .set("socket.keepalive.enable", "true")
            // A broker that comes back is found within a second, not within ten.
            .set("reconnect.backoff.max.ms", "1000");
        client
    }

    /// A producer that repeats by itself, and never out of order or twice: idempotent, acknowledged by all replicas.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", self.timeout.as_millis().to_string())
            .set("message.max.bytes", self.longest_message.to_string())
            // What a relay delivers at once, and no more than 16 MiB of it.
            .set("queue.buffering.max.messages", BATCH.to_string())
            .set("queue.buffering.max.kbytes", "16384")
            // Of one key one event is under way at a time, so waiting for more is waiting for nothing.
            .set("linger.ms", "1")
            // As clients in Java do, so that a key has one partition whoever writes it.
            .set("partitioner", "murmur2_random")
            .set("topic.metadata.propagation.max.ms", "5000");
        client
    }
}

impl KafkaConfig {
    /// A consumer that writes down what it has read where it is told to, and nothing else.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let group = self.group.clone().unwrap_or_else(|| self.topics.to_string());
        let mut client = self.client();
        client
            .set("group.id", group)
            .set("session.timeout.ms", session.to_string())
            .set("heartbeat.interval.ms", (session / 4).min(3_000).to_string())
            .set("enable.auto.offset.store", "false")
            .set("auto.commit.interval.ms", "1000")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "16384")
            // Topics that come to be are found within a while.
            .set("topic.metadata.refresh.interval.ms", "30000");
        client
    }
}

/// Its brokers may have credentials before them, and are not shown.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topics, timeout, longest_message, .. } = self;
        f.debug_struct("KafkaConfig")
            .field("topics", topics)
            .field("timeout", timeout)
            .field("longest_message", longest_message)
            .finish_non_exhaustive()
    }
}
