//! Days that are summed up ahead: the answers are those of the rows, at every instant, and cost less.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_executor::block_on;
use presence_core::{
    ClosedDay, DaySummary, Envelope, Fold, Kept, ManualClock, Mark, MemoryStore, Policy, Session, StateType,
    StoreError, SummaryCache, Timestamp, Tracker, UserId, Window, Zone,
    conformance::summed_life::{Life, Step},
};
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).expect("an instant of this age")
}

fn window(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to)).expect("in order")
}

/// One user, a timeout of a minute, days of UTC, and a job that has not run.
struct World {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    tracker: Tracker,
    user: UserId,
}

impl World {
    fn new(timeout: Option<Duration>) -> Self {
        let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryStore::new()));
        let policy = Policy { heartbeat_timeout: timeout, ..Policy::default() };
        let tracker = Tracker::with_policy(store.clone(), clock.clone(), policy).cached_by(store.clone());
        Self { clock, store, tracker, user: UserId::new("alice").expect("a name") }
    }

    fn now(&self, secs: i64) -> &Self {
        self.clock.set(at(secs));
        self
    }

    fn report(&self, state: StateType, secs: i64) -> &Self {
        let report = Envelope::checkpoint(self.user.clone(), state).at(at(secs));
        block_on(self.tracker.record(report)).expect("taken");
        self
    }

    /// How many days a step of the job sums up.
    fn summarise(&self) -> u64 {
        let step = block_on(self.tracker.summarise(&Zone::utc(), None, 10)).expect("a store that works");
        assert!(step.next.is_none() && step.corrupt.is_none());
        step.days
    }

    /// The days since 1970 that are kept.
    fn kept(&self) -> Vec<i64> {
        let kept = block_on(self.store.kept(&self.user, Window::all())).expect("a store that works");
        let days = kept.map(|kept| kept.days).unwrap_or_default();
        days.iter().map(|day| day.window.from().as_secs() / DAY).collect()
    }

    /// The days from the first of 1970 to its 100th: `0: Working 10, Idle 5`, in seconds.
    fn told(&self, tracker: &Tracker) -> Vec<String> {
        let (first, last) = ("1970-01-01", "1970-04-10");
        let (first, last) = (first.parse().expect("a date"), last.parse().expect("a date"));
        let days = block_on(tracker.summaries(&self.user, first, last, &Zone::utc()));
        days.expect("few days").iter().map(told).collect()
    }

    /// The days, which are those of the rows.
    fn days(&self) -> Vec<String> {
        let days = self.told(&self.tracker);
        let policy = self.tracker.policy().clone();
        let without = Tracker::with_policy(self.store.clone(), self.clock.clone(), policy);
        assert_eq!(days, self.told(&without), "with and without what is kept");
        days
    }
}

fn told(day: &DaySummary) -> String {
    let parts: Vec<_> =
        day.durations.iter().map(|part| format!("{} {}", part.state, part.duration.as_secs())).collect();
    format!("{}: {}", day.day.spans()[0].from().as_secs() / DAY, parts.join(", "))
}

#[test]
fn a_day_is_summed_up_once_its_end_lies_before_the_last_change() {
    let w = World::new(None);
    w.now(10 * DAY).report(StateType::Working, 100).report(StateType::Idle, DAY + 50);
    assert_eq!(w.summarise(), 1);
    assert_eq!(w.kept(), [0], "of the others, time still goes on in the last state");
    assert_eq!(w.summarise(), 0, "once");
    w.now(20 * DAY).report(StateType::Working, 3 * DAY).report(StateType::Offline, 15 * DAY);
    assert_eq!(w.summarise(), 1);
    assert_eq!(w.kept(), [0, 1], "a day in one state is not kept, and is computed");
    let days = w.days();
    assert_eq!(
        days[0..4],
        ["0: Working 86300", "1: Idle 86350, Working 50", "2: Idle 86400", "3: Working 86400"]
    );
    assert_eq!(days[15..], (15..20).map(|day| format!("{day}: Offline 86400")).collect::<Vec<_>>());
}

#[test]
fn what_is_kept_is_what_answers() {
    let w = World::new(None);
    w.now(10 * DAY).report(StateType::Working, 0).report(StateType::Idle, DAY - 10);
    w.report(StateType::Working, 2 * DAY);
    let rows = ["0: Working 86390, Idle 10", "1: Idle 86400", "2: Working 86400"];
    assert_eq!(w.days()[..3], rows);
    // A false sum shows where the answer comes from.
    let version = block_on(w.store.marks(None, 1)).expect("a store that works")[0].0.version;
    let days = vec![ClosedDay { window: window(0, DAY), closed: vec![(StateType::Sleeping, 7000)] }];
    let mark = Mark { zone: "UTC".to_owned(), resume_at: at(2 * DAY), due_at: at(3 * DAY) };
    let fold = Fold { user: w.user.clone(), version, mark, days, at: at(10 * DAY) };
    assert_eq!(block_on(w.store.keep(vec![fold])).expect("a store that works"), [true]);
    assert_eq!(w.told(&w.tracker)[..3], ["0: Sleeping 7", rows[1], rows[2]]);
    // And a late report corrects it: the day is not served from what was kept before.
    w.report(StateType::Offline, 5);
    assert_eq!(w.days()[..3], ["0: Offline 86385, Idle 10, Working 5", rows[1], rows[2]]);
}

#[test]
fn a_late_report_forgets_the_days_it_changes_and_no_others() {
    let w = World::new(None);
    w.now(40 * DAY);
    (0..60).for_each(|half| {
        let state = if half % 2 == 0 { StateType::Working } else { StateType::Idle };
        w.report(state, half * DAY / 2 + 100);
    });
    assert_eq!(w.summarise(), 29);
    w.report(StateType::Sleeping, 10 * DAY + 200);
    assert_eq!(w.kept(), (0..10).chain(11..29).collect::<Vec<_>>());
    assert_eq!(w.days()[10], "10: Idle 43200, Sleeping 43100, Working 100");
    assert!(w.summarise() > 0);
    assert_eq!(w.kept(), (0..29).collect::<Vec<_>>());
    assert_eq!(w.days()[10], "10: Idle 43200, Sleeping 43100, Working 100");
    // What is redundant, or comes after everything, changes no day that is over.
    w.report(StateType::Sleeping, 10 * DAY + 300).report(StateType::Working, 39 * DAY);
    assert_eq!(w.kept(), (0..29).collect::<Vec<_>>());
}

#[test]
fn a_report_before_all_others_changes_the_first_day() {
    let w = World::new(None);
    w.now(10 * DAY).report(StateType::Working, 2 * DAY + 100).report(StateType::Idle, 4 * DAY);
    assert_eq!(w.summarise(), 1);
    w.report(StateType::Sleeping, 2 * DAY + 40);
    assert_eq!(w.kept(), [0; 0]);
    assert_eq!(w.days()[0], "2: Working 86300, Sleeping 60");
    w.report(StateType::Sleeping, 60);
    assert_eq!(w.summarise(), 2);
    assert_eq!(w.days()[..3], ["0: Sleeping 86340", "1: Sleeping 86400", "2: Working 86300, Sleeping 100"]);
}

#[test]
fn a_silence_that_nobody_has_concluded_is_told_and_not_kept() {
    let w = World::new(Some(Duration::from_secs(60)));
    w.now(100).report(StateType::Working, 100);
    w.now(2 * DAY);
    assert_eq!(w.summarise(), 0);
    assert_eq!(w.days(), ["0: Offline 86240, Working 60", "1: Offline 86400"]);
    block_on(w.tracker.sweep(10)).expect("a store that works");
    assert_eq!(w.summarise(), 0, "the Offline goes on");
    w.now(2 * DAY + 5).report(StateType::Working, 2 * DAY + 5);
    assert_eq!(w.summarise(), 1);
    // A late heartbeat moves the silence, in a day that was summed up.
    w.now(3 * DAY);
    let late = Envelope::heartbeat(w.user.clone()).at(at(150));
    block_on(w.tracker.record(late)).expect("taken");
    assert_eq!(w.kept(), [0; 0]);
    assert_eq!(w.days()[0], "0: Offline 86190, Working 110");
}

#[test]
fn a_long_history_is_summed_up_in_several_steps() {
    let w = World::new(None);
    w.now(3000 * DAY);
    (0..2000).for_each(|half| {
        let state = if half % 2 == 0 { StateType::Working } else { StateType::Idle };
        w.report(state, half * DAY / 2 + 100);
    });
    let steps: Vec<_> = (0..5).map(|_| w.summarise()).collect();
    assert_eq!(steps, [366, 366, 267, 0, 0]);
    assert_eq!(w.kept(), (0..999).collect::<Vec<_>>());
    w.days();
}

#[test]
fn a_step_goes_from_user_to_user() {
    let w = World::new(None);
    w.now(10 * DAY);
    for name in ["alice", "bob", "carol"] {
        for (state, secs) in [(StateType::Working, 100), (StateType::Idle, 2 * DAY)] {
            let report = Envelope::checkpoint(UserId::new(name).expect("a name"), state).at(at(secs));
            block_on(w.tracker.record(report)).expect("taken");
        }
    }
    let step = |after: Option<&UserId>| {
        block_on(w.tracker.summarise(&Zone::utc(), after, 2)).expect("a store that works")
    };
    let first = step(None);
    assert_eq!((first.days, first.next.as_ref().map(UserId::as_str)), (2, Some("bob")));
    let second = step(first.next.as_ref());
    assert_eq!((second.days, second.next), (1, None));
    assert_eq!(step(None).days, 0);
}

#[test]
fn another_zone_is_summed_up_anew() {
    let w = World::new(None);
    w.now(10 * DAY).report(StateType::Working, 100).report(StateType::Idle, 2 * DAY + 50);
    assert_eq!(w.summarise(), 1);
    let tokyo = Zone::new("Asia/Tokyo").expect("a zone");
    let step = block_on(w.tracker.summarise(&tokyo, None, 10)).expect("a store that works");
    assert_eq!(step.days, 1);
    let kept = block_on(w.store.kept(&w.user, Window::all())).expect("a store that works").expect("alice");
    let windows: Vec<_> = kept.days.iter().map(|day| day.window).collect();
    assert_eq!(windows, [window(0, 15 * 3600)], "1970-01-01 in Tokyo, as far as time goes back");
    assert_eq!(w.days()[0], "0: Working 86300");
    assert_eq!(w.summarise(), 1, "and back");
}

/// A cache whose user reports something late just after it has answered.
struct Outrun {
    store: Arc<MemoryStore>,
    tracker: Tracker,
    late: Envelope,
}

#[async_trait]
impl SummaryCache for Outrun {
    async fn marks(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(Session, Option<Mark>)>, StoreError> {
        self.store.marks(after, limit).await
    }

    async fn keep(&self, folds: Vec<Fold>) -> Result<Vec<bool>, StoreError> {
        self.tracker.record(self.late.clone()).await.expect("taken");
        self.store.keep(folds).await
    }

    async fn kept(&self, user: &UserId, within: Window) -> Result<Option<Kept>, StoreError> {
        let kept = self.store.kept(user, within).await;
        self.tracker.record(self.late.clone()).await.expect("taken");
        kept
    }
}

impl World {
    /// The tracker, whose user reports `state` at `secs` whenever the cache was asked.
    fn outrun(&self, state: StateType, secs: i64) -> Tracker {
        let late = Envelope::checkpoint(self.user.clone(), state).at(at(secs));
        let cache = Outrun { store: self.store.clone(), tracker: self.tracker.clone(), late };
        self.tracker.clone().cached_by(Arc::new(cache))
    }
}

#[test]
fn a_report_between_the_two_questions_counts() {
    let w = World::new(None);
    w.now(10 * DAY).report(StateType::Working, 100).report(StateType::Idle, 2 * DAY);
    assert_eq!(w.summarise(), 1);
    let told = w.told(&w.outrun(StateType::Sleeping, 150));
    assert_eq!(told[0], "0: Sleeping 86250, Working 50", "not a mixture of before and after");
    assert_eq!(told, w.days());
}

#[test]
fn a_report_while_days_are_summed_up_counts() {
    let w = World::new(None);
    w.now(10 * DAY).report(StateType::Working, 100).report(StateType::Idle, 2 * DAY);
    let outrun = w.outrun(StateType::Sleeping, 150);
    let step = block_on(outrun.summarise(&Zone::utc(), None, 10)).expect("a store that works");
    assert_eq!((step.days, w.kept()), (0, vec![]), "what was summed up is true no more");
    assert_eq!(w.days()[0], "0: Sleeping 86250, Working 50");
    assert_eq!(w.summarise(), 1, "the next step sees to it");
}

fn step() -> impl Strategy<Value = Step> {
    let late = || prop_oneof![0..100_u32, 0..90_000_u32, 0..1_000_000_u32];
    prop_oneof![
        5 => prop_oneof![0..120_u32, 0..90_000_u32].prop_map(Step::Wait),
        5 => (any::<usize>(), late()).prop_map(|(state, late)| Step::Report(state, late)),
        3 => Just(Step::Beat),
        3 => late().prop_map(Step::LateBeat),
        2 => Just(Step::Flush),
        2 => Just(Step::Sweep),
        4 => any::<usize>().prop_map(Step::Summarise),
        1 => prop_oneof![Just(0), Just(60), Just(3600), Just(100_000)].prop_map(Step::Timeout),
        1 => Just(Step::Erase),
    ]
}

/// `PRESENCE_LAW_FACTOR=100` looks a hundred times longer than the everyday run.
fn cases(cases: u32) -> ProptestConfig {
    let factor = std::env::var("PRESENCE_LAW_FACTOR").map_or(1, |factor| factor.parse().expect("a number"));
    let cases = cases * factor;
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn days_say_what_the_status_says_at_every_instant(steps in prop::collection::vec(step(), 1..40)) {
        let mut life = Life::on(Arc::new(MemoryStore::new()));
        for step in steps {
            block_on(life.step(step));
            block_on(life.assert_days_equal_status());
        }
    }
}
