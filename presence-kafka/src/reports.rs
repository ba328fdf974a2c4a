//! What brokers say of messages, gathered for who sent them.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{DeliveryResult, ProducerContext},
};
use tokio::sync::Notify;

use crate::log::Log;

/// Delivery reports of one attempt. Its sender is woken when nothing is under way any more, or when something came that
/// it cannot do without: a wake for each report would cost more than all the rest of a message.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    come: Mutex<VecDeque<Report>>,
    under_way: AtomicUsize,
    wake: Notify,
}

/// The place of an event among those of the attempt, and what became of its message.
pub(crate) type Report = (usize, Result<(), KafkaError>);

impl Reports {
    /// What goes along with the message of an event; `is_awaited` where another event waits for its report.
    pub(crate) fn slip(self: &Arc<Self>, place: usize, is_awaited: bool) -> Box<Slip> {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        Box::new(Slip { reports: Arc::clone(self), place, is_awaited })
    }

    /// The message of a slip was not taken, so nothing will be reported.
    pub(crate) fn not_sent(&self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a report is still to come. What has come is to be taken after this was asked.
    pub(crate) fn is_any_under_way(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// What has come since it was asked last.
    pub(crate) fn take(&self) -> VecDeque<Report> {
        // Nothing panics while it is held.
        mem::take(&mut *self.come.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there is a reason to look.
    pub(crate) async fn news(&self) {
        self.wake.notified().await;
    }
}

/// What a message brings back with its report.
#[derive(Debug)]
pub(crate) struct Slip {
    reports: Arc<Reports>,
    place: usize,
    is_awaited: bool,
}

impl Slip {
    fn hand_in(self, result: Result<(), KafkaError>) {
        let Self { reports, place, is_awaited } = self;
        reports.come.lock().unwrap_or_else(PoisonError::into_inner).push_back((place, result));
        let was_last = reports.under_way.fetch_sub(1, Ordering::AcqRel) == 1;
        if was_last || is_awaited {
            reports.wake.notify_one();
        }
    }
}

/// Hands reports to who waits for them, and writes the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Postman;

impl ClientContext for Postman {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Log.error(error, reason);
    }
}

impl ProducerContext for Postman {
    type DeliveryOpaque = Box<Slip>;

    fn delivery(&self, result: &DeliveryResult<'_>, slip: Box<Slip>) {
        slip.hand_in(result.as_ref().map(drop).map_err(|(error, _)| error.clone()));
    }
}
