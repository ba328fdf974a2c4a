//! What the server counts, and how it is read: one table of figures, and nothing that outlives the server value.
//!
//! Counters stand where things happen, and are plain atomics. Gauges are read when somebody asks. A request costs two
//! readings of the clock and a few additions; its route is looked up once per route, not per request.

pub(crate) mod access;
mod callbacks;
mod histogram;
mod jobs;
mod members;
mod observe;
mod process;
mod requests;
mod text;
mod tracking_outbox;

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use presence_core::{Logged, Rejection, SinkBooks, Taken, Timestamp};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text::encode},
    metrics::MetricType,
    registry::Registry,
};

use self::{callbacks::Deliveries, jobs::Jobs, members::Partings, requests::Requests, text::Text};
pub(crate) use self::{
    callbacks::{CallbackFigures, SinkFigures},
    jobs::Job,
    members::Parting,
    observe::{Endpoint, Observe, Seen},
    tracking_outbox::TrackingCounters,
};
use crate::{AppState, traffic::Count};

/// The media type of [`scrape`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What became of heartbeats.
const HEARTBEATS: [&str; 4] = ["kept", "counted", "committed", "refused"];
/// What became of events.
const EVENTS: [&str; 4] = ["counted", "uncounted", "repeated", "refused"];
/// What became of reports.
const CHECKPOINTS: [&str; 2] = ["stored", "unchanged"];

/// The counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) jobs: Jobs,
    pub(crate) deliveries: Deliveries,
    pub(crate) partings: Partings,
    heartbeats: [Count; HEARTBEATS.len()],
    checkpoints: [Count; CHECKPOINTS.len()],
    events: [Count; EVENTS.len()],
    requests: Requests,
    in_flight: AtomicUsize,
}

impl Metrics {
    /// Counts what became of heartbeats.
    pub(crate) fn heartbeats<'a>(
        &self,
        verdicts: impl IntoIterator<Item = Result<&'a Taken, &'a Rejection>>,
    ) {
        let mut counts = [0; HEARTBEATS.len()];
        for verdict in verdicts {
            let [kept, counted, committed, refused] = &mut counts;
            *match verdict {
                Ok(Taken::Kept { .. }) => kept,
                Ok(Taken::Counted) => counted,
                Ok(Taken::Committed(_)) => committed,
                Err(_) => refused,
            } += 1;
        }
        self.heartbeats
            .iter()
            .zip(counts)
            .filter(|(_, more)| *more > 0)
            .for_each(|(count, more)| count.add(more));
    }

    /// Counts what became of events, and those that did not get so far as to have a verdict.
    pub(crate) fn events(&self, verdicts: &[Result<Logged, Rejection>], unread: usize) {
        let mut counts = [0, 0, 0, unread as u64];
        for verdict in verdicts {
            let [counted, uncounted, repeated, refused] = &mut counts;
            *match verdict {
                Ok(Logged { is_new: false, .. }) => repeated,
                Ok(Logged { is_counted: true, .. }) => counted,
                Ok(_) => uncounted,
                Err(_) => refused,
            } += 1;
        }
        self.events.iter().zip(counts).for_each(|(count, more)| count.add(more));
    }

    /// Counts a report that was committed.
    pub(crate) fn checkpoint(&self, created: bool) {
        let [stored, unchanged] = &self.checkpoints;
        if created { stored.add(1) } else { unchanged.add(1) }
    }
}

/// How many days at most are told as waiting to be counted.
const DAYS: usize = 100;

/// Everything there is to read, as text. What is asked of the store is left out where it does not answer.
pub(crate) async fn scrape(state: &AppState) -> String {
    let online = state.beats().online_count(state.tracker().policy().online_window).await.ok();
    let stale_days = state.activity().stale_days(DAYS).await.ok();
    let books = match state.outbox() {
        Some(outbox) => state.metrics().deliveries.books(outbox.books()).await,
        None => Some(Vec::new()),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures { state: state.clone(), online, stale_days, books }));
    let mut text = String::with_capacity(16 * 1024);
    // Writing to text does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// Every metric on one screen.
#[derive(Debug)]
struct Figures {
    state: AppState,
    online: Option<u64>,
    stale_days: Option<usize>,
    books: Option<Vec<SinkBooks>>,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { state, online, stale_days, books } = self;
        let (metrics, traffic) = (state.metrics(), state.traffic());
        let beats = state.beats();
        let encoder = &mut encoder;

        encoder
            .encode_descriptor("presence_build", "The version that runs.", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        encoder.instant("presence_start_time", "When the server began, since 1970.", state.begun())?;
        if let Some(bytes) = process::resident_memory() {
            encoder.gauge("process_resident_memory_bytes", "Memory that is in use.", bytes)?;
        }

        let durations = encoder.durations(
            "presence_http_request_duration",
            "From the end of a request's head to the head of its answer, by method, route and class of the status; \
             dropped where there was none.",
        )?;
        metrics.requests.encode(durations)?;
        encoder.gauge(
            "presence_http_in_flight_requests",
            "Requests whose answer has not begun, of those that MAX_IN_FLIGHT limits.",
            metrics.in_flight.load(Relaxed) as u64,
        )?;
        encoder.counters(
            "presence_problems",
            "Requests, and items of batches, that were answered with a problem, by its code.",
            traffic.problems().into_iter().map(|(code, count)| ([("code", code)], count)),
        )?;
        encoder.counter("presence_panics", "Requests whose handler panicked: bugs.", traffic.panics.get())?;

        let (rooms, members) = state.hub().counts();
        encoder.gauge("presence_rooms_open", "Rooms that are open here.", rooms as u64)?;
        encoder.gauge("presence_room_members", "Members of the rooms that are open here.", members)?;
        encoder.counters(
            "presence_room_partings",
            "Connections to rooms that ended, by how: the client was gone, was sent away by the room, was too slow to \
             read, silent when it was asked, broke the protocol or a limit, or its token ended.",
            metrics.partings.counts().map(|(how, count)| ([("how", how)], count)),
        )?;

        let open = traffic.accepted.get().saturating_sub(traffic.closed.get());
        encoder.gauge("presence_connections_open", "Connections that are open.", open)?;
        let accepted = "Connections that were taken.";
        encoder.counter("presence_connections_accepted", accepted, traffic.accepted.get())?;
        let refused = "Connections beyond MAX_CONNECTIONS.";
        encoder.counter("presence_connections_refused", refused, traffic.refused.get())?;
        let malformed =
            "Connections that were closed over what is no HTTP, or over a head beyond its limits.";
        encoder.counter("presence_connections_malformed", malformed, traffic.malformed.get())?;
        let timed_out = "Connections whose client took too long to send, to ask again, or to read.";
        encoder.counter("presence_connections_timed_out", timed_out, traffic.timed_out.get())?;
        let cut = "Connections that the end of the server cut before their answer was delivered.";
        encoder.counter("presence_connections_cut", cut, traffic.cut.get())?;

        if let Some(online) = *online {
            encoder.gauge("presence_online_users", "Members seen within ONLINE_WINDOW_SECONDS.", online)?;
        }
        let members = beats.live().count(Timestamp::MIN);
        encoder.gauge(
            "presence_live_members",
            "Members that are remembered, seen within a day or so.",
            members,
        )?;
        encoder.counters(
            "presence_heartbeats",
            "Heartbeats: kept in memory, counted for an install without user, committed, or refused.",
            HEARTBEATS
                .iter()
                .zip(&metrics.heartbeats)
                .map(|(name, count)| ([("outcome", *name)], count.get())),
        )?;
        encoder.counters(
            "presence_checkpoints",
            "Reports that were committed: stored as a row, or unchanged where one was in force.",
            CHECKPOINTS
                .iter()
                .zip(&metrics.checkpoints)
                .map(|(name, count)| ([("outcome", *name)], count.get())),
        )?;
        encoder.counters(
            "presence_events",
            "Events: stored and counted, stored only (uncounted), stored before (repeated), or refused.",
            EVENTS.iter().zip(&metrics.events).map(|(name, count)| ([("outcome", *name)], count.get())),
        )?;
        let pending = "Users whose heartbeats are in memory and wait for the next flush.";
        encoder.gauge("presence_pending_users", pending, beats.pending() as u64)?;
        let waiting = "Envelopes that wait for their turn to be written.";
        encoder.gauge("presence_waiting_envelopes", waiting, state.tracker().waiting() as u64)?;
        if let Some(days) = *stale_days {
            let waiting = "Days with events that their figures do not have yet, up to 100.";
            encoder.gauge("presence_stale_days", waiting, days as u64)?;
        }
        let folds = "Folds over weeks and months that are under way or wait for their turn.";
        encoder.gauge("presence_active_folds", folds, state.active_folds() as u64)?;
        metrics.jobs.encode(encoder)?;
        metrics.deliveries.encode(books.as_deref().unwrap_or_default(), encoder)?;
        if let Some(outbox) = state.tracking_outbox() {
            outbox.counters().encode(encoder)?;
        }

        let Some(work) = state.workload() else { return Ok(()) };
        let waiting = "Jobs that wait for the thread that writes.";
        encoder.gauge("presence_sqlite_waiting_jobs", waiting, work.waiting_jobs as u64)?;
        let waiting = "Queries that wait for a reader.";
        encoder.gauge("presence_sqlite_waiting_reads", waiting, work.waiting_reads as u64)?;
        let busy = "Readers at work.";
        encoder.gauge("presence_sqlite_busy_readers", busy, work.busy_readers as u64)?;
        encoder.counter("presence_sqlite_commits", "Transactions that were committed.", work.commits)?;
        let jobs = "Jobs in those transactions.";
        encoder.counter("presence_sqlite_committed_jobs", jobs, work.committed_jobs)?;
        let rows = "Rows that those jobs inserted, changed or deleted.";
        encoder.counter("presence_sqlite_committed_rows", rows, work.committed_rows)
    }
}
