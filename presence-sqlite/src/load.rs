//! What a decision needs: [`CheckpointStore::load`](presence_core::CheckpointStore::load).

use presence_core::{Ask, Checkpoint, Context, Request, Session, Timestamp, UserId};
use rusqlite::{CachedStatement, Connection, Statement, params};

use crate::{
    codec::{self, checkpoint_columns, session_columns},
    error::Fault,
    writer::Writer,
};

pub(crate) const SESSION: &str =
    concat!("SELECT ", session_columns!(), " FROM user_sessions WHERE user_id = ?1");
pub(crate) const BEFORE: &str = concat!(
    "SELECT ",
    checkpoint_columns!(),
    " FROM checkpoints c WHERE c.user_id = ?1 AND c.timestamp <= ?2 ORDER BY c.timestamp DESC, c.id DESC LIMIT 3"
);
pub(crate) const AFTER: &str = concat!(
    "SELECT ",
    checkpoint_columns!(),
    " FROM checkpoints c WHERE c.user_id = ?1 AND c.timestamp > ?2 ORDER BY c.timestamp, c.id"
);
pub(crate) const RUN: &str = "SELECT timestamp, state FROM checkpoints
    WHERE user_id = ?1 AND (timestamp, id) < (?2, ?3) ORDER BY timestamp DESC, id DESC";
pub(crate) const REQUEST: &str = concat!(
    "SELECT ",
    checkpoint_columns!(),
    ", r.fingerprint, r.created FROM requests r CROSS JOIN checkpoints c
     ON c.id = r.checkpoint_id AND c.user_id = r.user_id WHERE r.user_id = ?1 AND r.event_id = ?2"
);

/// How many rows after its last envelope a decision looks at, beside others of the last one's instant.
const LATER: usize = 3;

/// The contexts of some asks, from one snapshot.
pub(crate) fn load(writer: &Writer, asks: &[Ask]) -> Result<Vec<Context>, Fault> {
    let mut loader = Loader::new(&writer.conn)?;
    asks.iter()
        .map(|ask| {
            let mut context = loader.context(ask)?;
            context.erased_at = writer.eraser.fence(&writer.conn, &ask.user)?;
            Ok(context)
        })
        .collect()
}

/// The session of a user.
pub(crate) fn session(conn: &Connection, user: &UserId) -> Result<Option<Session>, Fault> {
    let mut session = conn.prepare_cached(SESSION)?;
    find_session(&mut session, user)
}

fn find_session(statement: &mut Statement<'_>, user: &UserId) -> Result<Option<Session>, Fault> {
    let mut rows = statement.query([user.as_str()])?;
    rows.next()?.map(|row| codec::session(row, user.clone())).transpose()
}

struct Loader<'c> {
    session: CachedStatement<'c>,
    before: CachedStatement<'c>,
    after: CachedStatement<'c>,
    run: CachedStatement<'c>,
    request: CachedStatement<'c>,
}

impl<'c> Loader<'c> {
    fn new(conn: &'c Connection) -> Result<Self, Fault> {
        Ok(Self {
            session: conn.prepare_cached(SESSION)?,
            before: conn.prepare_cached(BEFORE)?,
            after: conn.prepare_cached(AFTER)?,
            run: conn.prepare_cached(RUN)?,
            request: conn.prepare_cached(REQUEST)?,
        })
    }

    fn context(&mut self, ask: &Ask) -> Result<Context, Fault> {
        // Whoever has no session has nothing else: all of it is written with one, and erased with it.
        let Some(session) = find_session(&mut self.session, &ask.user)? else {
            return Ok(Context::default());
        };
        let (mut rows, earlier) = self.rows_before(ask)?;
        self.add_rows_after(ask, &mut rows)?;
        let run_start = match rows.first() {
            Some(first) => Some(self.run_start(&session, first, earlier)?),
            None => None,
        };
        let requests = self.requests(ask)?;
        Ok(Context { session: Some(session), rows, run_start, requests, erased_at: None })
    }

    /// The two rows at or before the first envelope, in order, and the one before them.
    fn rows_before(&mut self, ask: &Ask) -> Result<(Vec<Checkpoint>, Option<Checkpoint>), Fault> {
        let mut found = self.before.query(params![ask.user.as_str(), ask.first.as_millis()])?;
        let mut rows = Vec::with_capacity(4);
        while let Some(row) = found.next()? {
            rows.push(codec::checkpoint(row, &ask.user)?);
        }
        let earlier = if rows.len() > 2 { rows.pop() } else { None };
        rows.reverse();
        Ok((rows, earlier))
    }

    fn add_rows_after(&mut self, ask: &Ask, rows: &mut Vec<Checkpoint>) -> Result<(), Fault> {
        let mut found = self.after.query(params![ask.user.as_str(), ask.first.as_millis()])?;
        let mut later = 0;
        while let Some(row) = found.next()? {
            let row = codec::checkpoint(row, &ask.user)?;
            if later >= LATER && rows.last().is_none_or(|last| last.at < row.at) {
                break;
            }
            later += usize::from(row.at > ask.last);
            rows.push(row);
        }
        Ok(())
    }

    /// Where the run of equal states began that holds `first`, the first loaded row; `earlier` is the row before it.
    fn run_start(
        &mut self,
        session: &Session,
        first: &Checkpoint,
        earlier: Option<Checkpoint>,
    ) -> Result<Timestamp, Fault> {
        let Some(earlier) = earlier.filter(|row| row.state == first.state) else {
            return Ok(first.at);
        };
        // The last run is known. A row in the very instant of its beginning may still belong to the run before.
        if session.last_state_change < first.at {
            return Ok(session.last_state_change);
        }
        let key = params![session.user.as_str(), earlier.at.as_millis(), earlier.id.get()];
        let mut found = self.run.query(key)?;
        let mut start = earlier.at;
        while let Some(row) = found.next()? {
            let state = codec::state(row, 1, "checkpoints.state")?;
            if state != first.state {
                break;
            }
            start = codec::timestamp(row, 0, "checkpoints.timestamp")?;
        }
        Ok(start)
    }

    /// The requests that were answered, with their checkpoints.
    fn requests(&mut self, ask: &Ask) -> Result<Vec<(Request, Checkpoint)>, Fault> {
        let mut requests = Vec::new();
        for event_id in &ask.event_ids {
            let mut found = self.request.query([ask.user.as_str(), event_id.as_str()])?;
            if let Some(row) = found.next()? {
                let checkpoint = codec::checkpoint(row, &ask.user)?;
                let fingerprint = codec::fingerprint(row, 6)?;
                let request = Request { event_id: event_id.clone(), fingerprint, created: row.get(7)? };
                requests.push((request, checkpoint));
            }
        }
        Ok(requests)
    }
}
