//! Ingests the same events from many threads, each in an order of its own, and prints a line for each batch that was
//! acknowledged: to be killed, and looked at from outside.
//!
//! ```text
//! ingest PATH THREADS EVENTS
//! ```

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use futures_executor::block_on;
use presence_core::{
    Activity, ActivityPolicy, ClientEvent, EventId, EventName, EventProperties, InstallId, ManualClock,
    Rejection, Timestamp, UserId,
};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many events a batch has.
const BATCH: u64 = 1000;

/// The event of this number, as plain values: install, user, seconds since the beginning, province.
///
/// A fifth of the installs never have a user; the others have two at times. The days are seven.
pub(crate) fn plain(number: u64) -> (u64, Option<u64>, u64, Option<u64>) {
    let mixed =
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let install = mixed % 9973;
    let user = (!install.is_multiple_of(5) && mixed >> 20 & 3 != 0)
        .then_some(install * 2 / 3 + (mixed >> 22 & 15 & mixed >> 26));
    (install, user, (mixed >> 32) % (7 * 86_400), Some(mixed >> 8 & 63).filter(|province| *province < 32))
}

/// The beginning of the first day: 2025-01-01.
pub(crate) fn beginning() -> Result<Timestamp, Rejection> {
    Timestamp::from_secs(1_735_689_600)
}

pub(crate) fn event(number: u64) -> Result<ClientEvent, Rejection> {
    let (install, user, secs, province) = plain(number);
    let install = InstallId::new(format!("install-{install}"))?;
    let mut event = ClientEvent::new(EventName::new("app_session_start")?, install)
        .at(beginning()?.saturating_add(Duration::from_secs(secs)))
        .with_event_id(EventId::new(format!("{number:08}"))?);
    if let Some(user) = user {
        event = event.by(UserId::new(format!("user-{user}"))?);
    }
    if let Some(province) = province {
        event =
            event.with_properties(EventProperties::parse(&format!(r#"{{"province":"P{province:02}"}}"#))?);
    }
    Ok(event)
}

/// Ingests all events from each of some threads; `told` hears of every batch that is stored.
pub(crate) fn ingest(
    activity: &Activity,
    threads: u64,
    events: u64,
    told: impl Fn(u64) -> io::Result<()> + Clone + Send + 'static,
) -> Result<(), Failure> {
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let (activity, told) = (activity.clone(), told.clone());
            // Prime to the number of events, so that each order has them all.
            let stride = [1, 7, 11, 13, 17, 19, 23, 29][thread as usize % 8];
            thread::spawn(move || -> Result<(), Failure> {
                let numbers: Vec<_> =
                    (0..events).map(|n| (n * stride + thread * events / 8) % events).collect();
                for batch in numbers.chunks(BATCH as usize) {
                    let batch: Result<_, _> = batch.iter().map(|number| event(*number)).collect();
                    for verdict in block_on(activity.ingest(batch?))? {
                        verdict?;
                    }
                    told(thread)?;
                }
                Ok(())
            })
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
}

/// Active users on a store, in the month after the events.
pub(crate) fn activity(store: Arc<SqliteStore>) -> Result<Activity, Rejection> {
    let clock = ManualClock::new(beginning()?.saturating_add(Duration::from_secs(30 * 86_400)));
    let policy = ActivityPolicy { late_window: None, ..ActivityPolicy::default() };
    Ok(Activity::with_policy(store, clock, policy))
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let [path, threads, events] = arguments else { return Err("ingest PATH THREADS EVENTS".into()) };
    let store = block_on(SqliteStore::open_with(SqliteConfig::new(path).durability(Durability::Process)))?;
    // One system call a line, so that a kill cuts none.
    let told = |thread: u64| io::stdout().lock().write_all(format!("{thread}\n").as_bytes());
    ingest(&activity(Arc::new(store))?, threads.parse()?, events.parse()?, told)
}
