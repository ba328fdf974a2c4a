//! Heartbeats as clients send them, and what becomes of them.

use crate::{InstallId, InstallRef, Member, MemberRef, Recorded, StateType, Timestamp, UserId, UserRef};

/// A heartbeat of a user, of an install whose user is not known, or of both.
///
/// ```
/// use presence_core::{Heartbeat, InstallId, UserId};
///
/// let phone = InstallId::new("phone-4711")?;
/// let anonymous = Heartbeat::of_install(phone.clone());
/// let logged_in = Heartbeat::of_user(UserId::new("alice")?).on(phone);
/// # let _ = (anonymous, logged_in);
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    pub(super) member: Member,
    pub(super) install: Option<InstallId>,
    pub(super) at: Option<Timestamp>,
    pub(super) state: Option<StateType>,
}

impl Heartbeat {
    const fn new(member: Member) -> Self {
        Self { member, install: None, at: None, state: None }
    }

    /// A heartbeat of a user: it keeps the session alive, and the user online.
    #[must_use]
    pub const fn of_user(user: UserId) -> Self {
        Self::new(Member::User(user))
    }

    /// A heartbeat of an install whose user is not known: it counts as online, and has no session.
    #[must_use]
    pub const fn of_install(install: InstallId) -> Self {
        Self::new(Member::Install(install))
    }

    /// The install that a user's heartbeat comes from: it stops counting as a member of its own.
    #[must_use]
    pub fn on(mut self, install: InstallId) -> Self {
        self.install = Some(install);
        self
    }

    /// When it happened; without it, when it is taken. See [`Envelope::at`](crate::Envelope::at).
    #[must_use]
    pub const fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// What it brings a silent or new user to; see [`Envelope::heartbeat_in`](crate::Envelope::heartbeat_in).
    #[must_use]
    pub fn waking_to(mut self, state: StateType) -> Self {
        self.state = Some(state).filter(StateType::is_live);
        self
    }
}

/// A [`Heartbeat`] by names that somebody else owns: nothing is copied of one that only says that a live user is still
/// there.
///
/// ```
/// use presence_core::{HeartbeatRef, InstallRef, UserRef};
///
/// let phone = InstallRef::new("phone-4711")?;
/// let logged_in = HeartbeatRef::of_user(UserRef::new("alice")?).on(phone);
/// # let _ = logged_in;
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeartbeatRef<'a> {
    pub(super) member: MemberRef<'a>,
    pub(super) install: Option<InstallRef<'a>>,
    pub(super) at: Option<Timestamp>,
    pub(super) state: Option<&'a StateType>,
}

impl<'a> HeartbeatRef<'a> {
    const fn new(member: MemberRef<'a>) -> Self {
        Self { member, install: None, at: None, state: None }
    }

    /// As [`Heartbeat::of_user`].
    #[must_use]
    pub const fn of_user(user: UserRef<'a>) -> Self {
        Self::new(MemberRef::User(user))
    }

    /// As [`Heartbeat::of_install`].
    #[must_use]
    pub const fn of_install(install: InstallRef<'a>) -> Self {
        Self::new(MemberRef::Install(install))
    }

    /// As [`Heartbeat::on`].
    #[must_use]
    pub const fn on(mut self, install: InstallRef<'a>) -> Self {
        self.install = Some(install);
        self
    }

    /// As [`Heartbeat::at`].
    #[must_use]
    pub const fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }
}

impl<'a> From<&'a Heartbeat> for HeartbeatRef<'a> {
    fn from(heartbeat: &'a Heartbeat) -> Self {
        Self {
            member: (&heartbeat.member).into(),
            install: heartbeat.install.as_ref().map(InstallRef::from),
            at: heartbeat.at,
            state: heartbeat.state.as_ref(),
        }
    }
}

/// What became of a heartbeat: see [`Beats`](crate::Beats) for both.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Taken {
    /// It is in memory, and will be durable with the next flush: the user is still there, and nothing else changed.
    Kept {
        /// The state that the user is in.
        current_state: StateType,
        /// The last sign of life, this one included.
        last_heartbeat: Timestamp,
    },
    /// It was of an install whose user is not known: it counts as online, and there is no session.
    Counted,
    /// It changed more than the last sign of life, or might have, and was committed.
    Committed(Box<Recorded>),
}
