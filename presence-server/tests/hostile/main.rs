//! What hostile or broken clients send, over raw sockets to the real server: each is told what is wrong, nothing is
//! written, and everybody else is served.

mod broken;
mod client;
mod server;
mod slow;
mod table;

use presence_server::serve::Limits;
use serde_json::Value;

use crate::{client::post, server::Server, table::Case};

/// Sends a case, and gives what is wrong with what came of it.
async fn refused(server: &Server, case: &Case) -> Result<(), String> {
    let mut client = server.connect().await;
    let answer = if case.is_half_closed {
        client.send(&case.bytes).await;
        client.finish().await;
        client.reader.answer().await
    } else {
        client.ask(&case.bytes).await
    };
    let code = answer.problem()?;
    if (answer.status, code.as_str()) != (case.status, case.code) {
        return Err(format!("got {} {code}: {}", answer.status, String::from_utf8_lossy(&answer.body)));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_request_is_refused_with_a_code_and_nothing_is_written() {
    let server = Server::start(Limits::default()).await;
    server.assert_alive().await;
    let cases = table::refused(server.state.tracker().now().as_secs());
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut before = server.kept().await;
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(error) = refused(&server, case).await {
            wrong.push(format!("{}: expected {} {}, {error}", case.name, case.status, case.code));
        }
        let after = server.kept().await;
        if after != before {
            let written: Vec<_> = after.lines().filter(|line| !before.contains(line)).collect();
            wrong.push(format!("{}: something was written: {written:?}", case.name));
        }
        server.assert_alive().await;
        before = server.kept().await;
    }
    println!("{} cases refused", cases.len());
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_odd_or_stands_at_a_limit_is_taken() {
    let server = Server::start(Limits::default()).await;
    let mut wrong = Vec::new();
    for case in table::taken::cases(server.state.tracker().now().as_secs()) {
        let mut client = server.connect().await;
        let mut answer = client.ask(&case.bytes).await;
        if answer.status == 100 {
            answer = client.reader.answer().await;
        }
        if answer.status != case.status {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            wrong.push(format!("{}: expected {}, got {} {body}", case.name, case.status, answer.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_item_of_a_batch_costs_its_own_verdict_only() {
    let server = Server::start(Limits::default()).await;
    let now = server.state.tracker().now().as_secs();
    let beat = |number: usize| {
        format!(r#"{{"installId":"tablet-{number:04}","appVersion":"1","clientTs":0,"userId":"u{number}"}}"#)
    };
    let heartbeats = table::items::items(now);
    judged(&server, "/api/v1/presence/heartbeats", &heartbeats, beat, |items| format!("[{items}]")).await;
    let event = |number: usize| {
        format!(
            r#"{{"eventName":"start","installId":"tablet-{number:04}","clientTs":0,"userId":"u{number}"}}"#
        )
    };
    let wrapped = |items: &str| format!(r#"{{"events":[{items}]}}"#);
    judged(&server, "/api/v1/analytics/events", &table::items::events(now), event, wrapped).await;
    let kept = server.kept().await;
    let events = kept.lines().filter(|line| line.starts_with("analytics_event_log ")).count();
    assert_eq!(events, 3 * table::items::events(now).len(), "the good ones are stored, and no other");
}

/// Sends each bad item between two good ones, and all of them in one batch.
async fn judged(
    server: &Server,
    route: &str,
    items: &[(String, &str)],
    good: impl Fn(usize) -> String,
    batch: impl Fn(&str) -> String,
) {
    for (number, (item, code)) in items.iter().enumerate() {
        let body = batch(&[&good(2 * number), item, &good(2 * number + 1)].map(String::as_str).join(","));
        let answer = server.connect().await.ask(&post(route, body)).await;
        assert_eq!(answer.status, 200, "{item}: {answer:?}");
        let verdicts = answer.json();
        assert_eq!(
            (&verdicts["accepted"], &verdicts["failed"]),
            (&2.into(), &1.into()),
            "{item}: {verdicts}"
        );
        assert_eq!(verdicts["errors"][0]["index"], 1, "{item}: {verdicts}");
        assert_eq!(verdicts["errors"][0]["code"], *code, "{item}: {verdicts}");
    }
    let all = items.iter().enumerate().flat_map(|(number, (item, _))| [item.clone(), good(9000 + number)]);
    let all: Vec<_> = all.collect();
    let answer = server.connect().await.ask(&post(route, batch(&all.join(",")))).await;
    let verdicts = answer.json();
    let expected: Vec<Value> = items
        .iter()
        .enumerate()
        .map(|(number, (_, code))| serde_json::json!({"index": 2 * number, "code": code}))
        .collect();
    assert_eq!((answer.status, &verdicts["accepted"]), (200, &items.len().into()), "{verdicts}");
    assert_eq!(verdicts["errors"], Value::Array(expected));
}
