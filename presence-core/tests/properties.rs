//! Laws: what holds for every life, checked against an oracle that shares no code with the fold.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_executor::block_on;
use presence_core::{
    Ask, Beat, Checkpoint, CheckpointId, CheckpointQuery, CheckpointStore, Commit, Context, Envelope,
    Erasure, EventId, Facts, ManualClock, MemoryStore, Outcome, Place, Policy, Record, Session, StateType,
    StoreError, Timestamp, Tracker, UserId, Window,
};
use proptest::prelude::*;

/// An instant, in seconds.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).expect("an instant of this age")
}

/// The heartbeat timeout, in seconds.
const TIMEOUT: i64 = 10;
/// Lives are told up to this second, and looked at then.
const END: i64 = 200;

/// Something that a client sends.
#[derive(Clone, Debug)]
struct Sent {
    at: i64,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Heartbeat(Option<&'static str>),
    Report(String),
}

/// One step of a script: something arrives, or a sweep runs after the clock went on by some seconds.
#[derive(Clone, Debug)]
enum Step {
    Arrive(Sent),
    Sweep(i64),
}

/// The state at each second, told second by second from what was sent, in order of (instant, heartbeats first,
/// arrival). `None` before the first sign or report.
fn oracle(sent: &[Sent]) -> Vec<Option<String>> {
    let mut told = Vec::new();
    let mut state: Option<String> = None;
    let mut last_sign = i64::MIN;
    for second in 0..END {
        let now: Vec<_> = sent.iter().filter(|sent| sent.at == second).collect();
        let live = state.as_deref().is_some_and(|state| state != "Offline");
        let beats = now.iter().filter_map(|sent| match &sent.what {
            What::Heartbeat(state) => Some(state),
            What::Report(_) => None,
        });
        let reports: Vec<_> = now
            .iter()
            .filter_map(|sent| match &sent.what {
                What::Report(state) => Some(state.as_str()),
                What::Heartbeat(_) => None,
            })
            .collect();
        let signs = beats.clone().count() + reports.iter().filter(|state| **state != "Offline").count();
        if live && signs == 0 && second - last_sign >= TIMEOUT {
            state = Some("Offline".to_owned());
        }
        if live && second - last_sign > TIMEOUT {
            state = Some("Offline".to_owned());
        }
        if let Some(wakes_to) = beats.into_iter().next() {
            if state.as_deref().is_none_or(|state| state == "Offline") {
                state = Some(wakes_to.unwrap_or("Online").to_owned());
            }
            last_sign = second;
        }
        for report in reports {
            if report != "Offline" {
                last_sign = second;
            }
            state = Some(report.to_owned());
        }
        told.push(state.clone());
    }
    told
}

/// The state at each second by the rows that are stored, and the silence after them.
fn told(rows: &[Checkpoint], session: Option<&Session>) -> Vec<Option<String>> {
    let silent_from = session.filter(|session| session.current_state != StateType::Offline).map(|session| {
        (session.last_heartbeat.as_secs() + TIMEOUT, session.last_heartbeat.as_secs() + TIMEOUT < END)
    });
    (0..END)
        .map(|second| {
            let row = rows.iter().rev().find(|row| row.at.as_secs() <= second)?;
            let silent = silent_from.is_some_and(|(from, is_over)| is_over && second >= from);
            Some(if silent { "Offline".to_owned() } else { row.state.to_string() })
        })
        .collect()
}

/// A tracker on a store, one user, and a clock that follows what arrives.
struct Life {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    tracker: Tracker,
    user: UserId,
    now: i64,
}

impl Life {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::on(store.clone(), store)
    }

    fn on<S: CheckpointStore + CheckpointQuery + 'static>(seen: Arc<S>, store: Arc<MemoryStore>) -> Self {
        let policy = Policy { heartbeat_timeout: Some(Duration::from_secs(10)), ..Policy::default() };
        let clock = Arc::new(ManualClock::default());
        let tracker = Tracker::with_policy(seen, clock.clone(), policy);
        Self { clock, store, tracker, user: UserId::new("alice").expect("a name"), now: 0 }
    }

    fn go_to(&mut self, second: i64) {
        self.now = self.now.max(second);
        self.clock.set(at(self.now));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Sweep(later) => {
                self.go_to((self.now + later).min(END));
                block_on(self.tracker.sweep(10)).expect("a store that works");
            }
            Step::Arrive(sent) => {
                // One second on, so that no stamp lies in the current one.
                self.go_to(sent.at + 1);
                block_on(self.tracker.record(self.envelope(sent))).expect("an envelope in order");
            }
        }
    }

    fn envelope(&self, sent: &Sent) -> Envelope {
        let user = self.user.clone();
        let envelope = match &sent.what {
            What::Heartbeat(None) => Envelope::heartbeat(user),
            What::Heartbeat(Some(state)) => {
                Envelope::heartbeat_in(user, StateType::new(*state).expect("a state"))
            }
            What::Report(state) => {
                Envelope::checkpoint(user, StateType::new(state.as_str()).expect("a state"))
            }
        };
        envelope.at(at(sent.at))
    }

    fn rows(&self) -> Vec<Checkpoint> {
        let page = block_on(self.tracker.history(&self.user, Window::all(), None, 1000)).expect("a page");
        page.items.into_iter().rev().collect()
    }

    fn facts(&self, window: Window) -> Option<Facts> {
        block_on(self.store.facts(&self.user, &[window])).expect("a store that works")
    }

    fn session(&self) -> Option<Session> {
        self.facts(Window::all()).map(|facts| facts.session)
    }

    fn told(&self) -> Vec<Option<String>> {
        told(&self.rows(), self.session().as_ref())
    }

    /// The totals that commits kept, and the same from a scan of all rows.
    fn assert_totals(&self) {
        let kept = self.facts(Window::all()).map(|facts| facts.closed);
        let last_but_one = Timestamp::from_millis(Timestamp::MAX.as_millis() - 1).expect("in range");
        let scanned = self.facts(Window::new(Timestamp::MIN, last_but_one).expect("in order"));
        assert_eq!(
            kept,
            scanned.map(|facts| facts.closed),
            "totals kept in commits, and totals from all rows"
        );
    }

    /// Durations are conserved: their sum is the time from the first row to the end of the window.
    fn assert_conserved(&mut self, from: i64, to: i64) {
        self.go_to(END);
        let window = Window::new(at(from.min(to)), at(from.max(to))).expect("in order");
        let Some(status) = block_on(self.tracker.status(&self.user, window)).expect("a store that works")
        else {
            return;
        };
        let first = self.rows().first().map_or(END, |row| row.at.as_secs());
        let covered = (from.max(to).min(END) - from.min(to).max(first)).max(0);
        let sum: Duration = status.durations.iter().map(|part| part.duration).sum();
        assert_eq!(sum.as_millis(), covered as u128 * 1000, "conserved in {window:?}");
        assert!(status.durations.iter().all(|part| !part.duration.is_zero()), "no zeros");
    }
}

fn heartbeat() -> impl Strategy<Value = Sent> {
    let state = prop_oneof![4 => Just(None), 1 => Just(Some("Gaming")), 1 => Just(Some("Online"))];
    (0..150_i64, state).prop_map(|(at, state)| Sent { at, what: What::Heartbeat(state) })
}

/// Heartbeats, and reports that each change the state, in any order of arrival, with sweeps anywhere.
fn any_order() -> impl Strategy<Value = Vec<Step>> {
    let reports = prop::collection::vec(0..150_i64, 0..6).prop_map(|stamps| {
        let states = ["Working", "Idle", "Online", "Sleeping", "Reading", "Cooking"];
        let reports = stamps.into_iter().zip(states);
        reports.map(|(at, state)| Sent { at, what: What::Report(state.to_owned()) }).collect::<Vec<_>>()
    });
    let sent = (prop::collection::vec(heartbeat(), 0..24), reports)
        .prop_map(|(beats, reports)| [beats, reports].concat())
        .prop_shuffle();
    with_sweeps(sent)
}

fn with_sweeps(sent: impl Strategy<Value = Vec<Sent>>) -> impl Strategy<Value = Vec<Step>> {
    let sweeps = prop::collection::vec((any::<prop::sample::Index>(), 0..30_i64), 0..6);
    (sent, sweeps).prop_map(|(sent, sweeps)| {
        let mut steps: Vec<_> = sent.into_iter().map(Step::Arrive).collect();
        for (place, later) in sweeps {
            steps.insert(place.index(steps.len() + 1), Step::Sweep(later));
        }
        steps
    })
}

/// Reports in their own order, Offline and repeated states among them, with each heartbeat anywhere after the client
/// Offlines that are stamped before it.
fn offlines_in_order() -> impl Strategy<Value = Vec<Step>> {
    let states = prop::sample::select(vec!["Working", "Idle", "Online", "Offline"]);
    let reports = prop::collection::btree_map(0..150_i64, states, 0..8);
    let beats = prop::collection::vec((heartbeat(), any::<prop::sample::Index>()), 0..24);
    let sent = (reports, beats).prop_map(|(reports, beats)| {
        let report = |(at, state): (i64, &str)| Sent { at, what: What::Report(state.to_owned()) };
        let mut sent: Vec<_> = reports.into_iter().map(report).collect();
        for (beat, place) in beats {
            let is_earlier_offline =
                |sent: &Sent| sent.at <= beat.at && sent.what == What::Report("Offline".to_owned());
            let first = sent.iter().rposition(is_earlier_offline).map_or(0, |place| place + 1);
            sent.insert(first + place.index(sent.len() - first + 1), beat);
        }
        sent
    });
    with_sweeps(sent)
}

fn arrivals(steps: &[Step]) -> Vec<Sent> {
    let sent = steps.iter().filter_map(|step| match step {
        Step::Arrive(sent) => Some(sent.clone()),
        Step::Sweep(_) => None,
    });
    sent.collect()
}

/// `PRESENCE_LAW_FACTOR=100` looks a hundred times longer than the everyday run.
fn cases(cases: u32) -> ProptestConfig {
    let factor = std::env::var("PRESENCE_LAW_FACTOR").map_or(1, |factor| factor.parse().expect("a number"));
    let cases = cases * factor;
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn heartbeats_and_changes_give_the_same_timeline_in_any_order(steps in any_order()) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
            life.assert_totals();
        }
        prop_assert_eq!(life.told(), oracle(&arrivals(&steps)));
    }

    #[test]
    fn reports_in_order_give_the_same_timeline_wherever_the_heartbeats_come(steps in offlines_in_order()) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
            life.assert_totals();
        }
        prop_assert_eq!(life.told(), oracle(&arrivals(&steps)));
    }

    #[test]
    fn totals_equal_a_scan_where_many_instants_are_equal(sent in prop::collection::vec((0..6_i64, 0..5_usize), 0..30)) {
        let mut life = Life::new();
        life.go_to(END);
        for (at, what) in sent {
            let states = ["Working", "Idle", "Online", "Offline"];
            let what = states.get(what).map_or(What::Heartbeat(None), |state| What::Report((*state).to_owned()));
            life.step(&Step::Arrive(Sent { at: at * 4, what }));
            life.assert_totals();
        }
        life.assert_conserved(0, END);
    }

    #[test]
    fn time_is_conserved(steps in any_order(), more in offlines_in_order(), from in 0..END, to in 0..=END) {
        let mut life = Life::new();
        steps.iter().chain(&more).for_each(|step| life.step(step));
        life.assert_totals();
        life.assert_conserved(from, to);
        life.assert_conserved(0, END);
    }

    #[test]
    fn one_batch_is_the_same_as_one_by_one(steps in any_order(), more in offlines_in_order(), cuts in prop::collection::vec(1..9_usize, 1..9)) {
        let sent = [arrivals(&steps), arrivals(&more)].concat();
        let (mut batched, mut single) = (Life::new(), Life::new());
        for life in [&mut batched, &mut single] {
            life.go_to(END);
        }
        let mut rest = sent.as_slice();
        for cut in cuts.iter().cycle() {
            let (batch, later) = rest.split_at((*cut).min(rest.len()));
            let envelopes = batch.iter().map(|sent| batched.envelope(sent)).collect();
            block_on(batched.tracker.record_many(envelopes)).expect("a store that works");
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        sent.iter().for_each(|sent| single.step(&Step::Arrive(sent.clone())));
        batched.assert_totals();
        prop_assert_eq!(batched.told(), single.told());
    }

    #[test]
    fn a_repeated_request_changes_nothing(steps in any_order(), more in offlines_in_order()) {
        let mut life = Life::new();
        for (number, step) in steps.iter().chain(&more).enumerate() {
            let Step::Arrive(sent) = step else { life.step(step); continue };
            life.go_to(sent.at + 1);
            let event_id = EventId::new(format!("request-{number}")).expect("an event id");
            let envelope = life.envelope(sent).with_event_id(event_id);
            let first = block_on(life.tracker.record(envelope.clone())).expect("taken");
            let (rows, session) = (life.rows(), life.session());
            let again = block_on(life.tracker.record(envelope)).expect("taken");
            prop_assert_eq!((first.checkpoint, first.created), (again.checkpoint, again.created));
            prop_assert_eq!((rows, session), (life.rows(), life.session()));
        }
    }

    #[test]
    fn the_loaded_window_decides_like_the_whole_history(steps in any_order(), more in offlines_in_order()) {
        let store = Arc::new(MemoryStore::new());
        let mut windowed = Life::new();
        let mut whole = Life::on(Arc::new(WholeHistory(store.clone())), store);
        for step in steps.iter().chain(&more) {
            windowed.step(step);
            whole.step(step);
            prop_assert_eq!(windowed.rows(), whole.rows());
            let facts = |life: &Life| life.facts(Window::all()).map(|mut facts| {
                let live_since = facts.session.live_since;
                facts.session.live_since = at(0);
                (facts, live_since)
            });
            if let (Some((left, since)), Some((right, exact))) = (facts(&windowed), facts(&whole)) {
                let is_live = left.session.current_state.is_live();
                prop_assert_eq!(left, right);
                prop_assert!(!is_live || since >= exact, "life is never known for longer than it was");
            }
        }
    }
}

/// A store that loads the whole history for every decision.
struct WholeHistory(Arc<MemoryStore>);

#[async_trait]
impl CheckpointStore for WholeHistory {
    async fn load(&self, asks: Vec<Ask>) -> Result<Vec<Context>, StoreError> {
        let mut contexts = self.0.load(asks.clone()).await?;
        for (context, ask) in contexts.iter_mut().zip(asks) {
            context.rows = self.0.history(&ask.user, Window::all(), None, usize::MAX).await?;
            context.rows.reverse();
            context.run_start = context.rows.first().map(|row| row.at);
        }
        Ok(contexts)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit(commits).await
    }

    async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError> {
        CheckpointStore::touch(&*self.0, beats).await
    }

    async fn overdue(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, StoreError> {
        self.0.overdue(cutoff, limit).await
    }

    async fn erase(&self, user: &UserId, at: Timestamp) -> Result<Erasure, StoreError> {
        self.0.erase(user, at).await
    }
}

#[async_trait]
impl CheckpointQuery for WholeHistory {
    async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        self.0.facts(user, windows).await
    }

    async fn checkpoint(&self, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, StoreError> {
        self.0.checkpoint(user, id).await
    }

    async fn history(
        &self,
        user: &UserId,
        window: Window,
        before: Option<(Timestamp, CheckpointId)>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        self.0.history(user, window, before, limit).await
    }

    async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.0.export(user, after, limit).await
    }
}
