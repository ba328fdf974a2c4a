//! Keys of operators, as the routes take them.

use std::net::SocketAddr;

use axum::{
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use presence_core::Timestamp;

use crate::{
    forge::{KEY, NOW},
    server::{Answer, Server, closed, request},
};

async fn ask(server: &Server, peer: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request: Request<_> = request("GET /openapi.json", "", headers);
    let peer: SocketAddr = peer.parse().expect("an address");
    request.extensions_mut().insert(ConnectInfo(peer));
    server.send(request).await
}

#[tokio::test]
async fn ten_wrong_keys_in_a_minute_close_the_door_to_an_address() {
    let server = Server::new(closed());
    let (here, there) = ("192.0.2.1:4711", "192.0.2.2:4711");
    for port in 1..=10 {
        // Another connection, and another word for where it comes from, are the same address.
        let forged = format!("203.0.113.{port}");
        let headers = [("x-api-key", "wrong"), ("x-forwarded-for", forged.as_str())];
        let answer = ask(&server, &format!("192.0.2.1:{port}"), &headers).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    }
    server.clock.set(Timestamp::from_millis(NOW * 1000 + 30_500).expect("an instant"));
    for key in ["wrong", KEY] {
        let answer = ask(&server, here, &[("x-api-key", key)]).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
        assert_eq!(answer.code(), "TOO_MANY_REQUESTS");
        assert_eq!(answer.header("retry-after"), Some("30"));
    }
    assert_eq!(ask(&server, there, &[("x-api-key", KEY)]).await.status, StatusCode::OK);
    server.clock.set(Timestamp::from_secs(NOW + 60).expect("an instant"));
    assert_eq!(ask(&server, here, &[("x-api-key", KEY)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_keys_are_none() {
    let server = Server::new(closed());
    let answer = ask(&server, "192.0.2.1:1", &[("x-api-key", KEY), ("x-api-key", KEY)]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
