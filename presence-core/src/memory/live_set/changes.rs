//! What another live set has not heard of yet.

use crate::{InstallId, Member, Timestamp};

/// What changed in a [`MemoryLiveSet`](crate::MemoryLiveSet) since the last drain: not each step, but what is true
/// now. Members appear once in each list, in no order.
///
/// Apply `left` first: a member that left and came back is in `left` and in `seen`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use = "a change that is neither written nor put back is lost"]
pub struct Changes {
    /// Who left, or was evicted before its change was drained.
    pub left: Vec<Member>,
    /// Who was seen, and when last.
    pub seen: Vec<(Member, Timestamp)>,
    /// Installs that a user was on, and when last: no members of their own.
    pub bound: Vec<(InstallId, Timestamp)>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left.is_empty() && self.seen.is_empty() && self.bound.is_empty()
    }

    /// How many entries there are to write.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.left.len().saturating_add(self.seen.len()).saturating_add(self.bound.len())
    }
}
