//! A life whose days are summed up now and then: at each instant, the days say what the status says.

use std::{sync::Arc, time::Duration};

use super::Summaries;
use crate::{
    Beats, Clock, Envelope, Heartbeat, ManualClock, Policy, StateType, Timestamp, Tracker, UserId, Window,
    Zone,
};

/// The zones that are asked for. St. John's set its clock back over midnight when the life begins, so that two of its
/// days come in two pieces.
const ZONES: [&str; 3] = ["UTC", "America/St_Johns", "Asia/Kolkata"];
/// Midnight of 2006-10-28 in UTC, in seconds.
const BEGIN: i64 = 1_161_993_600;
/// The last second of a life, about three weeks after the first one.
const END: i64 = BEGIN + 21 * 86_400;
const STATES: [StateType; 4] = [StateType::Working, StateType::Idle, StateType::Offline, StateType::Sleeping];

/// Something that happens to the user, or to the node.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Time passes, in seconds.
    Wait(u32),
    /// A report of one of some states comes this many seconds late.
    Report(usize, u32),
    /// A heartbeat, which may stay in memory.
    Beat,
    /// A heartbeat that comes this many seconds late.
    LateBeat(u32),
    /// What is in memory is written.
    Flush,
    /// Silences are concluded.
    Sweep,
    /// A step of the job, in the zone of this number.
    Summarise(usize),
    /// Another heartbeat timeout, in seconds; 0 is none. The node starts anew for it, and forgets what is in memory.
    Timeout(u32),
    /// Everything about the user is removed.
    Erase,
}

/// One user on a store, and a node that sums up days.
#[derive(Debug)]
pub struct Life<S> {
    store: Arc<S>,
    clock: Arc<ManualClock>,
    timeout: u32,
    node: Beats,
    user: UserId,
}

impl<S: Summaries + 'static> Life<S> {
    /// A life on an empty store.
    #[must_use]
    pub fn on(store: Arc<S>) -> Self {
        let clock = Arc::new(ManualClock::new(instant(BEGIN)));
        let node = node(&store, &clock, 3600);
        let user = UserId::new("alice").expect("a name");
        Self { store, clock, timeout: 3600, node, user }
    }

    /// The same life, on the same store opened anew.
    #[must_use]
    pub fn continued_on(self, store: Arc<S>) -> Self {
        let node = node(&store, &self.clock, self.timeout);
        Self { node, store, ..self }
    }

    /// Lets it happen.
    pub async fn step(&mut self, step: Step) {
        let now = self.clock.now();
        let late =
            |secs: u32| now.saturating_sub(Duration::from_secs(secs.into())).max(instant(BEGIN - 86_400));
        let failed = "a store that works";
        match step {
            Step::Wait(secs) => {
                self.clock.set(now.saturating_add(Duration::from_secs(secs.into())).min(instant(END)));
            }
            Step::Report(state, secs) => {
                let state = STATES[state % STATES.len()].clone();
                let report = Envelope::checkpoint(self.user.clone(), state).at(late(secs));
                // Where an erasure came after it, it is refused.
                let _ = self.node.record(report).await;
            }
            Step::Beat => drop(self.node.beat(Heartbeat::of_user(self.user.clone())).await),
            Step::LateBeat(secs) => {
                let heartbeat = Envelope::heartbeat(self.user.clone()).at(late(secs));
                let _ = self.node.record(heartbeat).await;
            }
            Step::Flush => drop(self.node.flush().await.expect(failed)),
            Step::Sweep => drop(self.node.sweep(10).await.expect(failed)),
            Step::Summarise(zone) => {
                let zone = Zone::new(ZONES[zone % ZONES.len()]).expect("a zone");
                drop(self.node.tracker().summarise(&zone, None, 10).await.expect(failed));
            }
            Step::Timeout(secs) => {
                self.timeout = secs;
                self.node = node(&self.store, &self.clock, secs);
            }
            Step::Erase => drop(self.node.erase(&self.user).await.expect(failed)),
        }
    }

    /// Every day of every zone says what the status says about its spans.
    pub async fn assert_days_equal_status(&self) {
        for zone in ZONES {
            let zone = Zone::new(zone).expect("a zone");
            let first = zone.date_of(instant(BEGIN - 2 * 86_400));
            let last = zone.date_of(self.clock.now());
            let summaries = self.node.summaries(&self.user, first, last, &zone).await.expect("few days");
            let mut summaries = summaries.into_iter().peekable();
            for day in zone.days(first, last).expect("few days") {
                let mut expected = Vec::new();
                for span in day.spans() {
                    expected.extend(self.status(*span).await);
                }
                let told = summaries.next_if(|summary| summary.day == day);
                let told = told.map(|summary| summary.durations).unwrap_or_default();
                let mut told: Vec<_> = told.into_iter().map(|part| (part.state, part.duration)).collect();
                told.sort();
                assert_eq!(told, merged(expected), "{}, {}", zone.name(), day.date());
            }
            assert!(summaries.next().is_none(), "no day but those that were asked for");
        }
    }

    async fn status(&self, window: Window) -> Vec<(StateType, Duration)> {
        let status = self.node.status(&self.user, window).await.expect("a store that works");
        let durations = status.map(|status| status.durations).unwrap_or_default();
        durations.into_iter().map(|part| (part.state, part.duration)).collect()
    }
}

fn instant(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).expect("an instant of this age")
}

fn node<S: Summaries + 'static>(store: &Arc<S>, clock: &Arc<ManualClock>, timeout: u32) -> Beats {
    let heartbeat_timeout = Some(Duration::from_secs(timeout.into())).filter(|timeout| !timeout.is_zero());
    let policy = Policy { heartbeat_timeout, ..Policy::default() };
    let tracker = Tracker::with_policy(Arc::clone(store), Arc::clone(clock), policy);
    Beats::new(tracker.cached_by(Arc::clone(store) as _))
}

/// The sum of each state, by state.
fn merged(mut parts: Vec<(StateType, Duration)>) -> Vec<(StateType, Duration)> {
    parts.sort();
    parts.dedup_by(|later, sum| {
        let is_same = later.0 == sum.0;
        if is_same {
            sum.1 = sum.1.saturating_add(later.1);
        }
        is_same
    });
    parts
}
