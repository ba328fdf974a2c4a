//! Laws: what holds for all events in any order, checked against an oracle that shares no code with the fold.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, NaiveDate};
use futures_executor::block_on;
use presence_core::{
    ActiveUsers, ActivityPolicy, ActivityStore, CheckpointStore, ClientEvent, EventId, EventProperties,
    IdentityFold, Period, Timestamp,
};
use proptest::prelude::*;

use crate::world::{World, install, start, user};

/// An event, as plain as can be.
#[derive(Clone, Debug)]
struct Sent {
    id: u32,
    install: u8,
    user: Option<u8>,
    /// Seconds since the beginning of 2025.
    at: i64,
    province: Option<&'static str>,
    city: Option<&'static str>,
}

const BEGIN: i64 = 1_735_689_600;
const DAYS: i64 = 40;

fn sent() -> impl Strategy<Value = Sent> {
    let region = |names: &'static [&'static str]| proptest::option::of(proptest::sample::select(names));
    let who = (0..6_u8, proptest::option::of(0..5_u8));
    // Few instants, so that regions meet in the same second; and days far apart.
    let when = (0..DAYS, proptest::sample::select(vec![0_i64, 1, 40_000, 86_399]));
    let place = (region(&["Hunan", "Hubei", "", "湖南"]), region(&["Changsha", "Wuhan"]));
    (0..60_u32, who, when, place).prop_map(|(id, (install, user), (day, second), (province, city))| Sent {
        id,
        install,
        user,
        at: day * 86_400 + second,
        province,
        city,
    })
}

/// Some events with an id each, unique for everybody.
fn history() -> impl Strategy<Value = Vec<Sent>> {
    proptest::collection::vec(sent(), 0..60).prop_map(|mut events| {
        (0..).zip(&mut events).for_each(|(place, event)| event.id = event.id * 1000 + place);
        events
    })
}

fn event(sent: &Sent) -> ClientEvent {
    let mut event = ClientEvent::new(start(), install(&format!("{}", sent.install)))
        .at(Timestamp::from_secs(BEGIN + sent.at).expect("in range"))
        .with_event_id(EventId::new(format!("{:08}", sent.id)).expect("an event id"));
    if let Some(who) = sent.user {
        event = event.by(user(&format!("user-{who}")));
    }
    let mut properties = serde_json::Map::new();
    for (key, value) in [("province", sent.province), ("city", sent.city)] {
        value.map(|value| properties.insert(key.to_owned(), value.into()));
    }
    if !properties.is_empty() {
        let json = serde_json::Value::Object(properties).to_string();
        event = event.with_properties(EventProperties::parse(&json).expect("an object"));
    }
    event
}

/// The figures of some days, by the words of the rule: literally, and slowly.
fn oracle(events: &[Sent], days: std::ops::Range<i64>) -> ActiveUsers {
    let inside: Vec<_> = events.iter().filter(|event| days.contains(&(event.at / 86_400))).collect();
    let with_user: BTreeSet<_> =
        inside.iter().filter(|event| event.user.is_some()).map(|event| event.install).collect();
    let mut people = BTreeSet::new();
    for event in &inside {
        match event.user {
            Some(who) => people.insert(format!("u:{who}")),
            None if with_user.contains(&event.install) => false,
            None => people.insert(format!("i:{}", event.install)),
        };
    }
    let own = |person: &str| -> Vec<&&Sent> {
        let is_own = |event: &&&Sent| match event.user {
            Some(who) => person == format!("u:{who}"),
            None => person == format!("i:{}", event.install),
        };
        inside.iter().filter(is_own).collect()
    };
    let by = |region: fn(&Sent) -> Option<&'static str>| {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for person in &people {
            let own = own(person);
            let named = own.iter().filter(|event| region(event).is_some_and(|name| !name.is_empty()));
            let last = named.max_by_key(|event| (event.at, event.id)).and_then(|event| region(event));
            if let Some(name) = last {
                *sums.entry(name.to_owned()).or_default() += 1;
            }
        }
        sums
    };
    ActiveUsers {
        count: people.len() as u64,
        by_province: by(|event| event.province),
        by_city: by(|event| event.city),
    }
}

fn world() -> World {
    let world = World::with_policy(ActivityPolicy { late_window: None, ..ActivityPolicy::default() });
    world.clock.set(Timestamp::from_secs(BEGIN + DAYS * 86_400).expect("in range"));
    world
}

fn date(day: i64) -> NaiveDate {
    DateTime::from_timestamp_secs(BEGIN + day * 86_400).expect("in range").date_naive()
}

fn figures(world: &World) -> BTreeMap<NaiveDate, ActiveUsers> {
    world.refold();
    let all = Period::new(date(0), date(DAYS)).expect("a period");
    let stats = block_on(world.activity.stats(all)).expect("a store that works");
    stats.into_iter().map(|stats| (stats.day, stats.active)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_repetition_gives_the_figures_of_the_oracle(
        (events, shuffled) in history().prop_flat_map(|events| {
            let twice = [events.clone(), events.clone()].concat();
            (Just(events), Just(twice).prop_shuffle())
        }),
        batch in 1..20_usize,
        refold_every in 1..9_usize,
    ) {
        let world = world();
        for (number, batch) in shuffled.chunks(batch).enumerate() {
            let verdicts = world.ingest(batch.iter().map(event).collect());
            prop_assert!(verdicts.iter().all(|verdict| verdict.as_ref().is_ok_and(|logged| logged.is_counted)));
            if number % refold_every == 0 {
                world.refold();
            }
        }
        let expected: BTreeMap<_, _> = (0..DAYS)
            .map(|day| (date(day), oracle(&events, day..day + 1)))
            .filter(|(_, active)| active.count > 0)
            .collect();
        let figures = figures(&world);
        prop_assert_eq!(&figures, &expected);
        for (day, active) in figures {
            let sum: u64 = active.by_province.values().sum();
            prop_assert!(sum <= active.count && active.by_city.values().sum::<u64>() <= active.count);
            let audit = block_on(world.activity.audit(day)).expect("a day that is kept");
            prop_assert!(audit.agrees(), "{:?}", audit);
        }
    }

    #[test]
    fn weeks_months_and_trailing_days_equal_a_fold_of_the_raw_events(
        events in history().prop_shuffle(),
        of in 0..DAYS,
    ) {
        let world = world();
        let half = events.len() / 2;
        let periods = [
            Period::week(date(of)),
            Period::month(date(of)),
            Period::trailing(7, date(of)),
            Period::trailing(30, date(of)),
            Period::new(date(0), date(DAYS)),
        ];
        // Once in between, so that what is remembered is there to be wrong.
        for (part, known) in [(0..half, half), (half..events.len(), events.len()), (0..0, events.len())] {
            world.ingest(events[part].iter().map(event).collect());
            for period in periods.clone() {
                let period = period.expect("a period");
                let days = |day: NaiveDate| day.signed_duration_since(date(0)).num_days();
                let expected = oracle(&events[..known], days(period.first())..days(period.last()) + 1);
                prop_assert_eq!(world.active(Ok(period)), expected, "{:?}", period);
            }
        }
    }

    #[test]
    fn erased_users_are_gone_from_all_figures(events in history(), who in 0..5_u8) {
        let world = world();
        world.ingest(events.iter().map(event).collect());
        world.refold();
        let now = Timestamp::from_secs(BEGIN + DAYS * 86_400).expect("in range");
        let erasure = block_on(world.store.erase(&user(&format!("user-{who}")), now));
        let erased = erasure.expect("a store that works").events;
        let left: Vec<_> = events.iter().filter(|event| event.user != Some(who)).cloned().collect();
        prop_assert_eq!(erased as usize, events.len() - left.len());
        let figures = figures(&world);
        for day in 0..DAYS {
            let expected = oracle(&left, day..day + 1);
            prop_assert_eq!(figures.get(&date(day)).cloned().unwrap_or_default(), expected);
        }
        let refused = world.ingest(events.iter().map(event).collect());
        for (event, verdict) in events.iter().zip(refused) {
            let is_erased = matches!(verdict, Err(presence_core::Rejection::UserErased));
            prop_assert_eq!(is_erased, event.user == Some(who));
        }
    }
}

#[test]
fn a_fold_in_the_middle_of_an_ingest_is_made_good_by_the_next() {
    let world = world();
    let noon = |who: u8| Sent {
        id: who.into(),
        install: who,
        user: Some(who),
        at: 43_200,
        province: None,
        city: None,
    };
    world.ingest(vec![event(&noon(1))]);
    let stale = block_on(world.store.stale(10)).expect("a store that works");
    // Folded by a node that sees one person, while another one comes.
    let period = Period::day(date(0)).expect("a day");
    let fold = world.store.fold(period, None, 100, IdentityFold::new());
    let (fold, _) = block_on(fold).expect("a store that works");
    world.ingest(vec![event(&noon(2))]);
    let figures = presence_core::Figures {
        mark: stale[0],
        active: fold.finish(),
        calculated_at: Timestamp::MIN,
        events: Vec::new(),
    };
    assert!(block_on(world.store.save(figures)).expect("a store that works"));
    assert_eq!(world.stats("2025-01-01").map(|stats| stats.active.count), Some(1));
    assert_eq!(world.refold(), 1);
    assert_eq!(world.stats("2025-01-01").map(|stats| (stats.active.count, stats.version)), Some((2, 2)));
}

#[test]
fn thousands_of_sightings_are_folded_in_pages() {
    let world = world();
    let noon = Timestamp::from_secs(BEGIN + 43_200).expect("in range");
    let people = |from: u32| {
        let people = from..from + 12_345;
        people.map(|n| {
            ClientEvent::new(start(), install(&format!("install-{n:06}")))
                .at(noon.saturating_sub(Duration::from_secs(n.into())))
        })
    };
    world.ingest(people(0).chain(people(12_345)).collect());
    assert_eq!(world.count("2025-01-01"), 24_690);
}
