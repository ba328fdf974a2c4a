//! The writing side of activity.

use async_trait::async_trait;
use presence_core::{
    ActivityStore, Appended, DayMark, DayMarks, Figures, Horizon, IdentityFold, InstallId, NewEvent, Period,
    Retired, SightingPlace, StoreError, UserId,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore, append,
    codec::{self, mark_columns},
    day::Day,
    eraser,
    error::Fault,
    outbox::{Told, telling},
    sightings::{packed_sightings, unpack},
};

pub(crate) const STALE: &str = concat!(
    "SELECT ",
    mark_columns!(),
    " FROM activity_days a LEFT JOIN analytics_daily_active_users f ON f.day = a.day
    WHERE a.changes > a.folded ORDER BY a.day DESC LIMIT $1"
);
pub(crate) const MARKS: &str = concat!(
    "SELECT ",
    mark_columns!(),
    ", m.kept_from FROM store_meta m LEFT JOIN activity_days a ON a.day >= $1 AND a.day <= $2
    LEFT JOIN analytics_daily_active_users f ON f.day = a.day WHERE m.id = 1 ORDER BY a.day"
);
pub(crate) const SIGHTINGS: &str = concat!(
    "SELECT count(*), max(d.day), ",
    packed_sightings!(),
    " FROM (
        SELECT * FROM daily_sightings d WHERE (d.day, d.install_id, d.user_id) > ($1, $2, $3) AND d.day <= $4
        ORDER BY d.day, d.install_id, d.user_id LIMIT $5
    ) d"
);
macro_rules! save {
    ($told:expr) => {
        concat!(
            "WITH kept AS MATERIALIZED (
    SELECT 1 FROM store_meta WHERE id = 1 AND (kept_from IS NULL OR kept_from <= $1)
), started AS (
    INSERT INTO analytics_daily_active_users
        (day, dau_count, dau_by_province, dau_by_city, calculated_at, version)
    SELECT $1::date, $2::bigint, $3::jsonb, $4::jsonb, $5::bigint, 1 FROM kept WHERE $6::bigint = 0
    ON CONFLICT (day) DO NOTHING RETURNING day
), renewed AS (
    UPDATE analytics_daily_active_users SET dau_count = $2, dau_by_province = $3::jsonb, dau_by_city = $4::jsonb,
        calculated_at = $5, version = version + 1
    WHERE day = $1 AND version = $6 AND EXISTS (SELECT FROM kept) RETURNING day
), saved AS MATERIALIZED (
    SELECT day, 1::bigint AS place FROM started UNION ALL SELECT day, 1 FROM renewed
), folded AS (
    INSERT INTO activity_days AS a (day, changes, folded) SELECT saved.day, 0, $7::bigint FROM saved
    ON CONFLICT (day) DO UPDATE SET folded = greatest(a.folded, excluded.folded)
)",
            $told,
            "
SELECT day FROM saved"
        )
    };
}

/// A day that is no longer kept takes no figures. The horizon needs no lock: nothing is retired before it has moved, so
/// who does not see it move has folded all there was.
pub(crate) const SAVE: &str = save!("");
/// The same, of figures that somebody is told of.
pub(crate) const SAVE_AND_TELL: &str = save!(telling!("saved", "$8", "$9", "$10", "$11", "$12", "$13"));
/// While nothing is appended: whoever begins later sees that these days take no sightings any more.
pub(crate) const MOVE_HORIZON: &str = "WITH moved AS (
    UPDATE store_meta SET kept_from = $1 WHERE id = 1 AND (kept_from IS NULL OR kept_from < $1)
)
UPDATE activity_days SET folded = changes WHERE changes > folded AND day < $1";
/// Whatever another node is retiring in this moment is passed over.
pub(crate) const RETIRE: &str = "WITH horizon AS MATERIALIZED (
    SELECT 1 FROM store_meta WHERE id = 1 AND kept_from >= $1
), sighting AS MATERIALIZED (
    SELECT day, install_id, user_id FROM daily_sightings WHERE day < $1 AND EXISTS (SELECT FROM horizon)
    ORDER BY day, install_id, user_id LIMIT $3 FOR UPDATE SKIP LOCKED
), event AS MATERIALIZED (
    SELECT id FROM analytics_event_log WHERE event_time < $2 AND EXISTS (SELECT FROM horizon)
    ORDER BY event_time, id LIMIT $3 - (SELECT count(*) FROM sighting) FOR UPDATE SKIP LOCKED
), retired_sighting AS (
    DELETE FROM daily_sightings d USING sighting s
    WHERE d.day = s.day AND d.install_id = s.install_id AND d.user_id = s.user_id RETURNING 1
), retired_event AS (
    DELETE FROM analytics_event_log l USING event WHERE l.id = event.id RETURNING 1
)
SELECT EXISTS (SELECT FROM horizon), (SELECT count(*) FROM retired_event),
    (SELECT count(*) FROM retired_sighting)";

#[async_trait]
impl ActivityStore for PostgresStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        Ok(append::append(self, &events).await?)
    }

    async fn stale(&self, limit: usize) -> Result<Vec<DayMark>, StoreError> {
        let rows = self.connections.rows(|| sqlx::query(STALE).bind(codec::limit(limit))).await?;
        Ok(rows.iter().map(|row| codec::mark(row, 0)).collect::<Result<_, Fault>>()?)
    }

    async fn day_marks(&self, period: Period) -> Result<DayMarks, StoreError> {
        Ok(day_marks(self, period).await?)
    }

    async fn fold(
        &self,
        period: Period,
        after: Option<SightingPlace>,
        limit: usize,
        fold: IdentityFold,
    ) -> Result<(IdentityFold, Option<SightingPlace>), StoreError> {
        Ok(show(self, period, after, limit, fold).await?)
    }

    async fn save(&self, figures: Figures) -> Result<bool, StoreError> {
        Ok(save(self, &figures).await?)
    }

    async fn retire(&self, before: Horizon, limit: usize) -> Result<Retired, StoreError> {
        Ok(retire(self, before, limit).await?)
    }
}

async fn day_marks(store: &PostgresStore, period: Period) -> Result<DayMarks, Fault> {
    const CHANGES: usize = 2;
    const KEPT_FROM: usize = 4;
    let [first, last] = [period.first(), period.last()].map(Day);
    let rows = store.connections.rows(|| sqlx::query(MARKS).bind(first).bind(last)).await?;
    let mut marks = DayMarks::default();
    for row in &rows {
        marks.kept_from = row.try_get::<Option<Day>, _>(KEPT_FROM)?.map(|Day(day)| day);
        if codec::is_some(row, CHANGES)? {
            marks.days.push(codec::mark(row, 0)?);
        }
    }
    Ok(marks)
}

/// Shows sightings to the fold as they came from the server.
async fn show(
    store: &PostgresStore,
    period: Period,
    after: Option<SightingPlace>,
    limit: usize,
    mut fold: IdentityFold,
) -> Result<(IdentityFold, Option<SightingPlace>), Fault> {
    // No install is empty, so that all of a day come after the empty one.
    let before = |first| (first, String::new(), String::new());
    let (day, install, user) = after.map_or_else(
        || before(period.first()),
        |SightingPlace { day, install, user }| {
            let user = user.map(|user| user.to_string()).unwrap_or_default();
            (day, install.to_string(), user).max(before(period.first()))
        },
    );
    let statement = || {
        let sightings = sqlx::query(SIGHTINGS).bind(Day(day)).bind(&install).bind(&user);
        sightings.bind(Day(period.last())).bind(codec::limit(limit))
    };
    let rows = store.connections.rows(statement).await?;
    let [row] = rows.as_slice() else { return Err(Fault::Call("a page without an answer")) };
    let count = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
    let packed: Option<&[u8]> = row.try_get(2)?;
    let page = unpack(packed.unwrap_or_default(), count)?;
    fold.see_all(&page);
    let Some(last) = page.last().filter(|_| count >= limit) else { return Ok((fold, None)) };
    let user = last.user.map(|user| UserId::new(user).map_err(Fault::rejected("daily_sightings.user_id")));
    let place = SightingPlace {
        // Of all that are in order, the last day is the day of the last.
        day: codec::day(row, 1)?,
        install: InstallId::new(last.install).map_err(Fault::rejected("daily_sightings.install_id"))?,
        user: user.transpose()?,
    };
    Ok((fold, Some(place)))
}

async fn save(
    store: &PostgresStore,
    Figures { mark, active, calculated_at, events }: &Figures,
) -> Result<bool, Fault> {
    let [provinces, cities] = active.to_stored();
    let mut told = Told::default();
    told.add(&store.wanted.get(), 1, events, *calculated_at);
    let statement = || {
        let sql = if told.is_empty() { SAVE } else { SAVE_AND_TELL };
        let save = sqlx::query(sql).bind(Day(mark.day)).bind(codec::count(active.count));
        let save = save.bind(&provinces).bind(&cities).bind(calculated_at.as_millis());
        let save = save.bind(mark.version).bind(mark.changes);
        if told.is_empty() { save } else { told.bind(save) }
    };
    let answer = store
        .connections
        .fold(
            statement,
            || false,
            |saved, _| {
                *saved = true;
                Ok(())
            },
        )
        .await?;
    // Where the connection broke, it may have been the first attempt that the second one came too late for.
    if answer.is_repeated && !answer.value { Err(Fault::Unknown) } else { Ok(answer.value) }
}

async fn retire(store: &PostgresStore, before: Horizon, limit: usize) -> Result<Retired, Fault> {
    let retire =
        || sqlx::query(RETIRE).bind(Day(before.day)).bind(before.at.as_millis()).bind(codec::limit(limit));
    let (is_behind, retired) = slice(&store.connections.once(retire()).await?)?;
    if is_behind {
        return Ok(retired);
    }
    let mut loan = eraser::alone(store).await?;
    loan.rows(sqlx::query(MOVE_HORIZON).bind(Day(before.day))).await?;
    loan.rows(sqlx::query("COMMIT")).await?;
    loan.give_back();
    Ok(slice(&store.connections.once(retire()).await?)?.1)
}

/// Whether the horizon was there, and what was retired.
fn slice(rows: &[PgRow]) -> Result<(bool, Retired), Fault> {
    let [row] = rows else { return Err(Fault::Call("a retirement without an answer")) };
    let count = |index| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
    Ok((row.try_get(0)?, Retired { events: count(1)?, sightings: count(2)? }))
}
