//! Presence inside somebody else's Axum application: two routes beside its own.
//!
//! `cargo run --example embed_axum` asks itself and ends; with `-- --serve` it stays up on 127.0.0.1:3000:
//!
//! ```text
//! curl -X POST http://127.0.0.1:3000/presence/alice/Working
//! curl http://127.0.0.1:3000/presence/alice
//! ```

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use presence_core::{Envelope, Error, MemoryStore, StateType, SystemClock, Tracker, UserId, Window};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The application's own state has the tracker in it, as it may have a database pool.
#[derive(Clone)]
struct App {
    tracker: Tracker,
    greeting: &'static str,
}

fn app(tracker: Tracker) -> Router {
    Router::new()
        .route("/", get(|State(app): State<App>| async move { app.greeting }))
        .route("/presence/{user}", get(status))
        .route("/presence/{user}/{state}", post(report))
        .with_state(App { tracker, greeting: "hello from somebody else's application" })
}

async fn report(
    State(app): State<App>,
    Path((user, state)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (user, state) =
        (UserId::new(user).map_err(Error::from)?, StateType::new(state).map_err(Error::from)?);
    let recorded = app.tracker.record(Envelope::checkpoint(user, state)).await?;
    Ok(Json(json!({ "changed": recorded.changed })))
}

async fn status(State(app): State<App>, Path(user): Path<String>) -> Result<Json<Value>, Problem> {
    let user = UserId::new(user).map_err(Error::from)?;
    let status = app.tracker.status(&user, Window::all()).await.map_err(Error::from)?;
    Ok(Json(status.map_or(Value::Null, |status| {
        let durations =
            status.durations.iter().map(|part| (part.state.to_string(), json!(part.duration.as_secs())));
        json!({ "state": status.current_state, "durations": durations.collect::<serde_json::Map<_, _>>() })
    })))
}

/// An error of the library in the application's own dress.
struct Problem(Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = Tracker::new(Arc::new(MemoryStore::new()), SystemClock);
    if std::env::args().any(|arg| arg == "--serve") {
        let listener = TcpListener::bind("127.0.0.1:3000").await?;
        println!("listening on http://{}", listener.local_addr()?);
        return Ok(axum::serve(listener, app(tracker)).await?);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move { axum::serve(listener, app(tracker)).await });
    for (request, answer) in [
        ("GET /", "hello from somebody else's application"),
        ("POST /presence/alice/Working", r#"{"changed":true}"#),
        ("POST /presence/alice/Working", r#"{"changed":false}"#),
        ("GET /presence/alice", r#""state":"Working""#),
        ("GET /presence/nobody", "null"),
        ("POST /presence/alice/%20", r#""code":"INVALID_STATE""#),
    ] {
        let body = ask(&address.to_string(), request).await?;
        println!("{request:30} {body}");
        assert!(body.contains(answer), "{request} answers {answer}");
    }
    server.abort();
    Ok(())
}

/// One request over a connection of its own; gives the body of the answer.
async fn ask(address: &str, request: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let head =
        format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    connection.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
