//! Load on a running server: see `--help`.

use std::{io, net::ToSocketAddrs, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use presence_benches::{
    load::{End, Kind, Plan, Tally, Workload, run},
    process,
};

/// Asks a running presence server as fast as it answers, or at a fixed rate, and prints one table.
///
/// Without --rate it is a closed loop: each client asks again when it was answered, and the figures are those of a
/// server at its limit. With --rate it is an open loop: requests are due at that rate whether or not the server keeps
/// up, and the latency counts from when a request was due; the thread that does this keeps a core busy.
///
/// What is asked is rendered before the clock runs, and stamped with the second in which it is sent. Users have ids of
/// 36 bytes and take turns. Everything is written into the server that is asked: use one that may be filled.
///
/// Exit codes: 0 done, 1 a connection failed or an answer was no success, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "load", verbatim_doc_comment)]
struct Options {
    /// The server, with a path where it is mounted on one; http only.
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    url: String,
    /// What each request does.
    #[arg(long, value_enum, default_value = "heartbeat")]
    mode: Mode,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    clients: u64,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
    /// Each request once, however long it takes; not with --rate.
    #[arg(long, conflicts_with_all = ["secs", "rate"])]
    once: bool,
    /// Requests per second that are due; without it, as many as are answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Users that take turns.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Heartbeats or events of one request in the modes heartbeats and events; the server takes at most 1000.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Heartbeats of installs whose user is not known, in the modes heartbeat and heartbeats.
    #[arg(long)]
    anonymous: bool,
    /// A header line of each request, as in "Authorization: Bearer TOKEN"; may be repeated.
    #[arg(long)]
    header: Vec<String>,
    /// Threads that share the clients.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    threads: u64,
    /// The server's process, where it runs on this machine: what a request costs it is printed too.
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// POST /api/v1/presence/heartbeat
    Heartbeat,
    /// POST /api/v1/presence/heartbeats, a batch
    Heartbeats,
    /// POST /users/{user_id}/heartbeat
    UserHeartbeat,
    /// POST /users/{user_id}/checkpoints, each with a new state
    Checkpoint,
    /// GET /api/v1/presence/online-count
    OnlineCount,
    /// GET /users/{user_id}/status
    Status,
    /// POST /api/v1/analytics/events, a batch of events of today; there are --users of them
    Events,
    /// GET /api/v1/analytics/dau
    DailyActiveUsers,
}

impl From<Mode> for Kind {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Heartbeat => Self::Heartbeat,
            Mode::Heartbeats => Self::Heartbeats,
            Mode::UserHeartbeat => Self::UserHeartbeat,
            Mode::Checkpoint => Self::Checkpoint,
            Mode::OnlineCount => Self::OnlineCount,
            Mode::Status => Self::Status,
            Mode::Events => Self::Events,
            Mode::DailyActiveUsers => Self::DailyActiveUsers,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let pid = options.pid;
    let (before, tally) = (pid.and_then(process::cpu), plan(options).and_then(|plan| run(&plan)));
    let after = pid.and_then(process::cpu);
    match tally {
        Ok(tally) => {
            print(&tally, before.zip(after).map(|(before, after)| after.saturating_sub(before)));
            if tally.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(options: Options) -> io::Result<Plan> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
    let rest = options.url.strip_prefix("http://").ok_or_else(|| invalid("a URL begins with http://"))?;
    let (host, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let address = with_port.to_socket_addrs()?.next().ok_or_else(|| invalid("the host has no address"))?;
    let is_positive = |number: f64| number.is_finite() && number > 0.0;
    if !is_positive(options.secs) || !options.rate.is_none_or(is_positive) {
        return Err(invalid("seconds and rates are above 0"));
    }
    let end =
        if options.once { End::Once } else { End::After(Duration::from_secs_f64(options.secs.min(1e6))) };
    Ok(Plan {
        address,
        workload: Workload {
            kind: options.mode.into(),
            users: options.users,
            batch: options.batch,
            anonymous: options.anonymous,
            host: host.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            headers: options.header,
        },
        clients: options.clients,
        rate: options.rate,
        end,
        threads: options.threads,
    })
}

fn print(tally: &Tally, cpu: Option<Duration>) {
    let row = |name: &str, figure: String| println!("{name:26} {figure:>14}");
    row("seconds", format!("{:.2}", tally.took.as_secs_f64()));
    row("requests", tally.answered.to_string());
    row("requests per second", format!("{:.0}", tally.answered as f64 / tally.took.as_secs_f64()));
    if tally.items != tally.answered {
        row("heartbeats per second", format!("{:.0}", tally.rate()));
    }
    for part in [0.5, 0.9, 0.99, 0.999] {
        let micros = tally.latency.quantile(part).as_secs_f64() * 1e6;
        row(&format!("latency, {} %", part * 100.0), format!("{micros:.0} us"));
    }
    row("latency, longest", format!("{:.0} us", tally.latency.longest().as_secs_f64() * 1e6));
    if let Some(cpu) = cpu {
        let micros = cpu.as_secs_f64() * 1e6 / tally.answered.max(1) as f64;
        row("server CPU per request", format!("{micros:.2} us"));
    }
    if tally.unsent > 0 {
        row("due, and not sent in time", tally.unsent.to_string());
    }
    for (status, count) in &tally.refused {
        row(&format!("refused with {status}"), count.to_string());
    }
}
