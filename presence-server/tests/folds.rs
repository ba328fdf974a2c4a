//! Folds over weeks and months that take longer than somebody waits for them.

use std::{pin::pin, sync::Arc, task, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use futures_util::FutureExt;
use presence_core::{
    Activity, ActivityQuery, ActivityStore, Appended, Beats, ClientEvent, DayMark, DayMarks, EventLog,
    EventName, Figures, Horizon, IdentityFold, InstallId, ManualClock, MemoryStore, NewEvent, OnlineSnapshot,
    Period, Retired, Rooms, SightingPlace, SnapshotStore, StoreError, StoredDay, Timestamp, Tracker, Window,
};
use presence_server::{AppState, Settings, app};
use tokio::{sync::Semaphore, time::timeout};
use tower::ServiceExt;

/// Long for a test, short for somebody who waits for a hanging one.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store whose folds wait for the gate.
struct Gated {
    store: Arc<MemoryStore>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl ActivityStore for Gated {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.store.append(events).await
    }

    async fn stale(&self, limit: usize) -> Result<Vec<DayMark>, StoreError> {
        self.store.stale(limit).await
    }

    async fn day_marks(&self, period: Period) -> Result<DayMarks, StoreError> {
        self.store.day_marks(period).await
    }

    async fn fold(
        &self,
        period: Period,
        after: Option<SightingPlace>,
        limit: usize,
        fold: IdentityFold,
    ) -> Result<(IdentityFold, Option<SightingPlace>), StoreError> {
        self.gate.acquire().await.expect("it is never closed").forget();
        self.store.fold(period, after, limit, fold).await
    }

    async fn save(&self, figures: Figures) -> Result<bool, StoreError> {
        self.store.save(figures).await
    }

    async fn retire(&self, before: Horizon, limit: usize) -> Result<Retired, StoreError> {
        self.store.retire(before, limit).await
    }
}

#[async_trait]
impl ActivityQuery for Gated {
    async fn days(&self, period: Period) -> Result<Vec<StoredDay>, StoreError> {
        self.store.days(period).await
    }

    async fn events(
        &self,
        window: Window,
        after: Option<(Timestamp, i64)>,
        limit: usize,
    ) -> Result<Vec<EventLog>, StoreError> {
        self.store.events(window, after, limit).await
    }
}

#[async_trait]
impl SnapshotStore for Gated {
    async fn keep_snapshot(&self, snapshot: OnlineSnapshot) -> Result<bool, StoreError> {
        self.store.keep_snapshot(snapshot).await
    }

    async fn snapshots(&self, window: Window, limit: usize) -> Result<Vec<OnlineSnapshot>, StoreError> {
        self.store.snapshots(window, limit).await
    }

    async fn discard_snapshots(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.store.discard_snapshots(before, limit).await
    }
}

/// A server of whom one person was seen.
async fn server() -> (Router, Arc<Semaphore>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).expect("an instant")));
    let (store, gate) = (Arc::new(MemoryStore::new()), Arc::new(Semaphore::new(0)));
    let gated = Arc::new(Gated { store: store.clone(), gate: gate.clone() });
    let activity = Activity::new(gated, clock.clone());
    let name = EventName::new("app_session_start").expect("a name");
    let event = ClientEvent::new(name, InstallId::new("phone-4711").expect("an install"));
    assert!(activity.ingest(vec![event]).await.expect("a store that works")[0].is_ok());
    let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
    let beats = Beats::new(Tracker::new(store, clock));
    (app(AppState::new(beats, activity, rooms, Settings::default())), gate)
}

async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
    let answer = timeout(PATIENCE, router.clone().oneshot(request)).await;
    let response = answer.expect("an answer in time").expect("an answer");
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, String::from_utf8(bytes.to_vec()).expect("text"))
}

/// Lets others work until so many folds are there.
async fn until_folds(router: &Router, folds: usize) {
    let line = format!("\npresence_active_folds {folds}\n");
    let looking = async {
        while !ask(router, "/metrics").await.1.contains(&line) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never {folds} folds"));
}

const WEEK: &str = "/api/v1/analytics/active-users?period=week";

#[tokio::test]
async fn a_fold_goes_on_when_nobody_waits_for_it_and_is_there_for_who_asks_again() {
    let (router, gate) = server().await;
    {
        let mut gone = pin!(ask(&router, WEEK));
        let mut context = task::Context::from_waker(task::Waker::noop());
        assert!(gone.as_mut().poll(&mut context).is_pending());
        until_folds(&router, 1).await;
    }
    gate.add_permits(1);
    until_folds(&router, 0).await;
    // The gate is shut again: this is what was folded.
    let (status, body) = ask(&router, WEEK).await;
    assert!(status == StatusCode::OK && body.contains(r#""count":1,"#), "{body}");
    // And it waits for nobody else's fold.
    let mut other = pin!(ask(&router, "/api/v1/analytics/active-users?period=month"));
    assert!(other.as_mut().now_or_never().is_none());
    until_folds(&router, 1).await;
    assert_eq!(ask(&router, WEEK).await.0, StatusCode::OK);
    gate.add_permits(1);
    assert_eq!(other.await.0, StatusCode::OK);
}

#[tokio::test]
async fn folds_beyond_what_fits_are_turned_away() {
    let (router, gate) = server().await;
    let waiting: Vec<_> = (1..=16)
        .map(|day| {
            let (router, path) =
                (router.clone(), format!("{WEEK}&date=2024-0{}-1{}", 1 + day / 10, day % 10));
            tokio::spawn(async move { ask(&router, &path).await.0 })
        })
        .collect();
    until_folds(&router, 16).await;
    let (status, body) = ask(&router, WEEK).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains("OVERLOADED"), "{body}");
    gate.add_permits(1_000);
    for status in waiting {
        assert_eq!(status.await.expect("an answer"), StatusCode::OK);
    }
    assert_eq!(ask(&router, WEEK).await.0, StatusCode::OK);
}
