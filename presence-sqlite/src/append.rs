//! What an event writes: [`ActivityStore::append`](presence_core::ActivityStore::append).

use std::collections::BTreeSet;

use presence_core::{Appended, EventKind, NewEvent, Region, Sighting, UserId};
use rusqlite::{CachedStatement, Connection, params};

use crate::{activity_store, codec, error::Fault, outbox, writer::Writer};

pub(crate) const LOG: &str = "INSERT INTO analytics_event_log
    (event_id, fingerprint, user_id, install_id, event_name, event_time, created_at, properties)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
pub(crate) const LOGGED_BY_USER: &str =
    "SELECT fingerprint FROM analytics_event_log WHERE user_id = ?1 AND event_id = ?2";
pub(crate) const LOGGED_ON_INSTALL: &str = "SELECT fingerprint FROM analytics_event_log
    WHERE user_id IS NULL AND install_id = ?1 AND event_id = ?2";
pub(crate) const SEEN: &str = concat!(
    "SELECT ",
    codec::region_columns!(),
    " FROM daily_sightings WHERE day = ?1 AND install_id = ?2 AND user_id = ?3"
);
pub(crate) const SEE: &str = "INSERT INTO daily_sightings (day, install_id, user_id,
    province, province_at, province_rank, city, city_at, city_rank) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (day, install_id, user_id) DO UPDATE SET province = excluded.province,
    province_at = excluded.province_at, province_rank = excluded.province_rank, city = excluded.city,
    city_at = excluded.city_at, city_rank = excluded.city_rank";
pub(crate) const CHANGE: &str = "INSERT INTO activity_days (day, changes, folded) VALUES (?1, 1, 0)
    ON CONFLICT (day) DO UPDATE SET changes = changes + 1";

/// Stores events in order, all in the transaction that is open.
pub(crate) fn append(writer: &mut Writer, events: &[NewEvent]) -> Result<Vec<Appended>, Fault> {
    let Writer { conn, eraser, .. } = &*writer;
    let mut tables = Tables::new(conn)?;
    let outcomes = events.iter().map(|event| {
        let erased_at = event.user.as_ref().map(|user| eraser.fence(conn, user)).transpose()?.flatten();
        if erased_at.is_some_and(|erased_at| event.at <= erased_at) {
            return Ok(Appended::Erased);
        }
        tables.append(event)
    });
    let outcomes: Vec<_> = outcomes.collect::<Result<_, Fault>>()?;
    tables.finish()?;
    if writer.wanted.get().wants(EventKind::EventLogged) {
        for (event, _) in events.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Appended::Stored) {
            outbox::tell(writer, &[event.told()], event.created_at)?;
        }
    }
    Ok(outcomes)
}

/// The statements of an event, and what they have changed.
struct Tables<'c> {
    conn: &'c Connection,
    log: CachedStatement<'c>,
    seen: CachedStatement<'c>,
    see: CachedStatement<'c>,
    kept_from: String,
    changed: BTreeSet<String>,
}

impl<'c> Tables<'c> {
    fn new(conn: &'c Connection) -> Result<Self, Fault> {
        Ok(Self {
            conn,
            log: conn.prepare_cached(LOG)?,
            seen: conn.prepare_cached(SEEN)?,
            see: conn.prepare_cached(SEE)?,
            kept_from: activity_store::kept_from(conn)?,
            changed: BTreeSet::new(),
        })
    }

    fn append(&mut self, event: &NewEvent) -> Result<Appended, Fault> {
        let NewEvent { event_id, fingerprint, user, install, name, at, created_at, properties, sighting } =
            event;
        let written = self.log.execute(params![
            event_id.as_str(),
            fingerprint.0.to_be_bytes(),
            user.as_ref().map(UserId::as_str),
            install.as_str(),
            name.as_str(),
            at.as_millis(),
            created_at.as_millis(),
            properties.as_ref().map(|properties| properties.as_str()),
        ])?;
        if written == 0 {
            return self.known(event);
        }
        if let Some(sighting) = sighting {
            let day = sighting.day.to_string();
            if day >= self.kept_from && self.sight(&day, sighting)? {
                self.changed.insert(day);
            }
        }
        Ok(Appended::Stored)
    }

    /// What an event is whose id is there already.
    fn known(&self, event: &NewEvent) -> Result<Appended, Fault> {
        let (sql, person) = match &event.user {
            Some(user) => (LOGGED_BY_USER, user.as_str()),
            None => (LOGGED_ON_INSTALL, event.install.as_str()),
        };
        let mut logged = self.conn.prepare_cached(sql)?;
        let mut rows = logged.query(params![person, event.event_id.as_str()])?;
        let row = rows.next()?.ok_or(Fault::Call("an event is there and is not"))?;
        let is_same = codec::fingerprint(row, 0)? == event.fingerprint;
        Ok(if is_same { Appended::Repeated } else { Appended::Reused })
    }

    /// Merges a sighting, and says whether it was news.
    fn sight(&mut self, day: &str, sighting: &Sighting) -> Result<bool, Fault> {
        let (install, user) = (sighting.install.as_str(), sighting.user.as_ref().map_or("", UserId::as_str));
        let key = params![day, install, user];
        let mut merged = sighting.clone();
        let mut rows = self.seen.query(key)?;
        if let Some(row) = rows.next()? {
            (merged.province, merged.city) = codec::regions(row, 0)?;
            if !merged.merge(sighting.clone()) {
                return Ok(false);
            }
        }
        drop(rows);
        let Sighting { province, city, .. } = &merged;
        let name = |region: &Option<Region>| region.as_ref().map(|region| region.name.to_string());
        let at = |region: &Option<Region>| region.as_ref().map(|region| region.at.as_millis());
        let rank = |region: &Option<Region>| region.as_ref().map(|region| region.rank.0.to_be_bytes());
        self.see.execute(params![
            day,
            install,
            user,
            name(province),
            at(province),
            rank(province),
            name(city),
            at(city),
            rank(city),
        ])?;
        Ok(true)
    }

    /// Marks the days that have news.
    fn finish(self) -> Result<(), Fault> {
        let mut change = self.conn.prepare_cached(CHANGE)?;
        self.changed.iter().try_for_each(|day| change.execute([day]).map(drop)).map_err(Fault::from)
    }
}
