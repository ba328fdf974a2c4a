//! What the server does by itself, step by step, on a clock that moves when it is told to.

use std::{sync::Arc, time::Duration};

use presence_core::{
    Activity, ActivityPolicy, Beats, ClientEvent, Clock, Envelope, EventKind, EventName, Heartbeat,
    InstallId, Interval, ManualClock, MemoryStore, Outbox, OutboxQuery, Period, Rooms, SinkName, Source,
    StateType, Subscriptions, SummaryCache, Timestamp, Tracker, UserId, Window, Zone,
};
use presence_server::{
    AppState, Settings,
    jobs::{self, Watch},
};

/// A server whose jobs are taken by hand, one second after the other.
struct Server {
    clock: Arc<ManualClock>,
    state: AppState,
    watch: Watch,
}

impl Server {
    fn start() -> Self {
        Self::counting(ActivityPolicy::default())
    }

    fn counting(policy: ActivityPolicy) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).unwrap()));
        let store = Arc::new(MemoryStore::new());
        let tracker = Tracker::new(store.clone(), clock.clone());
        let activity = Activity::with_policy(store.clone(), clock.clone(), policy);
        let rooms = Rooms::new(store, clock.clone(), "node-1");
        let state = AppState::new(Beats::new(tracker), activity, rooms, Settings::default());
        Self { clock, watch: Watch::begin(state.clone()), state }
    }

    /// Time passes in which no job runs.
    async fn pause(&self, secs: u64) {
        let span = Duration::from_secs(secs);
        tokio::time::advance(span).await;
        self.clock.set(self.state.tracker().now().saturating_add(span));
    }

    /// The jobs run once a second; says after how many the first silence was concluded.
    async fn first_lapse(&self) -> Option<u64> {
        for second in 1..=300 {
            self.pause(1).await;
            self.watch.flush().await.unwrap();
            if self.watch.sweep().await.unwrap() > 0 {
                return Some(second);
            }
        }
        None
    }

    async fn reports(&self, user: &UserId) {
        let envelope = Envelope::checkpoint(user.clone(), StateType::Working);
        self.state.beats().record(envelope).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_concluded_after_a_pause_of_our_own_only_when_all_had_the_time_to_be_heard() {
    let server = Server::start();
    let alice = UserId::new("alice").unwrap();
    server.reports(&alice).await;
    assert_eq!(server.first_lapse().await, Some(61));

    server.reports(&alice).await;
    let reported = server.state.tracker().now();
    server.pause(100).await;
    assert_eq!(server.first_lapse().await, Some(61));

    // The stamp is where it would have been without the pause.
    let history = server.state.tracker().history(&alice, Window::all(), None, 1).await.unwrap();
    assert_eq!(history.items[0].source, Source::Timeout);
    assert_eq!(history.items[0].at, reported.saturating_add(Duration::from_secs(60)));
}

#[tokio::test(start_paused = true)]
async fn after_a_step_of_the_clock_nothing_is_concluded_for_one_timeout() {
    let server = Server::start();
    server.reports(&UserId::new("alice").unwrap()).await;
    let day = Duration::from_secs(86_400);
    server.clock.set(server.state.tracker().now().saturating_add(day));
    assert_eq!(server.first_lapse().await, Some(61)); // one to see the step, and one timeout from there
}

/// An app was opened.
fn opened(install: &str, at: Timestamp) -> ClientEvent {
    let name = EventName::new("app_session_start").unwrap();
    ClientEvent::new(name, InstallId::new(install).unwrap()).at(at)
}

#[tokio::test]
async fn days_that_have_news_are_counted_anew_and_a_busy_one_once_a_minute() {
    let policy = ActivityPolicy { refold_after: Duration::from_secs(60), ..ActivityPolicy::default() };
    let server = Server::counting(policy);
    let now = || server.state.tracker().now();
    let count = async |days_ago: u64| {
        let day = now().saturating_sub(Duration::from_secs(days_ago * 86_400)).to_datetime().date_naive();
        let stats = server.state.activity().stats(Period::day(day).unwrap()).await.unwrap();
        stats.first().map(|stats| (stats.active.count, stats.version))
    };
    let ingest = async |install: &str, days_ago: u64| {
        let at = now().saturating_sub(Duration::from_secs(days_ago * 86_400));
        let verdicts = server.state.activity().ingest(vec![opened(install, at)]).await.unwrap();
        assert!(verdicts[0].as_ref().unwrap().is_counted);
    };
    assert_eq!(jobs::refold(&server.state).await.unwrap(), 0);
    ingest("phone-4711", 0).await;
    assert_eq!(jobs::refold(&server.state).await.unwrap(), 1);
    // The day goes on. It waits, and a late event of another day does not wait for it.
    ingest("phone-4712", 0).await;
    ingest("phone-4711", 2).await;
    server.clock.set(now().saturating_add(Duration::from_secs(59)));
    assert_eq!(jobs::refold(&server.state).await.unwrap(), 1);
    assert_eq!((count(0).await, count(2).await), (Some((1, 1)), Some((1, 1))));
    server.clock.set(now().saturating_add(Duration::from_secs(1)));
    assert_eq!(jobs::refold(&server.state).await.unwrap(), 1);
    assert_eq!(count(0).await, Some((2, 2)));
    // Between the two nobody came.
    assert_eq!((jobs::catch_up(&server.state).await.unwrap(), count(1).await), (1, Some((0, 1))));
    assert_eq!(jobs::catch_up(&server.state).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_minute_has_the_online_count_of_who_wrote_it_down_first() {
    let server = Server::start();
    let beat = async |install: &str| {
        let install = InstallId::new(install).unwrap();
        server
            .state
            .beats()
            .beat(Heartbeat::of_install(install).at(server.state.tracker().now()))
            .await
            .unwrap();
    };
    let begun = server.state.tracker().now();
    beat("phone-4711").await;
    assert_eq!(jobs::snapshot(&server.state).await.unwrap(), 1);
    beat("phone-4712").await;
    server.pause(59).await;
    assert_eq!(jobs::snapshot(&server.state).await.unwrap(), 0, "the minute has one");
    server.pause(1).await;
    assert_eq!(jobs::snapshot(&server.state).await.unwrap(), 1);
    // Minutes in which nobody looked are not made up.
    server.pause(240).await;
    assert_eq!(jobs::snapshot(&server.state).await.unwrap(), 1);
    let window =
        Window::new(begun, server.state.tracker().now().saturating_add(Duration::from_secs(1))).unwrap();
    let history = server.state.activity().online_history(window, Interval::OneMinute).await.unwrap();
    let points = history.iter().map(|point| (point.at.since(begun).as_secs() / 60, point.count));
    assert_eq!(points.collect::<Vec<_>>(), [(0, 1), (1, 2), (5, 0)]);
}

#[tokio::test]
async fn what_is_too_old_goes_in_slices_and_its_figures_stay() {
    // More than one slice takes.
    const EVENTS: u64 = 1_201;
    let month = Some(Duration::from_secs(30 * 86_400));
    let policy = ActivityPolicy { keep_events: month, keep_snapshots: month, ..ActivityPolicy::default() };
    let server = Server::counting(policy);
    let now = server.state.tracker().now();
    let events = (0..EVENTS).map(|number| opened(&format!("phone-{number:04}"), now));
    server.state.activity().ingest(events.collect()).await.unwrap();
    jobs::snapshot(&server.state).await.unwrap();
    assert_eq!(jobs::retain(&server.state).await.unwrap(), 0);
    server.clock.set(now.saturating_add(Duration::from_secs(32 * 86_400)));
    jobs::snapshot(&server.state).await.unwrap();
    let gone = 2 * EVENTS + 1;
    assert_eq!(jobs::retain(&server.state).await.unwrap(), gone, "events, sightings and a snapshot");
    assert_eq!(jobs::retain(&server.state).await.unwrap(), 0);
    let day = Period::day(now.to_datetime().date_naive()).unwrap();
    let stats = server.state.activity().stats(day).await.unwrap();
    assert_eq!((stats[0].active.count, stats[0].is_final), (EVENTS, true));
    let history = server.state.activity().online_history(
        Window::new(now, server.state.tracker().now().saturating_add(Duration::from_secs(1))).unwrap(),
        Interval::Hour,
    );
    assert_eq!(history.await.unwrap().len(), 1);
}

#[tokio::test]
async fn days_of_all_users_are_summed_up_in_the_zone_of_reporting_days() {
    // More than one step takes.
    const USERS: u64 = 1_001;
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).unwrap()));
    let activity = Activity::new(store.clone(), clock.clone());
    let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
    let tracker = Tracker::new(store.clone(), clock).cached_by(store.clone());
    let zone = Zone::new("Asia/Shanghai").unwrap();
    let settings = Settings { zone: zone.clone(), ..Settings::default() };
    let state = AppState::new(Beats::new(tracker), activity, rooms, settings);
    let now = state.tracker().now();
    let user = |number| UserId::new(format!("user-{number}")).unwrap();
    for (change, days_ago) in [(StateType::Working, 3), (StateType::Idle, 1)] {
        let at = now.saturating_sub(Duration::from_secs(days_ago * 86_400));
        let reports = (0..USERS).map(|number| Envelope::checkpoint(user(number), change.clone()).at(at));
        let recorded = state.tracker().record_many(reports.collect()).await.unwrap();
        assert!(recorded.iter().all(Result::is_ok));
    }
    assert_eq!(jobs::summarise(&state).await.unwrap(), USERS, "the day of the Offline by silence");
    assert_eq!(jobs::summarise(&state).await.unwrap(), 0);
    let day = zone.day(zone.date_of(now.saturating_sub(Duration::from_secs(3 * 86_400))));
    for number in [0, USERS - 1] {
        let kept = store.kept(&user(number), Window::all()).await.unwrap().unwrap();
        assert_eq!(kept.days.iter().map(|day| day.window).collect::<Vec<_>>(), day.spans());
    }
}

#[tokio::test]
async fn an_event_that_waited_for_too_long_is_given_up_and_counted() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).unwrap()));
    let store = Arc::new(MemoryStore::new());
    let sink = SinkName::new("events").unwrap();
    store.subscribe(Subscriptions::none().with(sink, EventKind::ALL));
    let tracker = Tracker::new(store.clone(), clock.clone());
    let activity = Activity::new(store.clone(), clock.clone());
    let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
    let state = AppState::new(Beats::new(tracker), activity, rooms, Settings::default());
    let state = state.delivering(store.clone());
    let retention = Duration::from_hours(72);
    // More than one step takes.
    for number in 0..2500 {
        let user = UserId::new(format!("user-{number}")).unwrap();
        state.beats().record(Envelope::checkpoint(user, StateType::Working)).await.unwrap();
    }
    clock.set(clock.now().saturating_add(retention));
    let user = UserId::new("late").unwrap();
    state.beats().record(Envelope::checkpoint(user, StateType::Working)).await.unwrap();
    assert_eq!(jobs::expire_events(&state, retention).await.unwrap(), 0, "it is kept for so long");
    clock.set(clock.now().saturating_add(Duration::from_millis(1)));
    assert_eq!(jobs::expire_events(&state, retention).await.unwrap(), 2500);
    let books = store.books().await.unwrap();
    let counted: Vec<_> =
        books.iter().map(|books| (books.pending, books.expired, books.accepted())).collect();
    assert_eq!(counted, [(1, 2500, 2501)]);
}
