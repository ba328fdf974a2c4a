//! The lives of users: most heartbeats change nothing else, and wait here until they are written together.

use std::{hint::black_box, time::Duration};

use super::{
    super::{
        lives::{KeptSign, Life},
        living::Unwritten,
        name::{MemberRef, UserRef},
        slots::{Owed, State},
    },
    GROUP, Hashed, Members, UserBeat,
};
use crate::{Policy, Session, Timestamp, UserId, tracking::pending::Pending};

impl Members {
    /// Keeps heartbeats, in order: what each came to, or `None` for one that has to be committed and was not taken.
    pub(in super::super) fn keep_all(
        &mut self,
        beats: &[UserBeat<'_>],
        policy: &Policy,
        now: Timestamp,
        kept: &mut Vec<Option<KeptSign>>,
    ) {
        for group in beats.chunks(GROUP) {
            // As in `touch_all`: all that the group needs is loaded before one of it is worked on.
            let mut guesses = [(None, None); GROUP];
            for (guess, beat) in guesses.iter_mut().zip(group) {
                *guess = (self.guess(beat.user), beat.install.and_then(|install| self.guess(install)));
            }
            for (user, install) in guesses {
                for id in user.into_iter().chain(install) {
                    black_box(self.slots[id].last);
                }
                black_box(user.and_then(|id| self.slots.life(id)).map(Life::last));
            }
            for ((user, install), beat) in guesses.into_iter().zip(group) {
                kept.push(self.keep_guessed(beat, user, install, policy, now));
            }
        }
    }

    /// Keeps one heartbeat.
    pub(in super::super) fn keep(
        &mut self,
        beat: &UserBeat<'_>,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<KeptSign> {
        self.keep_guessed(beat, None, None, policy, now)
    }

    #[inline(always)]
    fn keep_guessed(
        &mut self,
        beat: &UserBeat<'_>,
        user: Option<u32>,
        install: Option<u32>,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<KeptSign> {
        let id = match user {
            Some(id) if self.slots[id].is(beat.user.member) => id,
            _ => self.find(beat.user)?,
        };
        let life = self.slots.life_mut(id)?;
        let kept = life.keep(beat.at, beat.wakes_to, policy.heartbeat_timeout, now, &mut self.states)?;
        self.slots.note_pending(id);
        if self.graves.holds(id, &self.slots[id]) {
            self.exhume(id);
        }
        self.see(id, beat.at, beat.at.saturating_sub(policy.online_window));
        if let Some(member) = beat.install {
            self.bind_member(member, install, beat.at);
        }
        Some(kept)
    }

    /// Notes that a user was on an install.
    #[inline(always)]
    fn bind_member(&mut self, install: Hashed<'_>, guess: Option<u32>, at: Timestamp) {
        let id = self.confirm(install, guess);
        if self.graves.holds(id, &self.slots[id]) {
            self.exhume(id);
        }
        self.bind(id, at);
    }

    /// What is not written yet of a user's beats.
    pub(in super::super) fn pending(&self, user: Hashed<'_>) -> Option<Pending> {
        self.slots.life(self.find(user)?)?.pending(&self.states)
    }

    /// How many users have beats that are not written yet.
    pub(in super::super) const fn pending_count(&self) -> usize {
        self.slots.pending()
    }

    /// What is not written yet of the users of one chunk; `None` where there is no such chunk.
    pub(in super::super) fn pending_in(&self, chunk: usize) -> Option<Vec<Unwritten>> {
        let unwritten = self.slots.pending_in(chunk)?.filter_map(|id| {
            let pending = self.slots.life(id)?.pending(&self.states)?;
            Some(Unwritten::at(self.slots[id].user(), pending, id))
        });
        Some(unwritten.collect())
    }

    /// Notes that this much of a user's beats is written.
    pub(in super::super) fn settle(&mut self, user: Hashed<'_>, written: &Pending) {
        if let Some(id) = self.find(user) {
            self.settle_found(id, written);
        }
    }

    /// The same where the slot is likely to be known; `false` where it is another's by now.
    pub(in super::super) fn settle_at(&mut self, id: u32, user: UserRef<'_>, written: &Pending) -> bool {
        let is_it = self.slots[id].is(MemberRef::User(user));
        if is_it {
            self.settle_found(id, written);
        }
        is_it
    }

    fn settle_found(&mut self, id: u32, written: &Pending) {
        let Some(life) = self.slots.life_mut(id) else { return };
        life.settle(written, &mut self.states);
        self.life_changed(id);
    }

    /// Begins to wait for an answer of the store about a user, and says what [`ended`](Self::ended) says now.
    pub(in super::super) fn begin_to_wait(&mut self, user: &UserId) -> u64 {
        let awaited = self.awaited.entry(user.clone()).or_default();
        awaited.calls = awaited.calls.saturating_add(1);
        awaited.ended
    }

    /// Waits no more.
    pub(in super::super) fn end_to_wait(&mut self, user: &UserId) {
        let Some(awaited) = self.awaited.get_mut(user) else { return };
        awaited.calls = awaited.calls.saturating_sub(1);
        if awaited.calls == 0 {
            self.awaited.remove(user);
        }
    }

    /// How often a user about whom somebody waits stopped being live since.
    pub(in super::super) fn ended(&self, user: Hashed<'_>) -> u64 {
        self.awaited.get(user.member.text()).map_or(0, |awaited| awaited.ended)
    }

    /// Takes over what a store says of the session of a user. Of one who is no member nothing is remembered: the next
    /// heartbeat asks the store.
    pub(in super::super) fn learn(&mut self, user: Hashed<'_>, session: &Session, timeout: Option<Duration>) {
        if !session.current_state.is_live() {
            self.end(user);
        }
        let Some(id) = self.find(user) else { return };
        let known = self.slots.life(id).copied().unwrap_or(Life::UNKNOWN);
        let life = known.learn(session, timeout, &mut self.states);
        self.slots.set_life(id, life);
        self.life_changed(id);
    }

    /// Forgets the life of a user, what is pending included.
    pub(in super::super) fn forget_life(&mut self, user: Hashed<'_>) {
        self.end(user);
        let Some(id) = self.find(user) else { return };
        let Some(life) = self.slots.life_mut(id) else { return };
        *life = Life::UNKNOWN;
        self.life_changed(id);
    }

    fn end(&mut self, user: Hashed<'_>) {
        if let Some(awaited) = self.awaited.get_mut(user.member.text()) {
            awaited.ended = awaited.ended.wrapping_add(1);
        }
    }

    /// Somebody who is absent was kept only for what was pending.
    fn life_changed(&mut self, id: u32) {
        self.slots.note_pending(id);
        let slot = &self.slots[id];
        if slot.state == State::Gone && slot.owed == Owed::Nothing && !self.slots.is_pending(id) {
            self.release(id);
        }
    }
}
