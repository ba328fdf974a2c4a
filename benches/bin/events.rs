//! The goals of active users over HTTP: batches of events against a bare loop that writes the same rows, a stored day of
//! a million people, and how soon an event is seen that came late. On SQLite, then on PostgreSQL.
//!
//! `make bench` builds the programs and prints the table. Machines are shared and noisy: the ratio is what counts.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use presence_benches::{
    activity::{DAY, Events, bare_postgres, bare_sqlite},
    load::{Kind, Plan, once, whole},
    server::{Server, ask},
    table::{self, median, seconds},
    user,
};
use presence_core::{ActivityStore, Clock, NewEvent, SystemClock, Timestamp};
use presence_postgres_testing::{Database, Server as Postgres};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};
use presence_sqlx::{
    PostgresConfig, PostgresStore,
    sqlx::{Connection, PgConnection},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PAIRS: usize = 5;
const EVENTS: u64 = 100_000;
const CLIENTS: u64 = 4;
const CROWD: u64 = 1_000_000;
/// How long is waited for figures.
const PATIENCE: Duration = Duration::from_secs(90);

/// The goals of active users over HTTP as one table.
#[derive(Debug, Parser)]
#[command(name = "events")]
struct Options {
    /// Only these stores; both, where none is named.
    #[arg(value_enum)]
    stores: Vec<Store>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    table::head();
    for store in Store::value_variants() {
        if options.stores.is_empty() || options.stores.contains(store) {
            let place = Place::new(*store)?;
            ingest(&place)?;
            stored_day(&place)?;
        }
    }
    Ok(())
}

/// Where databases are made.
enum Place {
    Sqlite,
    Postgres(Postgres, Runtime),
}

/// A database, with the tables of a store or without.
enum Home {
    Sqlite(TempDir),
    Postgres(Database),
}

impl Place {
    fn new(store: Store) -> io::Result<Self> {
        Ok(match store {
            Store::Sqlite => Self::Sqlite,
            Store::Postgres => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Self::Postgres(Postgres::durable(), runtime)
            }
        })
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(..) => "PostgreSQL",
        }
    }

    fn home(&self) -> io::Result<Home> {
        Ok(match self {
            Self::Sqlite => Home::Sqlite(tempfile::tempdir()?),
            Self::Postgres(postgres, _) => Home::Postgres(postgres.database()),
        })
    }

    /// Runs what needs a runtime where one is there.
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        match self {
            Self::Sqlite => futures_executor::block_on(work),
            Self::Postgres(_, runtime) => runtime.block_on(work),
        }
    }

    /// Makes the tables, and puts events into them that nobody waits for.
    fn fill(&self, home: &Home, rows: &[NewEvent]) {
        self.block_on(async {
            match home {
                Home::Sqlite(folder) => {
                    let config = SqliteConfig::new(file(folder)).durability(Durability::Process);
                    let store = Arc::new(SqliteStore::open_with(config).await.expect("a store"));
                    append(&*store, rows).await;
                    store.close().await;
                }
                Home::Postgres(database) => {
                    let store = PostgresStore::connect(config(database)).await.expect("a store");
                    append(&store, rows).await;
                    store.close().await;
                }
            }
        });
    }

    /// Writes the rows as somebody would who does without the library; how long that takes, in seconds.
    fn write_bare(&self, rows: &[NewEvent]) -> io::Result<f64> {
        let home = self.home()?;
        self.fill(&home, &[]);
        Ok(match &home {
            Home::Sqlite(folder) => seconds(|| bare_sqlite::write(&file(folder), rows)),
            Home::Postgres(database) => self.block_on(async {
                let options = config(database).connect_options();
                let mut connection = PgConnection::connect_with(&options).await.expect("a connection");
                let start = now();
                for batch in rows.chunks(1000) {
                    bare_postgres::write(&mut connection, batch).await;
                }
                start.elapsed().as_secs_f64()
            }),
        })
    }
}

impl Home {
    fn serve(&self) -> io::Result<Server> {
        match self {
            Self::Sqlite(folder) => Server::on_store(&format!("sqlite:{}", file(folder).display())),
            Self::Postgres(database) => Server::on_store(database.url()),
        }
    }
}

async fn append(store: &impl ActivityStore, rows: &[NewEvent]) {
    for batch in rows.chunks(10_000) {
        store.append(batch.to_vec()).await.expect("a store that works");
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("presence.db")
}

fn config(database: &Database) -> PostgresConfig {
    PostgresConfig::new(database.url()).expect("a URL").max_connections(2)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// The same events of 100 requests, each answered when it is durable; against a transaction for each batch.
fn ingest(place: &Place) -> io::Result<()> {
    let rows = Events::of(DAY, EVENTS, EVENTS * 3 / 10).judged();
    let (mut ratios, mut ours, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let home = place.home()?;
        let server = home.serve()?;
        let tally = once(&Plan::closed(server.address, Kind::Events, EVENTS, CLIENTS, Duration::ZERO))?;
        assert_eq!(tally.items, EVENTS);
        drop(server);
        let against = EVENTS as f64 / place.write_bare(&rows)?;
        ours.push(tally.rate());
        bare.push(against);
        ratios.push(tally.rate() / against);
    }
    let [ours, bare] = [ours, bare].map(|rates| format!("{:.1} k/s", median(rates) / 1e3));
    let name = format!("events over HTTP, 4 clients with 1,000 each, {}", place.name());
    table::row(&name, &ours, &bare, &format!("{:.2}", median(ratios)), ">= 0.6");
    Ok(())
}

/// A day of a million people, stored before the server starts: when its figures are there, how fast they are
/// answered, and when one more event shows.
fn stored_day(place: &Place) -> io::Result<()> {
    let millis = SystemClock.now().as_millis();
    let yesterday = millis - millis.rem_euclid(86_400_000) - 86_400_000;
    let home = place.home()?;
    place.fill(&home, &Events::once_each(yesterday, CROWD).judged());
    let server = home.serve()?;
    let day = figures(server.address, yesterday)?;
    let (first, count) = until(&day, 0)?;
    table::row(
        &format!("a day of {count} people is counted after the start, {}", place.name()),
        &secs(first),
        "",
        "",
        "",
    );
    let asked = Plan::closed(server.address, Kind::DailyActiveUsers, 1, 4, Duration::from_secs(5));
    let latency = whole(&asked)?.latency;
    let millis = |part| latency.quantile(part).as_secs_f64() * 1e3;
    let answer = format!("{:.2} ms", millis(0.99));
    table::row(&format!("the same, asked for: p99 (p50 {:.2} ms)", millis(0.5)), &answer, "", "", "< 5 ms");
    let event = format!(
        r#"{{"events":[{{"eventName":"app_session_start","installId":"{}","clientTs":{}}}]}}"#,
        user(u64::MAX),
        yesterday / 1000 + 3600
    );
    ask(server.address, "POST /api/v1/analytics/events", &event)?;
    let (late, _) = until(&day, count)?;
    table::row("the same: one more event shows", &secs(late), "", "", "< 60 s");
    Ok(())
}

fn secs(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Asks for the people of that day.
fn figures(address: SocketAddr, day: i64) -> io::Result<impl Fn() -> io::Result<u64>> {
    let day = Timestamp::from_millis(day).map_err(io::Error::other)?.to_string();
    let day = day.split('T').next().unwrap_or_default().to_owned();
    let line = format!("GET /api/v1/analytics/dau?startDate={day}&endDate={day}");
    Ok(move || {
        let answer: Value = serde_json::from_str(&ask(address, &line, "")?)?;
        Ok(answer["data"][0]["dauCount"].as_u64().unwrap_or(0))
    })
}

/// Waits until there are more people than these: how long that took, and how many.
fn until(people: &impl Fn() -> io::Result<u64>, than: u64) -> io::Result<(Duration, u64)> {
    let start = now();
    loop {
        let count = people()?;
        if count > than {
            return Ok((start.elapsed(), count));
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("still {count} people after {PATIENCE:?}")));
        }
        wait(Duration::from_millis(50));
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark waits for another process")]
fn wait(time: Duration) {
    thread::sleep(time);
}
