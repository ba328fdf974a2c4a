//! Who is online.

use std::collections::HashMap;

use async_trait::async_trait;
use presence_core::{Event, EventKind, LiveSet, Member, Seen, StoreError, Subscriptions, Timestamp};
use sqlx::Row;

use crate::{
    PostgresStore, codec,
    error::Fault,
    outbox::{Told, telling},
    waves::waves,
};

/// A row is inserted as it would be if the member were unknown; where it is known, all that the statement can see of
/// the heartbeat is that row. So the row says everything: `last_seen` is -1 for a binding, and `bound` of somebody who
/// was never bound is `-1 - floor`, which is as negative as any other never.
pub(crate) const SEE: &str = "INSERT INTO online_members AS m (member, last_seen, bound)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS seen (member, last_seen, bound)
    ORDER BY member
    ON CONFLICT (member) DO UPDATE
    SET last_seen = excluded.last_seen, bound = greatest(m.bound, excluded.bound)
    WHERE excluded.last_seen = -1 OR m.last_seen < excluded.last_seen AND m.bound < -1 - excluded.bound";
/// The same, of members that somebody is told of: those that were seen later than before, but for users who were erased
/// since.
pub(crate) const SEE_AND_TELL: &str = concat!(
    "WITH item AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) WITH ORDINALITY
        AS item (member, last_seen, bound, user_hash, place)
), fence AS MATERIALIZED (
    SELECT e.user_hash, e.at FROM erased_users e WHERE e.user_hash = ANY ($4) FOR KEY SHARE
), seen AS (
    INSERT INTO online_members AS m (member, last_seen, bound)
    SELECT item.member, item.last_seen, item.bound FROM item ORDER BY item.member
    ON CONFLICT (member) DO UPDATE
    SET last_seen = excluded.last_seen, bound = greatest(m.bound, excluded.bound)
    WHERE excluded.last_seen = -1 OR m.last_seen < excluded.last_seen AND m.bound < -1 - excluded.bound
    RETURNING m.member
), news AS MATERIALIZED (
    SELECT item.place FROM item JOIN seen USING (member) LEFT JOIN fence USING (user_hash)
    WHERE fence.at IS NULL OR item.last_seen > fence.at
)",
    telling!("news", "$5", "$6", "$7", "$8", "$9", "$10"),
    "
SELECT place FROM news"
);
/// The row of an install that was bound stays until it is evicted.
pub(crate) const LEAVE: &str = "WITH held AS MATERIALIZED (
    SELECT m.member, m.bound FROM online_members m WHERE m.member = ANY ($1) ORDER BY m.member FOR UPDATE
), left_for_good AS (
    DELETE FROM online_members m USING held WHERE m.member = held.member AND held.bound < 0
)
UPDATE online_members m SET last_seen = -1 FROM held WHERE m.member = held.member AND held.bound >= 0";
/// Of all minutes but the first the index says enough.
pub(crate) const COUNT: &str = "SELECT (SELECT count(*) FROM online_members WHERE seen_minute > $1 / 60000)
    + (SELECT count(*) FROM online_members WHERE seen_minute = $1 / 60000 AND last_seen >= $1)";
pub(crate) const LIST: &str = "SELECT member, last_seen FROM online_members
    WHERE member > $1 AND last_seen >= $2 ORDER BY member LIMIT $3";
/// Whoever is being seen in this moment is passed over.
pub(crate) const EVICT: &str = "WITH unbound AS MATERIALIZED (
    SELECT member FROM online_members WHERE seen_minute = -1 AND bound < $1
    ORDER BY bound LIMIT $2 FOR UPDATE SKIP LOCKED
), unseen AS MATERIALIZED (
    SELECT member FROM online_members WHERE seen_minute >= 0 AND seen_minute <= $1 / 60000 AND last_seen < $1
    ORDER BY seen_minute LIMIT $2 - (SELECT count(*) FROM unbound) FOR UPDATE SKIP LOCKED
), evicted AS (
    DELETE FROM online_members m USING (SELECT * FROM unbound UNION ALL SELECT * FROM unseen) gone
    WHERE m.member = gone.member RETURNING 1
)
SELECT count(*) FROM evicted";

#[async_trait]
impl LiveSet for PostgresStore {
    async fn touch(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        Ok(touch(self, &seen).await?)
    }

    async fn leave(&self, members: Vec<Member>) -> Result<(), StoreError> {
        let members: Vec<_> = members.iter().map(Member::to_string).collect();
        Ok(self.connections.rows(|| sqlx::query(LEAVE).bind(&members)).await.map(drop)?)
    }

    async fn count(&self, since: Timestamp) -> Result<u64, StoreError> {
        let rows = self.connections.rows(|| sqlx::query(COUNT).bind(since.as_millis())).await?;
        Ok(number(&rows)?)
    }

    async fn list(
        &self,
        since: Timestamp,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Timestamp)>, StoreError> {
        let after = after.as_ref().map(Member::to_string).unwrap_or_default();
        let statement = || sqlx::query(LIST).bind(&after).bind(since.as_millis()).bind(codec::limit(limit));
        let rows = self.connections.rows(statement).await?;
        let members = rows
            .iter()
            .map(|row| Ok((codec::member(row, 0)?, codec::timestamp(row, 1, "online_members.last_seen")?)));
        Ok(members.collect::<Result<_, Fault>>()?)
    }

    async fn evict(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let statement = || sqlx::query(EVICT).bind(before.as_millis()).bind(codec::limit(limit));
        Ok(number(&self.connections.rows(statement).await?)?)
    }
}

/// The count that is the answer.
fn number(rows: &[sqlx::postgres::PgRow]) -> Result<u64, Fault> {
    let row = rows.first().ok_or(Fault::Call("a count without an answer"))?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}

/// What a heartbeat says, as the row that it inserts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sighting {
    last_seen: i64,
    bound: i64,
}

impl Sighting {
    fn of(seen: &Seen) -> (String, Self) {
        match seen {
            Seen::Member { member, at, floor } => {
                (member.to_string(), Self { last_seen: at.as_millis(), bound: -1 - floor.as_millis() })
            }
            Seen::Bound { install, at } => {
                (Member::Install(install.clone()).to_string(), Self { last_seen: -1, bound: at.as_millis() })
            }
        }
    }

    const fn is_binding(self) -> bool {
        self.last_seen < 0
    }

    /// Whether a heartbeat adds nothing to another one, whatever is known of the member: it is no later, and taken only
    /// where the other is.
    const fn is_covered_by(self, other: Self) -> bool {
        !other.is_binding() && self.last_seen <= other.last_seen && self.bound >= other.bound
    }
}

/// The same heartbeats in fewer: one per member, or two where it was bound and seen later, but for heartbeats whose
/// floors fall while their instants rise.
fn coalesce(seen: &[Seen]) -> Vec<(String, Sighting)> {
    let mut members: HashMap<String, Vec<Sighting>> = HashMap::with_capacity(seen.len());
    for (member, new) in seen.iter().map(Sighting::of) {
        let known = members.entry(member).or_default();
        if new.is_binding() {
            let bound =
                known.first().filter(|first| first.is_binding()).map_or(new.bound, |first| first.bound);
            *known = vec![Sighting { bound: bound.max(new.bound), ..new }];
        } else if !known.iter().any(|known| new.is_covered_by(*known)) {
            known.retain(|known| known.is_binding() || !known.is_covered_by(new));
            known.push(new);
        }
    }
    let rows =
        |(member, rows): (String, Vec<Sighting>)| rows.into_iter().map(move |row| (member.clone(), row));
    members.into_iter().flat_map(rows).collect()
}

/// What others are told of those members that are seen later than before.
fn told(wanted: &Subscriptions, wave: &[(usize, &(String, Sighting))]) -> Told {
    let mut told = Told::default();
    for (place, (_, (member, row))) in (1..).zip(wave) {
        // Members and instants that were written are read; a binding has no instant.
        let (Ok(member), Ok(at)) = (Member::parse(member), Timestamp::from_millis(row.last_seen)) else {
            continue;
        };
        told.add(wanted, place, &[Event::Heartbeat { member, at }], at);
    }
    told
}

async fn touch(store: &PostgresStore, seen: &[Seen]) -> Result<(), Fault> {
    let wanted = store.wanted.get();
    let is_told = wanted.wants(EventKind::Heartbeat);
    for wave in waves(&coalesce(seen), |(member, _)| member.as_str()) {
        let members: Vec<_> = wave.iter().map(|(_, (member, _))| member.as_str()).collect();
        let last_seen: Vec<_> = wave.iter().map(|(_, (_, row))| row.last_seen).collect();
        let bound: Vec<_> = wave.iter().map(|(_, (_, row))| row.bound).collect();
        let told = if is_told { told(&wanted, &wave) } else { Told::default() };
        if told.is_empty() {
            store.connections.rows(|| sqlx::query(SEE).bind(&members).bind(&last_seen).bind(&bound)).await?;
            continue;
        }
        let hash = |member: &str| match Member::parse(member) {
            Ok(Member::User(user)) => Some(store.eraser.hash(&user)),
            _ => None,
        };
        let hashes: Vec<_> = members.iter().map(|member| hash(member)).collect();
        let see = || {
            let see = sqlx::query(SEE_AND_TELL).bind(&members).bind(&last_seen);
            told.bind(see.bind(&bound).bind(&hashes))
        };
        store.connections.rows(see).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use presence_core::InstallId;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn install() -> InstallId {
        InstallId::new("phone-4711").unwrap()
    }

    fn seen(millis: i64, floor: i64) -> Seen {
        Seen::Member { member: Member::Install(install()), at: at(millis), floor: at(floor) }
    }

    fn bound(millis: i64) -> Seen {
        Seen::Bound { install: install(), at: at(millis) }
    }

    #[test]
    fn many_heartbeats_are_few() {
        let rows = |seen: &[Seen]| coalesce(seen).into_iter().map(|(_, row)| row).collect::<Vec<_>>();
        let one = |seen: Seen| Sighting::of(&seen).1;
        assert_eq!(rows(&[seen(10, 1), seen(30, 3), seen(20, 2)]), [one(seen(30, 3))]);
        assert_eq!(rows(&[seen(10, 1), bound(20), bound(15)]), [one(bound(20))]);
        assert_eq!(rows(&[bound(20), seen(30, 25), seen(40, 35)]), [one(bound(20)), one(seen(40, 35))]);
        assert_eq!(
            rows(&[seen(10, 5), seen(20, 3)]),
            [one(seen(10, 5)), one(seen(20, 3))],
            "neither covers the other"
        );
    }
}
