//! What browsers are told about pages of other servers.

use axum::http::StatusCode;
use presence_server::Settings;

use crate::{
    forge::token,
    server::{Answer, Server, closed},
};

const ORIGINS: [(&str, bool); 12] = [
    ("https://app.example", true),
    ("http://localhost:5173", true),
    ("https://app.example:8443", false),
    ("http://app.example", false),
    ("https://APP.example", false),
    ("https://app.example.evil.example", false),
    ("https://evil.example/https://app.example", false),
    ("https://sub.app.example", false),
    ("https://app.exampl", false),
    ("http://localhost", false),
    ("null", false),
    ("*", false),
];

fn server(origins: &str) -> Server {
    let cors_origins = origins.parse().expect("origins");
    Server::with(Settings { access: closed(), cors_origins, ..Settings::default() })
}

fn allowed(answer: &Answer) -> Option<&str> {
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn pages_of_the_list_may_ask_and_no_others() {
    let server = server("https://app.example,http://localhost:5173");
    let bearer = format!("Bearer {}", token("alice"));
    for (origin, is_allowed) in ORIGINS {
        let expected = is_allowed.then_some(origin);
        let headers = [("origin", origin), ("authorization", &bearer)];
        let answer = server.ask("GET /api/v1/presence/online-count", "", &headers).await;
        assert_eq!((answer.status, allowed(&answer)), (StatusCode::OK, expected), "{origin}");
        assert_eq!(answer.header("vary"), Some("origin"), "{origin}");

        // A page may see why it was refused.
        let answer = server.ask("GET /users/alice/status", "", &[("origin", origin)]).await;
        assert_eq!((answer.status, allowed(&answer)), (StatusCode::UNAUTHORIZED, expected), "{origin}");

        let asks = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        let answer = server.ask("OPTIONS /users/alice/checkpoints", "", &asks).await;
        assert_eq!((answer.status, allowed(&answer)), (StatusCode::OK, expected), "{origin}");
        assert_eq!(answer.header("vary"), Some("origin"), "{origin}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("DELETE,GET,POST"));
        let headers = answer.header("access-control-allow-headers").expect("headers");
        assert_eq!(headers, "authorization,content-type,idempotency-key,x-request-id");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let answer = server.ask("GET /health", "", &[]).await;
    assert_eq!((answer.header("vary"), allowed(&answer)), (Some("origin"), None));
}

#[tokio::test]
async fn without_a_list_no_page_may_ask() {
    let server = Server::new(closed());
    for (origin, _) in ORIGINS {
        for line in ["GET /health", "OPTIONS /users/alice/checkpoints"] {
            let headers = [("origin", origin), ("access-control-request-method", "POST")];
            let answer = server.ask(line, "", &headers).await;
            let cors = answer.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(cors, None, "{origin}");
            assert_eq!(answer.header("vary"), None);
        }
    }
}
