//! A random life, told to an adapter and to the store in memory: after each step both say the same.

use std::{collections::BTreeMap, sync::Arc};

use super::Timelines;
use crate::{
    Ask, Beat, Checkpoint, CheckpointId, CheckpointStore, Commit, Content, Context, Envelope, EventId,
    MemoryStore, Outcome, Policy, Record, Session, Stamped, StateType, Timestamp, UserId, Version, Window,
    decide, expire,
};

/// How many steps a life has.
const STEPS: usize = 600;

/// Reports, heartbeats, beats, sweeps, repetitions, conflicts and erasures in a seeded random order. The seed stands in
/// the message of a failure.
pub async fn a_random_life_is_the_same_as_in_memory(store: &dyn Timelines) {
    for seed in 1..=4 {
        // Names of their own, because the store is the same.
        Life::new(seed).told_to(store).await;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(limit).unwrap_or_default()
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

struct Life {
    seed: u64,
    random: Random,
    users: Vec<UserId>,
    now: Timestamp,
    policy: Policy,
    memory: Arc<MemoryStore>,
    sent: Vec<Envelope>,
    /// A session as it was some steps ago, to commit on what is no longer so.
    stale: BTreeMap<UserId, Session>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let names = ["alice", "bob", "o'brien", "日本"];
        Self {
            seed,
            random: Random(seed),
            users: names.map(|name| UserId::new(format!("{name}-{seed}")).expect("a name")).to_vec(),
            now: Timestamp::from_secs(1_700_000_000).expect("an instant"),
            policy: Policy::default(),
            memory: Arc::new(MemoryStore::new()),
            sent: Vec::new(),
            stale: BTreeMap::new(),
        }
    }

    async fn told_to(mut self, store: &dyn Timelines) {
        for step in 0..STEPS {
            let seconds = self.random.below(25).saturating_mul(1000).saturating_add(self.random.below(1000));
            self.now = self.now.saturating_add(std::time::Duration::from_millis(seconds));
            let user = self.random.pick(&self.users.clone()).clone();
            match self.random.below(20) {
                0..=12 => {
                    let count = 1_u64.saturating_add(self.random.below(4));
                    let envelopes: Vec<_> = (0..count).map(|_| self.envelope(&user)).collect();
                    self.record(store, &envelopes).await;
                }
                13..=14 => self.sweep(store).await,
                15..=17 => self.touch(store, &user).await,
                18 => self.commit_stale(store, &user).await,
                _ if step % 7 == 0 => self.erase(store, &user).await,
                _ => {}
            }
            self.assert_same(store, &user, step).await;
        }
        for user in self.users.clone() {
            self.assert_same(store, &user, STEPS).await;
        }
    }

    fn envelope(&mut self, user: &UserId) -> Envelope {
        if self.random.below(6) == 0 && !self.sent.is_empty() {
            let sent = std::mem::take(&mut self.sent);
            let again = self.random.pick(&sent).clone();
            self.sent = sent;
            return Envelope { user: user.clone(), ..again };
        }
        let states = ["Online", "Offline", "Working", "Gaming", "Ünterwegs", "a'b\"c"];
        let state = StateType::new(*self.random.pick(&states)).expect("a state");
        let envelope = match self.random.below(3) {
            0 => Envelope::heartbeat(user.clone()),
            1 => Envelope::heartbeat_in(user.clone(), state),
            _ => Envelope::checkpoint(user.clone(), state),
        };
        let late = self.random.below(4).saturating_mul(self.random.below(200_000));
        let envelope = match self.random.below(3) {
            0 => envelope,
            _ => envelope.at(self.now.saturating_sub(std::time::Duration::from_millis(late))),
        };
        let envelope = match self.random.below(3) {
            0 => envelope.with_content(Content::parse(r#"{"n":[1,"é"]}"#).expect("content")),
            _ => envelope,
        };
        let event_id = EventId::new(format!("e{}", self.random.below(10_000))).expect("an event id");
        let envelope = if self.random.below(2) == 0 { envelope.with_event_id(event_id) } else { envelope };
        self.sent.push(envelope.clone());
        envelope
    }

    async fn record(&mut self, store: &dyn Timelines, envelopes: &[Envelope]) {
        let stamped: Vec<Stamped> =
            envelopes.iter().filter_map(|sent| sent.clone().stamped(self.now, &self.policy).ok()).collect();
        let Some(ask) = Ask::about(&stamped) else { return };
        let mut decisions = Vec::new();
        let memory = self.memory.clone();
        for store in [store as &dyn CheckpointStore, &*memory] {
            let context = store.load(vec![ask.clone()]).await.expect("a store that works").remove(0);
            if let Some(session) = &context.session
                && self.random.below(2) == 0
            {
                self.stale.insert(ask.user.clone(), session.clone());
            }
            let decision = decide(&context, &stamped, &self.policy, self.now);
            if let Some(commit) = decision.commit.clone() {
                let outcomes = store.commit(vec![commit]).await.expect("a store that works");
                assert!(
                    matches!(outcomes[0], Outcome::Committed { .. }),
                    "seed {}: nobody else writes",
                    self.seed
                );
            }
            decisions.push((ranked_context(&context), decision.answers.len()));
        }
        assert_eq!(decisions[0], decisions[1], "seed {}: what a decision sees", self.seed);
    }

    async fn sweep(&mut self, store: &dyn Timelines) {
        let Some(cutoff) = self.policy.cutoff(self.now) else { return };
        let memory = self.memory.clone();
        let mut silent = Vec::new();
        for store in [store as &dyn CheckpointStore, &*memory] {
            let mut sessions = store.overdue(cutoff, 100).await.expect("a store that works");
            sessions.retain(|session| self.users.contains(&session.user));
            let commits: Vec<_> =
                sessions.iter().filter_map(|session| expire(session, &self.policy, self.now)).collect();
            store.commit(commits).await.expect("a store that works");
            silent.push(sessions.into_iter().map(unversioned).collect::<Vec<_>>());
        }
        assert_eq!(silent[0], silent[1], "seed {}: who is overdue", self.seed);
    }

    async fn touch(&mut self, store: &dyn Timelines, user: &UserId) {
        let timeout = self.policy.heartbeat_timeout.unwrap_or_default();
        let first = self.now.saturating_sub(std::time::Duration::from_millis(self.random.below(90_000)));
        let beat = Beat { user: user.clone(), first, last: self.now, floor: first.saturating_sub(timeout) };
        let taken = store.touch(vec![beat.clone()]).await.expect("a store that works");
        let expected = CheckpointStore::touch(&*self.memory, vec![beat]).await.expect("a store that works");
        assert_eq!(taken, expected, "seed {}: which beats are taken", self.seed);
    }

    async fn commit_stale(&mut self, store: &dyn Timelines, user: &UserId) {
        let Some(session) = self.stale.get(user) else { return };
        // Versions are the stores' own, so the one of long ago is made up: none has ever been given out.
        let commit = Commit {
            expected: Some(Version(i64::MAX)),
            erased_at: None,
            session: session.clone(),
            withdraw: Vec::new(),
            insert: Vec::new(),
            totals: vec![(StateType::Online, 1)],
            changed: None,
            requests: Vec::new(),
            events: Vec::new(),
            decided_at: self.now,
        };
        let outcomes = store.commit(vec![commit]).await.expect("a store that works");
        assert_eq!(outcomes, [Outcome::Conflict], "seed {}", self.seed);
    }

    async fn erase(&mut self, store: &dyn Timelines, user: &UserId) {
        let erased = store.erase(user, self.now).await.expect("a store that works");
        let expected = self.memory.erase(user, self.now).await.expect("a store that works");
        assert_eq!(erased, expected, "seed {}: how much is erased", self.seed);
    }

    async fn assert_same(&self, store: &dyn Timelines, user: &UserId, step: usize) {
        let memory: &dyn Timelines = &*self.memory;
        let (left, right) = (view(store, user, self.now).await, view(memory, user, self.now).await);
        assert_eq!(left, right, "seed {}, step {step}, {user}", self.seed);
    }
}

/// Everything that can be asked about a user, in a form that does not depend on which ids and versions were given.
async fn view(
    store: &dyn Timelines,
    user: &UserId,
    now: Timestamp,
) -> impl PartialEq + std::fmt::Debug + use<> {
    let hour = std::time::Duration::from_secs(3600);
    let edges = [3, 2, 1].map(|hours: u32| now.saturating_sub(hour.saturating_mul(hours)));
    let windows: Vec<_> =
        edges.windows(2).map(|edges| Window::new(edges[0], edges[1]).expect("in order")).collect();
    let mut facts = Vec::new();
    for windows in [vec![Window::all()], windows] {
        let known = store.facts(user, &windows).await.expect("a store that works");
        facts.push(known.map(|mut known| {
            known.closed.iter_mut().for_each(|sums| sums.sort());
            (unversioned(known.session), known.closed)
        }));
    }
    let history =
        store.history(user, Window::all(), None, usize::from(u16::MAX)).await.expect("a store that works");
    let ranks = ranks(history.iter());
    let export = store.export(user, None, usize::from(u16::MAX)).await.expect("a store that works");
    let export: Vec<_> = export
        .into_iter()
        .map(|record| match record {
            Record::Session(session) => Record::Session(unversioned(session)),
            Record::Checkpoint(row) => Record::Checkpoint(ranked(&row, &ranks)),
            Record::Request { request, checkpoint } => Record::Request {
                request,
                checkpoint: *ranks.get(&checkpoint).expect("a row of the history"),
            },
            other => other,
        })
        .collect();
    let history: Vec<_> = history.iter().map(|row| ranked(row, &ranks)).collect();
    (facts, history, export)
}

fn ranks<'a>(rows: impl Iterator<Item = &'a Checkpoint>) -> BTreeMap<CheckpointId, CheckpointId> {
    let mut ids: Vec<_> = rows.map(|row| row.id).collect();
    ids.sort();
    let ranks = (1..).map(|rank| CheckpointId::new(rank).expect("positive"));
    ids.into_iter().zip(ranks).collect()
}

fn ranked(row: &Checkpoint, ranks: &BTreeMap<CheckpointId, CheckpointId>) -> Checkpoint {
    Checkpoint { id: *ranks.get(&row.id).expect("a row of the history"), ..row.clone() }
}

fn ranked_context(context: &Context) -> Context {
    let ranks = ranks(context.rows.iter());
    let mut requests: Vec<_> = context
        .requests
        .iter()
        .map(|(request, row)| {
            (request.clone(), Checkpoint { id: CheckpointId::new(1).expect("positive"), ..row.clone() })
        })
        .collect();
    requests.sort_by(|a, b| a.0.event_id.cmp(&b.0.event_id));
    Context {
        session: context.session.clone().map(unversioned),
        rows: context.rows.iter().map(|row| ranked(row, &ranks)).collect(),
        requests,
        ..context.clone()
    }
}

fn unversioned(session: Session) -> Session {
    Session { version: Version(0), ..session }
}
