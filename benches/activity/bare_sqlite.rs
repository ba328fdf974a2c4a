//! What somebody writes who does without the library, on SQLite.

use std::path::Path;

use presence_core::{EventProperties, NewEvent, UserId};
use presence_sqlite::rusqlite;

/// The rows of these events, a transaction for every thousand, and nothing checked.
///
/// # Panics
///
/// Where SQLite fails.
pub fn write(path: &Path, rows: &[NewEvent]) {
    let mut connection = rusqlite::Connection::open(path).expect("a file of a store");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 20000;
             PRAGMA secure_delete = ON; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;",
        )
        .expect("settings");
    for batch in rows.chunks(1000) {
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut log = transaction
                .prepare_cached(
                    "INSERT INTO analytics_event_log (event_id, fingerprint, user_id, install_id, event_name,
                     event_time, created_at, properties) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )
                .expect("a statement");
            let mut sighting = transaction
                .prepare_cached(
                    "INSERT INTO daily_sightings (day, install_id, user_id, province, province_at, province_rank,
                     city, city_at, city_rank) VALUES ('2025-01-01', ?1, ?2, ?3, ?4, ?5, ?6, ?4, ?5)
                     ON CONFLICT DO UPDATE SET province = excluded.province, province_at = excluded.province_at,
                     province_rank = excluded.province_rank, city = excluded.city, city_at = excluded.city_at,
                     city_rank = excluded.city_rank WHERE province_at IS NULL OR excluded.province_at > province_at",
                )
                .expect("a statement");
            for row in batch {
                let (install, at) = (row.install.as_str(), row.at.as_millis());
                let user = row.user.as_ref().map(UserId::as_str);
                let properties = row.properties.as_ref().map(EventProperties::as_str);
                let (id, digest) = (row.event_id.as_str(), row.fingerprint.0.to_be_bytes());
                let name = row.name.as_str();
                log.execute(rusqlite::params![id, digest, user, install, name, at, at, properties])
                    .expect("a row");
                let seen = row.sighting.as_ref().expect("counted");
                let province = seen.province.as_ref();
                let rank = province.map(|region| region.rank.0.to_be_bytes());
                let (province, city) = [province, seen.city.as_ref()]
                    .map(|region| region.map(|region| region.name.as_str()))
                    .into();
                let at = rank.map(|_| at);
                sighting
                    .execute(rusqlite::params![install, user.unwrap_or(""), province, at, rank, city])
                    .expect("a row");
            }
            transaction
                .execute(
                    "INSERT INTO activity_days (day, changes, folded) VALUES ('2025-01-01', 1, 0)
                     ON CONFLICT DO UPDATE SET changes = changes + 1",
                    [],
                )
                .expect("a row");
        }
        transaction.commit().expect("a commit");
    }
    connection.close().expect("closed");
}
