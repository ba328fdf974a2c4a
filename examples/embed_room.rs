//! Rooms inside somebody else's Axum application: its own routes make a room and read what was said there, and all routes
//! of the server stand below `/presence`.
//!
//! `cargo run --example embed_room` plays a round with itself and ends; with `-- --serve` it stays up on 127.0.0.1:3000:
//!
//! ```text
//! curl -X POST http://127.0.0.1:3000/tables/poker
//! cargo run --example room_client -- ws://127.0.0.1:3000/presence/ws/rooms/poker --user alice
//! curl http://127.0.0.1:3000/tables/poker
//! ```

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::{SinkExt, StreamExt};
use presence_core::{
    Activity, Admins, Beats, ClientFrame, Error, MemoryStore, RoomId, RoomName, Rooms, ServerFrame,
    SystemClock, Tracker, UserId, Window,
};
use presence_server::{AppState, Settings, jobs};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// How often the application says that its rooms are still its own: well below their lease of 15 s.
const RENEWAL: Duration = Duration::from_secs(5);

fn app(state: AppState) -> Router {
    let rooms = state.hub().rooms().clone();
    Router::new()
        .route("/tables/{table}", post(open).get(read))
        .with_state(rooms)
        .nest("/presence", presence_server::app(state))
}

/// Makes a room for a table; the house moderates it.
async fn open(State(rooms): State<Rooms>, Path(table): Path<String>) -> Result<Json<Value>, Problem> {
    let (id, name) = (RoomId::new(table.as_str())?, RoomName::new(&table)?);
    let room = rooms.create(id, name, Admins::new([UserId::new("house")?])?).await?;
    Ok(Json(json!({ "join": format!("/presence/ws/rooms/{}", room.id) })))
}

/// What was said there, newest first.
async fn read(State(rooms): State<Rooms>, Path(table): Path<String>) -> Result<Json<Value>, Problem> {
    let history = rooms.messages(&RoomId::new(table)?, Window::all(), 1, 100).await?;
    let said = history.iter().flat_map(|history| &history.records);
    let said = said.map(|message| json!([message.user_id.as_str(), message.content.as_str()]));
    Ok(Json(Value::Array(said.collect())))
}

/// An error of the library in the application's own dress.
struct Problem(Error);

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = match &self.0 {
            Error::Rejected(rejection) => (StatusCode::BAD_REQUEST, rejection.code()),
            Error::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE"),
        };
        (status, Json(json!({ "code": code, "error": self.0.to_string() }))).into_response()
    }
}

/// Keeps the leases of the rooms that are open here. The server's own process has jobs for this and more.
async fn keep(state: AppState) {
    let mut ticks = interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = jobs::renew_rooms(&state).await {
            eprintln!("leases are not renewed: {error}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(MemoryStore::new());
    let beats = Beats::new(Tracker::new(store.clone(), SystemClock));
    let activity = Activity::new(store.clone(), SystemClock);
    let rooms = Rooms::new(store, SystemClock, "node-1");
    let state = AppState::new(beats, activity, rooms, Settings::default());
    tokio::spawn(keep(state.clone()));
    if std::env::args().any(|arg| arg == "--serve") {
        let listener = TcpListener::bind("127.0.0.1:3000").await?;
        println!("listening on http://{}", listener.local_addr()?);
        return Ok(axum::serve(listener, app(state)).await?);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, app(state.clone())).into_future());
    play(address).await?;
    // Before an application ends, everybody is told to go, and what was said is written.
    state.hub().drain(Duration::from_secs(10)).await;
    let said = ask(address, "GET /tables/poker").await?;
    println!("GET /tables/poker    {said}");
    assert_eq!(said, r#"[["alice","all in"],["house","place your bets"]]"#);
    server.abort();
    Ok(())
}

/// Two sit down at a table and talk; the house throws one out.
async fn play(address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let made = ask(address, "POST /tables/poker").await?;
    println!("POST /tables/poker   {made}");
    assert_eq!(made, r#"{"join":"/presence/ws/rooms/poker"}"#);
    assert!(ask(address, "POST /tables/poker").await?.contains("ROOM_EXISTS"));

    let mut house = join(address, "house").await?;
    let mut alice = join(address, "alice").await?;
    send(&mut house, &ClientFrame::SendMessage { content: "place your bets".to_owned() }).await?;
    hear(&mut alice, |frame| matches!(frame, ServerFrame::Message { .. })).await?;
    send(&mut alice, &ClientFrame::SendMessage { content: "all in".to_owned() }).await?;
    hear(&mut alice, |frame| matches!(frame, ServerFrame::Message { from, .. } if from.as_str() == "alice"))
        .await?;
    send(&mut house, &ClientFrame::KickUser { user_id: UserId::new("alice")? }).await?;
    hear(&mut alice, |frame| *frame == ServerFrame::YouAreKicked).await
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn join(address: SocketAddr, user: &str) -> Result<Socket, Box<dyn std::error::Error>> {
    let url = format!("ws://{address}/presence/ws/rooms/poker?user_id={user}&nickname={user}");
    let (mut socket, _) = connect_async(url).await?;
    hear(&mut socket, |frame| matches!(frame, ServerFrame::WelcomeInfo { .. })).await?;
    Ok(socket)
}

async fn send(socket: &mut Socket, frame: &ClientFrame) -> Result<(), Box<dyn std::error::Error>> {
    Ok(socket.send(Message::text(serde_json::to_string(frame)?)).await?)
}

/// Prints what comes, up to the frame that is waited for.
async fn hear(
    socket: &mut Socket,
    is_it: impl Fn(&ServerFrame) -> bool,
) -> Result<(), Box<dyn std::error::Error>> {
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        println!("{text}");
        if ServerFrame::parse(&text).is_some_and(|frame| is_it(&frame)) {
            return Ok(());
        }
    }
    Err("the room went away".into())
}

/// One request over a connection of its own; gives the body of the answer.
async fn ask(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let head =
        format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    connection.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
