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
    use super::*;

    const NEXT: Migration =
        Migration { version: 5, name: "more", sql: "CREATE TABLE more (a INTEGER) STRICT" };

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
        assert!(matches!(migrate(&mut conn), Err(OpenError::Newer { found: 5, known: 4 })));
    }

    #[test]
    fn an_altered_migration_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        let altered = Migration { version: 1, name: "checkpoints", sql: "SELECT 1" };
        assert!(matches!(apply(&mut conn, &altered), Err(OpenError::Altered { version: 1 })));
    }
}
