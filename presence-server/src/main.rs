//! `presence-server`: see `--help`.

use std::{error::Error, hint::black_box, io::IsTerminal, path::Path, process::ExitCode, time::Duration};

use chrono::NaiveDate;
use presence_outbox::Directory;
use presence_server::{
    Server, audit,
    config::{Command, Config, LogFormat, OutboxTask},
    demo::{self, Crowd, Lives, Talk, Trace},
    healthcheck, log, outbox, run,
};
use tokio::runtime::Runtime;

// A request makes many small allocations, and a live user some that stay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match Config::read() {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {}", causes(&error));
            return ExitCode::from(error.exit_code());
        }
    };
    let result = match command {
        Command::Serve(config) => serve(config),
        Command::Demo { trace, config } => demo(&trace, config),
        Command::Audit { first, last, config } => audit(first, last, &config),
        Command::CheckConfig(config) => {
            print!("{}", config.effective());
            Ok(())
        }
        Command::Outbox { task, dir } => outbox(task, &dir),
        Command::Healthcheck { url } => healthcheck::check(&url).map_err(Into::into),
        Command::Print(text) => {
            print!("{text}");
            Ok(())
        }
        other => Err(format!("{other:?} is not known").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    start(&config, "info")?.block_on(run(config)).map_err(Into::into)
}

/// Replays the trace, shows what became of it, and serves.
fn demo(path: &Path, config: Config) -> Result<(), Box<dyn Error>> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    let trace = Trace::parse(&text).map_err(|error| named(&error))?;
    start(&config, "warn")?.block_on(async {
        let window = config.policy().online_window;
        let server = Server::open(config).await?;
        let trace = trace.ending_at(server.state().tracker().now())?;
        demo::replay(server.state(), &trace, |done, all| progress(done, all, "events")).await?;
        let lives = Lives::of(server.state().tracker(), &trace).await?;
        let crowd = Crowd::of(server.state().activity(), &trace).await?;
        let talk = Talk::replay(server.state().hub().rooms(), &trace).await?;
        let links = demo::links(server.address(), window, &lives, &crowd);
        println!("{}\n{}", lives.table(20), lives.hours());
        println!("{}\n{}\n{}", crowd.days(), crowd.hours(), talk.summary(server.address()));
        println!("{links}\nserving until Ctrl-C");
        Ok(server.serve().await?)
    })
}

/// Shows what is stored beside what the event log says; it is an error where the two differ.
fn audit(first: Option<NaiveDate>, last: Option<NaiveDate>, config: &Config) -> Result<(), Box<dyn Error>> {
    let progress = |done, all| progress(done, all, "days");
    let audited = start(config, "warn")?.block_on(audit::audit(config, first, last, progress))?;
    println!("{audited}");
    match audited.differing() {
        0 => Ok(()),
        days => Err(format!("{days} of {} days differ", audited.days()).into()),
    }
}

/// Shows, checks or requeues; damage is an error.
fn outbox(task: OutboxTask, dir: &Path) -> Result<(), Box<dyn Error>> {
    let named = |error: std::io::Error| format!("{}: {error}", dir.display());
    let directory = Directory::open(dir).map_err(named)?;
    match task {
        OutboxTask::Check => {
            let checked = outbox::Findings(directory.check().map_err(named)?);
            println!("{checked}");
            if checked.0.has_damage() {
                return Err("the directory is damaged".into());
            }
        }
        OutboxTask::Requeue => println!("{}", outbox::Back(directory.requeue()?)),
        _ => println!("{}", outbox::Listing(directory.list().map_err(named)?)),
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn progress(done: usize, all: usize, what: &str) {
    const WIDTH: usize = 40;
    let filled = |done: usize| done.saturating_mul(WIDTH).checked_div(all).unwrap_or(WIDTH);
    let is_next = filled(done) > filled(done.saturating_sub(1));
    if is_next && std::io::stderr().is_terminal() {
        let (bar, rest) = ("#".repeat(filled(done)), ".".repeat(WIDTH.saturating_sub(filled(done))));
        let end = if done == all { "\n\n" } else { "" };
        eprint!("\r{bar}{rest} {done}/{all} {what}{end}");
    }
}

/// Starts the log, with `level` where RUST_LOG says nothing, and the runtime.
fn start(config: &Config, level: &str) -> Result<Runtime, std::io::Error> {
    let filter = log::filter(config, level);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format(std::io::stderr().is_terminal()) {
        LogFormat::Json => lines.json().init(),
        _ => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    std::panic::set_hook(Box::new(log::panic));
    // On one core there is nobody to share the work with, and threads that hand it to each other only cost.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut runtime = if cores == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.enable_all().build()?;
    runtime.spawn(give_back());
    Ok(runtime)
}

/// Lets the allocator give back to the system what was freed: it does so a second later, and only when then something is
/// freed that is worth a look. In a server that has become idle nothing is.
async fn give_back() {
    /// More than the allocator keeps for the next one of the same size.
    const LARGE: usize = 1 << 20;
    let mut turn = tokio::time::interval(Duration::from_secs(1));
    loop {
        turn.tick().await;
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}

/// An error and what caused it, on one line.
fn causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
