//! What [`Beats`](crate::Beats) asks of the set: it keeps the lives of users beside who is online, so that a heartbeat
//! finds both with one look and under one lock.

use super::{
    BATCH, Hashed, InstallRef, MemberRef, MemoryLiveSet, UserRef, lives::KeptSign, members::UserBeat,
    name::SeenRef,
};
use crate::{Policy, Session, StateType, Timestamp, UserId, tracking::pending::Pending};

/// A sign of life of a user, on an install or on none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserSign<'a> {
    pub(crate) user: UserRef<'a>,
    pub(crate) install: Option<InstallRef<'a>>,
    pub(crate) at: Timestamp,
    pub(crate) wakes_to: Option<&'a StateType>,
}

/// Beats of a user that are not written yet.
#[derive(Clone, Debug)]
pub(crate) struct Unwritten {
    pub(crate) user: UserId,
    pub(crate) pending: Pending,
    /// Where the user was found.
    slot: Option<u32>,
}

impl Unwritten {
    pub(crate) const fn new(user: UserId, pending: Pending) -> Self {
        Self { user, pending, slot: None }
    }

    pub(super) const fn at(user: UserId, pending: Pending, slot: u32) -> Self {
        Self { user, pending, slot: Some(slot) }
    }
}

/// What an answer of a store says of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told<'a> {
    /// The user was here, on this install.
    Here(Timestamp, Option<InstallRef<'a>>),
    /// The user has left.
    Left,
    /// Nothing.
    Nothing,
}

impl MemoryLiveSet {
    /// Keeps a sign of life of a user who is known to be live, until it is written; the user was here then. `None`
    /// where it may change more: then nothing was taken.
    pub(crate) fn keep(&self, sign: &UserSign<'_>, policy: &Policy, now: Timestamp) -> Option<KeptSign> {
        let beat = self.user_beat(sign);
        self.lock().keep(&beat, policy, now)
    }

    /// The same for many, in order. The lock is taken once for each 256 of them.
    pub(crate) fn keep_all(
        &self,
        signs: &[UserSign<'_>],
        policy: &Policy,
        now: Timestamp,
    ) -> Vec<Option<KeptSign>> {
        let mut kept = Vec::with_capacity(signs.len());
        let mut beats = Vec::with_capacity(signs.len().min(BATCH));
        for batch in signs.chunks(BATCH) {
            beats.clear();
            beats.extend(batch.iter().map(|sign| self.user_beat(sign)));
            self.lock().keep_all(&beats, policy, now, &mut kept);
        }
        kept
    }

    /// What is not written yet of a user's beats.
    pub(crate) fn pending(&self, user: &UserId) -> Option<Pending> {
        let user = self.hashed_user(user);
        self.lock().pending(user)
    }

    /// The same for somebody who is about to ask a store about the user, and the number of ends to compare with at its
    /// answer. Ends of the user are counted until [`end_to_wait`](Self::end_to_wait).
    pub(crate) fn begin_to_wait(&self, user: &UserId) -> (Option<Pending>, u64) {
        let hashed = self.hashed_user(user);
        let mut members = self.lock();
        (members.pending(hashed), members.begin_to_wait(user))
    }

    /// There is nothing more to come of what was asked about a user.
    pub(crate) fn end_to_wait(&self, user: &UserId) {
        self.lock().end_to_wait(user);
    }

    /// How many users have beats that are not written yet.
    pub(crate) fn pending_count(&self) -> usize {
        self.lock().pending_count()
    }

    /// What is not written yet of the users of one part of the set; `None` where there is no such part.
    pub(crate) fn pending_in(&self, part: usize) -> Option<Vec<Unwritten>> {
        self.lock().pending_in(part)
    }

    /// Notes that this much of the beats of these users is written.
    pub(crate) fn settle<'a>(&self, written: impl IntoIterator<Item = &'a Unwritten>) {
        let mut written = written.into_iter().peekable();
        while written.peek().is_some() {
            let mut members = self.lock();
            for Unwritten { user, pending, slot } in written.by_ref().take(BATCH) {
                if !slot.is_some_and(|slot| members.settle_at(slot, user.into(), pending)) {
                    members.settle(self.hashed_user(user), pending);
                }
            }
        }
    }

    /// Takes over what a store says of a session and of its user. An answer that is older than an end counts only if
    /// it tells of one: `ended` is what [`begin_to_wait`](Self::begin_to_wait) said before the store was asked, and is
    /// raised by an end that this answer tells of, since the answers that came with it are no older.
    pub(crate) fn learn(&self, session: &Session, told: Told<'_>, ended: Option<&mut u64>, policy: &Policy) {
        let user = self.hashed_user(&session.user);
        let seen = match told {
            Told::Here(at, install) => {
                let floor = at.saturating_sub(policy.online_window);
                let seen = SeenRef::Member { member: user.member, at, floor };
                let bound = install.map(|install| SeenRef::Bound { install, at });
                [Some(seen), bound].map(|seen| seen.map(|seen| self.beat(&seen)))
            }
            Told::Left | Told::Nothing => [None, None],
        };
        let mut members = self.lock();
        if session.current_state.is_live()
            && ended.as_ref().is_some_and(|ended| **ended != members.ended(user))
        {
            return;
        }
        seen.iter().flatten().for_each(|beat| members.touch_one(beat));
        members.learn(user, session, policy.heartbeat_timeout);
        if matches!(told, Told::Left) {
            members.leave(user);
        }
        if let Some(ended) = ended {
            *ended = members.ended(user);
        }
    }

    /// Forgets a user: the life, what is pending, and that it was here.
    pub(crate) fn forget(&self, user: &UserId) {
        let user = self.hashed_user(user);
        let mut members = self.lock();
        members.forget_life(user);
        members.leave(user);
    }

    /// Forgets the life of a user, what is pending included.
    pub(crate) fn forget_life(&self, user: &UserId) {
        let user = self.hashed_user(user);
        self.lock().forget_life(user);
    }

    fn hashed_user<'a>(&self, user: &'a UserId) -> Hashed<'a> {
        self.hashed(MemberRef::User(user.into()))
    }

    #[inline]
    fn user_beat<'a>(&self, sign: &UserSign<'a>) -> UserBeat<'a> {
        UserBeat {
            user: self.hashed(MemberRef::User(sign.user)),
            install: sign.install.map(|install| self.hashed(MemberRef::Install(install))),
            at: sign.at,
            wakes_to: sign.wakes_to,
        }
    }
}
