//! Every route's answers, good and bad, as a client sees them: from `app` on a store in memory and a clock that stands.

use std::{fmt::Write, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use presence_core::{
    Activity, ActivityPolicy, Admins, Beats, Clock, Command, ConnectionId, EventKind, ManualClock,
    MemoryStore, Moment, Nickname, Opening, Outbox, RoomId, RoomName, Rooms, SinkName, Subscriptions,
    Timestamp, Tracker, UserId,
};
use presence_server::{AppState, Settings, app, auth::Access, jobs};
use tower::ServiceExt;

/// What operators show.
const KEY: &str = "K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xC";

/// A server without a port, and a transcript of what it was asked.
struct Talk {
    clock: Arc<ManualClock>,
    state: AppState,
    router: Router,
    transcript: String,
}

impl Talk {
    fn new() -> Self {
        let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryStore::new()));
        let activity = Activity::new(store.clone(), clock.clone());
        Self::of(clock, store, activity)
    }

    fn of(clock: Arc<ManualClock>, store: Arc<MemoryStore>, activity: Activity) -> Self {
        let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
        let tracker = Tracker::new(store, clock.clone());
        let state = AppState::new(Beats::new(tracker), activity, rooms, Settings::default());
        let router = app(state.clone());
        let talk = Self { clock, state, router, transcript: String::new() };
        talk.at(1_717_161_600);
        talk
    }

    fn at(&self, secs: i64) {
        self.clock.set(Timestamp::from_secs(secs).expect("an instant"));
    }

    /// Asks `METHOD path`, and writes down the answer.
    async fn ask(&mut self, line: &str, body: &str) {
        self.ask_with(line, body, &[("content-type", "application/json"), ("x-request-id", "r-1")]).await;
    }

    async fn ask_with(&mut self, line: &str, body: &str, headers: &[(&str, &str)]) {
        let (method, path) = line.split_once(' ').expect("METHOD path");
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_LENGTH, body.len());
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body_out) = response.into_parts();
        let bytes = to_bytes(body_out, usize::MAX).await.expect("a body");
        let shown = if body.len() > 200 { "(long)" } else { body };
        writeln!(self.transcript, "> {line} {shown}").expect("written");
        write!(self.transcript, "{}", parts.status.as_u16()).expect("written");
        for name in ["content-type", "presence-durability", "retry-after", "link", "allow"] {
            if let Some(value) = parts.headers.get(name) {
                write!(self.transcript, " {name}: {}", value.to_str().expect("text")).expect("written");
            }
        }
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        writeln!(self.transcript, "\n{}\n", text.trim_end()).expect("written");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(parts.headers.get(name).expect("a safety header"), value, "{line}");
        }
        assert!(parts.headers.contains_key("x-request-id"), "{line}");
    }
}

#[tokio::test]
async fn checkpoints() {
    let mut talk = Talk::new();
    let path = "/users/alice/checkpoints";
    talk.ask(&format!("POST {path}"), r#"{"state":"Working"}"#).await;
    talk.at(1_717_161_610);
    talk.ask(&format!("POST {path}"), r#"{"state":"Working"}"#).await;
    let idle = r#"{"state":"Idle","content":{"device":"MacBook","battery":85},"timestamp":1717161605}"#;
    talk.ask(&format!("POST {path}"), idle).await;
    talk.ask(&format!("POST {path}"), r#"{"state":"Gaming","event_id":"e-1"}"#).await;
    talk.ask(&format!("POST {path}"), r#"{"state":"Gaming","event_id":"e-1"}"#).await;
    talk.ask(&format!("POST {path}"), r#"{"state":"Idle","event_id":"e-1"}"#).await;
    talk.ask(&format!("GET {path}"), "").await;
    talk.ask(&format!("GET {path}?limit=2"), "").await;
    talk.ask(&format!("GET {path}?limit=2&cursor=1717161605000-2"), "").await;
    talk.ask(&format!("GET {path}?from=1717161600&to=1717161605&limit=10"), "").await;
    talk.ask(&format!("GET {path}/1"), "").await;
    talk.ask("GET /users/nobody/checkpoints", "").await;
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn checkpoints_that_are_refused() {
    let mut talk = Talk::new();
    let post = "POST /users/alice/checkpoints";
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"state":""}"#,
        r#"{"state":7}"#,
        r#"{"state":" Working"}"#,
        r#"{"state":"Working","state":"Idle"}"#,
        r#"{"state":"Working","timestamp":-1}"#,
        r#"{"state":"Working","timestamp":1.5}"#,
        r#"{"state":"Working","timestamp":1e400}"#,
        r#"{"state":"Working","timestamp":1717161901}"#,
        r#"{"state":"Working","timestamp":9223372036854775807}"#,
        r#"{"state":"Working","content":{"a":1,"a":2}}"#,
        r#"{"state":"Working","content":99999999999999999999}"#,
        r#"{"state":"Working","content":"\u0000"}"#,
        r#"{"state":"Working","content":"\ud800"}"#,
        r#"{"state":"Working","event_id":""}"#,
    ] {
        talk.ask(post, body).await;
    }
    let deep = format!(r#"{{"state":"Working","content":{}1{}}}"#, "[".repeat(33), "]".repeat(33));
    let wide = format!(r#"{{"state":"Working","content":"{}"}}"#, "x".repeat(16 * 1024));
    let long = format!(r#"{{"state":"{}"}}"#, "x".repeat(65));
    let large = " ".repeat(64 * 1024 + 1);
    for body in [deep, wide, long, large] {
        talk.ask(post, &body).await;
    }
    let body = r#"{"state":"Working"}"#;
    talk.ask_with(post, body, &[("x-request-id", "r-1")]).await;
    talk.ask_with(post, body, &[("content-type", "text/plain"), ("x-request-id", "r-1")]).await;
    let latin = [("content-type", "application/json; charset=latin1"), ("x-request-id", "r-1")];
    talk.ask_with(post, body, &latin).await;
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip"), ("x-request-id", "r-1")];
    talk.ask_with(post, body, &gzip).await;
    let get = "GET /users/alice/checkpoints";
    for query in
        ["?from=2&to=1", "?limit=0", "?limit=1001", "?limit=x", "?cursor=x", "?from=1.5", "/0", "/x", "/7"]
    {
        talk.ask(&format!("{get}{query}"), "").await;
    }
    talk.ask("POST /users/%20/checkpoints", body).await;
    talk.ask("POST /users/%ff/checkpoints", body).await;
    talk.ask(&format!("POST /users/{}/checkpoints", "x".repeat(129)), body).await;
    talk.ask("GET /users/alice/status", "").await;
    insta::assert_snapshot!(talk.transcript);
}

/// JSON Schema, and the writers of some clients, know no other integers.
#[tokio::test]
async fn a_whole_number_is_taken_however_it_is_written() {
    for whole in ["1717161600", "1717161600.0", "1.7171616e9", "17171616000e-1"] {
        let mut talk = Talk::new();
        talk.ask("POST /users/7/heartbeat", &format!(r#"{{"timestamp":{whole}}}"#)).await;
        talk.ask("POST /users/7/checkpoints", &format!(r#"{{"state":"Idle","timestamp":{whole}}}"#)).await;
        let beat =
            format!(r#"{{"installId":"phone-4711","appVersion":"1","clientTs":{whole},"userId":7.0}}"#);
        talk.ask("POST /api/v1/presence/heartbeat", &beat).await;
        talk.ask("GET /api/v1/presence/online-users", "").await;
        let answers = &talk.transcript;
        assert!(answers.contains(r#""last_heartbeat":1717161600}"#), "{answers}");
        assert!(answers.contains(r#""state":"Idle","timestamp":1717161600,"#), "{answers}");
        assert!(answers.contains(r#"[{"userId":"7","lastSeen":"2024-05-31T13:20:00.000Z"}]"#), "{answers}");
    }
    for other in ["1717161600.5", "9007199254740993.0", "1e300", "-1e300", "\"1717161600\"", "true", "[1]"] {
        let mut talk = Talk::new();
        talk.ask("POST /users/7/heartbeat", &format!(r#"{{"timestamp":{other}}}"#)).await;
        let beat = format!(r#"{{"installId":"phone-4711","appVersion":"1","clientTs":{other}}}"#);
        talk.ask("POST /api/v1/presence/heartbeat", &beat).await;
        let refusals = talk.transcript.matches(r#""code":"INVALID_BODY""#).count();
        assert_eq!(refusals, 2, "{other}: {}", talk.transcript);
    }
}

#[tokio::test]
async fn the_event_id_of_the_header_counts_where_the_body_has_none_and_is_always_checked() {
    let mut talk = Talk::new();
    let post = "POST /users/alice/checkpoints";
    let with = |key: &'static str| [("content-type", "application/json"), ("idempotency-key", key)];
    talk.ask_with(post, r#"{"state":"Idle"}"#, &with("e-1")).await;
    talk.ask_with(post, r#"{"state":"Idle","event_id":"e-1"}"#, &with("e-2")).await;
    assert_eq!(talk.transcript.matches("201 ").count(), 2, "one request: {}", talk.transcript);
    assert_eq!(talk.transcript.matches(r#""id":1,"#).count(), 2, "one row: {}", talk.transcript);
    for key in ["", ".", "\u{e9}"] {
        let mut talk = Talk::new();
        talk.ask_with(post, r#"{"state":"Idle","event_id":"e-1"}"#, &with(key)).await;
        assert!(talk.transcript.contains(r#""code":"INVALID_EVENT_ID""#), "{key}: {}", talk.transcript);
    }
}

#[tokio::test]
async fn status_heartbeat_and_summaries() {
    let mut talk = Talk::new();
    talk.ask("POST /users/alice/heartbeat", "").await;
    talk.at(1_717_161_630);
    talk.ask("POST /users/alice/heartbeat", r#"{"state":"Working"}"#).await;
    talk.ask("GET /users/alice/status", "").await;
    jobs::flush(&talk.state).await.expect("a store that works");
    talk.at(1_717_161_800);
    talk.ask("GET /users/alice/status", "").await;
    jobs::sweep(&talk.state).await.expect("a store that works");
    talk.ask("POST /users/alice/heartbeat", r#"{"state":"Working","timestamp":1717161799}"#).await;
    talk.ask("GET /users/alice/status?from=1717161610&to=1717161700", "").await;
    talk.ask("GET /users/alice/summaries", "").await;
    talk.ask("GET /users/alice/summaries?from=1717161600&to=1717248000&tz=Asia/Shanghai", "").await;
    for refused in [
        "GET /users/nobody/status",
        "GET /users/alice/status?from=2&to=1",
        "GET /users/alice/summaries?tz=Mars",
        "GET /users/alice/summaries?from=0&to=1717161600",
    ] {
        talk.ask(refused, "").await;
    }
    talk.ask("POST /users/alice/heartbeat", r#"{"timestamp":1717999999}"#).await;
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn export_and_erasure() {
    let mut talk = Talk::new();
    let report = r#"{"state":"Working","event_id":"e-1"}"#;
    talk.ask("POST /users/alice/checkpoints", report).await;
    talk.ask("GET /users/alice/export", "").await;
    talk.at(1_717_161_610);
    talk.ask("DELETE /users/alice", "").await;
    talk.ask("DELETE /users/alice", "").await;
    talk.ask("GET /users/alice/export", "").await;
    talk.ask("POST /users/alice/checkpoints", r#"{"state":"Working","timestamp":1717161605}"#).await;
    talk.at(1_717_161_611);
    talk.ask("POST /users/alice/checkpoints", r#"{"state":"Working"}"#).await;
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn presence() {
    let mut talk = Talk::new();
    let post = "POST /api/v1/presence/heartbeat";
    let phone = r#"{"installId":"phone-4711","appVersion":"1.2","clientTs":1717161600}"#;
    talk.ask(post, phone).await;
    talk.ask("GET /api/v1/presence/online-users", "").await;
    talk.ask(post, &phone.replace('}', r#","userId":7}"#)).await;
    talk.ask(post, &phone.replace('}', r#","userId":"7"}"#)).await;
    talk.ask(post, phone).await;
    talk.ask("GET /api/v1/presence/online-count", "").await;
    let batch = r#"[{"installId":"tablet-42","appVersion":"1","clientTs":1717161590,"userId":"bob"},
        {"installId":"short","appVersion":"1","clientTs":1717161590},{"installId":"phone-0815"},7,
        {"installId":"phone-0815","appVersion":"1","clientTs":1717999999},
        {"installId":"phone-0815","appVersion":"1","clientTs":1717161595}]"#;
    talk.ask("POST /api/v1/presence/heartbeats", batch).await;
    talk.ask("GET /api/v1/presence/online-users?limit=2", "").await;
    talk.ask("GET /api/v1/presence/online-users?limit=2&cursor=u:7", "").await;
    talk.ask("GET /api/v1/presence/online-users?limit=2&cursor=u:bob", "").await;
    talk.ask("GET /api/v1/presence/online-count?windowSeconds=5", "").await;
    for window in ["0", "-5", "abc", "86401"] {
        talk.ask(&format!("GET /api/v1/presence/online-count?windowSeconds={window}"), "").await;
    }
    talk.ask("GET /api/v1/presence/online-users?cursor=x", "").await;
    talk.ask("GET /api/v1/presence/online-users?limit=0", "").await;
    for body in ["{}", "[]", r#"{"installId":"x y","appVersion":"1","clientTs":1}"#] {
        talk.ask(post, body).await;
        talk.ask("POST /api/v1/presence/heartbeats", body).await;
    }
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn active_users() {
    let mut talk = Talk::new();
    let post = "POST /api/v1/analytics/events";
    let event = |install: &str, rest: &str| {
        format!(r#"{{"eventName":"app_session_start","installId":"{install}","clientTs":1717161590{rest}}}"#)
    };
    let batch = |items: &[String]| format!(r#"{{"events":[{}]}}"#, items.join(","));
    talk.ask("GET /api/v1/analytics/dau", "").await;
    talk.ask("GET /api/v1/analytics/active-users", "").await;
    // One person who logs in later, one on two devices, and one of whom nothing is known.
    let good = [
        event("alices-phone", ""),
        event("alices-phone", r#","userId":"alice","properties":{"province":"Hunan","city":"Changsha"}"#),
        event("bobs-phone", r#","userId":7,"eventId":"e-1","properties":{"province":"Hubei","clicks":3}"#),
        event("bobs-tablet", r#","userId":"7","eventId":"e-2","properties":{"province":" Hunan "}"#),
        event("kiosk-0042", r#","userId":null,"eventId":null"#),
        event("kiosk-0042", "").replace("app_session_start", "click"),
    ];
    talk.ask(post, &batch(&good)).await;
    talk.ask(post, &batch(&good[2..3])).await;
    talk.ask("GET /api/v1/analytics/dau", "").await;
    jobs::refold(&talk.state).await.expect("a store that works");
    talk.ask("GET /api/v1/analytics/dau", "").await;
    // Somebody comes to yesterday late, and one to the week before too late to be counted.
    talk.at(1_717_161_660);
    let late = event("late-0001", "").replace("1717161590", "1717075200");
    let too_late = event("late-0002", "").replace("1717161590", "1716600000");
    talk.ask(post, &batch(&[late, too_late])).await;
    jobs::refold(&talk.state).await.expect("a store that works");
    talk.ask("GET /api/v1/analytics/dau?startDate=2024-05-30&endDate=2024-05-31", "").await;
    talk.ask("POST /api/v1/analytics/dau/2024-05-31/recalculate", "").await;
    talk.ask("POST /api/v1/analytics/dau/2024-05-29/recalculate", "").await;
    for period in
        ["", "?period=week&date=2024-05-26", "?period=month", "?period=7d", "?period=30d&date=2024-05-30"]
    {
        talk.ask(&format!("GET /api/v1/analytics/active-users{period}"), "").await;
    }
    talk.at(1_717_500_000);
    talk.ask("GET /api/v1/analytics/dau?endDate=2024-05-31&startDate=2024-05-30", "").await;
    talk.ask("GET /users/alice/export", "").await;
    talk.ask("DELETE /users/alice", "").await;
    jobs::refold(&talk.state).await.expect("a store that works");
    talk.ask("GET /api/v1/analytics/dau?startDate=2024-05-31&endDate=2024-05-31", "").await;
    talk.ask(post, &batch(&good[1..2])).await;
    talk.ask("GET /users/alice/export", "").await;
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn active_users_that_are_refused() {
    let mut talk = Talk::new();
    let post = "POST /api/v1/analytics/events";
    let event = r#"{"eventName":"app_session_start","installId":"phone-4711","clientTs":1717161600}"#;
    for body in
        ["", "[]", "{}", "null", r#"{"events":{}}"#, r#"{"events":[]}"#, r#"{"events":[],"events":[]}"#]
    {
        talk.ask(post, body).await;
    }
    talk.ask(post, &format!(r#"{{"events":[{}7]}}"#, "7,".repeat(1000))).await;
    talk.ask(post, &format!(r#"{{"events":["{}"]}}"#, "x".repeat(1024 * 1024))).await;
    let with = |field: &str| event.replace('}', &format!(",{field}}}"));
    let items = [
        event.to_owned(),
        "7".to_owned(),
        r#"["app_session_start","phone-4711",null,1717161600]"#.to_owned(),
        event.replace("app_session_start", "app session"),
        event.replace("phone-4711", "short"),
        event.replace("1717161600", "1717161901"),
        event.replace("1717161600", "1717161600000"),
        event.replace("1717161600", "1.5"),
        with(r#""userId":" ""#),
        with(r#""eventId":"""#),
        with(r#""properties":[]"#),
        with(r#""properties":null"#),
        with(r#""properties":{"a":1,"a":2}"#),
        with(r#""properties":{"a":"\ud800"}"#),
        with(r#""eventId":"e-1","properties":{"n":1}"#),
        with(r#""eventId":"e-1","properties":{"n":2}"#),
    ];
    talk.ask(post, &format!(r#"{{"events":[{}]}}"#, items.join(","))).await;
    for query in [
        "dau?startDate=2024-05-31&endDate=2024-05-30",
        "dau?startDate=2023-05-31&endDate=2024-05-31",
        "dau?endDate=2024-02-30",
        "dau?endDate=2024-5-31",
        "dau?endDate=0000-01-01",
        "dau?startDate=today",
        "active-users?period=year",
        "active-users?date=20240531",
        "active-users?period=week&date=9999-12-31",
    ] {
        talk.ask(&format!("GET /api/v1/analytics/{query}"), "").await;
    }
    for day in ["x", "2024-05-32", "2024-05-31T00:00:00Z", "%ff"] {
        talk.ask(&format!("POST /api/v1/analytics/dau/{day}/recalculate"), "").await;
    }
    insta::assert_snapshot!(talk.transcript);
}

/// Days whose events are gone cannot be counted again.
#[tokio::test]
async fn what_is_no_longer_kept_is_gone() {
    let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryStore::new()));
    let keep_events = Some(Duration::from_secs(30 * 86_400));
    let policy = ActivityPolicy { keep_events, ..ActivityPolicy::default() };
    let activity = Activity::with_policy(store.clone(), clock.clone(), policy);
    let mut talk = Talk::of(clock, store, activity);
    let event =
        r#"{"events":[{"eventName":"app_session_start","installId":"phone-4711","clientTs":1717161600}]}"#;
    talk.ask("POST /api/v1/analytics/events", event).await;
    talk.at(1_717_161_600 + 32 * 86_400);
    assert_eq!(jobs::retain(&talk.state).await.expect("a store that works"), 2);
    talk.ask("GET /api/v1/analytics/dau?startDate=2024-05-31&endDate=2024-05-31", "").await;
    talk.ask("POST /api/v1/analytics/dau/2024-05-31/recalculate", "").await;
    talk.ask("GET /api/v1/analytics/active-users?period=month&date=2024-05-31", "").await;
    talk.ask("POST /api/v1/analytics/events", event).await;
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn online_history() {
    let mut talk = Talk::new();
    let history = "GET /api/v1/presence/online-history";
    // S-5, at noon: 10, 20, 30, 40 and 50 minute by minute, then 60.
    for minute in 0..6 {
        talk.at(1_717_156_800 + 60 * minute);
        for install in 10 * minute..10 * minute + 10 {
            let beat = format!(
                r#"{{"installId":"install-{install:03}","appVersion":"1","clientTs":{}}}"#,
                1_717_156_800 + 60 * minute
            );
            talk.ask("POST /api/v1/presence/heartbeat", &beat).await;
        }
        if minute < 4 {
            assert_eq!(jobs::snapshot(&talk.state).await.expect("a store that works"), 1);
        } else {
            // The window is three minutes: who came before is not counted any more, so these are told.
            let window = "180".parse().expect("a window");
            let told = talk.state.activity().snapshot(10 * minute.unsigned_abs() + 10, window).await;
            assert!(told.expect("a store that works"));
        }
    }
    // S-4: a second one in the same minute changes nothing.
    assert_eq!(jobs::snapshot(&talk.state).await.expect("a store that works"), 0);
    talk.transcript.clear();
    let noon = "startTime=2024-05-31T12:00:00Z&endTime=2024-05-31T12:10:00Z";
    for query in [noon, &format!("{noon}&interval=1m"), &format!("{noon}&interval=1h")] {
        talk.ask(&format!("{history}?{query}"), "").await;
    }
    talk.ask(
        &format!("{history}?startTime=2024-05-31T14:02:00.000%2B02:00&endTime=2024-05-31T12:05:00Z"),
        "",
    )
    .await;
    talk.ask(&format!("{history}?startTime=2024-06-01T00:00:00Z&endTime=2024-06-01T00:00:00Z"), "").await;
    for query in [
        "",
        "?startTime=2024-05-31T12:00:00Z",
        "?endTime=2024-05-31T12:00:00Z",
        "?startTime=2024-05-31&endTime=2024-06-01",
        "?startTime=2024-05-31T12:00:00&endTime=2024-06-01T00:00:00Z",
        "?startTime=1969-12-31T23:59:59Z&endTime=2024-06-01T00:00:00Z",
        "?startTime=2024-06-01T00:00:00Z&endTime=2024-05-31T00:00:00Z",
        "?startTime=2024-01-01T00:00:00Z&endTime=2024-05-31T00:00:00Z&interval=1m",
        "?startTime=2024-05-30T00:00:00Z&endTime=2024-05-31T00:00:00Z&interval=2m",
    ] {
        talk.ask(&format!("{history}{query}"), "").await;
    }
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn health_and_what_is_not_there() {
    let mut talk = Talk::new();
    for line in [
        "GET /health",
        "GET /api/v1/health",
        "GET /management/health",
        "GET /livez",
        "GET /readyz",
        "GET /heartbeat",
        "PUT /users/alice/status",
        "GET /users/alice",
    ] {
        talk.ask(line, "").await;
    }
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn the_outbox_and_a_sync() {
    let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryStore::new()));
    let sink = |name| SinkName::new(name).expect("a name");
    let (told, idle) = (sink("events"), sink("room_events"));
    let wanted = Subscriptions::none().with(told.clone(), EventKind::ALL).with(idle, [EventKind::RoomClosed]);
    store.subscribe(wanted);
    let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
    let activity = Activity::new(store.clone(), clock.clone());
    let beats = Beats::new(Tracker::new(store.clone(), clock.clone()));
    let access = Access::open().with_admin_keys(KEY.parse().expect("a key"));
    let settings = Settings { access, ..Settings::default() };
    let state = AppState::new(beats, activity, rooms.clone(), settings).delivering(store.clone());
    let router = app(state.clone());
    let mut talk = Talk { clock, state, router, transcript: String::new() };
    talk.at(1_717_161_600);
    let headers = [("x-api-key", KEY), ("x-request-id", "r-1"), ("content-type", "application/json")];
    talk.ask_with("GET /management/outbox", "", &headers).await;
    for id in ["a", "b", "c", "d"] {
        let (id, name) = (RoomId::new(id).expect("an id"), RoomName::new("Lobby").expect("a name"));
        rooms.create(id, name, Admins::new([]).expect("few")).await.expect("made");
    }
    store.ack(&told, vec![1]).await.expect("a store");
    let refused = [2, 3].map(|number| (number, "the receiver answered 400".to_owned()));
    store.nack(&told, refused.to_vec(), talk.clock.now()).await.expect("a store");
    talk.at(1_717_161_610);
    for (line, body) in [
        ("GET /management/outbox", ""),
        ("GET /management/outbox/events/dead-letters?limit=1", ""),
        ("GET /management/outbox/events/dead-letters?cursor=2", ""),
        ("GET /management/outbox/events/dead-letters?limit=0", ""),
        ("GET /management/outbox/nothing/dead-letters", ""),
        ("GET /management/outbox/No%20sink/dead-letters", ""),
        ("POST /management/outbox/events/requeue", r#"{"numbers":[2,99]}"#),
        ("POST /management/outbox/events/requeue", r#"{"numbers":["2"]}"#),
        ("POST /management/outbox/events/requeue", ""),
        ("POST /management/outbox/nothing/requeue", ""),
        ("GET /management/outbox", ""),
        ("POST /management/sync", ""),
    ] {
        talk.ask_with(line, body, &headers).await;
    }
    let many = format!(r#"{{"numbers":{:?}}}"#, vec![1; 1001]);
    talk.ask_with("POST /management/outbox/events/requeue", &many, &headers).await;
    insta::assert_snapshot!(talk.transcript);
}

#[tokio::test]
async fn rooms() {
    let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryStore::new()));
    let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
    let activity = Activity::new(store.clone(), clock.clone());
    let beats = Beats::new(Tracker::new(store.clone(), clock.clone()));
    let access = Access::open().with_admin_keys(KEY.parse().expect("a key"));
    let settings = Settings { access, ..Settings::default() };
    let state = AppState::new(beats, activity, rooms.clone(), settings);
    let router = app(state.clone());
    let mut talk = Talk { clock, state, router, transcript: String::new() };
    talk.at(1_717_161_600);
    let user = |name: &str| UserId::new(name).expect("an id");
    for (id, admins) in [("quiet", vec![]), ("lobby", vec![user("root"), user("second")])] {
        let (id, name) = (RoomId::new(id).expect("an id"), RoomName::new("Lobby").expect("a name"));
        rooms.create(id, name, Admins::new(admins).expect("few")).await.expect("made");
    }
    let Opening::Open(mut lobby) = rooms.open(&RoomId::new("lobby").expect("an id")).await.expect("a store")
    else {
        panic!("nobody else has it")
    };
    // Somebody comes each ten seconds, says something a second later, and leaves after two; the last one stays.
    for (number, name) in ["alice", "root", "bob"].into_iter().enumerate() {
        let connection = ConnectionId(number as u64);
        let (join, say, leave) = (
            Command::Join {
                connection,
                user_id: user(name),
                nickname: Nickname::new(&name.to_uppercase()).expect("a name"),
                seen: None,
            },
            Command::Say { connection, content: format!("hello from {name}") },
            Command::Leave { connection },
        );
        for (secs, command) in [(0, join), (1, say), (2, leave)] {
            if (number, secs) != (2, 2) {
                talk.at(1_717_161_600 + 10 * number as i64 + secs);
                let now = Moment { at: talk.clock.now(), uptime: Duration::from_secs(60 * number as u64) };
                lobby.handle(command, now, &mut Vec::new());
            }
        }
    }
    rooms.write(lobby.batch(talk.clock.now()).into_iter().collect()).await.expect("a store");
    rooms.give_up(vec![(lobby.id().clone(), lobby.epoch())]).await.expect("a store");

    let headers = [("x-api-key", KEY), ("x-request-id", "r-1"), ("content-type", "application/json")];
    for (line, body) in [
        ("GET /management/rooms", ""),
        ("GET /management/rooms/lobby", ""),
        ("GET /management/sync/rooms", ""),
        ("GET /management/sync/chat-history/lobby", ""),
        ("GET /management/sync/chat-history/lobby?page=2&limit=2", ""),
        ("GET /management/sync/chat-history/lobby?page=3&limit=2", ""),
        ("GET /management/sync/chat-history/lobby?from=1717161601&to=1717161611", ""),
        ("GET /management/sync/chat-history/lobby?from=1717161602&to=1717161601", ""),
        ("GET /management/sync/session-history/lobby?limit=1", ""),
        ("GET /management/sync/session-history/lobby?from=1717161601", ""),
        ("GET /management/sync/session-history/lobby?page=0", ""),
        ("GET /management/sync/session-history/lobby?limit=0", ""),
        ("PUT /management/rooms/lobby/bans/alice", ""),
        ("PUT /management/rooms/lobby/bans/alice", ""),
        ("PUT /management/rooms/lobby/mutes/bob", ""),
        ("DELETE /management/rooms/lobby/members/bob", ""),
        ("PUT /management/rooms/lobby/admins", r#"{"admin_user_ids":["second","third","third"]}"#),
        ("POST /management/rooms/lobby/system-message", r#"{"content":"hi"}"#),
        ("GET /management/sync", ""),
        ("DELETE /management/rooms/lobby/bans/alice", ""),
        ("DELETE /management/rooms/lobby/bans/alice", ""),
        ("GET /management/rooms/lobby/actions?limit=3", ""),
        ("GET /management/rooms/lobby/actions?cursor=4", ""),
        ("DELETE /management/rooms/lobby", ""),
        ("DELETE /management/rooms/lobby", ""),
        ("GET /management/rooms/lobby", ""),
        ("GET /management/rooms", ""),
        ("GET /management/sync/chat-history/lobby?limit=1", ""),
        ("PUT /management/rooms/lobby/bans/alice", ""),
        ("GET /management/rooms/nowhere/actions", ""),
        ("POST /management/rooms", r#"{"room_name":"","admin_user_ids":[]}"#),
        ("POST /management/rooms", r#"{"room_name":"Lobby","admin_user_ids":[""]}"#),
        ("PUT /management/rooms/quiet/admins", "{}"),
        ("POST /management/rooms/quiet/system-message", r#"{"content":""}"#),
        ("GET /ws/rooms/quiet?user_id=alice&nickname=Alice", ""),
    ] {
        talk.ask_with(line, body, &headers).await;
    }
    talk.ask("GET /management/rooms", "").await;
    insta::assert_snapshot!(talk.transcript);
}
