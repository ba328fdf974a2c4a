//! What `/metrics` says after known requests: from `app` on a clock that stands, and over a real port.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    pin::{Pin, pin},
    sync::Arc,
    task,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, Response, StatusCode, header},
    routing::get,
};
use futures_util::{FutureExt, stream};
use presence_core::{
    Activity, Beats, EventKind, ManualClock, Outbox, Rooms, SinkName, Subscriptions, Timestamp, Tracker,
};
use presence_outbox::OutboxConfig;
use presence_server::{
    AppState, Settings, TrackingOutbox, app, jobs,
    serve::{Limits, serve},
};
use presence_sqlite::SqliteStore;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// When the clock stands, in seconds.
const NOW: i64 = 1_717_161_600;
/// Long for a test, short for somebody who waits for a hanging one.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server without a port.
struct World {
    clock: Arc<ManualClock>,
    store: Arc<SqliteStore>,
    state: AppState,
    router: Router,
}

impl World {
    async fn new(settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::new(at(NOW)));
        let store = Arc::new(SqliteStore::open(":memory:").await.expect("a store"));
        let beats = Beats::new(Tracker::new(store.clone(), clock.clone())).backed_by(store.clone());
        let activity = Activity::new(store.clone(), clock.clone());
        let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
        let state = AppState::new(beats, activity, rooms, settings).showing(store.clone());
        let state = state.delivering(store.clone());
        let router = app(state.clone());
        Self { clock, store, state, router }
    }

    async fn plain() -> Self {
        Self::new(Settings::default()).await
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.expect("an answer")
    }

    /// One request; status and body.
    async fn ask(&self, line: &str, body: &str) -> (u16, String) {
        let response = self.send(request(line, Body::from(body.to_owned()))).await;
        (response.status().as_u16(), text(response).await)
    }

    async fn figures(&self) -> Figures {
        let (status, text) = self.ask("GET /metrics", "").await;
        assert_eq!(status, 200);
        Figures::read(&text)
    }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs).expect("an instant of this age")
}

fn request(line: &str, body: Body) -> Request<Body> {
    let (method, path) = line.split_once(' ').expect("METHOD path");
    let request =
        Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    request.header(header::TRANSFER_ENCODING, "chunked").body(body).expect("a request")
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The samples of a scrape.
#[derive(Debug, PartialEq)]
struct Figures(BTreeMap<String, f64>);

impl Figures {
    fn read(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        });
        let samples: Vec<_> = samples.collect();
        let figures = Self(samples.iter().cloned().collect());
        assert_eq!(figures.0.len(), samples.len(), "a sample stands there twice: {text}");
        figures
    }

    fn of(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// Those whose name begins so, without that part and without zeros.
    fn beginning(&self, prefix: &str) -> Vec<(&str, f64)> {
        let samples = self.0.iter().filter(|(_, value)| **value > 0.0);
        samples.filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, *value))).collect()
    }

    /// Method, route and outcome of all requests, with how many there were.
    fn requests(&self) -> Vec<String> {
        let counts = self.beginning("presence_http_request_duration_seconds_count{");
        let word = |labels: &str, name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\"")).expect("a label");
            rest.split('"').next().expect("a value").to_owned()
        };
        let line = |(labels, count): (&str, f64)| {
            let [method, route, status] = ["method", "route", "status"].map(|name| word(labels, name));
            format!("{method} {route} {status} {count}")
        };
        counts.into_iter().map(line).collect()
    }
}

fn install_beat(client_ts: i64, user: &str) -> String {
    format!(r#"{{"installId":"phone-4711","appVersion":"1.0","clientTs":{client_ts}{user}}}"#)
}

/// Something of everything.
async fn exercise(world: &World) {
    for (line, body, status) in [
        ("POST /users/alice/checkpoints", r#"{"state":"Working"}"#, 201),
        ("POST /users/alice/checkpoints", r#"{"state":"Working"}"#, 200),
        ("POST /users/alice/checkpoints", r#"{"state":""}"#, 400),
        ("GET /users/alice/checkpoints", "", 200),
        ("POST /users/alice/heartbeat", "", 200),
        ("POST /users/bob/heartbeat", "", 200),
        ("POST /users/bob/heartbeat", r#"{"timestamp":99999999999}"#, 400),
        ("HEAD /users/bob/status", "", 200),
        ("GET /users/nobody/status", "", 404),
        ("PUT /users/bob/status", "", 405),
        ("GET /users/bob/nothing", "", 404),
        ("GET /livez", "", 200),
    ] {
        assert_eq!(world.ask(line, body).await.0, status, "{line} {body}");
    }
    let event =
        |name: &str, at: i64| format!(r#"{{"eventName":"{name}","installId":"phone-4711","clientTs":{at}}}"#);
    let counted = event("app_session_start", NOW);
    let other = event("click", NOW);
    let events = [&*counted, &other, &counted, &event("click", NOW + 9999), "7"].join(",");
    let (status, verdicts) =
        world.ask("POST /api/v1/analytics/events", &format!(r#"{{"events":[{events}]}}"#)).await;
    assert_eq!(status, 200, "{verdicts}");
    let (status, _) = world.ask("POST /api/v1/presence/heartbeat", &install_beat(NOW, "")).await;
    assert_eq!(status, 200);
    let beats = [
        install_beat(NOW, r#","userId":"carol""#),
        install_beat(NOW + 9999, r#","userId":"carol""#),
        install_beat(NOW, r#","userId":"alice""#),
        r#"{"installId":"x"}"#.to_owned(),
    ];
    let (status, verdicts) =
        world.ask("POST /api/v1/presence/heartbeats", &format!("[{}]", beats.join(","))).await;
    assert_eq!(status, 200, "{verdicts}");
    assert!(verdicts.contains(r#""accepted":2,"failed":2"#), "{verdicts}");
}

#[tokio::test]
async fn figures_after_known_requests_are_known() {
    let world = World::plain().await;
    assert_eq!(world.figures().await.requests(), [""; 0], "a scrape counts itself afterwards");
    exercise(&world).await;
    let figures = world.figures().await;
    assert_eq!(
        figures.requests(),
        [
            "GET /livez 2xx 1",
            "GET /metrics 2xx 1",
            "GET /users/{user_id}/checkpoints 2xx 1",
            "GET /users/{user_id}/status 4xx 1",
            "GET none 4xx 1",
            "HEAD /users/{user_id}/status 2xx 1",
            "POST /api/v1/analytics/events 2xx 1",
            "POST /api/v1/presence/heartbeat 2xx 1",
            "POST /api/v1/presence/heartbeats 2xx 1",
            "POST /users/{user_id}/checkpoints 2xx 2",
            "POST /users/{user_id}/checkpoints 4xx 1",
            "POST /users/{user_id}/heartbeat 2xx 2",
            "POST /users/{user_id}/heartbeat 4xx 1",
            "other /users/{user_id}/status 4xx 1",
        ]
    );
    assert_eq!(
        figures.beginning("presence_problems_total"),
        [
            ("{code=\"FUTURE_TIMESTAMP\"}", 3.0),
            ("{code=\"INVALID_BODY\"}", 2.0),
            ("{code=\"INVALID_STATE\"}", 1.0),
            ("{code=\"METHOD_NOT_ALLOWED\"}", 1.0),
            ("{code=\"ROUTE_NOT_FOUND\"}", 1.0),
            ("{code=\"USER_NOT_FOUND\"}", 1.0),
        ]
    );
    assert_eq!(
        figures.beginning("presence_heartbeats_total"),
        [
            ("{outcome=\"committed\"}", 2.0),
            ("{outcome=\"counted\"}", 1.0),
            ("{outcome=\"kept\"}", 2.0),
            ("{outcome=\"refused\"}", 1.0),
        ]
    );
    assert_eq!(
        figures.beginning("presence_events_total"),
        [
            ("{outcome=\"counted\"}", 1.0),
            ("{outcome=\"refused\"}", 2.0),
            ("{outcome=\"repeated\"}", 1.0),
            ("{outcome=\"uncounted\"}", 1.0),
        ]
    );
    assert_eq!(figures.of("presence_stale_days"), 1.0, "today");
    assert_eq!(figures.of("presence_checkpoints_total{outcome=\"stored\"}"), 1.0);
    assert_eq!(figures.of("presence_checkpoints_total{outcome=\"unchanged\"}"), 1.0);
    assert_eq!(figures.of("presence_online_users"), 3.0, "alice, bob and carol; the phone is hers");
    assert_eq!(figures.of("presence_live_members"), 3.0);
    assert_eq!(figures.of("presence_pending_users"), 1.0, "alice's beats");
    assert_eq!(figures.of("presence_waiting_envelopes"), 0.0);
    assert_eq!(figures.of("presence_http_in_flight_requests"), 0.0);
    assert_eq!(
        figures.of("presence_sqlite_commits_total"),
        4.0,
        "a row and a new user each, what is unchanged, and a batch of events"
    );
    assert_eq!(figures.of("presence_start_time_seconds"), 1_717_161_600.0);
    assert_eq!(figures.of(concat!("presence_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")), 1.0);

    // A member leaves the window before it is forgotten.
    world.clock.set(at(NOW + 181));
    let figures = world.figures().await;
    assert_eq!((figures.of("presence_online_users"), figures.of("presence_live_members")), (0.0, 3.0));
}

#[tokio::test]
async fn durations_fall_into_buckets_that_add_up() {
    let world = World::plain().await;
    exercise(&world).await;
    let figures = world.figures().await;
    let labels = r#"method="POST",route="/users/{user_id}/checkpoints",status="2xx""#;
    let buckets: Vec<f64> = (figures.0.iter())
        .filter(|(name, _)| name.starts_with("presence_http_request_duration_seconds_bucket"))
        .filter(|(name, _)| name.contains(labels) && !name.contains("+Inf"))
        .map(|(_, count)| *count)
        .collect();
    assert_eq!(buckets.len(), 17);
    let of = |part: &str, more: &str| {
        let name = format!("presence_http_request_duration_seconds_{part}{{");
        let mut found = figures
            .0
            .iter()
            .filter(|(each, _)| each.starts_with(&name) && each.contains(labels) && each.contains(more));
        *found.next().expect("a sample").1
    };
    assert_eq!(of("bucket", "le=\"+Inf\""), 2.0);
    assert_eq!(of("count", ""), 2.0);
    assert!(of("sum", "") > 0.0);
    assert!(buckets.iter().all(|count| *count <= 2.0));
    assert_eq!(of("bucket", "le=\"10.0\""), 2.0, "two writes to memory take less");
}

/// `PRESENCE_TEST_UPDATE=1` writes the file anew.
#[tokio::test]
async fn every_metric_is_known_by_name_type_and_meaning() {
    let world = World::plain().await;
    let sink = SinkName::new("events").expect("a name");
    world.store.subscribe(Subscriptions::none().with(sink, EventKind::ALL));
    exercise(&world).await;
    for step in [
        jobs::flush(&world.state).await,
        jobs::sweep(&world.state).await,
        jobs::evict(&world.state).await,
        jobs::refold(&world.state).await,
        jobs::catch_up(&world.state).await,
        jobs::snapshot(&world.state).await,
        jobs::retain(&world.state).await,
    ] {
        step.expect("a store that works");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let outbox =
        TrackingOutbox::open(OutboxConfig::new(folder.path().join("outbox")).reserve_bytes(0), "fsync").await;
    let state = world.state.clone().with_tracking_outbox(outbox.expect("an outbox"));
    let event = format!(r#"{{"events":[{{"eventName":"late","installId":"phone-4711","clientTs":{NOW}}}]}}"#);
    assert_eq!(world.ask("POST /api/v1/analytics/events", &event).await.0, 202);
    let stop = CancellationToken::new();
    stop.cancel();
    jobs::bring_events(&state, &stop).await;
    let response = world.send(request("GET /metrics", Body::empty())).await;
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = text(response).await;
    // The memory of the process is told on Linux only.
    let of_this_host = |line: &&str| !line.contains("process_resident_memory_bytes");
    let described = text.lines().filter(|line| line.starts_with("# ")).filter(of_this_host);
    let mut table: String = described.map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    table += "\nLabels and their values:\n";
    let mut labels: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = sample.split_once('{') else { continue };
        let (pairs, _) = rest.rsplit_once('}').expect("a label set");
        for pair in pairs.split("\",") {
            let (name, value) = pair.split_once("=\"").expect("a label");
            labels.entry(name.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    labels.remove("version");
    for (name, values) in &labels {
        table += &format!("{name}: {}\n", values.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics.txt");
    if std::env::var_os("PRESENCE_TEST_UPDATE").is_some() {
        fs::write(&path, &table).expect("written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(table == kept, "tests/metrics.txt is not what /metrics says:\n{table}");
}

#[tokio::test]
async fn the_books_of_a_sink_balance_and_are_read_every_ten_seconds() {
    let world = World::plain().await;
    let sink = SinkName::new("events").expect("a name");
    world.store.subscribe(Subscriptions::none().with(sink.clone(), EventKind::ALL));
    for user in ["alice", "bob", "carol", "dave"] {
        let (status, answer) =
            world.ask(&format!("POST /users/{user}/checkpoints"), r#"{"state":"Working"}"#).await;
        assert_eq!(status, 201, "{answer}");
    }
    world.store.ack(&sink, vec![1]).await.expect("a store");
    world.store.nack(&sink, vec![(2, "no".to_owned())], at(NOW)).await.expect("a store");
    assert_eq!(world.ask("DELETE /users/carol", "").await.0, 200);
    tokio::time::pause();
    let of_outbox = async || {
        let figures = world.figures().await;
        let names = [
            "accepted_total",
            "delivered_total",
            "pending",
            "dead",
            "expired_total",
            "erased_total",
            "oldest_timestamp_seconds",
        ];
        names.map(|name| figures.of(&format!(r#"presence_outbox_{name}{{sink="events"}}"#)))
    };
    let first = [4.0, 1.0, 1.0, 1.0, 0.0, 1.0, NOW as f64];
    assert_eq!(of_outbox().await, first);
    world.store.ack(&sink, vec![4]).await.expect("a store");
    tokio::time::advance(Duration::from_millis(9_999)).await;
    assert_eq!(of_outbox().await, first);
    tokio::time::advance(Duration::from_millis(1)).await;
    let figures = world.figures().await;
    assert_eq!(figures.of(r#"presence_outbox_delivered_total{sink="events"}"#), 2.0);
    assert_eq!(figures.beginning("presence_outbox_oldest_timestamp_seconds"), [], "nothing waits");
}

#[tokio::test]
async fn no_path_method_or_query_of_a_client_becomes_a_series() {
    let world = World::plain().await;
    world.ask("GET /users/alice/status", "").await;
    let before = world.figures().await.0.len();
    world.ask("PURGE /users/alice/status", "").await;
    world.ask("GET /nowhere", "").await;
    let series = world.figures().await.0.len();
    for number in 0..100 {
        world.ask(&format!("GET /users/u{number}/status?from={number}"), "").await;
        world.ask(&format!("GET /nowhere/{number}"), "").await;
        world.ask(&format!("PURGE{number} /users/alice/status"), "").await;
    }
    let figures = world.figures().await;
    assert_eq!(figures.0.len(), series, "{before} before");
    assert!(
        figures
            .0
            .keys()
            .all(|name| !name.contains("PURGE") && !name.contains("nowhere") && !name.contains("/u1"))
    );
}

#[tokio::test]
async fn a_step_that_fails_is_an_error_of_its_job_and_the_last_success_stays() {
    let world = World::plain().await;
    exercise(&world).await;
    world.clock.set(at(NOW + 5));
    assert_eq!(jobs::flush(&world.state).await.expect("a store that works"), 1);
    world.clock.set(at(NOW + 70));
    assert_eq!(jobs::sweep(&world.state).await.expect("a store that works"), 3);
    world.store.close().await;
    world.clock.set(at(NOW + 75));
    jobs::evict(&world.state).await.expect_err("the store is closed");
    jobs::sweep(&world.state).await.expect_err("the store is closed");
    let figures = world.figures().await;
    let by_job = |name: &str| {
        ["flush", "sweep", "evict"]
            .map(|job| figures.0.get(&format!("presence_job_{name}{{job=\"{job}\"}}")).copied())
    };
    assert_eq!(by_job("runs_total"), [Some(1.0), Some(2.0), Some(1.0)]);
    assert_eq!(by_job("errors_total"), [Some(0.0), Some(1.0), Some(1.0)]);
    assert_eq!(by_job("done_total"), [Some(1.0), Some(3.0), Some(0.0)]);
    assert_eq!(by_job("duration_seconds_count"), [Some(1.0), Some(2.0), Some(1.0)]);
    let (flushed, swept) = (1_717_161_605.0, 1_717_161_670.0);
    assert_eq!(by_job("last_success_timestamp_seconds"), [Some(flushed), Some(swept), None]);
}

/// A body that does not come.
fn stalled() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
}

fn poll<F: Future>(future: Pin<&mut F>) -> task::Poll<F::Output> {
    future.poll(&mut task::Context::from_waker(task::Waker::noop()))
}

#[tokio::test]
async fn requests_beyond_the_cap_are_turned_away_at_once_until_there_is_room() {
    let world = World::new(Settings { max_in_flight: 2, ..Settings::default() }).await;
    let stall = || world.send(request("POST /users/alice/checkpoints", stalled()));
    let mut first = Box::pin(stall());
    let mut second = pin!(stall());
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());

    let response = world.send(request("GET /users/alice/status", Body::empty())).now_or_never();
    let response = response.expect("turned away at once");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let problem: Value = serde_json::from_str(&text(response).await).expect("JSON");
    assert_eq!(problem["code"], "OVERLOADED");
    for path in ["/health", "/livez", "/readyz", "/api/v1/health"] {
        assert_eq!(world.ask(&format!("GET {path}"), "").await.0, 200, "{path}");
    }
    let figures = world.figures().await;
    assert_eq!(figures.of("presence_http_in_flight_requests"), 2.0);
    assert_eq!(figures.of("presence_problems_total{code=\"OVERLOADED\"}"), 1.0);

    // The first client leaves.
    drop(first);
    assert_eq!(world.ask("GET /users/alice/status", "").await.0, 404);
    let figures = world.figures().await;
    assert_eq!(figures.of("presence_http_in_flight_requests"), 1.0);
    assert!(
        figures.requests().contains(&"POST /users/{user_id}/checkpoints dropped 1".to_owned()),
        "{figures:?}"
    );
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_in_flight() {
    let world = World::new(Settings { max_in_flight: 1, ..Settings::default() }).await;
    world.ask("POST /users/alice/checkpoints", r#"{"state":"Working"}"#).await;
    let export = world.send(request("GET /users/alice/export", Body::empty())).await;
    assert_eq!(export.status(), StatusCode::OK);
    assert_eq!(world.ask("GET /users/alice/status", "").await.0, 200, "the export is not read yet");
    assert!(text(export).await.contains("Working"));
}

#[tokio::test]
async fn a_uri_beyond_8_kib_is_a_414_that_does_not_repeat_it() {
    let world = World::plain().await;
    let uri = |length: usize| format!("/users/alice/status?x={}", "y".repeat(length - 22));
    assert_eq!(world.ask(&format!("GET {}", uri(8192)), "").await.0, 404, "no such user");
    let (status, body) = world.ask(&format!("GET {}", uri(8193)), "").await;
    let problem: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &problem["code"]), (414, &Value::from("URI_TOO_LONG")));
    let (status, body) = world.ask(&format!("GET /users/{}/status", "z".repeat(9000)), "").await;
    assert!(status == 414 && !body.contains("zzz"), "{body}");
    let (status, _) = world.ask(&format!("GET /{}", "z".repeat(9000)), "").await;
    assert_eq!(status, 414, "also where there is no route");
}

/// A server on a port, with a route of its own that panics.
struct Port {
    world: World,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

async fn panics(axum::extract::Path(word): axum::extract::Path<String>) {
    panic!("{word}")
}

impl Port {
    async fn open(limits: Limits) -> Self {
        let world = World::plain().await;
        let own = Router::new()
            .route("/panic/{word}", get(panics))
            .route("/stuck", get(std::future::pending::<()>));
        let router = own.merge(world.router.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let serving = serve(listener, router, limits, Arc::clone(world.state.traffic()), shutdown.clone());
        let running = tokio::spawn(async move {
            serving.await.expect("a listener that works");
        });
        Self { world, address, shutdown, running }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a server that listens")
    }

    /// Sends `bytes`, and gives head and body of what comes until the server closes.
    async fn tell(&self, bytes: &str) -> (String, Value) {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        let answer = rest(&mut stream).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        (head.to_lowercase(), serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}")))
    }

    /// Ends it, and gives the figures after that.
    async fn end(self) -> Figures {
        self.shutdown.cancel();
        timeout(PATIENCE, self.running).await.expect("it ends").expect("without a panic");
        self.world.figures().await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("the server closes").expect("without a reset");
    answer
}

fn limits() -> Limits {
    let later = Duration::from_secs(3600);
    Limits { header_timeout: later, body_timeout: later, keep_alive: later, ..Limits::default() }
}

#[tokio::test]
async fn every_answer_of_the_door_is_a_problem_with_its_code_and_request_id() {
    let soon = Duration::from_millis(50);
    let port = Port::open(Limits { request_timeout: soon, body_timeout: soon, ..limits() }).await;
    for (request, status, code) in [
        (
            "GET /panic/secret HTTP/1.1\r\nhost: a\r\nx-request-id: mine-1\r\nconnection: close\r\n\r\n",
            500,
            "INTERNAL",
        ),
        ("GET /stuck HTTP/1.1\r\nhost: a\r\nx-request-id: mine-1\r\n\r\n", 503, "REQUEST_TIMED_OUT"),
    ] {
        let (head, problem) = port.tell(request).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert!(head.contains("\r\nx-request-id: mine-1"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/problem+json"), "{head}");
        assert_eq!(head.contains("\r\nretry-after: 1"), status == 503, "{head}");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(
            (&problem["status"], &problem["request_id"]),
            (&Value::from(status), &Value::from("mine-1"))
        );
        assert_eq!(problem["error"], problem["detail"]);
        assert!(!problem["detail"].as_str().expect("text").contains("secret"), "{problem}");
    }
    // Without a request id of the client's, head and body have the same one of ours; so has a head that is refused.
    let ambiguous = "content-length: 2\r\ncontent-length: 2\r\nx-request-id: not-ours";
    for (headers, code) in [("x-request-id: not ours", "REQUEST_TIMED_OUT"), (ambiguous, "AMBIGUOUS_REQUEST")]
    {
        let request = format!("GET /stuck HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n");
        let (head, problem) = port.tell(&request).await;
        let id = problem["request_id"].as_str().expect("an id");
        assert!(
            !id.starts_with("not") && head.contains(&format!("\r\nx-request-id: {id}")),
            "{head} {problem}"
        );
        assert_eq!(problem["code"], code, "{problem}");
    }
    let figures = port.end().await;
    assert_eq!(figures.of("presence_panics_total"), 1.0);
    assert_eq!(
        figures.beginning("presence_problems_total"),
        [
            ("{code=\"AMBIGUOUS_REQUEST\"}", 1.0),
            ("{code=\"INTERNAL\"}", 1.0),
            ("{code=\"REQUEST_TIMED_OUT\"}", 2.0),
        ]
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408_of_the_route_that_waited_for_it() {
    let port = Port::open(Limits { body_timeout: Duration::from_millis(50), ..limits() }).await;
    let request = "POST /users/alice/checkpoints HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                   x-request-id: mine-2\r\ncontent-length: 9\r\n\r\n{";
    let (head, problem) = port.tell(request).await;
    assert!(head.starts_with("http/1.1 408 ") && head.contains("\r\nconnection: close"), "{head}");
    assert_eq!((&problem["code"], &problem["request_id"]), (&"BODY_TIMED_OUT".into(), &"mine-2".into()));
    assert_eq!(problem["instance"], "/users/alice/checkpoints");
    let figures = port.end().await;
    assert_eq!(figures.of("presence_problems_total{code=\"BODY_TIMED_OUT\"}"), 1.0, "counted once");
}

#[tokio::test]
async fn connections_are_counted_as_they_come_and_go() {
    let soon = Duration::from_millis(50);
    let port = Port::open(Limits { max_connections: 2, drain: soon, keep_alive: soon, ..limits() }).await;
    // One that is served, and then idle too long; one that hangs; one for which there is no slot.
    let mut idle = port.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200 "));
    let mut stuck = [port.connect().await, port.connect().await];
    for stream in &mut stuck {
        stream.write_all(b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    }
    let (head, problem) = port.tell("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: 1"), "{head}");
    assert_eq!(problem["code"], "TOO_MANY_CONNECTIONS");
    assert!(problem["detail"].as_str().expect("text").contains("服务器连接数已达上限"), "RM-34: {problem}");
    assert!(
        head.contains(&format!("\r\nx-request-id: {}", problem["request_id"].as_str().expect("an id"))),
        "{head}"
    );
    let figures = port.world.figures().await;
    assert_eq!(figures.of("presence_connections_open"), 2.0);

    let figures = port.end().await;
    assert_eq!(
        figures.beginning("presence_connections_"),
        [("accepted_total", 3.0), ("cut_total", 2.0), ("refused_total", 1.0), ("timed_out_total", 1.0)]
    );
}

#[tokio::test]
async fn a_head_that_is_refused_is_counted_too() {
    let port = Port::open(limits()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(17 * 1024));
    for (bytes, status) in [("hello\r\n\r\n", "400"), (&long, "431")] {
        let mut stream = port.connect().await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        assert!(rest(&mut stream).await.starts_with(&format!("HTTP/1.1 {status} ")), "{status}");
    }
    // A client that goes away is not malformed.
    drop(port.connect().await);
    let figures = port.end().await;
    assert_eq!(figures.of("presence_connections_malformed_total"), 2.0);
}
