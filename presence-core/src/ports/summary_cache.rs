//! Where the sums of days that are over are kept.

use async_trait::async_trait;

use crate::{Fold, Kept, Mark, Session, StoreError, UserId, Window};

/// Keeps what days that are over were spent on, so that a question need not sum up their rows again.
///
/// An ability of its own: a store without it answers the same, from rows. What is kept follows from the timeline and
/// holds nothing that an export of the rows does not say, so that an export leaves it out.
///
/// # Contract
///
/// These are promises of the same store's [`CheckpointStore`](crate::CheckpointStore), each kept together with the write:
///
/// - `a_commit_forgets_the_days_it_changes`: those of its user that [`Commit::changed`](crate::Commit::changed) touches,
///   and no others. Where it begins before the furthest [`Mark::resume_at`] that was kept in this zone, the mark resumes
///   at the change or where it stood, whichever is earlier, and is due at once; otherwise nothing kept is touched.
/// - `a_commit_that_conflicts_forgets_nothing`.
/// - `an_erasure_forgets_every_day_and_the_mark`.
#[async_trait]
pub trait SummaryCache: Send + Sync {
    /// At most `limit` sessions after the one of user `after`, by user id, each with the mark of its last fold.
    ///
    /// # Contract
    ///
    /// - `marks_page_over_all_users_in_order`: whether or not they were ever folded.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn marks(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(Session, Option<Mark>)>, StoreError>;

    /// Keeps each fold wholly or not at all; says of each, in order, whether it was kept.
    ///
    /// # Contract
    ///
    /// - `kept_days_come_back_as_they_were_folded`.
    /// - `a_fold_of_another_version_is_not_kept`: the session has changed since, or is gone.
    /// - `a_fold_replaces_the_days_between_its_first_and_last`.
    /// - `a_fold_in_another_zone_forgets_the_days_of_the_one_before`: no user has days of two zones.
    ///
    /// # Errors
    ///
    /// The store failed: none of the folds is kept, or it is unknown which. Folding again is safe.
    async fn keep(&self, folds: Vec<Fold>) -> Result<Vec<bool>, StoreError>;

    /// The days of a user that lie inside `within` and are kept, oldest first, with the session's version; `None` for a
    /// user that the store does not know. One snapshot.
    ///
    /// # Contract
    ///
    /// - `only_whole_days_inside_the_window_come_back`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn kept(&self, user: &UserId, within: Window) -> Result<Option<Kept>, StoreError>;
}
