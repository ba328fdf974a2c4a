//! A server without a port, on a clock that stands, and its operations as the document names them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use presence_core::{Activity, Beats, ManualClock, MemoryStore, Rooms, Tracker};
use presence_server::{
    AppState, Settings,
    auth::{Access, Secret, Tokens},
};
use serde_json::Value;
use tower::ServiceExt;

use crate::forge::{KEY, SECRET, now};

/// Users need tokens; operators have a key, and need it everywhere.
pub(crate) fn closed() -> Access {
    let secret = Secret::new(SECRET).expect("a secret");
    let tokens = Tokens::new(&secret, "presence", None, Duration::from_secs(86_400));
    let keys = KEY.parse().expect("a key");
    Access::open().with_tokens(tokens).with_admin_keys(keys).with_closed_operations()
}

pub(crate) struct Server {
    pub(crate) state: AppState,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<MemoryStore>,
    router: Router,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `code` of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }
}

impl Server {
    pub(crate) fn new(access: Access) -> Self {
        Self::with(Settings { access, ..Settings::default() })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.set(now());
        let store = Arc::new(MemoryStore::new());
        let tracker = Tracker::new(store.clone(), clock.clone());
        let activity = Activity::new(store.clone(), clock.clone());
        let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
        let state = AppState::new(Beats::new(tracker), activity, rooms, settings);
        let router = presence_server::app(state.clone());
        Self { state, clock, store, router }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.expect("an answer").into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Asks for `METHOD path` with a body of JSON, if any, and these headers.
    pub(crate) async fn ask(&self, line: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(line, body, headers)).await
    }
}

pub(crate) fn request(line: &str, body: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let (method, path) = line.split_once(' ').expect("METHOD path");
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
        request = request.header(header::CONTENT_LENGTH, body.len());
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}

/// One operation of the document.
#[derive(Debug)]
pub(crate) struct Operation {
    /// `METHOD path`, about alice.
    pub(crate) line: String,
    /// The example of its body, which is about alice as well.
    pub(crate) body: String,
    pub(crate) rule: Rule,
    /// Whether it begins a WebSocket: in another name than that of the token nobody speaks there, and the token may
    /// be a subprotocol.
    pub(crate) is_socket: bool,
    /// The statuses that it documents.
    pub(crate) statuses: Vec<u16>,
}

/// Who may ask, as `security` says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    Open,
    Token,
    AdminToken,
    Key,
}

impl Operation {
    pub(crate) fn documents(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    pub(crate) fn with(&self, user: &str) -> String {
        self.line.replace("alice", user)
    }
}

/// Every operation; one without a rule is none that could be there.
pub(crate) fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(presence_server::openapi()).expect("JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let security = &operation["security"];
            let rule = match security.to_string().as_str() {
                "[]" => Rule::Open,
                r#"[{"bearer":[]}]"# => Rule::Token,
                r#"[{"bearer":["admin"]}]"# => Rule::AdminToken,
                r#"[{"adminKey":[]}]"# => Rule::Key,
                other => panic!("{method} {path}: nobody says who may ask: {other}"),
            };
            let path = path.replace("{user_id}", "alice").replace("{id}", "1").replace("{day}", "2024-05-31");
            let path = path.replace("{file}", "index.html");
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            let body = if example.is_null() { String::new() } else { example.to_string() };
            let statuses = operation["responses"].as_object().expect("responses").keys();
            let statuses = statuses.map(|status| status.parse().expect("a status")).collect();
            let path = path.replace("{room_id}", "lobby");
            // A member of a room names itself; a request that is no WebSocket gets no further than that.
            let is_socket = path.starts_with("/ws/");
            let path = if is_socket { format!("{path}?user_id=alice&nickname=A") } else { path };
            let line = format!("{} {path}", method.to_ascii_uppercase());
            found.push(Operation { line, body, rule, is_socket, statuses });
        }
    }
    assert!(found.len() >= 20, "{} operations", found.len());
    found
}

/// Those that a token opens.
pub(crate) fn token_operations() -> Vec<Operation> {
    let tokens = [Rule::Token, Rule::AdminToken];
    operations().into_iter().filter(|operation| tokens.contains(&operation.rule)).collect()
}
