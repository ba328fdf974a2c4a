//! What leaves the server: what waits, and what became of attempts.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use presence_core::{SinkBooks, SinkName};
use prometheus_client::encoding::DescriptorEncoder;
use tokio::time::Instant;

use super::{histogram::Histogram, text::Text};
use crate::{callbacks::Outcome, traffic::Count};

/// How old the books of the outbox may be that are shown: to read them is to count all that waits.
const AGE: Duration = Duration::from_secs(10);

/// What became of attempts.
const OUTCOMES: [&str; 4] = ["delivered", "failed", "refused", "gone"];

/// The attempts of one callback.
#[derive(Debug, Default)]
pub(crate) struct CallbackFigures {
    attempts: [Count; OUTCOMES.len()],
    durations: Histogram,
}

impl CallbackFigures {
    /// Counts an attempt.
    pub(crate) fn attempt(&self, outcome: Outcome, took: Duration) {
        let [delivered, failed, refused, gone] = &self.attempts;
        let count = match outcome {
            Outcome::Delivered => delivered,
            Outcome::Retry { .. } => failed,
            Outcome::Refused { .. } => refused,
            Outcome::Gone => gone,
        };
        count.add(1);
        self.durations.observe(took);
    }
}

/// How a sink is.
#[derive(Debug, Default)]
pub(crate) struct SinkFigures {
    /// It failed, and is left alone for a while.
    pub(crate) is_resting: AtomicBool,
    /// It wants nothing any more.
    pub(crate) is_gone: AtomicBool,
}

/// All that leaves.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    callbacks: Mutex<BTreeMap<&'static str, Arc<CallbackFigures>>>,
    sinks: Mutex<BTreeMap<SinkName, Arc<SinkFigures>>>,
    books: tokio::sync::Mutex<Option<(Instant, Vec<SinkBooks>)>>,
}

impl Deliveries {
    /// Where the attempts of this callback are counted.
    pub(crate) fn callback(&self, name: &'static str) -> Arc<CallbackFigures> {
        Arc::clone(self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default())
    }

    /// Where it is said how this sink is.
    pub(crate) fn sink(&self, name: &SinkName) -> Arc<SinkFigures> {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sinks.entry(name.clone()).or_default())
    }

    /// The books as they were at most ten seconds ago, or as `read` reads them now.
    pub(super) async fn books<E>(
        &self,
        read: impl Future<Output = Result<Vec<SinkBooks>, E>>,
    ) -> Option<Vec<SinkBooks>> {
        let mut books = self.books.lock().await;
        if let Some((_, known)) = books.as_ref().filter(|(at, _)| at.elapsed() < AGE) {
            return Some(known.clone());
        }
        let read = read.await.ok()?;
        *books = Some((Instant::now(), read.clone()));
        Some(read)
    }

    pub(super) fn encode(&self, books: &[SinkBooks], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let by_sink = |count: fn(&SinkBooks) -> u64| {
            books.iter().map(move |books| ([("sink", books.sink.as_str())], count(books)))
        };
        encoder.counters(
            "presence_outbox_accepted",
            "Events that were ever kept for a sink: delivered, expired, erased, or here still. Up to 10 s old, as all of the \
             outbox.",
            by_sink(SinkBooks::accepted),
        )?;
        let delivered = "Events that a sink has.";
        encoder.counters("presence_outbox_delivered", delivered, by_sink(|books| books.delivered))?;
        let expired =
            "Events that were given up, because they waited or lay dead for OUTBOX_RETENTION_HOURS.";
        encoder.counters("presence_outbox_expired", expired, by_sink(|books| books.expired))?;
        let erased = "Events that were removed with their user.";
        encoder.counters("presence_outbox_erased", erased, by_sink(|books| books.erased))?;
        let pending = "Events that wait for their sink.";
        encoder.gauges("presence_outbox_pending", pending, by_sink(|books| books.pending))?;
        let dead = "Events that their sink refused for good.";
        encoder.gauges("presence_outbox_dead", dead, by_sink(|books| books.dead))?;
        encoder.instants(
            "presence_outbox_oldest_timestamp",
            "When the oldest event was kept that waits, since 1970.",
            books.iter().filter_map(|books| Some(([("sink", books.sink.as_str())], books.oldest?))),
        )?;

        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let by_sink = |is: fn(&SinkFigures) -> &AtomicBool| {
            sinks
                .iter()
                .map(move |(name, sink)| ([("sink", name.as_str())], u64::from(is(sink).load(Relaxed))))
        };
        let resting = "Whether a sink failed and is left alone for a while.";
        encoder.gauges("presence_sink_resting", resting, by_sink(|sink| &sink.is_resting))?;
        let gone = "Whether a sink said that it wants nothing any more; it is asked again after a restart.";
        encoder.gauges("presence_sink_gone", gone, by_sink(|sink| &sink.is_gone))?;

        let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = callbacks.iter().flat_map(|(name, figures)| {
            let labels = move |outcome| [("callback", *name), ("outcome", outcome)];
            OUTCOMES
                .iter()
                .zip(&figures.attempts)
                .map(move |(outcome, count)| (labels(*outcome), count.get()))
        });
        encoder.counters(
            "presence_callback_attempts",
            "Requests to receivers: delivered, failed for now, refused for good, or gone.",
            attempts,
        )?;
        let took = "How long those requests took, with the wait for their turn.";
        let mut durations = encoder.durations("presence_callback_duration", took)?;
        for (name, figures) in callbacks.iter() {
            figures.durations.encode(&mut durations, &[("callback", *name)])?;
        }
        Ok(())
    }
}
