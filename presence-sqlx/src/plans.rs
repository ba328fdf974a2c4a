//! What PostgreSQL says to each statement, and how much it reads for it.

use presence_core::{
    ActivityPolicy, ClientEvent, Commit, EventId, EventName, EventProperties, InstallId, NewCheckpoint,
    NewEvent, Session, Source, StateType, Timestamp, UserId, Version,
};
use presence_postgres_testing::Database;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr, postgres::PgRow};

use crate::{
    PostgresConfig, PostgresStore, activity_query, activity_store as activity, append,
    checkpoint_query as query, checkpoint_store as store, clock, commit, connection::Statement, day::Day,
    eraser, live_set as live, load, outbox, room_batch, room_feed, room_query, room_store,
    snapshot_store as snapshot, summary_cache as summary,
};

const STATEMENTS: &[&str] = &[
    clock::NOW,
    eraser::KEY,
    load::LOAD,
    commit::COMMIT,
    commit::COMMIT_AND_TELL,
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
    live::SEE_AND_TELL,
    live::LEAVE,
    live::COUNT,
    live::LIST,
    live::EVICT,
    summary::MARKS,
    summary::KEEP,
    summary::KEPT,
    append::APPEND,
    append::APPEND_AND_TELL,
    activity::STALE,
    activity::MARKS,
    activity::SIGHTINGS,
    activity::SAVE,
    activity::SAVE_AND_TELL,
    activity::MOVE_HORIZON,
    activity::RETIRE,
    activity_query::DAYS,
    activity_query::EVENTS,
    snapshot::KEEP,
    snapshot::SNAPSHOTS,
    snapshot::DISCARD,
    room_store::CREATE,
    room_store::CREATE_AND_TELL,
    room_store::FENCES,
    room_store::TAKE,
    room_store::LAST_MESSAGES,
    room_store::UNFINISHED,
    room_store::MUTED,
    room_store::RENEW,
    room_store::RETIRE,
    room_store::RETIRE_ROOMS,
    room_batch::WRITE,
    room_batch::WRITE_AND_TELL,
    outbox::CLAIMED,
    outbox::CLAIMED_IN_SPANS,
    outbox::ACK_AND_CLAIM,
    outbox::CLAIM,
    outbox::ACK,
    outbox::NACK,
    outbox::REQUEUE,
    outbox::EXPIRE,
    outbox::BOOKS,
    outbox::DEAD,
    outbox::NAMING,
    outbox::REWRITE,
    room_feed::MESSAGES_BEHIND,
    room_feed::SESSIONS_BEHIND,
    room_feed::MESSAGES,
    room_feed::SESSIONS,
    room_feed::MESSAGES_COPIED,
    room_feed::SESSIONS_COPIED,
    room_query::ROOM,
    room_query::ROOMS,
    room_query::ABANDONED,
    room_query::MESSAGES,
    room_query::SESSIONS,
    room_query::ACTIONS,
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
    let rows = connection.fetch_all(bind(sqlx::query(AssertSqlSafe(explained(sql))))).await.unwrap();
    counted(sql, &rows)
}

fn explained(sql: &str) -> String {
    format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}")
}

fn counted(sql: &str, rows: &[PgRow]) -> u64 {
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
            let export = export.bind("").bind(day).bind("").bind("").bind(10_i64).bind("").bind("");
            export.bind("").bind(0_i64).bind("").bind(0_i64).bind("").bind(0_i64)
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

/// The worst that can happen to a plan that is made once: tables that were known to be empty, and are full by now.
#[tokio::test]
async fn a_plan_that_was_made_for_nobody_is_right_for_many() {
    const FEW: u64 = 100;
    const LOAD: &str = "EXECUTE load_once ('{long,short 7}', '{NULL,NULL}', '{20000500,7}', '{20000500,7}',
        '{1}', '{long}', '{request 20000}')";
    let database = Database::create();
    let (_store, _) = migrated(&database).await;
    database.psql("ANALYZE");
    let quick = PostgresConfig::new(database.url()).unwrap().quick_options();
    let mut connection = PgConnection::connect_with(&quick).await.unwrap();
    let commit = |version: &str| {
        let session = format!("'{{long}}', '{{{version}}}', '{{NULL}}', '{{NULL}}', '{{Idle}}', '{{0}}'");
        let times = "'{40000000}', '{40001000}', '{}', '{}'";
        let rows = "'{1}', '{Idle}', '{40001000}', '{client}', '{NULL}', '{NULL}', '{1}', '{Working}', '{1}'";
        let rest = r#"'{}', '{}', '{}', '{}', '{1}', '{new}', '{"\\x00"}', '{true}', '{NULL}', '{1}'"#;
        format!("EXECUTE commit_once ({session}, {times}, {rows}, {rest})")
    };
    for (name, sql) in [("load_once", load::LOAD), ("commit_once", commit::COMMIT)] {
        connection.execute(AssertSqlSafe(format!("PREPARE {name} AS {sql}"))).await.unwrap();
    }
    for sql in [LOAD, &commit("1")] {
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }
    database.psql(LIVES);
    let version = database.psql("SELECT version FROM presence.user_sessions WHERE user_id = 'long'");
    for sql in [LOAD, &commit(&version)] {
        let rows = connection.fetch_all(AssertSqlSafe(explained(sql))).await.unwrap();
        let read = counted(sql, &rows);
        assert!(read < FEW, "{read} pages for {sql}");
    }
    let written = "SELECT current_state FROM presence.user_sessions WHERE user_id = 'long'";
    assert_eq!(database.psql(written), "Idle", "the commit fitted");
}

/// A key for which much waits, more than for all others.
const LETTERS: &str = "
    INSERT INTO presence.outbox_sinks (sink, node, claimed_until) VALUES ('webhook', 'one', 1000);
    INSERT INTO presence.outbox (sink, number, at, key, body)
    SELECT 'webhook', n, n, CASE WHEN n % 5000 = 0 THEN 'u:' || n ELSE 'u:blocked' END, '{}'
    FROM generate_series(1, 50000) n";

#[tokio::test]
async fn a_claim_goes_around_what_is_held_without_reading_it() {
    const FEW: u64 = 100;
    let database = Database::create();
    let (_store, mut connection) = migrated(&database).await;
    database.psql(LETTERS);
    for round in ["unknown to the server", "known on average"] {
        let all = database.psql("SELECT pg_relation_size('presence.outbox') / 8192");
        assert!(all.parse::<u64>().unwrap() > FEW, "{all} pages are all there is");
        let read = pages(&mut connection, outbox::CLAIMED_IN_SPANS, |statement| {
            let statement = statement.bind("webhook").bind("one").bind(500_i64);
            let statement = statement.bind(vec!["u:blocked", "", "u:blocked\u{1}"]);
            let statement = statement.bind(vec!["u:blocked\u{1}", "u:blocked", "\u{10ffff}"]);
            statement.bind(vec![1_i64, 500, 500])
        });
        assert!(read.await < FEW, "a claim, {round}");
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
        decided_at: Timestamp::MIN,
    }
}

/// Many people on many days, of whom one comes often, and a day on which nobody came for long.
const ACTIVITY: &str = "
    INSERT INTO presence.analytics_event_log
    SELECT n, 'event ' || lpad(n::text, 8, '0'), decode(md5(n::text), 'hex'), CASE WHEN n % 3 <> 0 THEN 'user ' || n END,
        'phone-' || n, 'app_session_start', n * 1000, n * 1000
    FROM generate_series(1, 30000) n;
    INSERT INTO presence.analytics_event_log
    SELECT n, 'event ' || lpad(n::text, 8, '0'), decode(md5(n::text), 'hex'), 'often', 'phone-4711', 'app_session_start',
        n * 1000, n * 1000
    FROM generate_series(30001, 60000) n;
    SELECT setval('presence.event_log_id', 60000);
    INSERT INTO presence.daily_sightings
    SELECT DATE '2020-01-01' + n % 3, 'phone-' || n, CASE WHEN n % 3 <> 0 THEN 'user ' || n ELSE '' END, 'Hunan', n, '\\x00'
    FROM generate_series(1, 30000) n;
    INSERT INTO presence.daily_sightings
    SELECT DATE '2020-01-01' + n, 'phone-4711', 'often' FROM generate_series(0, 9999) n;
    INSERT INTO presence.activity_days SELECT DATE '2020-01-01' + n, 1, 1 FROM generate_series(0, 29999) n;
    UPDATE presence.activity_days SET folded = 0 WHERE day = '2020-01-02';
    INSERT INTO presence.analytics_daily_active_users
    SELECT DATE '2020-01-01' + n, 1, '{}', '{}', 1 FROM generate_series(0, 29999) n;
    INSERT INTO presence.analytics_online_snapshots (ts, online_count) SELECT n * 60000::bigint, n FROM generate_series(1, 40000) n;
    UPDATE presence.store_meta SET kept_from = '2020-01-02'";

#[tokio::test]
async fn no_statement_of_activity_reads_more_than_it_is_asked_for() {
    const FEW: u64 = 100;
    let database = Database::create();
    let (postgres, mut connection) = migrated(&database).await;
    database.psql(ACTIVITY);
    let day = |text: &str| Day(text.parse().unwrap());
    for round in ["unknown to the server", "known on average"] {
        for table in ["event_log", "online_snapshots", "daily_active_users"] {
            let all = database.psql(&format!("SELECT pg_relation_size('presence.analytics_{table}') / 8192"));
            assert!(all.parse::<u64>().unwrap() > FEW, "{all} pages of {table} are all there is");
        }
        let (first, second) = (day("2020-01-01"), day("2020-01-02"));
        let in_the_middle = |statement: Statement<'static>| statement.bind(second).bind("phone-2").bind("");
        let read = pages(&mut connection, activity::SIGHTINGS, |statement| {
            in_the_middle(statement).bind(second).bind(50_i64)
        });
        assert!(read.await < FEW, "a page of a day, {round}");
        let read = pages(&mut connection, activity::STALE, |statement| statement.bind(10_i64));
        assert!(read.await < FEW, "the days that are stale, {round}");
        let read = pages(&mut connection, activity::MARKS, |statement| statement.bind(first).bind(second));
        assert!(read.await < FEW, "the marks of two days, {round}");
        let read =
            pages(&mut connection, activity_query::DAYS, |statement| statement.bind(first).bind(second));
        assert!(read.await < FEW, "the figures of two days, {round}");
        let read = pages(&mut connection, activity_query::EVENTS, |statement| {
            statement.bind(30_000_000_i64).bind(0_i64).bind(i64::MAX).bind(50_i64)
        });
        assert!(read.await < FEW, "a page of events, {round}");
        for (kind, name) in [(4, "all sightings"), (5, "later sightings"), (6, "later events")] {
            let read = pages(&mut connection, query::EXPORT, |statement| {
                let export = statement.bind("often").bind(kind).bind("").bind(0_i64).bind(0_i64).bind("");
                let export = export.bind(day("2030-01-01")).bind("phone-4711").bind("event 00040000");
                let export = export.bind(10_i64).bind("").bind("").bind("").bind(0_i64);
                export.bind("").bind(0_i64).bind("").bind(0_i64)
            });
            assert!(read.await < FEW, "{name} of a user, {round}");
        }
        let read = pages(&mut connection, snapshot::SNAPSHOTS, |statement| {
            statement.bind(1_200_000_000_i64).bind(i64::MAX).bind(10_i64)
        });
        assert!(read.await < FEW, "a page of snapshots, {round}");

        let mut tx = connection.begin().await.unwrap();
        let read = pages(&mut tx, store::ERASE, |statement| {
            statement.bind("user 20000").bind(vec![0_u8; 32]).bind(0_i64)
        });
        assert!(read.await < FEW, "the erasure of a user, {round}");
        // What is deleted row by row is looked up row by row.
        let read = pages(&mut tx, activity::RETIRE, |statement| {
            statement.bind(second).bind(10_000_000_i64).bind(10_i64)
        });
        assert!(read.await < FEW, "a slice of sightings, {round}");
        let read = pages(&mut tx, activity::RETIRE, |statement| {
            statement.bind(day("2019-01-01")).bind(10_000_000_i64).bind(10_i64)
        });
        assert!(read.await < FEW, "a slice of events, {round}");
        let read =
            pages(&mut tx, snapshot::DISCARD, |statement| statement.bind(1_200_000_000_i64).bind(10_i64));
        assert!(read.await < FEW, "a slice of snapshots, {round}");
        let read = pages(&mut tx, activity::SAVE, |statement| {
            let save = statement.bind(second).bind(1_i64).bind("{}").bind("{}").bind(1_i64);
            save.bind(1_i64).bind(1_i64)
        });
        assert!(read.await < FEW, "figures, {round}");
        let events = [event("often", "event 00050000"), event("often", "new"), event("new", "new")];
        let events: Vec<_> = events.iter().enumerate().collect();
        let batch = append::Batch::of(&postgres, &events);
        let read = pages(&mut tx, append::APPEND, |statement| batch.bind(statement));
        assert!(read.await < FEW, "an append, {round}");
        let read = pages(&mut tx, activity::MOVE_HORIZON, |statement| statement.bind(day("2099-01-01")));
        assert!(read.await < FEW, "a move of the horizon, {round}");
        tx.rollback().await.unwrap();
        database.psql("ANALYZE");
    }
}

/// An event that counts on 2020-01-02.
fn event(by: &str, id: &str) -> NewEvent {
    let (name, install) =
        (EventName::new("app_session_start").unwrap(), InstallId::new("phone-4711").unwrap());
    let now = Timestamp::from_secs(1_577_966_400).unwrap();
    let event = ClientEvent::new(name, install).at(now).by(UserId::new(by).unwrap());
    let properties = EventProperties::parse(r#"{"city":"Changsha"}"#).unwrap();
    let event = event.with_event_id(EventId::new(id).unwrap()).with_properties(properties);
    event.judged(now, &ActivityPolicy::default()).unwrap()
}

/// One room with a long history among many with a short one.
const ROOMS: &str = "
    INSERT INTO presence.rooms (id, name, created_at, last_action, alive_at)
    SELECT 'room ' || n, 'Room', 1, 1, 1 FROM generate_series(1, 5000) n;
    INSERT INTO presence.rooms (id, name, created_at, last_action, alive_at) VALUES ('long', 'Room', 1, 1, 1);
    INSERT INTO presence.chat_history
    SELECT 'long', n, 1, 'user ' || n % 50, 'Name', false, 1000 * n, 'said' FROM generate_series(1, 30000) n;
    INSERT INTO presence.chat_history
    SELECT 'room ' || n, 1, 1, 'user ' || n % 50, 'Name', false, 1000 * n, 'said' FROM generate_series(1, 5000) n;
    INSERT INTO presence.room_sessions
    SELECT 'long', n, 'user ' || n % 50, 'Name', 1000 * n, CASE WHEN n < 29990 THEN 1000 * n + 500 END
    FROM generate_series(1, 30000) n;
    INSERT INTO presence.admin_actions SELECT 'long', n, 'user ' || n % 50, 'kick', 'user ' || n % 49, 1000 * n
    FROM generate_series(1, 30000) n;
    INSERT INTO presence.room_roles SELECT 'room ' || n, 'admin', 'user ' || n % 50, 1 FROM generate_series(1, 5000) n";

#[tokio::test]
async fn no_statement_reads_a_long_room() {
    const FEW: u64 = 100;
    const MIDDLE: i64 = 15_000_500;
    let database = Database::create();
    let (_postgres, mut connection) = migrated(&database).await;
    database.psql(ROOMS);
    for round in ["unknown to the server", "known on average"] {
        let all = pages(&mut connection, "SELECT count(content) FROM chat_history", |all| all).await;
        assert!(all > 2 * FEW, "{all} pages are all there is");
        let read = pages(&mut connection, room_query::ROOM, |statement| statement.bind("long"));
        assert!(read.await < FEW, "room, {round}");
        let read =
            pages(&mut connection, room_query::ROOMS, |statement| statement.bind("room 2").bind(10_i64));
        assert!(read.await < FEW, "rooms, {round}");
        let read =
            pages(&mut connection, room_query::ABANDONED, |statement| statement.bind(MIDDLE).bind(10_i64));
        assert!(read.await < FEW, "abandoned, {round}");
        for sql in [room_query::MESSAGES, room_query::SESSIONS] {
            let read = pages(&mut connection, sql, |statement| {
                let part = statement.bind("long").bind(MIDDLE).bind(MIDDLE + 20_000);
                part.bind(10_i64).bind(5_i64)
            });
            assert!(read.await < FEW, "part, {round}");
        }
        let read = pages(&mut connection, room_query::ACTIONS, |statement| {
            statement.bind("long").bind(15_000_i64).bind(10_i64)
        });
        assert!(read.await < FEW, "actions, {round}");
        let read = pages(&mut connection, room_store::LAST_MESSAGES, |statement| {
            statement.bind("long").bind(10_i64)
        });
        assert!(read.await < FEW, "last messages, {round}");
        let read = pages(&mut connection, room_store::UNFINISHED, |statement| statement.bind("long"));
        assert!(read.await < FEW, "unfinished, {round}");
        let read =
            pages(&mut connection, room_store::RETIRE, |statement| statement.bind(5_000_i64).bind(5_i64));
        assert!(read.await < 2 * FEW, "retire, {round}");
        let read = pages(&mut connection, query::EXPORT, |statement| {
            let export = statement.bind("user 7").bind(7).bind("").bind(-1_i64).bind(0_i64);
            let day = Day("1970-01-01".parse().unwrap());
            let export = export.bind("").bind(day).bind("").bind("").bind(10_i64).bind("").bind("");
            export.bind("").bind(0_i64).bind("").bind(0_i64).bind("").bind(0_i64)
        });
        assert!(read.await < 3 * FEW, "export, {round}");
        database.psql("ANALYZE");
    }
}
