//! What the tests share: stores, and short names for the shapes that go into them.

use std::sync::Arc;

use presence_core::{
    ActivityPolicy, Ask, Beat, CheckpointStore, ClientEvent, Commit, EventId, EventName, EventProperties,
    Fingerprint, InstallId, NewCheckpoint, NewEvent, Outcome, Request, Row, Session, Source, StateType,
    Timestamp, UserId, Version,
};
use presence_postgres_testing::Database;
use presence_sqlx::{
    PostgresConfig, PostgresStore,
    sqlx::{Connection, Executor, PgConnection},
};
use tokio::task::JoinHandle;

pub(crate) fn config(url: &str) -> PostgresConfig {
    PostgresConfig::new(url).expect("a URL")
}

pub(crate) async fn connect(url: &str) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::connect(config(url)).await.expect("a store"))
}

pub(crate) async fn fresh() -> (Arc<PostgresStore>, Database) {
    let database = Database::create();
    (connect(database.url()).await, database)
}

/// A connection of somebody else, who sees the same tables.
pub(crate) async fn another_connection(database: &Database) -> PgConnection {
    PgConnection::connect_with(&config(database.url()).connect_options()).await.expect("a connection")
}

/// An erasure of alice at 2000 on another node, held open in its middle.
pub(crate) struct HalfAnErasure(PgConnection);

pub(crate) async fn half_an_erasure(database: &Database) -> HalfAnErasure {
    // The tombstone that it writes: of another store that has the same key.
    let twin = config(database.url()).schema("twin");
    PostgresStore::connect(twin.clone()).await.expect("a store");
    database.psql("UPDATE twin.store_meta SET erasure_key = (SELECT erasure_key FROM presence.store_meta)");
    let twin = PostgresStore::connect(twin).await.expect("a store");
    twin.erase(&user("alice"), at(2000)).await.expect("an erasure");
    let mut other = another_connection(database).await;
    other.execute("BEGIN; LOCK TABLE erased_users IN EXCLUSIVE MODE").await.expect("a lock");
    HalfAnErasure(other)
}

impl HalfAnErasure {
    pub(crate) async fn end(mut self) {
        let end = "INSERT INTO erased_users SELECT * FROM twin.erased_users; COMMIT";
        self.0.execute(end).await.expect("an end");
    }
}

/// Ends all connections to the database; says how many there were.
pub(crate) fn end_connections(database: &Database) -> usize {
    let ended = database.psql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    ended.parse().expect("a number")
}

/// Waits until this task waits for a lock on this table.
pub(crate) async fn until_it_waits_for<T>(table: &str, task: &JoinHandle<T>, database: &Database) {
    until_waiting(1, &format!("relation = 'presence.{table}'::regclass"), task, database).await;
}

/// Waits until as many wait for the end of a transaction that has changed a row, this task the last of them.
pub(crate) async fn until_it_waits_for_a_row<T>(count: usize, task: &JoinHandle<T>, database: &Database) {
    until_waiting(count, "locktype = 'transactionid'", task, database).await;
}

async fn until_waiting<T>(count: usize, which: &str, task: &JoinHandle<T>, database: &Database) {
    // The locks of all databases are listed, and other tests use theirs at the same time.
    let waiting = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE datname = current_database() AND NOT granted AND {which}"
    );
    while database.psql(&waiting) != count.to_string() {
        assert!(!task.is_finished(), "it waits");
        tokio::task::yield_now().await;
    }
}

pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn row(state: &str, secs: i64) -> NewCheckpoint {
    let state = StateType::new(state).unwrap();
    NewCheckpoint { state, at: at(secs), content: None, source: Source::Client, proof_at: None }
}

/// A commit of one row, under a request of its own, with the session that the row leaves.
pub(crate) fn commit(name: &str, expected: Option<Version>, row: NewCheckpoint) -> Commit {
    let session = Session {
        user: user(name),
        current_state: row.state.clone(),
        live_since: row.at,
        last_heartbeat: row.at,
        last_state_change: row.at,
        version: Version(0),
    };
    let event_id = EventId::new(format!("at {}", row.at.as_secs())).unwrap();
    let request = Request { event_id, fingerprint: Fingerprint::of(&[name.as_bytes()]), created: true };
    Commit {
        expected,
        erased_at: None,
        decided_at: row.at,
        totals: vec![(row.state.clone(), 1)],
        session,
        withdraw: Vec::new(),
        changed: None,
        insert: vec![row],
        requests: vec![(request, Row::Inserted(0))],
        events: Vec::new(),
    }
}

pub(crate) fn ask(name: &str, secs: i64) -> Ask {
    Ask { user: user(name), first: at(secs), last: at(secs), event_ids: Vec::new() }
}

pub(crate) fn beat(name: &str, secs: i64) -> Beat {
    Beat { user: user(name), first: at(secs), last: at(secs), floor: at(0) }
}

/// An event that counts on the first of all days.
pub(crate) fn event(id: &str, install: &str, by: Option<&str>, secs: i64) -> NewEvent {
    let name = EventName::new("app_session_start").unwrap();
    let mut event = ClientEvent::new(name, InstallId::new(install).unwrap()).at(at(secs));
    if let Some(by) = by {
        event = event.by(user(by));
    }
    let properties = EventProperties::parse(&format!(r#"{{"city":"at {secs}"}}"#)).unwrap();
    let event = event.with_properties(properties).with_event_id(EventId::new(id).unwrap());
    event.judged(at(80_000), &ActivityPolicy::default()).unwrap()
}

/// The version of a commit, where it was written.
pub(crate) fn version(outcome: &Outcome) -> Option<Version> {
    match outcome {
        Outcome::Committed { version, .. } => Some(*version),
        Outcome::Conflict => None,
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
