//! The worked examples, and what else there is to tell.

use std::time::Duration;

use futures_executor::block_on;
use presence_core::{
    ActivityPolicy, ActivityQuery, CheckpointStore, CountedEvents, Error, EventId, EventName, Interval,
    Logged, Period, Rejection, TimeWindow, Window,
};

use crate::world::{World, at, day, event, install, start, sums, user};

const TODAY: &str = "2025-01-01";

fn counted(script: &str) -> u64 {
    World::new().given(script).count(TODAY)
}

#[test]
fn u1_who_logs_in_later_is_one_person() {
    assert_eq!(counted("-/A 7/A"), 1);
}

#[test]
fn u2_two_devices_are_one_person() {
    assert_eq!(counted("7/A 7/B"), 1);
}

#[test]
fn u3_a_shared_device_is_as_many_persons_as_its_users() {
    assert_eq!(counted("7/A 8/A -/A"), 2);
}

#[test]
fn u4_anonymous_installs_count_each() {
    assert_eq!(counted("-/A -/B 7/C -/A"), 3);
}

#[test]
fn u5_a_user_and_an_install_of_the_same_text_are_two() {
    assert_eq!(counted("12345678/A -/12345678"), 2);
}

#[test]
fn u6_two_devices_of_which_one_is_shared() {
    assert_eq!(counted("-/A 7/A -/B 7/B 8/B"), 2);
}

#[test]
fn u7_each_day_stands_for_itself() {
    let world = World::new().given("-/A");
    assert_eq!(world.count(TODAY), 1);
    world.now("2025-01-02T12:00:00Z");
    world.then("7/A");
    assert_eq!((world.count(TODAY), world.count("2025-01-02")), (1, 1));
    assert_eq!(world.stats(TODAY).expect("counted").version, 1, "the first day is not rewritten");
    let both = Period::new(day(TODAY), day("2025-01-02"));
    assert_eq!(world.active(both).count, 1, "but over both days it is one person");
}

#[test]
fn u8_days_are_those_of_the_zone() {
    let world = World::in_zone("Asia/Shanghai");
    world.now("2025-01-02T17:00:00Z");
    let stamps = [
        ("1", "2025-01-01T15:59:59.999Z"),
        ("2", "2025-01-01T16:00:00.000Z"),
        ("3", "2025-01-02T15:59:59.999Z"),
        ("4", "2025-01-02T16:00:00.000Z"),
    ];
    world.ingest(stamps.map(|(who, stamp)| event(&format!("{who}/{who}")).at(at(stamp))).to_vec());
    let counts = ["2025-01-01", "2025-01-02", "2025-01-03"].map(|on| world.count(on));
    assert_eq!(counts, [1, 2, 1]);
}

#[test]
fn u9_a_person_is_in_the_region_it_named_last() {
    let world = World::new().given("7/A:Guangdong:Shenzhen 7/A:Hunan 8/B:Hunan:Changsha -/D");
    assert_eq!(world.count(TODAY), 3);
    let active = world.stats(TODAY).expect("counted").active;
    assert_eq!(sums(&active.by_province), [("Hunan", 2)]);
    assert_eq!(sums(&active.by_city), [("Changsha", 1), ("Shenzhen", 1)], "the last city it named");
}

#[test]
fn u10_a_late_event_is_counted_with_the_next_version() {
    let world = World::new().given("1/A 2/B 3/C");
    assert_eq!(world.count(TODAY), 3);
    world.now("2025-01-03T09:00:00Z");
    world.ingest(vec![event("4/D").at(at("2025-01-01T08:00:00Z"))]);
    assert_eq!(world.stats(TODAY).expect("counted").version, 1);
    assert_eq!(world.count(TODAY), 4);
    let stats = world.stats(TODAY).expect("counted");
    assert_eq!((stats.version, stats.calculated_at), (2, at("2025-01-03T09:00:00Z")));
    assert_eq!(world.refold(), 0, "nothing is stale any more");
}

#[test]
fn s4_the_first_snapshot_of_a_minute_stays() {
    let (world, window) = (World::new(), TimeWindow::from_secs(180).expect("a window"));
    for (stamp, online, is_first) in
        [("12:03:02", 3, true), ("12:03:59.999", 2, false), ("12:04:00", 5, true)]
    {
        world.now(&format!("2025-01-01T{stamp}Z"));
        let kept = block_on(world.activity.snapshot(online, window)).expect("a store that works");
        assert_eq!(kept, is_first, "{stamp}");
    }
    let day = Window::new(at("2025-01-01T00:00:00Z"), at("2025-01-02T00:00:00Z")).expect("in order");
    let points = block_on(world.activity.online_history(day, Interval::OneMinute)).expect("few points");
    let points: Vec<_> = points.into_iter().map(|point| (point.at, point.count)).collect();
    assert_eq!(points, [(at("2025-01-01T12:03:00Z"), 3), (at("2025-01-01T12:04:00Z"), 5)]);
}

#[test]
fn s5_history_has_the_mean_of_each_bucket_and_its_peak() {
    let (world, window) = (World::new(), TimeWindow::from_secs(180).expect("a window"));
    for (minute, online) in (0..).zip([10, 20, 30, 40, 50, 60]) {
        world.now(&format!("2025-01-01T12:0{minute}:30Z"));
        assert!(block_on(world.activity.snapshot(online, window)).expect("a store that works"));
    }
    let ten_minutes = Window::new(at("2025-01-01T12:00:00Z"), at("2025-01-01T12:10:00Z")).expect("in order");
    let points =
        block_on(world.activity.online_history(ten_minutes, Interval::FiveMinutes)).expect("few points");
    let points: Vec<_> = points.into_iter().map(|point| (point.at, point.count, point.peak)).collect();
    assert_eq!(points, [(at("2025-01-01T12:00:00Z"), 30, 50), (at("2025-01-01T12:05:00Z"), 60, 60)]);
    let refused =
        block_on(world.activity.online_history(Window::all(), Interval::Hour)).expect_err("refused");
    assert!(matches!(refused, Error::Rejected(Rejection::TooManyPoints)), "{refused:?}");
}

#[test]
fn s8_a_time_window_is_a_positive_number_of_seconds() {
    for text in ["0", "-5", "abc", "", "86401", "1.5"] {
        assert_eq!(text.parse::<TimeWindow>().expect_err(text).code(), "INVALID_TIME_WINDOW");
    }
    assert_eq!("86400".parse::<TimeWindow>().expect("a day").length(), Duration::from_secs(86_400));
}

#[test]
fn a_long_history_is_read_in_pages() {
    let policy =
        ActivityPolicy { keep_snapshots: Some(Duration::from_secs(3600)), ..ActivityPolicy::default() };
    let (world, window) = (World::with_policy(policy), TimeWindow::from_secs(180).expect("a window"));
    let first = at("2025-01-01T00:00:00Z");
    for minute in 0..25_000 {
        world.clock.set(first.saturating_add(Duration::from_secs(minute * 60)));
        assert!(block_on(world.activity.snapshot(minute, window)).expect("a store that works"));
    }
    let all = Window::new(first, first.saturating_add(Duration::from_secs(25_000 * 60))).expect("in order");
    let points = block_on(world.activity.online_history(all, Interval::FiveMinutes)).expect("few points");
    assert_eq!(points.len(), 5_000);
    for (five, point) in (0..).zip(&points) {
        assert_eq!((point.count, point.peak), (five * 5 + 2, five * 5 + 4));
    }
    let mut steps = 0;
    while block_on(world.activity.retain(1_000)).expect("a store that works").more {
        steps += 1;
    }
    assert_eq!(steps, 24, "an hour and a minute of 25,000 minutes are kept");
    let points = block_on(world.activity.online_history(all, Interval::OneMinute));
    assert!(matches!(points, Err(Error::Rejected(Rejection::TooManyPoints))));
    let points = block_on(world.activity.online_history(all, Interval::FiveMinutes)).expect("few points");
    assert_eq!(points.iter().map(|point| point.peak).max(), Some(24_999));
    assert_eq!(points.len(), 13);
}

fn code(verdict: &Result<Logged, Rejection>) -> &'static str {
    verdict.as_ref().map_or_else(Rejection::code, |logged| match (logged.is_new, logged.is_counted) {
        (true, true) => "counted",
        (true, false) => "stored",
        (false, _) => "repeated",
    })
}

#[test]
fn bad_events_are_told_by_their_place_and_the_good_ones_are_stored() {
    let world = World::new();
    let id = |id: &str| EventId::new(id).expect("an event id");
    block_on(world.store.erase(&user("gone"), at("2025-01-01T11:00:00Z"))).expect("a store that works");
    let verdicts = world.ingest(vec![
        event("7/A").with_event_id(id("one")),
        event("7/A").at(at("2025-01-01T12:05:00.001Z")),
        event("7/B").with_event_id(id("one")),
        event("8/B").at(at("2025-01-01T12:05:00Z")),
        event("gone/C").at(at("2025-01-01T11:00:00Z")),
        event("gone/C").at(at("2025-01-01T11:00:00.001Z")),
        event("7/A").with_event_id(id("one")),
        event("9/D").at(at("2024-12-29T11:59:59.999Z")),
        event("9/D").at(at("2024-12-29T12:00:00Z")),
    ]);
    let codes: Vec<_> = verdicts.iter().map(code).collect();
    let expected = [
        "counted",
        "FUTURE_TIMESTAMP",
        "EVENT_ID_REUSED",
        "counted",
        "USER_ERASED",
        "counted",
        "repeated",
        "stored",
        "counted",
    ];
    assert_eq!(codes, expected);
    assert_eq!((world.count(TODAY), world.count("2024-12-29")), (3, 1));
    let stored = block_on(world.store.events(Window::all(), None, 100)).expect("a store that works");
    assert!(stored.is_sorted_by_key(|event| event.at));
    assert_eq!(stored.last().map(|event| event.at), Some(at("2025-01-01T12:00:00Z")), "what is ahead is now");
}

#[test]
fn an_event_without_an_id_is_named_by_its_content() {
    let world = World::new();
    let stamp = at("2025-01-01T10:00:00Z");
    let same = || event("7/A:Hunan").at(stamp);
    let others = [
        event("7/A:Hubei").at(stamp),
        event("7/A").at(stamp),
        event("7/B:Hunan").at(stamp),
        event("8/A:Hunan").at(stamp),
        event("-/A:Hunan").at(stamp),
        event("7/A:Hunan").at(at("2025-01-01T10:00:01Z")),
        event("7/A:Hunan"),
    ];
    let codes = |verdicts: Vec<_>| verdicts.iter().map(code).collect::<Vec<_>>();
    assert_eq!(codes(world.ingest([vec![same()], others.to_vec(), vec![same()]].concat()))[8], "repeated");
    world.now("2025-01-01T12:00:01Z");
    assert_eq!(
        codes(world.ingest(vec![same(), event("7/A:Hunan")])),
        ["repeated", "counted"],
        "now is another time"
    );
    let named = EventName::new("page_view").expect("a name");
    let other = presence_core::ClientEvent::new(named, install("A")).by(user("7")).at(stamp);
    assert_eq!(codes(world.ingest(vec![other])), ["stored"]);
}

#[test]
fn a_repetition_is_known_though_its_stamp_was_taken_as_now() {
    let world = World::new();
    let ahead = || event("7/A").at(at("2025-01-01T12:04:00Z"));
    assert_eq!(code(&world.ingest(vec![ahead()])[0]), "counted");
    world.now("2025-01-01T12:00:30Z");
    assert_eq!(code(&world.ingest(vec![ahead()])[0]), "repeated");
}

#[test]
fn only_events_of_the_configured_name_count_unless_all_do() {
    let click = || presence_core::ClientEvent::new(EventName::new("click").expect("a name"), install("A"));
    let world = World::new();
    assert_eq!(code(&world.ingest(vec![click()])[0]), "stored");
    assert_eq!(world.count(TODAY), 0);
    let every =
        ActivityPolicy { counted: CountedEvents::parse("*").expect("every"), ..ActivityPolicy::default() };
    let world = World::with_policy(every);
    assert_eq!(code(&world.ingest(vec![click()])[0]), "counted");
    assert_eq!(world.count(TODAY), 1);
    let clicks = CountedEvents::parse("click").expect("a name");
    let world = World::with_policy(ActivityPolicy { counted: clicks, ..ActivityPolicy::default() });
    let started = presence_core::ClientEvent::new(start(), install("B"));
    let verdicts = world.ingest(vec![click(), started]);
    assert_eq!(verdicts.iter().map(code).collect::<Vec<_>>(), ["counted", "stored"]);
}

#[test]
fn a_login_that_is_not_counted_does_not_bind_its_install() {
    let world = World::new();
    let click =
        presence_core::ClientEvent::new(EventName::new("click").expect("a name"), install("A")).by(user("7"));
    world.ingest(vec![click, event("-/A")]);
    assert_eq!(world.count(TODAY), 1);
    world.then("7/B");
    assert_eq!(world.count(TODAY), 2, "nothing that counts says that A is 7's");
}

#[test]
fn a_day_is_final_when_its_late_window_has_passed_and_all_is_counted() {
    let world = World::new().given("7/A");
    assert_eq!(world.count(TODAY), 1);
    let is_final = |now: &str| {
        world.now(now);
        world.stats(TODAY).expect("counted").is_final
    };
    assert!(!is_final("2025-01-04T23:59:59.999Z"));
    // The last event that can count arrives at the last moment, and is not folded yet.
    world.ingest(vec![event("8/B").at(at("2025-01-01T23:59:59.999Z"))]);
    assert!(!is_final("2025-01-05T00:00:00Z"), "something waits to be counted");
    assert_eq!(world.count(TODAY), 2);
    assert!(is_final("2025-01-05T00:00:00Z"));
    world.ingest(vec![event("9/C").at(at("2025-01-01T23:59:59.999Z"))]);
    assert_eq!(world.count(TODAY), 2, "too late");
    block_on(world.store.erase(&user("8"), at("2025-01-06T00:00:00Z"))).expect("a store that works");
    assert!(!is_final("2025-01-06T00:00:00Z"), "who is erased is not counted any more");
    assert_eq!(world.count(TODAY), 1);
}

#[test]
fn a_day_may_be_recalculated_by_hand() {
    let world = World::new().given("7/A 8/B");
    let recalculate = |on: &str| block_on(world.activity.recalculate(day(on)));
    for version in 1..=3 {
        let stats = recalculate(TODAY).expect("a day that is kept");
        assert_eq!((stats.active.count, stats.version), (2, version), "the same figures still add one");
    }
    assert_eq!(world.refold(), 0);
    let empty = recalculate("2024-06-01").expect("a day that is kept");
    assert_eq!((empty.active.count, empty.version), (0, 1));
    let refused = recalculate("+12024-06-01").expect_err("refused");
    assert!(matches!(refused, Error::Rejected(Rejection::InvalidDay)));
}

#[test]
fn weeks_and_months_count_each_person_once() {
    let world = World::with_policy(ActivityPolicy { late_window: None, ..ActivityPolicy::default() });
    world.now("2026-12-01T00:00:00Z");
    for (on, script) in [
        ("2026-11-02", "9/A"),
        ("2026-11-15", "-/A:Hunan 1/B:Hunan"),
        ("2026-11-16", "2/A:Hubei -/B:Hubei"),
        ("2026-11-21", "1/C:Henan -/D"),
        ("2026-11-22", "-/D:Hunan 3/E"),
        ("2026-11-23", "4/F"),
    ] {
        let events = script.split_whitespace().map(|word| event(word).at(at(&format!("{on}T12:00:00Z"))));
        world.ingest(events.collect());
    }
    let saturday = day("2026-11-21");
    let week = world.active(Period::week(saturday));
    // Of the week's events: 2 on A, B by itself, 1 on C, D, 3.
    assert_eq!((week.count, sums(&week.by_province)), (5, vec![("Henan", 1), ("Hubei", 2), ("Hunan", 1)]));
    let trailing = world.active(Period::trailing(7, saturday));
    // From the 15th: A is 2's, B is 1's.
    assert_eq!((trailing.count, sums(&trailing.by_province)), (3, vec![("Henan", 1), ("Hubei", 1)]));
    let month = world.active(Period::month(saturday));
    assert_eq!((month.count, sums(&month.by_province)), (6, vec![("Henan", 1), ("Hubei", 1), ("Hunan", 1)]));
    assert_eq!(world.active(Period::trailing(30, saturday)).count, 4);
    world.then("-/G");
    assert_eq!(world.active(Period::month(saturday)).count, 6, "the 1st of December is another month");
    world.ingest(vec![event("5/D").at(at("2026-11-30T23:59:59Z"))]);
    assert_eq!(
        world.active(Period::month(saturday)).count,
        6,
        "D is 5's now, and what is remembered is not used"
    );
    assert_eq!(world.active(Period::week(saturday)).count, 5, "but not in that week");
}

#[test]
fn an_audit_finds_what_is_stored_in_the_event_log() {
    let world = World::new().given("-/A 7/A:Hunan 8/B:Hubei -/C:Henan");
    world.now("2025-01-05T09:00:00Z");
    world.ingest(vec![event("late/D").at(at("2025-01-01T08:00:00Z"))]);
    let audit = |world: &World| block_on(world.activity.audit(day(TODAY))).expect("a day that is kept");
    assert!(audit(&world).is_stale && !audit(&world).agrees(), "nothing was counted yet");
    world.refold();
    let agreed = audit(&world);
    assert!(agreed.agrees() && !agreed.is_stale, "{agreed:?}");
    assert_eq!(agreed.folded.count, 3, "without the one that came too late");

    let other = ActivityPolicy { late_window: None, ..ActivityPolicy::default() };
    let other = presence_core::Activity::with_policy(world.store.clone(), world.clock.clone(), other);
    let audit = block_on(other.audit(day(TODAY))).expect("a day that is kept");
    assert_eq!((audit.agrees(), audit.folded.count), (false, 4), "under another rule it would be four");
    let empty = block_on(world.activity.audit(day("2024-01-01"))).expect("a day that is kept");
    assert!(empty.agrees() && empty.stored.is_none());
}

#[test]
fn what_is_old_goes_and_its_figures_stay() {
    let keep =
        ActivityPolicy { keep_events: Some(Duration::from_secs(30 * 86_400)), ..ActivityPolicy::default() };
    let world = World::with_policy(keep).given("7/A 8/B -/C");
    let retain = |world: &World| block_on(world.activity.retain(2)).expect("a store that works");
    assert_eq!(retain(&world), presence_core::Retained::default());
    world.now("2025-01-31T23:59:59Z");
    assert_eq!(retain(&world).events, 0, "its last hours are within 30 days");
    assert_eq!(world.stats(TODAY), None, "what stays is left to a refold");
    world.now("2025-02-01T00:00:00Z");
    let (mut steps, mut gone) = (0, (0, 0));
    loop {
        let step = retain(&world);
        assert!(step.events + step.sightings <= 2);
        gone = (gone.0 + step.events, gone.1 + step.sightings);
        steps += 1;
        if !step.more {
            break;
        }
    }
    assert_eq!((steps, gone), (4, (3, 3)));
    let stats = world.stats(TODAY).expect("figures stay");
    assert_eq!((stats.active.count, stats.version, stats.is_final), (3, 1, true));
    let refused = |result: Result<_, Error>| matches!(result, Err(Error::Rejected(Rejection::EventsRetired)));
    assert!(refused(block_on(world.activity.recalculate(day(TODAY))).map(drop)));
    assert!(refused(block_on(world.activity.audit(day(TODAY))).map(drop)));
    let january = Period::month(day(TODAY)).expect("a month");
    assert!(refused(block_on(world.activity.active_users(january)).map(drop)));
    let verdicts = world.ingest(vec![event("9/D").at(at("2025-01-01T12:00:00Z"))]);
    assert_eq!(code(&verdicts[0]), "stored");
    assert_eq!(world.count(TODAY), 3);
}

#[test]
fn a_busy_day_waits_until_its_figures_are_a_minute_old_and_a_quiet_one_does_not() {
    let minute = Duration::from_secs(60);
    let world = World::with_policy(ActivityPolicy { refold_after: minute, ..ActivityPolicy::default() });
    world.then("7/A");
    assert_eq!(world.refold(), 1, "a day without figures waits for nothing");
    world.then("8/B");
    world.now("2025-01-01T12:00:59.999Z");
    assert_eq!((world.refold(), world.stats(TODAY).expect("figures").active.count), (0, 1));
    assert_eq!(block_on(world.activity.stale_days(10)).expect("a store that works"), 1);
    // Somebody comes late to yesterday, of which there are no figures.
    world.ingest(vec![event("8/B").at(at("2024-12-31T12:00:00Z"))]);
    assert_eq!(world.refold(), 1);
    world.now("2025-01-01T12:01:00Z");
    assert_eq!((world.refold(), world.stats(TODAY).expect("figures").active.count), (1, 2));
    assert_eq!(block_on(world.activity.stale_days(10)).expect("a store that works"), 0);

    world.then("9/C");
    world.now("2025-01-01T11:00:00Z");
    assert_eq!(world.refold(), 1, "a clock that was set back keeps nobody waiting for it");
}

#[test]
fn days_on_which_nobody_came_are_caught_up_after_the_first_day_and_a_week_back() {
    let world = World::new();
    let catch_up = || block_on(world.activity.catch_up(7)).expect("a store that works");
    assert_eq!(catch_up(), 0, "nobody was ever counted");
    world.then("7/A");
    world.refold();
    world.now("2025-01-02T00:10:00Z");
    assert_eq!(catch_up(), 0, "today is not over");
    world.now("2025-01-05T00:10:00Z");
    world.ingest(vec![event("8/B").at(at("2025-01-03T12:00:00Z"))]);
    assert_eq!(catch_up(), 2, "what is stale is left to a refold");
    assert_eq!(catch_up(), 0);
    let counts = |from: &str, to: &str| {
        let period = Period::new(day(from), day(to)).expect("a period");
        let stats = block_on(world.activity.stats(period)).expect("a store that works");
        let counts = stats.into_iter().map(|stats| (stats.active.count, stats.version));
        counts.collect::<Vec<_>>()
    };
    assert_eq!(counts("2024-12-01", "2025-01-31"), [(1, 1), (0, 1), (0, 1)]);
    assert_eq!(world.count("2025-01-03"), 1);
    // After two weeks without a server, a week of them is beyond reach, and there is nothing to begin with.
    world.now("2025-01-12T00:10:00Z");
    assert_eq!(catch_up(), 0);
    world.then("7/A");
    world.refold();
    world.now("2025-01-14T00:10:00Z");
    assert_eq!(catch_up(), 1);
    assert_eq!(counts("2025-01-05", "2025-01-31"), [(1, 1), (0, 1)]);

    // A day that the zone skipped never was.
    let world = World::in_zone("Pacific/Apia");
    world.now("2011-12-29T12:00:00Z");
    world.then("7/A");
    world.refold();
    world.now("2012-01-02T12:00:00Z");
    let filled = block_on(world.activity.catch_up(7)).expect("a store that works");
    assert_eq!((filled, world.stats("2011-12-30"), world.stats("2011-12-31").is_some()), (3, None, true));
}

#[test]
fn nothing_goes_before_it_is_counted() {
    let policy = ActivityPolicy {
        late_window: None,
        keep_events: Some(Duration::from_secs(30 * 86_400)),
        ..ActivityPolicy::default()
    };
    let world = World::with_policy(policy);
    let days = ["2024-12-28", "2024-12-29", "2024-12-30", "2024-12-31"];
    world.ingest(days.map(|on| event("7/A").at(at(&format!("{on}T12:00:00Z")))).to_vec());
    // Nothing was folded for months, and then the old days go, one thing at a time.
    world.now("2025-06-01T12:00:00Z");
    while block_on(world.activity.retain(1)).expect("a store that works").more {}
    assert_eq!(block_on(world.store.events(Window::all(), None, 100)).expect("a store that works"), []);
    for on in days {
        assert_eq!(world.stats(on).map(|stats| stats.active.count), Some(1), "{on}");
    }
}

#[test]
fn an_event_that_is_kept_for_less_than_the_late_window_counts_only_so_long() {
    let keep = ActivityPolicy { keep_events: Some(Duration::from_secs(86_400)), ..ActivityPolicy::default() };
    let world = World::with_policy(keep);
    let verdicts = world.ingest(vec![
        event("7/A").at(at("2024-12-31T12:00:00Z")),
        event("8/B").at(at("2024-12-31T11:59:59.999Z")),
    ]);
    assert_eq!(verdicts.iter().map(code).collect::<Vec<_>>(), ["counted", "stored"]);
}
