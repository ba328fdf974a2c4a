//! Who asks.

use presence_core::{Timestamp, UserId, UserRef};

/// Who asks, as far as the server knows.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody was asked who they are, so everybody may do everything.
    Anyone,
    /// The holder of a valid token.
    #[non_exhaustive]
    Bearer {
        /// The `sub` of the token.
        user: UserId,
        /// Whether its `scope` has `admin`.
        is_admin: bool,
        /// The first instant at which the token is taken no more.
        until: Timestamp,
    },
}

impl Principal {
    /// Whether what concerns `user` may be read and written.
    ///
    /// ```
    /// use presence_core::{UserId, UserRef};
    /// use presence_server::auth::Principal;
    ///
    /// assert!(Principal::Anyone.may_act_for(&UserId::new("alice")?));
    /// # Ok::<(), presence_core::Rejection>(())
    /// ```
    #[must_use]
    pub fn may_act_for(&self, user: &UserId) -> bool {
        self.may_act_for_ref(user.into())
    }

    /// The same by a name that somebody else owns.
    pub(crate) fn may_act_for_ref(&self, user: UserRef<'_>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Bearer { user: own, is_admin, .. } => *is_admin || UserRef::from(own) == user,
        }
    }

    /// Whether what concerns all users may be read.
    #[must_use]
    pub const fn is_admin(&self) -> bool {
        matches!(self, Self::Anyone | Self::Bearer { is_admin: true, .. })
    }

    /// The user that a token names.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Anyone => None,
            Self::Bearer { user, .. } => Some(user),
        }
    }

    /// The first instant at which what it showed is taken no more.
    pub(crate) const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Anyone => None,
            Self::Bearer { until, .. } => Some(*until),
        }
    }
}
