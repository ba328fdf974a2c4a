//! From the outbox to a sink: nothing is lost, what belongs together stays in order, and one sink waits for no other.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_executor::block_on;
use presence_core::{
    Delivered, Delivery, Envelope, Event, EventKind, ManualClock, MemoryStore, Outbox, OutboxQuery, Policy,
    Relay, RetryPolicy, Sink, SinkBooks, SinkError, SinkName, StateType, Step, Subscriptions, Timestamp,
    Tracker, UserId,
};
use proptest::prelude::*;

/// What a sink answers to the next batch.
#[derive(Clone, Debug)]
enum Answer {
    /// It takes as many, and the others later.
    Takes(usize),
    /// It fails, and asks for so many seconds.
    Fails(u64),
    /// It fails for ever.
    Gone,
}

/// A receiver that answers as it is told, then takes everything; it refuses whole batches that name somebody.
#[derive(Default)]
struct Receiver {
    answers: Mutex<VecDeque<Answer>>,
    unwanted: BTreeSet<&'static str>,
    /// Which of them it names by itself.
    names_the_unwanted: bool,
    /// The keys whose events it takes later.
    blocked: Mutex<BTreeSet<String>>,
    /// How much later.
    asks_for: Mutex<Duration>,
    batches: Mutex<Vec<usize>>,
    got: Mutex<Vec<Delivery>>,
}

impl Receiver {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() })
    }

    fn keys(&self) -> Vec<String> {
        self.got.lock().unwrap().iter().map(|delivery| delivery.event.key()).collect()
    }
}

#[async_trait]
impl Sink for Receiver {
    async fn deliver(&self, events: &[Delivery]) -> Result<Vec<Delivered>, SinkError> {
        self.batches.lock().unwrap().push(events.len());
        let is_unwanted =
            |delivery: &Delivery| self.unwanted.iter().any(|name| delivery.event.key() == *name);
        if !self.names_the_unwanted && events.iter().any(is_unwanted) {
            return Err(SinkError::Refused("unwanted".to_owned()));
        }
        let taken = match self.answers.lock().unwrap().pop_front() {
            Some(Answer::Fails(secs)) => return Err(SinkError::Later(Duration::from_secs(secs))),
            Some(Answer::Gone) => return Err(SinkError::Gone),
            Some(Answer::Takes(count)) => count,
            None => usize::MAX,
        };
        let (mut got, mut outcomes) = (self.got.lock().unwrap(), Vec::new());
        for delivery in events.iter().take(taken) {
            if self.blocked.lock().unwrap().contains(&delivery.event.key()) {
                outcomes.push(Delivered::Later(*self.asks_for.lock().unwrap()));
            } else if is_unwanted(delivery) {
                outcomes.push(Delivered::Refused("named".to_owned()));
            } else {
                got.push(delivery.clone());
                outcomes.push(Delivered::Accepted);
            }
        }
        Ok(outcomes)
    }
}

/// The same for two at once.
struct Pair(Arc<Receiver>);

#[async_trait]
impl Sink for Pair {
    fn batch(&self) -> usize {
        2
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<Vec<Delivered>, SinkError> {
        self.0.deliver(events).await
    }
}

struct World {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    tracker: Tracker,
    changes: AtomicU32,
}

fn name(sink: &str) -> SinkName {
    SinkName::new(sink).unwrap()
}

impl World {
    fn new(sinks: &[&str]) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000).unwrap()));
        let wanted =
            sinks.iter().fold(Subscriptions::none(), |all, sink| all.with(name(sink), EventKind::ALL));
        store.subscribe(wanted);
        // Nobody falls silent while it is waited.
        let policy = Policy { heartbeat_timeout: None, ..Policy::default() };
        let tracker = Tracker::with_policy(store.clone(), clock.clone(), policy);
        Self { tracker, store, clock, changes: AtomicU32::new(0) }
    }

    /// Changes the state of users, one after the other.
    fn change(&self, users: &[&str]) {
        for user in users {
            let user = UserId::new(*user).unwrap();
            let state = StateType::new(format!("state {}", self.changes.fetch_add(1, Relaxed))).unwrap();
            block_on(self.tracker.record(Envelope::checkpoint(user, state))).unwrap();
        }
    }

    fn relay(&self, sink: &str, node: &str, receiver: &Arc<Receiver>) -> Relay {
        self.relay_to(receiver.clone(), sink, node)
    }

    fn relay_to(&self, receiver: Arc<dyn Sink>, sink: &str, node: &str) -> Relay {
        let retry = RetryPolicy::default();
        Relay::new(self.store.clone(), receiver, self.clock.clone(), name(sink), node, retry)
    }

    fn now(&self) -> Timestamp {
        presence_core::Clock::now(&*self.clock)
    }

    fn pass(&self, secs: u64) {
        self.clock.set(self.now().saturating_add(Duration::from_secs(secs)));
    }

    fn books(&self, sink: &str) -> SinkBooks {
        block_on(self.store.books()).unwrap().into_iter().find(|books| books.sink.as_str() == sink).unwrap()
    }
}

fn step(relay: &Relay) -> Step {
    block_on(relay.step(0)).unwrap()
}

fn delivered(accepted: u64) -> Step {
    Step::Delivered { accepted, refused: 0 }
}

#[test]
fn what_happened_reaches_the_sink_once_and_in_order() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    let relay = w.relay("webhook", "one", &receiver);
    assert_eq!(step(&relay), Step::Idle);
    w.change(&["alice", "bob", "alice"]);
    assert_eq!(step(&relay), delivered(3));
    assert_eq!(step(&relay), Step::Idle);
    assert_eq!(receiver.keys(), ["u:alice", "u:bob", "u:alice"]);
    let ids: BTreeSet<_> = receiver.got.lock().unwrap().iter().map(|got| got.event_id.clone()).collect();
    assert_eq!(ids.len(), 3, "each has a name of its own");
    assert!(ids.iter().all(|id| !id.contains('.') && id.starts_with("evt_")));
}

#[test]
fn a_sink_that_fails_is_left_alone_for_longer_and_longer() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering(vec![Answer::Fails(0); 6]);
    let relay = w.relay("webhook", "one", &receiver);
    w.change(&["alice"]);
    let mut waits = Vec::new();
    loop {
        match block_on(relay.step(u32::MAX)).unwrap() {
            Step::Failed { until, .. } => {
                let wait = until.since(w.now()).as_secs();
                waits.push(wait);
                w.pass(wait - 1);
                assert_eq!(step(&relay), Step::Resting(until));
                w.pass(1);
            }
            done => break assert_eq!(done, delivered(1)),
        }
    }
    assert_eq!(waits, [5, 5, 5, 10, 20, 40]);
    assert_eq!(receiver.keys(), ["u:alice"]);
    // A success forgets the failures.
    receiver.answers.lock().unwrap().push_back(Answer::Fails(0));
    w.change(&["alice"]);
    let until = w.now().saturating_add(Duration::from_secs(5));
    assert_eq!(block_on(relay.step(u32::MAX)).unwrap(), Step::Failed { accepted: 0, refused: 0, until });
}

#[test]
fn a_sink_is_left_alone_as_long_as_it_asks() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([Answer::Fails(90)]);
    let relay = w.relay("webhook", "one", &receiver);
    w.change(&["alice"]);
    let until = w.now().saturating_add(Duration::from_secs(90));
    assert_eq!(step(&relay), Step::Failed { accepted: 0, refused: 0, until });
}

#[test]
fn what_was_taken_does_not_come_again_with_the_rest() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([Answer::Takes(2)]);
    let relay = w.relay("webhook", "one", &receiver);
    w.change(&["a", "b", "c", "d"]);
    let until = w.now().saturating_add(Duration::from_secs(5));
    assert_eq!(step(&relay), Step::Failed { accepted: 2, refused: 0, until });
    w.pass(5);
    assert_eq!(step(&relay), delivered(2));
    assert_eq!(receiver.keys(), ["u:a", "u:b", "u:c", "u:d"]);
}

#[test]
fn one_sink_that_fails_delays_no_other() {
    let w = World::new(&["broken", "fine"]);
    let (broken, fine) = (Receiver::answering([Answer::Fails(3600)]), Receiver::answering([]));
    let relays = [w.relay("broken", "one", &broken), w.relay("fine", "one", &fine)];
    for _ in 0..3 {
        w.change(&["alice"]);
        for relay in &relays {
            step(relay);
        }
    }
    assert_eq!(fine.keys().len(), 3);
    assert_eq!((w.books("broken").pending, w.books("fine").pending), (3, 0));
}

/// Somebody for whom much waits, and a relay that has delivered the first batch.
fn begun(w: &World, receiver: &Arc<Receiver>, count: usize) -> Relay {
    w.change(&vec!["alice"; count]);
    let relay = w.relay("webhook", "one", receiver);
    assert_eq!(step(&relay), delivered(500));
    relay
}

#[test]
fn what_was_claimed_ahead_is_claimed_again_when_it_is_old() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    let relay = begun(&w, &receiver, 1200);
    w.pass(1);
    assert_eq!(block_on(w.store.expire(w.now(), 10_000)).unwrap(), 1200);
    assert_eq!(step(&relay), Step::Idle, "none of it is delivered");
    assert_eq!(receiver.keys().len(), 500);
}

#[test]
fn a_crash_repeats_what_was_not_acknowledged_and_giving_up_repeats_nothing() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    let relay = begun(&w, &receiver, 1200);
    assert_eq!(step(&relay), delivered(500));
    assert_eq!(w.books("webhook").delivered, 500, "the first is acknowledged while the second is delivered");
    block_on(relay.release()).unwrap();
    assert_eq!(w.books("webhook").delivered, 1000);
    let other = w.relay("webhook", "two", &receiver);
    assert_eq!((step(&other), step(&other)), (delivered(200), Step::Idle));
    assert_eq!(receiver.keys().len(), 1200);

    block_on(other.release()).unwrap();
    drop(begun(&w, &receiver, 1200));
    let relay = w.relay("webhook", "one", &receiver);
    let steps: Vec<_> =
        std::iter::repeat_with(|| step(&relay)).take_while(|step| *step != Step::Idle).collect();
    assert_eq!(steps, [delivered(500), delivered(500), delivered(200)]);
    let got = receiver.got.lock().unwrap();
    let ids: BTreeSet<_> = got.iter().map(|delivery| &delivery.event_id).collect();
    assert_eq!((got.len(), ids.len()), (2900, 2400));
    assert_eq!(w.books("webhook").delivered, 2400);
}

#[test]
fn what_is_sent_again_does_not_wait_for_the_end_of_a_long_queue() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    w.change(&["early"]);
    let claim = presence_core::Claim {
        sink: name("webhook"),
        node: "one".to_owned(),
        now: w.now(),
        until: w.now().saturating_add(Duration::from_secs(60)),
        limit: 1,
        which: presence_core::Which::Oldest,
    };
    let early = block_on(w.store.claim(claim)).unwrap().unwrap().remove(0).number;
    block_on(w.store.nack(&name("webhook"), vec![(early, "no".to_owned())], w.now())).unwrap();
    let relay = begun(&w, &receiver, 12_000);
    block_on(w.store.requeue(&name("webhook"), None)).unwrap();
    let mut steps = 0;
    while !receiver.keys().contains(&"u:early".to_owned()) {
        assert!(matches!(step(&relay), Step::Delivered { .. }));
        steps += 1;
    }
    assert_eq!(steps, 21, "twenty were claimed ahead");
}

#[test]
fn a_key_that_is_not_taken_keeps_no_other_waiting_however_much_waits_for_it() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    let relay = w.relay("webhook", "one", &receiver);
    receiver.blocked.lock().unwrap().insert("u:blocked".to_owned());
    w.change(&["blocked"; 1200]);
    w.change(&["alice", "zoe"].repeat(400));
    let until = w.now().saturating_add(Duration::from_secs(5));
    assert_eq!(step(&relay), Step::Failed { accepted: 0, refused: 0, until });
    w.pass(5);
    // One event is tried of what is held, and then nothing stands in the way of the others.
    assert_eq!(step(&relay), delivered(499));
    assert_eq!(step(&relay), delivered(301));
    let Step::Resting(until) = step(&relay) else { panic!("something waits") };
    assert_eq!(until, w.now().saturating_add(Duration::from_secs(5)));
    let others = receiver.keys();
    assert_eq!((others.len(), w.books("webhook").pending), (800, 1200));
    w.change(&["zoe", "alice", "newcomer"]);
    assert_eq!(step(&relay), delivered(3), "at once");
    assert_eq!(receiver.batches.lock().unwrap().as_slice(), [500, 500, 301, 3]);
    // It has a rhythm of its own, and as long as it fails, all of it waits.
    let mut tries = Vec::new();
    for _ in 0..4 {
        let Step::Resting(until) = step(&relay) else { panic!("something waits") };
        w.clock.set(until);
        assert_eq!(step(&relay), Step::Resting(w.now().saturating_add(Duration::from_secs(5))));
        tries.push(receiver.batches.lock().unwrap().pop().unwrap());
    }
    assert_eq!(tries, [1; 4]);
    receiver.blocked.lock().unwrap().clear();
    w.pass(5);
    let mut late = 0;
    loop {
        match step(&relay) {
            Step::Idle => break,
            Step::Delivered { accepted, .. } => late += accepted,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((late, w.books("webhook").pending), (1200, 0));
    let got = receiver.got.lock().unwrap();
    let mut of_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for delivery in got.iter() {
        let Event::StateChanged { after, .. } = &delivery.event else { panic!("{delivery:?}") };
        of_key.entry(delivery.event.key()).or_default().push(format!("{:>20}", after.as_str()));
    }
    assert!(of_key.values().all(|states| states.is_sorted()), "in order");
}

#[test]
fn another_key_that_fails_rests_the_sink_once() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    let relay = w.relay("webhook", "one", &receiver);
    let block = |key: &str| receiver.blocked.lock().unwrap().insert(key.to_owned());
    block("u:a");
    w.change(&["a", "b", "c"]);
    let rest = |accepted| Step::Failed {
        accepted,
        refused: 0,
        until: w.now().saturating_add(Duration::from_secs(5)),
    };
    assert_eq!(step(&relay), rest(2));
    w.change(&["b"]);
    assert!(matches!(step(&relay), Step::Resting(_)));
    block("u:b");
    w.pass(5);
    assert_eq!(step(&relay), rest(0), "who knows what is wrong");
    w.pass(5);
    w.change(&["a", "b", "c"]);
    assert_eq!(step(&relay), delivered(1), "not with `c`");
    // As long as a sink asks for is as long as it is left alone, whatever is known.
    receiver.answers.lock().unwrap().push_back(Answer::Fails(60));
    w.change(&["c"]);
    let until = w.now().saturating_add(Duration::from_secs(60));
    assert_eq!(step(&relay), Step::Failed { accepted: 0, refused: 0, until });
}

#[test]
fn a_sink_that_asks_for_time_for_a_key_that_is_held_is_left_alone_as_long() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    let relay = w.relay("webhook", "one", &receiver);
    receiver.blocked.lock().unwrap().insert("u:a".to_owned());
    w.change(&["a", "b"]);
    assert!(matches!(step(&relay), Step::Failed { accepted: 1, .. }));
    *receiver.asks_for.lock().unwrap() = Duration::from_secs(90);
    w.change(&["b"]);
    w.pass(5);
    let until = w.now().saturating_add(Duration::from_secs(90));
    assert_eq!(step(&relay), Step::Failed { accepted: 1, refused: 0, until });
    w.change(&["b"]);
    assert_eq!(step(&relay), Step::Resting(until));
}

#[test]
fn the_one_unwanted_event_of_a_batch_is_found_and_put_aside() {
    let w = World::new(&["webhook"]);
    let receiver = Arc::new(Receiver { unwanted: ["u:user 137"].into(), ..Receiver::default() });
    let relay = w.relay("webhook", "one", &receiver);
    let users: Vec<_> = (0..300).map(|number| format!("user {number}")).collect();
    w.change(&users.iter().map(String::as_str).collect::<Vec<_>>());
    let mut refused = 0;
    loop {
        match step(&relay) {
            Step::Idle => break,
            Step::Delivered { refused: more, .. } => refused += more,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 1);
    let expected = users.iter().filter(|user| *user != "user 137").map(|user| format!("u:{user}"));
    assert_eq!(receiver.keys(), expected.collect::<Vec<_>>());
    let attempts = receiver.batches.lock().unwrap().len();
    assert!(attempts <= 12, "{attempts} attempts: halves, not one by one");
    let dead = block_on(w.store.dead_letters(&name("webhook"), None, 10)).unwrap();
    let [dead] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!(
        (dead.reason.as_str(), dead.letter.event().unwrap().key()),
        ("unwanted", "u:user 137".to_owned())
    );
    let books = w.books("webhook");
    assert_eq!((books.delivered, books.dead, books.pending, books.accepted()), (299, 1, 0, 300));
}

#[test]
fn a_sink_that_says_which_event_it_refuses_gets_the_others_at_once() {
    let w = World::new(&["webhook"]);
    let unwanted = ["u:b"].into();
    let receiver = Arc::new(Receiver { unwanted, names_the_unwanted: true, ..Receiver::default() });
    let relay = w.relay("webhook", "one", &receiver);
    w.change(&["a", "b", "c"]);
    assert_eq!(step(&relay), Step::Delivered { accepted: 2, refused: 1 });
    assert_eq!(step(&relay), Step::Idle);
    // Sent again by an operator, and welcome by now.
    assert_eq!(block_on(w.store.requeue(&name("webhook"), None)).unwrap(), 1);
    let receiver = Receiver::answering([]);
    assert_eq!(step(&w.relay("webhook", "one", &receiver)), delivered(1));
    assert_eq!(receiver.keys(), ["u:b"]);
}

#[test]
fn a_sink_that_is_gone_is_asked_again_after_a_restart() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([Answer::Gone]);
    let relay = w.relay("webhook", "one", &receiver);
    w.change(&["alice"]);
    assert_eq!((step(&relay), step(&relay)), (Step::Gone, Step::Gone));
    w.pass(86_400);
    assert_eq!(step(&relay), Step::Gone);
    assert_eq!(receiver.batches.lock().unwrap().len(), 1, "it was asked once");
    assert_eq!(step(&w.relay("webhook", "one", &receiver)), delivered(1));
}

#[test]
fn a_node_has_a_sink_until_it_gives_it_up_or_falls_silent() {
    let w = World::new(&["webhook"]);
    let receiver = Receiver::answering([]);
    let (one, two) = (w.relay("webhook", "one", &receiver), w.relay("webhook", "two", &receiver));
    w.change(&["alice"]);
    assert_eq!((step(&one), step(&two)), (delivered(1), Step::Elsewhere));
    w.pass(50);
    block_on(one.renew()).unwrap();
    w.pass(50);
    assert_eq!(step(&two), Step::Elsewhere, "its claim was renewed");
    block_on(one.release()).unwrap();
    assert_eq!((step(&two), step(&one)), (Step::Idle, Step::Elsewhere));
    w.pass(60);
    assert_eq!(step(&one), Step::Idle, "the other has fallen silent");
    // An earlier process of the same name had it.
    assert_eq!(step(&w.relay("webhook", "one", &receiver)), Step::Idle);
}

/// What is done to a relay.
#[derive(Clone, Debug)]
enum Deed {
    Change(u8),
    Step,
    Pass(u8),
    /// The process ends before it acknowledges what the sink took.
    Crash(usize),
    Answer(Answer),
    /// The sink takes nothing of a user from now on, or all again.
    Block(u8),
    Free,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0_u8..4).prop_map(Deed::Change),
        4 => Just(Deed::Step),
        2 => any::<u8>().prop_map(Deed::Pass),
        1 => (0_u8..4).prop_map(Deed::Block),
        1 => Just(Deed::Free),
        1 => (0_usize..5).prop_map(Deed::Crash),
        2 => prop_oneof![(0_usize..5).prop_map(Answer::Takes), (0_u64..9).prop_map(Answer::Fails)]
            .prop_map(Deed::Answer),
    ]
}

proptest! {
    /// Whatever the sink answers, and wherever the process ends: everything arrives, the first time in the order of its
    /// key, always under the same id, and the books balance.
    #[test]
    fn nothing_is_lost_and_nothing_overtakes(deeds in prop::collection::vec(deed(), 1..80)) {
        let w = World::new(&["webhook"]);
        let receiver = Receiver::answering([]);
        let mut relay = w.relay("webhook", "one", &receiver);
        let mut changes: BTreeMap<String, usize> = BTreeMap::new();
        for deed in &deeds {
            match deed {
                Deed::Change(user) => {
                    let user = format!("user {user}");
                    w.pass(1);
                    w.change(&[&user]);
                    *changes.entry(format!("u:{user}")).or_default() += 1;
                }
                Deed::Step => {
                    step(&relay);
                }
                Deed::Pass(secs) => w.pass((*secs).into()),
                Deed::Crash(taken) => {
                    let claim = presence_core::Claim {
                        sink: name("webhook"),
                        node: "one".to_owned(),
                        now: w.now(),
                        until: w.now().saturating_add(Duration::from_secs(60)),
                        limit: 500,
                        which: presence_core::Which::Oldest,
                    };
                    let letters = block_on(w.store.claim(claim)).unwrap().unwrap();
                    let taken = letters.iter().take(*taken).filter_map(Delivery::of);
                    receiver.got.lock().unwrap().extend(taken);
                    relay = w.relay("webhook", "one", &receiver);
                }
                Deed::Block(user) => {
                    receiver.blocked.lock().unwrap().insert(format!("u:user {user}"));
                }
                Deed::Free => receiver.blocked.lock().unwrap().clear(),
                Deed::Answer(answer) => receiver.answers.lock().unwrap().push_back(answer.clone()),
            }
        }
        receiver.blocked.lock().unwrap().clear();
        loop {
            match step(&relay) {
                Step::Idle => break,
                Step::Resting(until) => w.clock.set(until),
                _ => {}
            }
        }
        let got = receiver.got.lock().unwrap();
        let mut first: BTreeMap<&str, &Event> = BTreeMap::new();
        let mut seen: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for delivery in got.iter() {
            match first.get(delivery.event_id.as_str()) {
                Some(known) => prop_assert_eq!(*known, &delivery.event, "one body under one id"),
                None => {
                    first.insert(&delivery.event_id, &delivery.event);
                    seen.entry(delivery.event.key()).or_default().push(delivery.event.at());
                }
            }
        }
        let counts: BTreeMap<_, _> = seen.iter().map(|(key, seen)| (key.clone(), seen.len())).collect();
        prop_assert!(seen.values().all(|times| times.is_sorted()), "{:?}", seen);
        prop_assert_eq!(&counts, &changes);
        let total = changes.values().sum::<usize>() as u64;
        if total > 0 {
            let books = w.books("webhook");
            prop_assert_eq!((books.delivered, books.pending, books.accepted()), (total, 0, total));
        }
    }
}

#[test]
fn a_sink_gets_as_many_at_once_as_it_takes() {
    let w = World::new(&["webhook"]);
    w.change(&["alice", "bob", "carol", "dave", "erin"]);
    let receiver = Receiver::answering([]);
    let relay = w.relay_to(Arc::new(Pair(receiver.clone())), "webhook", "one");
    assert_eq!([(); 4].map(|()| step(&relay)), [delivered(2), delivered(2), delivered(1), Step::Idle]);
    assert_eq!(*receiver.batches.lock().unwrap(), [2, 2, 1]);
    assert_eq!(receiver.keys(), ["u:alice", "u:bob", "u:carol", "u:dave", "u:erin"]);
}
