//! Local days: what belongs to them, in every zone, around every change of the clock.

use std::{sync::Arc, time::Duration};

use chrono::{Days, NaiveDate};
use futures_executor::block_on;
use presence_core::{
    DaySummary, Envelope, ManualClock, MemoryStore, Policy, StateType, Timestamp, Tracker, UserId, Window,
    Zone,
};

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn instant(text: &str) -> Timestamp {
    let at: chrono::DateTime<chrono::Utc> = text.parse().expect("an instant");
    Timestamp::from_datetime(at).expect("in range")
}

fn hours(zone: &str, day: &str) -> f64 {
    Zone::new(zone).expect("a zone").day(date(day)).length().as_secs_f64() / 3600.0
}

#[test]
fn a_day_has_24_hours_where_no_clock_changes() {
    assert_eq!(hours("Asia/Shanghai", "2025-01-02"), 24.0);
    let day = Zone::new("Asia/Shanghai").expect("a zone").day(date("2025-01-02"));
    let window =
        Window::new(instant("2025-01-01T16:00:00Z"), instant("2025-01-02T16:00:00Z")).expect("in order");
    assert_eq!(day.spans(), [window]);
}

#[test]
fn a_day_has_23_hours_where_the_clock_goes_forward() {
    assert_eq!(hours("Europe/Berlin", "2025-03-30"), 23.0);
}

#[test]
fn a_day_has_25_hours_where_the_clock_goes_back() {
    assert_eq!(hours("Europe/Berlin", "2025-10-26"), 25.0);
}

#[test]
fn a_day_has_23_and_a_half_hours_where_the_clock_goes_forward_by_half_an_hour() {
    assert_eq!(hours("Australia/Lord_Howe", "2025-10-05"), 23.5);
}

#[test]
fn a_day_has_24_and_a_half_hours_where_the_clock_goes_back_by_half_an_hour() {
    assert_eq!(hours("Australia/Lord_Howe", "2025-04-06"), 24.5);
}

#[test]
fn a_day_has_no_hours_where_the_zone_skips_it() {
    let apia = Zone::new("Pacific/Apia").expect("a zone");
    assert_eq!(apia.day(date("2011-12-30")).spans(), []);
    assert_eq!(apia.date_of(instant("2011-12-30T09:59:59.999Z")), date("2011-12-29"));
    assert_eq!(apia.date_of(instant("2011-12-30T10:00:00Z")), date("2011-12-31"));
}

#[test]
fn a_day_begins_later_where_there_is_no_midnight() {
    let day = Zone::new("Africa/Cairo").expect("a zone").day(date("2024-04-26"));
    assert_eq!((day.spans()[0].from(), day.spans().len()), (instant("2024-04-25T22:00:00Z"), 1));
    assert_eq!(hours("Africa/Cairo", "2024-04-26"), 23.0);
}

#[test]
fn a_day_has_two_spans_where_the_clock_goes_back_over_midnight() {
    let zone = Zone::new("America/St_Johns").expect("a zone");
    let (day, next) = (zone.day(date("2006-10-28")), zone.day(date("2006-10-29")));
    assert_eq!((day.spans().len(), next.spans().len()), (2, 2), "00:01 became 23:01 of the day before");
    assert_eq!(day.length() + next.length(), Duration::from_secs(49 * 3600));
    assert_eq!(next.spans()[0].length(), Duration::from_secs(60));
    assert_eq!(zone.date_of(next.spans()[0].from()), date("2006-10-29"));
    assert_eq!(zone.date_of(day.spans()[1].from()), date("2006-10-28"));
}

#[test]
fn the_rules_are_those_of_2026() {
    let vancouver = Zone::new("america/vancouver").expect("whatever the case of its letters");
    assert_eq!(vancouver.name(), "America/Vancouver");
    assert_eq!(
        vancouver.date_of(instant("2026-12-01T07:00:00Z")),
        date("2026-12-01"),
        "no winter time since 2026"
    );
}

#[test]
fn ranges_of_days_are_limited() {
    let utc = Zone::utc();
    assert_eq!(utc.days(date("2024-01-01"), date("2024-12-31")).expect("a year").len(), 366);
    let codes =
        [("2024-01-01", "2025-01-01", "TOO_MANY_DAYS"), ("2024-01-02", "2024-01-01", "INVALID_WINDOW")];
    for (first, last, code) in codes {
        assert_eq!(utc.days(date(first), date(last)).expect_err("refused").code(), code);
    }
}

/// A tracker without timeout and a user who changes state every 5 hours and 7 minutes from 2019 to 2031.
fn a_busy_decade() -> (Tracker, UserId) {
    let clock = ManualClock::new(instant("2031-06-01T00:00:00Z"));
    let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
    let tracker = Tracker::with_policy(Arc::new(MemoryStore::new()), clock, policy);
    let user = UserId::new("alice").expect("a name");
    let states = [StateType::Working, StateType::Idle, StateType::Sleeping, StateType::Offline];
    let mut at = instant("2019-11-30T00:00:00Z");
    let mut reports = Vec::new();
    for state in states.into_iter().cycle() {
        reports.push(Envelope::checkpoint(user.clone(), state).at(at));
        at = at.saturating_add(Duration::from_secs(5 * 3600 + 7 * 60));
        if at > instant("2031-02-01T00:00:00Z") {
            break;
        }
    }
    block_on(tracker.record_many(reports)).expect("a store that works");
    (tracker, user)
}

fn total(summaries: &[DaySummary]) -> Vec<(String, Duration)> {
    let mut sums = std::collections::BTreeMap::new();
    for part in summaries.iter().flat_map(|summary| &summary.durations) {
        *sums.entry(part.state.to_string()).or_insert(Duration::ZERO) += part.duration;
    }
    sums.into_iter().collect()
}

#[test]
fn summaries_add_up_to_status_in_every_zone_on_both_days_of_each_change() {
    let (tracker, user) = a_busy_decade();
    let decade =
        Window::new(instant("2020-01-01T00:00:00Z"), instant("2031-01-01T00:00:00Z")).expect("in order");
    let (mut zones, mut changes) = (0, 0);
    for name in Zone::names() {
        let zone = Zone::new(&name).expect("a zone of the bundled database");
        zones += 1;
        for change in zone.changes(decade) {
            changes += 1;
            let before = zone.date_of(Timestamp::from_millis(change.as_millis() - 1).expect("in range"));
            let after = zone.date_of(change);
            // Both days of the change, and one on each side, so that all edges lie inside.
            let first = before.min(after) - Days::new(1);
            let last = before.max(after) + Days::new(1);
            let days = zone.days(first, last).expect("a few days");
            let mut spans: Vec<_> = days.iter().flat_map(|day| day.spans().to_vec()).collect();
            spans.sort_by_key(|span| span.from());
            for pair in spans.windows(2) {
                assert_eq!(
                    pair[0].to(),
                    pair[1].from(),
                    "{name}, {first}: days leave no gap and do not overlap"
                );
            }
            for day in &days {
                for span in day.spans() {
                    assert_eq!(zone.date_of(span.from()), day.date(), "{name}");
                    let end = Timestamp::from_millis(span.to().as_millis() - 1).expect("in range");
                    assert_eq!(zone.date_of(end), day.date(), "{name}");
                }
            }
            let window = Window::new(spans[0].from(), spans[spans.len() - 1].to()).expect("in order");
            let status = block_on(tracker.status(&user, window)).expect("a store that works").expect("alice");
            let summaries =
                block_on(tracker.summaries(&user, first, last, &zone)).expect("a store that works");
            let mut durations: Vec<_> =
                status.durations.into_iter().map(|part| (part.state.to_string(), part.duration)).collect();
            durations.sort();
            assert_eq!(total(&summaries), durations, "{name}, {first} to {last}");
            for summary in &summaries {
                let sum: Duration = summary.durations.iter().map(|part| part.duration).sum();
                assert_eq!(sum, summary.day.length(), "{name}, {}: a day is filled", summary.date());
            }
        }
    }
    println!("{zones} zones, {changes} changes of the clock");
    assert!(zones > 400 && changes > 4000, "{zones} zones, {changes} changes");
}
