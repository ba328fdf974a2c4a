//! Heartbeats and events that name somebody.

use std::time::Duration;

use axum::http::StatusCode;
use presence_core::{ActivityQuery as _, Window};
use presence_server::auth::Access;
use serde_json::{Value, json};

use crate::{
    forge::{NOW, scoped, token},
    server::{Server, closed},
};

/// Who is online, as installs and users.
async fn online(server: &Server) -> Vec<String> {
    let page = server.state.beats().online_users(Duration::from_secs(180), None, 100).await.expect("a page");
    page.items.into_iter().map(|(member, _)| member.to_string()).collect()
}

fn beat(changes: &Value) -> Value {
    let mut beat = json!({"installId": "phone-4711", "appVersion": "1.2", "clientTs": NOW});
    beat.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    beat
}

#[tokio::test]
async fn a_heartbeat_is_that_of_the_token_whatever_the_body_says() {
    let (alice, seven, admin) = (token("alice"), token("7"), scoped("carol", "admin"));
    let users = scoped("alice", "users administrator");
    for (token, changes, expected) in [
        (&alice, json!({}), Ok("u:alice")),
        (&alice, json!({"userId": null}), Ok("u:alice")),
        (&alice, json!({"userId": "alice"}), Ok("u:alice")),
        (&seven, json!({"userId": 7}), Ok("u:7")),
        (&seven, json!({"userId": "7"}), Ok("u:7")),
        (&admin, json!({}), Ok("u:carol")),
        (&admin, json!({"userId": "bob"}), Ok("u:bob")),
        (&alice, json!({"userId": "bob"}), Err((403, "FORBIDDEN"))),
        (&alice, json!({"userId": "Alice"}), Err((403, "FORBIDDEN"))),
        (&alice, json!({"userId": 7}), Err((403, "FORBIDDEN"))),
        (&seven, json!({"userId": "07"}), Err((403, "FORBIDDEN"))),
        (&alice, json!({"userId": "bob", "is_admin": true, "scope": "admin"}), Err((403, "FORBIDDEN"))),
        (&users, json!({"userId": "bob"}), Err((403, "FORBIDDEN"))),
        (&alice, json!({"userId": " alice"}), Err((400, "INVALID_USER_ID"))),
        (&alice, json!({"user_id": "bob", "sub": "bob"}), Ok("u:alice")),
    ] {
        let server = Server::new(closed());
        let bearer = format!("Bearer {token}");
        let body = beat(&changes).to_string();
        let answer =
            server.ask("POST /api/v1/presence/heartbeat", &body, &[("authorization", &bearer)]).await;
        match expected {
            Ok(member) => {
                assert_eq!(answer.status, StatusCode::OK, "{changes}: {answer:?}");
                assert_eq!(online(&server).await, [member], "{changes}");
            }
            Err((status, code)) => {
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{changes}");
                assert!(online(&server).await.is_empty(), "{changes}");
            }
        }
    }
}

#[tokio::test]
async fn each_item_of_a_batch_names_its_own_user() {
    let items = json!([
        beat(&json!({})),
        beat(&json!({"userId": "bob"})),
        beat(&json!({"userId": "alice", "installId": "tablet-4711"})),
        beat(&json!({"userId": 7})),
        beat(&json!({"installId": "x"})),
    ]);
    let send = async |token: &str| {
        let server = Server::new(closed());
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answer = server.ask("POST /api/v1/presence/heartbeats", &items.to_string(), &headers).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        (answer.json()["errors"].clone(), online(&server).await)
    };
    let short = json!({"index": 4, "code": "INVALID_INSTALL_ID"});
    let forbidden = |index: u32| json!({"index": index, "code": "FORBIDDEN"});
    let (errors, members) = send(&token("alice")).await;
    assert_eq!(errors, json!([forbidden(1), forbidden(3), short]));
    assert_eq!(members, ["u:alice"]);
    let (errors, members) = send(&scoped("carol", "admin")).await;
    assert_eq!(errors, json!([short]));
    assert_eq!(members, ["u:7", "u:alice", "u:bob", "u:carol"]);
}

#[tokio::test]
async fn each_event_names_its_own_user() {
    let event = |name: &str, changes: &Value| {
        let mut event = json!({"eventName": name, "installId": "phone-4711", "clientTs": NOW});
        event.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        event
    };
    let body = json!({"events": [
        event("own", &json!({})),
        event("null", &json!({"userId": null})),
        event("bobs", &json!({"userId": "bob"})),
        event("said", &json!({"userId": "alice"})),
        event("sub", &json!({"sub": "bob", "user_id": "bob", "properties": {"userId": "bob"}})),
        event("number", &json!({"userId": 7})),
    ]});
    // Whose events are stored, in order; and the indices that are forbidden.
    let send = async |access: Access, token: &str| {
        let server = Server::new(access);
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answer = server.ask("POST /api/v1/analytics/events", &body.to_string(), &headers).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let errors = answer.json()["errors"].as_array().expect("errors").clone();
        assert!(errors.iter().all(|error| error["code"] == "FORBIDDEN"), "{errors:?}");
        let forbidden: Vec<_> = errors.iter().filter_map(|error| error["index"].as_u64()).collect();
        let events = server.store.events(Window::all(), None, 100).await.expect("a store that works");
        let users =
            events.iter().map(|event| event.user.as_ref().map_or("-".to_owned(), ToString::to_string));
        (users.collect::<Vec<_>>().join(" "), forbidden)
    };
    assert_eq!(send(closed(), &token("alice")).await, ("alice alice alice alice".to_owned(), vec![2, 5]));
    let admin = scoped("carol", "admin");
    assert_eq!(send(closed(), &admin).await, ("carol carol bob alice carol 7".to_owned(), vec![]));
    assert_eq!(send(Access::open(), &token("alice")).await, ("- - bob alice - 7".to_owned(), vec![]));
}

#[tokio::test]
async fn without_tokens_the_body_alone_says_who() {
    for (changes, expected) in [(json!({}), "i:phone-4711"), (json!({"userId": "bob"}), "u:bob")] {
        let server = Server::new(Access::open());
        let bearer = format!("Bearer {}", token("alice"));
        let body = beat(&changes).to_string();
        let answer =
            server.ask("POST /api/v1/presence/heartbeat", &body, &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(online(&server).await, [expected]);
    }
}
