//! Replays a trace of joins, messages and leaves through the tracker, and prints who did what for how long.
//!
//! ```text
//! cargo run --release --example trace_replay -- examples/data/ubuntu-2005-06-27.ndjson --timeout 900 --store presence.db
//! ```
//!
//! A join is a checkpoint Online, a message a heartbeat, a leave a checkpoint Offline. The clock follows the trace, so
//! the answers are as of its last event. Every event has an id, so replaying into the same file again changes nothing.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use presence_core::{
    CheckpointQuery, CheckpointStore, Clock, Envelope, EventId, ManualClock, MemoryStore, Policy, StateType,
    Status, Timestamp, Tracker, UserId, Window,
};
use presence_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};

/// Replays a trace of joins, messages and leaves, and prints who did what for how long.
#[derive(Parser)]
struct Args {
    /// The trace: one JSON event a line; a line stamped before the one above it is taken as late.
    file: PathBuf,
    /// Silence in seconds after which a user is Offline; 0 is never.
    #[arg(long, value_name = "SECS")]
    timeout: u64,
    /// The SQLite file to record into; in memory without it.
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// Print one line of JSON a user, and nothing else.
    #[arg(long)]
    json: bool,
    /// How many users the table shows.
    #[arg(long, value_name = "USERS", default_value_t = 20)]
    top: usize,
}

/// One line of a trace.
#[derive(Deserialize)]
struct Event {
    at: String,
    user: String,
    kind: Kind,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Join,
    Message,
    Leave,
}

type Failure = Box<dyn std::error::Error>;

/// The trace as envelopes, and the span of time that it covers.
struct Trace {
    envelopes: Vec<(Timestamp, Envelope)>,
    users: Vec<UserId>,
    span: Window,
}

impl Trace {
    fn read(path: &PathBuf) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut envelopes = Vec::new();
        let mut users = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let (at, envelope) = event(line, number).map_err(|error| format!("line {number}: {error}"))?;
            users.insert(envelope.user().clone(), ());
            envelopes.push((at, envelope));
        }
        let first = envelopes.iter().map(|(at, _)| *at).min().ok_or("the trace has no events")?;
        let last = envelopes.iter().map(|(at, _)| *at).max().ok_or("the trace has no events")?;
        Ok(Self { envelopes, users: users.into_keys().collect(), span: Window::new(first, last)? })
    }
}

fn event(line: &str, number: usize) -> Result<(Timestamp, Envelope), Failure> {
    let Event { at, user, kind } = serde_json::from_str(line)?;
    let at = Timestamp::from_datetime(at.parse()?)?;
    let user = UserId::new(user)?;
    let envelope = match kind {
        Kind::Join => Envelope::checkpoint(user, StateType::Online),
        Kind::Message => Envelope::heartbeat(user),
        Kind::Leave => Envelope::checkpoint(user, StateType::Offline),
    };
    Ok((at, envelope.at(at).with_event_id(EventId::new(format!("line-{number}"))?)))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let trace = Trace::read(&args.file)?;
    match &args.store {
        Some(path) => {
            let store = Arc::new(SqliteStore::open(path).await?);
            replay(&args, &trace, store.clone()).await?;
            store.close().await;
            Ok(())
        }
        None => replay(&args, &trace, Arc::new(MemoryStore::new())).await,
    }
}

async fn replay<S>(args: &Args, trace: &Trace, store: Arc<S>) -> Result<(), Failure>
where
    S: CheckpointQuery + CheckpointStore + 'static,
{
    let timeout = Some(Duration::from_secs(args.timeout)).filter(|timeout| !timeout.is_zero());
    let clock = Arc::new(ManualClock::new(trace.span.from()));
    let policy = Policy { heartbeat_timeout: timeout, ..Policy::default() };
    let tracker = Tracker::with_policy(store, clock.clone(), policy);
    record(&tracker, &clock, trace).await?;

    let mut lives = Vec::new();
    for user in &trace.users {
        let status = tracker.status(user, Window::all()).await?.ok_or("a user of the trace is not known")?;
        let online = online(&tracker, user, trace.span).await?;
        lives.push(Life { status, online, offline_rows: offline_rows(&tracker, user).await? });
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        for life in &lives {
            writeln!(out, "{}", serde_json::to_string(&life.line())?)?;
        }
        return Ok(());
    }
    print_table(&mut out, &lives, trace.span, args.top)?;
    print_hours(&mut out, &lives, trace.span)?;
    if let Some(path) = &args.store {
        writeln!(out, "\nrecorded in {}: sqlite3 {0} 'SELECT * FROM user_sessions LIMIT 5'", path.display())?;
    }
    Ok(())
}

/// Records the events minute by minute, as a server would, and sweeps after each.
async fn record(tracker: &Tracker, clock: &ManualClock, trace: &Trace) -> Result<(), Failure> {
    let mut done = 0;
    for minute in trace.envelopes.chunk_by(|a, b| a.0.as_secs() / 60 == b.0.as_secs() / 60) {
        // What comes late does not take the clock back.
        let latest = minute.iter().map(|(at, _)| *at).max().ok_or("an empty minute")?;
        clock.set(latest.max(clock.now()));
        for verdict in
            tracker.record_many(minute.iter().map(|(_, envelope)| envelope.clone()).collect()).await?
        {
            verdict?;
        }
        while tracker.sweep(1_000).await?.more {}
        done += minute.len();
        progress(done, trace.envelopes.len(), clock.now());
    }
    Ok(())
}

/// A bar on the terminal, nothing elsewhere.
fn progress(done: usize, all: usize, now: Timestamp) {
    if std::io::stderr().is_terminal() {
        let filled = done * 40 / all;
        let end = if done == all { "\n" } else { "" };
        eprint!("\r{}{} {done}/{all} events, {now}{end}", "#".repeat(filled), ".".repeat(40 - filled));
    }
}

/// What `--json` prints about one user.
#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    durations_ms: BTreeMap<&'a str, u128>,
    offline_rows: usize,
}

/// What the trace says about one user.
struct Life {
    status: Status,
    /// The share of each slice of the trace that the user was not Offline, in percent.
    online: Vec<u64>,
    offline_rows: usize,
}

impl Life {
    fn line(&self) -> Line<'_> {
        let parts = self.status.durations.iter();
        let durations_ms = parts.map(|part| (part.state.as_str(), part.duration.as_millis())).collect();
        Line { user: self.status.user.as_str(), durations_ms, offline_rows: self.offline_rows }
    }

    fn time_in(&self, state: &StateType) -> Duration {
        let part = self.status.durations.iter().find(|part| part.state == *state);
        part.map_or(Duration::ZERO, |part| part.duration)
    }
}

/// How many slices the picture of a trace has.
const SLICES: u32 = 38;

fn slices(span: Window) -> impl Iterator<Item = Window> {
    let length = span.length() / SLICES;
    let edge = move |number: u32| span.from().saturating_add(length.saturating_mul(number));
    (0..SLICES).filter_map(move |number| Window::new(edge(number), edge(number + 1)).ok())
}

async fn online(tracker: &Tracker, user: &UserId, span: Window) -> Result<Vec<u64>, Failure> {
    let mut shares = Vec::new();
    for slice in slices(span) {
        let status = tracker.status(user, slice).await?.ok_or("a user of the trace is not known")?;
        let live = status.durations.iter().filter(|part| part.state.is_live());
        let live: Duration = live.map(|part| part.duration).sum();
        shares.push((live.as_millis() * 100 / slice.length().as_millis().max(1)) as u64);
    }
    Ok(shares)
}

async fn offline_rows(tracker: &Tracker, user: &UserId) -> Result<usize, Failure> {
    let (mut rows, mut after) = (0, None);
    loop {
        let page = tracker.history(user, Window::all(), after, 1000).await?;
        rows += page.items.iter().filter(|row| row.state == StateType::Offline).count();
        after = page.next;
        if after.is_none() {
            return Ok(rows);
        }
    }
}

fn print_table(out: &mut impl Write, lives: &[Life], span: Window, top: usize) -> std::io::Result<()> {
    let mut order: Vec<_> = lives.iter().collect();
    order.sort_by_key(|life| (std::cmp::Reverse(life.time_in(&StateType::Online)), life.status.user.clone()));
    let (from, to) = (clock_time(span.from()), clock_time(span.to()));
    let width = SLICES as usize - 10;
    writeln!(out, "user      online   offline    gone  now      {from}{:width$}{to}", "")?;
    for life in order.iter().take(top) {
        let picture: String = life.online.iter().map(|share| shade(*share)).collect();
        let (online, offline) = (life.time_in(&StateType::Online), life.time_in(&StateType::Offline));
        let (user, state) = (life.status.user.to_string(), life.status.current_state.to_string());
        let (online, offline) = (hours(online), hours(offline));
        writeln!(out, "{user:8} {online:>7}  {offline:>8}  {:>6}  {state:7}  {picture}", life.offline_rows)?;
    }
    let rest = order.len().saturating_sub(top);
    if rest > 0 {
        writeln!(out, "and {rest} more")?;
    }
    Ok(())
}

/// How many were online, slice by slice, as of the trace's last event.
fn print_hours(out: &mut impl Write, lives: &[Life], span: Window) -> std::io::Result<()> {
    const HEIGHT: u64 = 8;
    let online = |slice: usize| {
        lives.iter().map(|life| life.online.get(slice).copied().unwrap_or(0)).sum::<u64>() / 100
    };
    let counts: Vec<_> = (0..SLICES as usize).map(online).collect();
    let peak = counts.iter().copied().max().unwrap_or(0).max(1);
    writeln!(out, "\nonline")?;
    for level in (1..=HEIGHT).rev() {
        let bars: String =
            counts.iter().map(|count| if count * HEIGHT >= level * peak { '█' } else { ' ' }).collect();
        writeln!(out, "{:>4} |{}", peak * level / HEIGHT, bars.trim_end())?;
    }
    let width = SLICES as usize - 10;
    writeln!(out, "     +{}", "-".repeat(SLICES as usize))?;
    writeln!(out, "      {}{:width$}{}", clock_time(span.from()), "", clock_time(span.to()))?;

    let total = |state| lives.iter().map(|life: &Life| life.time_in(state)).sum::<Duration>();
    let (online, offline) = (hours(total(&StateType::Online)), hours(total(&StateType::Offline)));
    let rows: usize = lives.iter().map(|life| life.offline_rows).sum();
    writeln!(out, "\n{} users: online {online}, offline {offline}, {rows} times gone", lives.len())
}

fn shade(percent: u64) -> char {
    match percent {
        0 => '·',
        1..=33 => '░',
        34..=66 => '▒',
        67..=99 => '▓',
        _ => '█',
    }
}

fn clock_time(at: Timestamp) -> String {
    at.to_datetime().format("%H:%M").to_string()
}

fn hours(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    format!("{}h{:02}m", minutes / 60, minutes % 60)
}
