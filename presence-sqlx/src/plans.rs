//! What PostgreSQL says to each statement, and how much it reads for it.

use presence_core::{Commit, NewCheckpoint, Session, Source, StateType, Timestamp, UserId, Version};
use presence_postgres_testing::Database;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr};

use crate::{
    PostgresConfig, PostgresStore, activity_query, activity_store as activity, append,
    checkpoint_query as query, checkpoint_store as store, clock, commit, connection::Statement, day::Day,
    eraser, live_set as live, load, snapshot_store as snapshot, summary_cache as summary,
};

const STATEMENTS: &[&str] = &[
    clock::NOW,
    eraser::KEY,
    load::LOAD,
    commit::COMMIT,
    store::TOUCH,
    store::OVERDUE,
    eraser::HOLD_WRITES,
    store::ERASE,
    query::TOTALS,
    query::STATES,
    query::CHECKPOINT,
    query::HISTORY,
    query::EXPORT,
    live::SEE,
    live::LEAVE,
    live::COUNT,
    live::LIST,
    live::EVICT,
    summary::MARKS,
    summary::KEEP,
    summary::KEPT,
    append::APPEND,
    activity::STALE,
    activity::MARKS,
    activity::SIGHTINGS,
    activity::SAVE,
    activity::MOVE_HORIZON,
    activity::RETIRE,
    activity_query::DAYS,
    activity_query::EVENTS,
    snapshot::KEEP,
    snapshot::SNAPSHOTS,
    snapshot::DISCARD,
];

async fn migrated(database: &Database) -> (PostgresStore, PgConnection) {
    let config = PostgresConfig::new(database.url()).unwrap();
    let connection = PgConnection::connect_with(&config.connect_options()).await.unwrap();
    (PostgresStore::connect(config).await.unwrap(), connection)
}

#[tokio::test]
async fn every_statement_is_understood() {
    let database = Database::create();
    let (_store, mut connection) = migrated(&database).await;
    for sql in STATEMENTS {
        let prepared = connection.prepare(sql.into_sql_str()).await;
        prepared.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    }
}

/// Runs a statement, and says how many pages of 8 KiB it looked at.
async fn pages<'q>(
    connection: &mut PgConnection,
    sql: &'static str,
    bind: impl FnOnce(Statement<'q>) -> Statement<'q>,
) -> u64 {
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}");
    let rows = connection.fetch_all(bind(sqlx::query(AssertSqlSafe(explain)))).await.unwrap();
    let plan = rows.iter().map(|row| row.get::<&str, _>(0)).collect::<Vec<_>>().join("\n");
    // The first line of its kind is about the whole statement.
    let buffers = plan.lines().find_map(|line| line.trim_start().strip_prefix("Buffers: shared "));
    let numbers = buffers.unwrap_or("").split(' ').filter_map(|part| part.split_once('='));
    let looked_at = numbers.filter(|(kind, _)| ["hit", "read"].contains(kind));
    let pages = looked_at.map(|(_, number)| number.parse::<u64>().unwrap()).sum();
    println!("{pages} pages: {}", sql.lines().next().unwrap_or(""));
    assert!(pages > 0, "{plan}");
    pages
}

/// One user with many rows among many who have a few: what the server knows of the average misleads it.
const LIVES: &str = "
    INSERT INTO presence.checkpoints (id, user_id, state, timestamp, source, proof_at)
    SELECT nextval('presence.checkpoint_id'), 'long', (ARRAY['Working', 'Offline'])[1 + n % 2], 1000 * n,
        (ARRAY['client', 'timeout'])[1 + n % 2], CASE WHEN n % 2 = 1 THEN 1000 * n - 500 END
    FROM generate_series(1, 40000) n;
    INSERT INTO presence.checkpoints (id, user_id, state, timestamp, source)
    SELECT nextval('presence.checkpoint_id'), 'short ' || n, 'Working', n, 'client'
    FROM generate_series(1, 30000) n;
    INSERT INTO presence.user_sessions
    SELECT user_id, 'Working', 0, max(timestamp), max(timestamp), nextval('presence.store_version')
    FROM presence.checkpoints GROUP BY user_id;
    INSERT INTO presence.state_totals SELECT DISTINCT user_id, state, 1 FROM presence.checkpoints;
    INSERT INTO presence.requests
    SELECT user_id, 'request ' || id, '\\x00000000000000000000000000000000', id, true FROM presence.checkpoints";

#[tokio::test]
async fn no_statement_reads_a_long_history() {
    const FEW: u64 = 100;
    const MIDDLE: i64 = 20_000_500;
    let database = Database::create();
    let (postgres, mut connection) = migrated(&database).await;
    database.psql(LIVES);
    for round in ["unknown to the server", "known on average"] {
        let all = pages(&mut connection, "SELECT count(state) FROM checkpoints", |all| all).await;
        assert!(all > 3 * FEW, "{all} pages are all there is");

        let read = pages(&mut connection, load::LOAD, |statement| {
            let ask =
                statement.bind(vec!["long"]).bind(vec![vec![0_u8; 32]]).bind(vec![MIDDLE]).bind(vec![MIDDLE]);
            ask.bind(vec![1_i64]).bind(vec!["long"]).bind(vec!["request 20000"])
        });
        assert!(read.await < FEW, "load, {round}");

        let read = pages(&mut connection, query::HISTORY, |statement| {
            statement.bind("long").bind(0_i64).bind(MIDDLE).bind(0_i64).bind(10_i64)
        });
        assert!(read.await < FEW, "history, {round}");
        let read = pages(&mut connection, query::EXPORT, |statement| {
            let export = statement.bind("long").bind(3).bind("").bind(MIDDLE).bind(0_i64);
            let day = Day("1970-01-01".parse().unwrap());
            export.bind("").bind(day).bind("").bind("").bind(10_i64)
        });
        assert!(read.await < FEW, "export, {round}");
        let read = pages(&mut connection, query::TOTALS, |statement| statement.bind("long"));
        assert!(read.await < FEW, "totals, {round}");
        let read = pages(&mut connection, query::STATES, |statement| {
            statement.bind("long").bind(vec![MIDDLE]).bind(vec![MIDDLE + 5_000])
        });
        assert!(read.await < FEW, "states, {round}");
        let read = pages(&mut connection, store::OVERDUE, |statement| statement.bind(MIDDLE).bind(10_i64));
        assert!(read.await < FEW, "overdue, {round}");

        let late = late_timeout(&database);
        let batch = commit::Batch::of(&postgres, &[(0, &late)]).unwrap();
        let mut tx = connection.begin().await.unwrap();
        let read = pages(&mut tx, commit::COMMIT, |statement| batch.bind(statement));
        assert!(read.await < FEW, "commit, {round}");
        tx.rollback().await.unwrap();
        database.psql("ANALYZE");
    }
}

/// A commit that concludes a silence in the middle of the long life.
fn late_timeout(database: &Database) -> Commit {
    let version = database.psql("SELECT version FROM presence.user_sessions WHERE user_id = 'long'");
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    let timeout = NewCheckpoint {
        state: StateType::Offline,
        at: at(20_000_600),
        content: None,
        source: Source::Timeout,
        proof_at: Some(at(20_000_501)),
    };
    let session = Session {
        user: UserId::new("long").unwrap(),
        current_state: StateType::Working,
        live_since: at(0),
        last_heartbeat: at(40_000_000),
        last_state_change: at(40_000_000),
        version: Version(0),
    };
    Commit {
        expected: Some(Version(version.parse().unwrap())),
        erased_at: None,
        session,
        withdraw: Vec::new(),
        insert: vec![timeout],
        totals: vec![(StateType::Working, 1)],
        changed: None,
        requests: Vec::new(),
        events: Vec::new(),
    }
}
