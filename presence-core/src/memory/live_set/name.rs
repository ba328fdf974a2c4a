//! Names that their caller keeps: the live set looks them up without copying them.

use crate::{
    InstallId, Member, Rejection, Seen, Timestamp, UserId,
    id::{is_install, is_name},
};

/// A user by a name that somebody else owns: valid like a [`UserId`], without its allocation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UserRef<'a>(&'a str);

impl<'a> UserRef<'a> {
    /// Parses `text`, by the rule of [`UserId`].
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidUserId`] where it does not fit the form.
    pub fn new(text: &'a str) -> Result<Self, Rejection> {
        if is_name(text, 128) { Ok(Self(text)) } else { Err(Rejection::InvalidUserId) }
    }

    /// The id as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl From<UserRef<'_>> for UserId {
    fn from(user: UserRef<'_>) -> Self {
        // The rule of both is the same one.
        Self::new(user.0).expect("a valid user id")
    }
}

impl<'a> From<&'a UserId> for UserRef<'a> {
    fn from(user: &'a UserId) -> Self {
        Self(user.as_str())
    }
}

/// An install by a name that somebody else owns: valid like an [`InstallId`], without its allocation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct InstallRef<'a>(&'a str);

impl<'a> InstallRef<'a> {
    /// Parses `text`, by the rule of [`InstallId`].
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidInstallId`] where it does not fit the form.
    pub fn new(text: &'a str) -> Result<Self, Rejection> {
        if is_install(text) { Ok(Self(text)) } else { Err(Rejection::InvalidInstallId) }
    }

    /// The id as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl From<InstallRef<'_>> for InstallId {
    fn from(install: InstallRef<'_>) -> Self {
        // The rule of both is the same one.
        Self::new(install.0).expect("a valid install id")
    }
}

impl<'a> From<&'a InstallId> for InstallRef<'a> {
    fn from(install: &'a InstallId) -> Self {
        Self(install.as_str())
    }
}

/// A [`Member`] by a name that somebody else owns. The order is that of [`Member`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum MemberRef<'a> {
    /// An install whose user is not known.
    Install(InstallRef<'a>),
    /// A user, on any install.
    User(UserRef<'a>),
}

impl<'a> MemberRef<'a> {
    /// The id without its kind.
    pub(super) const fn text(self) -> &'a str {
        match self {
            Self::Install(install) => install.0,
            Self::User(user) => user.0,
        }
    }

    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Install(_) => Kind::Install,
            Self::User(_) => Kind::User,
        }
    }
}

impl<'a> From<&'a Member> for MemberRef<'a> {
    fn from(member: &'a Member) -> Self {
        match member {
            Member::Install(install) => Self::Install(install.into()),
            Member::User(user) => Self::User(user.into()),
        }
    }
}

/// What a member is. The order is that of the written members: `i:` before `u:`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Install,
    User,
}

/// A [`Seen`] by names that somebody else owns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeenRef<'a> {
    /// Somebody was here.
    Member {
        /// Who.
        member: MemberRef<'a>,
        /// When.
        at: Timestamp,
        /// An install that was bound at or after this instant is passed over; not looked at for a user.
        floor: Timestamp,
    },
    /// A user was here on this install, so it is no member of its own.
    Bound {
        /// The install.
        install: InstallRef<'a>,
        /// When.
        at: Timestamp,
    },
}

impl<'a> SeenRef<'a> {
    /// Who it is about.
    pub(super) const fn member(self) -> MemberRef<'a> {
        match self {
            Self::Member { member, .. } => member,
            Self::Bound { install, .. } => MemberRef::Install(install),
        }
    }
}

impl<'a> From<&'a Seen> for SeenRef<'a> {
    fn from(seen: &'a Seen) -> Self {
        match seen {
            Seen::Member { member, at, floor } => {
                Self::Member { member: member.into(), at: *at, floor: *floor }
            }
            Seen::Bound { install, at } => Self::Bound { install: install.into(), at: *at },
        }
    }
}
