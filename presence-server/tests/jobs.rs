//! What the server does by itself, step by step, on a clock that moves when it is told to.

use std::{sync::Arc, time::Duration};

use presence_core::{
    Beats, Envelope, ManualClock, MemoryStore, Source, StateType, SummaryCache, Timestamp, Tracker, UserId,
    Window, Zone,
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
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).unwrap()));
        let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
        let state = AppState::new(Beats::new(tracker), Settings::default());
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

#[tokio::test]
async fn days_of_all_users_are_summed_up_in_the_zone_of_reporting_days() {
    // More than one step takes.
    const USERS: u64 = 1_001;
    let store = Arc::new(MemoryStore::new());
    let clock = ManualClock::new(Timestamp::from_secs(1_717_161_600).unwrap());
    let tracker = Tracker::new(store.clone(), clock).cached_by(store.clone());
    let zone = Zone::new("Asia/Shanghai").unwrap();
    let settings = Settings { zone: zone.clone(), ..Settings::default() };
    let state = AppState::new(Beats::new(tracker), settings);
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
