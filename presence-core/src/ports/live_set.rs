//! Who is online.

use async_trait::async_trait;

use crate::{Event, InstallId, Member, StoreError, Timestamp};

/// What a heartbeat says to the online count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen {
    /// Somebody was here.
    Member {
        /// Who.
        member: Member,
        /// When.
        at: Timestamp,
        /// An install that was bound at or after this instant is not anonymous, and is passed over: `at` minus the
        /// online window. Without meaning for a user.
        floor: Timestamp,
    },
    /// A user was here on this install, so it is no member of its own.
    Bound {
        /// The install.
        install: InstallId,
        /// When.
        at: Timestamp,
    },
}

impl Seen {
    /// What others are told when a member was seen later than before; nothing of a binding.
    #[must_use]
    pub fn told(&self) -> Option<Event> {
        match self {
            Self::Member { member, at, .. } => Some(Event::Heartbeat { member: member.clone(), at: *at }),
            Self::Bound { .. } => None,
        }
    }
}

/// Keeps who was seen last when. One person is one member.
#[async_trait]
pub trait LiveSet: Send + Sync {
    /// Takes heartbeats, in order.
    ///
    /// # Contract
    ///
    /// - `a_member_is_seen_from_its_first_touch_on`.
    /// - `a_late_touch_does_not_move_a_member_back`.
    /// - `a_bound_install_is_no_member`: it is gone at once, and its own touches add no member while it was bound at or
    ///   after their `floor`.
    ///
    /// # Errors
    ///
    /// The store failed; some of the heartbeats may have been taken. Touching again is safe.
    async fn touch(&self, seen: Vec<Seen>) -> Result<(), StoreError>;

    /// Removes members.
    ///
    /// # Contract
    ///
    /// - `a_member_that_leaves_is_gone_until_its_next_touch`; an install that is bound stays so.
    ///
    /// # Errors
    ///
    /// The store failed; some of the members may be gone. Leaving again is safe.
    async fn leave(&self, members: Vec<Member>) -> Result<(), StoreError>;

    /// How many members were seen at or after `since`.
    ///
    /// # Contract
    ///
    /// - `the_count_is_exact_to_the_millisecond`, for every `since` of the last 86,400 s.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn count(&self, since: Timestamp) -> Result<u64, StoreError>;

    /// At most `limit` members seen at or after `since` that come after `after`, ordered as written, byte by byte.
    ///
    /// # Contract
    ///
    /// - `the_list_pages_in_order_without_gaps`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn list(
        &self,
        since: Timestamp,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Timestamp)>, StoreError>;

    /// Forgets who was last seen before `before`, at most `limit` of them, and says how many there were.
    ///
    /// # Contract
    ///
    /// - `eviction_forgets_only_what_lies_before_it`.
    ///
    /// # Errors
    ///
    /// The store failed; some may be forgotten.
    async fn evict(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
