//! The ports' promises as named tests, for those who write an adapter.
//!
//! Every promise under a port's `# Contract` is a case of the same name. One macro runs them all on an adapter, each
//! as a test of its own with a fresh store:
//!
//! ```
//! # mod adapter {
//! use std::sync::Arc;
//! use presence_core::MemoryStore; // or your own
//!
//! /// A fresh store; what else it returns is kept until the test ends.
//! async fn fresh() -> (Arc<MemoryStore>, ()) {
//!     (Arc::new(MemoryStore::new()), ())
//! }
//!
//! presence_core::conformance_tests!(fresh, futures_executor::block_on);
//! # }
//! ```
//!
//! The second argument runs a future to its end: `futures_executor::block_on`, or a function around your runtime's.
//! An adapter that implements some of the ports names the macros of those: [`checkpoint_tests!`](crate::checkpoint_tests)
//! for [`CheckpointStore`] with [`CheckpointQuery`], [`live_set_tests!`](crate::live_set_tests) for
//! [`LiveSet`](crate::LiveSet), [`summary_tests!`](crate::summary_tests) for [`SummaryCache`],
//! [`activity_tests!`](crate::activity_tests) for [`ActivityStore`] with [`ActivityQuery`] and
//! [`SnapshotStore`](crate::SnapshotStore), and [`room_tests!`](crate::room_tests) for [`RoomStore`] with [`RoomQuery`]
//! and [`RoomFeed`], both on a store that keeps timelines too, and [`outbox_tests!`](crate::outbox_tests) for [`Outbox`] with
//! [`OutboxQuery`] on a store that keeps all of that.
//!
//! This module is not a stable API: a minor version may add cases and change their signatures.

pub mod active_month;
pub mod activity_query;
pub mod activity_store;
mod case;
pub mod checkpoint_query;
pub mod checkpoint_store;
pub mod crowd;
pub mod live_set;
pub mod model;
pub mod outbox;
pub mod room_feed;
pub mod room_life;
pub mod room_query;
pub mod room_store;
pub mod snapshot_store;
pub mod summary_cache;
pub mod summed_life;

use crate::{
    ActivityQuery, ActivityStore, CheckpointQuery, CheckpointStore, LiveSet, Outbox, OutboxQuery, RoomFeed,
    RoomQuery, RoomStore, SummaryCache,
};

/// A store of timelines: both of their ports.
pub trait Timelines: CheckpointQuery + CheckpointStore {}

impl<S: CheckpointQuery + CheckpointStore + ?Sized> Timelines for S {}

/// A store of timelines that keeps summaries too.
pub trait Summaries: SummaryCache + Timelines {}

impl<S: SummaryCache + Timelines + ?Sized> Summaries for S {}

/// A store of activity, and of the timelines beside it: what it knows of a user is erased and exported as one.
pub trait Activities: ActivityQuery + ActivityStore + Timelines {}

impl<S: ActivityQuery + ActivityStore + Timelines + ?Sized> Activities for S {}

/// A store of rooms, and of the timelines beside them: what it knows of a user is erased and exported as one.
pub trait Rooms: RoomQuery + RoomStore + Timelines {}

impl<S: RoomQuery + RoomStore + Timelines + ?Sized> Rooms for S {}

/// A store of rooms that tells what a copy of them lacks.
pub trait Feeds: RoomFeed + Rooms {}

impl<S: RoomFeed + Rooms + ?Sized> Feeds for S {}

/// A store of everything, that keeps what happened for those who want to hear of it.
pub trait Outboxes: ActivityStore + LiveSet + Outbox + OutboxQuery + RoomStore + Timelines {}

impl<S: ActivityStore + LiveSet + Outbox + OutboxQuery + RoomStore + Timelines + ?Sized> Outboxes for S {}

/// All promises of the ports of timelines, each as a test on a fresh store; see [`conformance`](self).
#[macro_export]
macro_rules! checkpoint_tests {
    ($fresh:path, $run:path) => {
        $crate::conformance_cases! { $fresh, $run;
            checkpoint_store::{
                an_unknown_user_has_an_empty_context,
                load_gives_two_rows_before_all_between_and_three_after,
                load_does_not_cut_an_instant,
                equal_times_are_ordered_by_id,
                the_run_start_reaches_behind_the_loaded_rows,
                load_finds_the_requests_that_were_answered,
                a_commit_is_visible_to_load,
                a_commit_withdraws_inserts_and_adds_in_one_step,
                a_stale_version_conflicts_and_writes_nothing,
                a_conflict_spares_the_other_commits,
                versions_rise_over_the_whole_store,
                checkpoint_ids_rise_and_are_never_reused,
                one_lapse_has_one_timeout_row,
                content_comes_back_as_it_was_written,
                racing_writers_lose_nothing,
                touch_raises_the_heartbeat_and_the_version,
                touch_gives_back_what_it_does_not_take,
                overdue_is_strict_and_oldest_first,
                an_offline_session_is_never_overdue,
                an_erasure_leaves_nothing_but_its_tombstone,
                an_erasure_is_remembered_for_later_reports,
                a_commit_decided_before_an_erasure_conflicts,
            }
            checkpoint_query::{
                facts_clip_closed_time_to_each_window,
                facts_of_all_time_equal_the_sum_of_their_parts,
                a_checkpoint_is_found_under_its_user_only,
                history_is_newest_first_and_pages_without_gaps,
                an_export_holds_everything_and_pages_without_gaps,
            }
            model::{
                a_random_life_is_the_same_as_in_memory,
            }
        }
    };
}

/// All promises of [`LiveSet`](crate::LiveSet), each as a test on a fresh store; see [`conformance`](self).
#[macro_export]
macro_rules! live_set_tests {
    ($fresh:path, $run:path) => {
        $crate::conformance_cases! { $fresh, $run;
            live_set::{
                a_member_is_seen_from_its_first_touch_on,
                a_late_touch_does_not_move_a_member_back,
                a_bound_install_is_no_member,
                a_member_that_leaves_is_gone_until_its_next_touch,
                the_count_is_exact_to_the_millisecond,
                the_list_pages_in_order_without_gaps,
                eviction_forgets_only_what_lies_before_it,
            }
        }
    };
}

/// All promises of [`SummaryCache`], each as a test on a fresh store; see [`conformance`](self).
#[macro_export]
macro_rules! summary_tests {
    ($fresh:path, $run:path) => {
        $crate::conformance_cases! { $fresh, $run;
            summary_cache::{
                a_commit_forgets_the_days_it_changes,
                a_commit_that_conflicts_forgets_nothing,
                an_erasure_forgets_every_day_and_the_mark,
                marks_page_over_all_users_in_order,
                kept_days_come_back_as_they_were_folded,
                a_fold_of_another_version_is_not_kept,
                a_fold_replaces_the_days_between_its_first_and_last,
                a_fold_in_another_zone_forgets_the_days_of_the_one_before,
                only_whole_days_inside_the_window_come_back,
            }
        }
    };
}

/// All promises of the ports of activity, each as a test on a fresh store; see [`conformance`](self).
#[macro_export]
macro_rules! activity_tests {
    ($fresh:path, $run:path) => {
        $crate::conformance_cases! { $fresh, $run;
            activity_store::{
                an_erasure_takes_events_and_sightings_along,
                events_up_to_an_erasure_are_refused,
                an_export_holds_sightings_and_events,
                an_event_is_stored_once,
                an_event_id_with_another_body_is_told,
                event_ids_belong_to_a_person,
                sightings_merge_in_any_order,
                only_news_makes_a_day_stale,
                racing_appends_store_each_event_once,
                what_was_sent_comes_back_as_it_was,
                stale_days_come_newest_first,
                marks_tell_what_figures_are_worth,
                folding_in_pages_sees_each_sighting_once,
                figures_are_saved_on_the_version_they_were_folded_on,
                a_day_that_changed_while_it_was_folded_stays_stale,
                racing_saves_write_one,
                retiring_takes_slices_and_leaves_figures,
                a_retired_day_is_as_it_was,
            }
            activity_query::{
                figures_come_back_as_they_were_saved,
                events_page_in_order_of_time_without_gaps,
            }
            snapshot_store::{
                the_first_snapshot_of_a_minute_stays,
                snapshots_come_oldest_first_out_of_a_half_open_window,
                old_snapshots_go_in_slices,
            }
            active_month::{
                a_random_month_is_the_same_as_in_memory,
            }
        }
    };
}

/// All promises of the ports of rooms, each as a test on a fresh store; see [`conformance`](self).
#[macro_export]
macro_rules! room_tests {
    ($fresh:path, $run:path) => {
        $crate::conformance_cases! { $fresh, $run;
            room_store::{
                an_erasure_takes_rooms_along,
                rows_up_to_an_erasure_are_left_out,
                an_export_holds_what_rooms_know,
                a_room_is_made_once,
                a_new_room_has_its_administrators_and_the_record_of_its_making,
                a_room_is_taken_on_the_epoch_it_had,
                a_closed_room_is_never_taken,
                racing_nodes_take_a_room_once,
                a_taken_room_comes_with_what_its_node_needs,
                leases_are_renewed_by_the_epoch_that_has_them,
                a_batch_is_written_wholly_and_in_order,
                a_batch_of_an_earlier_epoch_is_fenced,
                a_batch_that_is_written_again_changes_nothing,
                a_fenced_batch_spares_the_others,
                what_members_say_comes_back_as_it_was,
                retiring_takes_what_is_old_in_slices,
            }
            room_query::{
                a_room_is_found_open_or_closed,
                open_rooms_page_in_order_without_gaps,
                abandoned_rooms_have_members_and_no_lease,
                messages_come_newest_first_with_their_number,
                sessions_come_newest_first_when_they_are_over,
                actions_page_newest_first_without_gaps,
            }
            room_feed::{
                a_room_is_behind_until_its_rows_are_copied,
                messages_come_in_the_order_of_their_numbers,
                sessions_come_in_the_order_in_which_they_ended,
                a_copy_never_goes_back,
            }
            room_life::{
                a_random_room_is_the_same_as_in_memory,
            }
        }
    };
}

/// All promises of the ports of the outbox, each as a test on a fresh store; see [`conformance`](self).
#[macro_export]
macro_rules! outbox_tests {
    ($fresh:path, $run:path) => {
        $crate::conformance_cases! { $fresh, $run;
            outbox::{
                an_event_is_kept_with_the_commit_that_made_it,
                what_is_not_written_tells_nothing,
                a_batch_that_is_repeated_tells_its_events_once,
                a_client_event_is_told_when_it_is_stored,
                a_member_is_told_when_it_is_seen_later,
                an_erasure_takes_events_along,
                events_up_to_an_erasure_are_left_out,
                only_what_a_sink_wants_is_kept,
                letters_come_in_order_until_they_are_acknowledged,
                each_sink_goes_at_its_own_pace,
                letters_come_after_a_number,
                letters_come_from_spans_of_keys,
                what_is_held_for_a_key_hides_no_other,
                a_sink_belongs_to_one_node_until_its_claim_ends,
                every_kind_comes_back_as_it_was,
                an_acknowledged_letter_does_not_come_again,
                what_is_acknowledged_is_not_claimed_with_it,
                a_refused_letter_lies_dead_until_it_is_sent_again,
                what_is_too_old_expires_and_is_counted,
                the_books_balance,
                dead_letters_page_in_order_without_gaps,
            }
        }
    };
}

/// All promises of all ports; see [`conformance`](self).
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:path, $run:path) => {
        $crate::checkpoint_tests!($fresh, $run);
        $crate::live_set_tests!($fresh, $run);
        $crate::activity_tests!($fresh, $run);
        $crate::summary_tests!($fresh, $run);
    };
}

/// Writes the tests of a list of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($fresh:path, $run:path; $($port:ident::{ $($case:ident,)* })*) => {
        $(
            mod $port {
                use super::*;

                $(
                    #[test]
                    fn $case() {
                        $run(async {
                            let (store, _guard) = $fresh().await;
                            $crate::conformance::$port::$case(&*store).await;
                        });
                    }
                )*
            }
        )*
    };
}
