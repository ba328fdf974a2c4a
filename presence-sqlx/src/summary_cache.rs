//! The days that are over, summed up.

use async_trait::async_trait;
use presence_core::{
    ClosedDay, Fold, Kept, Mark, Session, StoreError, SummaryCache, UserId, Version, Window,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    codec::{self, session_columns},
    error::Fault,
    waves::waves,
};

pub(crate) const MARKS: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", s.user_id, m.zone, m.resume_at, m.due_at FROM user_sessions s
    LEFT JOIN summary_marks m ON m.user_id = s.user_id WHERE s.user_id > $1 ORDER BY s.user_id LIMIT $2"
);
/// A fold locks its session as a commit does, and writes it anew without a change: so a commit that waited for the
/// fold, and did not see what it kept, finds another row than it saw. `fence` waits for erasures, as in a commit.
pub(crate) const KEEP: &str = "WITH fold AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[]) WITH ORDINALITY
        AS fold (user_id, version, zone, resume_at, due_at, first, last, place)
), seen AS MATERIALIZED (
    SELECT s.user_id, s.ctid AS row FROM user_sessions s WHERE s.user_id = ANY ($1)
), held AS MATERIALIZED (
    SELECT s.user_id, s.version, s.ctid AS row FROM user_sessions s WHERE s.user_id = ANY ($1)
    ORDER BY s.user_id FOR NO KEY UPDATE
), fence AS MATERIALIZED (
    SELECT e.at FROM erased_users e WHERE e.user_hash = '' FOR KEY SHARE
), fitting AS MATERIALIZED (
    SELECT fold.* FROM fold JOIN held USING (user_id) JOIN seen USING (user_id)
    WHERE held.version = fold.version AND held.row = seen.row AND NOT EXISTS (SELECT FROM fence)
), rewritten AS (
    UPDATE user_sessions s SET version = s.version FROM fitting f WHERE s.user_id = f.user_id
), elsewhere AS MATERIALIZED (
    SELECT m.user_id FROM summary_marks m JOIN fitting f USING (user_id) WHERE m.zone <> f.zone
), replaced AS (
    DELETE FROM state_summaries d USING fitting f
    WHERE d.user_id = f.user_id AND (d.bucket_start >= f.first AND d.bucket_start < f.last
        OR f.user_id IN (SELECT user_id FROM elsewhere))
    RETURNING 1
), mark AS (
    INSERT INTO summary_marks AS m (user_id, zone, summarised_to, resume_at, due_at)
    SELECT f.user_id, f.zone, f.resume_at, f.resume_at, f.due_at FROM fitting f
    ON CONFLICT (user_id) DO UPDATE SET zone = excluded.zone, resume_at = excluded.resume_at,
        due_at = excluded.due_at, summarised_to = CASE WHEN m.zone = excluded.zone
            THEN greatest(m.summarised_to, excluded.summarised_to) ELSE excluded.summarised_to END
), kept AS (
    INSERT INTO state_summaries (user_id, bucket_start, state, bucket_end, duration_ms, updated_at)
    SELECT f.user_id, day.bucket_start, day.state, day.bucket_end, day.duration_ms, day.updated_at
    FROM unnest($8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[])
        AS day (place, bucket_start, bucket_end, state, duration_ms, updated_at)
    JOIN fitting f USING (place)
    -- After those that they replace.
    WHERE (SELECT count(*) FROM replaced) >= 0
)
SELECT place FROM fitting";
pub(crate) const KEPT: &str = "SELECT s.version, d.bucket_start, d.bucket_end, d.state, d.duration_ms
    FROM user_sessions s LEFT JOIN state_summaries d ON d.user_id = s.user_id
        AND d.bucket_start >= $2 AND d.bucket_start < $3 AND d.bucket_end <= $3
    WHERE s.user_id = $1 ORDER BY d.bucket_start, d.state";

#[async_trait]
impl SummaryCache for PostgresStore {
    async fn marks(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(Session, Option<Mark>)>, StoreError> {
        // No id is empty, so that all come after the empty one.
        let after = after.map_or("", UserId::as_str);
        let statement = || sqlx::query(MARKS).bind(after).bind(codec::limit(limit));
        let rows = self.connections.rows(statement).await?;
        Ok(rows.iter().map(marked).collect::<Result<_, Fault>>()?)
    }

    async fn keep(&self, folds: Vec<Fold>) -> Result<Vec<bool>, StoreError> {
        let mut kept = vec![false; folds.len()];
        for wave in waves(&folds, |fold| &fold.user) {
            for place in keep(self, &wave).await? {
                if let Some(kept) = wave.get(place).and_then(|(place, _)| kept.get_mut(*place)) {
                    *kept = true;
                }
            }
        }
        Ok(kept)
    }

    async fn kept(&self, user: &UserId, within: Window) -> Result<Option<Kept>, StoreError> {
        let (from, to) = (within.from().as_millis(), within.to().as_millis());
        let statement = || sqlx::query(KEPT).bind(user.as_str()).bind(from).bind(to);
        let rows = self.connections.rows(statement).await?;
        Ok(days(&rows)?)
    }
}

fn marked(row: &PgRow) -> Result<(Session, Option<Mark>), Fault> {
    const USER: usize = 5;
    const ZONE: usize = 6;
    const RESUME_AT: usize = 7;
    const DUE_AT: usize = 8;
    let session = codec::session(row, 0, codec::user(row, USER, "user_sessions.user_id")?)?;
    let Some(zone) = row.try_get::<Option<String>, _>(ZONE)? else { return Ok((session, None)) };
    let resume_at = codec::timestamp(row, RESUME_AT, "summary_marks.resume_at")?;
    let due_at = codec::timestamp(row, DUE_AT, "summary_marks.due_at")?;
    Ok((session, Some(Mark { zone, resume_at, due_at })))
}

/// Keeps the folds of different users; gives the places of those that were kept.
async fn keep(store: &PostgresStore, folds: &[(usize, &Fold)]) -> Result<Vec<usize>, Fault> {
    let folds = || folds.iter().map(|(_, fold)| *fold);
    let users: Vec<_> = folds().map(|fold| fold.user.as_str()).collect();
    let versions: Vec<_> = folds().map(|fold| fold.version.0).collect();
    let zones: Vec<_> = folds().map(|fold| fold.mark.zone.as_str()).collect();
    let resume_at: Vec<_> = folds().map(|fold| fold.mark.resume_at.as_millis()).collect();
    let due_at: Vec<_> = folds().map(|fold| fold.mark.due_at.as_millis()).collect();
    let first: Vec<_> =
        folds().map(|fold| fold.days.first().map(|day| day.window.from().as_millis())).collect();
    let last: Vec<_> = folds().map(|fold| fold.days.last().map(|day| day.window.to().as_millis())).collect();
    let sums: Vec<_> = (1_i64..).zip(folds()).flat_map(|(place, fold)| sums(place, fold)).collect();
    let column = |of: fn(&Sum<'_>) -> i64| sums.iter().map(of).collect::<Vec<_>>();
    let (places, from, to) = (column(|sum| sum.place), column(|sum| sum.from), column(|sum| sum.to));
    let states: Vec<_> = sums.iter().map(|sum| sum.state).collect();
    let (durations, updated_at) = (column(|sum| sum.duration_ms), column(|sum| sum.at));
    let statement = || {
        let keep = sqlx::query(KEEP).bind(&users).bind(&versions).bind(&zones).bind(&resume_at).bind(&due_at);
        let keep = keep.bind(&first).bind(&last).bind(&places).bind(&from).bind(&to);
        keep.bind(&states).bind(&durations).bind(&updated_at)
    };
    let rows = store.connections.rows(statement).await?;
    rows.iter().map(|row| codec::place(row, 0)).collect()
}

/// The time in one state on one day of a fold.
struct Sum<'a> {
    place: i64,
    from: i64,
    to: i64,
    state: &'a str,
    duration_ms: i64,
    at: i64,
}

fn sums(place: i64, fold: &Fold) -> impl Iterator<Item = Sum<'_>> {
    let at = fold.at.as_millis();
    fold.days.iter().flat_map(move |day| {
        let (from, to) = (day.window.from().as_millis(), day.window.to().as_millis());
        let closed = day.closed.iter();
        closed.map(move |(state, sum)| Sum { place, from, to, state: state.as_str(), duration_ms: *sum, at })
    })
}

fn days(rows: &[PgRow]) -> Result<Option<Kept>, Fault> {
    const FROM: usize = 1;
    const TO: usize = 2;
    const STATE: usize = 3;
    const DURATION: usize = 4;
    let Some(first) = rows.first() else { return Ok(None) };
    let mut days: Vec<ClosedDay> = Vec::new();
    for row in rows {
        if !codec::is_some(row, FROM)? {
            continue;
        }
        let from = codec::timestamp(row, FROM, "state_summaries.bucket_start")?;
        let to = codec::timestamp(row, TO, "state_summaries.bucket_end")?;
        let window = Window::new(from, to).map_err(Fault::rejected("state_summaries.bucket_end"))?;
        let sum = (codec::state(row, STATE, "state_summaries.state")?, row.try_get(DURATION)?);
        match days.last_mut() {
            Some(day) if day.window == window => day.closed.push(sum),
            _ => days.push(ClosedDay { window, closed: vec![sum] }),
        }
    }
    Ok(Some(Kept { version: Version(first.try_get(0)?), days }))
}
