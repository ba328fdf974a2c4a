//! The same on PostgreSQL.

use std::collections::BTreeMap;

use presence_core::{EventProperties, NewEvent, UserId};
use presence_sqlx::sqlx::{self, PgConnection};

const WRITE: &str = "WITH logged AS (
    INSERT INTO analytics_event_log
        (id, event_id, fingerprint, user_id, install_id, event_name, event_time, created_at, properties)
    SELECT nextval('event_log_id'), l.event_id, l.fingerprint, l.user_id, l.install_id, l.event_name, l.event_time,
        l.event_time, l.properties::json
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])
        AS l (event_id, fingerprint, user_id, install_id, event_name, event_time, properties)
), seen AS (
    INSERT INTO daily_sightings AS d
        (day, install_id, user_id, province, province_at, province_rank, city, city_at, city_rank)
    SELECT DATE '2025-01-01', s.install_id, s.user_id, s.province, s.at, s.rank, s.city, s.at, s.rank
    FROM unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bytea[])
        AS s (install_id, user_id, province, city, at, rank)
    ON CONFLICT (day, install_id, user_id) DO UPDATE SET province = excluded.province,
        province_at = excluded.province_at, province_rank = excluded.province_rank, city = excluded.city,
        city_at = excluded.city_at, city_rank = excluded.city_rank
    WHERE d.province_at IS NULL OR excluded.province_at > d.province_at
)
INSERT INTO activity_days AS a (day, changes, folded) VALUES ('2025-01-01', 1, 0)
ON CONFLICT (day) DO UPDATE SET changes = a.changes + 1";

/// The rows of these events, and nothing checked but what a statement cannot write twice.
///
/// # Panics
///
/// Where PostgreSQL fails.
pub async fn write(connection: &mut PgConnection, rows: &[NewEvent]) {
    let text = |of: fn(&NewEvent) -> &str| rows.iter().map(of).collect::<Vec<_>>();
    let fingerprints: Vec<_> = rows.iter().map(|row| row.fingerprint.0.to_be_bytes()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user.as_ref().map(UserId::as_str)).collect();
    let at: Vec<_> = rows.iter().map(|row| row.at.as_millis()).collect();
    let properties: Vec<_> =
        rows.iter().map(|row| row.properties.as_ref().map(EventProperties::as_str)).collect();
    let mut seen: BTreeMap<_, &NewEvent> = BTreeMap::new();
    for row in rows {
        let last = seen.entry((row.install.as_str(), row.user.as_ref().map_or("", UserId::as_str)));
        let last = last.or_insert(row);
        let names_region = row.sighting.as_ref().is_some_and(|sighting| sighting.province.is_some());
        if names_region && row.at > last.at {
            *last = row;
        }
    }
    let (installs, people): (Vec<_>, Vec<_>) = seen.keys().copied().unzip();
    let sightings = || seen.values().filter_map(|row| row.sighting.as_ref());
    let provinces: Vec<_> =
        sightings().map(|seen| seen.province.as_ref().map(|region| region.name.as_str())).collect();
    let cities: Vec<_> =
        sightings().map(|seen| seen.city.as_ref().map(|region| region.name.as_str())).collect();
    let seen_at: Vec<_> =
        sightings().map(|seen| seen.province.as_ref().map(|region| region.at.as_millis())).collect();
    let ranks: Vec<_> =
        sightings().map(|seen| seen.province.as_ref().map(|region| region.rank.0.to_be_bytes())).collect();
    let write = sqlx::query(WRITE).bind(text(|row| row.event_id.as_str())).bind(fingerprints).bind(users);
    let write = write.bind(text(|row| row.install.as_str())).bind(text(|row| row.name.as_str())).bind(at);
    let write = write.bind(properties).bind(installs).bind(people).bind(provinces).bind(cities);
    write.bind(seen_at).bind(ranks).execute(connection).await.expect("rows");
}
