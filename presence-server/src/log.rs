//! What the process writes to its log, and what never reaches it.

use std::{panic::PanicHookInfo, thread};

use tracing_subscriber::{EnvFilter, filter::Directive};

use crate::{config::Config, metrics::access};

/// What is logged: `RUST_LOG`, or else everything from `level` on; without the line per request where `config` says so.
#[must_use]
pub fn filter(config: &Config, level: &str) -> EnvFilter {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let without = || format!("{}=off", access::TARGET).parse::<Directive>().ok();
    match without().filter(|_| !config.access_log()) {
        Some(without) => filter.add_directive(without),
        None => filter,
    }
}

/// Logs where a thread panicked: to be installed as the hook of the process. The hook that Rust installs prints the
/// payload to the standard error as well, and a payload may quote what a client sent.
///
/// ```
/// std::panic::set_hook(Box::new(presence_server::log::panic));
/// ```
pub fn panic(info: &PanicHookInfo<'_>) {
    let (file, line) = info.location().map_or(("", 0), |location| (location.file(), location.line()));
    let thread = thread::current();
    tracing::error!(panic.file = file, panic.line = line, panic.thread = thread.name(), "a thread panicked");
}
