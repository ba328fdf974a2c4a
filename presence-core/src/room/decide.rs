//! The room itself: a command in, effects out.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::{
    Action, AdminAction, Admins, Asker, Batch, ChatMessage, ChatText, CloseReason, Command, ConnectionId,
    Effect, Epoch, Event, Frame, Moment, Nickname, Position, RoomCounters, RoomId, RoomMember, RoomName,
    RoomPolicy, RoomRole, RoomRow, RoomSession, RoomStats, ServerFrame, TakenRoom, Timestamp, UserId,
    room::{coalesce::Coalesce, history::History, protocol, rate_limit::RateLimit, roster::Roster},
};

/// An open room: its members, what they may do, and what was said last.
///
/// One task owns it, handles one command after the other, does what each [`Effect`] says, and has the
/// [batches](Self::batch) written. It needs neither a socket nor a store, and reads no clock.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    name: RoomName,
    created_at: Timestamp,
    epoch: Epoch,
    policy: RoomPolicy,
    roster: Roster,
    rate_limit: RateLimit,
    coalesce: Coalesce,
    history: History,
    last_action: i64,
    last_end: i64,
    last_message_at: Option<Timestamp>,
    rows: Vec<RoomRow>,
    /// What the messages among them have in bytes.
    waiting_bytes: usize,
    events: Vec<Event>,
    /// How many batches were cut.
    batches: i64,
    /// The counters of the last batch.
    told: RoomCounters,
    /// When it was cut.
    alive_at: Timestamp,
    /// When it was opened here. Nothing is known of users who were erased before.
    opened_at: Timestamp,
    /// Since when nobody has been here or asked anything, by the clock that never steps.
    empty_since: Option<Duration>,
    /// Why it takes no commands any more.
    over: Option<CloseReason>,
}

impl Room {
    /// Opens a room that was taken. Nobody is in it; its first [batch](Self::batch) ends what earlier openings left
    /// unfinished.
    #[must_use]
    pub fn new(taken: TakenRoom, policy: RoomPolicy, now: Timestamp) -> Self {
        let TakenRoom { room, muted, messages, unfinished } = taken;
        let RoomCounters { stats, last_seq, last_action, last_message_at, mut last_end } = room.counters;
        let epoch = room.lease.epoch;
        let last = Position { epoch, seq: last_seq };
        // What came before the first of them is not here; where it has no place any more, that is as good as one of its
        // epoch.
        let floor = messages
            .first()
            .map_or(last, |first| Position { seq: first.position.seq.saturating_sub(1), ..first.position });
        let floor = Some(floor).filter(|floor| floor.seq > 0);
        let history = History::new(&policy, last, floor, messages, now);
        // Nobody is left of an earlier opening: what it did not end, ends at the last sign of it.
        let (mut rows, mut events) = (Vec::new(), Vec::new());
        for session in unfinished {
            let leave_time = room.alive_at.max(session.join_time);
            last_end = last_end.saturating_add(1);
            rows.push(RoomRow::Left { number: session.number, end: last_end, leave_time });
            events.push(left(&room.id, &RoomSession { leave_time: Some(leave_time), ..session }));
        }
        Self {
            roster: Roster::new(room.admins, room.banned, muted, stats),
            rate_limit: RateLimit::new(policy.message_interval),
            coalesce: Coalesce::new(policy.stats_interval),
            history,
            id: room.id,
            name: room.name,
            created_at: room.created_at,
            epoch,
            policy,
            last_action,
            last_end,
            last_message_at,
            rows,
            waiting_bytes: 0,
            events,
            batches: 0,
            told: room.counters,
            alive_at: room.alive_at,
            opened_at: now,
            empty_since: Some(Duration::ZERO),
            over: None,
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &RoomId {
        &self.id
    }

    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// When it was made.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Which opening of the room this is.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The place of the last message.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.history.last()
    }

    /// How many there are, and were.
    #[must_use]
    pub const fn stats(&self) -> RoomStats {
        self.roster.stats()
    }

    /// When something was last said, or else when it was made.
    #[must_use]
    pub fn last_activity(&self) -> Timestamp {
        self.last_message_at.unwrap_or(self.created_at)
    }

    /// Its administrators, in order.
    pub fn admins(&self) -> impl Iterator<Item = &UserId> {
        self.roster.admins.iter()
    }

    /// Who is in it, in no order.
    pub fn members(&self) -> impl Iterator<Item = &RoomMember> {
        self.roster.members()
    }

    /// All whom it knows: members, whoever may or must not do something, and whoever said what is remembered. Some may come
    /// more than once.
    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.roster.users().chain(self.history.users())
    }

    /// Whether a user who asks to come in would be refused.
    #[must_use]
    pub fn is_banned(&self, user: &UserId) -> bool {
        self.roster.is_banned(user)
    }

    /// Whether it takes no commands any more: it was closed, drained, lost to another node, or nobody has been in it for
    /// [so long](RoomPolicy::rest_after). What it has to write is still to be written.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// How many rows wait for the next batch.
    #[must_use]
    pub const fn backlog(&self) -> usize {
        self.rows.len()
    }

    /// When [`tick`](Self::tick) is due, by the clock that never steps.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        [self.coalesce.due(), self.rests_at()].into_iter().flatten().min()
    }

    /// Does what is due without a command: tells the members who came and who went, and [ends](Self::is_over) where nobody
    /// has been for long. Whoever is on the way in comes first, so obey all commands before.
    pub fn tick(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.tell(now, effects);
        if self.rests_at().is_some_and(|due| due <= now.uptime) {
            self.over = Some(CloseReason::GoingAway);
        }
    }

    /// When it has been empty for long enough.
    fn rests_at(&self) -> Option<Duration> {
        // What a user was told of how long to wait is forgotten with the room.
        let rest_after = self.policy.rest_after.max(self.policy.message_interval);
        self.empty_since.filter(|_| self.over.is_none()).map(|since| since.saturating_add(rest_after))
    }

    /// Tells the members who came and who went, if it is time.
    fn tell(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(only) = self.coalesce.push(now.uptime) else { return };
        effects.extend(only.map(|only| Effect::Broadcast(Frame::of(&only))));
        let RoomStats { current_users, peak_users, .. } = self.roster.stats();
        effects.push(Effect::Broadcast(Frame::of(&ServerFrame::RoomStats { current_users, peak_users })));
    }

    /// Handles a command, after what is due before it, and says what is to be done, in order. Says whether it had any
    /// effect on the room: `false` to an unban of nobody, or to a member who asks for what only administrators may.
    pub fn handle(&mut self, command: Command, now: Moment, effects: &mut Vec<Effect>) -> bool {
        self.tell(now, effects);
        if let Some(reason) = self.over {
            if let Command::Join { connection, .. } = command {
                let is_closed = reason == CloseReason::RoomClosed;
                let why = is_closed.then(|| Effect::Send(connection, Frame::of(&ServerFrame::room_closed())));
                effects.extend(why);
                effects.push(Effect::Close(connection, reason));
            }
            return false;
        }
        let is_effective = Turn { room: self, now, effects }.take(command);
        self.empty_since = (self.roster.stats().current_users == 0).then_some(now.uptime);
        is_effective
    }

    /// Cuts everything off that is to be written and has not been cut before; `None` where there is nothing to say.
    ///
    /// Batches of a room are written in the order in which they were cut, one after the other; one whose writing failed
    /// is written again, as it is, before the next.
    pub fn batch(&mut self, at: Timestamp) -> Option<Batch> {
        let counters = RoomCounters {
            stats: self.roster.stats(),
            last_seq: self.history.last().seq,
            last_action: self.last_action,
            last_end: self.last_end,
            last_message_at: self.last_message_at,
        };
        let is_told = self.rows.is_empty() && self.events.is_empty() && self.told == counters;
        let is_due =
            at.since(self.alive_at) >= self.policy.alive_interval && counters.stats.current_users > 0;
        if is_told && !is_due || self.over == Some(CloseReason::Moved) {
            return None;
        }
        (self.told, self.alive_at) = (counters, at);
        self.waiting_bytes = 0;
        self.batches = self.batches.saturating_add(1);
        Some(Batch {
            room: self.id.clone(),
            epoch: self.epoch,
            number: self.batches,
            at,
            counters,
            rows: std::mem::take(&mut self.rows),
            events: std::mem::take(&mut self.events),
        })
    }

    fn is_behind(&self) -> bool {
        self.rows.len() >= self.policy.backlog || self.waiting_bytes >= self.policy.backlog_bytes
    }

    /// Whether not even an administrator is obeyed any more: each order leaves a row.
    fn is_full(&self) -> bool {
        self.rows.len() >= self.policy.backlog.saturating_mul(2)
    }
}

/// The event that tells of a stay that is over.
fn left(room: &RoomId, session: &RoomSession) -> Event {
    let RoomSession { number, user_id, join_time, leave_time, .. } = session;
    let at = leave_time.unwrap_or(*join_time);
    let duration_ms = at.millis_since(*join_time).max(0);
    Event::UserLeft { room: room.clone(), user: user_id.clone(), session: *number, duration_ms, at }
}

/// One command at one moment.
struct Turn<'a> {
    room: &'a mut Room,
    now: Moment,
    effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Join { connection, user_id, nickname, seen } => {
                self.join(connection, user_id, nickname, seen)
            }
            Command::Leave { connection } => self.leave(connection),
            Command::Say { connection, content } => self.say(connection, &content),
            Command::Ban { by, user_id } => self.ban(by, &user_id),
            Command::Unban { by, user_id } => self.unban(by, user_id),
            Command::Kick { by, user_id } => self.kick(by, user_id),
            Command::Mute { by, user_id } => self.mute(by, user_id),
            Command::CustomEvent { by, event_type, payload } => self.custom_event(by, event_type, payload),
            Command::System { message } => self.system(message),
            Command::SetAdmins { admins } => self.set_admins(admins),
            Command::Close => self.close(),
            Command::Forget { user_id, erased_at } => self.forget(&user_id, erased_at),
            Command::Drain => self.drain(),
            Command::Lose => self.lose(),
        }
    }

    fn send(&mut self, to: ConnectionId, frame: &ServerFrame) {
        self.effects.push(Effect::Send(to, Frame::of(frame)));
    }

    fn broadcast(&mut self, frame: &ServerFrame) {
        self.effects.push(Effect::Broadcast(Frame::of(frame)));
    }

    fn refuse(&mut self, connection: ConnectionId, why: &ServerFrame, reason: CloseReason) -> bool {
        self.send(connection, why);
        self.effects.push(Effect::Close(connection, reason));
        false
    }

    fn join(
        &mut self,
        connection: ConnectionId,
        user_id: UserId,
        nickname: Nickname,
        seen: Option<Position>,
    ) -> bool {
        if self.room.roster.member(connection).is_some() {
            return false;
        }
        if self.room.roster.is_banned(&user_id) {
            return self.refuse(connection, &ServerFrame::banned(), CloseReason::Banned);
        }
        if self.room.is_behind() {
            return self.refuse(connection, &ServerFrame::store_behind(), CloseReason::StoreBehind);
        }
        let at = self.now.at;
        let (replaced, member) = self.room.roster.join(connection, user_id, nickname, at);
        // Who takes over from itself neither came nor went.
        let is_new = replaced.is_none();
        if let Some(replaced) = replaced {
            self.send(replaced.connection, &ServerFrame::YouAreKicked);
            self.effects.push(Effect::Close(replaced.connection, CloseReason::TakenOver));
            self.end(&replaced);
        }
        let missed = seen.map(|seen| self.room.history.since(seen, at));
        let is_admin = self.room.roster.is_admin(&member.user_id);
        let welcome = ServerFrame::WelcomeInfo {
            is_muted: self.room.roster.is_muted(&member.user_id),
            is_admin,
            position: self.room.history.last(),
            recovered: missed.as_ref().map(Option::is_some),
            user_id: member.user_id.clone(),
            nickname: member.nickname.clone(),
        };
        self.send(connection, &welcome);
        if let Some(missed) = missed.flatten().filter(|missed| !missed.is_empty()) {
            self.effects.push(Effect::Replay(connection, missed));
        }
        self.effects.push(Effect::Admit(connection));
        if is_admin {
            self.effects.push(Effect::Rights(connection, true));
        }
        self.room.rows.push(RoomRow::Joined(member.session()));
        let RoomMember { user_id, nickname, session, .. } = member;
        let (room, user) = (self.room.id.clone(), user_id.clone());
        self.room.events.push(Event::UserJoined { room, user, session, at });
        if is_new {
            self.room.coalesce.changed(self.now.uptime, ServerFrame::UserJoined { user_id, nickname });
        }
        true
    }

    fn leave(&mut self, connection: ConnectionId) -> bool {
        let Some(member) = self.room.roster.leave(connection) else { return false };
        self.end(&member);
        self.gone(member);
        true
    }

    /// Ends the session of a member who is not on the roster any more.
    fn end(&mut self, member: &RoomMember) {
        // A clock that was set back ends no stay before it began.
        let leave_time = self.now.at.max(member.join_time);
        self.room.last_end = self.room.last_end.saturating_add(1);
        let (number, end) = (member.session, self.room.last_end);
        self.room.rows.push(RoomRow::Left { number, end, leave_time });
        let session = RoomSession { leave_time: Some(leave_time), ..member.session() };
        self.room.events.push(left(&self.room.id, &session));
    }

    fn gone(&mut self, RoomMember { user_id, nickname, .. }: RoomMember) {
        self.room.coalesce.changed(self.now.uptime, ServerFrame::UserLeft { user_id, nickname });
    }

    /// Takes a user out if it is in.
    fn remove(&mut self, user: &UserId, reason: CloseReason) -> bool {
        let Some(connection) = self.room.roster.connection(user) else { return false };
        let Some(member) = self.room.roster.leave(connection) else { return false };
        self.send(connection, &ServerFrame::YouAreKicked);
        self.effects.push(Effect::Close(connection, reason));
        self.end(&member);
        self.gone(member);
        true
    }

    fn say(&mut self, connection: ConnectionId, content: &str) -> bool {
        let Some(RoomMember { user_id, nickname, .. }) = self.room.roster.member(connection).cloned() else {
            return false;
        };
        if self.room.roster.is_muted(&user_id) {
            self.send(connection, &ServerFrame::YouAreMuted);
            return false;
        }
        let Ok(content) = ChatText::new(content) else {
            self.send(connection, &ServerFrame::invalid_message());
            return false;
        };
        if self.room.is_behind() {
            self.send(connection, &ServerFrame::store_behind());
            return false;
        }
        let is_admin = self.room.roster.is_admin(&user_id);
        if !is_admin && let Err(wait) = self.room.rate_limit.admit(&user_id, self.now.uptime) {
            self.send(connection, &ServerFrame::rate_limited(wait));
            return false;
        }
        let (position, created_at) = (self.room.history.next(self.room.epoch), self.now.at);
        let message = ChatMessage { position, user_id, nickname, content, is_admin, created_at };
        let frame = self.room.history.push(&message, created_at);
        self.effects.push(Effect::Broadcast(frame));
        self.room.last_message_at = Some(created_at);
        self.room.waiting_bytes = self.room.waiting_bytes.saturating_add(message.content.as_str().len());
        self.room.rows.push(RoomRow::Message(message));
        true
    }

    /// Who asks, if it may: an operator without a name, or an administrator who is in the room.
    fn asker(&mut self, by: Asker) -> Option<Option<UserId>> {
        let asker = match by {
            Asker::Operator => None,
            Asker::Connection(connection) => {
                let member = self.room.roster.member(connection)?;
                Some(member.user_id.clone()).filter(|user| self.room.roster.is_admin(user)).map(Some)?
            }
        };
        if self.room.is_full() {
            self.tell_behind(by);
            return None;
        }
        Some(asker)
    }

    fn tell_behind(&mut self, by: Asker) {
        if let Asker::Connection(connection) = by {
            self.send(connection, &ServerFrame::store_behind());
        }
    }

    fn record(&mut self, actor: Option<UserId>, action: Action, target: Option<UserId>) {
        self.room.last_action = self.room.last_action.saturating_add(1);
        let (number, at) = (self.room.last_action, self.now.at);
        self.room.rows.push(RoomRow::Action(AdminAction { number, actor, action, target, at }));
    }

    fn grant(&mut self, user: &UserId, role: RoomRole) {
        self.room.rows.push(RoomRow::Granted { user_id: user.clone(), role, at: self.now.at });
    }

    fn ban(&mut self, by: Asker, user_id: &UserId) -> bool {
        let Some(actor) = self.asker(by) else { return false };
        self.record(actor, Action::Ban, Some(user_id.clone()));
        let is_new = self.room.roster.ban(user_id);
        if is_new {
            self.grant(user_id, RoomRole::Banned);
        }
        self.remove(user_id, CloseReason::Banned) || is_new
    }

    fn unban(&mut self, by: Asker, user_id: UserId) -> bool {
        let Some(actor) = self.asker(by) else { return false };
        self.record(actor, Action::Unban, Some(user_id.clone()));
        let was_banned = self.room.roster.unban(&user_id);
        if was_banned {
            self.room.rows.push(RoomRow::Revoked { user_id, role: RoomRole::Banned });
        }
        was_banned
    }

    fn kick(&mut self, by: Asker, user_id: UserId) -> bool {
        let Some(actor) = self.asker(by) else { return false };
        let was_there = self.remove(&user_id, CloseReason::Kicked);
        self.record(actor, Action::Kick, Some(user_id));
        was_there
    }

    fn mute(&mut self, by: Asker, user_id: UserId) -> bool {
        let Some(actor) = self.asker(by) else { return false };
        self.record(actor, Action::Mute, Some(user_id.clone()));
        let is_new = self.room.roster.mute(&user_id);
        if is_new {
            self.grant(&user_id, RoomRole::Muted);
            if let Some(connection) = self.room.roster.connection(&user_id) {
                self.send(connection, &ServerFrame::YouAreMuted);
            }
            self.broadcast(&ServerFrame::UserMuted { user_id });
        }
        is_new
    }

    fn custom_event(&mut self, by: Asker, event_type: String, payload: Value) -> bool {
        let Some(actor) = self.asker(by) else { return false };
        if self.room.is_behind() {
            self.tell_behind(by);
            return false;
        }
        self.record(actor, Action::CustomEvent, None);
        self.broadcast(&ServerFrame::CustomEvent { event_type, payload });
        true
    }

    fn system(&mut self, message: String) -> bool {
        if self.room.is_behind() {
            return false;
        }
        self.record(None, Action::System, None);
        self.broadcast(&ServerFrame::System { message });
        true
    }

    fn set_admins(&mut self, admins: Admins) -> bool {
        let admins: BTreeSet<UserId> = admins.into_iter().collect();
        let before = std::mem::take(&mut self.room.roster.admins);
        for user in admins.difference(&before) {
            self.record(None, Action::Grant, Some(user.clone()));
            self.grant(user, RoomRole::Admin);
            self.rights(user, true);
        }
        for user in before.difference(&admins) {
            self.record(None, Action::Revoke, Some(user.clone()));
            self.room.rows.push(RoomRow::Revoked { user_id: user.clone(), role: RoomRole::Admin });
            self.rights(user, false);
        }
        let is_other = before != admins;
        self.room.roster.admins = admins;
        is_other
    }

    fn rights(&mut self, user: &UserId, is_admin: bool) {
        if let Some(connection) = self.room.roster.connection(user) {
            self.effects.push(Effect::Rights(connection, is_admin));
            self.send(connection, &ServerFrame::RightsChanged { is_admin });
        }
    }

    /// Sends everybody away, and ends their sessions.
    fn clear(&mut self, reason: CloseReason) {
        self.effects.push(Effect::CloseAll(reason));
        for member in self.room.roster.clear() {
            self.end(&member);
        }
        self.room.over = Some(reason);
    }

    fn close(&mut self) -> bool {
        let message = protocol::CLOSED.to_owned();
        self.broadcast(&ServerFrame::System { message });
        self.clear(CloseReason::RoomClosed);
        self.record(None, Action::Close, None);
        let (room, stats, at) = (self.room.id.clone(), self.room.roster.stats(), self.now.at);
        self.room.rows.push(RoomRow::Closed { at });
        self.room.events.push(Event::RoomClosed { room, stats, at });
        true
    }

    fn forget(&mut self, user_id: &UserId, erased_at: Timestamp) -> bool {
        if erased_at < self.room.opened_at {
            return false;
        }
        let connection = self.room.roster.connection(user_id);
        let member = connection.and_then(|connection| self.room.roster.member(connection));
        let is_old = member.is_some_and(|member| member.join_time <= erased_at);
        let was_there = is_old && self.remove(user_id, CloseReason::Erased);
        // Nobody is told its name any more.
        self.room.coalesce.hide();
        self.room.events.retain(|event| !matches!(event, Event::UserJoined { user, .. } | Event::UserLeft { user, .. } if user == user_id));
        self.room.roster.forget(user_id);
        self.room.rate_limit.forget(user_id);
        self.room.history.forget(user_id, erased_at);
        was_there
    }

    fn drain(&mut self) -> bool {
        self.clear(CloseReason::GoingAway);
        true
    }

    fn lose(&mut self) -> bool {
        self.clear(CloseReason::Moved);
        self.room.rows.clear();
        self.room.waiting_bytes = 0;
        self.room.events.clear();
        true
    }
}
