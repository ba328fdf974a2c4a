//! Where timelines are kept: the writing side.

use async_trait::async_trait;

use crate::{Ask, Beat, Commit, Context, Outcome, Session, StoreError, Timestamp, UserId};

/// How much an erasure removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Erasure {
    /// Rows of the timeline.
    pub checkpoints: u64,
    /// Remembered requests.
    pub requests: u64,
    /// Events of the log.
    pub events: u64,
    /// Messages in rooms.
    pub messages: u64,
    /// Sessions in rooms.
    pub room_sessions: u64,
}

/// Keeps timelines, and applies what the rules decided. It never judges: there is no rule, no clock and no zone in it.
///
/// Calls on one store may run at the same time, from several processes where the store is shared.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// What a decision needs, one context per ask, in order. Each context is one snapshot.
    ///
    /// # Contract
    ///
    /// - `an_unknown_user_has_an_empty_context`: no session, no rows, no run.
    /// - `load_gives_two_rows_before_all_between_and_three_after`: in order of (at, id), or as many as there are.
    /// - `load_does_not_cut_an_instant`: where the third row after shares its instant with others, they come too.
    /// - `equal_times_are_ordered_by_id`.
    /// - `the_run_start_reaches_behind_the_loaded_rows`: to the first row of the run of equal states that holds the
    ///   first loaded row.
    /// - `load_finds_the_requests_that_were_answered`: those among the ask's event ids, with their checkpoints.
    ///
    /// # Errors
    ///
    /// The store failed; nothing was changed.
    async fn load(&self, asks: Vec<Ask>) -> Result<Vec<Context>, StoreError>;

    /// Writes each commit wholly or not at all, with the durability of the store; one outcome per commit, in order.
    ///
    /// # Contract
    ///
    /// - `a_commit_is_visible_to_load`.
    /// - `a_commit_withdraws_inserts_and_adds_in_one_step`.
    /// - `a_stale_version_conflicts_and_writes_nothing`: the session's version is not the expected one, or there is a
    ///   session where none was expected, or none where one was.
    /// - `a_conflict_spares_the_other_commits`: each stands for itself.
    /// - `versions_rise_over_the_whole_store`: every commit gets a higher one than all before.
    /// - `checkpoint_ids_rise_and_are_never_reused`, not even after a withdrawal or an erasure.
    /// - `one_lapse_has_one_timeout_row`: a second timeout row of a user with the same proof conflicts.
    /// - `content_comes_back_as_it_was_written`: so does every state and id, whatever its characters.
    /// - `racing_writers_lose_nothing`: of commits that expect the same version, one is written.
    ///
    /// # Errors
    ///
    /// The store failed: none of the commits is written, or where the error is
    /// [`StoreError::Unavailable`], it is unknown which. Committing again is safe, because versions are compared.
    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError>;

    /// Raises the last sign of life of sessions, and gives back the beats that were not taken, in order.
    ///
    /// # Contract
    ///
    /// - `touch_raises_the_heartbeat_and_the_version` of a session that is not Offline, whose `live_since` is at most
    ///   the beat's `first`, and whose `last_heartbeat` is at least its `floor`. A heartbeat never moves back, and
    ///   the version rises all the same.
    /// - `touch_gives_back_what_it_does_not_take`: any other beat, unchanged.
    ///
    /// # Errors
    ///
    /// The store failed: none of the beats was taken, or it is unknown which. Touching again is safe.
    async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError>;

    /// At most `limit` sessions that are not Offline and were last heard of before `cutoff`.
    ///
    /// # Contract
    ///
    /// - `overdue_is_strict_and_oldest_first`: a heartbeat at `cutoff` is not before it; the longest silent come
    ///   first. Which they are, where there are more than `limit`, is exact to the minute.
    /// - `an_offline_session_is_never_overdue`.
    ///
    /// # Errors
    ///
    /// The store failed; nothing was changed.
    async fn overdue(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, StoreError>;

    /// Removes everything about a user, leaves a tombstone that does not tell who it was, and says how much there was.
    ///
    /// # Contract
    ///
    /// - `an_erasure_leaves_nothing_but_its_tombstone`: session, rows, totals, requests and presence are gone.
    /// - `an_erasure_is_remembered_for_later_reports`: a later load tells when it was; the latest of several counts.
    /// - `a_commit_decided_before_an_erasure_conflicts`.
    ///
    /// # Errors
    ///
    /// The store failed; nothing was removed, or where the error is [`StoreError::Unavailable`], it is unknown.
    /// Erasing again is safe.
    async fn erase(&self, user: &UserId, at: Timestamp) -> Result<Erasure, StoreError>;
}
