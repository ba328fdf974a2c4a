//! What an event writes: [`ActivityStore::append`](presence_core::ActivityStore::append).
//!
//! All events of a batch are one statement, which is its own transaction: stored together or not at all.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use presence_core::{
    Appended, EventKind, EventProperties, NewEvent, Region, Sighting, Subscriptions, UserId,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore, codec,
    connection::Statement,
    day::Day,
    error::Fault,
    outbox::{Told, telling},
};

/// Whether the row that is inserted knows a later region of this kind than the one that is there: by instant, then by
/// event, then by name, as [`Region`] sorts.
macro_rules! is_later {
    ($kind:literal) => {
        concat!(
            "(excluded.",
            $kind,
            "_at, excluded.",
            $kind,
            "_rank, excluded.",
            $kind,
            ") > (coalesce(d.",
            $kind,
            "_at, -1), coalesce(d.",
            $kind,
            "_rank, ''), coalesce(d.",
            $kind,
            ", ''))"
        )
    };
}
/// A column of this kind, as it is in the later of both.
macro_rules! later {
    ($kind:literal, $column:literal) => {
        concat!(
            $column,
            " = CASE WHEN ",
            is_later!($kind),
            " THEN excluded.",
            $column,
            " ELSE d.",
            $column,
            " END"
        )
    };
}

/// Rows are inserted in order of their keys, table by table, so that no two statements wait for each other: events by
/// `turn`, sightings by `number`, days last.
///
/// An event that is there already is left out by its unique index, whether it was seen before or has just been stored by
/// somebody whom this statement has waited for. The last part looks up what is there. It does not see the latter, nor an
/// event of this statement itself: these have no fingerprint.
///
/// Numbers are given out in order of the batch. `seen` are the sightings of events, each with the numbers of its regions
/// among those of the batch: the later one has the higher number. `fence` locks as in a commit: an erasure, or a move of
/// `kept_from`, that was waited for is seen.
macro_rules! append {
    ($told:expr) => {
        concat!(
    "WITH item AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[],
            $8::bigint[], $9::text[], $10::bigint[]) WITH ORDINALITY
        AS item (event_id, fingerprint, user_id, user_hash, install_id, event_name, event_time, created_at,
            properties, turn, place)
), fence AS MATERIALIZED (
    SELECT e.user_hash, e.at FROM erased_users e WHERE e.user_hash = ANY ($4) FOR KEY SHARE
), numbered AS MATERIALIZED (
    SELECT item.*, nextval('event_log_id') AS id FROM (
        SELECT item.* FROM item LEFT JOIN fence USING (user_hash)
        WHERE fence.at IS NULL OR item.event_time > fence.at ORDER BY item.place
    ) item
), logged AS (
    INSERT INTO analytics_event_log
        (id, event_id, fingerprint, user_id, install_id, event_name, event_time, created_at, properties)
    SELECT n.id, n.event_id, n.fingerprint, n.user_id, n.install_id, n.event_name, n.event_time, n.created_at,
        n.properties::json
    FROM numbered n ORDER BY n.turn
    ON CONFLICT DO NOTHING RETURNING id
), region AS MATERIALIZED (
    SELECT * FROM unnest($11::text[], $12::bigint[], $13::bytea[]) WITH ORDINALITY
        AS region (name, at, rank, number)
), sighting AS MATERIALIZED (
    SELECT seen.number, max(seen.province) AS province, max(seen.city) AS city
    FROM unnest($14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[]) AS seen (place, number, province, city)
    JOIN numbered USING (place) JOIN logged USING (id) GROUP BY seen.number
), merged AS (
    INSERT INTO daily_sightings AS d
        (day, install_id, user_id, province, province_at, province_rank, city, city_at, city_rank)
    SELECT key.day, key.install_id, key.user_id, p.name, p.at, p.rank, c.name, c.at, c.rank
    FROM unnest($18::date[], $19::text[], $20::text[]) WITH ORDINALITY AS key (day, install_id, user_id, number)
    JOIN sighting USING (number)
    LEFT JOIN region p ON p.number = sighting.province LEFT JOIN region c ON c.number = sighting.city
    WHERE NOT EXISTS (SELECT FROM store_meta m WHERE m.id = 1 AND m.kept_from > key.day)
    ORDER BY key.number
    ON CONFLICT (day, install_id, user_id) DO UPDATE SET ",
    later!("province", "province"), ", ", later!("province", "province_at"), ", ",
    later!("province", "province_rank"), ", ", later!("city", "city"), ", ", later!("city", "city_at"), ", ",
    later!("city", "city_rank"),
    " WHERE ", is_later!("province"), " OR ", is_later!("city"),
    " RETURNING d.day
), changed AS (
    INSERT INTO activity_days AS a (day, changes, folded)
    SELECT DISTINCT merged.day, 1, 0 FROM merged ORDER BY day
    ON CONFLICT (day) DO UPDATE SET changes = a.changes + 1
), left_out AS MATERIALIZED (
    SELECT item.place, item.user_id, item.install_id, item.event_id, numbered.id
    FROM item LEFT JOIN numbered USING (place) LEFT JOIN logged USING (id) WHERE logged.id IS NULL
), stored AS MATERIALIZED (
    SELECT numbered.place FROM numbered JOIN logged USING (id)
)",
            $told,
            "
SELECT o.place, o.id IS NULL, known.fingerprint FROM left_out o LEFT JOIN LATERAL (
    (SELECT l.fingerprint FROM analytics_event_log l
    WHERE l.user_id = o.user_id AND l.event_id = o.event_id LIMIT 1)
    UNION ALL
    (SELECT l.fingerprint FROM analytics_event_log l
    WHERE o.user_id IS NULL AND l.user_id IS NULL AND l.install_id = o.install_id AND l.event_id = o.event_id LIMIT 1)
) known ON o.id IS NOT NULL"
)
    };
}

pub(crate) const APPEND: &str = append!("");
/// The same, of events that somebody is told of.
pub(crate) const APPEND_AND_TELL: &str =
    append!(telling!("stored", "$21", "$22", "$23", "$24", "$25", "$26"));

/// Stores events in order, all in one transaction.
///
/// Where an event is there that was not when the statement began, the same statement runs again for such events: by then
/// they can be seen, and were stored with another one.
pub(crate) async fn append(store: &PostgresStore, events: &[NewEvent]) -> Result<Vec<Appended>, Fault> {
    let mut outcomes = vec![Appended::Stored; events.len()];
    let mut open: Vec<_> = (0..).zip(events).collect();
    let wanted = store.wanted.get();
    let mut is_first = true;
    while !open.is_empty() {
        let (batch, told) = (Batch::of(store, &open), told(&wanted, &open));
        let statement = || match told.is_empty() {
            true => batch.bind(sqlx::query(APPEND)),
            false => told.bind(batch.bind(sqlx::query(APPEND_AND_TELL))),
        };
        let rows = store.connections.rows(statement).await;
        // A part of the call may be stored.
        let rows = if is_first { rows? } else { rows.map_err(|_| Fault::Unknown)? };
        let mut unseen = Vec::new();
        for row in &rows {
            let item = open.get(codec::place(row, 0)?).copied();
            let (place, event) = item.ok_or(Fault::Call("a row without its event"))?;
            match left_out(row, event)? {
                Some(outcome) => outcomes.get_mut(place).into_iter().for_each(|known| *known = outcome),
                None => unseen.push((place, event)),
            }
        }
        unseen.sort_unstable_by_key(|(place, _)| *place);
        (open, is_first) = (unseen, false);
    }
    Ok(outcomes)
}

/// What others are told of those events that are stored.
fn told(wanted: &Subscriptions, events: &[(usize, &NewEvent)]) -> Told {
    let mut told = Told::default();
    if wanted.wants(EventKind::EventLogged) {
        for (place, (_, event)) in (1..).zip(events) {
            told.add(wanted, place, &[event.told()], event.created_at);
        }
    }
    told
}

/// Why an event was not stored; `None` where that was not to be seen.
fn left_out(row: &PgRow, event: &NewEvent) -> Result<Option<Appended>, Fault> {
    const IS_ERASED: usize = 1;
    const FINGERPRINT: usize = 2;
    if row.try_get(IS_ERASED)? {
        return Ok(Some(Appended::Erased));
    }
    if row.try_get::<Option<&[u8]>, _>(FINGERPRINT)?.is_none() {
        return Ok(None);
    }
    let known = codec::fingerprint(row, FINGERPRINT, "analytics_event_log.fingerprint")?;
    Ok(Some(if known == event.fingerprint { Appended::Repeated } else { Appended::Reused }))
}

/// The events of a statement, column by column. Places and numbers are counted from one, as the server does.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    event_ids: Vec<&'a str>,
    fingerprints: Vec<[u8; 16]>,
    users: Vec<Option<&'a str>>,
    hashes: Vec<Option<[u8; 32]>>,
    installs: Vec<&'a str>,
    names: Vec<&'a str>,
    at: Vec<i64>,
    created_at: Vec<i64>,
    properties: Vec<Option<&'a str>>,
    turns: Vec<i64>,
    regions: Regions<'a>,
    seen: Seen,
    keys: Keys<'a>,
}

/// The regions of a batch, the later one behind the earlier one.
#[derive(Default)]
struct Regions<'a> {
    names: Vec<&'a str>,
    at: Vec<i64>,
    ranks: Vec<[u8; 16]>,
}

/// Per sighting of an event: whose, and which regions it names.
#[derive(Default)]
struct Seen {
    places: Vec<i64>,
    numbers: Vec<i64>,
    provinces: Vec<Option<i64>>,
    cities: Vec<Option<i64>>,
}

/// The days, installs and users that were seen, in order.
#[derive(Default)]
struct Keys<'a> {
    days: Vec<Day>,
    installs: Vec<&'a str>,
    users: Vec<&'a str>,
}

impl<'a> Batch<'a> {
    pub(crate) fn of(store: &PostgresStore, events: &[(usize, &'a NewEvent)]) -> Self {
        let mut batch = Self::default();
        for (_, event) in events {
            batch.event_ids.push(event.event_id.as_str());
            batch.fingerprints.push(event.fingerprint.0.to_be_bytes());
            batch.users.push(event.user.as_ref().map(UserId::as_str));
            batch.hashes.push(event.user.as_ref().map(|user| store.eraser.hash(user)));
            batch.installs.push(event.install.as_str());
            batch.names.push(event.name.as_str());
            batch.at.push(event.at.as_millis());
            batch.created_at.push(event.created_at.as_millis());
            batch.properties.push(event.properties.as_ref().map(EventProperties::as_str));
        }
        batch.turns = turns(events);
        batch.add_sightings(events);
        batch
    }

    fn add_sightings(&mut self, events: &[(usize, &'a NewEvent)]) {
        let Self { regions, seen, keys, .. } = self;
        let sightings = || {
            let places = (1_i64..).zip(events);
            places.filter_map(|(place, (_, event))| Some((place, event.sighting.as_ref()?)))
        };
        let named = sightings().flat_map(|(_, sighting)| [&sighting.province, &sighting.city]).flatten();
        let regions_by_number = numbered(named);
        for region in regions_by_number.keys() {
            regions.names.push(region.name.as_str());
            regions.at.push(region.at.as_millis());
            regions.ranks.push(region.rank.0.to_be_bytes());
        }
        let keys_by_number = numbered(sightings().map(|(_, sighting)| key(sighting)));
        for (day, install, user) in keys_by_number.keys() {
            keys.days.push(Day(*day));
            keys.installs.push(install);
            keys.users.push(user);
        }
        for (place, sighting) in sightings() {
            let number = |region: &Option<Region>| regions_by_number.get(region.as_ref()?).copied();
            let Some(key) = keys_by_number.get(&key(sighting)) else { continue };
            seen.places.push(place);
            seen.numbers.push(*key);
            seen.provinces.push(number(&sighting.province));
            seen.cities.push(number(&sighting.city));
        }
    }

    /// The arguments of [`APPEND`].
    pub(crate) fn bind<'q>(&'q self, append: Statement<'q>) -> Statement<'q> {
        let Self { regions, seen, keys, .. } = self;
        let items = append.bind(&self.event_ids).bind(&self.fingerprints).bind(&self.users);
        let items = items.bind(&self.hashes).bind(&self.installs).bind(&self.names).bind(&self.at);
        let items = items.bind(&self.created_at).bind(&self.properties).bind(&self.turns);
        let rows = items.bind(&regions.names).bind(&regions.at).bind(&regions.ranks);
        let rows = rows.bind(&seen.places).bind(&seen.numbers).bind(&seen.provinces).bind(&seen.cities);
        rows.bind(&keys.days).bind(&keys.installs).bind(&keys.users)
    }
}

/// When each event has its turn: in order of its key in the log, and of two with one key the first one first.
fn turns(events: &[(usize, &NewEvent)]) -> Vec<i64> {
    let mut order: Vec<_> = (0..events.len()).collect();
    order.sort_by_cached_key(|place| events.get(*place).map(|(_, event)| log_key(event)));
    let mut turns = vec![0; events.len()];
    for (turn, place) in (1..).zip(order) {
        turns.get_mut(place).into_iter().for_each(|own| *own = turn);
    }
    turns
}

/// Which event of whom: of the user, or of the install where there is none.
fn log_key(event: &NewEvent) -> (bool, &str, &str) {
    let event_id = event.event_id.as_str();
    match &event.user {
        Some(user) => (true, user.as_str(), event_id),
        None => (false, event.install.as_str(), event_id),
    }
}

fn key(sighting: &Sighting) -> (NaiveDate, &str, &str) {
    (sighting.day, sighting.install.as_str(), sighting.user.as_ref().map_or("", UserId::as_str))
}

/// Numbers what there is in order, from one.
fn numbered<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, i64> {
    let mut numbers: BTreeMap<T, i64> = items.map(|item| (item, 0)).collect();
    numbers.values_mut().zip(1..).for_each(|(number, place)| *number = place);
    numbers
}
