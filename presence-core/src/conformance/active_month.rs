//! A random month of activity, told to an adapter and to the store in memory: after each step both say the same.

use std::{sync::Arc, time::Duration};

use super::{Activities, model::Random};
use crate::{
    ActivityPolicy, ClientEvent, DayMark, EventId, EventName, EventProperties, Figures, Horizon,
    IdentityFold, InstallId, MemoryStore, NewEvent, Period, Record, Timestamp, UserId, Window, Zone,
};

/// How many steps a month has.
const STEPS: usize = 200;

/// Events in batches, with repetitions and reused ids, refolds on marks of any age, erasures and retirements in a seeded
/// random order. The seed stands in the message of a failure.
pub async fn a_random_month_is_the_same_as_in_memory(store: &dyn Activities) {
    Month::new(7).told_to(store).await;
}

struct Month {
    seed: u64,
    random: Random,
    now: Timestamp,
    policy: ActivityPolicy,
    memory: Arc<MemoryStore>,
    sent: Vec<NewEvent>,
    /// Marks as they were some steps ago, theirs and ours, to save on what is no longer so.
    stale: Vec<(DayMark, DayMark)>,
}

impl Month {
    fn new(seed: u64) -> Self {
        let zone = Zone::new("Asia/Shanghai").expect("a zone");
        Self {
            seed,
            random: Random(seed),
            now: Timestamp::from_secs(1_735_689_600).expect("an instant"),
            policy: ActivityPolicy { zone, ..ActivityPolicy::default() },
            memory: Arc::new(MemoryStore::new()),
            sent: Vec::new(),
            stale: Vec::new(),
        }
    }

    async fn told_to(mut self, store: &dyn Activities) {
        for step in 0..STEPS {
            self.now = self.now.saturating_add(Duration::from_secs(self.random.below(25_000)));
            match self.random.below(20) {
                0..=11 => self.append(store).await,
                12..=16 => self.refold(store).await,
                17 => self.erase(store).await,
                18 if step % 5 == 0 => self.retire(store).await,
                _ => {}
            }
            self.assert_same(store, step).await;
        }
    }

    fn user(&mut self) -> UserId {
        UserId::new(*self.random.pick(&["alice", "bob", "o'brien", "日本"])).expect("a name")
    }

    fn event(&mut self) -> NewEvent {
        let sent = self.sent.len() as u64;
        if sent > 0 && self.random.below(4) == 0 {
            let again = self.sent[self.random.below(sent) as usize].clone();
            let user = if self.random.below(4) == 0 { Some(self.user()) } else { again.user.clone() };
            return NewEvent { user: user.clone(), sighting: None, ..again };
        }
        let name = *self.random.pick(&["app_session_start", "app_session_start", "click"]);
        let install = *self.random.pick(&["phone-4711", "phone-4712", "PHONE-4711", "tablet_0815"]);
        let event = ClientEvent::new(
            EventName::new(name).expect("a name"),
            InstallId::new(install).expect("an install"),
        );
        let event = if self.random.below(2) == 0 { event.by(self.user()) } else { event };
        let late = self.random.below(4).saturating_mul(self.random.below(130_000));
        let event = event.at(self.now.saturating_sub(Duration::from_secs(late)));
        let regions = ["Hunan", "湖南", "", "a\\\"b"];
        let json = format!(
            r#"{{"province":"{}","city":"{}"}}"#,
            self.random.pick(&regions),
            self.random.pick(&regions)
        );
        let event = match self.random.below(3) {
            0 => event,
            _ => event.with_properties(EventProperties::parse(&json).expect("an object")),
        };
        let id = EventId::new(format!("e{}", self.random.below(200))).expect("an event id");
        let event = if self.random.below(2) == 0 { event.with_event_id(id) } else { event };
        event.judged(self.now, &self.policy).expect("in the past")
    }

    async fn append(&mut self, store: &dyn Activities) {
        let count = 1_u64.saturating_add(self.random.below(6));
        let events: Vec<_> = (0..count).map(|_| self.event()).collect();
        self.sent.extend(events.clone());
        let outcomes = store.append(events.clone()).await.expect("a store that works");
        let expected = crate::ActivityStore::append(&*self.memory, events).await;
        assert_eq!(outcomes, expected.expect("memory works"), "{}", self.seed);
    }

    async fn refold(&mut self, store: &dyn Activities) {
        let theirs = store.stale(3).await.expect("a store that works");
        let ours = crate::ActivityStore::stale(&*self.memory, 3).await.expect("memory works");
        let known = |marks: &[DayMark]| marks.iter().map(|mark| (mark.day, mark.version)).collect::<Vec<_>>();
        assert_eq!(known(&theirs), known(&ours), "{}", self.seed);
        let marks: Vec<_> = theirs.into_iter().zip(ours).collect();
        self.stale.extend(&marks);
        let known = self.stale.len() as u64;
        let old = (known > 0).then(|| self.stale[self.random.below(known) as usize]);
        for (theirs, ours) in marks.into_iter().chain(old) {
            let period = Period::day(theirs.day).expect("a day");
            let (fold, _) =
                store.fold(period, None, 10_000, IdentityFold::new()).await.expect("a store that works");
            let figures =
                Figures { mark: theirs, active: fold.finish(), calculated_at: self.now, events: Vec::new() };
            let saved = store.save(figures.clone()).await.expect("a store that works");
            let figures = Figures { mark: ours, ..figures };
            let expected = crate::ActivityStore::save(&*self.memory, figures).await;
            assert_eq!(saved, expected.expect("memory works"), "{}: {theirs:?}", self.seed);
        }
    }

    async fn erase(&mut self, store: &dyn Activities) {
        let (user, at) =
            (self.user(), self.now.saturating_sub(Duration::from_secs(self.random.below(50_000))));
        let erased = store.erase(&user, at).await.expect("a store that works");
        let expected = crate::CheckpointStore::erase(&*self.memory, &user, at).await.expect("memory works");
        assert_eq!(erased, expected, "{}: {user}", self.seed);
    }

    async fn retire(&mut self, store: &dyn Activities) {
        let keep = Some(Duration::from_secs(8 * 86_400));
        let horizon: Horizon =
            ActivityPolicy { keep_events: keep, ..self.policy.clone() }.horizon(self.now).expect("a horizon");
        let limit = self.random.below(40) as usize;
        let retired = store.retire(horizon, limit).await.expect("a store that works");
        let expected = crate::ActivityStore::retire(&*self.memory, horizon, limit).await;
        assert_eq!(retired, expected.expect("memory works"), "{}", self.seed);
    }

    async fn assert_same(&mut self, store: &dyn Activities, step: usize) {
        let context = format!("seed {}, step {step}", self.seed);
        let today = self.policy.day_of(self.now);
        let month = Period::trailing(90, today).expect("a period");
        let theirs = Facts::of(store, month, &self.user()).await;
        let user = theirs.user.clone();
        assert_eq!(theirs, Facts::of(&*self.memory, month, &user).await, "{context}");
    }
}

/// What can be asked of a store, but for how often days were changed and the numbers of events: a batch may count as one
/// change or as many, and numbers may have gaps.
#[derive(Debug, PartialEq)]
struct Facts {
    user: UserId,
    events: Vec<crate::EventLog>,
    export: Vec<Record>,
    active: crate::ActiveUsers,
    kept_from: Option<chrono::NaiveDate>,
    days: Vec<(chrono::NaiveDate, i64, bool)>,
    figures: Vec<(chrono::NaiveDate, crate::ActiveUsers, Timestamp)>,
}

impl Facts {
    async fn of(store: &dyn Activities, month: Period, user: &UserId) -> Self {
        let marks = store.day_marks(month).await.expect("a store that works");
        let (fold, _) =
            store.fold(month, None, 10_000, IdentityFold::new()).await.expect("a store that works");
        let figures = store.days(month).await.expect("a store that works");
        let mut events = store.events(Window::all(), None, 10_000).await.expect("a store that works");
        events.iter_mut().for_each(|event| event.id = 0);
        let mut export = store.export(user, None, 10_000).await.expect("a store that works");
        for record in &mut export {
            if let Record::Event(event) = record {
                event.id = 0;
            }
        }
        Self {
            user: user.clone(),
            events,
            export,
            active: fold.finish(),
            kept_from: marks.kept_from,
            days: marks.days.iter().map(|mark| (mark.day, mark.version, mark.is_stale())).collect(),
            figures: figures.into_iter().map(|day| (day.mark.day, day.active, day.calculated_at)).collect(),
        }
    }
}
