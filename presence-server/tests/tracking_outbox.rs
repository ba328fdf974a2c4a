//! Events of apps that wait in a directory first.

use std::{fs, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use presence_core::{
    Activity, ActivityQuery, Beats, ManualClock, MemoryStore, Rooms, Timestamp, Tracker, Window,
};
use presence_outbox::OutboxConfig;
use presence_server::{AppState, Settings, TrackingOutbox, app, jobs};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

struct Server {
    store: Arc<MemoryStore>,
    state: AppState,
    routes: Router,
    folder: TempDir,
}

impl Server {
    async fn start(configure: impl FnOnce(OutboxConfig) -> OutboxConfig) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configure).await
    }

    async fn start_in(folder: TempDir, configure: impl FnOnce(OutboxConfig) -> OutboxConfig) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).unwrap()));
        let store = Arc::new(MemoryStore::new());
        let tracker = Tracker::new(store.clone(), clock.clone());
        let activity = Activity::new(store.clone(), clock.clone());
        let rooms = Rooms::new(store.clone(), clock, "node-1");
        let config = configure(OutboxConfig::new(folder.path().join("outbox")).reserve_bytes(0));
        let outbox = TrackingOutbox::open(config, "fsync").await.unwrap();
        let state = AppState::new(Beats::new(tracker), activity, rooms, Settings::default())
            .with_tracking_outbox(outbox);
        Self { store, routes: app(state.clone()), state, folder }
    }

    /// Status, durability and body.
    async fn ask(&self, line: &str, body: &str) -> (u16, String, String) {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let response = self.routes.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await;
        let response = response.unwrap();
        let status = response.status().as_u16();
        let durability =
            response.headers().get("presence-durability").map(|value| value.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, durability.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn report(&self, events: &[&str]) -> (u16, String, String) {
        self.ask("POST /api/v1/analytics/events", &format!(r#"{{"events":[{}]}}"#, events.join(","))).await
    }

    /// Brings all that waits to the store, as a server does that ends.
    async fn bring(&self) {
        let stop = CancellationToken::new();
        stop.cancel();
        jobs::bring_events(&self.state, &stop).await;
    }

    async fn stored(&self) -> Vec<String> {
        let events = self.store.events(Window::all(), None, 100).await.unwrap();
        events.into_iter().map(|event| format!("{}: {}", event.event_id, event.name)).collect()
    }

    async fn metric(&self, name: &str) -> String {
        let (_, _, text) = self.ask("GET /metrics", "").await;
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit_once(' ').map(|(_, value)| value.to_owned()).unwrap_or_default()
    }
}

fn event(id: &str, name: &str) -> String {
    format!(
        r#"{{"eventName":"{name}","installId":"phone-4711","clientTs":1717161600,"userId":"alice","eventId":"{id}"}}"#
    )
}

fn as_is(config: OutboxConfig) -> OutboxConfig {
    config
}

#[tokio::test]
async fn events_are_kept_first_and_stored_once_and_soon() {
    let server = Server::start(as_is).await;
    let answer = server.report(&[&event("e-1", "app_session_start"), r#"{"eventName":"7 days"}"#]).await;
    let expected = r#"{"accepted":1,"failed":1,"errors":[{"index":1,"code":"INVALID_BODY"}]}"#;
    assert_eq!(answer, (202, "fsync".to_owned(), expected.to_owned()));
    assert_eq!(server.report(&[&event("e-1", "app_session_start")]).await.0, 202, "a client repeats itself");
    assert_eq!(server.stored().await, Vec::<String>::new());
    assert_ne!(server.metric("tracking_outbox_pending_bytes").await, "0");
    server.bring().await;
    assert_eq!(server.stored().await, ["e-1: app_session_start"]);
    assert_eq!(server.metric("tracking_outbox_pending_bytes").await, "0");
    assert_eq!(server.metric("tracking_outbox_flushed_events_total").await, "2");
}

#[tokio::test]
async fn a_running_server_needs_nobody_to_ask() {
    let server = Server::start(|config| config.batch_size(1)).await;
    let (state, stop) = (server.state.clone(), CancellationToken::new());
    let job = tokio::spawn({
        let stop = stop.clone();
        async move { jobs::bring_events(&state, &stop).await }
    });
    assert_eq!(server.report(&[&event("e-1", "app_session_start")]).await.0, 202);
    let arrived = async {
        while server.stored().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived).await.expect("it arrives");
    stop.cancel();
    job.await.unwrap();
}

#[tokio::test]
async fn what_finds_no_room_goes_to_the_store_at_once() {
    let server = Server::start(|config| config.max_bytes(1)).await;
    let (status, durability, body) = server.report(&[&event("e-1", "app_session_start")]).await;
    assert_eq!((status, durability.as_str()), (200, "memory"), "{body}");
    assert_eq!(server.stored().await, ["e-1: app_session_start"]);
    assert_eq!(server.metric("tracking_outbox_dropped_total").await, "1");
}

#[tokio::test]
async fn an_id_that_was_used_for_another_event_is_put_aside_with_the_reason() {
    let server = Server::start(as_is).await;
    let events = [event("e-1", "app_session_start"), event("e-1", "other"), event("e-2", "other")];
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    assert_eq!(server.report(&events).await.0, 202);
    server.bring().await;
    assert_eq!(server.stored().await, ["e-1: app_session_start", "e-2: other"]);
    assert_eq!(server.metric("tracking_outbox_dead_letters_total").await, "1");
    let dead = content(server.folder.path(), "dead-");
    assert!(dead.contains("EVENT_ID_REUSED") && dead.contains(r#""name":"other""#), "{dead}");
}

#[tokio::test]
async fn an_erasure_reaches_what_waits() {
    let server = Server::start(as_is).await;
    assert_eq!(server.report(&[&event("e-1", "app_session_start")]).await.0, 202);
    let (status, _, receipt) = server.ask("DELETE /users/alice", "").await;
    assert!(status == 200 && receipt.contains(r#""events":1"#), "{receipt}");
    assert!(!content(server.folder.path(), "").contains("alice"), "no byte is left");
    server.bring().await;
    assert_eq!(server.stored().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_server_left_is_brought_by_the_next() {
    let server = Server::start(as_is).await;
    assert_eq!(server.report(&[&event("e-1", "app_session_start")]).await.0, 202);
    let Server { state, routes, folder, .. } = server;
    // As after a crash: nobody has sealed anything.
    drop((state, routes));
    let server = Server::start_in(folder, as_is).await;
    server.bring().await;
    assert_eq!(server.stored().await, ["e-1: app_session_start"]);
}

/// What the files of the directory hold whose names begin so.
fn content(folder: &Path, prefix: &str) -> String {
    let files = fs::read_dir(folder.join("outbox")).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
    files.map(|file| String::from_utf8_lossy(&fs::read(file.path()).unwrap()).into_owned()).collect()
}
