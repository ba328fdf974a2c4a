//! Ingests the same events from many threads, each in an order of its own, and prints a line for each batch that was
//! acknowledged: to be killed, and looked at from outside.
//!
//! ```text
//! ingest PATH
//! ```

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    thread,
};

use futures_executor::block_on;
use presence_core::{Activity, conformance::crowd};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Ingests all events from each thread; `told` hears of every batch that is stored.
pub(crate) fn ingest(
    activity: &Activity,
    told: impl Fn(u64) -> io::Result<()> + Clone + Send + 'static,
) -> Result<(), Failure> {
    let threads: Vec<_> = (0..crowd::THREADS)
        .map(|thread| {
            let (activity, told) = (activity.clone(), told.clone());
            thread::spawn(move || -> Result<(), Failure> {
                for batch in crowd::batches(thread) {
                    for verdict in block_on(activity.ingest(batch))? {
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
    let [path] = arguments else { return Err("ingest PATH".into()) };
    let store = block_on(SqliteStore::open_with(SqliteConfig::new(path).durability(Durability::Process)))?;
    // One system call a line, so that a kill cuts none.
    let told = |thread: u64| io::stdout().lock().write_all(format!("{thread}\n").as_bytes());
    ingest(&crowd::activity(Arc::new(store)), told)
}
