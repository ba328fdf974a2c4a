//! What is known of the life of a user: enough to keep most heartbeats until they are written together.

use std::{collections::HashMap, num::NonZeroU16, time::Duration};

use foldhash::quality::RandomState;

use crate::{
    Session, StateType, Timestamp, is_alive,
    tracking::pending::{Pending, Sign, is_connected},
};

/// The life of one user, beside its slot: half a cache line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    live_since: Timestamp,
    /// The last sign of life, pending ones included.
    last: Timestamp,
    /// The first sign that is pending: all from there to `last` are written together.
    first: Timestamp,
    state: StateNumber,
    /// What those two wake to.
    first_wakes_to: Option<StateNumber>,
    last_wakes_to: Option<StateNumber>,
    is_known: bool,
    pub(super) is_pending: bool,
}

const _: () = assert!(size_of::<Life>() == 32, "two lives are one cache line");

/// A state by its number: there are few states, and may be millions of lives.
type StateNumber = NonZeroU16;

/// A sign that was kept in memory: the state that its user is in, and the last sign of life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeptSign {
    pub(crate) current_state: StateType,
    pub(crate) last_heartbeat: Timestamp,
}

impl Life {
    pub(super) const UNKNOWN: Self = Self {
        live_since: Timestamp::MIN,
        last: Timestamp::MIN,
        first: Timestamp::MIN,
        state: States::ONLINE,
        first_wakes_to: None,
        last_wakes_to: None,
        is_known: false,
        is_pending: false,
    };

    pub(super) const fn last(&self) -> Timestamp {
        self.last
    }

    /// Keeps a sign if the user is known to be live and the sign continues that life; `None` where it changes more.
    ///
    /// Of somebody who was not heard of for a whole timeout before `now`, the silence may be concluded: what comes then
    /// is not kept, for it may change that.
    #[inline]
    pub(super) fn keep(
        &mut self,
        at: Timestamp,
        wakes_to: Option<&StateType>,
        timeout: Option<Duration>,
        now: Timestamp,
        states: &mut States,
    ) -> Option<KeptSign> {
        let is_silent = timeout.is_some_and(|limit| !is_alive(self.last, now, limit));
        if !self.is_known || is_silent || !is_connected(self.live_since, self.last, at, timeout) {
            return None;
        }
        let wakes_to = match wakes_to {
            Some(state) => Some(states.number(state)?),
            None => None,
        };
        if !self.is_pending || at < self.first {
            self.first = at;
            self.first_wakes_to = wakes_to;
        }
        if at > self.last || (at == self.last && !self.is_pending) {
            self.last = at;
            self.last_wakes_to = wakes_to;
        } else if !self.is_pending {
            // The sign at `last` is written, and has woken whom it could.
            self.last_wakes_to = None;
        }
        self.is_pending = true;
        Some(KeptSign { current_state: states.state(self.state), last_heartbeat: self.last })
    }

    pub(super) fn pending(&self, states: &States) -> Option<Pending> {
        let sign = |at, wakes_to: Option<StateNumber>| Sign {
            at,
            wakes_to: wakes_to.map(|number| states.state(number)),
        };
        self.is_pending.then(|| Pending {
            first: sign(self.first, self.first_wakes_to),
            last: sign(self.last, self.last_wakes_to),
        })
    }

    /// What `written` says is no longer pending; what was added to it since, is.
    pub(super) fn settle(&mut self, written: &Pending, states: &mut States) {
        match self.pending(states) {
            Some(pending) if pending == *written => self.is_pending = false,
            // Up to its last all is written, and the others go on from there.
            Some(pending) if pending.first == written.first => {
                self.first = written.last.at;
                self.first_wakes_to = written.last.wakes_to.as_ref().and_then(|state| states.number(state));
            }
            _ => {}
        }
    }

    /// The life that a store says this session is, with what is still pending. Without that, unknown where the session
    /// is not live.
    pub(super) fn learn(&self, session: &Session, timeout: Option<Duration>, states: &mut States) -> Self {
        let written = session.last_heartbeat;
        // Beats from before a silence that the session has behind it are not part of its life.
        let continues = !self.is_pending || is_connected(session.live_since, written, self.first, timeout);
        match states.number(&session.current_state) {
            Some(state) if session.current_state.is_live() && continues => {
                let is_later = self.is_pending && self.last > written;
                let (last, last_wakes_to) =
                    if is_later { (self.last, self.last_wakes_to) } else { (written, None) };
                Self { live_since: session.live_since, last, state, is_known: true, last_wakes_to, ..*self }
            }
            // Beats that came meanwhile are still owed to the store; they alone are known to belong together.
            _ if self.is_pending => Self { live_since: self.first, state: States::ONLINE, ..*self },
            _ => Self::UNKNOWN,
        }
    }
}

/// States by number.
#[derive(Debug)]
pub(super) struct States {
    states: Vec<StateType>,
    custom: HashMap<StateType, StateNumber, RandomState>,
}

impl States {
    const ONLINE: StateNumber = NonZeroU16::MIN;

    pub(super) fn new() -> Self {
        let states = [StateType::Online, StateType::Offline, StateType::Idle, StateType::Working];
        let states = states.into_iter().chain([StateType::Sleeping]).collect();
        Self { states, custom: HashMap::default() }
    }

    /// The number of a state; `None` for a new one once there are 65,535: its users are tracked by the store alone.
    fn number(&mut self, state: &StateType) -> Option<StateNumber> {
        let number = match state {
            StateType::Online => 1,
            StateType::Offline => 2,
            StateType::Idle => 3,
            StateType::Working => 4,
            StateType::Sleeping => 5,
            StateType::Custom(_) => {
                if let Some(number) = self.custom.get(state) {
                    return Some(*number);
                }
                let next = u16::try_from(self.states.len().checked_add(1)?).ok()?;
                self.states.push(state.clone());
                self.custom.insert(state.clone(), StateNumber::new(next)?);
                next
            }
        };
        StateNumber::new(number)
    }

    fn state(&self, number: StateNumber) -> StateType {
        let state = self.states.get(usize::from(number.get()).wrapping_sub(1));
        // Numbers come from `number` alone.
        state.cloned().unwrap_or(StateType::Online)
    }
}
