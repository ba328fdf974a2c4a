//! How SQLite means to run each statement: none reads a whole table.

use rusqlite::Connection;

use crate::{
    activity_query, activity_store as activity, append, checkpoint_query as query, checkpoint_store as store,
    commit, live_set as live, load, migrate, room_batch, room_query as rooms, room_records as records,
    room_store, snapshot_store as snapshot, summary_cache as summary,
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
    append::LOG,
    append::LOGGED_BY_USER,
    append::LOGGED_ON_INSTALL,
    append::SEEN,
    append::SEE,
    append::CHANGE,
    activity::STALE,
    activity::MARKS,
    activity::KEPT_FROM,
    activity::SIGHTINGS,
    activity::START_FIGURES,
    activity::RENEW_FIGURES,
    activity::FOLDED,
    activity::MOVE_HORIZON,
    activity::SETTLE,
    activity::RETIRE_SIGHTINGS,
    activity::RETIRE_EVENTS,
    activity::ERASE_CHANGES,
    activity::ERASE_SIGHTINGS,
    activity::ERASE_EVENTS,
    activity_query::DAYS,
    activity_query::EVENTS,
    query::SIGHTINGS,
    query::EVENTS,
    snapshot::KEEP,
    snapshot::SNAPSHOTS,
    snapshot::DISCARD,
    room_store::CREATE,
    room_store::TAKE,
    room_store::LAST_MESSAGES,
    room_store::UNFINISHED,
    room_store::RENEW,
    room_store::RETIRE_MESSAGES,
    room_store::RETIRE_SESSIONS,
    room_store::RETIRE_ACTIONS,
    room_store::RETIRED_ROOMS,
    room_store::RETIRE_ROLES,
    room_store::RETIRE_ROOM,
    room_store::ERASE_MESSAGES,
    room_store::ERASE_SESSIONS,
    room_store::ERASE_ROLES,
    room_store::ERASE_ACTOR,
    room_store::ERASE_TARGET,
    room_batch::EPOCH,
    room_batch::SAY,
    room_batch::JOIN,
    room_batch::LEAVE,
    room_batch::GRANT,
    room_batch::REVOKE,
    room_batch::ACT,
    room_batch::CLOSE,
    room_batch::COUNT,
    rooms::ROOM,
    rooms::ROOMS,
    rooms::USERS,
    rooms::ABANDONED,
    rooms::MESSAGES,
    rooms::COUNT_MESSAGES,
    rooms::SESSIONS,
    rooms::COUNT_SESSIONS,
    rooms::ACTIONS,
    records::ROLES,
    records::SESSIONS,
    records::MESSAGES,
    records::DONE,
    records::SUFFERED,
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
        (append::LOGGED_BY_USER, "event_log_user (user_id=? AND event_id=?)"),
        (append::LOGGED_ON_INSTALL, "event_log_install (install_id=? AND event_id=?)"),
        (activity::STALE, "activity_days_stale (day>?)"),
        (activity::SETTLE, "activity_days_stale (day<?)"),
        (activity::SIGHTINGS, "PRIMARY KEY ((day,install_id,user_id)>(?,?,?) AND day<?)"),
        (activity::RETIRE_EVENTS, "idx_event_log_event_time (event_time<?)"),
        (activity_query::EVENTS, "idx_event_log_event_time (event_time>? AND event_time<?)"),
        (query::SIGHTINGS, "daily_sightings_user (user_id=? AND (day,install_id)>(?,?))"),
        (query::EVENTS, "event_log_user (user_id=? AND event_id>?)"),
        (live::UNBIND, "online_members_seen (last_seen=? AND bound<?)"),
        (room_store::LAST_MESSAGES, "PRIMARY KEY (room_id=?)"),
        (room_store::UNFINISHED, "room_sessions_unfinished (room_id=?)"),
        (room_store::RETIRE_MESSAGES, "chat_history_age (created_at<?)"),
        (room_store::RETIRE_SESSIONS, "room_sessions_age (leave_time<?)"),
        (room_store::RETIRE_ACTIONS, "admin_actions_age (at<?)"),
        (room_store::RETIRED_ROOMS, "rooms_closed (closed_at<?)"),
        (rooms::ROOMS, "rooms_open (id>?)"),
        (rooms::ABANDONED, "rooms_occupied (lease_until<?)"),
        (rooms::MESSAGES, "chat_history_time (room_id=? AND created_at>? AND created_at<?)"),
        (
            rooms::COUNT_MESSAGES,
            "COVERING INDEX chat_history_time (room_id=? AND created_at>? AND created_at<?)",
        ),
        (rooms::SESSIONS, "room_sessions_time (room_id=? AND join_time>? AND join_time<?)"),
        (
            rooms::COUNT_SESSIONS,
            "COVERING INDEX room_sessions_time (room_id=? AND join_time>? AND join_time<?)",
        ),
        (rooms::ACTIONS, "PRIMARY KEY (room_id=? AND number<?)"),
        (records::ROLES, "room_roles_user (user_id=? AND (room_id,role)>(?,?))"),
        (records::SESSIONS, "room_sessions_user (user_id=? AND (room_id,number)>(?,?))"),
        (records::MESSAGES, "chat_history_user (user_id=? AND (room_id,seq)>(?,?))"),
        (records::DONE, "admin_actions_actor (actor_id=? AND (room_id,number)>(?,?))"),
        (records::SUFFERED, "admin_actions_target (target_id=? AND (room_id,number)>(?,?))"),
    ] {
        let plan = plan(&conn, sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
    }
}
