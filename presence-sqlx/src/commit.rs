//! What a decision writes: [`CheckpointStore::commit`](presence_core::CheckpointStore::commit).
//!
//! All commits of a batch are one statement, which is its own transaction: written together or not at all, in one
//! round trip.

use std::collections::{BTreeMap, BTreeSet};

use presence_core::{ClosedDay, Commit, NewCheckpoint, Outcome, Row, Source, Timestamp, Version};
use sqlx::{Row as _, postgres::PgRow};

use crate::{
    PostgresStore, codec,
    connection::Statement,
    error::Fault,
    outbox::{Told, telling},
    waves::waves,
};

macro_rules! commit {
    ($told:expr) => {
        concat!(
            r#"WITH item AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[],
            $5::text[], $6::bigint[], $7::bigint[], $8::bigint[]) WITH ORDINALITY
        AS item (user_id, expected, user_hash, erased_at,
            current_state, live_since, last_heartbeat, last_state_change, place)
), withdrawal AS MATERIALIZED (
    SELECT * FROM unnest($9::bigint[], $10::bigint[]) AS withdrawal (place, id)
), draft AS MATERIALIZED (
    SELECT * FROM unnest($11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::bigint[], $16::text[])
        WITH ORDINALITY AS draft (place, state, timestamp, source, proof_at, content, number)
), seen AS MATERIALIZED (
    SELECT s.user_id, s.ctid AS row FROM user_sessions s WHERE s.user_id = ANY ($1)
), held AS MATERIALIZED (
    SELECT s.user_id, s.version, s.ctid AS row FROM user_sessions s WHERE s.user_id = ANY ($1)
    ORDER BY s.user_id FOR NO KEY UPDATE
), fence AS MATERIALIZED (
    SELECT e.user_hash, e.at FROM erased_users e WHERE e.user_hash = ANY ($3) FOR KEY SHARE
), lapse AS MATERIALIZED (
    SELECT item.place, item.user_id, draft.proof_at FROM draft JOIN item USING (place)
    WHERE draft.source = 'timeout'
), repeated AS MATERIALIZED (
    SELECT lapse.place FROM lapse, LATERAL (
        SELECT c.id FROM checkpoints c
        WHERE c.user_id = lapse.user_id AND c.proof_at = lapse.proof_at AND c.source = 'timeout'
        -- There is no second one; but with a limit it is looked up, whatever the server knows of how many there are.
        LIMIT 1
    ) c
    WHERE NOT EXISTS (SELECT FROM withdrawal w WHERE w.place = lapse.place AND w.id = c.id)
), fitting AS MATERIALIZED (
    SELECT item.*, held.row FROM item
    LEFT JOIN held USING (user_id) LEFT JOIN seen USING (user_id) LEFT JOIN fence USING (user_hash)
    WHERE (held.version = item.expected AND held.row = seen.row
            OR held.version IS NULL AND item.expected IS NULL AND fence.at IS NOT DISTINCT FROM item.erased_at)
        AND item.place NOT IN (SELECT place FROM repeated)
), renewed AS (
    UPDATE user_sessions s SET current_state = f.current_state, live_since = f.live_since,
        last_heartbeat = f.last_heartbeat, last_state_change = f.last_state_change,
        version = nextval('store_version')
    FROM fitting f WHERE f.expected IS NOT NULL AND s.ctid = f.row
    RETURNING f.place, s.version
), started AS (
    INSERT INTO user_sessions (user_id, current_state, live_since, last_heartbeat, last_state_change, version)
    SELECT f.user_id, f.current_state, f.live_since, f.last_heartbeat, f.last_state_change,
        nextval('store_version')
    FROM (SELECT * FROM fitting WHERE expected IS NULL ORDER BY user_id COLLATE "C") f
    ON CONFLICT (user_id) DO NOTHING RETURNING user_id, version
), written AS MATERIALIZED (
    SELECT item.place, item.user_id, renewed.version FROM renewed JOIN item USING (place)
    UNION ALL
    SELECT item.place, item.user_id, started.version FROM started JOIN item USING (user_id)
), withdrawn AS (
    DELETE FROM checkpoints c USING withdrawal w JOIN written USING (place)
    WHERE c.id = w.id AND c.user_id = written.user_id RETURNING c.id
), numbered AS MATERIALIZED (
    SELECT d.*, nextval('checkpoint_id') AS id
    FROM (SELECT draft.*, written.user_id FROM draft JOIN written USING (place) ORDER BY draft.number) d
), inserted AS (
    INSERT INTO checkpoints (id, user_id, state, timestamp, source, proof_at, content)
    SELECT n.id, n.user_id, n.state, n.timestamp, n.source, n.proof_at, n.content::json FROM numbered n
    -- After the withdrawals: a timeout that moves has the proof of the one that goes.
    WHERE (SELECT count(*) FROM withdrawn) >= 0
), added AS (
    INSERT INTO state_totals (user_id, state, duration_ms)
    SELECT written.user_id, total.state, total.duration_ms
    FROM unnest($17::bigint[], $18::text[], $19::bigint[]) AS total (place, state, duration_ms)
    JOIN written USING (place)
    ON CONFLICT (user_id, state) DO UPDATE SET duration_ms = state_totals.duration_ms + excluded.duration_ms
), stale AS (
    UPDATE summary_marks m SET resume_at = least(m.resume_at, changed.first), due_at = 0
    FROM unnest($20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[])
        AS changed (place, earliest, first, last)
    JOIN written USING (place)
    WHERE m.user_id = written.user_id AND m.summarised_to > changed.first
    RETURNING m.user_id, changed.earliest, changed.first, changed.last
), forgotten AS (
    DELETE FROM state_summaries d USING stale WHERE d.user_id = stale.user_id
        AND d.bucket_start >= stale.earliest AND d.bucket_start < stale.last AND d.bucket_end > stale.first
), remembered AS (
    INSERT INTO requests (user_id, event_id, fingerprint, checkpoint_id, created)
    SELECT written.user_id, request.event_id, request.fingerprint, coalesce(n.id, request.stored), request.created
    FROM unnest($24::bigint[], $25::text[], $26::bytea[], $27::boolean[], $28::bigint[], $29::bigint[])
        AS request (place, event_id, fingerprint, created, stored, inserted)
    JOIN written USING (place) LEFT JOIN numbered n ON n.number = request.inserted
    ON CONFLICT (user_id, event_id) DO UPDATE SET fingerprint = excluded.fingerprint,
        checkpoint_id = excluded.checkpoint_id, created = excluded.created
)"#,
            $told,
            r#"
SELECT written.place, written.version, n.id FROM written LEFT JOIN numbered n USING (place)
ORDER BY written.place, n.number"#
        )
    };
}

/// Every part of a statement sees the tables as they were before it, but for what it takes from other parts by name.
///
/// Sessions are locked first, in order of the user, so that no two statements wait for each other; then new ones are
/// inserted in the same order. Whoever still has the version that was decided on, in the very row that the statement
/// sees, has not changed since; so what it sees of that user's other rows is how they are.
///
/// A session is renewed by its place, because it fits only in the row that was locked.
///
/// `fence` locks, and not for the sake of the rows: it takes a lock on the table, and the statement its snapshot after
/// that. So it sees every erasure that was waited for.
pub(crate) const COMMIT: &str = commit!("");
/// The same, of commits that have something to tell.
pub(crate) const COMMIT_AND_TELL: &str =
    commit!(telling!("written", "$30", "$31", "$32", "$33", "$34", "$35"));

/// Applies commits in order; each for itself, all in one transaction.
pub(crate) async fn commit(store: &PostgresStore, commits: &[Commit]) -> Result<Vec<Outcome>, Fault> {
    let mut outcomes = vec![Outcome::Conflict; commits.len()];
    match waves(commits, |commit| &commit.session.user).as_slice() {
        [] => {}
        [wave] => {
            let batch = Batch::of(store, wave)?;
            let connections = store.connections_for(batch.planned_for());
            let answer = connections.fold(|| batch.statement(), Vec::new, push).await?;
            for row in &answer.value {
                add(&mut outcomes, wave, row)?;
            }
            // Where the connection broke, the first attempt was written or not, as a whole. Where it was, each session
            // has another version by now, and nothing fits any more; so where anything fits, it was not. But where
            // nothing does, it may also have been others that were faster, and nobody knows: the caller has to look,
            // or to repeat its requests under their ids.
            let written = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Committed { .. }));
            if answer.is_repeated && !written {
                return Err(Fault::Unknown);
            }
        }
        waves => {
            let mut loan = store.connections.borrow_tried().await?;
            loan.rows(sqlx::query("BEGIN")).await?;
            for wave in waves {
                let batch = Batch::of(store, wave)?;
                for row in loan.rows(batch.statement()).await? {
                    add(&mut outcomes, wave, &row)?;
                }
            }
            loan.rows(sqlx::query("COMMIT")).await?;
            loan.give_back();
        }
    }
    Ok(outcomes)
}

fn push(rows: &mut Vec<PgRow>, row: PgRow) -> Result<(), Fault> {
    rows.push(row);
    Ok(())
}

/// Adds what a row says: that a commit was written, and the id of one of its rows.
fn add(outcomes: &mut [Outcome], wave: &[(usize, &Commit)], row: &PgRow) -> Result<(), Fault> {
    let place = wave.get(codec::place(row, 0)?).map(|(place, _)| *place);
    let outcome = place.and_then(|place| outcomes.get_mut(place));
    let outcome = outcome.ok_or(Fault::Call("a row without its commit"))?;
    if *outcome == Outcome::Conflict {
        *outcome = Outcome::Committed { version: Version(row.try_get(1)?), ids: Vec::new() };
    }
    if let (Outcome::Committed { ids, .. }, true) = (outcome, codec::is_some(row, 2)?) {
        ids.push(codec::id(row, 2, "checkpoints.id")?);
    }
    Ok(())
}

/// The commits of a statement, column by column. Places and numbers are counted from one, as the server does.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    users: Vec<&'a str>,
    expected: Vec<Option<i64>>,
    hashes: Vec<Option<[u8; 32]>>,
    erased_at: Vec<Option<i64>>,
    states: Vec<&'a str>,
    live_since: Vec<i64>,
    last_heartbeat: Vec<i64>,
    last_state_change: Vec<i64>,
    withdrawals: (Vec<i64>, Vec<i64>),
    drafts: Drafts<'a>,
    totals: (Vec<i64>, Vec<&'a str>, Vec<i64>),
    changes: Changes,
    requests: Requests<'a>,
    told: Told,
}

#[derive(Default)]
struct Drafts<'a> {
    places: Vec<i64>,
    states: Vec<&'a str>,
    timestamps: Vec<i64>,
    sources: Vec<&'a str>,
    proofs: Vec<Option<i64>>,
    contents: Vec<Option<&'a str>>,
}

/// The windows in which the time was spent otherwise than was known, each with the earliest beginning of a day that
/// reaches into it.
#[derive(Default)]
struct Changes {
    places: Vec<i64>,
    earliest: Vec<i64>,
    first: Vec<i64>,
    last: Vec<i64>,
}

#[derive(Default)]
struct Requests<'a> {
    places: Vec<i64>,
    event_ids: Vec<&'a str>,
    fingerprints: Vec<[u8; 16]>,
    created: Vec<bool>,
    stored: Vec<Option<i64>>,
    inserted: Vec<Option<i64>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn of(store: &PostgresStore, wave: &[(usize, &'a Commit)]) -> Result<Self, Fault> {
        let mut batch = Self::default();
        let wanted = store.wanted.get();
        for ((_, commit), place) in wave.iter().zip(1..) {
            // A commit that concludes one silence twice fits nobody: version 0 was never given out.
            let expected = if repeats_itself(commit) { Some(Version(0)) } else { commit.expected };
            let session = &commit.session;
            batch.users.push(session.user.as_str());
            batch.expected.push(expected.map(|Version(version)| version));
            // Only who is new can have been erased since the decision without its version telling.
            batch.hashes.push(expected.is_none().then(|| store.eraser.hash(&session.user)));
            batch.erased_at.push(commit.erased_at.map(Timestamp::as_millis));
            batch.states.push(session.current_state.as_str());
            batch.live_since.push(session.live_since.as_millis());
            batch.last_heartbeat.push(session.last_heartbeat.as_millis());
            batch.last_state_change.push(session.last_state_change.as_millis());
            batch.add_rows(place, commit)?;
            batch.told.add(&wanted, place, &commit.events, commit.decided_at);
        }
        Ok(batch)
    }

    fn add_rows(&mut self, place: i64, commit: &'a Commit) -> Result<(), Fault> {
        let Self { withdrawals, drafts, totals, changes, requests, .. } = self;
        withdrawals.0.extend(commit.withdraw.iter().map(|_| place));
        withdrawals.1.extend(commit.withdraw.iter().map(|id| id.get()));
        let before = drafts.places.len();
        commit.insert.iter().for_each(|row| drafts.add(place, row));
        // A statement changes a row once, so what concerns the same row goes together.
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (state, sum) in &commit.totals {
            let total = sums.entry(state.as_str()).or_default();
            *total = total.saturating_add(*sum);
        }
        for (state, sum) in sums {
            totals.0.push(place);
            totals.1.push(state);
            totals.2.push(sum);
        }
        if let Some(changed) = commit.changed {
            changes.places.push(place);
            changes.earliest.push(changed.from().saturating_sub(ClosedDay::LONGEST).as_millis());
            changes.first.push(changed.from().as_millis());
            changes.last.push(changed.to().as_millis());
        }
        let last: BTreeMap<_, _> =
            commit.requests.iter().map(|(request, row)| (&request.event_id, (request, row))).collect();
        for (request, row) in last.into_values() {
            let (stored, inserted) = match row {
                Row::Stored(id) => (Some(id.get()), None),
                Row::Inserted(row) if *row < commit.insert.len() => (None, Some(before + row + 1)),
                Row::Inserted(_) => return Err(Fault::Call("a request names no row")),
            };
            requests.places.push(place);
            requests.event_ids.push(request.event_id.as_str());
            requests.fingerprints.push(request.fingerprint.0.to_be_bytes());
            requests.created.push(request.created);
            requests.stored.push(stored);
            requests.inserted.push(inserted.and_then(|number| number.try_into().ok()));
        }
        Ok(())
    }

    /// How large a batch it is planned for: as large as can be, where it touches rows that a plan for tables without rows
    /// would not look up by key.
    fn planned_for(&self) -> usize {
        let is_plain = self.withdrawals.0.is_empty() && self.changes.places.is_empty();
        if is_plain && !self.drafts.sources.contains(&Source::Timeout.as_str()) {
            self.users.len().max(self.drafts.places.len()).max(self.requests.places.len())
        } else {
            usize::MAX
        }
    }

    /// The statement that writes them.
    pub(crate) fn statement(&self) -> Statement<'_> {
        if self.told.is_empty() {
            return self.bind(sqlx::query(COMMIT));
        }
        self.told.bind(self.bind(sqlx::query(COMMIT_AND_TELL)))
    }

    /// The arguments of [`COMMIT`].
    pub(crate) fn bind<'q>(&'q self, commit: Statement<'q>) -> Statement<'q> {
        let Self { drafts, changes, requests, .. } = self;
        let items = commit.bind(&self.users).bind(&self.expected).bind(&self.hashes);
        let items = items.bind(&self.erased_at).bind(&self.states).bind(&self.live_since);
        let items = items.bind(&self.last_heartbeat).bind(&self.last_state_change);
        let rows = items.bind(&self.withdrawals.0).bind(&self.withdrawals.1);
        let rows = rows.bind(&drafts.places).bind(&drafts.states).bind(&drafts.timestamps);
        let rows = rows.bind(&drafts.sources).bind(&drafts.proofs).bind(&drafts.contents);
        let rows = rows.bind(&self.totals.0).bind(&self.totals.1).bind(&self.totals.2);
        let rows =
            rows.bind(&changes.places).bind(&changes.earliest).bind(&changes.first).bind(&changes.last);
        let rows = rows.bind(&requests.places).bind(&requests.event_ids).bind(&requests.fingerprints);
        rows.bind(&requests.created).bind(&requests.stored).bind(&requests.inserted)
    }
}

impl<'a> Drafts<'a> {
    fn add(&mut self, place: i64, row: &'a NewCheckpoint) {
        self.places.push(place);
        self.states.push(row.state.as_str());
        self.timestamps.push(row.at.as_millis());
        self.sources.push(row.source.as_str());
        self.proofs.push(row.proof_at.map(Timestamp::as_millis));
        self.contents.push(row.content.as_ref().map(|content| content.as_str()));
    }
}

/// Whether a commit concludes the same silence twice.
fn repeats_itself(commit: &Commit) -> bool {
    let mut seen = BTreeSet::new();
    let timeouts = commit.insert.iter().filter(|row| row.source == Source::Timeout);
    !timeouts.filter_map(|row| row.proof_at).all(|proof_at| seen.insert(proof_at))
}
