//! What looks odd or stands exactly at a limit, and is taken.

use super::{Case, encoded};
use crate::client::post;

/// Requests and their statuses; users differ, so that none depends on another.
pub(crate) fn cases(now: i64) -> Vec<Case> {
    let with = |user: &str, field: &str, value: &str| {
        post(&format!("/users/{user}/checkpoints"), format!(r#"{{"state":"Working","{field}":{value}}}"#))
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let chunked = |user: &str, chunks: &str| {
        let head = format!(
            "POST /users/{user}/checkpoints HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        );
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes()
    };
    let headed = |user: &str, headers: &str| {
        let line = format!("POST /users/{user}/checkpoints HTTP/1.1\r\nHost: a\r\n{headers}");
        format!("{line}Content-Length: 19\r\n\r\n{{\"state\":\"Working\"}}").into_bytes()
    };
    let json = r#"{"state":"Working"}"#;
    let nested = format!("{}1{}", "[".repeat(32), "]".repeat(32));
    let keys: Vec<_> = (0..1000).map(|key| format!(r#"{{"{key}":0}}"#)).collect();
    let keys = format!("[{}]", keys.join(","));
    let wide = format!("\"{}\"", "x".repeat(16 * 1024 - 2));
    let blanks = format!("{{\"state\":\"Working\"{}}}", " ".repeat(64 * 1024 - 19));
    let many = (1..64).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let item = r#"{"installId":"phone-4711","appVersion":"1","clientTs":1717161600}"#;
    let batch = format!("[{}{item}]", format!("{item},").repeat(999));
    let full = format!("{}[{item}]", " ".repeat(1024 * 1024 - item.len() - 2));
    let event = r#"{"events":[{"eventName":"start","installId":"phone-4711","clientTs":1717161600}]}"#;
    let event_with = |value: &str| event.replacen('}', &format!(r#","properties":{{"a":{value}}}}}"#), 1);
    let events = format!(
        r#"{{"events":[{}]}}"#,
        (0..1000)
            .map(|number| format!(
                r#"{{"eventName":"start","installId":"phone-{number:04}","clientTs":{number}}}"#
            ))
            .collect::<Vec<_>>()
            .join(",")
    );
    let full_events = format!("{}{event}", " ".repeat(1024 * 1024 - event.len()));
    let accented = encoded(&format!("e{}", "\u{301}".repeat(127)));
    let mut cases = vec![
        ("128 letters", post(&format!("/users/{}/checkpoints", "x".repeat(128)), json), 201),
        ("128 emoji", post(&format!("/users/{}/checkpoints", encoded(&"😀".repeat(128))), json), 201),
        ("a letter and 127 marks", post(&format!("/users/{accented}/checkpoints"), json), 201),
        ("a slash in an id", post("/users/a%2Fb/checkpoints", json), 201),
        ("three dots", post("/users/.../checkpoints", json), 201),
        ("a percent sign", post("/users/100%25/checkpoints", json), 201),
        ("quotes and SQL", post("/users/'%3B%20DROP%20TABLE%20checkpoints%3B%20--/checkpoints", json), 201),
        ("right to left", post(&format!("/users/{}/checkpoints", encoded("\u{202e}bob\u{202c}")), json), 201),
        ("no width", post(&format!("/users/{}/checkpoints", encoded("bob\u{200b}")), json), 201),
        ("a plus is a plus in a path", post("/users/a+b/checkpoints", json), 201),
        ("64 emoji", post("/users/t01/checkpoints", format!(r#"{{"state":"{}"}}"#, "😀".repeat(64))), 201),
        ("a pair of escapes", post("/users/t02/checkpoints", r#"{"state":"\ud83d\ude00"}"#), 201),
        ("fields nobody knows", with("t03", "x", r#"{"a":[1,{"b":null}],"\u0000":"\u0000"}"#), 201),
        ("null for a stamp", with("t04", "timestamp", "null"), 201),
        ("the first second", with("t05", "timestamp", "0"), 201),
        ("a whole number with a point", with("t23", "timestamp", "1717161600.0"), 201),
        ("a whole number with an exponent", with("t24", "timestamp", "1e3"), 201),
        ("now", with("t06", "timestamp", &now.to_string()), 201),
        ("ahead, but not far", with("t07", "timestamp", &(now + 200).to_string()), 201),
        ("32 levels", with("t08", "content", &nested), 201),
        ("1000 keys", with("t30", "content", &keys), 201),
        ("16 KiB of content", with("t09", "content", &wide), 201),
        ("the largest number", with("t10", "content", "18446744073709551615"), 201),
        ("the smallest number", with("t11", "content", "-9223372036854775808"), 201),
        ("zero with a sign", with("t12", "content", "-0.0"), 201),
        ("a number next to zero", with("t13", "content", "1e-400"), 201),
        ("content null", with("t14", "content", "null"), 201),
        ("64 KiB", post("/users/t15/checkpoints", blanks), 201),
        ("64 headers", format!("GET /livez HTTP/1.1\r\nHost: a\r\n{many}\r\n").into_bytes(), 200),
        ("an id of 128 characters", with("t16", "event_id", &format!("\"{}\"", "é".repeat(128))), 201),
        ("a charset in capitals", headed("t17", "Content-Type: Application/JSON; Charset=UTF-8\r\n"), 201),
        (
            "a key with blanks around",
            headed("t18", "Content-Type: application/json\r\nIdempotency-Key:   k   \r\n"),
            201,
        ),
        (
            "the expectation that is known",
            headed("t19", "Content-Type: application/json\r\nExpect: 100-Continue\r\n"),
            201,
        ),
        ("a chunk", chunked("t20", &format!("13\r\n{json}\r\n0\r\n\r\n")), 201),
        (
            "a chunk a byte",
            chunked(
                "t21",
                &format!("{}0\r\n\r\n", json.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<String>()),
            ),
            201,
        ),
        (
            "a chunk with an extension and a trailer",
            chunked("t22", &format!("0013;a=\"b\"\r\n{json}\r\n0\r\nX: y\r\n\r\n")),
            201,
        ),
        ("a batch of 1,000", post("/api/v1/presence/heartbeats", batch), 200),
        ("a batch of 1 MiB", post("/api/v1/presence/heartbeats", full), 200),
        ("1,000 events", post("/api/v1/analytics/events", events), 200),
        ("1 MiB of events", post("/api/v1/analytics/events", full_events), 200),
        (
            "properties of 16 KiB",
            post("/api/v1/analytics/events", event_with(&format!("\"{}\"", "x".repeat(16 * 1024 - 8)))),
            200,
        ),
        (
            "32 levels of properties",
            post("/api/v1/analytics/events", event_with(&format!("{}1{}", "[".repeat(31), "]".repeat(31)))),
            200,
        ),
        ("a day long ago", get("/api/v1/analytics/dau?startDate=0001-01-01&endDate=0001-12-31"), 200),
        ("the last day", get("/api/v1/analytics/dau?startDate=9999-12-31&endDate=9999-12-31"), 200),
        ("366 days", get("/api/v1/analytics/dau?startDate=2024-01-01&endDate=2024-12-31"), 200),
        ("a month long ago", get("/api/v1/analytics/active-users?period=month&date=0001-01-01"), 200),
        ("the last day, counted", post("/api/v1/analytics/dau/9999-12-31/recalculate", ""), 200),
        ("the first day, counted", post("/api/v1/analytics/dau/0001-01-01/recalculate", ""), 200),
        (
            "10,000 points",
            get(
                "/api/v1/presence/online-history?startTime=1970-01-01T00:00:00Z&endTime=1970-01-07T22:40:00Z&interval=1m",
            ),
            200,
        ),
        (
            "a leap second with an offset",
            get(
                "/api/v1/presence/online-history?startTime=2016-12-31T18:59:60.999999999-05:00&endTime=2017-01-01T00:00:02Z",
            ),
            200,
        ),
        ("an absolute target", get("http://example.com/livez"), 200),
        ("a fragment", get("/livez#x"), 200),
        ("empty lines before the request", b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 200),
        ("HTTP/1.0 without a host", b"GET /livez HTTP/1.0\r\n\r\n".to_vec(), 200),
        ("an empty host", b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n".to_vec(), 200),
        ("a value of Latin-1", b"GET /livez HTTP/1.1\r\nHost: a\r\nX: caf\xe9\ty\r\n\r\n".to_vec(), 200),
        (
            "parameters nobody knows",
            get("/users/bob/checkpoints?x=1&x=2&%00&=&limit=1000&from=0&to=253402300799"),
            200,
        ),
        ("a whole day", get("/api/v1/presence/online-count?windowSeconds=86400"), 200),
        ("one second", get("/api/v1/presence/online-count?windowSeconds=1"), 200),
    ];
    cases.push(("an erasure of nobody", b"DELETE /users/nobody HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 200));
    cases.into_iter().map(|(name, bytes, status)| Case::new(name, bytes, status, "")).collect()
}
