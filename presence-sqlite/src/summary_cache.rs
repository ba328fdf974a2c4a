//! The days that are over, summed up.

use async_trait::async_trait;
use presence_core::{
    ClosedDay, Fold, Kept, Mark, Session, StateType, StoreError, SummaryCache, UserId, Version, Window,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use crate::{
    SqliteStore,
    codec::{self, session_columns},
    error::Fault,
    job::After,
};

pub(crate) const MARKS: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", s.user_id, m.zone, m.resume_at, m.due_at FROM user_sessions s
     LEFT JOIN summary_marks m ON m.user_id = s.user_id WHERE s.user_id > ?1 ORDER BY s.user_id LIMIT ?2"
);
pub(crate) const VERSION: &str = "SELECT version FROM user_sessions WHERE user_id = ?1";
pub(crate) const ZONE: &str = "SELECT zone FROM summary_marks WHERE user_id = ?1";
pub(crate) const MARK: &str = "INSERT INTO summary_marks (user_id, zone, summarised_to, resume_at, due_at)
    VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT (user_id) DO UPDATE SET
    summarised_to = max(summarised_to, excluded.summarised_to), resume_at = excluded.resume_at,
    due_at = excluded.due_at";
pub(crate) const REPLACE: &str =
    "DELETE FROM state_summaries WHERE user_id = ?1 AND bucket_start >= ?2 AND bucket_start < ?3";
pub(crate) const KEEP: &str = "INSERT INTO state_summaries
    (user_id, bucket_start, state, bucket_end, duration_ms, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(crate) const KEPT: &str = "SELECT bucket_start, bucket_end, state, duration_ms FROM state_summaries
    WHERE user_id = ?1 AND bucket_start >= ?2 AND bucket_start < ?3 AND bucket_end <= ?3
    ORDER BY bucket_start, state";
pub(crate) const STALE: &str = "UPDATE summary_marks SET resume_at = min(resume_at, ?2), due_at = 0 WHERE user_id = ?1 AND summarised_to > ?2";
pub(crate) const FORGET: &str = "DELETE FROM state_summaries
    WHERE user_id = ?1 AND bucket_start >= ?2 AND bucket_start < ?4 AND bucket_end > ?3";
pub(crate) const ERASE_SUMMARIES: &str = "DELETE FROM state_summaries WHERE user_id = ?1";
pub(crate) const ERASE_MARK: &str = "DELETE FROM summary_marks WHERE user_id = ?1";

#[async_trait]
impl SummaryCache for SqliteStore {
    async fn marks(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(Session, Option<Mark>)>, StoreError> {
        let after = after.cloned();
        self.read(move |conn| marks(conn, after.as_ref(), limit)).await
    }

    async fn keep(&self, folds: Vec<Fold>) -> Result<Vec<bool>, StoreError> {
        let sums = |fold: &Fold| fold.days.iter().map(|day| day.closed.len()).sum::<usize>();
        let weight = folds.iter().map(|fold| 1 + sums(fold)).sum();
        self.write(weight, After::Nothing, move |writer| {
            let mut tables = Tables::new(&writer.conn)?;
            folds.iter().map(|fold| tables.keep(fold)).collect()
        })
        .await
    }

    async fn kept(&self, user: &UserId, within: Window) -> Result<Option<Kept>, StoreError> {
        let user = user.clone();
        self.read(move |conn| kept(conn, &user, within)).await
    }
}

fn marks(
    conn: &Connection,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<(Session, Option<Mark>)>, Fault> {
    let mut marks = conn.prepare_cached(MARKS)?;
    // No id is empty, so that all come after the empty one.
    let after = after.map_or("", UserId::as_str);
    let mut rows = marks.query(params![after, codec::limit(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let user = codec::user(row, 5, "user_sessions.user_id")?;
        found.push((codec::session(row, user)?, mark(row)?));
    }
    Ok(found)
}

fn mark(row: &Row<'_>) -> Result<Option<Mark>, Fault> {
    let Some(zone) = row.get::<_, Option<String>>(6)? else { return Ok(None) };
    let resume_at = codec::timestamp(row, 7, "summary_marks.resume_at")?;
    Ok(Some(Mark { zone, resume_at, due_at: codec::timestamp(row, 8, "summary_marks.due_at")? }))
}

fn kept(conn: &Connection, user: &UserId, within: Window) -> Result<Option<Kept>, Fault> {
    let version: Option<i64> =
        conn.prepare_cached(VERSION)?.query_row([user.as_str()], |row| row.get(0)).optional()?;
    let Some(version) = version else { return Ok(None) };
    let mut kept = conn.prepare_cached(KEPT)?;
    let mut rows = kept.query(params![user.as_str(), within.from().as_millis(), within.to().as_millis()])?;
    let mut days: Vec<ClosedDay> = Vec::new();
    while let Some(row) = rows.next()? {
        let from = codec::timestamp(row, 0, "state_summaries.bucket_start")?;
        let to = codec::timestamp(row, 1, "state_summaries.bucket_end")?;
        let window = Window::new(from, to).map_err(Fault::rejected("state_summaries.bucket_end"))?;
        let sum: (StateType, i64) = (codec::state(row, 2, "state_summaries.state")?, row.get(3)?);
        match days.last_mut() {
            Some(day) if day.window == window => day.closed.push(sum),
            _ => days.push(ClosedDay { window, closed: vec![sum] }),
        }
    }
    Ok(Some(Kept { version: Version(version), days }))
}

/// The statements of a fold.
struct Tables<'c> {
    version: CachedStatement<'c>,
    zone: CachedStatement<'c>,
    erase_summaries: CachedStatement<'c>,
    erase_mark: CachedStatement<'c>,
    mark: CachedStatement<'c>,
    replace: CachedStatement<'c>,
    keep: CachedStatement<'c>,
}

impl<'c> Tables<'c> {
    fn new(conn: &'c Connection) -> Result<Self, Fault> {
        Ok(Self {
            version: conn.prepare_cached(VERSION)?,
            zone: conn.prepare_cached(ZONE)?,
            erase_summaries: conn.prepare_cached(ERASE_SUMMARIES)?,
            erase_mark: conn.prepare_cached(ERASE_MARK)?,
            mark: conn.prepare_cached(MARK)?,
            replace: conn.prepare_cached(REPLACE)?,
            keep: conn.prepare_cached(KEEP)?,
        })
    }

    /// Keeps a fold, if the session is still the one that it was made of.
    fn keep(&mut self, Fold { user, version, mark, days, at }: &Fold) -> Result<bool, Fault> {
        let user = user.as_str();
        let stored: Option<i64> = self.version.query_row([user], |row| row.get(0)).optional()?;
        if stored != Some(version.0) {
            return Ok(false);
        }
        let zone: Option<String> = self.zone.query_row([user], |row| row.get(0)).optional()?;
        if zone.is_some_and(|zone| zone != mark.zone) {
            self.erase_summaries.execute([user])?;
            self.erase_mark.execute([user])?;
        }
        self.mark.execute(params![user, mark.zone, mark.resume_at.as_millis(), mark.due_at.as_millis()])?;
        if let (Some(first), Some(last)) = (days.first(), days.last()) {
            let (from, to) = (first.window.from().as_millis(), last.window.to().as_millis());
            self.replace.execute(params![user, from, to])?;
        }
        for ClosedDay { window, closed } in days {
            let (from, to) = (window.from().as_millis(), window.to().as_millis());
            for (state, sum) in closed {
                self.keep.execute(params![user, from, state.as_str(), to, sum, at.as_millis()])?;
            }
        }
        Ok(true)
    }
}

/// What a commit does to the days of its user.
pub(crate) struct Forget<'c> {
    stale: CachedStatement<'c>,
    forget: CachedStatement<'c>,
}

impl<'c> Forget<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Result<Self, Fault> {
        Ok(Self { stale: conn.prepare_cached(STALE)?, forget: conn.prepare_cached(FORGET)? })
    }

    /// Forgets the days that `changed` touches, where any were folded.
    pub(crate) fn days(&mut self, user: &str, changed: Window) -> Result<(), Fault> {
        let (from, to) = (changed.from(), changed.to().as_millis());
        if self.stale.execute(params![user, from.as_millis()])? > 0 {
            let earliest = from.saturating_sub(ClosedDay::LONGEST).as_millis();
            self.forget.execute(params![user, earliest, from.as_millis(), to])?;
        }
        Ok(())
    }
}
