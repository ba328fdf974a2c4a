//! All that leaves the server by itself: which sinks and callbacks the configuration names, and the tasks that serve them.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use aws_lc_rs::rand;
use presence_core::{
    Clock, EventKind, Feed, Relay, RetryPolicy, Sink, SinkName, Step, StoreError, Subscriptions,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    AppState,
    callbacks::{
        Attempts, CallbackUrl, Channel, Endpoint, EndpointError, EventSink, HistoryBatches, RoomSync,
        SystemDns, Turn,
    },
    config::Callbacks,
    jobs::{self, Rhythm},
    metrics::SinkFigures,
    state::OutboxParts,
};

/// How long a relay rests that found nothing to deliver: an event is out within a second, whatever else is held back.
const IDLE: Duration = Duration::from_millis(200);
/// How long it waits where another node has its sink, or the store failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what is claimed is claimed again: three times in a claim.
const RENEWAL: Duration = Duration::from_secs(20);
/// How long a delivery that is under way at the end of the server, and the last one after it, may take.
const GRACE: Duration = Duration::from_secs(3);

/// Names under which nodes take turns: sinks of the outbox that never get an event.
pub(crate) const TURNS: [&str; 4] = ["chat_history", "session_history", "periodic_sync", "data_sync"];

/// Everything that the configuration names, and nothing that runs yet.
pub(crate) struct Deliveries {
    outbox: OutboxParts,
    clock: Arc<dyn Clock>,
    node: String,
    retry: RetryPolicy,
    sinks: Vec<Wanted>,
    histories: Vec<(Arc<HistoryBatches>, Feed, Duration)>,
    syncs: Vec<Syncing>,
    interval: Option<Duration>,
    /// What goes where, for the log.
    targets: Vec<(&'static str, CallbackUrl)>,
}

/// A sink, and what it wants.
struct Wanted {
    name: SinkName,
    kinds: Vec<EventKind>,
    sink: Arc<dyn Sink>,
}

struct Syncing {
    sync: Arc<RoomSync>,
    turn: Turn,
    call: Arc<Notify>,
}

/// The syncs that there are, each with how it is called for.
#[derive(Debug)]
pub(crate) struct Syncs(Vec<(&'static str, Arc<Notify>)>);

impl Syncs {
    /// Calls for all of them, and says for which. One that is under way is followed by another.
    pub(crate) fn call(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, call)| (call.notify_one(), *name).1).collect()
    }
}

impl Deliveries {
    /// What `callbacks` name, on the outbox of `state`. From now on the store keeps what they want.
    ///
    /// # Errors
    ///
    /// There is no TLS.
    pub(crate) fn new(
        callbacks: &Callbacks,
        outbox: OutboxParts,
        clock: Arc<dyn Clock>,
        node: String,
        state: &AppState,
    ) -> Result<Self, EndpointError> {
        let (repeats, delay) = (callbacks.max_retries, callbacks.retry_delay);
        let mut all = Self {
            outbox,
            clock,
            node,
            retry: RetryPolicy { repeats, delay, ..RetryPolicy::default() },
            sinks: Vec::new(),
            histories: Vec::new(),
            syncs: Vec::new(),
            interval: callbacks.sync_interval,
            targets: Vec::new(),
        };
        let attempts = Attempts { repeats, delay };
        let dns = Arc::new(SystemDns::default());
        let mut channel = |url: &Option<CallbackUrl>, name: &'static str| {
            let Some(url) = url else { return Ok(None) };
            let endpoint = Endpoint::new(url, &callbacks.policy, dns.clone())?;
            all.targets.push((name, url.clone()));
            let figures = state.metrics().deliveries.callback(name);
            Ok(Some(Channel::counted(endpoint, all.clock.clone(), figures)))
        };
        let room_events = channel(&callbacks.room_event_url, "room_events")?;
        let events = channel(&callbacks.event_url, "events")?;
        let data = channel(&callbacks.data_url, "data")?;
        let messages = channel(&callbacks.chat_history_url, "chat_history")?;
        let stays = channel(&callbacks.session_history_url, "session_history")?;
        let periodic = channel(&callbacks.periodic_sync_url, "periodic_sync")?;

        if let Some(channel) = room_events {
            all.add_sink("room_events", EventKind::ROOMS, EventSink::room_events(channel));
        }
        if let Some(channel) = events {
            all.add_sink("events", callbacks.event_kinds.iter(), EventSink::events(channel));
        }
        if let Some(channel) = data.clone() {
            all.add_sink("data", [EventKind::RoomCreated], EventSink::made_rooms(channel));
        }
        for (channel, feed, size, interval) in [
            (messages, Feed::Messages, callbacks.chat_history_batch_size, callbacks.chat_history_interval),
            (stays, Feed::Sessions, callbacks.session_history_batch_size, callbacks.session_history_interval),
        ] {
            let name = if feed == Feed::Messages { "chat_history" } else { "session_history" };
            let (Some(channel), Some(turn)) = (channel, all.turn(name)) else { continue };
            let rooms = all.outbox.feed.clone();
            let batches = HistoryBatches::new(feed, rooms, channel, turn, size, attempts);
            all.histories.push((Arc::new(batches), feed, interval));
        }
        let figures = periodic.map(|channel| RoomSync::figures(state.hub().clone(), channel, attempts));
        let everything = data.map(|channel| RoomSync::everything(state.hub().clone(), channel, attempts));
        for sync in [figures, everything].into_iter().flatten() {
            let Some(turn) = all.turn(sync.name()) else { continue };
            all.syncs.push(Syncing { sync: Arc::new(sync), turn, call: Arc::default() });
        }
        let calls = all.syncs.iter().map(|sync| (sync.sync.name(), sync.call.clone()));
        state.set_syncs(Syncs(calls.collect()));
        all.outbox.outbox.subscribe(all.subscriptions());
        Ok(all)
    }

    /// Adds a sink that is no callback. From now on the store keeps what it wants.
    #[cfg(feature = "kafka")]
    pub(crate) fn and(
        mut self,
        name: &str,
        kinds: impl IntoIterator<Item = EventKind>,
        sink: impl Sink + 'static,
    ) -> Self {
        self.add_sink(name, kinds, sink);
        self.outbox.outbox.subscribe(self.subscriptions());
        self
    }

    fn add_sink(
        &mut self,
        name: &str,
        kinds: impl IntoIterator<Item = EventKind>,
        sink: impl Sink + 'static,
    ) {
        let kinds = kinds.into_iter().collect();
        self.sinks.extend(SinkName::new(name).map(|name| Wanted { name, kinds, sink: Arc::new(sink) }));
    }

    fn turn(&self, name: &str) -> Option<Turn> {
        let turn = |name| Turn::new(self.outbox.outbox.clone(), self.clock.clone(), name, self.node.clone());
        SinkName::new(name).map(turn)
    }

    fn subscriptions(&self) -> Subscriptions {
        self.sinks.iter().fold(Subscriptions::none(), |subscriptions, wanted| {
            subscriptions.with(wanted.name.clone(), wanted.kinds.iter().copied())
        })
    }

    /// Whether anything leaves.
    pub(crate) const fn is_any(&self) -> bool {
        !self.targets.is_empty()
    }

    /// What goes where, for the log.
    pub(crate) fn summary(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| {
            for (index, (name, url)) in self.targets.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{name} to {url}")?;
            }
            Ok(())
        })
    }

    /// Starts one task for each: none waits for another. They end at `stop`, after what is under way and one attempt more.
    pub(crate) fn start(
        self,
        state: &AppState,
        stop: &CancellationToken,
        running: &mut JoinSet<&'static str>,
    ) {
        for Wanted { name, sink, .. } in self.sinks {
            let figures = state.metrics().deliveries.sink(&name);
            let outbox = self.outbox.outbox.clone();
            let relay = Relay::new(outbox, sink, self.clock.clone(), name, self.node.clone(), self.retry);
            running.spawn(deliver(relay, figures, self.clock.clone(), stop.clone()));
        }
        for (batches, feed, interval) in self.histories {
            let (state, stop) = (state.clone(), stop.clone());
            running.spawn(async move {
                let tracker = state.tracker().clone();
                let turn = batches.turn().clone();
                let copying = jobs::repeat(
                    "history",
                    Rhythm::Every(interval),
                    || tracker.now(),
                    stop.clone(),
                    || {
                        let (state, batches, stop) = (state.clone(), batches.clone(), stop.clone());
                        async move {
                            let run = jobs::send_history(&state, &batches, feed);
                            stop.run_until_cancelled(run).await.unwrap_or(Ok(0))
                        }
                    },
                );
                keep_turn(&turn, copying).await;
                "history"
            });
        }
        for Syncing { sync, turn, call } in self.syncs {
            running.spawn(synchronise(state.clone(), sync, turn, call, self.interval, stop.clone()));
        }
    }
}

/// Relays to one sink until `stop`, and then once more.
async fn deliver(
    relay: Relay,
    figures: Arc<SinkFigures>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> &'static str {
    let delivering = async {
        loop {
            let is_last = stop.is_cancelled();
            let step = kept(|| async { relay.renew().await.map(|()| true) }, relay.step(random())).await;
            tell(&relay, &figures, &step);
            let pause = match step {
                Ok(Step::Delivered { .. }) => continue,
                _ if is_last => return,
                // Never at once, even where CALLBACK_RETRY_DELAY_SECONDS is 0.
                Ok(Step::Failed { until, .. }) => until.since(clock.now()).max(IDLE),
                Ok(Step::Gone) => Duration::MAX,
                // What rests may be some keys alone.
                Ok(Step::Idle | Step::Resting(_)) => IDLE,
                _ => PAUSE,
            };
            stop.run_until_cancelled(sleep(pause)).await;
        }
    };
    let late = async {
        stop.cancelled().await;
        sleep(GRACE).await;
    };
    tokio::select! {
        () = delivering => {}
        () = late => tracing::warn!(sink = %relay.name(), "a delivery was not over in time; it is repeated"),
    }
    let release = timeout(PAUSE, relay.release());
    if !matches!(release.await, Ok(Ok(()))) {
        tracing::warn!(sink = %relay.name(), "the sink was not given up; its claim ends by itself");
    }
    "relay"
}

/// Says what is new about a sink.
fn tell(relay: &Relay, figures: &SinkFigures, step: &Result<Step, StoreError>) {
    let sink = relay.name();
    match step {
        Ok(Step::Gone) => {
            if !figures.is_gone.swap(true, Relaxed) {
                tracing::warn!(%sink, "the sink wants nothing any more; it is asked again after a restart");
            }
        }
        Ok(Step::Failed { .. }) => {
            if !figures.is_resting.swap(true, Relaxed) {
                tracing::warn!(%sink, "the sink does not accept what it is sent; it is tried again and again");
            }
        }
        Ok(Step::Delivered { accepted, refused }) => {
            if *refused > 0 {
                tracing::warn!(%sink, refused, "the sink refused events for good; they are kept as dead letters");
            }
            if *accepted > 0 && figures.is_resting.swap(false, Relaxed) {
                tracing::info!(%sink, "the sink accepts again");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%sink, %error, "the store failed"),
    }
}

/// Sends the state of all rooms whenever it is time or somebody calls for it, until `stop`.
async fn synchronise(
    state: AppState,
    sync: Arc<RoomSync>,
    turn: Turn,
    call: Arc<Notify>,
    every: Option<Duration>,
    stop: CancellationToken,
) -> &'static str {
    let mut clock = every.map(interval);
    if let Some(clock) = &mut clock {
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let syncing = async {
        loop {
            let tick = async {
                match &mut clock {
                    Some(clock) => drop(clock.tick().await),
                    None => std::future::pending().await,
                }
            };
            let is_called = tokio::select! {
                () = call.notified() => true,
                () = tick => false,
            };
            let synced = async {
                // Who is asked does it; by the clock one node does.
                if is_called || turn.take().await? {
                    return jobs::sync_rooms(&state, &sync).await;
                }
                Ok(0)
            };
            match synced.await {
                Ok(rooms) => tracing::debug!(callback = sync.name(), rooms, "synced"),
                Err(error) => tracing::error!(callback = sync.name(), %error, "the sync failed"),
            }
        }
    };
    stop.run_until_cancelled(keep_turn(&turn, syncing)).await;
    release(&turn).await;
    "sync"
}

/// Does `work` while it keeps a turn, or takes it where nobody else has it.
async fn keep_turn(turn: &Turn, work: impl Future<Output = ()>) {
    kept(|| turn.take(), work).await;
    release(turn).await;
}

async fn release(turn: &Turn) {
    // It ends by itself where the store does not answer.
    let _ = timeout(PAUSE, turn.release()).await;
}

/// Does `work`, and claims again from time to time.
async fn kept<T, F>(claim: impl Fn() -> F, work: impl Future<Output = T>) -> T
where
    F: Future<Output = Result<bool, StoreError>>,
{
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = sleep(RENEWAL) => {
                if let Err(error) = claim().await {
                    tracing::warn!(%error, "a claim is not renewed");
                }
            }
        }
    }
}

/// A number that is another one each time.
fn random() -> u32 {
    let mut random = [0; 4];
    // Where there is no randomness, TLS has failed before.
    let _ = rand::fill(&mut random);
    u32::from_be_bytes(random)
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").field("targets", &self.targets).finish_non_exhaustive()
    }
}
