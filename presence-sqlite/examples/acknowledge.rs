//! Writes checkpoints, and prints a line for each one that was acknowledged: to be killed, and looked at from outside.
//!
//! ```text
//! acknowledge PATH PREFIX WRITERS EACH fsync|process
//! ```
//!
//! Writer W records EACH checkpoints of the user PREFIX-W, one after the other, and prints "W NUMBER ID" after each.
//! Without an end (EACH is 0) it goes on until it is killed.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    thread,
};

use futures_executor::block_on;
use presence_core::{Content, Envelope, Policy, StateType, SystemClock, Tracker, UserId};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

type Failure = Box<dyn std::error::Error + Send + Sync>;

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
    let [path, prefix, writers, each, durability] = arguments else {
        return Err("acknowledge PATH PREFIX WRITERS EACH fsync|process".into());
    };
    let durability = if durability == "process" { Durability::Process } else { Durability::Fsync };
    let store = block_on(SqliteStore::open_with(SqliteConfig::new(path).durability(durability)))?;
    let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
    let tracker = Tracker::with_policy(Arc::new(store), SystemClock, policy);
    let each = each.parse().map(|each| if each == 0 { u64::MAX } else { each })?;
    let writers: Vec<_> = (0..writers.parse()?)
        .map(|writer: u64| {
            let (tracker, prefix) = (tracker.clone(), prefix.clone());
            thread::spawn(move || write(&tracker, &prefix, writer, each))
        })
        .collect();
    writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writer panicked")?)
}

fn write(tracker: &Tracker, prefix: &str, writer: u64, each: u64) -> Result<(), Failure> {
    let user = UserId::new(format!("{prefix}-{writer}"))?;
    for number in 0..each {
        let state = if number % 2 == 0 { StateType::Working } else { StateType::Idle };
        let content = Content::parse(&number.to_string())?;
        let report = Envelope::checkpoint(user.clone(), state).with_content(content);
        let row = block_on(tracker.record(report))?.checkpoint.ok_or("a report without a row")?;
        // One system call a line, so that a kill cuts none.
        io::stdout().lock().write_all(format!("{writer} {number} {}\n", row.id).as_bytes())?;
    }
    Ok(())
}
