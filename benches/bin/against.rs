//! What the server is held against, each a process of its own that can be bound to a core.
//!
//! - `against handlers`: the least that anybody would write over axum. It takes the same bodies, checks no more of them
//!   than their types, keeps nothing, and answers the same JSON.
//! - `against tracker SECS`: the tracker of the server on SQLite, with 64 tasks that report, and no HTTP.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Bytes, http::StatusCode, routing::post, serve::ListenerExt};
use presence_benches::{state, user};
use presence_core::{Envelope, SystemClock, Tracker};
use presence_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};

// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tasks that report, and users of each.
const TASKS: u64 = 64;
const USERS: u64 = 20;

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["handlers"] => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(handlers())
        }
        ["tracker", secs] => {
            let time = secs.parse().map(Duration::from_secs_f64).map_err(io::Error::other)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            println!("{}", runtime.block_on(tracker(time))?);
            Ok(())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: against handlers | tracker SECS")),
    }
}

async fn handlers() -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/api/v1/presence/heartbeat", post(heartbeat))
        .route("/api/v1/presence/heartbeats", post(heartbeats));
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).await
}

/// A heartbeat, owned.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owned {
    install_id: String,
    app_version: String,
    client_ts: i64,
    user_id: Option<String>,
}

/// A heartbeat, borrowed from the body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Borrowed<'a> {
    install_id: &'a str,
    app_version: &'a str,
    client_ts: i64,
    user_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    ok: bool,
    server_ts: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdicts {
    accepted: usize,
    failed: usize,
    errors: [u8; 0],
    server_ts: i64,
}

/// Where parsed values go, so that no compiler leaves the parsing out.
static SINK: AtomicU64 = AtomicU64::new(0);

async fn heartbeat(Json(beat): Json<Owned>) -> Json<Accepted> {
    let length = beat.install_id.len() + beat.app_version.len() + beat.user_id.map_or(0, |user| user.len());
    SINK.fetch_add(length as u64, Relaxed);
    Json(Accepted { ok: true, server_ts: beat.client_ts })
}

async fn heartbeats(body: Bytes) -> Result<Json<Verdicts>, StatusCode> {
    let beats: Vec<Borrowed<'_>> = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let length = |beat: &Borrowed<'_>| {
        beat.install_id.len() + beat.app_version.len() + beat.user_id.map_or(0, str::len)
    };
    SINK.fetch_add(beats.iter().map(|beat| length(beat) as u64).sum(), Relaxed);
    let server_ts = beats.first().map_or(0, |beat| beat.client_ts);
    Ok(Json(Verdicts { accepted: beats.len(), failed: 0, errors: [], server_ts }))
}

/// Reports per second that are durable.
async fn tracker(time: Duration) -> io::Result<f64> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("presence.db")).await.map_err(io::Error::other)?;
    let store = Arc::new(store);
    let tracker = Tracker::new(store.clone(), SystemClock);
    let start = now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let tracker = tracker.clone();
            tokio::spawn(async move {
                let mut reports = 0;
                while start.elapsed() < time {
                    // Every round of the users has the other state.
                    let state = state(reports / USERS);
                    let user = user(task * USERS + reports % USERS);
                    tracker.record(Envelope::checkpoint(user, state)).await?;
                    reports += 1;
                }
                Ok::<_, presence_core::Error>(reports)
            })
        })
        .collect();
    let mut reports = 0;
    for task in tasks {
        reports += task.await?.map_err(io::Error::other)?;
    }
    let rate = reports as f64 / start.elapsed().as_secs_f64();
    drop(tracker);
    store.close().await;
    Ok(rate)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}
