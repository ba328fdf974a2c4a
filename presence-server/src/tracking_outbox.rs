//! The tracking outbox: what apps report waits in a directory and goes to the store from there, so that nobody waits for
//! the store, and nothing is lost while it is away.

use std::{fmt, sync::Arc, time::Duration};

use presence_core::{Activity, Logged, NewEvent, Rejection, UserId};
use presence_outbox::{
    Backoff, Deliver, DeliveryError, EraseError, OpenError, Outbox, OutboxConfig, SinkName, Stored,
};
use tokio_util::sync::CancellationToken;

use crate::metrics::TrackingCounters;

/// The one sink: the store.
const STORE: &str = "store";
/// The store is asked again at least this often, so that what waits goes soon after it is back.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) };
/// How long a server that ends goes on bringing events to the store.
const FAREWELL: Duration = Duration::from_secs(5);

/// Events of apps on their way to the store; cheap to clone.
#[derive(Clone)]
pub struct TrackingOutbox {
    outbox: Outbox<NewEvent>,
    counters: Arc<TrackingCounters>,
    durability: &'static str,
}

impl TrackingOutbox {
    /// Opens the directory that `config` describes, and recovers what is in it. What an earlier process left waits with
    /// the rest. `config` needs no sink, telemetry or backoff: they are set here.
    ///
    /// # Errors
    ///
    /// The directory cannot be had, or another process has it.
    pub async fn open(config: OutboxConfig, durability: &'static str) -> Result<Self, OpenError> {
        let counters = Arc::new(TrackingCounters::default());
        let sink = SinkName::new(STORE).unwrap_or_default();
        let config = config.sink(sink).backoff(BACKOFF).telemetry(counters.clone());
        Ok(Self { outbox: Outbox::open(config).await?, counters, durability })
    }

    /// What an event that is kept survives: `fsync` or `process`.
    pub(crate) const fn durability(&self) -> &'static str {
        self.durability
    }

    /// Keeps events; says whether all of them are. Those that are not may be kept in part.
    pub(crate) async fn keep(&self, events: &[NewEvent]) -> bool {
        match self.outbox.enqueue_many(events).await {
            Ok(kept) => kept.dropped == 0,
            Err(error) => {
                tracing::warn!(%error, "the tracking outbox does not take events");
                false
            }
        }
    }

    /// Removes what waits of a user, and says how many events there were.
    ///
    /// # Errors
    ///
    /// The disk failed; asked again, the rest is removed.
    pub async fn erase(&self, user: &UserId) -> Result<u64, EraseError> {
        let (user, name) = (user.clone(), user.to_string());
        let erased = self.outbox.erase(move |line| match line {
            Stored::Event(event) => event.user.as_ref() == Some(&user),
            // What cannot be read may say anything.
            Stored::Unreadable(bytes) => String::from_utf8_lossy(bytes).contains(&name),
            _ => true,
        });
        erased.await.map(|erased| erased.waiting)
    }

    /// Brings events to the store until `stop`, then for a while what is left, and frees the directory.
    pub(crate) async fn run(&self, activity: &Activity, stop: &CancellationToken) {
        let store = Store(activity.clone());
        match self.outbox.sink(STORE) {
            Ok(mut sink) => {
                let _ = stop.run_until_cancelled(sink.run(&store)).await;
                let rest = async { self.outbox.seal().await.is_ok() && sink.flush(&store).await.is_ok() };
                if !tokio::time::timeout(FAREWELL, rest).await.unwrap_or(false) {
                    tracing::warn!("events wait in the tracking outbox for the next start");
                }
            }
            Err(error) => tracing::error!(%error, "the tracking outbox is read twice"),
        }
    }

    /// Frees the directory; what waits stays in it.
    pub(crate) fn close(&self) {
        self.outbox.close();
    }

    pub(crate) fn counters(&self) -> &TrackingCounters {
        &self.counters
    }
}

impl fmt::Debug for TrackingOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackingOutbox").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

/// Stores what was kept, as it was judged when it came.
struct Store(Activity);

impl Deliver<NewEvent> for Store {
    async fn deliver(&self, events: &[NewEvent]) -> Result<usize, DeliveryError> {
        match self.0.store(events.to_vec()).await {
            Ok(verdicts) if verdicts.iter().all(is_settled) => Ok(events.len()),
            // The others are stored: halves of the batch are repeated, which changes nothing, until the one is found.
            Ok(_) => Err(refused(Rejection::EventIdReused.code())),
            Err(error) if error.is_retryable() => Err(DeliveryError::Retry { after: Duration::ZERO }),
            Err(error) => {
                tracing::error!(%error, "the store refuses events");
                Err(refused("the store refuses it"))
            }
        }
    }
}

/// Whether there is nothing more to be done about an event. Of a user who was erased nothing is kept, not even that.
fn is_settled(verdict: &Result<Logged, Rejection>) -> bool {
    matches!(verdict, Ok(_) | Err(Rejection::UserErased))
}

fn refused(reason: &str) -> DeliveryError {
    DeliveryError::Refused { reason: reason.to_owned() }
}
