//! Scripts of events, and the figures they come to.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use futures_executor::block_on;
use presence_core::{
    ActiveUsers, Activity, ActivityPolicy, ClientEvent, DailyActiveStats, EventName, EventProperties,
    InstallId, Logged, ManualClock, MemoryStore, Period, Rejection, Timestamp, UserId, Zone,
};

pub(crate) fn at(text: &str) -> Timestamp {
    let at: DateTime<Utc> = text.parse().expect("an instant");
    Timestamp::from_datetime(at).expect("in range")
}

pub(crate) fn day(text: &str) -> NaiveDate {
    text.parse().expect("a day")
}

/// An install of a script: short names stand for longer ones.
pub(crate) fn install(name: &str) -> InstallId {
    InstallId::new(if name.len() < 8 { format!("install-{name}") } else { name.to_owned() })
        .expect("an install")
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user")
}

pub(crate) fn start() -> EventName {
    EventName::new("app_session_start").expect("a name")
}

/// An event of a script: `7/A` is user 7 on install A, `-/A` nobody known; `7/A:Hunan` names a province,
/// `7/A:Hunan:Changsha` a city too.
pub(crate) fn event(text: &str) -> ClientEvent {
    let (person, regions) =
        text.split_once(':').map_or((text, None), |(person, regions)| (person, Some(regions)));
    let (who, on) = person.split_once('/').expect("user/install");
    let mut event = ClientEvent::new(start(), install(on));
    if who != "-" {
        event = event.by(user(who));
    }
    if let Some(regions) = regions {
        let (province, city) = regions.split_once(':').unwrap_or((regions, ""));
        let json = serde_json::json!({ "province": province, "city": city }).to_string();
        event = event.with_properties(EventProperties::parse(&json).expect("an object"));
    }
    event
}

/// A store, and a clock that the story moves.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) activity: Activity,
}

impl World {
    /// In UTC, at noon of 2025-01-01.
    pub(crate) fn new() -> Self {
        Self::with_policy(ActivityPolicy::default())
    }

    pub(crate) fn in_zone(zone: &str) -> Self {
        Self::with_policy(ActivityPolicy {
            zone: Zone::new(zone).expect("a zone"),
            ..ActivityPolicy::default()
        })
    }

    pub(crate) fn with_policy(policy: ActivityPolicy) -> Self {
        let clock = Arc::new(ManualClock::new(at("2025-01-01T12:00:00Z")));
        let store = Arc::new(MemoryStore::new());
        let activity = Activity::with_policy(store.clone(), clock.clone(), policy);
        Self { clock, store, activity }
    }

    pub(crate) fn now(&self, text: &str) {
        self.clock.set(at(text));
    }

    pub(crate) fn ingest(&self, events: Vec<ClientEvent>) -> Vec<Result<Logged, Rejection>> {
        block_on(self.activity.ingest(events)).expect("a store that works")
    }

    /// Events a second apart, the last one now.
    pub(crate) fn given(self, script: &str) -> Self {
        self.then(script);
        self
    }

    pub(crate) fn then(&self, script: &str) {
        let words: Vec<_> = script.split_whitespace().collect();
        let now = presence_core::Clock::now(&*self.clock);
        let events = words.iter().rev().enumerate().map(|(back, word)| {
            event(word).at(now.saturating_sub(std::time::Duration::from_secs(back as u64)))
        });
        let mut events: Vec<_> = events.collect();
        events.reverse();
        for verdict in self.ingest(events) {
            assert!(verdict.expect("accepted").is_counted, "{script}");
        }
    }

    pub(crate) fn refold(&self) -> u64 {
        block_on(self.activity.refold(100)).expect("a store that works").days
    }

    pub(crate) fn stats(&self, on: &str) -> Option<DailyActiveStats> {
        let period = Period::day(day(on)).expect("a day");
        block_on(self.activity.stats(period)).expect("a store that works").into_iter().next()
    }

    /// The count of a day, after what is stale is counted anew.
    pub(crate) fn count(&self, on: &str) -> u64 {
        self.refold();
        self.stats(on).map_or(0, |stats| stats.active.count)
    }

    pub(crate) fn active(&self, period: Result<Period, Rejection>) -> ActiveUsers {
        block_on(self.activity.active_users(period.expect("a period"))).expect("a store that works")
    }
}

pub(crate) fn sums(sums: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    sums.iter().map(|(name, sum)| (name.as_str(), *sum)).collect()
}
