//! The goals on PostgreSQL: the real server on a database of its own, and beside it what `pgbench` does on the same
//! PostgreSQL without us. Both share the machine with PostgreSQL; the median of three pairs.
//!
//! `make bench` builds the programs and prints the table. Machines are shared and noisy: the ratio is what counts.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use presence_benches::{
    after,
    load::{Kind, Plan, once, whole},
    server::Server,
    start,
    table::{self, median, seconds},
    user,
};
use presence_core::{Clock, Envelope, ManualClock, StateType, SystemClock, Tracker, UserId};
use presence_postgres_testing::{Database, Server as Postgres};
use presence_sqlx::{
    PostgresConfig, PostgresStore,
    sqlx::{self, Connection, PgConnection, Row},
};
use tokio::runtime::Runtime;

const PAIRS: usize = 3;
/// How long each side of a pair runs.
const TIME: Duration = Duration::from_secs(5);
const USERS: u64 = 100_000;
/// How many users a sweep takes at once.
const SLICE: usize = 1000;

/// The goals on PostgreSQL as one table: the server, and what pgbench does on the same database server.
#[derive(Debug, Parser)]
#[command(name = "postgres")]
struct Options {
    /// Only these parts; all, where none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    Heartbeats,
    Checkpoints,
    Status,
    Sweep,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let postgres = Postgres::durable();
    table::head();
    for part in Part::value_variants() {
        if !options.parts.is_empty() && !options.parts.contains(part) {
            continue;
        }
        match part {
            Part::Heartbeats => heartbeats(&postgres)?,
            Part::Checkpoints => checkpoints(&postgres)?,
            Part::Status => status(&postgres)?,
            Part::Sweep => sweep(&postgres),
        }
    }
    Ok(())
}

/// Prints the medians of pairs: ours, and the other's.
fn print_pairs(name: &str, pairs: &[(f64, f64)], unit: &str, goal: &str) {
    let [ours, other] = [|pair: &(f64, f64)| pair.0, |pair: &(f64, f64)| pair.1]
        .map(|pick| format!("{:.0} {unit}", median(pairs.iter().map(pick).collect())));
    let ratio = median(pairs.iter().map(|(ours, other)| ours / other).collect());
    table::row(name, &ours, &other, &format!("{ratio:.2}"), goal);
}

/// Runs a script on 16 connections, and gives what it did per second.
fn pgbench(database: &Database, script: &str) -> f64 {
    let secs = TIME.as_secs().to_string();
    let said = database.pgbench(script, &["-c", "16", "-j", "2", "-M", "prepared", "-T", &secs]);
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = "));
    tps.and_then(|tps| tps.split(' ').next()?.parse().ok()).expect("pgbench says how many")
}

fn plan(server: &Server, kind: Kind, users: u64, clients: u64) -> Plan {
    Plan::closed(server.address, kind, users, clients, TIME)
}

const BEATS: &str = "CREATE TABLE beats (user_id TEXT COLLATE \"C\" PRIMARY KEY, last_heartbeat BIGINT NOT NULL);
    INSERT INTO beats SELECT 'b3f1c2d4-77aa-4000-8000-' || lpad(n::text, 12, '0'), 0 FROM generate_series(1, 100000) n;
    VACUUM ANALYZE beats";
const BEAT: &str = "\\set n random(1, 100000)
INSERT INTO beats VALUES ('b3f1c2d4-77aa-4000-8000-' || lpad((:n)::text, 12, '0'), :n)
    ON CONFLICT (user_id) DO UPDATE SET last_heartbeat = excluded.last_heartbeat;";

/// More heartbeats for each upsert than the goal asks for.
const TWICE: f64 = 2.0;

/// Heartbeats of users who are known, one to a request; and how long the oldest one waits that is not written yet: under
/// all that the clients can send, and at a rate that it can keep.
fn heartbeats(postgres: &Postgres) -> io::Result<()> {
    let (ours, bare) = (postgres.database(), postgres.database());
    for sql in BEATS.split(";\n") {
        bare.psql(sql);
    }
    let server = Server::on_store(ours.url())?;
    once(&plan(&server, Kind::Heartbeats, USERS, 4))?;
    let beats = plan(&server, Kind::Heartbeat, USERS, 32);
    let (mut pairs, mut steady_pairs) = (Vec::new(), Vec::new());
    let (mut oldest, mut steady_oldest) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..PAIRS {
        let (rate, waited) = probed(&server, &ours, &beats)?;
        let upserts = pgbench(&bare, BEAT);
        pairs.push((rate, upserts));
        oldest = oldest.max(waited);
        let (rate, waited) = probed(&server, &ours, &Plan { rate: Some(TWICE * upserts), ..beats.clone() })?;
        steady_pairs.push((rate, upserts));
        steady_oldest = steady_oldest.max(waited);
    }
    for (name, pairs, oldest) in [
        ("heartbeats: 32 HTTP clients against an upsert each", pairs, oldest),
        ("the same, sent twice as fast as the upserts", steady_pairs, steady_oldest),
    ] {
        print_pairs(name, &pairs, "/s", ">= 1.5");
        let oldest = format!("{} ms", oldest.as_millis());
        table::row("the same: the oldest beat that was not written yet", &oldest, "", "", "<= 2000 ms");
    }
    Ok(())
}

/// Runs the load: how many a second, and the age of the oldest beat that was answered and not written.
fn probed(server: &Server, database: &Database, load: &Plan) -> io::Result<(f64, Duration)> {
    let probe = Probe::start(server, database);
    let tally = whole(load)?;
    Ok((tally.rate(), probe.stop()?))
}

/// Beats for a user of its own, and looks when that is written.
struct Probe {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<io::Result<Duration>>,
}

impl Probe {
    fn start(server: &Server, database: &Database) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (flag, address, url) = (is_over.clone(), server.address, database.url().to_owned());
        let thread = thread::spawn(move || {
            let runtime = runtime();
            let mut connection = runtime.block_on(connect(&url));
            let mut client = TcpStream::connect(address)?;
            let mut oldest = Duration::ZERO;
            // Beats that were answered and are not written: the time before each, in milliseconds, and the instant after.
            let mut pending: Vec<(i64, Instant)> = Vec::new();
            while !flag.load(Ordering::Relaxed) {
                let sent_at = SystemClock.now().as_millis();
                beat(&mut client)?;
                pending.push((sent_at, now()));
                let written = runtime.block_on(last_heartbeat(&mut connection));
                pending.retain(|(at, _)| *at > written);
                oldest = oldest.max(pending.first().map_or(Duration::ZERO, |(_, since)| since.elapsed()));
                wait(Duration::from_millis(20));
            }
            Ok(oldest)
        });
        Self { is_over, thread }
    }

    fn stop(self) -> io::Result<Duration> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the probe panicked"))?
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark waits for another process")]
fn wait(time: Duration) {
    thread::sleep(time);
}

/// One beat of the probe.
fn beat(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(b"POST /users/probe/heartbeat HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let read = client.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        let is_success = answer.starts_with(b"HTTP/1.1 200");
        // Its body is one JSON object, which fits into one packet.
        if is_success && answer.ends_with(b"}") {
            return Ok(());
        }
        if read == 0 || !is_success && answer.len() > 12 {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn config(database: &str) -> PostgresConfig {
    PostgresConfig::new(database).expect("a URL").max_connections(2)
}

async fn connect(database: &str) -> PgConnection {
    PgConnection::connect_with(&config(database).connect_options()).await.expect("a connection")
}

/// When the probe was alive, as far as that is written.
async fn last_heartbeat(connection: &mut PgConnection) -> i64 {
    let question = "SELECT last_heartbeat FROM user_sessions WHERE user_id = 'probe'";
    let row = sqlx::query(question).fetch_optional(connection).await.expect("an answer");
    row.map_or(-1, |row| row.get(0))
}

const REPORTS: &str =
    "CREATE SCHEMA bare; CREATE TABLE bare.checkpoints (LIKE presence.checkpoints INCLUDING ALL);
    CREATE SEQUENCE bare.id";
const REPORT: &str = "\\set n random(1, 100000)
INSERT INTO bare.checkpoints (id, user_id, state, timestamp, source)
    VALUES (nextval('bare.id'), 'b3f1c2d4-77aa-4000-8000-' || lpad((:n)::text, 12, '0'), 'Working', :n, 'client');";

/// Reports of 64 clients, durable, each with its session and totals; against a bare row each.
fn checkpoints(postgres: &Postgres) -> io::Result<()> {
    let database = postgres.database();
    let server = Server::on_store(database.url())?;
    database.psql(REPORTS);
    let reports = plan(&server, Kind::Checkpoint, USERS, 64);
    let (mut pairs, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let before = transactions(&database);
        let tally = whole(&reports)?;
        answers.push(tally.answered as f64 / (transactions(&database) - before));
        pairs.push((tally.rate(), pgbench(&database, REPORT)));
    }
    print_pairs("checkpoints: 64 HTTP clients against a bare row each", &pairs, "/s", ">= 0.5");
    let answers = format!("{:.1}", median(answers));
    table::row("the same: answers for each transaction, reads included", &answers, "", "", ">= 8");
    Ok(())
}

/// How many transactions the database has committed, once idle backends have told.
fn transactions(database: &Database) -> f64 {
    wait(Duration::from_secs(2));
    let committed = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    database.psql(committed).parse().expect("a number")
}

/// A user with a long history, and the same with a short one, each on a database of its own.
fn status(postgres: &Postgres) -> io::Result<()> {
    let with_rows = |count: u64| {
        let database = postgres.database();
        let server = Server::on_store(database.url())?;
        database.psql(&history(user(0).as_str(), count));
        database.psql("VACUUM ANALYZE presence.checkpoints");
        Ok::<_, io::Error>((server, database))
    };
    let ((long, _long), (short, _short)) = (with_rows(1_000_000)?, with_rows(10)?);
    let median_of = |server: &Server| {
        let tally = whole(&Plan::closed(server.address, Kind::Status, 1, 1, TIME / 2))?;
        Ok::<_, io::Error>(tally.latency.quantile(0.5).as_secs_f64() * 1e6)
    };
    let pairs = (0..PAIRS).map(|_| Ok((median_of(&long)?, median_of(&short)?)));
    let pairs: Vec<_> = pairs.collect::<io::Result<_>>()?;
    print_pairs("status: 1,000,000 checkpoints against 10", &pairs, "us", "<= 1.5");
    Ok(())
}

/// Reports of one user, a second apart, up to the start.
fn history(user: &str, count: u64) -> String {
    let (start, first) = (start().as_millis(), start().as_millis() - 1000 * count as i64);
    format!(
        "INSERT INTO presence.checkpoints (id, user_id, state, timestamp, source)
         SELECT nextval('presence.checkpoint_id'), '{user}', (ARRAY['Working', 'Idle'])[1 + n % 2],
             {first} + 1000::bigint * n, 'client' FROM generate_series(1, {count}) n;
         INSERT INTO presence.user_sessions
         VALUES ('{user}', 'Working', {start}, {start}, {start}, nextval('presence.store_version'));
         INSERT INTO presence.state_totals SELECT '{user}', state, 1000 * (count(*) - (state = 'Working')::int)
         FROM presence.checkpoints GROUP BY state"
    )
}

/// Silences of users who all fell silent at once, in slices, against a loop that writes the same rows.
fn sweep(postgres: &Postgres) {
    let runtime = runtime();
    let users: Vec<_> = (0..USERS).map(user).collect();
    // In the order of a sweep, which is also the order that the tables like best.
    let mut sorted = users.clone();
    sorted.sort();
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let (ours, bare) = (postgres.database(), postgres.database());
        let (tracker, clock) = runtime.block_on(all_online(&ours, &users));
        runtime.block_on(all_online(&bare, &users));
        [&ours, &bare].iter().for_each(|database| drop(database.psql("VACUUM ANALYZE")));
        clock.set(after(100_000));
        let took =
            seconds(|| while runtime.block_on(tracker.sweep(SLICE)).expect("a store that works").more {});
        let mut connection = runtime.block_on(connect(bare.url()));
        let against = seconds(|| {
            for users in sorted.chunks(SLICE) {
                runtime.block_on(lapse(&mut connection, users));
            }
        });
        let written =
            "SELECT state, count(*), sum(timestamp), sum(proof_at) FROM presence.checkpoints GROUP BY state";
        assert_eq!(ours.psql(written), bare.psql(written));
        pairs.push((USERS as f64 / took, USERS as f64 / against));
    }
    print_pairs("a sweep of 100,000 lapses against an UNNEST loop", &pairs, "/s", ">= 0.4");
}

async fn all_online(database: &Database, users: &[UserId]) -> (Tracker, Arc<ManualClock>) {
    let store = Arc::new(PostgresStore::connect(config(database.url())).await.expect("a store"));
    let clock = Arc::new(ManualClock::new(after(1000)));
    let tracker = Tracker::new(store, clock.clone());
    for users in users.chunks(10_000) {
        let online =
            users.iter().map(|user| Envelope::checkpoint(user.clone(), StateType::Working).at(after(0)));
        tracker.record_many(online.collect()).await.expect("a store that works");
    }
    (tracker, clock)
}

const LAPSE: &str = "WITH inserted AS (
    INSERT INTO checkpoints (id, user_id, state, timestamp, source, proof_at)
    SELECT nextval('checkpoint_id'), u.user_id, 'Offline', $3, 'timeout', $2 FROM unnest($1::text[]) AS u (user_id)
), added AS (
    INSERT INTO state_totals AS t (user_id, state, duration_ms)
    SELECT u.user_id, 'Working', $3 - $2 FROM unnest($1::text[]) AS u (user_id)
    ON CONFLICT (user_id, state) DO UPDATE SET duration_ms = t.duration_ms + excluded.duration_ms
)
UPDATE user_sessions s SET current_state = 'Offline', last_state_change = $3, version = nextval('store_version')
FROM unnest($1::text[]) AS u (user_id) WHERE s.user_id = u.user_id";

/// The timeouts of these users in one statement: a row, a session and a total each.
async fn lapse(connection: &mut PgConnection, users: &[UserId]) {
    let names: Vec<_> = users.iter().map(UserId::as_str).collect();
    let (heartbeat, timeout) = (after(0).as_millis(), after(60_000).as_millis());
    let lapse = sqlx::query(LAPSE).bind(names).bind(heartbeat).bind(timeout);
    lapse.execute(connection).await.expect("rows");
}
