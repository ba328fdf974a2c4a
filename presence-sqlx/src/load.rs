//! What a decision needs: [`CheckpointStore::load`](presence_core::CheckpointStore::load).
//!
//! All of it is one statement, for any number of users: one snapshot, and one round trip.

use presence_core::{Ask, Context, EventId, Request};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    codec::{self, checkpoint_columns, session_columns},
    error::Fault,
};

/// Per ask, one row for each row of the timeline, or one without where there is none; each with the session. Where the
/// run began that holds the first of them is known where that is the current run, and looked for where it is not.
/// Then a row for each request that was answered.
///
/// What is one row at most is looked up with a limit: then it is looked up by its key whatever the server knows of the
/// tables, also in a plan that was made while they were empty.
pub(crate) const LOAD: &str = concat!(
    "WITH ask AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[]) WITH ORDINALITY
        AS ask (user_id, user_hash, first, last, place)
)
SELECT ask.place, e.at, ",
    session_columns!(),
    ", run.start, c.*, NULL::bigint AS request, NULL::bytea AS fingerprint, NULL::boolean AS created
FROM ask
LEFT JOIN LATERAL (SELECT e.at FROM erased_users e WHERE e.user_hash = ask.user_hash LIMIT 1) e ON true
LEFT JOIN LATERAL (SELECT s.* FROM user_sessions s WHERE s.user_id = ask.user_id LIMIT 1) s ON true
LEFT JOIN LATERAL (
    SELECT CASE WHEN s.last_state_change < first.timestamp THEN s.last_state_change ELSE (
        SELECT r.timestamp FROM (
            SELECT -1 AS timestamp, 0 AS id
            UNION ALL (
                SELECT o.timestamp, o.id FROM checkpoints o
                WHERE o.user_id = ask.user_id AND (o.timestamp, o.id) < (first.timestamp, first.id)
                    AND o.state <> first.state
                ORDER BY o.timestamp DESC, o.id DESC LIMIT 1
            )
            ORDER BY timestamp DESC, id DESC LIMIT 1
        ) other, LATERAL (
            SELECT r.timestamp FROM checkpoints r
            WHERE r.user_id = ask.user_id AND (r.timestamp, r.id) > (other.timestamp, other.id)
            ORDER BY r.timestamp, r.id LIMIT 1
        ) r
    ) END AS start
    FROM (
        SELECT b.timestamp, b.id, b.state FROM checkpoints b
        WHERE b.user_id = ask.user_id AND b.timestamp <= ask.first
        ORDER BY b.timestamp DESC, b.id DESC LIMIT 2
    ) first
    ORDER BY first.timestamp, first.id LIMIT 1
) run ON true
LEFT JOIN LATERAL (
    (SELECT ",
    checkpoint_columns!(),
    " FROM checkpoints c
    WHERE c.user_id = ask.user_id AND c.timestamp <= ask.first
    ORDER BY c.timestamp DESC, c.id DESC LIMIT 2)
    UNION ALL
    (SELECT ",
    checkpoint_columns!(),
    " FROM checkpoints c
    WHERE c.user_id = ask.user_id AND c.timestamp > ask.first AND c.timestamp <= coalesce((
        SELECT third.timestamp FROM checkpoints third
        WHERE third.user_id = ask.user_id AND third.timestamp > ask.last
        ORDER BY third.timestamp, third.id OFFSET 2 LIMIT 1
    ), 9223372036854775807))
) c ON s.user_id IS NOT NULL
UNION ALL
SELECT asked.place, NULL, NULL, NULL, NULL, NULL, NULL, NULL, ",
    checkpoint_columns!(),
    ", asked.request, r.fingerprint, r.created
FROM unnest($5::bigint[], $6::text[], $7::text[]) WITH ORDINALITY AS asked (place, user_id, event_id, request),
LATERAL (SELECT r.* FROM requests r WHERE r.user_id = asked.user_id AND r.event_id = asked.event_id LIMIT 1) r,
-- In order of the id, so that no other index will do.
LATERAL (SELECT c.* FROM checkpoints c WHERE c.id >= r.checkpoint_id ORDER BY c.id LIMIT 1) c
WHERE c.id = r.checkpoint_id AND c.user_id = r.user_id
ORDER BY place, request NULLS FIRST, timestamp, id"
);

/// Where the columns of [`LOAD`] are.
mod column {
    pub(super) const PLACE: usize = 0;
    pub(super) const ERASED_AT: usize = 1;
    pub(super) const SESSION: usize = 2;
    pub(super) const VERSION: usize = 6;
    pub(super) const RUN_START: usize = 7;
    pub(super) const CHECKPOINT: usize = 8;
    pub(super) const REQUEST: usize = 14;
    pub(super) const FINGERPRINT: usize = 15;
    pub(super) const CREATED: usize = 16;
}

/// A request that an ask asks for: the place of the ask, which the server counts from one, and the request's name.
type Asked<'a> = (i64, &'a Ask, &'a EventId);

/// The contexts of some asks, from one snapshot.
pub(crate) async fn load(store: &PostgresStore, asks: &[Ask]) -> Result<Vec<Context>, Fault> {
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<_> = asks.iter().map(|ask| ask.user.as_str()).collect();
    let hashes: Vec<_> = asks.iter().map(|ask| store.eraser.hash(&ask.user)).collect();
    let first: Vec<_> = asks.iter().map(|ask| ask.first.as_millis()).collect();
    let last: Vec<_> = asks.iter().map(|ask| ask.last.as_millis()).collect();
    let asked = |(place, ask): (i64, _)| ask_requests(place, ask);
    let asked: Vec<Asked<'_>> = (1..).zip(asks).flat_map(asked).collect();
    let places: Vec<_> = asked.iter().map(|(place, ..)| *place).collect();
    let askers: Vec<_> = asked.iter().map(|(_, ask, _)| ask.user.as_str()).collect();
    let event_ids: Vec<_> = asked.iter().map(|(.., event_id)| event_id.as_str()).collect();
    let statement = || {
        let load = sqlx::query(LOAD).bind(&users).bind(&hashes).bind(&first).bind(&last);
        load.bind(&places).bind(&askers).bind(&event_ids)
    };
    let take = |contexts: &mut Vec<Context>, row: PgRow| {
        let place = codec::place(&row, column::PLACE)?;
        let (Some(ask), Some(context)) = (asks.get(place), contexts.get_mut(place)) else {
            return Err(Fault::Call("a row without its ask"));
        };
        if !codec::is_some(&row, column::REQUEST)? {
            return add_row(context, &row, ask);
        }
        let asked = asked.get(codec::place(&row, column::REQUEST)?);
        let (.., event_id) = asked.ok_or(Fault::Call("a row without its request"))?;
        add_request(context, &row, ask, event_id)
    };
    let empty = || vec![Context::default(); asks.len()];
    store.connections_for(asks.len()).fold(statement, empty, take).await.map(|answer| answer.value)
}

fn ask_requests(place: i64, ask: &Ask) -> impl Iterator<Item = Asked<'_>> {
    ask.event_ids.iter().map(move |event_id| (place, ask, event_id))
}

/// Adds a row of the timeline, and what every row says beside it.
fn add_row(context: &mut Context, row: &PgRow, ask: &Ask) -> Result<(), Fault> {
    let instant = |index, name| {
        let is_some = codec::is_some(row, index)?;
        is_some.then(|| codec::timestamp(row, index, name)).transpose()
    };
    if context.rows.is_empty() {
        context.erased_at = instant(column::ERASED_AT, "erased_users.at")?;
        if codec::is_some(row, column::VERSION)? {
            context.session = Some(codec::session(row, column::SESSION, ask.user.clone())?);
        }
    }
    if codec::is_some(row, column::CHECKPOINT)? {
        let checkpoint = codec::checkpoint(row, column::CHECKPOINT, &ask.user)?;
        if context.rows.is_empty() {
            // Without a row before the first envelope, the first of all rows is the first that is loaded.
            let start = instant(column::RUN_START, "checkpoints.timestamp")?;
            context.run_start = Some(start.unwrap_or(checkpoint.at));
        }
        context.rows.push(checkpoint);
    }
    Ok(())
}

/// Adds a request that was answered.
fn add_request(context: &mut Context, row: &PgRow, ask: &Ask, event_id: &EventId) -> Result<(), Fault> {
    let fingerprint = codec::fingerprint(row, column::FINGERPRINT, "requests.fingerprint")?;
    let request = Request { event_id: event_id.clone(), fingerprint, created: row.try_get(column::CREATED)? };
    context.requests.push((request, codec::checkpoint(row, column::CHECKPOINT, &ask.user)?));
    Ok(())
}
