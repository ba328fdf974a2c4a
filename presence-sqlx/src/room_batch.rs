//! What a room writes: [`RoomStore::write_batches`](presence_core::RoomStore::write_batches).
//!
//! The batches of several rooms are one statement, which is its own transaction, in one round trip. A room that occurs
//! twice comes in a second wave.

use std::{collections::BTreeMap, slice};

use presence_core::{
    AdminAction, Batch, ChatMessage, RoomCounters, RoomRow, RoomSession, RoomStats, Subscriptions, Timestamp,
    UserId, Written,
};

use crate::{
    PostgresStore, codec,
    connection::Statement,
    error::Fault,
    outbox::{Told, telling},
    waves::waves,
};

macro_rules! write {
    ($told:expr) => {
        concat!(
            "WITH batch AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $44::bigint[], $45::bigint[]) WITH ORDINALITY
        AS batch (id, epoch, at, current_users, peak_users, total_joins,
            last_seq, last_action, last_message_at, closed_at, number, last_end, place)
), held AS MATERIALIZED (
    SELECT r.id, r.lease_epoch, r.last_batch FROM rooms r WHERE r.id = ANY ($1) ORDER BY r.id FOR NO KEY UPDATE
), fitting AS MATERIALIZED (
    SELECT batch.*, held.last_batch < batch.number AS is_new FROM batch JOIN held ON held.id = batch.id AND held.lease_epoch = batch.epoch
), fence AS MATERIALIZED (
    SELECT e.user_hash, e.at FROM erased_users e WHERE e.user_hash = ANY ($12) FOR KEY SHARE
), person AS MATERIALIZED (
    SELECT person.number, person.user_id, coalesce(fence.at, -1) AS erased_at
    FROM unnest($11::text[], $12::bytea[]) WITH ORDINALITY AS person (user_id, user_hash, number)
    LEFT JOIN fence USING (user_hash)
), said AS (
    INSERT INTO chat_history (room_id, seq, epoch, user_id, nickname, is_admin, created_at, content)
    SELECT f.id, m.seq, m.epoch, p.user_id, m.nickname, m.is_admin, m.created_at, m.content
    FROM unnest($13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::boolean[],
            $19::bigint[], $20::text[])
        AS m (place, person, seq, epoch, nickname, is_admin, created_at, content)
    JOIN fitting f USING (place) JOIN person p ON p.number = m.person
    WHERE m.created_at > p.erased_at
    ON CONFLICT (room_id, seq) DO NOTHING
), joined AS (
    INSERT INTO room_sessions (room_id, number, user_id, nickname, join_time, leave_time, end_number)
    SELECT f.id, j.number, p.user_id, j.nickname, j.join_time, j.leave_time, j.end_number
    FROM unnest($21::bigint[], $22::bigint[], $23::bigint[], $24::text[], $25::bigint[], $26::bigint[],
            $46::bigint[]) AS j (place, person, number, nickname, join_time, leave_time, end_number)
    JOIN fitting f USING (place) JOIN person p ON p.number = j.person
    WHERE j.join_time > p.erased_at
    ON CONFLICT (room_id, number) DO NOTHING
), gone AS (
    UPDATE room_sessions v SET leave_time = l.leave_time, end_number = l.end_number
    FROM unnest($27::bigint[], $28::bigint[], $29::bigint[], $47::bigint[])
        AS l (place, number, leave_time, end_number)
    JOIN fitting f USING (place)
    WHERE v.room_id = f.id AND v.number = l.number AND v.leave_time IS NULL
), revoked AS (
    DELETE FROM room_roles o USING fitting f, unnest($30::bigint[], $31::text[], $32::bigint[]) AS x (place, role, person),
        person p
    WHERE f.place = x.place AND p.number = x.person
        AND o.room_id = f.id AND o.role = x.role AND o.user_id = p.user_id
), role AS MATERIALIZED (
    SELECT f.id, g.role, p.user_id, g.at, g.is_anew
    FROM unnest($33::bigint[], $34::text[], $35::bigint[], $36::bigint[], $37::boolean[])
        AS g (place, role, person, at, is_anew)
    JOIN fitting f USING (place) JOIN person p ON p.number = g.person
    WHERE g.at > p.erased_at
), granted AS (
    INSERT INTO room_roles (room_id, role, user_id, at)
    SELECT role.id, role.role, role.user_id, role.at FROM role WHERE NOT role.is_anew
    ON CONFLICT (room_id, role, user_id) DO NOTHING
), granted_anew AS (
    INSERT INTO room_roles (room_id, role, user_id, at)
    SELECT role.id, role.role, role.user_id, role.at FROM role WHERE role.is_anew
    ON CONFLICT (room_id, role, user_id) DO UPDATE SET at = excluded.at
), recorded AS (
    INSERT INTO admin_actions (room_id, number, actor_id, action, target_id, at)
    SELECT f.id, x.number, actor.user_id, x.action, target.user_id, x.at
    FROM unnest($38::bigint[], $39::bigint[], $40::bigint[], $41::text[], $42::bigint[], $43::bigint[])
        AS x (place, number, actor, action, target, at)
    JOIN fitting f USING (place)
    LEFT JOIN person actor ON actor.number = x.actor AND x.at > actor.erased_at
    LEFT JOIN person target ON target.number = x.target AND x.at > target.erased_at
    ON CONFLICT (room_id, number) DO NOTHING
)",
            $told,
            "
UPDATE rooms r SET current_users = f.current_users, peak_users = f.peak_users, total_joins = f.total_joins,
    last_seq = f.last_seq, last_action = f.last_action, last_message_at = f.last_message_at, alive_at = f.at,
    closed_at = coalesce(f.closed_at, r.closed_at), last_batch = f.number, last_end = f.last_end
FROM fitting f WHERE r.id = f.id RETURNING f.place"
        )
    };
}

/// Rooms are locked in order of their ids: who still has the epoch has the room until the end of the statement.
///
/// `fence` locks as in a commit: an erasure that was waited for is seen. People are numbered; rows name them by number.
pub(crate) const WRITE: &str = write!("");
/// The same, of batches that have something to tell: once, and not of users who were erased since.
pub(crate) const WRITE_AND_TELL: &str = write!(concat!(
    ", news AS MATERIALIZED (
    SELECT e.place FROM unnest($48::bigint[], $49::bigint[], $50::bigint[]) WITH ORDINALITY
        AS e (batch, person, at, place)
    JOIN fitting f ON f.place = e.batch AND f.is_new LEFT JOIN person p ON p.number = e.person
    WHERE p.number IS NULL OR e.at > p.erased_at
)",
    telling!("news", "$51", "$52", "$53", "$54", "$55", "$56")
));

/// Writes batches in order; all of a wave in one transaction.
pub(crate) async fn write(store: &PostgresStore, batches: &[Batch]) -> Result<Vec<Written>, Fault> {
    let mut written = vec![Written::Fenced; batches.len()];
    let mut is_first = true;
    for wave in waves(batches, |batch| &batch.room) {
        let columns = Columns::of(store, wave.iter().map(|(_, batch)| *batch))?;
        let rows = store.connections.rows(|| columns.statement()).await;
        // A part of the call may be written.
        let rows = if is_first { rows? } else { rows.map_err(|_| Fault::Unknown)? };
        for row in &rows {
            let place = wave.get(codec::place(row, 0)?).map(|(place, _)| *place);
            place.and_then(|place| written.get_mut(place)).into_iter().for_each(|own| *own = Written::Stored);
        }
        is_first = false;
    }
    Ok(written)
}

/// The batches of a statement, column by column. Places and numbers are counted from one, as the server does.
#[derive(Default)]
struct Columns<'a> {
    rooms: Vec<&'a str>,
    /// Epoch, instant and counters.
    counters: [Vec<i64>; 7],
    /// The number of the batch, and of the last end of a stay.
    numbers: [Vec<i64>; 2],
    last_message_at: Vec<Option<i64>>,
    closed_at: Vec<Option<i64>>,
    people: People<'a>,
    messages: Messages<'a>,
    joined: Joined<'a>,
    left: [Vec<i64>; 4],
    revoked: Roles,
    granted: Roles,
    actions: Actions,
    news: News,
}

/// Everybody whom the batches name, once.
#[derive(Default)]
struct People<'a> {
    numbers: BTreeMap<&'a UserId, i64>,
    names: Vec<&'a str>,
    hashes: Vec<[u8; 32]>,
}

#[derive(Default)]
struct Messages<'a> {
    /// Place, person, number and epoch.
    numbers: [Vec<i64>; 4],
    nicknames: Vec<&'a str>,
    is_admin: Vec<bool>,
    created_at: Vec<i64>,
    contents: Vec<&'a str>,
}

#[derive(Default)]
struct Joined<'a> {
    /// Place, person, number and time.
    numbers: [Vec<i64>; 4],
    nicknames: Vec<&'a str>,
    leave_times: Vec<Option<i64>>,
    ends: Vec<Option<i64>>,
}

/// What others are told.
#[derive(Default)]
struct News {
    batches: Vec<i64>,
    people: Vec<Option<i64>>,
    at: Vec<i64>,
    told: Told,
}

/// Roles that were given or taken.
#[derive(Default)]
struct Roles {
    places: Vec<i64>,
    roles: Vec<&'static str>,
    people: Vec<i64>,
    at: Vec<i64>,
    /// Whether the role was taken before, in the same batch.
    is_anew: Vec<bool>,
}

#[derive(Default)]
struct Actions {
    /// Place, number and time.
    numbers: [Vec<i64>; 3],
    actors: Vec<Option<i64>>,
    actions: Vec<&'static str>,
    targets: Vec<Option<i64>>,
}

fn push<const N: usize>(columns: &mut [Vec<i64>; N], row: [i64; N]) {
    columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
}

impl<'a> Columns<'a> {
    fn of(store: &PostgresStore, batches: impl Iterator<Item = &'a Batch>) -> Result<Self, Fault> {
        let mut columns = Self::default();
        let wanted = store.wanted.get();
        for (place, batch) in (1..).zip(batches) {
            let RoomCounters { stats, last_seq, last_action, last_end, last_message_at } = batch.counters;
            let RoomStats { current_users, peak_users, total_joins } = stats;
            let [current, peak, joins] = [current_users, peak_users, total_joins].map(codec::count);
            let at = batch.at.as_millis();
            columns.rooms.push(batch.room.as_str());
            push(&mut columns.counters, [batch.epoch.0, at, current, peak, joins, last_seq, last_action]);
            push(&mut columns.numbers, [batch.number, last_end]);
            columns.last_message_at.push(last_message_at.map(Timestamp::as_millis));
            columns.closed_at.push(None);
            columns.rows(store, place, &batch.rows)?;
            columns.news(store, &wanted, place, batch);
        }
        Ok(columns)
    }

    fn rows(&mut self, store: &PostgresStore, place: i64, rows: &'a [RoomRow]) -> Result<(), Fault> {
        // A part of a statement does not see what another part writes. So a stay that begins and ends in the batch is
        // inserted with its end, and of what was done to a role the end of it is written.
        let mut begun: BTreeMap<i64, usize> = BTreeMap::new();
        let mut roles: BTreeMap<(&'static str, &'a UserId), (bool, Option<i64>)> = BTreeMap::new();
        for row in rows {
            match row {
                RoomRow::Message(message) => self.message(store, place, message),
                RoomRow::Joined(session) => {
                    begun.entry(session.number).or_insert(self.joined.leave_times.len());
                    self.joined(store, place, session);
                }
                RoomRow::Left { number, end, leave_time } => {
                    let Joined { leave_times, ends, .. } = &mut self.joined;
                    let begun =
                        begun.get(number).and_then(|row| leave_times.get_mut(*row).zip(ends.get_mut(*row)));
                    let leave_time = leave_time.as_millis();
                    match begun {
                        Some((begun @ None, ended)) => (*begun, *ended) = (Some(leave_time), Some(*end)),
                        Some(_) => {}
                        None => push(&mut self.left, [place, *number, leave_time, *end]),
                    }
                }
                RoomRow::Granted { user_id, role, at } => {
                    let (_, given) = roles.entry((role.name(), user_id)).or_default();
                    *given = given.or(Some(at.as_millis()));
                }
                RoomRow::Revoked { user_id, role } => {
                    roles.insert((role.name(), user_id), (true, None));
                }
                RoomRow::Action(action) => self.action(store, place, action),
                RoomRow::Closed { at } => {
                    self.closed_at
                        .last_mut()
                        .into_iter()
                        .for_each(|closed_at| *closed_at = Some(at.as_millis()));
                }
                _ => return Err(Fault::Call("a row of a room that this version does not know")),
            }
        }
        for ((role, user), (is_anew, given)) in roles {
            let person = self.people.number(store, user);
            let roles = if given.is_some() { &mut self.granted } else { &mut self.revoked };
            roles.places.push(place);
            roles.roles.push(role);
            roles.people.push(person);
            roles.at.push(given.unwrap_or_default());
            roles.is_anew.push(is_anew);
        }
        Ok(())
    }

    fn message(&mut self, store: &PostgresStore, place: i64, message: &'a ChatMessage) {
        let ChatMessage { position, user_id, nickname, content, is_admin, created_at } = message;
        let person = self.people.number(store, user_id);
        let messages = &mut self.messages;
        push(&mut messages.numbers, [place, person, position.seq, position.epoch.0]);
        messages.nicknames.push(nickname.as_str());
        messages.is_admin.push(*is_admin);
        messages.created_at.push(created_at.as_millis());
        messages.contents.push(content.as_str());
    }

    fn joined(&mut self, store: &PostgresStore, place: i64, session: &'a RoomSession) {
        let RoomSession { number, user_id, nickname, join_time, .. } = session;
        let person = self.people.number(store, user_id);
        push(&mut self.joined.numbers, [place, person, *number, join_time.as_millis()]);
        self.joined.nicknames.push(nickname.as_str());
        self.joined.leave_times.push(None);
        self.joined.ends.push(None);
    }

    fn action(&mut self, store: &PostgresStore, place: i64, action: &'a AdminAction) {
        let AdminAction { number, actor, action, target, at } = action;
        let actor = actor.as_ref().map(|actor| self.people.number(store, actor));
        let target = target.as_ref().map(|target| self.people.number(store, target));
        push(&mut self.actions.numbers, [place, *number, at.as_millis()]);
        self.actions.actors.push(actor);
        self.actions.actions.push(action.name());
        self.actions.targets.push(target);
    }

    fn news(&mut self, store: &PostgresStore, wanted: &Subscriptions, place: i64, batch: &'a Batch) {
        for event in &batch.events {
            let next = codec::limit(self.news.batches.len()).saturating_add(1);
            self.news.told.add(wanted, next, slice::from_ref(event), batch.at);
            // What nobody wants has a place too, and no letter.
            self.news.batches.push(place);
            self.news.people.push(event.users().first().map(|user| self.people.number(store, user)));
            self.news.at.push(event.at().as_millis());
        }
    }

    /// The statement that writes them.
    fn statement(&self) -> Statement<'_> {
        let News { batches, people, at, told } = &self.news;
        if told.is_empty() {
            return self.bind(sqlx::query(WRITE));
        }
        told.bind(self.bind(sqlx::query(WRITE_AND_TELL)).bind(batches).bind(people).bind(at))
    }

    /// The arguments of [`WRITE`].
    fn bind<'q>(&'q self, write: Statement<'q>) -> Statement<'q> {
        let Self { people, messages, joined, left, revoked, granted, actions, .. } = self;
        let rooms = self.counters.iter().fold(write.bind(&self.rooms), Statement::bind);
        let rooms = rooms.bind(&self.last_message_at).bind(&self.closed_at);
        let people = rooms.bind(&people.names).bind(&people.hashes);
        let said = messages.numbers.iter().fold(people, Statement::bind).bind(&messages.nicknames);
        let said = said.bind(&messages.is_admin).bind(&messages.created_at).bind(&messages.contents);
        let [place, person, number, join_time] = &joined.numbers;
        let stays = said.bind(place).bind(person).bind(number).bind(&joined.nicknames).bind(join_time);
        let [left @ .., left_ends] = left;
        let stays = left.iter().fold(stays.bind(&joined.leave_times), Statement::bind);
        let roles = stays.bind(&revoked.places).bind(&revoked.roles).bind(&revoked.people);
        let roles = roles.bind(&granted.places).bind(&granted.roles).bind(&granted.people);
        let roles = roles.bind(&granted.at).bind(&granted.is_anew);
        let [place, number, at] = &actions.numbers;
        let done = roles.bind(place).bind(number).bind(&actions.actors).bind(&actions.actions);
        let done = done.bind(&actions.targets).bind(at);
        let done = self.numbers.iter().fold(done, Statement::bind);
        done.bind(&joined.ends).bind(left_ends)
    }
}

impl<'a> People<'a> {
    fn number(&mut self, store: &PostgresStore, user: &'a UserId) -> i64 {
        let next = codec::limit(self.names.len()).saturating_add(1);
        let number = *self.numbers.entry(user).or_insert(next);
        if number == next {
            self.names.push(user.as_str());
            self.hashes.push(store.eraser.hash(user));
        }
        number
    }
}
