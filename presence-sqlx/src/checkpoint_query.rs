//! The reading side of timelines. Each answer is one statement, and so one snapshot.

use async_trait::async_trait;
use presence_core::{
    Checkpoint, CheckpointId, CheckpointQuery, EventId, Facts, Place, Record, Request, Session, StoreError,
    Tally, Timestamp, UserId, Window,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    codec::{self, checkpoint_columns, session_columns},
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
    "SELECT * FROM (
    SELECT 0 AS kind, ",
    session_columns!(),
    ", NULL::bigint AS id, NULL::text AS state, NULL::bigint AS timestamp, NULL::text AS content,
        NULL::text AS source, NULL::bigint AS proof_at,
        NULL::text AS key, NULL::bytea AS fingerprint, NULL::boolean AS created
    FROM user_sessions s WHERE s.user_id = $1 AND $2 < 0
    UNION ALL
    SELECT 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, m.last_seen, NULL, NULL, NULL, NULL, NULL, NULL
    FROM online_members m WHERE m.member = 'u:' || $1 AND m.last_seen >= 0 AND $2 < 1
    UNION ALL (
        SELECT 2, NULL, NULL, NULL, NULL, NULL, t.duration_ms, t.state, NULL, NULL, NULL, NULL, t.state, NULL, NULL
        FROM state_totals t WHERE t.user_id = $1 AND t.duration_ms <> 0 AND t.state > $3 AND $2 <= 2
        ORDER BY t.state LIMIT $7
    )
    UNION ALL (
        SELECT 3, NULL, NULL, NULL, NULL, NULL, ",
    checkpoint_columns!(),
    ", NULL, NULL, NULL
        FROM checkpoints c WHERE c.user_id = $1 AND (c.timestamp, c.id) > ($4, $5) AND $2 <= 3
        ORDER BY c.timestamp, c.id LIMIT $7
    )
    UNION ALL (
        SELECT 4, NULL, NULL, NULL, NULL, NULL, r.checkpoint_id, NULL, NULL, NULL, NULL, NULL,
            r.event_id, r.fingerprint, r.created
        FROM requests r WHERE r.user_id = $1 AND r.event_id > $6
        ORDER BY r.event_id LIMIT $7
    )
) record ORDER BY kind, key COLLATE \"C\", timestamp, id LIMIT $7"
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
    let kind = match after {
        None => -1,
        Some(Place::Session) => 0,
        Some(Place::Online) => 1,
        Some(Place::Total(state)) => {
            total = state.as_str();
            2
        }
        Some(Place::Checkpoint(at, id)) => {
            checkpoint = (at.as_millis(), id.get());
            3
        }
        Some(Place::Request(event_id)) => {
            request = event_id.as_str();
            4
        }
        // Events and what follows from them are not kept here.
        Some(Place::Sighting(..) | Place::Event(_)) => return Ok(Vec::new()),
    };
    let statement = || {
        let export = sqlx::query(EXPORT).bind(user.as_str()).bind(kind).bind(total);
        export.bind(checkpoint.0).bind(checkpoint.1).bind(request).bind(codec::limit(limit))
    };
    let rows = store.connections.rows(statement).await?;
    rows.iter().map(|row| record(row, user)).collect()
}

fn record(row: &PgRow, user: &UserId) -> Result<Record, Fault> {
    const SESSION: usize = 1;
    const CHECKPOINT: usize = 6;
    const STATE: usize = 7;
    const TIMESTAMP: usize = 8;
    const KEY: usize = 12;
    const FINGERPRINT: usize = 13;
    const CREATED: usize = 14;
    Ok(match row.try_get(0)? {
        0 => Record::Session(codec::session(row, SESSION, user.clone())?),
        1 => Record::Online { last_seen: codec::timestamp(row, TIMESTAMP, "online_members.last_seen")? },
        2 => {
            let state = codec::state(row, STATE, "state_totals.state")?;
            Record::Total { state, duration_ms: row.try_get(CHECKPOINT)? }
        }
        3 => Record::Checkpoint(codec::checkpoint(row, CHECKPOINT, user)?),
        _ => {
            let event_id =
                EventId::new(row.try_get::<&str, _>(KEY)?).map_err(Fault::rejected("requests.event_id"))?;
            let fingerprint = codec::fingerprint(row, FINGERPRINT)?;
            let request = Request { event_id, fingerprint, created: row.try_get(CREATED)? };
            Record::Request { request, checkpoint: codec::id(row, CHECKPOINT, "requests.checkpoint_id")? }
        }
    })
}
