//! Every route's answers, good and bad, as a client sees them: from `app` on a store in memory and a clock that stands.

use std::{fmt::Write, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use presence_core::{Beats, ManualClock, MemoryStore, Timestamp, Tracker};
use presence_server::{AppState, Settings, app, jobs};
use tower::ServiceExt;

/// A server without a port, and a transcript of what it was asked.
struct Talk {
    clock: Arc<ManualClock>,
    state: AppState,
    router: Router,
    transcript: String,
}

impl Talk {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
        let state = AppState::new(Beats::new(tracker), Settings::default());
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
async fn health_and_what_is_not_there() {
    let mut talk = Talk::new();
    for line in [
        "GET /health",
        "GET /api/v1/health",
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
