//! How connections are opened, and which SQLite is good enough.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use crate::{Durability, OpenError, error::Fault};

/// Marks a database file as ours: "PRES".
pub(crate) const APPLICATION_ID: i32 = 0x5052_4553;

/// How long SQLite waits for a lock. Nobody else writes, so only a checkpoint ever waits, for readers.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// More than there are statements, so that each is prepared once.
const STATEMENTS: usize = 128;

/// Whether SQLite of this number keeps what it has committed.
///
/// Before 3.51.3, two connections that write and checkpoint at once can lose pages; 3.52.0 was withdrawn.
pub(crate) const fn is_acceptable(version: i32) -> bool {
    version >= 3_051_003 && version != 3_052_000
}

/// Refuses a SQLite that could lose what was committed.
pub(crate) fn check_version() -> Result<(), OpenError> {
    if is_acceptable(rusqlite::version_number()) {
        Ok(())
    } else {
        Err(OpenError::Outdated { found: rusqlite::version() })
    }
}

/// Refuses a file that is somebody else's, before anything is written to it.
pub(crate) fn inspect(path: &Path) -> Result<(), OpenError> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, tables) {
        (APPLICATION_ID, _) | (0, 0) => Ok(()),
        _ => Err(OpenError::Foreign),
    }
}

/// The connection that writes; `None` is a database in memory.
pub(crate) fn writer(path: Option<&Path>, durability: Durability) -> Result<Connection, Fault> {
    let conn = match path {
        Some(path) => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?,
        None => Connection::open_in_memory()?,
    };
    prepare(&conn)?;
    let journal: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if path.is_some() && journal != "wal" {
        return Err(Fault::Call("the file system cannot share memory, which SQLite's log needs"));
    }
    conn.execute_batch(
        "-- Deleted rows are overwritten. It costs nothing that can be measured.
         PRAGMA secure_delete = ON;
         -- 80 MB. Random keys dirty a page each, so that a checkpoint costs the less per row the later it comes:
         -- 1.5 times as many commits per second as with 1000, and no more with 60000.
         PRAGMA wal_autocheckpoint = 20000;
         PRAGMA journal_size_limit = 134217728;
         PRAGMA cache_size = -65536;",
    )?;
    conn.pragma_update(None, "synchronous", if durability == Durability::Fsync { "FULL" } else { "NORMAL" })?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
    prepare(&conn)?;
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -16384;")?;
    Ok(conn)
}

/// Gives the memory of the pages back that a connection has read: where nothing is asked of it, the system's own cache
/// has them too, and may give them to others.
pub(crate) fn release(conn: &Connection) {
    // It is only memory: whoever works next does so with or without.
    let _ = conn.execute_batch("PRAGMA shrink_memory");
}

// Each connection belongs to one thread. No URI: a path is a path, whatever characters it has.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sqlite_that_keeps_what_it_has_committed_is_acceptable() {
        let refused = [3_040_001, 3_051_002, 3_052_000];
        let taken = [3_051_003, 3_052_001, 3_053_000, 3_054_001];
        assert!(refused.into_iter().all(|version| !is_acceptable(version)));
        assert!(taken.into_iter().all(is_acceptable));
        assert!(check_version().is_ok());
    }
}
