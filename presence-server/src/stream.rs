//! The event stream on Kafka: events out, and client events and heartbeats in.

use std::time::Duration;

use presence_core::EventKind;
use presence_kafka::{BadPrefix, KafkaConfig, KafkaError, KafkaIngest, KafkaSink};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{AppState, config::Kafka, deliveries::Deliveries};

/// How long the consumer waits after a failure of the store or of the brokers.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The names of the topics.
    #[error("KAFKA_TOPIC_PREFIX")]
    Topics(#[from] BadPrefix),
    /// librdkafka does not take the settings.
    #[error("the settings of Kafka")]
    Client(#[from] KafkaError),
}

/// What the configuration names, and nothing that runs yet.
#[derive(Debug)]
pub(crate) struct Stream {
    ingest: Option<KafkaIngest>,
}

impl Stream {
    /// Adds the sink to the others. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// The settings make no client.
    pub(crate) fn new(kafka: &Kafka, deliveries: Deliveries) -> Result<(Self, Deliveries), StreamError> {
        let mut config = KafkaConfig::new(&kafka.brokers).topics(kafka.topic_prefix.parse()?);
        if let Some(group) = &kafka.group {
            config = config.group(group);
        }
        let is_told = |kind: &EventKind| *kind != EventKind::Heartbeat || kafka.tells_heartbeats;
        let kinds = EventKind::ALL.into_iter().filter(is_told);
        let deliveries = deliveries.and("kafka", kinds, KafkaSink::new(&config)?);
        let ingest = kafka.is_consumer.then(|| KafkaIngest::new(&config)).transpose()?;
        tracing::info!(topics = kafka.topic_prefix, consumer = kafka.is_consumer, "the event stream is on");
        Ok((Self { ingest }, deliveries))
    }

    /// Starts to take what comes in, until `stop`. The sink is among the deliveries.
    pub(crate) fn start(
        self,
        state: &AppState,
        stop: &CancellationToken,
        running: &mut JoinSet<&'static str>,
    ) {
        if let Some(ingest) = self.ingest {
            running.spawn(consume(ingest, state.clone(), stop.clone()));
        }
    }
}

async fn consume(mut ingest: KafkaIngest, state: AppState, stop: CancellationToken) -> &'static str {
    let consuming = async {
        let mut is_failing = false;
        loop {
            match ingest.step(state.beats(), state.activity()).await {
                Ok(ingested) => {
                    if ingested.dead > 0 {
                        tracing::warn!(
                            dead = ingested.dead,
                            "messages were refused, and lie on the dead-letter topic"
                        );
                    }
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("messages are taken again");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(%error, cause, "messages wait; it is tried again and again");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(consuming).await;
    // It writes down how far it has read, and leaves its group: both wait for a broker.
    let left = tokio::task::spawn_blocking(|| drop(ingest));
    if tokio::time::timeout(Duration::from_secs(3), left).await.is_err() {
        tracing::warn!("the group was not left in time; some messages are read again");
    }
    "consume"
}
