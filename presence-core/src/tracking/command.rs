//! What a client sends, already parsed.

use crate::{Content, EventId, StateType, Timestamp, UserId, tracking::pending::Sign};

/// One report or heartbeat of one user.
///
/// ```
/// use presence_core::{Content, Envelope, EventId, StateType, Timestamp, UserId};
///
/// let alice = UserId::new("alice")?;
/// let report = Envelope::checkpoint(alice.clone(), StateType::Working)
///     .with_content(Content::parse(r#"{"device":"MacBook"}"#)?)
///     .with_event_id(EventId::new("request-1")?);
/// let late = Envelope::heartbeat(alice).at(Timestamp::from_secs(1_717_161_600)?);
/// # let _ = (report, late);
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    pub(crate) user: UserId,
    pub(crate) at: Option<Timestamp>,
    pub(crate) event_id: Option<EventId>,
    pub(crate) command: Command,
}

/// What an [`Envelope`] says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// The user is in this state.
    Checkpoint { state: StateType, content: Option<Content> },
    /// The user is alive. `state` is what a heartbeat brings to a silent or new user, Online where it is `None`.
    Heartbeat { state: Option<StateType> },
    /// The user was alive without a break from here to the envelope's own stamp: a coalesced run of heartbeats.
    Beats { first: Timestamp, state: Option<StateType>, last_state: Option<StateType> },
}

impl Envelope {
    const fn new(user: UserId, command: Command) -> Self {
        Self { user, at: None, event_id: None, command }
    }

    /// A report: the user is in `state` now. Unless the state is Offline it is a sign of life too.
    #[must_use]
    pub const fn checkpoint(user: UserId, state: StateType) -> Self {
        Self::new(user, Command::Checkpoint { state, content: None })
    }

    /// A sign of life: the user is still there. A silent or new user becomes Online.
    #[must_use]
    pub const fn heartbeat(user: UserId) -> Self {
        Self::new(user, Command::Heartbeat { state: None })
    }

    /// A sign of life that brings a silent or new user to `state`; a live user stays in the state it is in, and an
    /// `Offline` here is no state to wake to, so it counts as none given.
    #[must_use]
    pub fn heartbeat_in(user: UserId, state: StateType) -> Self {
        Self::new(user, Command::Heartbeat { state: Some(state).filter(StateType::is_live) })
    }

    /// A coalesced run of heartbeats that have no gap above the timeout between them.
    pub(crate) fn beats(user: UserId, first: Sign, last: Sign) -> Self {
        let command = Command::Beats { first: first.at, state: first.wakes_to, last_state: last.wakes_to };
        Self { user, at: Some(last.at), event_id: None, command }
    }

    /// When it happened; without it, when it is recorded. The past is unlimited; a stamp in the clock's current second
    /// or up to [`max_future`](crate::Policy::max_future) ahead is taken as now, beyond that it is refused.
    #[must_use]
    pub const fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// Free JSON to keep with a report; a heartbeat has no row to hold it, and drops it.
    #[must_use]
    pub fn with_content(mut self, content: Content) -> Self {
        if let Command::Checkpoint { content: slot, .. } = &mut self.command {
            *slot = Some(content);
        }
        self
    }

    /// The client's name for this request: repeating it with the same body changes nothing and answers the same. A
    /// heartbeat repeats harmlessly, and drops it.
    #[must_use]
    pub fn with_event_id(mut self, event_id: EventId) -> Self {
        if matches!(self.command, Command::Checkpoint { .. }) {
            self.event_id = Some(event_id);
        }
        self
    }

    /// Whether it says that the user is there: all but a report of Offline.
    pub(crate) const fn is_sign(&self) -> bool {
        match &self.command {
            Command::Checkpoint { state, .. } => state.is_live(),
            Command::Heartbeat { .. } | Command::Beats { .. } => true,
        }
    }

    /// When it happened, where that was given.
    #[must_use]
    pub const fn stamp(&self) -> Option<Timestamp> {
        self.at
    }

    /// Whose report it is.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        &self.user
    }
}
