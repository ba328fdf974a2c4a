//! A server with a room on a real port, a way to it that can be cut, and members.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use presence_core::{
    Activity, Admins, Beats, ClientFrame, MemoryStore, RoomId, RoomName, RoomPolicy, Rooms, ServerFrame,
    SystemClock, Tracker, UserId,
};
use presence_server::{
    AppState, Settings, app,
    config::Origins,
    serve::{Limits, listen, serve},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

/// Long for whatever answers, short for somebody who waits for what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The room of every test; root moderates it.
pub(crate) const ROOM: &str = "lobby";

/// Starts a server that lets pages of `origins` in; members speak as often as they like.
pub(crate) async fn server(origins: &str) -> SocketAddr {
    let store = Arc::new(MemoryStore::new());
    let beats = Beats::new(Tracker::new(store.clone(), SystemClock));
    let activity = Activity::new(store.clone(), SystemClock);
    let policy = RoomPolicy {
        message_interval: Duration::ZERO,
        stats_interval: Duration::ZERO,
        ..RoomPolicy::default()
    };
    let rooms = Rooms::with_policy(store, SystemClock, "node-1", policy);
    let admins = Admins::new([UserId::new("root").expect("a user")]).expect("administrators");
    let id = RoomId::new(ROOM).expect("an id");
    rooms.create(id, RoomName::new("Lobby").expect("a name"), admins).await.expect("made");
    let cors_origins = origins.parse::<Origins>().expect("origins");
    let state = AppState::new(beats, activity, rooms, Settings { cors_origins, ..Settings::default() });
    let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = listener.local_addr().expect("an address");
    let traffic = Arc::clone(state.traffic());
    // It ends with the test's runtime.
    tokio::spawn(serve(listener, app(state), Limits::default(), traffic, CancellationToken::new()));
    address
}

/// A way to a server that can be cut.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Way {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_open, open) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.expect("a connection");
                let mut open = open.clone();
                tokio::spawn(async move {
                    // Whoever comes while it is cut waits.
                    let _ = open.wait_for(|is_open| *is_open).await;
                    let mut server = TcpStream::connect(server).await.expect("a server that listens");
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = open.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { address, is_open }
    }

    /// Ends what goes over it; whoever comes waits until it is mended.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.is_open.send_replace(true);
    }
}

/// A member of the room.
pub(crate) struct Member(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Member {
    pub(crate) async fn join(server: SocketAddr, user: &str) -> Self {
        let url = format!("ws://{server}/ws/rooms/{ROOM}?user_id={user}&nickname={user}");
        Self(connect_async(url).await.expect("a room").0)
    }

    pub(crate) async fn send(&mut self, frame: &ClientFrame) {
        let text = serde_json::to_string(frame).expect("JSON");
        self.0.send(Message::text(text)).await.expect("sent");
    }

    pub(crate) async fn say(&mut self, content: &str) {
        self.send(&ClientFrame::SendMessage { content: content.to_owned() }).await;
    }

    /// What comes up to the frame that holds `part`, it included.
    pub(crate) async fn until(&mut self, part: &str) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        loop {
            let next = timeout(PATIENCE, self.0.next()).await;
            let next = next.unwrap_or_else(|_| panic!("{part} is never said: {frames:?}"));
            let Message::Text(text) = next.expect("no end").expect("a frame") else { continue };
            frames.push(ServerFrame::parse(&text).expect("a frame of the server"));
            if text.contains(part) {
                return frames;
            }
        }
    }

    /// The code with which the server closes.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.expect("the server closes");
            if let Message::Close(close) = next.expect("no end without a close").expect("a frame") {
                return close.expect("with a code").code.into();
            }
        }
    }
}
