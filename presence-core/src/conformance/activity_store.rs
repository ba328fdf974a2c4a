//! The promises of [`ActivityStore`](crate::ActivityStore).

use chrono::NaiveDate;
use futures_util::future::join_all;

use super::{
    Activities,
    case::{at, user},
    checkpoint_query::pages_without_gaps,
};
use crate::{
    ActiveUsers, Appended, DayMark, DayMarks, EventId, EventLog, EventName, EventProperties, EventRank,
    Figures, Fingerprint, Horizon, IdentityFold, InstallId, NewEvent, Period, Place, Record, Region,
    RegionName, Retired, Sighting, UserId, Window,
};

pub(super) fn day(text: &str) -> NaiveDate {
    text.parse().expect("a day of a case")
}

fn install(name: &str) -> InstallId {
    InstallId::new(name).expect("an install of a case")
}

pub(super) fn period(first: &str, last: &str) -> Period {
    Period::new(day(first), day(last)).expect("a period of a case")
}

const ALWAYS: (&str, &str) = ("2025-01-01", "2025-12-31");

/// An event of an install and a user, or `-`, that does not count.
pub(super) fn event(id: &str, on: &str, by: &str, millis: i64) -> NewEvent {
    NewEvent {
        event_id: EventId::new(id).expect("an event id of a case"),
        fingerprint: Fingerprint::of(&[id.as_bytes(), on.as_bytes(), by.as_bytes()]),
        user: Some(by).filter(|by| *by != "-").map(user),
        install: install(on),
        name: EventName::new("app_session_start").expect("a name"),
        at: at(millis),
        created_at: at(millis + 5),
        properties: None,
        sighting: None,
    }
}

/// The same, counted on a day, in a province or `-`.
pub(super) fn counted(
    id: &str,
    on: &str,
    by: &str,
    millis: i64,
    counted_on: &str,
    province: &str,
) -> NewEvent {
    let event = event(id, on, by, millis);
    let name = RegionName::parse(province).filter(|_| province != "-");
    let region = name.map(|name| Region { at: event.at, rank: EventRank::of(&event.event_id), name });
    let sighting = Sighting {
        day: day(counted_on),
        install: event.install.clone(),
        user: event.user.clone(),
        province: region.clone(),
        city: region.filter(|region| region.name.as_str() != "nowhere"),
    };
    NewEvent { sighting: Some(sighting), ..event }
}

pub(super) async fn append(store: &dyn Activities, events: Vec<NewEvent>) -> Vec<Appended> {
    store.append(events).await.expect("a store that works")
}

pub(super) async fn fold(store: &dyn Activities, period: Period) -> ActiveUsers {
    let (fold, after) = store
        .fold(period, None, usize::from(u16::MAX), IdentityFold::new())
        .await
        .expect("a store that works");
    assert_eq!(after, None, "a case has few sightings");
    fold.finish()
}

async fn stale(store: &dyn Activities) -> Vec<String> {
    let stale = store.stale(100).await.expect("a store that works");
    assert!(stale.iter().all(DayMark::is_stale));
    stale.iter().map(|mark| mark.day.to_string()).collect()
}

async fn mark(store: &dyn Activities, of: &str) -> DayMark {
    let marks = store.day_marks(period(of, of)).await.expect("a store that works");
    marks.days.first().copied().unwrap_or_else(|| DayMark::new(day(of)))
}

pub(super) async fn events(store: &dyn Activities) -> Vec<EventLog> {
    store.events(Window::all(), None, 1000).await.expect("a store that works")
}

pub(super) fn figures(mark: DayMark, count: u64) -> Figures {
    let sums = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), count)).collect();
    let active = ActiveUsers { count, by_province: sums(&["Hunan", "湖南 \"x\""]), by_city: sums(&[]) };
    Figures { mark, active, calculated_at: at(1_000_000), events: Vec::new() }
}

async fn save(store: &dyn Activities, mark: DayMark, count: u64) -> bool {
    store.save(figures(mark, count)).await.expect("a store that works")
}

fn provinces(active: &ActiveUsers) -> Vec<(&str, u64)> {
    active.by_province.iter().map(|(name, sum)| (name.as_str(), *sum)).collect()
}

/// See [`ActivityStore::append`](crate::ActivityStore::append).
pub async fn an_event_is_stored_once(store: &dyn Activities) {
    let first = counted("a", "phone-4711", "alice", 10, "2025-03-01", "Hunan");
    let other = counted("b", "phone-4711", "alice", 10, "2025-03-01", "Hunan");
    let outcomes = append(store, vec![first.clone(), other.clone(), first.clone()]).await;
    assert_eq!(outcomes, [Appended::Stored, Appended::Stored, Appended::Repeated]);
    let changes = mark(store, "2025-03-01").await.changes;
    let later = NewEvent { at: at(99), created_at: at(999), ..first.clone() };
    assert_eq!(append(store, vec![other, first, later]).await, [Appended::Repeated; 3], "also much later");
    let stored = events(store).await;
    let names: Vec<_> = stored.iter().map(|event| (event.event_id.as_str(), event.at.as_millis())).collect();
    assert_eq!(names, [("a", 10), ("b", 10)]);
    assert_eq!(mark(store, "2025-03-01").await.changes, changes);
}

/// See [`ActivityStore::append`](crate::ActivityStore::append).
pub async fn an_event_id_with_another_body_is_told(store: &dyn Activities) {
    let first = event("a", "phone-4711", "alice", 10);
    let mut other = counted("a", "phone-4711", "alice", 20, "2025-03-01", "Hunan");
    other.fingerprint = Fingerprint::of(&[b"another body"]);
    let last = event("b", "phone-4711", "alice", 30);
    assert_eq!(
        append(store, vec![first, other, last]).await,
        [Appended::Stored, Appended::Reused, Appended::Stored]
    );
    assert_eq!(events(store).await.len(), 2);
    assert_eq!(fold(store, period(ALWAYS.0, ALWAYS.1)).await.count, 0, "nor has it left a sighting");
    assert_eq!(stale(store).await, Vec::<String>::new());
}

/// See [`ActivityStore::append`](crate::ActivityStore::append).
pub async fn event_ids_belong_to_a_person(store: &dyn Activities) {
    let same = |on, by| event("same", on, by, 10);
    let people = vec![
        same("phone-4711", "alice"),
        same("phone-4711", "bob"),
        same("phone-4711", "-"),
        same("phone-4712", "-"),
        same("phone-4713", "phone-4711"), // a user of this name is no install
    ];
    assert_eq!(append(store, people).await, [Appended::Stored; 5]);
    let mut elsewhere = same("tablet-0815", "alice");
    assert_eq!(
        append(store, vec![elsewhere.clone()]).await,
        [Appended::Reused],
        "alice is one on all installs"
    );
    elsewhere.fingerprint = same("phone-4711", "alice").fingerprint;
    assert_eq!(append(store, vec![elsewhere]).await, [Appended::Repeated]);
    assert_eq!(events(store).await.len(), 5);
}

/// See [`ActivityStore::append`](crate::ActivityStore::append).
pub async fn sightings_merge_in_any_order(store: &dyn Activities) {
    // Per day: two events of one person, the later of which tells the province. The city is only in the first.
    let pairs = [
        ("2025-03-01", (10, "a", "Hunan"), (20, "b", "Hubei")),
        ("2025-03-02", (20, "b", "Hubei"), (10, "a", "Hunan")),
        ("2025-03-03", (10, "b", "Hubei"), (10, "a", "Hunan")), // one instant: the higher event
        ("2025-03-04", (10, "a", "Hunan"), (10, "b", "Hubei")),
        ("2025-03-05", (20, "b", "Hubei"), (30, "c", "-")), // nothing is said later
        ("2025-03-06", (30, "c", "-"), (20, "b", "Hubei")),
    ];
    for (number, (on, first, second)) in pairs.into_iter().enumerate() {
        for (millis, id, province) in [first, second] {
            let id = format!("{number}-{id}");
            let mut event = counted(&id, "phone-4711", "alice", millis, on, province);
            // The rank of these ids goes by their letter.
            event.event_id = EventId::new(id).expect("an id");
            append(store, vec![event]).await;
        }
        assert_eq!(provinces(&fold(store, period(on, on)).await), [("Hubei", 1)], "{on}");
    }
    let parts = [("x", 10, "nowhere"), ("y", 5, "Hunan"), ("z", 1, "Hubei")];
    for (id, millis, province) in parts {
        append(store, vec![counted(id, "phone-4711", "-", millis, "2025-03-07", province)]).await;
    }
    let active = fold(store, period("2025-03-07", "2025-03-07")).await;
    assert_eq!(provinces(&active), [("nowhere", 1)]);
    assert_eq!(
        active.by_city.into_iter().collect::<Vec<_>>(),
        [("Hunan".to_owned(), 1)],
        "each kind by itself"
    );
}

/// See [`ActivityStore::append`](crate::ActivityStore::append).
pub async fn only_news_makes_a_day_stale(store: &dyn Activities) {
    let on = "2025-03-01";
    let mut changes = 0;
    let steps = [
        (event("n", "phone-4711", "alice", 10), false),
        (counted("a", "phone-4711", "alice", 10, on, "-"), true),
        (counted("b", "phone-4711", "alice", 20, on, "-"), false),
        (counted("c", "phone-4711", "alice", 20, on, "Hunan"), true),
        (counted("d", "phone-4711", "alice", 15, on, "Hubei"), false),
        (counted("e", "phone-4711", "alice", 30, on, "Hunan"), true), // the same, but later
        (counted("f", "phone-4711", "-", 30, on, "-"), true),
        (counted("g", "phone-4712", "alice", 30, on, "-"), true),
        (counted("h", "phone-4712", "alice", 30, on, "-"), false),
    ];
    for (event, is_news) in steps {
        let id = event.event_id.clone();
        append(store, vec![event]).await;
        let after = mark(store, on).await;
        assert_eq!(after.changes > changes, is_news, "{id}");
        changes = after.changes;
        assert!(save(store, after, 1).await);
        assert!(!mark(store, on).await.is_stale(), "{id}");
    }
}

/// See [`ActivityStore::append`](crate::ActivityStore::append).
pub async fn racing_appends_store_each_event_once(store: &dyn Activities) {
    let batch = |from: usize| {
        let ids = (0..40).map(|n| (n + from) % 40);
        ids.map(|n| counted(&format!("e{n}"), "phone-4711", "alice", n as i64, "2025-03-01", "Hunan"))
            .collect()
    };
    let outcomes = join_all((0..8).map(|from| append(store, batch(from * 5)))).await;
    let stored = outcomes.iter().flatten().filter(|outcome| **outcome == Appended::Stored).count();
    let repeated = outcomes.iter().flatten().filter(|outcome| **outcome == Appended::Repeated).count();
    assert_eq!((stored, repeated), (40, 280));
    assert_eq!(events(store).await.len(), 40);
}

/// See [`ActivityStore::append`](crate::ActivityStore::append).
pub async fn what_was_sent_comes_back_as_it_was(store: &dyn Activities) {
    let names = ["o'brien", "日本", "a\"b\\c", "É", "é"];
    let mut sent = Vec::new();
    for (millis, name) in (1..).zip(names) {
        let mut event = counted(name, "phone-4711", name, millis, "2025-03-01", name);
        event.name = EventName::new("Click_2").expect("a name");
        event.properties = Some(
            EventProperties::parse(&format!(r#"{{"é":"{}'","n":[1,2.5]}}"#, "ü".repeat(500)))
                .expect("an object"),
        );
        sent.push(event);
    }
    append(store, sent.clone()).await;
    let stored = events(store).await;
    assert_eq!(stored.len(), sent.len());
    for (stored, sent) in stored.iter().zip(&sent) {
        let EventLog { id, event_id, user, install, name, at, created_at, properties } = stored;
        assert!(*id > 0);
        assert_eq!((event_id, user, install, name), (&sent.event_id, &sent.user, &sent.install, &sent.name));
        assert_eq!((at, created_at, properties), (&sent.at, &sent.created_at, &sent.properties));
    }
    let active = fold(store, period(ALWAYS.0, ALWAYS.1)).await;
    let mut expected: Vec<_> = names.map(|name| (name, 1)).to_vec();
    expected.sort_unstable();
    assert_eq!((active.count, provinces(&active)), (5, expected));
}

/// See [`ActivityStore::stale`](crate::ActivityStore::stale).
pub async fn stale_days_come_newest_first(store: &dyn Activities) {
    for (id, on) in [("a", "2025-03-01"), ("b", "2025-03-03"), ("c", "2024-12-31"), ("d", "2025-03-02")] {
        append(store, vec![counted(id, "phone-4711", "alice", 10, on, "-")]).await;
    }
    assert_eq!(stale(store).await, ["2025-03-03", "2025-03-02", "2025-03-01", "2024-12-31"]);
    let two = store.stale(2).await.expect("a store that works");
    assert_eq!(two.iter().map(|mark| mark.day).collect::<Vec<_>>(), [day("2025-03-03"), day("2025-03-02")]);
    assert!(save(store, two[0], 1).await);
    assert_eq!(stale(store).await, ["2025-03-02", "2025-03-01", "2024-12-31"]);
}

/// See [`ActivityStore::marks`](crate::ActivityStore::day_marks).
pub async fn marks_tell_what_figures_are_worth(store: &dyn Activities) {
    let all = period("2025-03-01", "2025-03-31");
    assert_eq!(store.day_marks(all).await.expect("a store that works"), DayMarks::default());
    for (id, on) in [("a", "2025-02-28"), ("b", "2025-03-01"), ("c", "2025-03-31"), ("d", "2025-04-01")] {
        append(store, vec![counted(id, "phone-4711", "alice", 10, on, "-")]).await;
    }
    assert!(
        save(store, DayMark::new(day("2025-03-07")), 0).await,
        "a day without sightings can have figures too"
    );
    assert!(save(store, mark(store, "2025-03-31").await, 1).await);
    let marks = store.day_marks(all).await.expect("a store that works");
    let told: Vec<_> =
        marks.days.iter().map(|mark| (mark.day.to_string(), mark.version, mark.is_stale())).collect();
    let expected = [("2025-03-01", 0, true), ("2025-03-07", 1, false), ("2025-03-31", 1, false)];
    assert_eq!(told, expected.map(|(day, version, is_stale)| (day.to_owned(), version, is_stale)));
    assert_eq!(marks.kept_from, None);
}

/// See [`ActivityStore::fold`](crate::ActivityStore::fold).
pub async fn folding_in_pages_sees_each_sighting_once(store: &dyn Activities) {
    let mut sent = Vec::new();
    for (n, on) in (0..).zip(["2025-02-28", "2025-03-01", "2025-03-02", "2025-03-04", "2025-03-05"]) {
        for (m, (phone, by)) in (0..).zip([
            ("phone-000b", "-"),
            ("phone-000B", "bob"),
            ("phone-000b", "alice"),
            ("phone_000a", "-"),
        ]) {
            sent.push(counted(&format!("{n}-{m}"), phone, by, n, on, "Hunan"));
        }
    }
    append(store, sent).await;
    let three = period("2025-03-01", "2025-03-04");
    for limit in 1..=13 {
        let (mut fold, mut after, mut pages) = (IdentityFold::new(), None, 0);
        loop {
            (fold, after) = store.fold(three, after, limit, fold).await.expect("a store that works");
            pages += 1;
            let Some(place) = &after else { break };
            assert!(three.contains(place.day) && pages <= 12, "{place:?}");
        }
        // Twelve sightings, and one more call where the last page was full.
        assert_eq!(pages, 12 / limit + 1, "in pages of {limit}");
        let active = fold.finish();
        assert_eq!((active.count, provinces(&active)), (3, vec![("Hunan", 3)]), "alice, bob and one phone");
    }
}

/// See [`ActivityStore::save`](crate::ActivityStore::save).
pub async fn figures_are_saved_on_the_version_they_were_folded_on(store: &dyn Activities) {
    let on = "2025-03-01";
    append(store, vec![counted("a", "phone-4711", "alice", 10, on, "-")]).await;
    let first = mark(store, on).await;
    assert!(save(store, first, 3).await);
    assert!(!save(store, first, 4).await, "somebody was faster");
    assert!(!save(store, DayMark { version: 7, ..first }, 4).await);
    let second = mark(store, on).await;
    assert_eq!((first.version, second.version), (0, 1));
    assert!(save(store, second, 3).await, "the same figures once more");
    assert_eq!(mark(store, on).await.version, 2);
    assert_eq!(mark(store, "2025-03-02").await, DayMark::new(day("2025-03-02")));
}

/// See [`ActivityStore::save`](crate::ActivityStore::save).
pub async fn a_day_that_changed_while_it_was_folded_stays_stale(store: &dyn Activities) {
    let on = "2025-03-01";
    append(store, vec![counted("a", "phone-4711", "alice", 10, on, "-")]).await;
    let before = mark(store, on).await;
    append(store, vec![counted("b", "phone-4712", "bob", 10, on, "-")]).await;
    assert!(save(store, before, 1).await);
    assert_eq!(stale(store).await, [on]);
    assert!(save(store, mark(store, on).await, 2).await);
    assert_eq!(stale(store).await, Vec::<String>::new());
    assert!(save(store, DayMark { version: 2, changes: 0, ..before }, 2).await, "folded by somebody slow");
    assert_eq!(stale(store).await, Vec::<String>::new(), "what was folded stays folded");
}

/// See [`ActivityStore::save`](crate::ActivityStore::save).
pub async fn racing_saves_write_one(store: &dyn Activities) {
    let on = "2025-03-01";
    append(store, vec![counted("a", "phone-4711", "alice", 10, on, "-")]).await;
    for version in 0..3 {
        let before = mark(store, on).await;
        assert_eq!(before.version, version);
        let saved = join_all((0..8).map(|count| save(store, before, count))).await;
        assert_eq!(saved.iter().filter(|saved| **saved).count(), 1);
    }
}

fn horizon(first: &str, millis: i64) -> Horizon {
    Horizon { day: day(first), at: at(millis) }
}

async fn retire(store: &dyn Activities, before: Horizon, limit: usize) -> (u64, u64) {
    let Retired { events, sightings } = store.retire(before, limit).await.expect("a store that works");
    (events, sightings)
}

/// See [`ActivityStore::retire`](crate::ActivityStore::retire).
pub async fn retiring_takes_slices_and_leaves_figures(store: &dyn Activities) {
    for (n, on) in (1..).zip(["2025-03-01", "2025-03-02", "2025-03-03"]) {
        let people = ["alice", "bob", "-"];
        let sent = people.map(|by| counted(&format!("{by}{n}"), "phone-4711", by, n * 100, on, "-"));
        append(store, sent.to_vec()).await;
        assert!(save(store, mark(store, on).await, 2).await);
    }
    let before = horizon("2025-03-03", 300);
    assert_eq!(
        retire(store, horizon("2025-03-01", 100), 100).await,
        (0, 0),
        "nothing lies before its beginning"
    );
    let mut gone = (0, 0);
    for slice in [5, 5, 2, 0, 0] {
        let (events, sightings) = retire(store, before, 5).await;
        assert_eq!(events + sightings, slice);
        gone = (gone.0 + events, gone.1 + sightings);
    }
    assert_eq!(gone, (6, 6));
    assert_eq!(events(store).await.iter().map(|event| event.at.as_millis()).collect::<Vec<_>>(), [300; 3]);
    assert_eq!(fold(store, period(ALWAYS.0, ALWAYS.1)).await.count, 2);
    let days = store.days(period(ALWAYS.0, ALWAYS.1)).await.expect("a store that works");
    assert_eq!(days.iter().map(|day| (day.mark.version, day.active.count)).collect::<Vec<_>>(), [(1, 2); 3]);
    let again = event("alice1", "phone-4711", "alice", 100);
    assert_eq!(append(store, vec![again]).await, [Appended::Stored], "its id is forgotten with it");
}

/// See [`ActivityStore::retire`](crate::ActivityStore::retire).
pub async fn a_retired_day_is_as_it_was(store: &dyn Activities) {
    let on = "2025-03-01";
    append(store, vec![counted("a", "phone-4711", "alice", 100, on, "-")]).await;
    append(store, vec![counted("b", "phone-4711", "alice", 100, "2025-03-02", "-")]).await;
    let before = mark(store, on).await;
    assert!(save(store, before, 1).await);
    append(store, vec![counted("c", "phone-4712", "bob", 100, on, "-")]).await;
    assert_eq!(retire(store, horizon("2025-03-02", 0), 1).await, (0, 1), "one sighting of two");
    assert_eq!(stale(store).await, ["2025-03-02"], "what was not counted before is lost to the figures");
    let marks = store.day_marks(period(on, on)).await.expect("a store that works");
    assert_eq!(marks.kept_from, Some(day("2025-03-02")));
    assert_eq!(retire(store, horizon("2025-02-01", 0), 100).await, (0, 0));
    assert_eq!(
        store.day_marks(period(on, on)).await.expect("a store that works"),
        marks,
        "it never moves back"
    );
    assert!(!save(store, mark(store, on).await, 9).await);
    let late = counted("d", "phone-4713", "-", 100, on, "-");
    assert_eq!(append(store, vec![late]).await, [Appended::Stored]);
    assert_eq!(fold(store, period(on, on)).await.count, 1, "the other sighting of two");
    store.erase(&user("alice"), at(500)).await.expect("a store that works");
    store.erase(&user("bob"), at(500)).await.expect("a store that works");
    assert_eq!(fold(store, period(on, on)).await.count, 0);
    assert_eq!(stale(store).await, ["2025-03-02"], "an erasure does not count it anew");
    let days = store.days(period(on, on)).await.expect("a store that works");
    assert_eq!(days.iter().map(|day| (day.mark.version, day.active.count)).collect::<Vec<_>>(), [(1, 1)]);
}

/// See [`ActivityStore`](crate::ActivityStore).
pub async fn an_erasure_takes_events_and_sightings_along(store: &dyn Activities) {
    append(
        store,
        vec![
            counted("a", "phone-4711", "alice", 10, "2025-03-01", "Hunan"),
            counted("b", "phone-4711", "-", 10, "2025-03-01", "Hubei"),
            counted("c", "phone-4712", "alice", 20, "2025-03-02", "Hunan"),
            event("d", "phone-4712", "alice", 30),
            counted("e", "phone-4711", "bob", 10, "2025-03-03", "Henan"),
        ],
    )
    .await;
    for on in ["2025-03-01", "2025-03-02", "2025-03-03"] {
        assert!(save(store, mark(store, on).await, 1).await);
    }
    let erasure = store.erase(&user("alice"), at(100)).await.expect("a store that works");
    assert_eq!(erasure.events, 3);
    let left = events(store).await;
    assert_eq!(left.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), ["b", "e"]);
    assert_eq!(stale(store).await, ["2025-03-02", "2025-03-01"]);
    let active = fold(store, period(ALWAYS.0, ALWAYS.1)).await;
    assert_eq!((active.count, provinces(&active)), (1, vec![("Henan", 1)]), "bob holds the phone now");
    let active = fold(store, period("2025-03-01", "2025-03-01")).await;
    assert_eq!((active.count, provinces(&active)), (1, vec![("Hubei", 1)]), "somebody was there");
    assert_eq!(store.export(&user("alice"), None, 100).await.expect("a store that works"), []);
    let again = store.erase(&user("alice"), at(100)).await.expect("a store that works");
    assert_eq!(again.events, 0);
}

/// See [`ActivityStore`](crate::ActivityStore).
pub async fn events_up_to_an_erasure_are_refused(store: &dyn Activities) {
    store.erase(&user("alice"), at(100)).await.expect("a store that works");
    let on = "2025-03-01";
    let outcomes = append(
        store,
        vec![
            counted("a", "phone-4711", "alice", 99, on, "-"),
            counted("b", "phone-4711", "alice", 100, on, "-"),
            counted("c", "phone-4711", "bob", 99, on, "-"),
            counted("d", "phone-4711", "-", 99, on, "-"),
            counted("b", "phone-4711", "alice", 101, on, "-"),
        ],
    )
    .await;
    use Appended::{Erased, Stored};
    assert_eq!(outcomes, [Erased, Erased, Stored, Stored, Stored]);
    assert_eq!(events(store).await.len(), 3);
    assert_eq!(fold(store, period(on, on)).await.count, 2);
}

/// See [`ActivityStore`](crate::ActivityStore).
pub async fn an_export_holds_sightings_and_events(store: &dyn Activities) {
    let properties = EventProperties::parse(r#"{"city":"Changsha"}"#).expect("an object");
    let sent = vec![
        NewEvent {
            properties: Some(properties),
            ..counted("b", "phone-4711", "alice", 10, "2025-03-02", "Hunan")
        },
        counted("a", "phone-4712", "alice", 20, "2025-03-01", "-"),
        counted("c", "phone-4711", "alice", 30, "2025-03-01", "-"),
        counted("d", "phone-4711", "bob", 10, "2025-03-01", "-"),
        counted("e", "phone-4711", "-", 10, "2025-03-01", "-"),
    ];
    append(store, sent.clone()).await;
    let alice: UserId = user("alice");
    let everything = store.export(&alice, None, 100).await.expect("a store that works");
    let sighting = |on, phone: &str| Place::Sighting(day(on), install(phone));
    let event = |id: &str| Place::Event(EventId::new(id).expect("an id"));
    let mut places: Vec<_> = everything.iter().map(Record::place).collect();
    let expected = [
        sighting("2025-03-01", "phone-4711"),
        sighting("2025-03-01", "phone-4712"),
        sighting("2025-03-02", "phone-4711"),
        event("a"),
        event("b"),
        event("c"),
    ];
    assert_eq!(places, expected);
    assert_eq!(everything[2], Record::Sighting(sent[0].sighting.clone().expect("counted")));
    let Record::Event(first) = &everything[4] else { panic!("{:?}", everything[4]) };
    assert_eq!((&first.properties, first.at), (&sent[0].properties, at(10)));
    pages_without_gaps(store, &alice, &everything).await;
    for record in everything {
        let line = serde_json::to_string(&record).expect("JSON");
        assert_eq!(serde_json::from_str::<Record>(&line).expect("a record"), record, "{line}");
        places.retain(|place| *place != record.place());
    }
    assert_eq!(places, []);
}
