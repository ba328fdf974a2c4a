//! Who is online.

use async_trait::async_trait;
use presence_core::{EventKind, LiveSet, Member, Seen, StoreError, Timestamp};
use rusqlite::{Connection, params};

use crate::{SqliteStore, codec, error::Fault, job::After, outbox, writer::Writer};

pub(crate) const SEE: &str = "INSERT INTO online_members (member, last_seen) VALUES (?1, ?2)
    ON CONFLICT (member) DO UPDATE SET last_seen = excluded.last_seen
    WHERE last_seen < excluded.last_seen AND bound < ?3";
pub(crate) const BIND: &str = "INSERT INTO online_members (member, last_seen, bound) VALUES (?1, -1, ?2)
    ON CONFLICT (member) DO UPDATE SET last_seen = -1, bound = max(bound, excluded.bound)";
pub(crate) const LEAVE: &str = "DELETE FROM online_members WHERE member = ?1 AND bound = -1";
// The row of an install that was bound stays until it is evicted.
pub(crate) const LEAVE_BOUND: &str = "UPDATE online_members SET last_seen = -1 WHERE member = ?1";
pub(crate) const COUNT: &str = "SELECT count(*) FROM online_members WHERE last_seen >= ?1";
pub(crate) const LIST: &str = "SELECT member, last_seen FROM online_members
    WHERE member > ?1 AND last_seen >= ?2 ORDER BY member LIMIT ?3";
pub(crate) const EVICT: &str = "DELETE FROM online_members WHERE member IN (SELECT member FROM online_members
    WHERE last_seen >= 0 AND last_seen < ?1 ORDER BY last_seen LIMIT ?2)";
pub(crate) const UNBIND: &str =
    "DELETE FROM online_members WHERE member IN (SELECT member FROM online_members
    WHERE last_seen = -1 AND bound < ?1 ORDER BY bound LIMIT ?2)";

#[async_trait]
impl LiveSet for SqliteStore {
    async fn touch(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        self.write(seen.len(), After::Nothing, move |writer| touch(writer, &seen)).await
    }

    async fn leave(&self, members: Vec<Member>) -> Result<(), StoreError> {
        self.write(members.len(), After::Nothing, move |writer| leave(writer, &members)).await
    }

    async fn count(&self, since: Timestamp) -> Result<u64, StoreError> {
        self.read(move |conn| count(conn, since)).await
    }

    async fn list(
        &self,
        since: Timestamp,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Timestamp)>, StoreError> {
        self.read(move |conn| list(conn, since, after.as_ref(), limit)).await
    }

    async fn evict(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.write(limit, After::Nothing, move |writer| evict(writer, before, limit)).await
    }
}

fn touch(writer: &mut Writer, seen: &[Seen]) -> Result<(), Fault> {
    let mut see = writer.conn.prepare_cached(SEE)?;
    let mut bind = writer.conn.prepare_cached(BIND)?;
    let is_told = writer.wanted.get().wants(EventKind::Heartbeat);
    let mut told = Vec::new();
    for seen in seen {
        let written = match seen {
            Seen::Member { member, at, floor } => {
                see.execute(params![member.to_string(), at.as_millis(), floor.as_millis()])?
            }
            Seen::Bound { install, at } => {
                bind.execute(params![Member::Install(install.clone()).to_string(), at.as_millis()])?
            }
        };
        if is_told && written > 0 {
            told.extend(seen.told());
        }
    }
    drop((see, bind));
    told.iter().try_for_each(|event| outbox::tell(writer, std::slice::from_ref(event), event.at()))
}

fn leave(writer: &mut Writer, members: &[Member]) -> Result<(), Fault> {
    let mut leave = writer.conn.prepare_cached(LEAVE)?;
    let mut leave_bound = writer.conn.prepare_cached(LEAVE_BOUND)?;
    for member in members {
        let member = member.to_string();
        if leave.execute([&member])? == 0 {
            leave_bound.execute([&member])?;
        }
    }
    Ok(())
}

fn count(conn: &Connection, since: Timestamp) -> Result<u64, Fault> {
    let count: i64 = conn.prepare_cached(COUNT)?.query_row([since.as_millis()], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn list(
    conn: &Connection,
    since: Timestamp,
    after: Option<&Member>,
    limit: usize,
) -> Result<Vec<(Member, Timestamp)>, Fault> {
    let after = after.map(Member::to_string).unwrap_or_default();
    let mut list = conn.prepare_cached(LIST)?;
    let mut rows = list.query(params![after, since.as_millis(), codec::limit(limit)])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        members.push((codec::member(row, 0)?, codec::timestamp(row, 1, "online_members.last_seen")?));
    }
    Ok(members)
}

fn evict(writer: &mut Writer, before: Timestamp, limit: usize) -> Result<u64, Fault> {
    let before = before.as_millis();
    let unbound = writer.conn.prepare_cached(UNBIND)?.execute(params![before, codec::limit(limit)])?;
    let left = codec::limit(limit.saturating_sub(unbound));
    let evicted = writer.conn.prepare_cached(EVICT)?.execute(params![before, left])?;
    Ok(unbound.saturating_add(evicted) as u64)
}
