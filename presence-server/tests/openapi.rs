//! The OpenAPI document: it is the one beside the source, it is served, and it says what the router does.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use presence_core::{Activity, Beats, MemoryStore, Rooms, SystemClock, Tracker};
use presence_server::{AppState, Settings, app, openapi};
use serde_json::Value;
use tower::ServiceExt;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn server() -> Router {
    let store = Arc::new(MemoryStore::new());
    let activity = Activity::new(store.clone(), SystemClock);
    let rooms = Rooms::new(store.clone(), SystemClock, "node-1");
    app(AppState::new(Beats::new(Tracker::new(store, SystemClock)), activity, rooms, Settings::default()))
}

fn document() -> Value {
    serde_json::from_str(openapi()).expect("JSON")
}

/// Every operation: method, path, and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().expect("methods").iter().map(move |(method, operation)| {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            (method.to_ascii_uppercase(), path.clone(), operation.clone())
        })
    });
    operations.collect()
}

/// What `value` is or refers to.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

async fn ask(method: &str, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    server().oneshot(request).await.expect("an answer")
}

async fn body(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// `path` with values for its parameters.
fn filled(path: &str) -> String {
    let path = path.replace("{user_id}", "alice").replace("{id}", "1").replace("{day}", "2024-05-31");
    path.replace("{file}", "index.html").replace("{sink}", "room_events")
}

/// `PRESENCE_TEST_UPDATE=1` writes the file anew.
#[test]
fn the_document_beside_the_source_is_the_one_of_the_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("PRESENCE_TEST_UPDATE").is_some() {
        fs::write(&path, openapi()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(kept == openapi(), "openapi.json is not what `presence-server openapi` prints");
}

#[test]
fn every_operation_says_who_may_ask_and_what_is_answered() {
    let document = document();
    let mut list = String::new();
    for (method, path, operation) in operations(&document) {
        let security = operation["security"].as_array().unwrap_or_else(|| panic!("{path} says nothing"));
        let schemes: Vec<&String> = security
            .iter()
            .flat_map(|requirement| requirement.as_object().expect("a scheme").keys())
            .collect();
        for scheme in &schemes {
            assert!(document["components"]["securitySchemes"][scheme].is_object(), "{path}: {scheme}");
        }
        let responses = operation["responses"].as_object().expect("responses");
        let statuses: Vec<&str> = responses.keys().map(String::as_str).collect();
        let operation_id = operation["operationId"].as_str().expect("an id");
        writeln!(list, "{method} {path} {operation_id} {schemes:?} {}", statuses.join(" ")).expect("written");
    }
    insta::assert_snapshot!(list);
}

#[test]
fn every_refusal_is_a_problem_and_every_answer_has_a_request_id() {
    let document = document();
    let mut refusals = 0;
    for (method, path, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let response = resolve(&document, response);
            let request_id = resolve(&document, &response["headers"]["X-Request-Id"]);
            assert_eq!(request_id["schema"]["maxLength"], 64, "{method} {path} {status}");
            if status.starts_with(['4', '5']) {
                let content = response["content"].as_object().expect("a body");
                let kinds: Vec<_> = content.keys().collect();
                assert_eq!(kinds, ["application/problem+json"], "{method} {path} {status}");
                assert_eq!(
                    content["application/problem+json"]["schema"]["$ref"], "#/components/schemas/Problem",
                    "{method} {path} {status}"
                );
                refusals += 1;
            }
        }
    }
    assert!(refusals > 100, "{refusals}");
}

#[test]
fn names_are_used_once_and_every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let operations = operations(&document);
    let ids: BTreeSet<_> =
        operations.iter().map(|(.., operation)| operation["operationId"].as_str()).collect();
    assert_eq!(ids.len(), operations.len());
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for (kind, names) in document["components"].as_object().expect("components") {
        for name in names.as_object().expect("names").keys().filter(|_| kind != "securitySchemes") {
            let reference = format!("#/components/{kind}/{name}");
            assert!(found.contains(reference.as_str()), "{reference} is used nowhere");
        }
    }
}

/// A route beside the list would be a path that is missing here. axum tells the paths of a router only in its `Debug` text.
#[test]
fn every_path_of_the_router_is_in_the_document_and_no_other() {
    let text = format!("{:?}", server());
    let quoted = text.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    let routed: BTreeSet<_> = quoted.collect();
    let document = document();
    let documented = document["paths"].as_object().expect("paths").keys().map(String::as_str);
    // What no route has goes to the fallback, which axum keeps under two paths of its own.
    let expected: BTreeSet<_> = documented.chain(["/", "/{*__private__axum_fallback}"]).collect();
    assert_eq!(routed, expected);
}

#[tokio::test]
async fn every_path_has_the_methods_of_the_document_and_no_other() {
    let document = document();
    let operations = operations(&document);
    for path in document["paths"].as_object().expect("paths").keys() {
        let mut documented: BTreeSet<_> =
            operations.iter().filter(|(_, at, _)| at == path).map(|(method, ..)| method.as_str()).collect();
        if documented.contains("GET") {
            documented.insert("HEAD"); // answered like GET, without the body
        }
        for method in METHODS.map(str::to_ascii_uppercase) {
            let response = ask(&method, &filled(path)).await;
            if documented.contains(method.as_str()) {
                assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                let text = body(response).await;
                assert!(!text.contains("ROUTE_NOT_FOUND"), "{method} {path}: {text}");
            } else {
                assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                let allow = response.headers()[header::ALLOW].to_str().expect("text").to_owned();
                assert_eq!(allow.split(',').collect::<BTreeSet<_>>(), documented, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_document_is_served_as_it_is_kept() {
    let response = ask("GET", "/openapi.json").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(body(response).await, openapi());
}

#[tokio::test]
async fn the_page_is_served_whole_and_loads_nothing_from_elsewhere() {
    let response = ask("GET", "/docs").await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "docs/");

    let response = ask("GET", "/docs/").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html");
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = body(response).await;
    let files: Vec<_> = page
        .split([' ', '>'])
        .filter_map(|part| {
            let value = part.strip_prefix("src=\"").or_else(|| part.strip_prefix("href=\""))?;
            Some(value.trim_end_matches(['/', '"']).trim_start_matches("./"))
        })
        .collect();
    assert!(files.len() >= 6, "{files:?}");
    assert!(!page.contains("//") && !page.contains("<style") && !page.contains("style="), "{page}");
    for file in files {
        let response = ask("GET", &format!("/docs/{file}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{file}");
        assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY), "{file}");
    }
    let initializer = body(ask("GET", "/docs/swagger-initializer.js").await).await;
    assert!(initializer.contains(r#""../openapi.json""#), "{initializer}");
    assert!(initializer.contains(r#""validatorUrl": "none""#), "else it is asked elsewhere: {initializer}");
    assert!(!initializer.contains("://"), "{initializer}");
}

#[tokio::test]
async fn a_file_that_the_page_does_not_have_is_a_problem() {
    for file in ["nothing.js", "..%2fsecret", "%ff", "%00"] {
        let response = ask("GET", &format!("/docs/{file}")).await;
        assert!(response.status().is_client_error(), "{file}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{file}");
    }
}
