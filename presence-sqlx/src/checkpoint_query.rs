//! The reading side of timelines. Each answer is one statement, and so one snapshot.

use async_trait::async_trait;
use presence_core::{
    Checkpoint, CheckpointId, CheckpointQuery, EventId, Facts, InRoom, Place, Record, Request, Session,
    StoreError, Tally, Timestamp, UserId, Window,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    codec::{
        self, action_columns, checkpoint_columns, event_columns, message_columns, region_columns,
        room_session_columns, session_columns,
    },
    day::Day,
    error::Fault,
};

pub(crate) const TOTALS: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", t.duration_ms, t.state FROM user_sessions s
    LEFT JOIN state_totals t ON t.user_id = s.user_id AND t.duration_ms <> 0
    WHERE s.user_id = $1 ORDER BY t.state"
);
/// The session, and then of each run of windows the last row at or before its beginning, and all up to its end or the
/// current state's.
pub(crate) const STATES: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", NULL::bigint AS run, NULL::bigint AS timestamp, NULL::bigint AS id, NULL::text AS state
    FROM user_sessions s WHERE s.user_id = $1
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, run.place, c.timestamp, c.id, c.state
    FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS run (first, last, place), LATERAL (
        (SELECT c.timestamp, c.id, c.state FROM checkpoints c
        WHERE c.user_id = $1 AND c.timestamp <= run.first ORDER BY c.timestamp DESC, c.id DESC LIMIT 1)
        UNION ALL
        (SELECT c.timestamp, c.id, c.state FROM checkpoints c
        WHERE c.user_id = $1 AND c.timestamp > run.first AND c.timestamp < least(run.last,
            (SELECT last_state_change FROM user_sessions WHERE user_id = $1)))
    ) c
    ORDER BY run NULLS FIRST, timestamp, id"
);
pub(crate) const CHECKPOINT: &str =
    concat!("SELECT ", checkpoint_columns!(), " FROM checkpoints c WHERE c.id = $2 AND c.user_id = $1");
pub(crate) const HISTORY: &str = concat!(
    "SELECT ",
    checkpoint_columns!(),
    " FROM checkpoints c WHERE c.user_id = $1 AND c.timestamp >= $2 AND (c.timestamp, c.id) < ($3, $4)
    ORDER BY c.timestamp DESC, c.id DESC LIMIT $5"
);
/// Kind by kind, each from its own key on; `$2` is the kind of the record before, -1 for none.
pub(crate) const EXPORT: &str = concat!(
    "SELECT kind, ",
    session_columns!(),
    ", m.last_seen, t.state, t.duration_ms, ",
    checkpoint_columns!(),
    ", r.event_id, r.fingerprint, r.checkpoint_id, r.created, ",
    region_columns!(),
    ", d.day, d.install_id, ",
    event_columns!(),
    ", o.role, o.at, coalesce(o.room_id, v.room_id, h.room_id, a.room_id), ",
    room_session_columns!(),
    ", ",
    message_columns!(),
    ", ",
    action_columns!(),
    " FROM generate_series(0, 10) kind
LEFT JOIN LATERAL (
    SELECT * FROM user_sessions WHERE user_id = $1 AND kind = 0 AND $2 < 0 LIMIT 1
) s ON true
LEFT JOIN LATERAL (
    SELECT * FROM online_members WHERE member = 'u:' || $1 AND last_seen >= 0 AND kind = 1 AND $2 < 1 LIMIT 1
) m ON true
LEFT JOIN LATERAL (
    SELECT * FROM state_totals WHERE user_id = $1 AND duration_ms <> 0 AND state > $3 AND kind = 2 AND $2 <= 2
    ORDER BY state LIMIT $10
) t ON true
LEFT JOIN LATERAL (
    SELECT * FROM checkpoints WHERE user_id = $1 AND (timestamp, id) > ($4, $5) AND kind = 3 AND $2 <= 3
    ORDER BY timestamp, id LIMIT $10
) c ON true
LEFT JOIN LATERAL (
    SELECT * FROM requests WHERE user_id = $1 AND event_id > $6 AND kind = 4 AND $2 <= 4
    ORDER BY event_id LIMIT $10
) r ON true
LEFT JOIN LATERAL (
    SELECT * FROM daily_sightings
    WHERE user_id = $1 AND user_id <> '' AND (day, install_id) > ($7, $8) AND kind = 5 AND $2 <= 5
    ORDER BY day, install_id LIMIT $10
) d ON true
LEFT JOIN LATERAL (
    SELECT * FROM analytics_event_log WHERE user_id = $1 AND event_id > $9 AND kind = 6 AND $2 <= 6
    ORDER BY event_id LIMIT $10
) l ON true
LEFT JOIN LATERAL (
    SELECT * FROM room_roles WHERE user_id = $1 AND (room_id, role) > ($11, $12) AND kind = 7 AND $2 <= 7
    ORDER BY room_id, role LIMIT $10
) o ON true
LEFT JOIN LATERAL (
    SELECT * FROM room_sessions WHERE user_id = $1 AND (room_id, number) > ($13, $14) AND kind = 8 AND $2 <= 8
    ORDER BY room_id, number LIMIT $10
) v ON true
LEFT JOIN LATERAL (
    SELECT * FROM chat_history WHERE user_id = $1 AND (room_id, seq) > ($15, $16) AND kind = 9 AND $2 <= 9
    ORDER BY room_id, seq LIMIT $10
) h ON true
LEFT JOIN LATERAL (
    (SELECT * FROM admin_actions WHERE actor_id = $1 AND (room_id, number) > ($17, $18) AND kind = 10
    ORDER BY room_id, number LIMIT $10)
    UNION
    (SELECT * FROM admin_actions WHERE target_id = $1 AND (room_id, number) > ($17, $18) AND kind = 10
    ORDER BY room_id, number LIMIT $10)
) a ON true
WHERE num_nonnulls(s.version, m.last_seen, t.duration_ms, c.id, r.checkpoint_id, d.day, l.id, o.at, v.number, h.seq,
    a.number) > 0
ORDER BY kind, t.state, c.timestamp, c.id, r.event_id, d.day, d.install_id, l.event_id, o.room_id, o.role,
    v.room_id, v.number, h.room_id, h.seq, a.room_id, a.number LIMIT $10"
);

#[async_trait]
impl CheckpointQuery for PostgresStore {
    async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        let facts = match windows {
            [window] if *window == Window::all() => totals(self, user).await,
            _ => sums(self, user, windows).await,
        };
        Ok(facts?)
    }

    async fn checkpoint(&self, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, StoreError> {
        let statement = || sqlx::query(CHECKPOINT).bind(user.as_str()).bind(id.get());
        let rows = self.connections.rows(statement).await?;
        Ok(rows.first().map(|row| codec::checkpoint(row, 0, user)).transpose()?)
    }

    async fn history(
        &self,
        user: &UserId,
        window: Window,
        before: Option<(Timestamp, CheckpointId)>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        // One bound, so that a page begins where the last one ended. Ids are positive, so (to, 0) lies before all at `to`.
        let end = (window.to().as_millis(), 0);
        let (to, id) = before.map_or(end, |(at, id)| end.min((at.as_millis(), id.get())));
        let statement = || {
            let history = sqlx::query(HISTORY).bind(user.as_str()).bind(window.from().as_millis());
            history.bind(to).bind(id).bind(codec::limit(limit))
        };
        let rows = self.connections.rows(statement).await?;
        Ok(rows.iter().map(|row| codec::checkpoint(row, 0, user)).collect::<Result<_, Fault>>()?)
    }

    async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        Ok(export(self, user, after.as_ref(), limit).await?)
    }
}

/// Closed time of all time, per state, by state.
async fn totals(store: &PostgresStore, user: &UserId) -> Result<Option<Facts>, Fault> {
    const DURATION: usize = 5;
    const STATE: usize = 6;
    let rows = store.connections.rows(|| sqlx::query(TOTALS).bind(user.as_str())).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let session = codec::session(first, 0, user.clone())?;
    let mut totals = Vec::new();
    for row in &rows {
        if codec::is_some(row, DURATION)? {
            totals.push((codec::state(row, STATE, "state_totals.state")?, row.try_get(DURATION)?));
        }
    }
    Ok(Some(Facts { session, closed: vec![totals] }))
}

/// Closed time per window and state, from the rows. Rows between windows that do not touch are passed over.
async fn sums(store: &PostgresStore, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, Fault> {
    const RUN: usize = 5;
    const TIMESTAMP: usize = 6;
    const STATE: usize = 8;
    let runs: Vec<_> = windows.chunk_by(|window, next| window.to() == next.from()).collect();
    let edge = |window: Option<&Window>, of: fn(&Window) -> Timestamp| {
        window.map_or(0, |window| of(window).as_millis())
    };
    let first: Vec<_> = runs.iter().map(|run| edge(run.first(), |window| window.from())).collect();
    let last: Vec<_> = runs.iter().map(|run| edge(run.last(), |window| window.to())).collect();
    let empty = || (None, runs.iter().map(|run| Tally::new(run.to_vec())).collect::<Vec<_>>());
    let take = |(session, tallies): &mut (Option<Session>, Vec<Tally>), row: PgRow| {
        if !codec::is_some(&row, RUN)? {
            *session = Some(codec::session(&row, 0, user.clone())?);
        } else if let Some(tally) = tallies.get_mut(codec::place(&row, RUN)?) {
            let at = codec::timestamp(&row, TIMESTAMP, "checkpoints.timestamp")?;
            tally.row(at, &codec::state(&row, STATE, "checkpoints.state")?);
        }
        Ok(())
    };
    let statement = || sqlx::query(STATES).bind(user.as_str()).bind(&first).bind(&last);
    let (session, tallies) = store.connections.fold(statement, empty, take).await?.value;
    Ok(session.map(|session| {
        let closed = tallies.into_iter().flat_map(|tally| tally.finish(session.last_state_change)).collect();
        Facts { session, closed }
    }))
}

async fn export(
    store: &PostgresStore,
    user: &UserId,
    after: Option<&Place>,
    limit: usize,
) -> Result<Vec<Record>, Fault> {
    // Each kind begins before its first key, but the one that the last page ended in.
    let (mut total, mut checkpoint, mut request) = ("", (-1, 0), "");
    let (mut sighting, mut event) = ((Day::before_all(), ""), "");
    let (mut role, mut stay, mut message, mut action) = (("", ""), ("", 0), ("", 0), ("", 0));
    let mut first = -1;
    if let Some(after) = after {
        first = kind(after);
        match after {
            Place::Session | Place::Online => {}
            Place::Total(state) => total = state.as_str(),
            Place::Checkpoint(at, id) => checkpoint = (at.as_millis(), id.get()),
            Place::Request(event_id) => request = event_id.as_str(),
            Place::Sighting(day, install) => sighting = (Day(*day), install.as_str()),
            Place::Event(event_id) => event = event_id.as_str(),
            Place::RoomRole(room, own) => role = (room.as_str(), own.name()),
            Place::RoomSession(room, number) => stay = (room.as_str(), *number),
            Place::RoomMessage(room, number) => message = (room.as_str(), *number),
            Place::AdminAction(room, number) => action = (room.as_str(), *number),
        }
    }
    let statement = || {
        let export = sqlx::query(EXPORT).bind(user.as_str()).bind(first).bind(total);
        let export = export.bind(checkpoint.0).bind(checkpoint.1).bind(request);
        let export = export.bind(sighting.0).bind(sighting.1).bind(event).bind(codec::limit(limit));
        let export = export.bind(role.0).bind(role.1).bind(stay.0).bind(stay.1);
        export.bind(message.0).bind(message.1).bind(action.0).bind(action.1)
    };
    let rows = store.connections.rows(statement).await?;
    rows.iter().map(|row| record(row, user)).collect()
}

/// The number of a kind of records in [`EXPORT`].
const fn kind(place: &Place) -> i32 {
    match place {
        Place::Session => 0,
        Place::Online => 1,
        Place::Total(_) => 2,
        Place::Checkpoint(..) => 3,
        Place::Request(_) => 4,
        Place::Sighting(..) => 5,
        Place::Event(_) => 6,
        Place::RoomRole(..) => 7,
        Place::RoomSession(..) => 8,
        Place::RoomMessage(..) => 9,
        Place::AdminAction(..) => 10,
    }
}

fn record(row: &PgRow, user: &UserId) -> Result<Record, Fault> {
    const SESSION: usize = 1;
    const ONLINE: usize = 6;
    const TOTAL: usize = 7;
    const CHECKPOINT: usize = 9;
    const REQUEST: usize = 15;
    const SIGHTING: usize = 19;
    const EVENT: usize = 27;
    const ROLE: usize = 34;
    const ROOM: usize = 36;
    const STAY: usize = 37;
    const MESSAGE: usize = 42;
    const ACTION: usize = 49;
    let room = |column| codec::room_id(row, ROOM, column);
    Ok(match row.try_get::<i32, _>(0)? {
        0 => Record::Session(codec::session(row, SESSION, user.clone())?),
        1 => Record::Online { last_seen: codec::timestamp(row, ONLINE, "online_members.last_seen")? },
        2 => {
            let state = codec::state(row, TOTAL, "state_totals.state")?;
            Record::Total { state, duration_ms: row.try_get(TOTAL + 1)? }
        }
        3 => Record::Checkpoint(codec::checkpoint(row, CHECKPOINT, user)?),
        4 => {
            let event_id = EventId::new(row.try_get::<&str, _>(REQUEST)?)
                .map_err(Fault::rejected("requests.event_id"))?;
            let fingerprint = codec::fingerprint(row, REQUEST + 1, "requests.fingerprint")?;
            let request = Request { event_id, fingerprint, created: row.try_get(REQUEST + 3)? };
            Record::Request { request, checkpoint: codec::id(row, REQUEST + 2, "requests.checkpoint_id")? }
        }
        5 => Record::Sighting(codec::sighting(row, SIGHTING, user.clone())?),
        6 => Record::Event(codec::event(row, EVENT, Some(user.clone()))?),
        7 => Record::RoomRole {
            room_id: room("room_roles.room_id")?,
            role: codec::role(row, ROLE)?,
            at: codec::timestamp(row, ROLE + 1, "room_roles.at")?,
        },
        8 => Record::RoomSession(InRoom {
            room_id: room("room_sessions.room_id")?,
            what: codec::room_session(row, STAY)?,
        }),
        9 => Record::RoomMessage(InRoom {
            room_id: room("chat_history.room_id")?,
            what: codec::message(row, MESSAGE)?,
        }),
        _ => Record::AdminAction(InRoom {
            room_id: room("admin_actions.room_id")?,
            what: codec::action(row, ACTION)?,
        }),
    })
}
