//! What waits for sinks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use presence_core::{
    Claim, DeadLetter, Event, KeySpan, Letter, Outbox, OutboxQuery, Outgoing, SinkBooks, SinkName,
    StoreError, Subscriptions, Timestamp, UserId, Which,
};
use rusqlite::{Connection, Row, Rows, params};

use crate::{SqliteStore, codec, error::Fault, job::After, writer::Writer};

pub(crate) const KEEP: &str = "INSERT INTO outbox (sink, number, at, key, body) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(crate) const CLAIMED: &str = "SELECT node, claimed_until FROM outbox_sinks WHERE sink = ?1";
pub(crate) const CLAIM: &str = "INSERT INTO outbox_sinks (sink, node, claimed_until) VALUES (?1, ?2, ?3)
    ON CONFLICT (sink) DO UPDATE SET node = excluded.node, claimed_until = excluded.claimed_until";
pub(crate) const LETTERS: &str = "SELECT number, body FROM outbox
    WHERE sink = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
pub(crate) const LETTERS_OF_SPAN: &str = "SELECT number, body FROM outbox
    WHERE sink = ?1 AND key >= ?2 AND key < ?3 ORDER BY key, number LIMIT ?4";
pub(crate) const NUMBERS: &str = "SELECT number FROM outbox
    WHERE sink = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number";
pub(crate) const ACK_RUN: &str = "DELETE FROM outbox WHERE sink = ?1 AND number BETWEEN ?2 AND ?3";
pub(crate) const ACK: &str = "DELETE FROM outbox WHERE sink = ?1 AND number = ?2";
pub(crate) const COUNT: &str = "INSERT INTO outbox_sinks (sink, delivered, expired, erased)
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (sink) DO UPDATE SET delivered = delivered + excluded.delivered,
    expired = expired + excluded.expired, erased = erased + excluded.erased";
pub(crate) const BURY: &str = "INSERT INTO dead_letters (sink, number, at, key, reason, body)
    SELECT sink, number, ?3, key, ?4, body FROM outbox WHERE sink = ?1 AND number = ?2";
pub(crate) const REQUEUE: &str = "INSERT INTO outbox (sink, number, at, key, body)
    SELECT sink, number, at, key, body FROM dead_letters WHERE sink = ?1 AND number = ?2";
pub(crate) const UNBURY: &str = "DELETE FROM dead_letters WHERE sink = ?1 AND number = ?2";
pub(crate) const DEAD_NUMBERS: &str = "SELECT number FROM dead_letters WHERE sink = ?1";
pub(crate) const DEAD: &str = "SELECT number, body, reason, at FROM dead_letters
    WHERE sink = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
pub(crate) const EXPIRE: &str = "DELETE FROM outbox WHERE (sink, number) IN
    (SELECT sink, number FROM outbox WHERE sink = ?1 AND at < ?2 ORDER BY at LIMIT ?3)";
pub(crate) const EXPIRE_DEAD: &str = "DELETE FROM dead_letters WHERE (sink, number) IN
    (SELECT sink, number FROM dead_letters WHERE sink = ?1 AND at < ?2 ORDER BY at LIMIT ?3)";
pub(crate) const NEXT_SINK: &str = "SELECT min(sink) FROM (
    SELECT min(sink) AS sink FROM outbox WHERE sink > ?1
    UNION ALL SELECT min(sink) FROM dead_letters WHERE sink > ?1)";
const SINKS: &str = "SELECT sink, delivered, expired, erased FROM outbox_sinks";
const WAITING: &str = "SELECT sink, count(*), min(at) FROM outbox GROUP BY sink";
const LYING: &str = "SELECT sink, count(*), min(at) FROM dead_letters GROUP BY sink";
/// Bodies are JSON, so an id stands in one as its JSON does. Both read the whole table: an erasure is rare, and what
/// waits is little.
const NAMING: &str = "SELECT sink, number, body FROM outbox WHERE instr(body, ?1) > 0";
const NAMING_DEAD: &str = "SELECT sink, number, body FROM dead_letters WHERE instr(body, ?1) > 0";
pub(crate) const REWRITE: &str = "UPDATE outbox SET body = ?3 WHERE sink = ?1 AND number = ?2";
pub(crate) const REWRITE_DEAD: &str = "UPDATE dead_letters SET body = ?3 WHERE sink = ?1 AND number = ?2";

/// Keeps what is wanted of some events, in the transaction that is open.
pub(crate) fn keep(
    conn: &Connection,
    wanted: &Subscriptions,
    last_number: &mut i64,
    events: &[Event],
    at: Timestamp,
) -> Result<(), Fault> {
    for outgoing in wanted.outgoing(events) {
        *last_number += 1;
        let mut keep = conn.prepare_cached(KEEP)?;
        for sink in &outgoing.sinks {
            let Outgoing { key, body, .. } = &outgoing;
            keep.execute(params![sink.as_str(), *last_number, at.as_millis(), key, body])?;
        }
    }
    Ok(())
}

/// The same, but for what the events say of users who were erased since.
pub(crate) fn tell(writer: &mut Writer, events: &[Event], at: Timestamp) -> Result<(), Fault> {
    let wanted = writer.wanted.get();
    if wanted.is_empty() || events.is_empty() {
        return Ok(());
    }
    let Writer { conn, eraser, counters, .. } = writer;
    let mut fault = None;
    let mut erased_at = |user: &UserId| {
        eraser.fence(conn, user).unwrap_or_else(|failed| {
            fault = Some(failed);
            None
        })
    };
    let mut known = Vec::with_capacity(events.len());
    for event in events {
        known.extend(event.clone().unerased(&mut erased_at));
    }
    fault.map_or(Ok(()), Err)?;
    keep(conn, &wanted, &mut counters.outbox_number, &known, at)
}

#[async_trait]
impl Outbox for SqliteStore {
    fn subscribe(&self, subscriptions: Subscriptions) {
        self.wanted.set(subscriptions);
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Vec<Letter>>, StoreError> {
        // Who has the sink for long enough need not write that down again.
        let asked = claim.clone();
        let known = self.read(move |conn| {
            let claimed = claimed(conn, &asked.sink)?;
            let is_held = claimed.is_some_and(|(node, until)| asked.is_held_by(&node, until));
            is_held.then(|| letters(conn, &asked)).transpose()
        });
        if let Some(letters) = known.await? {
            return Ok(Some(letters));
        }
        self.write(1, After::Nothing, move |writer| take(&writer.conn, &claim)).await
    }

    async fn ack(&self, sink: &SinkName, numbers: Vec<i64>) -> Result<(), StoreError> {
        let sink = sink.clone();
        self.write(numbers.len(), After::Nothing, move |writer| acknowledge(&writer.conn, &sink, &numbers))
            .await
    }

    async fn ack_and_claim(
        &self,
        numbers: Vec<i64>,
        claim: Claim,
    ) -> Result<Option<Vec<Letter>>, StoreError> {
        self.write(numbers.len(), After::Nothing, move |writer| {
            acknowledge(&writer.conn, &claim.sink, &numbers)?;
            take(&writer.conn, &claim)
        })
        .await
    }

    async fn nack(
        &self,
        sink: &SinkName,
        refused: Vec<(i64, String)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sink = sink.clone();
        self.write(refused.len(), After::Nothing, move |writer| {
            let mut bury = writer.conn.prepare_cached(BURY)?;
            let mut ack = writer.conn.prepare_cached(ACK)?;
            for (number, reason) in &refused {
                bury.execute(params![sink.as_str(), number, at.as_millis(), reason])?;
                ack.execute(params![sink.as_str(), number])?;
            }
            Ok(())
        })
        .await
    }

    async fn requeue(&self, sink: &SinkName, numbers: Option<Vec<i64>>) -> Result<u64, StoreError> {
        let sink = sink.clone();
        self.write(1, After::Nothing, move |writer| {
            let conn = &writer.conn;
            let numbers = match &numbers {
                Some(numbers) => numbers.clone(),
                None => {
                    let mut dead = conn.prepare_cached(DEAD_NUMBERS)?;
                    let numbers = dead.query_map([sink.as_str()], |row| row.get(0))?;
                    numbers.collect::<Result<_, _>>()?
                }
            };
            let (mut requeue, mut unbury) = (conn.prepare_cached(REQUEUE)?, conn.prepare_cached(UNBURY)?);
            let mut count = 0;
            for number in numbers {
                count += requeue.execute(params![sink.as_str(), number])? as u64;
                unbury.execute(params![sink.as_str(), number])?;
            }
            Ok(count)
        })
        .await
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.write(limit, After::Nothing, move |writer| {
            let conn = &writer.conn;
            let mut left = limit;
            let mut last = String::new();
            while let Some(sink) = sink_after(conn, &last)? {
                let mut expired = 0;
                for sql in [EXPIRE, EXPIRE_DEAD] {
                    let row = params![sink, before.as_millis(), codec::limit(left)];
                    let removed = conn.prepare_cached(sql)?.execute(row)?;
                    left = left.saturating_sub(removed);
                    expired += removed as u64;
                }
                if expired > 0 {
                    count(conn, &sink, [0, expired, 0])?;
                }
                last = sink;
            }
            Ok(limit.saturating_sub(left) as u64)
        })
        .await
    }
}

#[async_trait]
impl OutboxQuery for SqliteStore {
    async fn books(&self) -> Result<Vec<SinkBooks>, StoreError> {
        self.read(|conn| Ok(all_books(conn)?.into_values().collect())).await
    }

    async fn dead_letters(
        &self,
        sink: &SinkName,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let sink = sink.clone();
        self.read(move |conn| {
            let mut dead = conn.prepare_cached(DEAD)?;
            let after = after.unwrap_or(i64::MIN);
            let mut rows = dead.query(params![sink.as_str(), after, codec::limit(limit)])?;
            let mut letters = Vec::new();
            while let Some(row) = rows.next()? {
                let (letter, at) = (letter(row)?, codec::timestamp(row, 3, "dead_letters.at")?);
                letters.push(DeadLetter { letter, reason: row.get(2)?, at });
            }
            Ok(letters)
        })
        .await
    }
}

fn claimed(conn: &Connection, sink: &SinkName) -> Result<Option<(String, Timestamp)>, Fault> {
    let mut claimed = conn.prepare_cached(CLAIMED)?;
    let mut rows = claimed.query([sink.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((row.get(0)?, codec::timestamp(row, 1, "outbox_sinks.claimed_until")?)))
}

/// Gives a sink to who asks, unless another has it, in the transaction that is open.
fn take(conn: &Connection, claim: &Claim) -> Result<Option<Vec<Letter>>, Fault> {
    let Claim { sink, node, now, until, .. } = claim;
    let claimed = claimed(conn, sink)?;
    let is_held = claimed.as_ref().is_some_and(|(node, until)| claim.is_held_by(node, *until));
    if !is_held {
        if claimed.is_some_and(|(other, until)| other != *node && until > *now) {
            return Ok(None);
        }
        conn.prepare_cached(CLAIM)?.execute(params![sink.as_str(), node, until.as_millis()])?;
    }
    letters(conn, claim).map(Some)
}

fn letters(conn: &Connection, Claim { sink, limit, which, .. }: &Claim) -> Result<Vec<Letter>, Fault> {
    let mut letters = Vec::new();
    let mut push = |mut rows: Rows<'_>| {
        while let Some(row) = rows.next()? {
            letters.push(letter(row)?);
        }
        Ok::<_, Fault>(letters.len())
    };
    let spans = match which {
        Which::Oldest | Which::After(_) => {
            let after = if let Which::After(number) = which { *number } else { i64::MIN };
            let mut statement = conn.prepare_cached(LETTERS)?;
            push(statement.query(params![sink.as_str(), after, codec::limit(*limit)])?)?;
            return Ok(letters);
        }
        Which::Within(spans) => spans,
    };
    let mut statement = conn.prepare_cached(LETTERS_OF_SPAN)?;
    let mut left = *limit;
    for KeySpan { from, before, limit: most } in spans {
        let most = codec::limit(left.min(*most));
        let row = params![sink.as_str(), from, before, most];
        left = limit.saturating_sub(push(statement.query(row)?)?);
    }
    Ok(letters)
}

/// Removes letters and counts them, in the transaction that is open.
fn acknowledge(conn: &Connection, sink: &SinkName, numbers: &[i64]) -> Result<(), Fault> {
    let sink = sink.as_str();
    let mut delivered = 0;
    if let [first, .., last] = numbers
        && is_run(conn, sink, numbers)?
    {
        delivered = conn.prepare_cached(ACK_RUN)?.execute(params![sink, first, last])?;
    } else {
        let mut ack = conn.prepare_cached(ACK)?;
        for number in numbers {
            delivered += ack.execute(params![sink, number])?;
        }
    }
    count(conn, sink, [delivered as u64, 0, 0])
}

/// Whether nothing else waits from the first of them to the last. Then they go in one walk.
fn is_run(conn: &Connection, sink: &str, numbers: &[i64]) -> Result<bool, Fault> {
    let ([first, ..], [.., last]) = (numbers, numbers) else { return Ok(false) };
    let mut statement = conn.prepare_cached(NUMBERS)?;
    let mut rows = statement.query(params![sink, first, last])?;
    for number in numbers {
        if rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()? != Some(*number) {
            return Ok(false);
        }
    }
    Ok(rows.next()?.is_none())
}

fn letter(row: &Row<'_>) -> Result<Letter, Fault> {
    Ok(Letter { number: row.get(0)?, body: row.get(1)? })
}

/// Adds to the counters of a sink: delivered, expired, erased.
fn count(conn: &Connection, sink: &str, [delivered, expired, erased]: [u64; 3]) -> Result<(), Fault> {
    let [delivered, expired, erased] = [delivered, expired, erased].map(codec::count);
    conn.prepare_cached(COUNT)?.execute(params![sink, delivered, expired, erased])?;
    Ok(())
}

/// The next sink, by name, that something waits or lies dead for. No name is empty, so that all come after the empty one.
fn sink_after(conn: &Connection, sink: &str) -> Result<Option<String>, Fault> {
    Ok(conn.prepare_cached(NEXT_SINK)?.query_row([sink], |row| row.get(0))?)
}

fn all_books(conn: &Connection) -> Result<BTreeMap<String, SinkBooks>, Fault> {
    let mut all = BTreeMap::new();
    let mut each = |sql, add: fn(&mut SinkBooks, &Row<'_>) -> Result<(), Fault>| {
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let sink = SinkName::new(&name).ok_or_else(|| Fault::unknown("outbox_sinks.sink"))?;
            add(all.entry(name).or_insert_with(|| SinkBooks::new(sink)), row)?;
        }
        Ok::<_, Fault>(())
    };
    each(SINKS, |books, row| {
        books.delivered = tally(row, 1)?;
        books.expired = tally(row, 2)?;
        books.erased = tally(row, 3)?;
        Ok(())
    })?;
    each(WAITING, |books, row| {
        books.pending = tally(row, 1)?;
        books.oldest = Some(codec::timestamp(row, 2, "outbox.at")?);
        Ok(())
    })?;
    each(LYING, |books, row| {
        books.dead = tally(row, 1)?;
        Ok(())
    })?;
    Ok(all)
}

fn tally(row: &Row<'_>, index: usize) -> Result<u64, Fault> {
    Ok(row.get::<_, i64>(index)?.unsigned_abs())
}

/// Removes what is known of a user, in what waits and what lies dead.
pub(crate) fn erase(conn: &Connection, user: &UserId) -> Result<(), Fault> {
    let naming = Letter::naming(user);
    let mut erased: BTreeMap<String, u64> = BTreeMap::new();
    for (find, remove, rewrite) in [(NAMING, ACK, REWRITE), (NAMING_DEAD, UNBURY, REWRITE_DEAD)] {
        let mut find = conn.prepare_cached(find)?;
        let rows = find.query_map([&naming], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let rows: Vec<(String, i64, String)> = rows.collect::<Result<_, _>>()?;
        for (sink, number, body) in rows {
            if let Some(left) = (Letter { number, body }).without(user) {
                conn.prepare_cached(rewrite)?.execute(params![sink, number, left.body])?;
            } else {
                conn.prepare_cached(remove)?.execute(params![sink, number])?;
                *erased.entry(sink).or_default() += 1;
            }
        }
    }
    erased.iter().try_for_each(|(sink, erased)| count(conn, sink, [0, 0, *erased]))
}
