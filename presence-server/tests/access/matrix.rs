//! Every operation of the document with every kind of credential.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use presence_core::{UserId, Window};
use presence_server::auth::Access;
use serde_json::json;

use crate::{
    bad_tokens,
    forge::{HEADER, KEY, NOW, claims_with, scoped, signed, token},
    server::{Answer, Operation, Rule, Server, closed, operations, token_operations},
};

/// Whom a request shows itself as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shown {
    Nothing,
    Garbage,
    Expired,
    /// Alice, whom every operation is about.
    Own,
    /// Bob.
    Other,
    /// Carol, who is an admin.
    Admin,
    RightKey,
    WrongKey,
    /// The key where the token belongs.
    KeyAsToken,
    /// The token where the key belongs.
    TokenAsKey,
    OwnAndKey,
}

impl Shown {
    const ALL: [Self; 11] = [
        Self::Nothing,
        Self::Garbage,
        Self::Expired,
        Self::Own,
        Self::Other,
        Self::Admin,
        Self::RightKey,
        Self::WrongKey,
        Self::KeyAsToken,
        Self::TokenAsKey,
        Self::OwnAndKey,
    ];

    fn headers(self) -> Vec<(&'static str, String)> {
        let bearer = |token: String| ("authorization", format!("Bearer {token}"));
        let key = |key: &str| ("x-api-key", key.to_owned());
        match self {
            Self::Nothing => vec![],
            Self::Garbage => vec![bearer("garbage".to_owned())],
            Self::Expired => {
                vec![bearer(signed(HEADER, &claims_with("alice", &json!({"exp": NOW - 60}))))]
            }
            Self::Own => vec![bearer(token("alice"))],
            Self::Other => vec![bearer(token("bob"))],
            Self::Admin => vec![bearer(scoped("carol", "admin"))],
            Self::RightKey => vec![key(KEY)],
            Self::WrongKey => vec![key(&KEY.to_lowercase())],
            Self::KeyAsToken => vec![bearer(KEY.to_owned())],
            Self::TokenAsKey => vec![key(&scoped("carol", "admin"))],
            Self::OwnAndKey => vec![bearer(token("alice")), key(KEY)],
        }
    }

    /// 401, 403, or 200 for whatever an operation answers to those who may ask.
    fn expected(self, operation: &Operation) -> u16 {
        let reaches = match self {
            Self::Admin => !operation.is_socket,
            Self::Own | Self::OwnAndKey => operation.rule == Rule::Token,
            // Only what is about one user, or all, documents a 403.
            Self::Other => operation.rule == Rule::Token && !operation.documents(403),
            _ => false,
        };
        let has_token = matches!(self, Self::Own | Self::OwnAndKey | Self::Other | Self::Admin);
        match operation.rule {
            Rule::Open => 200,
            Rule::Key if matches!(self, Self::RightKey | Self::OwnAndKey) => 200,
            Rule::Token | Rule::AdminToken if reaches => 200,
            Rule::Token | Rule::AdminToken if has_token => 403,
            _ => 401,
        }
    }
}

async fn ask(access: Access, operation: &Operation, shown: Shown) -> Answer {
    let headers = shown.headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Server::new(access).ask(&operation.line, &operation.body, &headers).await
}

#[tokio::test]
async fn every_operation_opens_to_the_credential_that_it_names_and_no_other() {
    let operations = operations();
    for operation in &operations {
        for shown in Shown::ALL {
            let answer = ask(closed(), operation, shown).await;
            let status = answer.status.as_u16();
            let case = format!("{} {shown:?}: {answer:?}", operation.line);
            assert!(operation.documents(status), "{case}");
            match shown.expected(operation) {
                200 => assert!(!answer.is_refused(), "{case}"),
                expected => {
                    assert_eq!(status, expected, "{case}");
                    let code = if status == 401 { "UNAUTHORIZED" } else { "FORBIDDEN" };
                    assert_eq!(answer.code(), code, "{case}");
                    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}");
                    let bad = matches!(shown, Shown::Garbage | Shown::Expired | Shown::KeyAsToken);
                    let challenge = match operation.rule {
                        _ if status == 403 => None,
                        Rule::Key => Some("ApiKey"),
                        _ if bad => Some(r#"Bearer error="invalid_token""#),
                        _ => Some("Bearer"),
                    };
                    assert_eq!(answer.header("www-authenticate"), challenge, "{case}");
                }
            }
        }
    }
    // Each rule stands for something.
    for rule in [Rule::Open, Rule::Token, Rule::AdminToken, Rule::Key] {
        assert!(operations.iter().any(|operation| operation.rule == rule), "{rule:?}");
    }
}

#[tokio::test]
async fn an_open_server_asks_nobody() {
    // What operators do to rooms is nobody's without a key.
    let asked = operations().into_iter().filter(|operation| !operation.line.contains(" /management/"));
    for operation in asked {
        for shown in Shown::ALL {
            let answer = ask(Access::open(), &operation, shown).await;
            assert!(!answer.is_refused(), "{} {shown:?}: {answer:?}", operation.line);
        }
    }
}

#[tokio::test]
async fn without_a_key_what_takes_one_is_closed_to_everybody() {
    let access = || Access::open().with_closed_operations();
    for operation in operations().iter().filter(|operation| operation.rule == Rule::Key) {
        for shown in Shown::ALL {
            let answer = ask(access(), operation, shown).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {shown:?}", operation.line);
        }
    }
}

#[tokio::test]
async fn no_bad_token_opens_anything_and_nothing_is_written() {
    let server = Server::new(closed());
    let (tokens, operations) = (bad_tokens::all("alice"), token_operations());
    assert!(tokens.len() >= 40, "{} bad tokens", tokens.len());
    assert!(operations.len() >= 11, "{} operations", operations.len());
    for operation in &operations {
        for (name, token, _) in &tokens {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str())];
            let answer = server.ask(&operation.line, &operation.body, &headers).await;
            let case = format!("{} with {name}: {answer:?}", operation.line);
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}");
            // Nobody is told what was wrong with it.
            assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#), "{case}");
            assert_eq!(answer.json()["detail"], "the request needs a valid credential", "{case}");
        }
    }
    nothing_is_written(&server, &["alice"]).await;
    nobody_is_online(&server).await;
}

#[tokio::test]
async fn a_token_counts_in_one_header_and_nowhere_else() {
    let server = Server::new(closed());
    let good = token("alice");
    let bearer = format!("Bearer {good}");
    for operation in token_operations() {
        for headers in [
            vec![("authorization", bearer.clone()), ("authorization", bearer.clone())],
            vec![("authorization", bearer.clone()), ("authorization", "Basic YWxpY2U6eA".to_owned())],
            vec![("authorization", format!("Bearer {good}, Bearer {good}"))],
            vec![("authorization", format!("Bearer  {good}"))],
            vec![("authorization", format!("Basic {good}"))],
            vec![("authorization", good.clone())],
            vec![("authorization", "Bearer".to_owned())],
            vec![("proxy-authorization", bearer.clone())],
            vec![("x-authorization", bearer.clone())],
            vec![("cookie", format!("token={good}"))],
            vec![("sec-websocket-protocol", format!("bearer.{good}"))],
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = server.ask(&operation.line, &operation.body, &headers).await;
            // Browsers have no other place for the token of a WebSocket.
            let is_own_place = operation.is_socket && headers[0].0 == "sec-websocket-protocol";
            assert_eq!(answer.is_refused(), !is_own_place, "{} {headers:?}", operation.line);
        }
        let query = if operation.is_socket { "&" } else { "?" };
        let line = format!("{}{query}access_token={good}&token={good}", operation.line);
        let answer = server.ask(&line, &operation.body, &[]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{line}");
    }
    nothing_is_written(&server, &["alice"]).await;
    nobody_is_online(&server).await;
    // The scheme has no case.
    let answer =
        server.ask("POST /users/alice/heartbeat", "", &[("authorization", &format!("bearer {good}"))]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn a_key_in_the_query_opens_nothing() {
    let server = Server::new(closed());
    for operation in operations().iter().filter(|operation| operation.rule == Rule::Key) {
        let line = format!("{}?x-api-key={KEY}&api_key={KEY}", operation.line);
        assert_eq!(server.ask(&line, "", &[]).await.status, StatusCode::UNAUTHORIZED, "{line}");
    }
}

#[tokio::test]
async fn who_may_not_ask_learns_nothing_about_the_request() {
    let server = Server::new(closed());
    for operation in token_operations() {
        let (method, path) = operation.line.split_once(' ').expect("METHOD path");
        let line = |path: &str| format!("{method} {path}");
        for line in [
            line(&path.replace("alice", "%ff")),
            line(&path.replace("alice", "%20")),
            line(&path.replace("alice", &"x".repeat(129))),
            line(&format!("{path}?from=x&to=x&limit=x&cursor=x&windowSeconds=x&tz=x")),
        ] {
            assert_eq!(server.ask(&line, "{", &[]).await.status, StatusCode::UNAUTHORIZED, "{line}");
        }
        let answer = server.ask(&operation.line, "<x/>", &[("content-encoding", "gzip")]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", operation.line);

        // Nor is its body read.
        let was_read = Arc::new(AtomicBool::new(false));
        let read = was_read.clone();
        let body = futures_util::stream::poll_fn(move |_| {
            read.store(true, Ordering::Relaxed);
            std::task::Poll::Ready(None::<std::io::Result<Vec<u8>>>)
        });
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.header("content-length", 1 << 30).body(Body::from_stream(body));
        let answer = server.send(request.expect("a request")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", operation.line);
        assert!(!was_read.load(Ordering::Relaxed), "{}", operation.line);
    }
}

#[tokio::test]
async fn users_reach_themselves_only() {
    let server = Server::new(closed());
    let [alice, bob] = ["alice", "bob"].map(|user| format!("Bearer {}", token(user)));
    let post = |user: &str| format!("POST /users/{user}/checkpoints");
    for (user, bearer) in [("alice", &alice), ("bob", &bob)] {
        let body = format!(r#"{{"state":"secret-of-{user}"}}"#);
        let answer = server.ask(&post(user), &body, &[("authorization", bearer)]).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
    let mut tried = 0;
    for operation in token_operations().iter().filter(|operation| operation.line.contains("alice")) {
        for (user, bearer) in [("alice", &bob), ("bob", &alice), ("nobody", &alice), ("Alice", &alice)] {
            let answer =
                server.ask(&operation.with(user), &operation.body, &[("authorization", bearer)]).await;
            // The same for those who are known and those who are not.
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{} {answer:?}", operation.with(user));
            assert!(!answer.text.contains("secret-of"), "{answer:?}");
            assert_eq!(
                answer.json()["detail"],
                "the token reaches its own user; others take the scope admin"
            );
            tried += 1;
        }
    }
    assert!(tried >= 32, "{tried}");
    nothing_is_written(&server, &["nobody", "Alice"]).await;
    for (user, bearer) in [("alice", &alice), ("bob", &bob)] {
        let answer = server.ask(&format!("GET /users/{user}/status"), "", &[("authorization", bearer)]).await;
        assert_eq!(answer.json()["current_state"], format!("secret-of-{user}"));
        // Written as others write it in a URL, it is the same user.
        let encoded = format!("GET /users/{}/status", user.replace('b', "%62").replace('a', "%61"));
        assert_eq!(server.ask(&encoded, "", &[("authorization", bearer)]).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_no_route_has_needs_no_token() {
    let server = Server::new(closed());
    for (line, expected) in [
        ("GET /", StatusCode::NOT_FOUND),
        ("GET /users", StatusCode::NOT_FOUND),
        ("GET /management", StatusCode::NOT_FOUND),
        ("GET /users/alice/status/", StatusCode::NOT_FOUND),
        ("GET //users/alice/status", StatusCode::NOT_FOUND),
        ("PUT /users/alice/status", StatusCode::METHOD_NOT_ALLOWED),
        ("OPTIONS /users/alice/status", StatusCode::METHOD_NOT_ALLOWED),
        // A HEAD is a GET.
        ("HEAD /users/alice/status", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(server.ask(line, "", &[]).await.status, expected, "{line}");
    }
}

#[tokio::test]
async fn a_token_ends_while_the_server_runs() {
    let server = Server::new(closed());
    let bearer = format!("Bearer {}", token("alice"));
    let headers = [("authorization", bearer.as_str())];
    let ask = || server.ask("GET /api/v1/presence/online-count", "", &headers);
    assert_eq!(ask().await.status, StatusCode::OK);
    server.clock.set(presence_core::Timestamp::from_secs(NOW + 3_630).expect("an instant"));
    assert_eq!(ask().await.status, StatusCode::UNAUTHORIZED);
}

async fn nobody_is_online(server: &Server) {
    let online = server.state.beats().online_count(std::time::Duration::from_secs(86_400)).await;
    assert_eq!(online.expect("a count"), 0);
}

async fn nothing_is_written(server: &Server, users: &[&str]) {
    for user in users {
        let user = UserId::new(*user).expect("a user");
        assert!(
            server.state.beats().status(&user, Window::all()).await.expect("a store").is_none(),
            "{user}"
        );
    }
}
