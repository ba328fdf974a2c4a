//! Stories: the worked examples, one test each, under the numbers of their tables.

mod world;

use futures_executor::block_on;
use presence_core::{Envelope, EventId, StateType, Window};
use world::{World, at};

/// Durations, with the heartbeat timeout off.
mod durations {
    use super::*;

    #[test]
    fn d_1_the_time_between_two_checkpoints_belongs_to_the_earlier() {
        let w = World::without_timeout().given("Working@1000 Offline@1003");
        assert_eq!((w.now(1003).as_str(), w.current(1003).as_str()), ("Working 3", "Offline since 1003"));
    }

    #[test]
    fn d_2_the_open_interval_counts_to_now() {
        let w = World::without_timeout().given("Working@1000 Offline@1003");
        assert_eq!(
            (w.now(1010).as_str(), w.current(1010).as_str()),
            ("Offline 7, Working 3", "Offline since 1003")
        );
    }

    #[test]
    fn d_3_equal_durations_are_ordered_by_name() {
        let w = World::without_timeout().given("Working@997 Idle@998 Gaming@999 Offline@1002");
        assert_eq!(w.now(1002), "Gaming 3, Idle 1, Working 1");
    }

    #[test]
    fn d_4_a_heartbeat_leaves_the_state_alone() {
        let w = World::without_timeout().given("Working@1000 Idle@1100 hb@1130");
        assert_eq!(
            (w.now(1130).as_str(), w.current(1130).as_str()),
            ("Working 100, Idle 30", "Idle since 1100")
        );
    }

    fn d_5() -> World {
        World::without_timeout().given("Working@1000 Idle@1100 Working@1160 Offline@1400")
    }

    #[test]
    fn d_5_a_window_clips_what_is_carried_in_and_out() {
        let w = d_5();
        assert_eq!(w.window(1050, 1200, 2000), "Working 90, Idle 60");
        assert_eq!(w.current(2000), "Offline since 1400");
    }

    #[test]
    fn d_6_time_before_the_first_checkpoint_belongs_to_no_state() {
        assert_eq!(d_5().window(0, 1050, 2000), "Working 50");
    }

    #[test]
    fn d_7_a_window_ends_at_now() {
        assert_eq!(d_5().window(1400, 5000, 2000), "Offline 600");
    }

    #[test]
    fn d_8_an_empty_window_has_no_durations() {
        assert_eq!(d_5().window(1200, 1200, 2000), "");
    }

    #[test]
    fn d_9_without_a_window_all_time_counts() {
        assert_eq!(d_5().now(2000), "Offline 600, Working 340, Idle 60");
    }

    #[test]
    fn d_10_a_late_checkpoint_takes_its_place() {
        let mut w = World::without_timeout().given("Working@1000 Offline@1100");
        assert_eq!(w.now(1200), "Offline 100, Working 100");
        w.then("now@1200 Idle@1050");
        assert_eq!(w.now(1200), "Offline 100, Idle 50, Working 50");
        assert_eq!(w.current(1200), "Offline since 1100");
    }

    #[test]
    fn d_11_a_checkpoint_before_all_others_extends_the_past() {
        let w = World::without_timeout().given("Working@1000 Offline@1100 now@1200 Idle@1050 Online@900");
        assert_eq!(w.now(1200), "Offline 100, Online 100, Idle 50, Working 50");
    }

    #[test]
    fn d_12_of_equal_times_the_later_arrival_is_in_force() {
        let w = World::without_timeout().given("Working@1000 Idle@1000 Offline@1010");
        assert_eq!(w.now(1010), "Idle 10");
    }

    #[test]
    fn d_13_a_report_of_the_same_state_is_only_a_sign_of_life() {
        let w = World::without_timeout().given("Working@1000 Working@1040 Offline@1100");
        assert_eq!((w.now(1100).as_str(), w.rows().as_str()), ("Working 100", "Working@1000 Offline@1100"));
        let answer = &w.recorded[1];
        let row = answer.checkpoint.as_ref().expect("the row in force");
        assert!(!answer.created && row.at == at(1000), "answered with the row of 1000");
        assert_eq!(answer.session.as_ref().expect("a session").last_heartbeat, at(1040));
    }

    #[test]
    fn d_14_a_late_report_of_the_state_in_force_leaves_no_row() {
        let w = World::without_timeout().given("Working@1000 Offline@1100 now@1200 Working@1050");
        assert_eq!(
            (w.now(1200).as_str(), w.rows().as_str()),
            ("Offline 100, Working 100", "Working@1000 Offline@1100")
        );
    }

    #[test]
    fn d_15_day_summaries_add_up_to_the_status() {
        let w = d_5();
        w.clock.set(at(2000));
        let day = "1970-01-01".parse().expect("a date");
        let summaries = block_on(w.tracker.summaries(&w.user, day, day, &presence_core::Zone::utc()));
        let durations = &summaries.expect("a store that works")[0].durations;
        assert_eq!(*durations, w.status_in(Window::all(), 2000).durations);
    }
}

/// Offline detection and heartbeats, with a timeout of 60 s.
mod silence {
    use super::*;

    #[test]
    fn o_1_a_silence_of_exactly_the_timeout_is_none() {
        let w = World::new().given("Working@1000 hb@1000 sweep@1060");
        assert_eq!((w.lapsed.as_slice(), w.rows().as_str()), ([0].as_slice(), "Working@1000"));
    }

    #[test]
    fn o_2_silence_ends_in_offline_one_timeout_after_the_last_sign() {
        let w = World::new().given("Working@1000 sweep@1061");
        assert_eq!((w.lapsed.as_slice(), w.rows().as_str()), ([1].as_slice(), "Working@1000 Offline@1060!"));
        assert_eq!(
            (w.now(1061).as_str(), w.current(1061).as_str()),
            ("Working 60, Offline 1", "Offline since 1060")
        );
    }

    #[test]
    fn o_3_a_second_sweep_finds_nothing() {
        let w = World::new().given("Working@1000 sweep@1061 sweep@1062");
        assert_eq!(
            (w.lapsed.as_slice(), w.rows().as_str()),
            ([1, 0].as_slice(), "Working@1000 Offline@1060!")
        );
    }

    fn o_4() -> World {
        World::new().given("Working@1000 hb@1050 hb@1090 sweep@1300")
    }

    #[test]
    fn o_4_a_late_sweep_backdates() {
        let w = o_4();
        assert_eq!(
            (w.now(1300).as_str(), w.rows().as_str()),
            ("Offline 150, Working 150", "Working@1000 Offline@1150!")
        );
    }

    #[test]
    fn o_5_a_read_before_the_sweep_gives_the_same_answer() {
        let w = World::new().given("Working@1000 hb@1050 hb@1090");
        assert_eq!(
            (w.now(1300).as_str(), w.current(1300).as_str()),
            ("Offline 150, Working 150", "Offline since 1150")
        );
    }

    #[test]
    fn o_6_a_heartbeat_after_a_silence_brings_the_user_back_online() {
        let mut w = o_4();
        w.then("hb@1300");
        assert_eq!(w.rows(), "Working@1000 Offline@1150! Online@1300~");
        assert_eq!(w.now(1310), "Offline 150, Working 150, Online 10");
    }

    #[test]
    fn o_7_a_heartbeat_may_name_the_state_it_wakes_to() {
        let mut w = o_4();
        w.then("hb:Working@1300");
        assert_eq!(
            (w.now(1310).as_str(), w.current(1310).as_str()),
            ("Working 160, Offline 150", "Working since 1300")
        );
    }

    #[test]
    fn o_8_a_heartbeat_that_commits_before_the_sweep_wins() {
        let w = World::new().given("Working@1000 hb@1060 sweep@1061");
        assert_eq!((w.lapsed.as_slice(), w.rows().as_str()), ([0].as_slice(), "Working@1000"));
    }

    #[test]
    fn o_9_a_late_heartbeat_moves_the_conclusion() {
        let mut w = o_4();
        w.then("now@1310 hb@1100");
        assert_eq!(w.rows(), "Working@1000 Offline@1160!");
        assert_eq!(w.last_heartbeat(), 1100);
        assert_eq!(
            (w.now(1310).as_str(), w.current(1310).as_str()),
            ("Working 160, Offline 150", "Offline since 1160")
        );
    }

    #[test]
    fn o_10_an_explicit_offline_leaves_nothing_to_sweep() {
        let w = World::new().given("Working@1180 Offline@1200 sweep@1400");
        assert_eq!((w.lapsed.as_slice(), w.rows().as_str()), ([0].as_slice(), "Working@1180 Offline@1200"));
    }

    #[test]
    fn o_11_two_sweeps_conclude_a_silence_once() {
        let w = World::new();
        w.clock.set(at(1000));
        let users: Vec<_> =
            (0..1000).map(|n| presence_core::UserId::new(format!("u{n}")).expect("a name")).collect();
        let reports =
            users.iter().map(|user| Envelope::checkpoint(user.clone(), StateType::Working)).collect();
        block_on(w.tracker.record_many(reports)).expect("a store that works");
        w.clock.set(at(1100));
        let other = presence_core::Tracker::new(w.store.clone(), w.clock.clone());
        let lapsed: u64 = std::thread::scope(|scope| {
            let sweeps = [&w.tracker, &other].map(|tracker| {
                scope.spawn(move || {
                    let mut lapsed = 0;
                    loop {
                        let sweep = block_on(tracker.sweep(100)).expect("a store that works");
                        lapsed += sweep.lapsed;
                        if !sweep.more {
                            return lapsed;
                        }
                    }
                })
            });
            sweeps.into_iter().map(|sweep| sweep.join().expect("a sweep")).sum()
        });
        assert_eq!(lapsed, 1000);
        for user in users {
            let page = block_on(w.tracker.history(&user, Window::all(), None, 10)).expect("a page");
            let rows: Vec<_> = page.items.iter().map(|row| (row.state.as_str(), row.at)).collect();
            assert_eq!(rows, [("Offline", at(1060)), ("Working", at(1000))]);
        }
    }

    #[test]
    fn o_12_a_gap_leaves_offline_even_if_no_sweep_ran_in_it() {
        let w = World::new().given("Working@1000 hb@1050 hb@1090 hb@1300");
        assert_eq!(w.rows(), "Working@1000 Offline@1150! Online@1300~");
        assert_eq!(w.now(1310), "Offline 150, Working 150, Online 10");
    }

    #[test]
    fn o_13_a_report_of_the_same_state_after_a_gap_is_a_change() {
        let w = World::new().given("Working@1000 hb@1050 hb@1090 Working@1300");
        assert_eq!(w.rows(), "Working@1000 Offline@1150! Working@1300");
        assert_eq!(
            (w.now(1310).as_str(), w.current(1310).as_str()),
            ("Working 160, Offline 150", "Working since 1300")
        );
    }

    #[test]
    fn o_14_gaps_of_exactly_the_timeout_are_none() {
        let w = World::new().given("Working@1000 hb@1060 hb@1120 hb@1180 sweep@1200");
        assert_eq!((w.lapsed.as_slice(), w.rows().as_str()), ([0].as_slice(), "Working@1000"));
        assert_eq!(w.now(1200), "Working 200");
    }

    #[test]
    fn o_15_buffered_heartbeats_withdraw_the_conclusion() {
        let w = World::new().given("Working@1000 sweep@1200 hb@1120 hb@1060 hb@1180");
        assert_eq!(w.rows(), "Working@1000");
        assert_eq!((w.now(1200).as_str(), w.current(1200).as_str()), ("Working 200", "Working since 1000"));
    }

    fn o_6() -> World {
        let mut w = o_4();
        w.then("hb@1300 now@1310");
        w
    }

    #[test]
    fn o_16_a_late_heartbeat_opens_a_gap() {
        let mut w = o_6();
        w.then("hb@1200");
        assert_eq!(w.rows(), "Working@1000 Offline@1150! Online@1200~ Offline@1260! Online@1300~");
        assert_eq!(w.now(1310), "Working 150, Offline 90, Online 70");
    }

    #[test]
    fn o_17_a_late_heartbeat_bridges_to_the_next_and_its_wake_goes() {
        let mut w = o_6();
        w.then("hb@1250");
        assert_eq!(w.rows(), "Working@1000 Offline@1150! Online@1250~");
        assert_eq!(
            (w.now(1310).as_str(), w.current(1310).as_str()),
            ("Working 150, Offline 100, Online 60", "Online since 1250")
        );
    }

    #[test]
    fn o_18_an_explicit_offline_stands_against_an_earlier_heartbeat() {
        let w = World::new().given("Working@1000 hb@1050 hb@1090 Offline@1100 now@1200 hb@1095");
        assert_eq!(w.rows(), "Working@1000 Offline@1100");
        assert_eq!(w.now(1200), "Offline 100, Working 100");
    }
}

/// Where the order of arrival shows: the three bounds of exactness.
mod bounds {
    use super::*;

    #[test]
    fn equal_instants_go_by_arrival() {
        let w = World::new().given("Working@1000 Idle@1000");
        assert_eq!(w.current(1010), "Idle since 1000");
        let w = World::new().given("Idle@1000 Working@1000");
        assert_eq!(w.current(1010), "Working since 1000");
    }

    #[test]
    fn a_same_state_report_leaves_no_row_only_a_sign_of_life() {
        let in_order = World::new().given("Working@1000 Idle@1020 Working@1040");
        assert_eq!(in_order.now(1050), "Working 30, Idle 20");
        // The report at 1040 changed nothing when it came, so it is not remembered when Idle arrives.
        let late = World::new().given("Working@1000 Working@1040 Idle@1020");
        assert_eq!(late.now(1050), "Idle 30, Working 20");
    }

    #[test]
    fn a_late_offline_ends_at_the_next_remembered_sign_of_life() {
        let in_order = World::new().given("Working@1000 hb@1040 Offline@1050 hb@1060 hb@1100 hb@1130");
        assert_eq!(in_order.now(1130), "Online 70, Working 50, Offline 10");
        // Of the unbroken span only its last sign is remembered: 1130.
        let late = World::new().given("Working@1000 hb@1040 hb@1060 hb@1100 hb@1130 Offline@1050");
        assert_eq!(late.now(1140), "Offline 80, Working 50, Online 10");
        assert_eq!(late.rows(), "Working@1000 Offline@1050 Online@1130~");
    }
}

/// What a repeated request does.
mod requests {
    use super::*;

    fn report(
        w: &World,
        state: StateType,
        stamp: i64,
    ) -> Result<presence_core::Recorded, presence_core::Error> {
        let envelope = Envelope::checkpoint(w.user.clone(), state).at(at(stamp));
        let event_id = EventId::new("request-1").expect("an event id");
        block_on(w.tracker.record(envelope.with_event_id(event_id)))
    }

    #[test]
    fn a_repeated_request_answers_the_same_and_changes_nothing() {
        let mut w = World::new().given("now@1000");
        let first = report(&w, StateType::Offline, 900).expect("taken");
        w.then("Working@950");
        let again = report(&w, StateType::Offline, 900).expect("taken");
        assert_eq!((first.checkpoint, first.created), (again.checkpoint, again.created));
        assert_eq!(w.rows(), "Offline@900 Working@950");
    }

    #[test]
    fn a_redundant_request_is_remembered_too() {
        let mut w = World::new().given("now@1000 Working@950");
        let first = report(&w, StateType::Working, 960).expect("taken");
        assert!(!first.created);
        w.then("Idle@955");
        let again = report(&w, StateType::Working, 960).expect("taken");
        assert_eq!((again.checkpoint, again.created), (first.checkpoint, false));
        assert_eq!(w.rows(), "Working@950 Idle@955");
    }

    #[test]
    fn an_event_id_with_another_body_is_refused() {
        let w = World::new().given("now@1000");
        report(&w, StateType::Working, 900).expect("taken");
        let error = report(&w, StateType::Idle, 900).expect_err("another body");
        assert_eq!(error.to_string(), "this event id was used with another body");
        assert_eq!(w.rows(), "Working@900");
    }

    #[test]
    fn an_erased_user_starts_anew() {
        let mut w = World::new().given("Working@1000 hb@1050");
        w.clock.set(at(1060));
        let erasure = block_on(w.tracker.erase(&w.user)).expect("a store that works");
        assert_eq!(erasure.checkpoints, 1);
        assert_eq!(block_on(w.tracker.status(&w.user, Window::all())).expect("a store that works"), None);
        let late = Envelope::heartbeat(w.user.clone()).at(at(1055));
        let error = block_on(w.tracker.record(late)).expect_err("from before the erasure");
        assert!(matches!(error, presence_core::Error::Rejected(presence_core::Rejection::UserErased)));
        w.then("hb@1061");
        assert_eq!(w.rows(), "Online@1061~");
    }

    #[test]
    fn a_stamp_ahead_of_the_clock_is_now_or_refused() {
        let w = World::new().given("now@1000");
        let ahead = |secs| block_on(w.tracker.record(Envelope::heartbeat(w.user.clone()).at(at(secs))));
        assert_eq!(ahead(1300).expect("taken as now").session.expect("a session").last_heartbeat, at(1000));
        assert!(ahead(1301).is_err());
    }
}
