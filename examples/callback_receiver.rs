//! A receiver of callbacks: it checks who calls, takes each delivery once, and keeps a copy of the rooms.
//!
//! ```text
//! CALLBACK_SECRET=whsec_... cargo run --example callback_receiver
//! ```
//!
//! `examples/callback_receiver.sh` starts it together with a server, and shows what arrives. Each delivery is printed as
//! `ROUTE TYPE ROOM`, and a repeated one as `ROUTE repeated`.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    routing::{get, post},
};
use clap::Parser;
use serde::Serialize;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

/// How many ids are remembered. An id names an event, and two URLs that are told of one event get the same id: so they are
/// kept by route. A sender repeats what was not acknowledged, so few are enough; whoever stores deliveries
/// keeps the ids beside them, in the same transaction.
const IDS: usize = 100_000;

#[derive(Parser)]
#[command(about = "A receiver of callbacks")]
struct Arguments {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// What is known of a room.
#[derive(Clone, Debug, Default, Serialize)]
struct Room {
    name: Option<String>,
    is_closed: bool,
    members: Vec<String>,
    messages: usize,
    stays: usize,
    /// What the server says that it has, by the last periodic sync.
    record_counts: Value,
}

#[derive(Debug, Default)]
struct Copy {
    rooms: BTreeMap<String, Room>,
    /// Deliveries that were taken, by route.
    taken: BTreeMap<String, u64>,
    repeated: u64,
    refused: u64,
    ids: HashSet<String>,
    /// The same ids, oldest first.
    order: VecDeque<String>,
}

impl Copy {
    /// Whether the id is new. From now on it is not.
    fn is_new(&mut self, id: String) -> bool {
        let is_new = self.ids.insert(id.clone());
        if is_new {
            self.order.push_back(id);
        }
        if self.order.len() > IDS {
            self.order.pop_front().map(|oldest| self.ids.remove(&oldest));
        }
        is_new
    }

    /// Takes a delivery over.
    fn take(&mut self, id: &str, body: &Value) {
        let room = self.rooms.entry(id.to_owned()).or_default();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let rows = |name: &str| body[name].as_array().map_or(0, Vec::len);
        match body["event_type"].as_str() {
            Some("RoomCreated") => room.name = text("room_name"),
            Some("RoomClosed") => room.is_closed = true,
            Some("UserJoined") => room.members.extend(text("user_id")),
            Some("UserLeft") => room.members.retain(|member| Some(member) != text("user_id").as_ref()),
            // Batches come in order, and none twice, so that adding up is enough.
            Some("ChatHistoryBatch") => room.messages += rows("messages"),
            Some("SessionHistoryBatch") => room.stays += rows("sessions"),
            Some("PeriodicSync") => room.record_counts = body["record_counts"].clone(),
            // Everything of a room at once.
            None => room.name = text("room_name"),
            // Kinds may come that are not known here.
            Some(_) => {}
        }
    }
}

#[derive(Clone)]
struct Receiver {
    /// Knows the secret, where there is one.
    webhook: Option<Arc<Webhook>>,
    copy: Arc<Mutex<Copy>>,
}

impl Receiver {
    fn copy(&self) -> MutexGuard<'_, Copy> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a delivery. What is answered 2xx does not come again; what is answered 4xx comes never again, 5xx does.
async fn take(
    State(receiver): State<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let refused = |status, why| (status, Json(json!({ "status": "error", "message": why })));
    // The bytes as they came: what is parsed and written again is not what was signed.
    let is_signed = receiver.webhook.as_ref().is_none_or(|webhook| webhook.verify(&body, &headers).is_ok());
    let mut copy = receiver.copy();
    if !is_signed {
        copy.refused += 1;
        return refused(StatusCode::UNAUTHORIZED, "the signature is not valid");
    }
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    let body = serde_json::from_slice::<Value>(&body).ok();
    let room = body.as_ref().and_then(|body| body["room_id"].as_str());
    let (Some(id), Some(body), Some(room)) = (id, &body, room) else {
        copy.refused += 1;
        return refused(StatusCode::BAD_REQUEST, "it has no webhook-id, is no JSON or names no room");
    };
    let route = uri.path();
    if copy.is_new(format!("{route} {id}")) {
        copy.take(room, body);
        *copy.taken.entry(route.to_owned()).or_default() += 1;
        println!("{route} {} {room}", body["event_type"].as_str().unwrap_or("RoomData"));
    } else {
        copy.repeated += 1;
        println!("{route} repeated");
    }
    (StatusCode::OK, Json(json!({ "status": "success" })))
}

async fn rooms(State(receiver): State<Receiver>) -> Json<Value> {
    Json(json!({ "status": "success", "rooms": receiver.copy().rooms }))
}

async fn room(State(receiver): State<Receiver>, Path(room): Path<String>) -> Result<Json<Value>, StatusCode> {
    let room = receiver.copy().rooms.get(&room).cloned().ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({ "status": "success", "room": room })))
}

async fn stats(State(receiver): State<Receiver>) -> Json<Value> {
    let copy = receiver.copy();
    let (taken, repeated, refused) = (&copy.taken, copy.repeated, copy.refused);
    Json(json!({ "status": "success", "taken": taken, "repeated": repeated, "refused": refused }))
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "success" }))
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { listen } = Arguments::parse();
    let webhook = match std::env::var("CALLBACK_SECRET").map(|secret| Webhook::new(&secret)) {
        Ok(Ok(webhook)) => Some(Arc::new(webhook)),
        Ok(Err(_)) => {
            eprintln!("CALLBACK_SECRET is none: it begins with whsec_");
            return ExitCode::FAILURE;
        }
        Err(_) => {
            eprintln!("without CALLBACK_SECRET anybody is believed");
            None
        }
    };
    let receiver = Receiver { webhook, copy: Arc::default() };
    let router = Router::new()
        .route("/sync/room", post(take))
        .route("/api/room-events", post(take))
        .route("/api/chat-history", post(take))
        .route("/api/session-history", post(take))
        .route("/api/periodic-sync", post(take))
        .route("/rooms", get(rooms))
        .route("/rooms/{room_id}", get(room))
        .route("/stats", get(stats))
        .route("/health", get(health))
        .with_state(receiver);
    let served = async {
        let listener = TcpListener::bind(listen).await?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, router).await
    };
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
