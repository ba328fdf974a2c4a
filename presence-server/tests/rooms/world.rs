//! A server with rooms on a real port, in memory, and a clock that a test moves.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use presence_core::{
    Activity, Beats, Clock, ManualClock, MemoryStore, RoomPolicy, Rooms, Timestamp, Tracker,
};
use presence_server::{
    AppState, Settings, app,
    auth::AdminKeys,
    serve::{Limits, listen, serve},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::store::Breakable;

pub(crate) const KEY: &str = "K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xC";

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) state: AppState,
    pub(crate) store: Arc<Breakable>,
    stop: CancellationToken,
}

impl World {
    /// Members are told of each other at once, and speak as often as they like.
    pub(crate) fn quick() -> RoomPolicy {
        RoomPolicy {
            message_interval: Duration::ZERO,
            stats_interval: Duration::ZERO,
            ..RoomPolicy::default()
        }
    }

    pub(crate) fn start(policy: RoomPolicy) -> Self {
        Self::with(policy, Settings::default())
    }

    pub(crate) fn with(policy: RoomPolicy, settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).expect("an instant")));
        let store = Arc::new(Breakable::new(Arc::new(MemoryStore::new())));
        Self::on(store, clock, "node-1", policy, settings)
    }

    /// Another server on the same store.
    pub(crate) fn beside(&self, node: &str) -> Self {
        let policy = self.state.hub().rooms().policy().clone();
        Self::on(Arc::clone(&self.store), Arc::clone(&self.clock), node, policy, Settings::default())
    }

    fn on(
        store: Arc<Breakable>,
        clock: Arc<ManualClock>,
        node: &str,
        policy: RoomPolicy,
        settings: Settings,
    ) -> Self {
        let beats = Beats::new(Tracker::new(store.kept(), clock.clone()));
        let activity = Activity::new(store.kept(), clock.clone());
        let rooms = Rooms::with_policy(store.clone(), clock.clone(), node, policy);
        let access = settings.access.clone().with_admin_keys(KEY.parse::<AdminKeys>().expect("a key"));
        let state = AppState::new(beats, activity, rooms, Settings { access, ..settings });
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (traffic, stop) = (Arc::clone(state.traffic()), CancellationToken::new());
        // It ends with the test's runtime.
        tokio::spawn(serve(listener, app(state.clone()), Limits::default(), traffic, stop.clone()));
        Self { address, clock, state, store, stop }
    }

    /// Makes a room; its id.
    pub(crate) async fn room(&self, admins: &[&str]) -> String {
        make(self.address, admins).await
    }

    /// Lets time pass, for whatever is stored.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.set(self.clock.now().saturating_add(span));
    }

    /// Asks as an operator; status and body.
    pub(crate) async fn manage(&self, line: &str, body: &str) -> (u16, String) {
        manage(self.address, line, body).await
    }

    /// Tells the server to end.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.state.hub().drain(Duration::from_secs(10)).await;
    }
}

/// Makes a room; its id.
pub(crate) async fn make(address: SocketAddr, admins: &[&str]) -> String {
    let body = serde_json::json!({ "room_name": "Lobby", "admin_user_ids": admins });
    let (status, answer) = manage(address, "POST /management/rooms", &body.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    let made: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    made["room_id"].as_str().expect("an id").to_owned()
}

/// Asks a server as an operator; status and body.
pub(crate) async fn manage(address: SocketAddr, line: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("a server that listens");
    let request = format!(
        "{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX-Api-Key: {KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
}
