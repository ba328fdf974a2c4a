//! How a database becomes one of ours, and stays one.
//!
//! Each migration is one transaction, so that a crash leaves it applied or not. They only add, and one that was
//! released is never edited: the checksum tells.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::{OpenError, connection::APPLICATION_ID};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "checkpoints", sql: include_str!("../migrations/001_checkpoints.sql") },
    Migration {
        version: 2,
        name: "state_summaries",
        sql: include_str!("../migrations/002_state_summaries.sql"),
    },
    Migration { version: 3, name: "activity", sql: include_str!("../migrations/003_activity.sql") },
    Migration { version: 4, name: "rooms", sql: include_str!("../migrations/004_rooms.sql") },
    Migration { version: 5, name: "outbox", sql: include_str!("../migrations/005_outbox.sql") },
    Migration { version: 6, name: "outbox_keys", sql: include_str!("../migrations/006_outbox_keys.sql") },
];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS _presence_migrations (
    version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
) STRICT";
const NEWEST: &str = "SELECT max(version) FROM _presence_migrations";
const CHECKSUM: &str = "SELECT checksum FROM _presence_migrations WHERE version = ?1";
const APPLIED: &str = "INSERT INTO _presence_migrations (version, name, checksum) VALUES (?1, ?2, ?3)";

/// Applies what is missing.
pub(crate) fn migrate(conn: &mut Connection) -> Result<(), OpenError> {
    run(conn, MIGRATIONS)
}

fn run(conn: &mut Connection, migrations: &[Migration]) -> Result<(), OpenError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Nothing is written where nothing is missing, so that a store opens on a full disk too.
    let application: i32 = tx.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    tx.execute_batch(TABLE)?;
    let found: Option<i64> = tx.query_row(NEWEST, [], |row| row.get(0))?;
    let (found, known) = (found.unwrap_or(0), migrations.last().map_or(0, |last| last.version));
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    tx.commit()?;
    migrations.iter().try_for_each(|migration| apply(conn, migration))
}

fn apply(conn: &mut Connection, migration: &Migration) -> Result<(), OpenError> {
    let &Migration { version, name, sql } = migration;
    let checksum: String = Sha256::digest(sql).iter().map(|byte| format!("{byte:02x}")).collect();
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let applied: Option<String> = tx.query_row(CHECKSUM, [version], |row| row.get(0)).optional()?;
    match applied {
        Some(applied) if applied == checksum => Ok(()),
        Some(_) => Err(OpenError::Altered { version }),
        None => {
            tx.execute_batch(sql)?;
            tx.execute(APPLIED, params![version, name, checksum])?;
            Ok(tx.commit()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use presence_core::conformance::outbox::letters_with_keys;

    use super::*;

    const NEXT: Migration =
        Migration { version: 7, name: "more", sql: "CREATE TABLE more (a INTEGER) STRICT" };

    #[test]
    fn migrating_again_changes_nothing() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        let key = |conn: &Connection| {
            conn.query_row("SELECT erasure_key FROM store_meta", [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
        };
        let first = key(&conn);
        migrate(&mut conn).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(key(&conn), first);
    }

    #[test]
    fn a_migration_that_fails_leaves_nothing() {
        let mut conn = Connection::open_in_memory().unwrap();
        let broken =
            Migration { version: 1, name: "broken", sql: "CREATE TABLE a (b INTEGER); SELECT nonsense" };
        assert!(run(&mut conn, &[broken]).is_err());
        assert!(conn.prepare("SELECT b FROM a").is_err());
        migrate(&mut conn).unwrap();
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        apply(&mut conn, &NEXT).unwrap();
        assert!(matches!(migrate(&mut conn), Err(OpenError::Newer { found: 7, known: 6 })));
    }

    #[test]
    fn an_altered_migration_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        let altered = Migration { version: 1, name: "checkpoints", sql: "SELECT 1" };
        assert!(matches!(apply(&mut conn, &altered), Err(OpenError::Altered { version: 1 })));
    }

    #[test]
    fn letters_that_wait_have_the_keys_of_their_events() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &MIGRATIONS[..5]).unwrap();
        let (bodies, keys): (Vec<_>, Vec<_>) = letters_with_keys().into_iter().unzip();
        for (number, body) in (1..).zip(bodies) {
            let row = params![number, body];
            conn.execute("INSERT INTO outbox VALUES ('all', ?1, 5, ?2)", row).unwrap();
            conn.execute("INSERT INTO dead_letters VALUES ('all', ?1, 5, 'no', ?2)", row).unwrap();
        }
        migrate(&mut conn).unwrap();
        for table in ["outbox", "dead_letters"] {
            let mut statement = conn.prepare(&format!("SELECT key FROM {table} ORDER BY number")).unwrap();
            let found = statement.query_map([], |row| row.get(0)).unwrap();
            assert_eq!(found.collect::<Result<Vec<String>, _>>().unwrap(), keys);
        }
    }

    #[test]
    fn stays_that_ended_before_they_were_numbered_have_numbers() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &MIGRATIONS[..4]).unwrap();
        conn.execute_batch(
            "INSERT INTO rooms (id, name, created_at, last_action, alive_at)
             VALUES ('lobby', 'Lobby', 1, 1, 9), ('other', 'Other', 1, 1, 9);
             INSERT INTO room_sessions (room_id, number, user_id, nickname, join_time, leave_time)
             VALUES ('lobby', 1, 'alice', 'A', 1, 5), ('lobby', 2, 'bob', 'B', 2, 4), ('lobby', 3, 'carol', 'C', 3, NULL)",
        )
        .unwrap();
        migrate(&mut conn).unwrap();
        let mut ends = conn.prepare("SELECT number, end_number FROM room_sessions ORDER BY number").unwrap();
        let ends = ends.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let ends: Vec<(i64, Option<i64>)> = ends.map(Result::unwrap).collect();
        assert_eq!(ends, [(1, Some(2)), (2, Some(1)), (3, None)]);
        let mut last = conn.prepare("SELECT last_end FROM rooms ORDER BY id").unwrap();
        let last: Vec<i64> = last.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(last, [2, 0]);
    }
}
