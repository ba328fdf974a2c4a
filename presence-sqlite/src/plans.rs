//! How SQLite means to run each statement: none reads a whole table.

use rusqlite::Connection;

use crate::{
    checkpoint_query as query, checkpoint_store as store, commit, live_set as live, load, migrate,
    summary_cache as summary,
};

const STATEMENTS: &[&str] = &[
    load::SESSION,
    load::BEFORE,
    load::AFTER,
    load::RUN,
    load::REQUEST,
    commit::RENEW_SESSION,
    commit::START_SESSION,
    commit::LAPSE,
    commit::WITHDRAW,
    commit::INSERT,
    commit::ADD_TOTAL,
    commit::REMEMBER,
    store::TOUCH,
    store::OVERDUE,
    store::ERASE_CHECKPOINTS,
    store::ERASE_REQUESTS,
    store::ERASE_TOTALS,
    store::ERASE_SESSION,
    store::ERASE_MEMBER,
    query::TOTALS,
    query::STATE_AT,
    query::STATES,
    query::CHECKPOINT,
    query::HISTORY,
    query::ONLINE,
    query::ROWS,
    query::REQUESTS,
    live::SEE,
    live::BIND,
    live::LEAVE,
    live::LEAVE_BOUND,
    live::COUNT,
    live::LIST,
    live::EVICT,
    live::UNBIND,
    summary::MARKS,
    summary::VERSION,
    summary::ZONE,
    summary::MARK,
    summary::REPLACE,
    summary::KEEP,
    summary::KEPT,
    summary::STALE,
    summary::FORGET,
    summary::ERASE_SUMMARIES,
    summary::ERASE_MARK,
];

fn plan(conn: &Connection, sql: &str) -> String {
    let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // Unbound parameters are NULL, which is no matter to a plan.
    let lines = explain.raw_query().mapped(|row| row.get::<_, String>(3));
    lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_statement_seeks() {
    let mut conn = Connection::open_in_memory().unwrap();
    migrate::migrate(&mut conn).unwrap();
    for sql in STATEMENTS {
        let plan = plan(&conn, sql);
        let scans = plan.replace("SCAN page", "");
        assert!(!scans.contains("SCAN"), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}

#[test]
fn statements_use_the_indexes_that_are_there_for_them() {
    let mut conn = Connection::open_in_memory().unwrap();
    migrate::migrate(&mut conn).unwrap();
    for (sql, index) in [
        (store::OVERDUE, "user_sessions_live (last_heartbeat<?)"),
        (commit::LAPSE, "checkpoints_lapse (user_id=? AND proof_at=?)"),
        (commit::WITHDRAW, "checkpoints_id (id=?)"),
        (query::CHECKPOINT, "checkpoints_id (id=?)"),
        (query::HISTORY, "PRIMARY KEY (user_id=? AND timestamp>? AND (timestamp,id)<(?,?))"),
        (query::ROWS, "PRIMARY KEY (user_id=? AND (timestamp,id)>(?,?))"),
        (summary::KEPT, "PRIMARY KEY (user_id=? AND bucket_start>? AND bucket_start<?)"),
        (summary::FORGET, "PRIMARY KEY (user_id=? AND bucket_start>? AND bucket_start<?)"),
        (live::COUNT, "COVERING INDEX online_members_seen (last_seen>?)"),
        (live::UNBIND, "online_members_seen (last_seen=? AND bound<?)"),
    ] {
        let plan = plan(&conn, sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
    }
}
