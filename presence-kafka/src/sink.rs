//! Events, out.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use presence_core::{Delivered, Delivery, Sink, SinkError};
use rdkafka::{
    ClientConfig,
    error::{KafkaError as Cause, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
};
use tokio::time::{Instant, timeout};

use crate::{
    KafkaConfig, KafkaError, Topics,
    body::body,
    reports::{Postman, Reports},
};

/// How many events are taken at once: so many that the way to the brokers and back is a small part of it.
pub(crate) const BATCH: usize = 4_000;
/// How long to wait for room in the queue before it is looked at again.
const PAUSE: Duration = Duration::from_millis(10);
/// The header with the name of an event.
pub(crate) const EVENT_ID: &str = "event-id";

const TOO_LARGE: &str = "the event is larger than Kafka takes";
const INVALID: &str = "the broker does not take the event";
const NO_JSON: &str = "the event has no JSON";

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
/// - It takes up to 4,000 events at once; of these, 16 MiB are under way. A full queue is waited for.
pub struct KafkaSink {
    topics: Topics,
    timeout: Duration,
    settings: ClientConfig,
    producer: Mutex<ThreadedProducer<Postman>>,
}

impl KafkaSink {
    /// A sink that sends to these brokers. Nothing is connected before something is sent.
    ///
    /// # Errors
    ///
    /// librdkafka does not take the settings.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let settings = config.producer();
        let producer = Mutex::new(settings.create_with_context(Postman)?);
        Ok(Self { topics: config.topics.clone(), timeout: config.timeout, settings, producer })
    }

    /// The producer; another one where this one will never send again.
    fn producer(&self) -> Result<ThreadedProducer<Postman>, Cause> {
        // Nothing panics while it is held.
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((code, _)) = producer.client().fatal_error() {
            tracing::warn!(%code, "kafka: the producer is of no more use, and another one is made");
            *producer = self.settings.create_with_context(Postman)?;
        }
        Ok(producer.clone())
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn batch(&self) -> usize {
        BATCH
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<Vec<Delivered>, SinkError> {
        let producer = self.producer().map_err(|_| SinkError::Later(Duration::ZERO))?;
        let keys: Vec<_> = events.iter().map(|event| event.event.key()).collect();
        let (firsts, next) = chains(&keys);
        let mut attempt = Attempt {
            sink: self,
            producer,
            events,
            keys: &keys,
            next,
            delivered: vec![Delivered::Later(Duration::ZERO); events.len()],
            end: Instant::now() + self.timeout,
        };
        let suspects = attempt.run(firsts, false).await;
        for suspect in suspects {
            attempt.run([suspect].into(), true).await;
        }
        Ok(attempt.delivered)
    }
}

/// The places of the first event of each key, and for each event the place of the next one of its key.
fn chains(keys: &[String]) -> (VecDeque<usize>, Vec<Option<usize>>) {
    let (mut firsts, mut next) = (VecDeque::with_capacity(keys.len()), vec![None; keys.len()]);
    let mut last: HashMap<&str, usize> = HashMap::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        match last.insert(key, place) {
            Some(before) => next.get_mut(before).into_iter().for_each(|next| *next = Some(place)),
            None => firsts.push_back(place),
        }
    }
    (firsts, next)
}

/// One call of [`Sink::deliver`]. Events go by their places in it.
struct Attempt<'a> {
    sink: &'a KafkaSink,
    producer: ThreadedProducer<Postman>,
    events: &'a [Delivery],
    keys: &'a [String],
    next: Vec<Option<usize>>,
    delivered: Vec<Delivered>,
    /// Nothing is sent any more from then on.
    end: Instant,
}

/// What became of a message.
enum Sent {
    Settled(Delivered),
    /// It came in a batch that the broker found too large: it may be another event's fault.
    Suspect,
    /// It is on its way.
    UnderWay,
    /// There is no room for it now.
    Full,
}

impl Attempt<'_> {
    /// Delivers these events, and after each that is settled the next one of its key, until one is to come later. Gives
    /// the suspects; where nothing else is under way, they are `alone`: what is too large then, is.
    async fn run(&mut self, mut ready: VecDeque<usize>, alone: bool) -> Vec<usize> {
        let reports = Arc::new(Reports::default());
        let mut suspects = Vec::new();
        loop {
            let mut is_full = false;
            while !is_full
                && Instant::now() < self.end
                && let Some(place) = ready.pop_front()
            {
                match self.send(place, &reports) {
                    Sent::UnderWay => {}
                    Sent::Full => {
                        ready.push_front(place);
                        is_full = true;
                    }
                    sent => self.settle(place, sent, alone, &mut ready, &mut suspects),
                }
            }
            let is_over = !is_full && !reports.is_any_under_way();
            let come = reports.take();
            if come.is_empty() {
                if is_over {
                    suspects.sort_unstable();
                    return suspects;
                }
                if is_full {
                    // An end of this wait is no news, and none is needed.
                    let _ = timeout(PAUSE, reports.news()).await;
                } else {
                    reports.news().await;
                }
            }
            for (place, result) in come {
                let sent = match result {
                    Ok(()) => Sent::Settled(Delivered::Accepted),
                    Err(error) => reported(&error),
                };
                self.settle(place, sent, alone, &mut ready, &mut suspects);
            }
        }
    }

    /// Notes what became of an event, and who may go after it.
    fn settle(
        &mut self,
        place: usize,
        sent: Sent,
        alone: bool,
        ready: &mut VecDeque<usize>,
        suspects: &mut Vec<usize>,
    ) {
        let outcome = match sent {
            Sent::Settled(outcome) => outcome,
            Sent::Suspect if alone => Delivered::Refused(TOO_LARGE.to_owned()),
            Sent::Suspect => return suspects.push(place),
            Sent::UnderWay | Sent::Full => return,
        };
        if !matches!(outcome, Delivered::Later(_)) {
            ready.extend(self.next.get(place).copied().flatten());
        }
        self.delivered.get_mut(place).into_iter().for_each(|known| *known = outcome.clone());
    }

    fn send(&self, place: usize, reports: &Arc<Reports>) -> Sent {
        let (Some(Delivery { event_id, event }), Some(key)) = (self.events.get(place), self.keys.get(place))
        else {
            return Sent::Settled(Delivered::Later(Duration::ZERO));
        };
        let Ok(body) = body(event) else {
            return Sent::Settled(Delivered::Refused(NO_JSON.to_owned()));
        };
        let is_awaited = self.next.get(place).is_some_and(Option::is_some);
        let header = Header { key: EVENT_ID, value: Some(event_id) };
        let record =
            BaseRecord::with_opaque_to(self.sink.topics.of(event.kind()), reports.slip(place, is_awaited))
                .key(key)
                .payload(&body)
                .headers(OwnedHeaders::new_with_capacity(1).insert(header));
        let Err((error, _)) = self.producer.send(record) else { return Sent::UnderWay };
        reports.not_sent();
        match error {
            Cause::MessageProduction(RDKafkaErrorCode::QueueFull) => Sent::Full,
            // Larger than what is ever sent: nothing was.
            Cause::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Sent::Settled(Delivered::Refused(TOO_LARGE.to_owned()))
            }
            error => reported(&error),
        }
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
