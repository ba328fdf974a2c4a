//! The reading side of timelines.

use async_trait::async_trait;
use presence_core::{
    Checkpoint, CheckpointId, CheckpointQuery, EventId, Facts, Place, Record, Request, Session, StateType,
    StoreError, Tally, Timestamp, UserId, Window,
};
use rusqlite::{Connection, params};

use crate::{
    SqliteStore,
    codec::{self, checkpoint_columns},
    error::Fault,
    load, room_records,
};

pub(crate) const TOTALS: &str = "SELECT state, duration_ms FROM state_totals
    WHERE user_id = ?1 AND duration_ms <> 0 AND state > ?2 ORDER BY state LIMIT ?3";
pub(crate) const STATE_AT: &str = "SELECT timestamp, state FROM checkpoints
    WHERE user_id = ?1 AND timestamp <= ?2 ORDER BY timestamp DESC, id DESC LIMIT 1";
pub(crate) const STATES: &str = "SELECT timestamp, state FROM checkpoints
    WHERE user_id = ?1 AND timestamp > ?2 AND timestamp < ?3 ORDER BY timestamp, id";
pub(crate) const CHECKPOINT: &str =
    concat!("SELECT ", checkpoint_columns!(), " FROM checkpoints c WHERE c.id = ?2 AND c.user_id = ?1");
pub(crate) const HISTORY: &str = concat!(
    "SELECT ",
    checkpoint_columns!(),
    " FROM checkpoints c WHERE c.user_id = ?1 AND c.timestamp >= ?2 AND (c.timestamp, c.id) < (?3, ?4)
     ORDER BY c.timestamp DESC, c.id DESC LIMIT ?5"
);
pub(crate) const ONLINE: &str =
    "SELECT last_seen FROM online_members WHERE member = 'u:' || ?1 AND last_seen >= 0";
pub(crate) const ROWS: &str = concat!(
    "SELECT ",
    checkpoint_columns!(),
    " FROM checkpoints c WHERE c.user_id = ?1 AND (c.timestamp, c.id) > (?2, ?3)
     ORDER BY c.timestamp, c.id LIMIT ?4"
);
pub(crate) const REQUESTS: &str = "SELECT event_id, fingerprint, checkpoint_id, created FROM requests
    WHERE user_id = ?1 AND event_id > ?2 ORDER BY event_id LIMIT ?3";
pub(crate) const SIGHTINGS: &str = concat!(
    "SELECT ",
    codec::region_columns!(),
    ", day, install_id, user_id FROM daily_sightings
     WHERE user_id = ?1 AND user_id <> '' AND (day, install_id) > (?2, ?3) ORDER BY day, install_id LIMIT ?4"
);
pub(crate) const EVENTS: &str = concat!(
    "SELECT ",
    codec::event_columns!(),
    " FROM analytics_event_log WHERE user_id = ?1 AND event_id > ?2 ORDER BY event_id LIMIT ?3"
);

#[async_trait]
impl CheckpointQuery for SqliteStore {
    async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        let (user, windows) = (user.clone(), windows.to_vec());
        self.read(move |conn| facts(conn, &user, &windows)).await
    }

    async fn checkpoint(&self, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, StoreError> {
        let user = user.clone();
        self.read(move |conn| checkpoint(conn, &user, id)).await
    }

    async fn history(
        &self,
        user: &UserId,
        window: Window,
        before: Option<(Timestamp, CheckpointId)>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let user = user.clone();
        self.read(move |conn| history(conn, &user, window, before, limit)).await
    }

    async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let user = user.clone();
        self.read(move |conn| export(conn, &user, after.as_ref(), limit)).await
    }
}

fn facts(conn: &Connection, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, Fault> {
    let Some(session) = load::session(conn, user)? else { return Ok(None) };
    let closed = match windows {
        [window] if *window == Window::all() => vec![totals(conn, user, "", usize::MAX)?],
        // Rows between windows that do not touch are passed over.
        windows => {
            let mut closed = Vec::with_capacity(windows.len());
            for run in windows.chunk_by(|window, next| window.to() == next.from()) {
                closed.extend(sums(conn, &session, run)?);
            }
            closed
        }
    };
    Ok(Some(Facts { session, closed }))
}

/// Closed time per state, by state: those after `after`, the empty name standing before all of them.
fn totals(
    conn: &Connection,
    user: &UserId,
    after: &str,
    limit: usize,
) -> Result<Vec<(StateType, i64)>, Fault> {
    let mut totals = conn.prepare_cached(TOTALS)?;
    let mut rows = totals.query(params![user.as_str(), after, codec::limit(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((codec::state(row, 0, "state_totals.state")?, row.get(1)?));
    }
    Ok(found)
}

/// Closed time per window and state, from the rows; the windows touch.
fn sums(
    conn: &Connection,
    session: &Session,
    windows: &[Window],
) -> Result<Vec<Vec<(StateType, i64)>>, Fault> {
    let from = windows.first().map_or(Timestamp::MIN, |window| window.from());
    let to = windows.last().map_or(Timestamp::MIN, |window| window.to()).min(session.last_state_change);
    let user = session.user.as_str();
    let mut tally = Tally::new(windows.to_vec());
    let mut take = |row: &rusqlite::Row<'_>| {
        let at = codec::timestamp(row, 0, "checkpoints.timestamp")?;
        tally.row(at, &codec::state(row, 1, "checkpoints.state")?);
        Ok::<_, Fault>(())
    };
    let mut state_at = conn.prepare_cached(STATE_AT)?;
    if let Some(row) = state_at.query(params![user, from.as_millis()])?.next()? {
        take(row)?;
    }
    let mut states = conn.prepare_cached(STATES)?;
    let mut rows = states.query(params![user, from.as_millis(), to.as_millis()])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(tally.finish(session.last_state_change))
}

fn checkpoint(conn: &Connection, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, Fault> {
    let mut checkpoint = conn.prepare_cached(CHECKPOINT)?;
    let mut rows = checkpoint.query(params![user.as_str(), id.get()])?;
    rows.next()?.map(|row| codec::checkpoint(row, user)).transpose()
}

fn history(
    conn: &Connection,
    user: &UserId,
    window: Window,
    before: Option<(Timestamp, CheckpointId)>,
    limit: usize,
) -> Result<Vec<Checkpoint>, Fault> {
    // One bound, so that a page begins where the last one ended. Ids are positive, so (to, 0) lies before all at `to`.
    let end = (window.to().as_millis(), 0);
    let (to, id) = before.map_or(end, |(at, id)| end.min((at.as_millis(), id.get())));
    let from = window.from().as_millis();
    let mut history = conn.prepare_cached(HISTORY)?;
    let mut rows = history.query(params![user.as_str(), from, to, id, codec::limit(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(codec::checkpoint(row, user)?);
    }
    Ok(found)
}

fn export(
    conn: &Connection,
    user: &UserId,
    after: Option<&Place>,
    limit: usize,
) -> Result<Vec<Record>, Fault> {
    let mut page = Page { conn, user, limit, records: Vec::new() };
    if after.is_none() {
        page.session()?;
    }
    if after < Some(&Place::Online) {
        page.online()?;
    }
    match after {
        Some(Place::Total(state)) => page.totals(state.as_str())?,
        None | Some(Place::Session | Place::Online) => page.totals("")?,
        Some(_) => {}
    }
    match after {
        Some(Place::Checkpoint(at, id)) => page.checkpoints(at.as_millis(), id.get())?,
        None | Some(Place::Session | Place::Online | Place::Total(_)) => page.checkpoints(-1, 0)?,
        Some(_) => {}
    }
    match after {
        Some(Place::Request(event_id)) => page.requests(event_id.as_str())?,
        Some(Place::Session | Place::Online | Place::Total(_) | Place::Checkpoint(..)) | None => {
            page.requests("")?
        }
        Some(_) => {}
    }
    match after {
        Some(Place::Sighting(day, install)) => page.sightings(&day.to_string(), install.as_str())?,
        after if !is_behind_sightings(after) => page.sightings("", "")?,
        _ => {}
    }
    match after {
        Some(Place::Event(event_id)) => page.events(event_id.as_str())?,
        after if !is_in_rooms(after) => page.events("")?,
        _ => {}
    }
    room_records::fill(&mut page, after)?;
    Ok(page.records)
}

fn is_behind_sightings(after: Option<&Place>) -> bool {
    matches!(after, Some(Place::Event(_))) || is_in_rooms(after)
}

fn is_in_rooms(after: Option<&Place>) -> bool {
    use Place::{AdminAction, RoomMessage, RoomRole, RoomSession};
    matches!(after, Some(RoomRole(..) | RoomSession(..) | RoomMessage(..) | AdminAction(..)))
}

/// A page of an export that fills up kind by kind.
pub(crate) struct Page<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) user: &'a UserId,
    limit: usize,
    pub(crate) records: Vec<Record>,
}

impl Page<'_> {
    /// How many records there is room for.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.records.len())
    }

    fn session(&mut self) -> Result<(), Fault> {
        let session = load::session(self.conn, self.user)?;
        self.records.extend(session.map(Record::Session).filter(|_| self.limit > 0));
        Ok(())
    }

    fn online(&mut self) -> Result<(), Fault> {
        let mut online = self.conn.prepare_cached(ONLINE)?;
        let mut rows = online.query([self.user.as_str()])?;
        if self.room() > 0
            && let Some(row) = rows.next()?
        {
            let last_seen = codec::timestamp(row, 0, "online_members.last_seen")?;
            self.records.push(Record::Online { last_seen });
        }
        Ok(())
    }

    fn totals(&mut self, after: &str) -> Result<(), Fault> {
        let totals = totals(self.conn, self.user, after, self.room())?;
        self.records
            .extend(totals.into_iter().map(|(state, duration_ms)| Record::Total { state, duration_ms }));
        Ok(())
    }

    /// The rows after this instant and id.
    fn checkpoints(&mut self, at: i64, id: i64) -> Result<(), Fault> {
        if self.room() == 0 {
            return Ok(());
        }
        let mut page = self.conn.prepare_cached(ROWS)?;
        let mut rows = page.query(params![self.user.as_str(), at, id, codec::limit(self.room())])?;
        while let Some(row) = rows.next()? {
            self.records.push(Record::Checkpoint(codec::checkpoint(row, self.user)?));
        }
        Ok(())
    }

    fn requests(&mut self, after: &str) -> Result<(), Fault> {
        let mut page = self.conn.prepare_cached(REQUESTS)?;
        let mut rows = page.query(params![self.user.as_str(), after, codec::limit(self.room())])?;
        while let Some(row) = rows.next()? {
            let event_id = codec::text(row, 0, "requests.event_id")?;
            let event_id = EventId::new(event_id).map_err(Fault::rejected("requests.event_id"))?;
            let request =
                Request { event_id, fingerprint: codec::fingerprint(row, 1)?, created: row.get(3)? };
            let checkpoint = codec::id(row, 2, "requests.checkpoint_id")?;
            self.records.push(Record::Request { request, checkpoint });
        }
        Ok(())
    }

    fn sightings(&mut self, day: &str, install: &str) -> Result<(), Fault> {
        let mut page = self.conn.prepare_cached(SIGHTINGS)?;
        let mut rows = page.query(params![self.user.as_str(), day, install, codec::limit(self.room())])?;
        while let Some(row) = rows.next()? {
            self.records.push(Record::Sighting(codec::sighting(row)?));
        }
        Ok(())
    }

    fn events(&mut self, after: &str) -> Result<(), Fault> {
        let mut page = self.conn.prepare_cached(EVENTS)?;
        let mut rows = page.query(params![self.user.as_str(), after, codec::limit(self.room())])?;
        while let Some(row) = rows.next()? {
            self.records.push(Record::Event(codec::event(row)?));
        }
        Ok(())
    }
}
