//! Replays a trace of joins, messages and leaves, and prints who did what for how long, and how many they were.
//!
//! ```text
//! cargo run --release --example trace_replay -- examples/data/ubuntu-2005-06-27.ndjson --timeout 900 --store presence.db
//! ```
//!
//! A join is a checkpoint Online, a message a heartbeat, a leave a checkpoint Offline; who joins or says something is
//! active that day, and online for as long as the timeout is (180 s at least). The clock follows the trace, so
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
    Activity, ActivityPolicy, ActivityQuery, ActivityStore, CheckpointQuery, CheckpointStore, Clock,
    ManualClock, MemoryStore, Policy, SnapshotStore, TimeWindow, Timestamp, Tracker,
};
use presence_server::demo::{self, Crowd, Event, Life, Lives, Trace};
use presence_sqlite::SqliteStore;
use serde::Serialize;

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

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", args.file.display());
    let text = std::fs::read_to_string(&args.file).map_err(|error| named(&error))?;
    let trace = Trace::parse(&text).map_err(|error| named(&error))?;
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
    S: ActivityQuery + ActivityStore + CheckpointQuery + CheckpointStore + SnapshotStore + 'static,
{
    let timeout = Some(Duration::from_secs(args.timeout)).filter(|timeout| !timeout.is_zero());
    let clock = Arc::new(ManualClock::new(trace.span().from()));
    let policy = Policy { heartbeat_timeout: timeout, ..Policy::default() };
    let tracker = Tracker::with_policy(store.clone(), clock.clone(), policy);
    record(&tracker, &clock, trace).await?;
    // It is told long after it happened, so nothing is too late.
    let policy = ActivityPolicy { late_window: None, ..ActivityPolicy::default() };
    let activity = Activity::with_policy(store, clock, policy);
    let window = i64::try_from(args.timeout)?.clamp(180, 86_400);
    demo::fill(&activity, trace, TimeWindow::from_secs(window)?).await?;

    let lives = Lives::of(&tracker, trace).await?;
    let crowd = Crowd::of(&activity, trace).await?;
    // Nothing is awaited with the lock held.
    let mut out = std::io::stdout().lock();
    if args.json {
        for life in lives.iter() {
            writeln!(out, "{}", serde_json::to_string(&line(life))?)?;
        }
        return Ok(());
    }
    writeln!(out, "{}\n{}", lives.table(args.top), lives.hours())?;
    writeln!(out, "{}\n{}", crowd.days(), crowd.hours().trim_end())?;
    if let Some(path) = &args.store {
        writeln!(out, "\nrecorded in {}: sqlite3 {0} 'SELECT * FROM user_sessions LIMIT 5'", path.display())?;
    }
    Ok(())
}

/// Records the events minute by minute, as a server would, and sweeps after each.
async fn record(tracker: &Tracker, clock: &ManualClock, trace: &Trace) -> Result<(), Failure> {
    let mut done = 0;
    for minute in trace.minutes() {
        // What comes late does not take the clock back.
        let latest = minute.iter().map(|event| event.at).max().ok_or("an empty minute")?;
        clock.set(latest.max(clock.now()));
        for verdict in tracker.record_many(minute.iter().map(Event::envelope).collect()).await? {
            verdict?;
        }
        while tracker.sweep(1_000).await?.more {}
        done += minute.len();
        progress(done, trace.events().len(), clock.now());
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

fn line(life: &Life) -> Line<'_> {
    let parts = life.status().durations.iter();
    let durations_ms = parts.map(|part| (part.state.as_str(), part.duration.as_millis())).collect();
    Line { user: life.status().user.as_str(), durations_ms, offline_rows: life.times_gone() }
}
