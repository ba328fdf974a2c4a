//! Presence inside somebody else's Axum application, in that application's own PostgreSQL: any number of its nodes give
//! the same answers.
//!
//! `DATABASE_URL=postgres://... cargo run --example embed_axum_postgres` makes two nodes, asks both and ends; with
//! `-- --serve` one stays up on 127.0.0.1:3000.

use std::{env, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use presence_core::{Beats, Envelope, Error, Heartbeat, Policy, StateType, Tracker, UserId, Window};
use presence_sqlx::{
    PostgresClock, PostgresConfig, PostgresStore,
    sqlx::{self, PgPool, postgres::PgPoolOptions},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How often heartbeats that are in memory are written.
const FLUSH: Duration = Duration::from_secs(1);

/// The application's own state: its pool, and the heartbeats in front of the tracker.
#[derive(Clone)]
struct App {
    pool: PgPool,
    beats: Arc<Beats>,
}

impl App {
    async fn connect(url: &str) -> Result<Self, Box<dyn std::error::Error>> {
        // One pool for both. What presence wants of a connection stands in these options; its tables lie in a schema of
        // their own, which is where a connection looks first.
        let config = PostgresConfig::new(url)?;
        let options = config.connect_options().options([("search_path", "presence,public")]);
        let pool = PgPoolOptions::new().max_connections(10).connect_with(options).await?;
        let mut connection = pool.acquire().await?;
        // Nodes that start at once would otherwise both make it.
        sqlx::query("SELECT pg_advisory_lock(4711)").execute(&mut *connection).await?;
        sqlx::query("CREATE SCHEMA IF NOT EXISTS presence").execute(&mut *connection).await?;
        sqlx::query("SELECT pg_advisory_unlock(4711)").execute(&mut *connection).await?;
        drop(connection);
        let store = Arc::new(PostgresStore::from_pool(pool.clone()).await?);
        // The database's time on every node, and twice the flush interval for what another node has not written yet.
        let clock = PostgresClock::new(store.clone()).await?;
        let policy = Policy { slack: 2 * FLUSH, ..Policy::default() };
        let tracker = Tracker::with_policy(store.clone(), clock, policy);
        Ok(Self { pool, beats: Arc::new(Beats::new(tracker).shared_with(store)) })
    }

    /// Writes heartbeats and concludes silences for as long as the application runs, on every node.
    async fn work(self) {
        let mut ticks = tokio::time::interval(FLUSH);
        loop {
            ticks.tick().await;
            if let Err(error) = self.beats.sweep(1_000).await {
                eprintln!("the next second goes on: {error}");
            }
        }
    }

    fn router(self) -> Router {
        Router::new()
            .route("/", get(greeting))
            .route("/presence/{user}", get(status).put(beat))
            .route("/presence/{user}/{state}", post(report))
            .with_state(self)
    }
}

/// The application's own question to its own database.
async fn greeting(State(app): State<App>) -> Result<String, StatusCode> {
    let name = sqlx::query_scalar::<_, String>("SELECT current_database()").fetch_one(&app.pool).await;
    name.map(|name| format!("hello from {name}")).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn report(
    State(app): State<App>,
    Path((user, state)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (user, state) =
        (UserId::new(user).map_err(Error::from)?, StateType::new(state).map_err(Error::from)?);
    let recorded = app.beats.record(Envelope::checkpoint(user, state)).await?;
    Ok(Json(json!({ "changed": recorded.changed })))
}

async fn beat(State(app): State<App>, Path(user): Path<String>) -> Result<StatusCode, Problem> {
    app.beats.beat(Heartbeat::of_user(UserId::new(user).map_err(Error::from)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn status(State(app): State<App>, Path(user): Path<String>) -> Result<Json<Value>, Problem> {
    let user = UserId::new(user).map_err(Error::from)?;
    let status = app.beats.status(&user, Window::all()).await.map_err(Error::from)?;
    let online = app.beats.online_count(Duration::from_secs(180)).await.map_err(Error::from)?;
    Ok(Json(json!({ "state": status.map(|status| status.current_state), "online": online })))
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
    let url = env::var("DATABASE_URL").map_err(|_| "DATABASE_URL=postgres://user:password@host/database")?;
    if env::args().any(|arg| arg == "--serve") {
        let app = App::connect(&url).await?;
        tokio::spawn(app.clone().work());
        let listener = TcpListener::bind("127.0.0.1:3000").await?;
        println!("listening on http://{}", listener.local_addr()?);
        return Ok(axum::serve(listener, app.router()).await?);
    }
    let (one, other) = tokio::try_join!(node(&url), node(&url))?;
    for (node, request, answer) in [
        (&one, "GET /", "hello from "),
        (&one, "POST /presence/alice/Working", r#"{"changed":true}"#),
        (&other, "POST /presence/alice/Working", r#"{"changed":false}"#),
        (&other, "PUT /presence/bob", ""),
        (&other, "GET /presence/bob", r#"{"online":2,"state":"Online"}"#),
        (&one, "GET /presence/nobody", r#""state":null}"#),
        (&one, "POST /presence/alice/%20", r#""code":"INVALID_STATE""#),
    ] {
        let body = ask(node, request).await?;
        println!("{request:30} {body}");
        assert!(body.contains(answer), "{request} answers {answer}");
    }
    Ok(())
}

/// A node with a port of its own; gives its address.
async fn node(url: &str) -> Result<String, Box<dyn std::error::Error>> {
    let app = App::connect(url).await?;
    tokio::spawn(app.clone().work());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { axum::serve(listener, app.router()).await });
    Ok(address)
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
