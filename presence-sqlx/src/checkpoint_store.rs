//! The writing side of timelines.

use async_trait::async_trait;
use presence_core::{
    Ask, Beat, CheckpointStore, Commit, Context, Erasure, Outcome, Session, StoreError, Timestamp, UserId,
};
use sqlx::Row;

use crate::{
    PostgresStore,
    codec::{self, session_columns},
    commit, eraser,
    error::Fault,
    load, outbox,
    waves::waves,
};

/// Rows are locked in order of the user before any is changed, here and in a commit: so no two statements wait for each
/// other.
pub(crate) const TOUCH: &str = "WITH beat AS (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY
        AS beat (user_id, first, last, floor, place)
), held AS MATERIALIZED (
    SELECT s.user_id, beat.last, beat.place FROM user_sessions s JOIN beat USING (user_id)
    WHERE s.current_state <> 'Offline' AND s.live_since <= beat.first AND s.last_heartbeat >= beat.floor
    ORDER BY s.user_id FOR NO KEY UPDATE OF s
)
UPDATE user_sessions s
    SET last_heartbeat = greatest(s.last_heartbeat, held.last), version = nextval('store_version')
    FROM held WHERE s.user_id = held.user_id RETURNING held.place";
/// Whoever is being concluded or touched in this moment is passed over, so that nodes that sweep at once take different
/// users. It keeps nobody for the commit that follows: that one's version does.
pub(crate) const OVERDUE: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", s.user_id FROM user_sessions s
    WHERE s.current_state <> 'Offline' AND s.heartbeat_minute <= $1 / 60000 AND s.last_heartbeat < $1
    ORDER BY s.heartbeat_minute, s.user_id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
);
pub(crate) const ERASE: &str = "WITH session AS (
    DELETE FROM user_sessions WHERE user_id = $1
), total AS (
    DELETE FROM state_totals WHERE user_id = $1
), summary AS (
    DELETE FROM state_summaries WHERE user_id = $1
), mark AS (
    DELETE FROM summary_marks WHERE user_id = $1
), member AS (
    DELETE FROM online_members WHERE member = 'u:' || $1
), stale AS (
    UPDATE activity_days a SET changes = a.changes + 1 WHERE a.day IN (
        SELECT d.day FROM daily_sightings d JOIN store_meta m ON m.id = 1
        WHERE d.user_id = $1 AND d.user_id <> '' AND (m.kept_from IS NULL OR m.kept_from <= d.day)
    )
), sighting AS (
    DELETE FROM daily_sightings WHERE user_id = $1 AND user_id <> ''
), checkpoint AS (
    DELETE FROM checkpoints WHERE user_id = $1 RETURNING 1
), request AS (
    DELETE FROM requests WHERE user_id = $1 RETURNING 1
), event AS (
    DELETE FROM analytics_event_log WHERE user_id = $1 RETURNING 1
), role AS (
    DELETE FROM room_roles WHERE user_id = $1
), unnamed AS (
    UPDATE admin_actions SET actor_id = nullif(actor_id, $1), target_id = nullif(target_id, $1)
    WHERE (room_id, number) IN (
        SELECT room_id, number FROM admin_actions WHERE actor_id = $1
        UNION SELECT room_id, number FROM admin_actions WHERE target_id = $1
    )
), message AS (
    DELETE FROM chat_history WHERE user_id = $1 RETURNING 1
), stay AS (
    DELETE FROM room_sessions WHERE user_id = $1 RETURNING 1
), tombstone AS (
    INSERT INTO erased_users (user_hash, at) VALUES ($2, $3)
    ON CONFLICT (user_hash) DO UPDATE SET at = greatest(erased_users.at, excluded.at)
)
SELECT (SELECT count(*) FROM checkpoint), (SELECT count(*) FROM request), (SELECT count(*) FROM event),
    (SELECT count(*) FROM message), (SELECT count(*) FROM stay)";

#[async_trait]
impl CheckpointStore for PostgresStore {
    async fn load(&self, asks: Vec<Ask>) -> Result<Vec<Context>, StoreError> {
        Ok(load::load(self, &asks).await?)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        Ok(commit::commit(self, &commits).await?)
    }

    async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError> {
        Ok(touch(self, beats).await?)
    }

    async fn overdue(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, StoreError> {
        Ok(overdue(self, cutoff, limit).await?)
    }

    async fn erase(&self, user: &UserId, at: Timestamp) -> Result<Erasure, StoreError> {
        Ok(erase(self, user, at).await?)
    }
}

async fn touch(store: &PostgresStore, beats: Vec<Beat>) -> Result<Vec<Beat>, Fault> {
    let mut taken = vec![false; beats.len()];
    for wave in waves(&beats, |beat| &beat.user) {
        let column = |of: fn(&Beat) -> Timestamp| wave.iter().map(|(_, beat)| of(beat).as_millis()).collect();
        let users: Vec<_> = wave.iter().map(|(_, beat)| beat.user.as_str()).collect();
        let [first, last, floor]: [Vec<i64>; 3] =
            [column(|beat| beat.first), column(|beat| beat.last), column(|beat| beat.floor)];
        let statement = || sqlx::query(TOUCH).bind(&users).bind(&first).bind(&last).bind(&floor);
        for row in store.connections.rows(statement).await? {
            let place = wave.get(codec::place(&row, 0)?).map(|(place, _)| *place);
            if let Some(taken) = place.and_then(|place| taken.get_mut(place)) {
                *taken = true;
            }
        }
    }
    Ok(beats.into_iter().zip(taken).filter(|(_, taken)| !taken).map(|(beat, _)| beat).collect())
}

async fn overdue(store: &PostgresStore, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, Fault> {
    let statement = || sqlx::query(OVERDUE).bind(cutoff.as_millis()).bind(codec::limit(limit));
    let rows = store.connections.rows(statement).await?;
    let sessions =
        rows.iter().map(|row| codec::session(row, 0, codec::user(row, 5, "user_sessions.user_id")?));
    let mut sessions = sessions.collect::<Result<Vec<_>, Fault>>()?;
    // The index knows no more than their minutes.
    sessions.sort_by(|one, other| (one.last_heartbeat, &one.user).cmp(&(other.last_heartbeat, &other.user)));
    Ok(sessions)
}

async fn erase(store: &PostgresStore, user: &UserId, at: Timestamp) -> Result<Erasure, Fault> {
    let hash = store.eraser.hash(user);
    let erase = sqlx::query(ERASE).bind(user.as_str()).bind(hash.as_slice()).bind(at.as_millis());
    let mut loan = eraser::alone(store).await?;
    let rows = loan.rows(erase).await?;
    outbox::erase(&mut loan, user).await?;
    loan.rows(sqlx::query("COMMIT")).await?;
    loan.give_back();
    let [row] = rows.as_slice() else { return Err(Fault::Call("an erasure without an answer")) };
    let count = |index| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
    Ok(Erasure {
        checkpoints: count(0)?,
        requests: count(1)?,
        events: count(2)?,
        messages: count(3)?,
        room_sessions: count(4)?,
    })
}
