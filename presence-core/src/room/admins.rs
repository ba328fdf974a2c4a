//! The administrators of a room.

use std::collections::{BTreeSet, btree_set};

use crate::{Rejection, UserId};

/// The most administrators of a room.
const MOST: usize = 1000;

/// The administrators that a room is to have: each once, at most 1,000.
///
/// ```
/// use presence_core::{Admins, UserId};
///
/// let root = UserId::new("root")?;
/// assert_eq!(Admins::new([root.clone(), root])?.into_iter().count(), 1);
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Admins(BTreeSet<UserId>);

impl Admins {
    /// Merges what is named twice.
    ///
    /// # Errors
    ///
    /// [`Rejection::TooManyAdmins`] where more than 1,000 are left.
    pub fn new(users: impl IntoIterator<Item = UserId>) -> Result<Self, Rejection> {
        let users: BTreeSet<UserId> = users.into_iter().collect();
        if users.len() <= MOST { Ok(Self(users)) } else { Err(Rejection::TooManyAdmins) }
    }
}

impl IntoIterator for Admins {
    type Item = UserId;
    type IntoIter = btree_set::IntoIter<UserId>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
