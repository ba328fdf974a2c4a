//! The goals over HTTP: the real server and what it is held against in turn, the server on one core and the load on
//! another, the median of five pairs.
//!
//! `make bench` builds the programs and prints the table. Linux only: it needs `taskset` and `/proc`. Machines are
//! shared and noisy: the ratio is what counts, and of the ratios that of the processor time moves least.

use std::{
    io::{self, Write},
    process::Command,
    thread,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use presence_benches::{
    load::{Kind, Plan, once, whole},
    process,
    server::{Program, Server, beside, on_core},
    table::{self, median},
};

const PAIRS: usize = 5;
/// How long each side of a pair runs.
const TIME: Duration = Duration::from_secs(3);
const MILLION: u64 = 1_000_000;

/// What ActivityWatch's Rust server took of 16 clients, in heartbeats per second: measured once, before this bench was
/// written, on a virtual machine of two cores (AMD EPYC; aw-server-rust 0.14 on SQLite). Quoted: this bench does not run it.
const ACTIVITY_WATCH: f64 = 27_000.0;

/// The goals over HTTP as one table: the server and what it is held against in turn.
#[derive(Debug, Parser)]
#[command(name = "http")]
struct Options {
    /// The core of the server, and of what it is held against.
    #[arg(long, default_value = "0")]
    server_core: String,
    /// The core of the load.
    #[arg(long, default_value = "1")]
    load_core: String,
    /// Only these parts; all, where none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    Heartbeat,
    Batches,
    Checkpoints,
    ActivityWatch,
    Memory,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    // Threads that come later are bound like this one.
    let own = std::process::id().to_string();
    let bound = Command::new("taskset").args(["-cp", &options.load_core, &own]).output()?;
    if !bound.status.success() {
        return Err(io::Error::other(format!("there is no core {}", options.load_core)));
    }
    let bench = Bench { core: options.server_core };
    table::head();
    for part in Part::value_variants() {
        if !options.parts.is_empty() && !options.parts.contains(part) {
            continue;
        }
        match part {
            Part::Heartbeat => bench.heartbeat()?,
            Part::Batches => bench.batches()?,
            Part::Checkpoints => bench.checkpoints()?,
            Part::ActivityWatch => bench.activity_watch()?,
            Part::Memory => bench.memory()?,
        }
    }
    Ok(())
}

/// Says what goes on, on standard error.
fn progress(text: &str) {
    eprint!("\r{text:100}\r");
    // Progress that cannot be shown is no reason to end.
    let _ = io::stderr().flush();
}

/// What one side of a pair came to.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Heartbeats or reports per second.
    rate: f64,
    /// Processor time of the server for each, in microseconds.
    cpu: f64,
    /// Half of the answers took no longer, in microseconds.
    p50: f64,
    /// All but a hundredth of the answers took no longer, in microseconds.
    p99: f64,
}

struct Bench {
    core: String,
}

/// Figures of pairs: ours, and the other's.
struct Pairs(Vec<(Figures, Figures)>);

impl Pairs {
    fn medians(&self, figure: impl Fn(&Figures) -> f64) -> (f64, f64, f64) {
        let of = |pick: fn(&(Figures, Figures)) -> &Figures| {
            median(self.0.iter().map(|pair| figure(pick(pair))).collect())
        };
        let ratio = median(self.0.iter().map(|(ours, other)| figure(ours) / figure(other)).collect());
        (of(|pair| &pair.0), of(|pair| &pair.1), ratio)
    }

    fn print_rates(&self, name: &str, goal: &str) {
        let (ours, other, ratio) = self.medians(|figures| figures.rate);
        table::row(name, &per_second(ours), &per_second(other), &format!("{ratio:.2}"), goal);
    }

    fn print_cpu(&self, name: &str) {
        let (ours, other, ratio) = self.medians(|figures| figures.cpu);
        table::row(name, &format!("{ours:.2} us"), &format!("{other:.2} us"), &format!("{ratio:.2}"), "");
    }

    fn print_latency(&self, name: &str, figure: impl Fn(&Figures) -> f64) {
        let (ours, other, ratio) = self.medians(figure);
        table::row(name, &format!("{ours:.0} us"), &format!("{other:.0} us"), &format!("{ratio:.2}"), "");
    }
}

fn per_second(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.2} M/s", rate / 1e6) } else { format!("{rate:.0} /s") }
}

impl Bench {
    /// One heartbeat to a request, 32 clients.
    fn heartbeat(&self) -> io::Result<()> {
        let (ours, bare) = (self.start(Program::Memory)?, self.start(Program::Handlers)?);
        let plan = |server: &Server| plan(server, Kind::Heartbeat, 10_000, 32);
        once(&plan(&ours))?;
        let pairs = pairs("a heartbeat", || measure(&ours, &plan(&ours)), || measure(&bare, &plan(&bare)))?;
        pairs.print_rates("a heartbeat against a bare typed handler, 32 clients", ">= 0.75 (aim 0.9)");
        pairs.print_cpu("the same: processor time of the server");
        let due = |server: &Server| Plan { rate: Some(20_000.0), ..plan(server) };
        let pairs = self::pairs(
            "20,000 heartbeats per second",
            || measure(&ours, &due(&ours)),
            || measure(&bare, &due(&bare)),
        )?;
        pairs.print_latency("20,000 heartbeats per second, open loop: p50", |figures| figures.p50);
        pairs.print_latency("the same: p99", |figures| figures.p99);
        Ok(())
    }

    /// 1,000 heartbeats to a request, all of a million users in turn.
    fn batches(&self) -> io::Result<()> {
        for (name, anonymous, goal) in [
            ("1,000 heartbeats of users against parsing only", false, ">= 0.5"),
            ("1,000 heartbeats of installs against parsing only", true, ">= 0.5"),
        ] {
            let (ours, bare) = (self.start(Program::Memory)?, self.start(Program::Handlers)?);
            let plan = |server: &Server| {
                let mut plan = plan(server, Kind::Heartbeats, MILLION, 16);
                plan.workload.anonymous = anonymous;
                plan
            };
            progress(&format!("{name}: a million are made known"));
            once(&plan(&ours))?;
            let pairs = pairs(name, || measure(&ours, &plan(&ours)), || measure(&bare, &plan(&bare)))?;
            pairs.print_rates(name, goal);
            pairs.print_cpu("the same: processor time of the server for each");
        }
        Ok(())
    }

    /// Reports of 64 clients, durable in SQLite, against the tracker without HTTP on the same core.
    fn checkpoints(&self) -> io::Result<()> {
        let tracker = || {
            let mut command = on_core(&beside("against")?, &self.core);
            let output = command.args(["tracker", &TIME.as_secs_f64().to_string()]).output()?;
            let rate = String::from_utf8_lossy(&output.stdout).trim().parse();
            let rate = rate.map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr)))?;
            Ok(Figures { rate, cpu: f64::NAN, p50: f64::NAN, p99: f64::NAN })
        };
        let ours = || {
            let server = self.start(Program::Sqlite)?;
            measure(&server, &plan(&server, Kind::Checkpoint, 1280, 64))
        };
        let pairs = pairs("checkpoints", ours, tracker)?;
        pairs.print_rates("checkpoints, fsync: 64 clients against 64 tasks in process", ">= 0.6");
        Ok(())
    }

    fn activity_watch(&self) -> io::Result<()> {
        let server = self.start(Program::Sqlite)?;
        let plan = plan(&server, Kind::Heartbeat, 10_000, 16);
        once(&plan)?;
        let mut rates = Vec::new();
        for pair in 1..=PAIRS {
            progress(&format!("heartbeats of 16 clients: {pair} of {PAIRS}"));
            rates.push(measure(&server, &plan)?.rate);
        }
        let rate = median(rates);
        table::row(
            "heartbeats of 16 clients against ActivityWatch, as quoted",
            &per_second(rate),
            &per_second(ACTIVITY_WATCH),
            &format!("{:.2}", rate / ACTIVITY_WATCH),
            ">= 3",
        );
        Ok(())
    }

    /// What a million live users take, once nothing is left to write.
    fn memory(&self) -> io::Result<()> {
        let server = self.start(Program::Sqlite)?;
        progress("a million users come online");
        once(&plan(&server, Kind::Heartbeats, MILLION, 16))?;
        idle(&server);
        let resident = process::resident(server.pid()).map_or(f64::NAN, |bytes| bytes as f64);
        let mib = format!("{:.0} MiB", resident / 1_048_576.0);
        table::row("memory of an idle server with 1 M live users", &mib, "", "", "< 300 MiB");
        Ok(())
    }

    fn start(&self, program: Program) -> io::Result<Server> {
        Server::start(program, &self.core)
    }
}

/// Runs both sides in turn.
fn pairs(
    name: &str,
    mut ours: impl FnMut() -> io::Result<Figures>,
    mut other: impl FnMut() -> io::Result<Figures>,
) -> io::Result<Pairs> {
    let pairs = (1..=PAIRS).map(|pair| {
        progress(&format!("{name}: pair {pair} of {PAIRS}"));
        Ok((ours()?, other()?))
    });
    pairs.collect::<io::Result<_>>().map(Pairs)
}

fn plan(server: &Server, kind: Kind, users: u64, clients: u64) -> Plan {
    Plan::closed(server.address, kind, users, clients, TIME)
}

fn measure(server: &Server, plan: &Plan) -> io::Result<Figures> {
    let before = server.cpu();
    let tally = whole(plan)?;
    let cpu = (server.cpu() - before) * 1e6 / tally.items.max(1) as f64;
    let micros = |part| tally.latency.quantile(part).as_secs_f64() * 1e6;
    Ok(Figures { rate: tally.rate(), cpu, p50: micros(0.5), p99: micros(0.99) })
}

/// Waits until the server has done nothing for six seconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark waits for another process")]
fn idle(server: &Server) {
    let mut still = 0;
    while still < 6 {
        let before = server.cpu();
        thread::sleep(Duration::from_secs(1));
        still = if server.cpu() - before <= 0.02 { still + 1 } else { 0 };
    }
}
