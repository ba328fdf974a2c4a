//! What waits for sinks.

use async_trait::async_trait;
use presence_core::{
    Claim, DeadLetter, Event, KeySpan, Letter, Outbox, OutboxQuery, SinkBooks, SinkName, StoreError,
    Subscriptions, Timestamp, UserId, Which,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore, codec,
    connection::{Loan, Statement},
    error::Fault,
};

/// A part of a statement: who has a sink, and where that is who asks, some letters in two arrays. A row for each would cost
/// several times what is in it.
macro_rules! claimed {
    ($letters:expr) => {
        concat!(
            "SELECT s.node, s.claimed_until, l.numbers, l.bodies FROM outbox_sinks s CROSS JOIN LATERAL (
    SELECT array_agg(o.number) AS numbers, array_agg(o.body) AS bodies FROM (",
            $letters,
            " LIMIT CASE WHEN s.node = $2 THEN $3 ELSE 0 END) o
) l WHERE s.sink = $1"
        )
    };
}

/// The oldest letters.
pub(crate) const CLAIMED: &str =
    claimed!("SELECT o.number, o.body FROM outbox o WHERE o.sink = $1 AND o.number > $4 ORDER BY o.number");
/// Letters from spans of keys.
pub(crate) const CLAIMED_IN_SPANS: &str = claimed!(
    "SELECT o.number, o.body FROM unnest($4::text[], $5::text[], $6::bigint[])
        WITH ORDINALITY AS span (first, before, most, place)
    CROSS JOIN LATERAL (
        SELECT o.number, o.body FROM outbox o
        WHERE o.sink = $1 AND o.key >= span.first AND o.key < span.before
        ORDER BY o.key, o.number LIMIT span.most
    ) o ORDER BY span.place"
);
pub(crate) const CLAIM: &str = "INSERT INTO outbox_sinks AS s (sink, node, claimed_until) VALUES ($1, $2, $3)
    ON CONFLICT (sink) DO UPDATE SET node = excluded.node, claimed_until = excluded.claimed_until
    WHERE s.node = $2 OR s.claimed_until <= $4 RETURNING sink";
pub(crate) const ACK: &str = "WITH gone AS (
    DELETE FROM outbox WHERE sink = $1 AND number = ANY ($2) RETURNING 1
)
INSERT INTO outbox_sinks AS s (sink, delivered) SELECT $1, count(*) FROM gone
ON CONFLICT (sink) DO UPDATE SET delivered = s.delivered + excluded.delivered";
/// Letters after those that are acknowledged in the same statement, which still sees them. They lie side by side: one walk
/// finds them all, and a bit for each number from the first to the last says which they are. So it is planned once.
pub(crate) const ACK_AND_CLAIM: &str = concat!(
    "WITH gone AS (
    DELETE FROM outbox WHERE sink = $1 AND number BETWEEN $6 AND $7 AND get_bit($5, number - $6) = 1 RETURNING 1
), counted AS (
    INSERT INTO outbox_sinks AS s (sink, delivered) SELECT $1, count(*) FROM gone
    ON CONFLICT (sink) DO UPDATE SET delivered = s.delivered + excluded.delivered
)
",
    claimed!("SELECT o.number, o.body FROM outbox o WHERE o.sink = $1 AND o.number > $4 ORDER BY o.number")
);
pub(crate) const NACK: &str = "WITH gone AS (
    DELETE FROM outbox o USING unnest($2::bigint[], $3::text[]) AS refused (number, reason)
    WHERE o.sink = $1 AND o.number = refused.number RETURNING o.number, o.key, o.body, refused.reason
)
INSERT INTO dead_letters (sink, number, at, key, reason, body)
SELECT $1, gone.number, $4, gone.key, gone.reason, gone.body FROM gone";
pub(crate) const REQUEUE: &str = "WITH gone AS (
    DELETE FROM dead_letters WHERE sink = $1 AND ($2::bigint[] IS NULL OR number = ANY ($2))
    RETURNING number, at, key, body
)
INSERT INTO outbox (sink, number, at, key, body) SELECT $1, gone.number, gone.at, gone.key, gone.body FROM gone
RETURNING number";
/// Whatever another node is removing in this moment is passed over.
pub(crate) const EXPIRE: &str = "WITH old AS MATERIALIZED (
    SELECT o.sink, o.number FROM outbox o WHERE o.at < $1 ORDER BY o.at LIMIT $2 FOR UPDATE SKIP LOCKED
), old_dead AS MATERIALIZED (
    SELECT d.sink, d.number FROM dead_letters d WHERE d.at < $1
    ORDER BY d.at LIMIT $2 - (SELECT count(*) FROM old) FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM outbox o USING old WHERE o.sink = old.sink AND o.number = old.number RETURNING o.sink
), gone_dead AS (
    DELETE FROM dead_letters d USING old_dead old WHERE d.sink = old.sink AND d.number = old.number
    RETURNING d.sink
), counted AS (
    INSERT INTO outbox_sinks AS s (sink, expired)
    SELECT gone.sink, count(*) FROM (SELECT * FROM gone UNION ALL SELECT * FROM gone_dead) gone
    GROUP BY gone.sink ORDER BY gone.sink
    ON CONFLICT (sink) DO UPDATE SET expired = s.expired + excluded.expired
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM gone_dead)";
pub(crate) const BOOKS: &str = "WITH waiting AS (
    SELECT o.sink, count(*) AS pending, min(o.at) AS oldest FROM outbox o GROUP BY o.sink
), lying AS (
    SELECT d.sink, count(*) AS dead FROM dead_letters d GROUP BY d.sink
)
SELECT sink, coalesce(w.pending, 0), w.oldest, coalesce(s.delivered, 0), coalesce(l.dead, 0),
    coalesce(s.expired, 0), coalesce(s.erased, 0)
FROM outbox_sinks s FULL JOIN waiting w USING (sink) FULL JOIN lying l USING (sink) ORDER BY sink";
pub(crate) const DEAD: &str = "SELECT d.number, d.body, d.reason, d.at FROM dead_letters d
    WHERE d.sink = $1 AND d.number > $2 ORDER BY d.number LIMIT $3";
/// Bodies are JSON, so an id stands in one as its JSON does. This reads all that waits, and all that lies dead: an
/// erasure is rare, and both are little.
pub(crate) const NAMING: &str = "SELECT o.sink, o.number, o.body, FALSE FROM outbox o
    WHERE position($1 IN o.body) > 0
    UNION ALL
    SELECT d.sink, d.number, d.body, TRUE FROM dead_letters d WHERE position($1 IN d.body) > 0";
/// A letter is rewritten where something is left of it, and removed where not.
pub(crate) const REWRITE: &str = "WITH letter AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]) AS letter (sink, number, body)
), rewritten AS (
    UPDATE outbox o SET body = l.body FROM letter l
    WHERE o.sink = l.sink AND o.number = l.number AND l.body IS NOT NULL
), rewritten_dead AS (
    UPDATE dead_letters d SET body = l.body FROM letter l
    WHERE d.sink = l.sink AND d.number = l.number AND l.body IS NOT NULL
), gone AS (
    DELETE FROM outbox o USING letter l
    WHERE o.sink = l.sink AND o.number = l.number AND l.body IS NULL RETURNING o.sink
), gone_dead AS (
    DELETE FROM dead_letters d USING letter l
    WHERE d.sink = l.sink AND d.number = l.number AND l.body IS NULL RETURNING d.sink
)
INSERT INTO outbox_sinks AS s (sink, erased)
SELECT gone.sink, count(*) FROM (SELECT * FROM gone UNION ALL SELECT * FROM gone_dead) gone
GROUP BY gone.sink ORDER BY gone.sink
ON CONFLICT (sink) DO UPDATE SET erased = s.erased + excluded.erased";

/// A part of a statement that keeps events: those whose place is in `$written`, under numbers in their order, each for
/// all sinks that want it. It ends a list of parts.
macro_rules! telling {
    (
        $written:literal,
        $places:literal,
        $at:literal,
        $bodies:literal,
        $events:literal,
        $sinks:literal,
        $keys:literal
    ) => {
        concat!(
            ", told AS MATERIALIZED (
    SELECT e.at, e.key, e.body, e.event, nextval('outbox_number') AS number FROM (
        SELECT e.* FROM unnest(",
            $places,
            "::bigint[], ",
            $at,
            "::bigint[], ",
            $keys,
            "::text[], ",
            $bodies,
            "::text[]) WITH ORDINALITY AS e (place, at, key, body, event)
        JOIN ",
            $written,
            " USING (place) ORDER BY e.event
    ) e
), letter AS (
    INSERT INTO outbox (sink, number, at, key, body)
    SELECT l.sink, told.number, told.at, told.key, told.body
    FROM unnest(",
            $events,
            "::bigint[], ",
            $sinks,
            "::text[]) AS l (event, sink) JOIN told USING (event)
)"
        )
    };
}
pub(crate) use telling;

/// Events of a statement, column by column. Places and events are counted from one, as the server does.
#[derive(Default)]
pub(crate) struct Told {
    places: Vec<i64>,
    at: Vec<i64>,
    keys: Vec<String>,
    bodies: Vec<String>,
    events: Vec<i64>,
    sinks: Vec<String>,
}

impl Told {
    /// Adds what is wanted of the events of what stands at this place.
    pub(crate) fn add(&mut self, wanted: &Subscriptions, place: i64, events: &[Event], at: Timestamp) {
        for outgoing in wanted.outgoing(events) {
            self.places.push(place);
            self.at.push(at.as_millis());
            self.keys.push(outgoing.key);
            self.bodies.push(outgoing.body);
            let event = codec::limit(self.places.len());
            self.events.extend(outgoing.sinks.iter().map(|_| event));
            self.sinks.extend(outgoing.sinks.iter().map(ToString::to_string));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The arguments of [`telling`], in its order.
    pub(crate) fn bind<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let statement = statement.bind(&self.places).bind(&self.at).bind(&self.bodies);
        statement.bind(&self.events).bind(&self.sinks).bind(&self.keys)
    }
}

#[async_trait]
impl Outbox for PostgresStore {
    fn subscribe(&self, subscriptions: Subscriptions) {
        self.wanted.set(subscriptions);
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Vec<Letter>>, StoreError> {
        Ok(take(self, &claim).await?)
    }

    async fn ack_and_claim(
        &self,
        numbers: Vec<i64>,
        claim: Claim,
    ) -> Result<Option<Vec<Letter>>, StoreError> {
        let run = match claim.which {
            Which::After(after) => Run::of(&numbers, after),
            Which::Oldest | Which::Within(_) => None,
        };
        let Some(run) = run else {
            self.ack(&claim.sink, numbers).await?;
            return self.claim(claim).await;
        };
        let statement = || run.bind(claim_by(ACK_AND_CLAIM, &claim));
        let rows = self.connections_for(1).rows(statement).await?;
        match held(&claim, &rows)? {
            Some(letters) => Ok(Some(letters)),
            None => self.claim(claim).await,
        }
    }

    async fn ack(&self, sink: &SinkName, numbers: Vec<i64>) -> Result<(), StoreError> {
        let statement = || sqlx::query(ACK).bind(sink.as_str()).bind(&numbers);
        Ok(self.connections.rows(statement).await.map(drop)?)
    }

    async fn nack(
        &self,
        sink: &SinkName,
        refused: Vec<(i64, String)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (numbers, reasons): (Vec<i64>, Vec<String>) = refused.into_iter().unzip();
        let statement =
            || sqlx::query(NACK).bind(sink.as_str()).bind(&numbers).bind(&reasons).bind(at.as_millis());
        Ok(self.connections.rows(statement).await.map(drop)?)
    }

    async fn requeue(&self, sink: &SinkName, numbers: Option<Vec<i64>>) -> Result<u64, StoreError> {
        let requeue = sqlx::query(REQUEUE).bind(sink.as_str()).bind(numbers);
        Ok(self.connections.once(requeue).await?.len() as u64)
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let expire = sqlx::query(EXPIRE).bind(before.as_millis()).bind(codec::limit(limit));
        let rows = self.connections.once(expire).await?;
        Ok(rows.first().map_or(Ok(0), |row| tally(row, 0))?)
    }
}

#[async_trait]
impl OutboxQuery for PostgresStore {
    async fn books(&self) -> Result<Vec<SinkBooks>, StoreError> {
        let rows = self.connections.rows(|| sqlx::query(BOOKS)).await?;
        Ok(rows.iter().map(books).collect::<Result<_, Fault>>()?)
    }

    async fn dead_letters(
        &self,
        sink: &SinkName,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let after = after.unwrap_or(i64::MIN);
        let statement = || sqlx::query(DEAD).bind(sink.as_str()).bind(after).bind(codec::limit(limit));
        let rows = self.connections.rows(statement).await?;
        let dead = rows.iter().map(|row| {
            let (letter, reason) = (letter(row, 0)?, row.try_get(2)?);
            Ok(DeadLetter { letter, reason, at: codec::timestamp(row, 3, "dead_letters.at")? })
        });
        Ok(dead.collect::<Result<_, Fault>>()?)
    }
}

/// Who has the sink for long enough need not write that down again.
async fn take(store: &PostgresStore, claim: &Claim) -> Result<Option<Vec<Letter>>, Fault> {
    let spans = if let Which::Within(spans) = &claim.which { Spans::of(spans) } else { Spans::default() };
    let claimed = || match &claim.which {
        Which::Oldest => claim_by(CLAIMED, claim).bind(i64::MIN),
        Which::After(number) => claim_by(CLAIMED, claim).bind(number),
        Which::Within(_) => spans.bind(claim_by(CLAIMED_IN_SPANS, claim)),
    };
    if let Some(letters) = held(claim, &store.connections.rows(claimed).await?)? {
        return Ok(Some(letters));
    }
    let Claim { sink, node, now, until, .. } = claim;
    let statement = || {
        let claim = sqlx::query(CLAIM).bind(sink.as_str()).bind(node);
        claim.bind(until.as_millis()).bind(now.as_millis())
    };
    if store.connections.rows(statement).await?.is_empty() {
        return Ok(None);
    }
    // Whoever had it may have acknowledged something since.
    letters(&store.connections.rows(claimed).await?).map(Some)
}

/// Numbers that lie side by side, up to one after which letters are claimed.
struct Run {
    after: i64,
    first: i64,
    last: i64,
    /// A bit for each from the first to the last: whether it is one of them.
    marks: Vec<u8>,
}

impl Run {
    /// `None` where there are none, where they lie far apart, or where some lie after that number.
    fn of(numbers: &[i64], after: i64) -> Option<Self> {
        const LONGEST: u64 = 1 << 16;
        let (first, last) = (*numbers.iter().min()?, *numbers.iter().max()?);
        let length = Some(last.abs_diff(first)).filter(|length| *length < LONGEST && last <= after)?;
        let mut marks = vec![0_u8; usize::try_from(length / 8).ok()?.saturating_add(1)];
        for place in numbers.iter().map(|number| number.abs_diff(first)) {
            let byte = marks.get_mut(usize::try_from(place / 8).ok()?)?;
            *byte |= 1 << (place % 8);
        }
        Some(Self { after, first, last, marks })
    }

    fn bind<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        statement.bind(self.after).bind(&self.marks).bind(self.first).bind(self.last)
    }
}

/// The first arguments of whatever is made of `claimed`.
fn claim_by<'q>(sql: &'static str, claim: &'q Claim) -> Statement<'q> {
    sqlx::query(sql).bind(claim.sink.as_str()).bind(&claim.node).bind(codec::limit(claim.limit))
}

/// The letters of a claim, where its node has the sink for long enough.
fn held(claim: &Claim, rows: &[PgRow]) -> Result<Option<Vec<Letter>>, Fault> {
    let Some(row) = rows.first() else { return Ok(None) };
    let until = codec::timestamp(row, 1, "outbox_sinks.claimed_until")?;
    claim.is_held_by(row.try_get(0)?, until).then(|| letters(rows)).transpose()
}

fn letters(rows: &[PgRow]) -> Result<Vec<Letter>, Fault> {
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let (numbers, bodies): (Option<Vec<i64>>, Option<Vec<String>>) = (row.try_get(2)?, row.try_get(3)?);
    let letters = numbers.unwrap_or_default().into_iter().zip(bodies.unwrap_or_default());
    Ok(letters.map(|(number, body)| Letter { number, body }).collect())
}

/// Spans of keys, column by column.
#[derive(Default)]
struct Spans<'a> {
    from: Vec<&'a str>,
    before: Vec<&'a str>,
    limits: Vec<i64>,
}

impl<'a> Spans<'a> {
    fn of(spans: &'a [KeySpan]) -> Self {
        Self {
            from: spans.iter().map(|span| span.from.as_str()).collect(),
            before: spans.iter().map(|span| span.before.as_str()).collect(),
            limits: spans.iter().map(|span| codec::limit(span.limit)).collect(),
        }
    }

    fn bind<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        statement.bind(&self.from).bind(&self.before).bind(&self.limits)
    }
}

fn letter(row: &PgRow, index: usize) -> Result<Letter, Fault> {
    Ok(Letter { number: row.try_get(index)?, body: row.try_get(index + 1)? })
}

fn tally(row: &PgRow, index: usize) -> Result<u64, Fault> {
    Ok(row.try_get::<i64, _>(index)?.unsigned_abs())
}

fn books(row: &PgRow) -> Result<SinkBooks, Fault> {
    const OLDEST: usize = 2;
    let oldest = codec::is_some(row, OLDEST)?.then(|| codec::timestamp(row, OLDEST, "outbox.at"));
    Ok(SinkBooks {
        sink: SinkName::new(row.try_get(0)?).ok_or_else(|| Fault::unknown("outbox_sinks.sink"))?,
        pending: tally(row, 1)?,
        oldest: oldest.transpose()?,
        delivered: tally(row, 3)?,
        dead: tally(row, 4)?,
        expired: tally(row, 5)?,
        erased: tally(row, 6)?,
    })
}

/// Removes what is known of a user, in what waits and what lies dead; in the transaction that is open.
pub(crate) async fn erase(loan: &mut Loan, user: &UserId) -> Result<(), Fault> {
    let rows = loan.rows(sqlx::query(NAMING).bind(Letter::naming(user))).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let (mut sinks, mut numbers, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let letter = letter(row, 1)?;
        sinks.push(row.try_get::<String, _>(0)?);
        numbers.push(letter.number);
        bodies.push(letter.without(user).map(|left| left.body));
    }
    loan.rows(sqlx::query(REWRITE).bind(sinks).bind(numbers).bind(bodies)).await.map(drop)
}
