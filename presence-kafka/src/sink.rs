//! Events, out.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use presence_core::{Delivered, Delivery, Sink, SinkError};
use rdkafka::{
    ClientConfig,
    error::{KafkaError as Cause, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tokio::time::{Instant, sleep};

use crate::{KafkaConfig, KafkaError, Topics, body::body, log::Log};

/// How long to wait for room in the queue before it is looked at again.
const PAUSE: Duration = Duration::from_millis(10);
/// The header with the name of an event.
pub(crate) const EVENT_ID: &str = "event-id";

const TOO_LARGE: &str = "the event is larger than Kafka takes";
const INVALID: &str = "the broker does not take the event";

/// Delivers events to topics: at least once, those of one key in order.
///
/// A message has the event's [key](presence_core::Event::key), so that a key keeps its partition; its JSON as body; and a
/// header `event-id`, the same at every attempt, by which a reader knows what it has read before.
///
/// - An event is accepted when all replicas in sync have it, as the broker says; not before.
/// - Of one key one event is under way at a time: what follows an event that was not accepted is not sent. A key is
///   therefore as fast as one round trip to the broker for each event, about a thousand events a second; keys do not wait
///   for each other.
/// - Where the broker is away, an answer comes within twice [`KafkaConfig::timeout`].
/// - An event that is larger than the topic takes is refused; its key goes on with the next.
/// - What waits takes at most 16 MiB and 1,000 messages. A full queue is waited for.
pub struct KafkaSink {
    topics: Topics,
    timeout: Duration,
    settings: ClientConfig,
    producer: Mutex<FutureProducer<Log>>,
}

impl KafkaSink {
    /// A sink that sends to these brokers. Nothing is connected before something is sent.
    ///
    /// # Errors
    ///
    /// librdkafka does not take the settings.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let settings = config.producer();
        let producer = Mutex::new(settings.create_with_context(Log)?);
        Ok(Self { topics: config.topics.clone(), timeout: config.timeout, settings, producer })
    }

    /// The producer; another one where this one will never send again.
    fn producer(&self) -> Result<FutureProducer<Log>, Cause> {
        // Nothing panics while it is held.
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((code, _)) = producer.client().fatal_error() {
            tracing::warn!(%code, "kafka: the producer is of no more use, and another one is made");
            *producer = self.settings.create_with_context(Log)?;
        }
        Ok(producer.clone())
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn deliver(&self, events: &[Delivery]) -> Result<Vec<Delivered>, SinkError> {
        let producer = self.producer().map_err(|_| SinkError::Later(Duration::ZERO))?;
        let attempt = Attempt { sink: self, producer, end: Instant::now() + self.timeout };
        let mut keys: HashMap<String, Vec<(usize, &Delivery)>> = HashMap::with_capacity(events.len());
        for (place, event) in events.iter().enumerate() {
            keys.entry(event.event.key()).or_default().push((place, event));
        }
        let mut delivered = vec![Delivered::Later(Duration::ZERO); events.len()];
        let mut settle = |settled: Vec<(usize, Delivered)>| {
            for (place, outcome) in settled {
                delivered.get_mut(place).into_iter().for_each(|known| *known = outcome.clone());
            }
        };
        let together = keys.iter().map(|(key, events)| attempt.deliver(key, events, false));
        let mut suspects = Vec::new();
        for (key, (settled, rest)) in keys.keys().zip(join_all(together).await) {
            settle(settled);
            suspects.extend(rest.map(|rest| (key, rest)));
        }
        for (key, rest) in suspects {
            settle(attempt.deliver(key, rest, true).await.0);
        }
        Ok(delivered)
    }
}

/// One call of [`Sink::deliver`].
struct Attempt<'a> {
    sink: &'a KafkaSink,
    producer: FutureProducer<Log>,
    /// Nothing is sent any more from then on.
    end: Instant,
}

/// What became of a message.
enum Sent {
    Settled(Delivered),
    /// It came in a batch that the broker found too large: it may be another event's fault.
    Suspect,
}

/// What became of the events of a key, by their places, and those from the first suspect on.
type Settled<'a> = (Vec<(usize, Delivered)>, Option<&'a [(usize, &'a Delivery)]>);

impl Attempt<'_> {
    /// Delivers the events of a key one after the other, until one is to come later. Where nothing else is under way,
    /// they are `alone`: what is too large then, is.
    async fn deliver<'a>(&self, key: &str, events: &'a [(usize, &'a Delivery)], alone: bool) -> Settled<'a> {
        let mut settled = Vec::with_capacity(events.len());
        for (index, (place, event)) in events.iter().enumerate() {
            let outcome = match self.send(key, event).await {
                Sent::Settled(outcome) => outcome,
                Sent::Suspect if alone => Delivered::Refused(TOO_LARGE.to_owned()),
                Sent::Suspect => return (settled, events.get(index..)),
            };
            let is_later = matches!(outcome, Delivered::Later(_));
            settled.push((*place, outcome));
            if is_later {
                break;
            }
        }
        (settled, None)
    }

    async fn send(&self, key: &str, Delivery { event_id, event }: &Delivery) -> Sent {
        let later = Sent::Settled(Delivered::Later(Duration::ZERO));
        let Ok(body) = body(event) else {
            return Sent::Settled(Delivered::Refused("the event has no JSON".to_owned()));
        };
        let header = Header { key: EVENT_ID, value: Some(event_id) };
        let mut record = FutureRecord::to(self.sink.topics.of(event.kind()))
            .key(key)
            .payload(&body)
            .headers(OwnedHeaders::new_with_capacity(1).insert(header));
        while Instant::now() < self.end {
            record = match self.producer.send_result(record) {
                Ok(report) => {
                    return match report.await {
                        Ok(Ok(_)) => Sent::Settled(Delivered::Accepted),
                        Ok(Err((error, _))) => reported(&error),
                        // The producer is gone.
                        Err(_) => later,
                    };
                }
                Err((Cause::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                    sleep(PAUSE).await;
                    record
                }
                // Larger than what is ever sent: nothing was.
                Err((Cause::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                    return Sent::Settled(Delivered::Refused(TOO_LARGE.to_owned()));
                }
                Err((error, _)) => return reported(&error),
            };
        }
        later
    }
}

/// What a failed delivery means. What an operator can change may be accepted later.
fn reported(error: &Cause) -> Sent {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => Sent::Suspect,
        Some(RDKafkaErrorCode::InvalidRecord) => Sent::Settled(Delivered::Refused(INVALID.to_owned())),
        code => {
            tracing::debug!(?code, "kafka: an event is to come later");
            Sent::Settled(Delivered::Later(Duration::ZERO))
        }
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink")
            .field("topics", &self.topics)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
