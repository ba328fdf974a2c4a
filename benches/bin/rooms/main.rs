//! The goals of rooms: what a member costs, what is left of those who came and went, how long a crowd takes to come back,
//! and how fast everybody hears what is said, beside Socket.IO, `ws` and socketioxide.
//!
//! `make bench` builds the programs and prints the table. The server runs on core 0 and the members, with `taskset -c 1`,
//! on core 1: where they share one, it is the members that are measured. For the
//! last part, `npm ci --prefix benches/beside_node` first. 10,000 members need as many descriptors on both sides:
//! `ulimit -n 11000`.

mod crowds;
mod fan_out;

use std::{fs, io, net::SocketAddr, time::Instant};

use clap::{Parser, ValueEnum};
use presence_benches::{server::ask, table};
use tokio::runtime::{Builder, Runtime};

/// As many descriptors as the largest crowd needs.
const DESCRIPTORS: u64 = 11_000;

/// The goals of rooms as one table.
#[derive(Debug, Parser)]
#[command(name = "rooms")]
struct Options {
    /// Only these parts; all, where none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    Idle,
    Churn,
    Return,
    FanOut,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if descriptors()? < DESCRIPTORS {
        return Err(io::Error::other(format!("too few descriptors: `ulimit -n {DESCRIPTORS}` first")));
    }
    table::head();
    for part in Part::value_variants() {
        if !options.parts.is_empty() && !options.parts.contains(part) {
            continue;
        }
        match part {
            Part::Idle => crowds::idle()?,
            Part::Churn => crowds::churn()?,
            Part::Return => crowds::come_back()?,
            Part::FanOut => fan_out::run()?,
        }
    }
    Ok(())
}

/// How many this process may have open, and those that it starts.
fn descriptors() -> io::Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).ok_or_else(|| io::Error::other("no limit of descriptors"))
}

/// Members have one thread, so that they fit on a core.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Makes a room with an administrator, and gives its id.
fn room(address: SocketAddr, admin: &str) -> io::Result<String> {
    let body = format!(r#"{{"room_name":"Bench","admin_user_ids":["{admin}"]}}"#);
    let answer = ask(address, "POST /management/rooms", &body)?;
    let made: serde_json::Value = serde_json::from_str(&answer)?;
    made["room_id"].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(answer))
}
