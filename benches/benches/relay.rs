//! How fast a relay empties the outbox of a store, beside a bare loop that selects and deletes:
//! `cargo bench --bench relay` prints one table.
//!
//! The sink takes everything at once, so that nothing but the store is measured. Needs PostgreSQL 15 or newer.

use std::{future::Future, sync::Arc, time::Instant};

use async_trait::async_trait;
use presence_benches::table::{self, median};
use presence_core::{
    Batch, Delivered, Delivery, Epoch, Event, EventKind, Lease, NewRoom, Outbox, OutboxQuery, Relay,
    RetryPolicy, RoomCounters, RoomId, RoomName, RoomStore, Sink, SinkError, SinkName, Step, Subscriptions,
    SystemClock, Timestamp, UserId, Written,
};
use presence_postgres_testing::Database;
use presence_sqlite::{SqliteStore, rusqlite};
use presence_sqlx::{
    PostgresConfig, PostgresStore,
    sqlx::{self, Connection, PgConnection, Row},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: i64 = 100_000;
/// Events of one commit.
const COMMIT: i64 = 10_000;
/// Events of one delivery, here and in the bare loop.
const DELIVERY: i64 = 500;
const PAIRS: usize = 5;

#[tokio::main]
async fn main() {
    table::head();
    sqlite().await;
    postgres().await;
}

/// Takes everything.
struct Everything;

#[async_trait]
impl Sink for Everything {
    async fn deliver(&self, events: &[Delivery]) -> Result<Vec<Delivered>, SinkError> {
        Ok(vec![Delivered::Accepted; events.len()])
    }
}

fn name() -> SinkName {
    SinkName::new("webhook").expect("a name")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Events a second of something that handles all of them.
async fn rate(handle: impl Future<Output = i64>) -> f64 {
    let start = now();
    assert_eq!(handle.await, EVENTS, "all of it");
    EVENTS as f64 / start.elapsed().as_secs_f64()
}

/// Lets a room tell of many people, for one sink.
async fn fill(store: &(impl Outbox + RoomStore)) {
    store.subscribe(Subscriptions::none().with(name(), EventKind::ALL));
    let room = RoomId::new("lobby").expect("an id");
    let at = Timestamp::from_secs(1_700_000_000).expect("an instant");
    let created = NewRoom {
        id: room.clone(),
        name: RoomName::new("Lobby").expect("a name"),
        admins: Vec::new(),
        created_at: at,
        events: Vec::new(),
    };
    assert!(store.create_room(created).await.expect("a store"));
    let lease = Lease { node: "one".to_owned(), epoch: Epoch(1), until: Timestamp::MAX };
    store.take_room(&room, Epoch(0), lease, 0).await.expect("a store").expect("free");
    for number in 0..EVENTS / COMMIT {
        let joined = |session: i64| Event::UserJoined {
            room: room.clone(),
            user: UserId::new(format!("{session:08x}-0000-4000-8000-00000000abcd")).expect("an id"),
            session,
            at,
        };
        let batch = Batch {
            room: room.clone(),
            epoch: Epoch(1),
            number: number + 1,
            at,
            counters: RoomCounters::default(),
            rows: Vec::new(),
            events: (number * COMMIT..(number + 1) * COMMIT).map(joined).collect(),
        };
        assert_eq!(store.write_batches(vec![batch]).await.expect("a store"), [Written::Stored]);
    }
}

async fn drain<S: Outbox + OutboxQuery + 'static>(store: &Arc<S>) -> i64 {
    let retry = RetryPolicy::default();
    let relay = Relay::new(store.clone(), Arc::new(Everything), SystemClock, name(), "one", retry);
    let mut delivered = 0;
    loop {
        match relay.step(0).await.expect("a store") {
            Step::Delivered { accepted, .. } => delivered += accepted.cast_signed(),
            Step::Idle => break,
            other => panic!("{other:?}"),
        }
    }
    let books = store.books().await.expect("a store");
    assert!(books.iter().all(|books| books.pending == 0 && books.delivered == books.accepted()));
    delivered
}

fn row(store: &str, ours: Vec<f64>, bare: Vec<f64>) {
    let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    table::row(
        &format!("relay from {store} beside select and delete"),
        &format!("{:.0} k/s", median(ours) / 1e3),
        &format!("{:.0} k/s", median(bare) / 1e3),
        &format!("{:.2}", median(ratios)),
        ">= 0.5",
    );
}

async fn sqlite() {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox.db");
        let store = Arc::new(SqliteStore::open(&path).await.expect("a store"));
        fill(&*store).await;
        store.close().await;
        drop(store);
        let by_hand = folder.path().join("bare.db");
        std::fs::copy(&path, &by_hand).expect("a disk");
        let store = Arc::new(SqliteStore::open(&path).await.expect("a store"));
        ours.push(rate(drain(&store)).await);
        bare.push(rate(async { sqlite_by_hand(&by_hand) }).await);
    }
    row("SQLite", ours, bare);
}

fn sqlite_by_hand(path: &std::path::Path) -> i64 {
    let conn = rusqlite::Connection::open(path).expect("a file");
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").expect("a file");
    let mut select = conn
        .prepare("SELECT number, body FROM outbox WHERE sink = 'webhook' ORDER BY number LIMIT ?1")
        .expect("a statement");
    let mut delete =
        conn.prepare("DELETE FROM outbox WHERE sink = 'webhook' AND number <= ?1").expect("a statement");
    let mut delivered = 0;
    loop {
        let rows = select.query_map([DELIVERY], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>().expect("rows");
        let Some((last, _)) = rows.last() else { return delivered };
        delivered += rows.len() as i64;
        delete.execute([last]).expect("a disk");
    }
}

async fn postgres() {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let database = Database::create();
        let config = PostgresConfig::new(database.url()).expect("a URL");
        let store = Arc::new(PostgresStore::connect(config.clone()).await.expect("a store"));
        fill(&*store).await;
        database.psql("CREATE TABLE presence.bare AS SELECT number, body FROM presence.outbox");
        database.psql("ALTER TABLE presence.bare ADD PRIMARY KEY (number)");
        database.psql("VACUUM ANALYZE");
        ours.push(rate(drain(&store)).await);
        let mut by_hand = PgConnection::connect_with(&config.connect_options()).await.expect("a connection");
        bare.push(rate(postgres_by_hand(&mut by_hand)).await);
    }
    row("PostgreSQL", ours, bare);
}

async fn postgres_by_hand(connection: &mut PgConnection) -> i64 {
    let mut delivered = 0;
    loop {
        let select = sqlx::query("SELECT number, body FROM bare ORDER BY number LIMIT $1").bind(DELIVERY);
        let rows = select.fetch_all(&mut *connection).await.expect("rows");
        let rows: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let Some((last, _)) = rows.last() else { return delivered };
        delivered += rows.len() as i64;
        let delete = sqlx::query("DELETE FROM bare WHERE number <= $1").bind(last);
        delete.execute(&mut *connection).await.expect("a commit");
    }
}
