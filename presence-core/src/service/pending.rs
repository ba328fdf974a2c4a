//! What one process knows of live users, and has not written yet.

use std::{collections::HashMap, hint::black_box, time::Duration};

use foldhash::fast::RandomState;

use crate::{Beat, Envelope, Session, StateType, Taken, Timestamp, UserId, UserRef, is_alive};

/// A sign of life, and what it would wake to.
type Sign = (Timestamp, Option<StateType>);

/// Beats that are not written yet: alive without a break from first to last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pending {
    first: Sign,
    last: Sign,
}

impl Pending {
    /// As a store takes them, where they only continue a life.
    pub(super) fn beat(&self, user: &UserId, timeout: Option<Duration>) -> Beat {
        let (first, last) = (self.first.0, self.last.0);
        let floor = timeout.map_or(Timestamp::MIN, |timeout| first.saturating_sub(timeout));
        Beat { user: user.clone(), first, last, floor }
    }

    /// As they are recorded otherwise.
    pub(super) fn envelope(&self, user: &UserId) -> Envelope {
        Envelope::beats(user.clone(), self.first.clone(), self.last.clone())
    }

    /// Raises a session by them, as writing them would.
    pub(super) fn raise(&self, session: &mut Session, timeout: Option<Duration>) {
        if session.current_state.is_live()
            && is_connected(session.live_since, session.last_heartbeat, self.first.0, timeout)
        {
            session.last_heartbeat = session.last_heartbeat.max(self.last.0);
        }
    }

    fn add(&mut self, sign: Sign) {
        if sign.0 < self.first.0 {
            self.first = sign;
        } else if sign.0 > self.last.0 {
            self.last = sign;
        }
    }
}

/// Whether a sign at `at` continues a life that is unbroken from `live_since` to `last`.
fn is_connected(live_since: Timestamp, last: Timestamp, at: Timestamp, timeout: Option<Duration>) -> bool {
    live_since <= at && timeout.is_none_or(|limit| is_alive(last, at, limit))
}

/// A live user.
#[derive(Debug)]
struct Known {
    state: StateType,
    live_since: Timestamp,
    /// The last sign of life, pending ones included.
    last: Timestamp,
    /// Behind a pointer: most live users have none at most times, and there may be millions of them.
    pending: Option<Box<Pending>>,
}

impl Known {
    fn taken(&self) -> Taken {
        Taken::Kept { current_state: self.state.clone(), last_heartbeat: self.last }
    }
}

/// Some of the users.
#[derive(Debug, Default)]
pub(super) struct Shard {
    users: HashMap<UserId, Known, RandomState>,
    /// Whose beats are pending; some may have been written since.
    dirty: Vec<UserId>,
    /// How often somebody stopped being live here: an answer from before then may be stale.
    ended: u64,
}

impl Shard {
    /// Keeps a beat, if the user is known to be live and the beat continues that life; `None` where it changes more.
    pub(super) fn keep(
        &mut self,
        user: UserRef<'_>,
        at: Timestamp,
        state: Option<&StateType>,
        timeout: Option<Duration>,
    ) -> Option<Taken> {
        let known = self.users.get_mut(user.as_str())?;
        if !is_connected(known.live_since, known.last, at, timeout) {
            return None;
        }
        known.last = known.last.max(at);
        let sign = (at, state.cloned());
        match &mut known.pending {
            Some(pending) => pending.add(sign),
            None => {
                known.pending = Some(Box::new(Pending { first: sign.clone(), last: sign }));
                let taken = known.taken();
                // A copy of the name that is there anyway is no allocation.
                self.dirty.extend(self.users.get_key_value(user.as_str()).map(|(user, _)| user.clone()));
                return Some(taken);
            }
        }
        Some(known.taken())
    }

    /// Loads what is known of these users. Reads that do not wait for each other overlap.
    pub(super) fn prefetch<'a>(&self, users: impl Iterator<Item = UserRef<'a>>) {
        for user in users {
            black_box(self.users.get(user.as_str()).map(|known| known.last));
        }
    }

    pub(super) fn pending(&self, user: &UserId) -> Option<&Pending> {
        self.users.get(user)?.pending.as_deref()
    }

    /// How many users may have something pending.
    pub(super) const fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Who may have something pending; the next call tells of others.
    pub(super) fn take_dirty(&mut self) -> Vec<UserId> {
        std::mem::take(&mut self.dirty)
    }

    /// Tells of these again at the next call.
    pub(super) fn put_back(&mut self, users: Vec<UserId>) {
        self.dirty.extend(users);
        let pending = |user: &UserId| self.users.get(user).is_some_and(|known| known.pending.is_some());
        self.dirty.retain(pending);
        self.dirty.sort_unstable();
        self.dirty.dedup();
    }

    pub(super) const fn ended(&self) -> u64 {
        self.ended
    }

    /// What `written` says is no longer pending; what was added to it since, is.
    pub(super) fn settle(&mut self, user: &UserId, written: &Pending) {
        let Some(known) = self.users.get_mut(user) else { return };
        match &mut known.pending {
            Some(pending) if **pending == *written => known.pending = None,
            Some(pending) => {
                if pending.first == written.first {
                    pending.first = written.last.clone();
                }
                self.dirty.push(user.clone());
            }
            None => {}
        }
    }

    /// Takes over what the store said about a session.
    pub(super) fn learn(&mut self, user: &UserId, session: &Session, timeout: Option<Duration>) {
        let pending = self.users.get_mut(user).and_then(|known| known.pending.take());
        let state = session.current_state.clone();
        let is_live = session.current_state.is_live();
        self.ended = self.ended.wrapping_add(u64::from(!is_live));
        // Beats from before a silence that the session has behind it are not part of its life.
        let continues = |beats: &Pending| {
            is_connected(session.live_since, session.last_heartbeat, beats.first.0, timeout)
        };
        if is_live && pending.as_deref().is_none_or(continues) {
            let written = session.last_heartbeat;
            let last = pending.as_ref().map_or(written, |beats| beats.last.0.max(written));
            let known = Known { state, live_since: session.live_since, last, pending };
            self.users.insert(user.clone(), known);
        } else if let Some(beats) = pending {
            // Beats that came meanwhile are still owed to the store; they alone are known to belong together.
            let (live_since, last) = (beats.first.0, beats.last.0);
            let known = Known { state: StateType::Online, live_since, last, pending: Some(beats) };
            self.users.insert(user.clone(), known);
        } else {
            self.users.remove(user);
        }
    }

    pub(super) fn forget(&mut self, user: &UserId) {
        self.ended = self.ended.wrapping_add(1);
        self.users.remove(user);
    }

    /// Forgets whoever has nothing pending and was last heard of longer than `limit` ago.
    pub(super) fn forget_idle(&mut self, now: Timestamp, limit: Duration) {
        self.users.retain(|_, known| known.pending.is_some() || is_alive(known.last, now, limit));
    }
}
