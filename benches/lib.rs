//! What the benches share: users, reports, events, the bare loops that they are measured against, and load over HTTP.

pub mod activity;
pub mod load;
pub mod process;
pub mod room;
pub mod server;
pub mod table;

use std::{path::Path, time::Duration};

use presence_core::{Envelope, StateType, Timestamp, UserId};
use presence_sqlite::rusqlite::{Connection, params};

/// The instant at which benches begin.
///
/// # Panics
///
/// Never: it is a valid instant.
#[must_use]
pub fn start() -> Timestamp {
    Timestamp::from_secs(1_700_000_000).expect("an instant")
}

/// The start plus some milliseconds.
#[must_use]
pub fn after(millis: u64) -> Timestamp {
    start().saturating_add(Duration::from_millis(millis))
}

/// The user of this number, with an id of 36 bytes, as UUIDs have.
///
/// # Panics
///
/// Never: it is a valid id.
#[must_use]
pub fn user(number: u64) -> UserId {
    // A bijection of 64 bits, so that neighbours in number are none in order.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    UserId::new(format!("{:08x}-{:04x}-4000-8000-{number:012x}", mixed >> 32, mixed & 0xffff)).expect("an id")
}

/// The state of a user's report of this number: neighbours differ.
#[must_use]
pub const fn state(number: u64) -> StateType {
    if number.is_multiple_of(2) { StateType::Working } else { StateType::Idle }
}

/// A report that changes the state.
#[must_use]
pub fn report(user: UserId, number: u64) -> Envelope {
    Envelope::checkpoint(user, state(number)).at(after(number * 1000))
}

/// What somebody writes who does without the library: the rows of a report, and nothing checked.
#[derive(Debug)]
pub struct BareLoop {
    connection: Connection,
    next_id: i64,
}

impl BareLoop {
    /// Opens a file that a store has made, with the settings of the store.
    ///
    /// # Panics
    ///
    /// Where SQLite fails.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let connection = Connection::open(path).expect("a file of a store");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 20000;
                 PRAGMA secure_delete = ON; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;",
            )
            .expect("settings");
        let next_id = connection
            .query_row("SELECT coalesce(max(id), 0) + 1 FROM checkpoints", [], |row| row.get(0))
            .expect("a table of a store");
        Self { connection, next_id }
    }

    /// Writes these reports in one transaction: a row, a session and a total each.
    ///
    /// # Panics
    ///
    /// Where SQLite fails.
    pub fn write(&mut self, reports: &[(UserId, u64)]) {
        let transaction = self.connection.transaction().expect("a transaction");
        for (user, number) in reports {
            let (state, at) = (state(*number), after(number * 1000).as_millis());
            transaction
                .prepare_cached(
                    "INSERT INTO checkpoints (id, user_id, state, timestamp, content, source, proof_at)
                     VALUES (?1, ?2, ?3, ?4, NULL, 'client', NULL)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![self.next_id, user.as_str(), state.as_str(), at])
                })
                .expect("a row");
            self.next_id += 1;
            set_session(&transaction, user, state.as_str(), at, at, self.next_id);
            add_total(&transaction, user, state.as_str(), 1000);
        }
        transaction.commit().expect("a commit");
    }

    /// Writes the timeouts of these users in one transaction: a row, a session and a total each.
    ///
    /// # Panics
    ///
    /// Where SQLite fails.
    pub fn lapse(&mut self, users: &[UserId], heartbeat: Timestamp, at: Timestamp) {
        let transaction = self.connection.transaction().expect("a transaction");
        for user in users {
            transaction
                .prepare_cached(
                    "INSERT INTO checkpoints (id, user_id, state, timestamp, content, source, proof_at)
                     VALUES (?1, ?2, 'Offline', ?3, NULL, 'timeout', ?4)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        self.next_id,
                        user.as_str(),
                        at.as_millis(),
                        heartbeat.as_millis()
                    ])
                })
                .expect("a row");
            self.next_id += 1;
            let (at, heartbeat) = (at.as_millis(), heartbeat.as_millis());
            set_session(&transaction, user, "Offline", heartbeat, at, self.next_id);
            add_total(&transaction, user, "Working", 60_000);
        }
        transaction.commit().expect("a commit");
    }
}

fn set_session(
    connection: &Connection,
    user: &UserId,
    state: &str,
    heartbeat: i64,
    change: i64,
    version: i64,
) {
    connection
        .prepare_cached(
            "INSERT INTO user_sessions
                 (user_id, current_state, live_since, last_heartbeat, last_state_change, version)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5)
             ON CONFLICT (user_id) DO UPDATE SET current_state = ?2, last_heartbeat = ?3, last_state_change = ?4,
                 version = ?5",
        )
        .and_then(|mut upsert| upsert.execute(params![user.as_str(), state, heartbeat, change, version]))
        .expect("a session");
}

fn add_total(connection: &Connection, user: &UserId, state: &str, millis: i64) {
    connection
        .prepare_cached(
            "INSERT INTO state_totals (user_id, state, duration_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (user_id, state) DO UPDATE SET duration_ms = duration_ms + ?3",
        )
        .and_then(|mut upsert| upsert.execute(params![user.as_str(), state, millis]))
        .expect("a total");
}
