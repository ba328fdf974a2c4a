//! Each person is counted on the local day of its event, in every zone, around every change of the clock.

use std::{collections::BTreeMap, time::Duration};

use chrono::Days;
use futures_executor::block_on;
use presence_core::{ActivityPolicy, ClientEvent, Period, Timestamp, Window, Zone};

use crate::world::{World, at, day, event, install, start};

/// A day of a skipped midnight, a half-hour zone, and a day that never was.
#[test]
fn odd_days_have_the_people_of_their_own_instants() {
    for (zone, before, change) in [
        ("Africa/Cairo", "2024-04-25", "2024-04-25T22:00:00Z"), // 00:00 becomes 01:00
        ("Asia/Kolkata", "2024-04-25", "2024-04-25T18:30:00Z"),
        ("Australia/Lord_Howe", "2025-04-05", "2025-04-05T13:00:00Z"),
        ("Pacific/Apia", "2011-12-29", "2011-12-30T10:00:00Z"), // the 30th never was
    ] {
        let world = World::in_zone(zone);
        let change = at(change);
        world.clock.set(change.saturating_add(Duration::from_secs(60)));
        let last = change.saturating_sub(Duration::from_millis(1));
        world.ingest(vec![event("1/A").at(last), event("2/B").at(last), event("3/C").at(change)]);
        let next = if zone == "Pacific/Apia" {
            "2011-12-31".to_owned()
        } else {
            (day(before) + Days::new(1)).to_string()
        };
        assert_eq!((world.count(before), world.count(&next)), (2, 1), "{zone}");
    }
}

#[test]
fn days_are_right_in_every_zone_over_both_changes_of_each_year() {
    let decade = Window::new(at("2020-01-01T00:00:00Z"), at("2031-01-01T00:00:00Z")).expect("in order");
    let (mut zones, mut changes) = (0, 0);
    for name in Zone::names() {
        let zone = Zone::new(&name).expect("a zone of the bundled database");
        zones += 1;
        let policy = ActivityPolicy { zone: zone.clone(), late_window: None, ..ActivityPolicy::default() };
        let world = World::with_policy(policy);
        world.now("2031-02-01T00:00:00Z");
        // One person each at the first and the last instant of each day of a change and of its neighbours, and at the
        // change itself: who is counted where follows from the days' spans, not from the date of the event.
        let mut expected: BTreeMap<_, u64> = BTreeMap::new();
        let (mut events, mut number) = (Vec::new(), 0);
        let mut done = std::collections::BTreeSet::new();
        for change in zone.changes(decade) {
            changes += 1;
            let around = zone.date_of(change);
            let days = zone.days(around - Days::new(2), around + Days::new(2)).expect("five days");
            for day in days.iter().filter(|day| done.insert(day.date())) {
                for span in day.spans() {
                    let last = Timestamp::from_millis(span.to().as_millis() - 1).expect("in range");
                    let middle =
                        Timestamp::from_millis(i64::midpoint(span.from().as_millis(), last.as_millis()));
                    for stamp in [span.from(), middle.expect("in range"), last] {
                        number += 1;
                        events
                            .push(ClientEvent::new(start(), install(&format!("install-{number}"))).at(stamp));
                        *expected.entry(day.date()).or_default() += 1;
                    }
                }
            }
        }
        world.ingest(events);
        block_on(world.activity.refold(10_000)).expect("a store that works");
        let mut counted = BTreeMap::new();
        for year in 2019..=2031 {
            let (first, last) = (format!("{year}-01-01"), format!("{year}-12-31"));
            let year = Period::new(day(&first), day(&last)).expect("a year");
            let stats = block_on(world.activity.stats(year)).expect("a store that works");
            counted.extend(stats.into_iter().map(|stats| (stats.day, stats.active.count)));
        }
        assert_eq!(counted, expected, "{name}");
    }
    println!("{zones} zones, {changes} changes of the clock");
    assert!(zones > 400 && changes > 4000, "{zones} zones, {changes} changes");
}
