//! Many events of many people, the same on every store: to be ingested by many at once, in any order, over a kill.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use chrono::NaiveDate;

use crate::{
    ActiveUsers, Activity, ActivityPolicy, ActivityQuery, ActivityStore, ClientEvent, EventId, EventName,
    EventProperties, InstallId, ManualClock, Period, SnapshotStore, Timestamp, UserId,
};

/// How many events there are.
pub const EVENTS: u64 = 100_000;
/// How many ingest them.
pub const THREADS: u64 = 8;
/// How many events a batch has.
const BATCH: usize = 1000;
/// On how many days.
const DAYS: u64 = 7;

/// The event of this number, as plain values: install, user, seconds since the beginning, province.
///
/// A fifth of the installs never have a user; the others have two at times. The days are seven.
fn plain(number: u64) -> (u64, Option<u64>, u64, Option<u64>) {
    let mixed =
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let install = mixed % 9973;
    let user = (!install.is_multiple_of(5) && mixed >> 20 & 3 != 0)
        .then_some(install * 2 / 3 + (mixed >> 22 & 15 & mixed >> 26));
    (install, user, (mixed >> 32) % (DAYS * 86_400), Some(mixed >> 8 & 63).filter(|province| *province < 32))
}

/// The first day, and when it begins.
fn beginning() -> (NaiveDate, Timestamp) {
    let day: NaiveDate = "2025-01-01".parse().expect("a day");
    (day, Timestamp::from_secs(1_735_689_600).expect("an instant"))
}

fn event(number: u64) -> ClientEvent {
    let (install, user, secs, province) = plain(number);
    let install = InstallId::new(format!("install-{install}")).expect("an install");
    let mut event = ClientEvent::new(EventName::new("app_session_start").expect("a name"), install)
        .at(beginning().1.saturating_add(Duration::from_secs(secs)))
        .with_event_id(EventId::new(format!("{number:08}")).expect("an event id"));
    if let Some(user) = user {
        event = event.by(UserId::new(format!("user-{user}")).expect("a user"));
    }
    if let Some(province) = province {
        let json = format!(r#"{{"province":"P{province:02}"}}"#);
        event = event.with_properties(EventProperties::parse(&json).expect("an object"));
    }
    event
}

/// All events in batches, in the order of one of [`THREADS`] threads.
pub fn batches(thread: u64) -> impl Iterator<Item = Vec<ClientEvent>> + Send {
    // Prime to the number of events, so that each order has them all.
    let stride = [1, 7, 11, 13, 17, 19, 23, 29][(thread % THREADS) as usize];
    let numbers: Vec<_> = (0..EVENTS).map(|n| (n * stride + thread * (EVENTS / THREADS)) % EVENTS).collect();
    let batches: Vec<_> = numbers.chunks(BATCH).map(<[_]>::to_vec).collect();
    batches.into_iter().map(|numbers| numbers.into_iter().map(event).collect())
}

/// Active users on a store, in the month after the events; nothing is late.
pub fn activity<S>(store: Arc<S>) -> Activity
where
    S: ActivityQuery + ActivityStore + SnapshotStore + 'static,
{
    let clock = ManualClock::new(beginning().1.saturating_add(Duration::from_secs(30 * 86_400)));
    let policy = ActivityPolicy { late_window: None, ..ActivityPolicy::default() };
    Activity::with_policy(store, clock, policy)
}

/// The figures of some days, by the words of the rule.
fn oracle(days: Range<u64>) -> ActiveUsers {
    let events = || (0..EVENTS).map(|number| (number, plain(number)));
    let inside: Vec<_> = events().filter(|(_, (_, _, secs, _))| days.contains(&(secs / 86_400))).collect();
    let bound: BTreeSet<_> = inside
        .iter()
        .filter(|(_, (_, user, ..))| user.is_some())
        .map(|(_, (install, ..))| *install)
        .collect();
    let mut people: BTreeMap<_, Option<(u64, u64, u64)>> = BTreeMap::new();
    for (number, (install, user, secs, province)) in inside {
        if user.is_none() && bound.contains(&install) {
            continue;
        }
        let person = user.map_or(("i", install), |user| ("u", user));
        let named = province.map(|province| (secs, number, province));
        let last = people.entry(person).or_default();
        *last = named.max(*last);
    }
    let mut by_province = BTreeMap::new();
    for (_, _, province) in people.values().flatten() {
        *by_province.entry(format!("P{province:02}")).or_default() += 1;
    }
    ActiveUsers { count: people.len() as u64, by_province, by_city: BTreeMap::new() }
}

/// Checks the figures of each day and of the week by the words of the rule, and each day against the event log.
///
/// # Panics
///
/// They differ, or a day has none.
pub async fn assert_figures(activity: &Activity) {
    let (first, _) = beginning();
    let days: Vec<_> = first.iter_days().take(DAYS as usize).collect();
    let week = Period::new(first, days[days.len() - 1]).expect("a week");
    let stats = activity.stats(week).await.expect("a store that works");
    assert_eq!(stats.iter().map(|stats| stats.day).collect::<Vec<_>>(), days);
    for (day, stats) in (0..).zip(stats) {
        assert_eq!(stats.active, oracle(day..day + 1), "{}", stats.day);
        assert!(stats.active.count > 3000 && stats.active.by_province.len() == 32, "{}", stats.active.count);
        assert!(activity.audit(stats.day).await.expect("a day that is kept").agrees(), "{}", stats.day);
    }
    assert_eq!(activity.active_users(week).await.expect("a store that works"), oracle(0..DAYS));
}
