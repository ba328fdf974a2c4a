//! Paths, queries and headers that no route takes.

use super::{Case, encoded};
use crate::client::post;

/// User ids as they stand in a path.
const USERS: &[&str] = &[
    "%20",
    "%20bob",
    "bob%20",
    "%09bob",
    "bob%0A",
    "b%0D%0Aob",
    "%00",
    "bob%00",
    "b%1Bob",
    "bo%7Fb",
    "%C2%85bob",
    "b%C2%9Fob",
    "%C2%A0bob",
    "bob%E3%80%80",
    "%E2%80%A8bob",
    ".",
    "..",
    "%2E",
    "%2e%2E",
    ".%2E",
];

/// Paths that say no text.
const NO_PATHS: &[&str] = &[
    "%FF",
    "%80",
    "bob%C0%AF",
    "%C0%80",
    "%ED%A0%80",
    "%E2%82",
    "%F4%90%80%80",
    "%F0%9F%98",
    "%",
    "%4",
    "%zz",
    "bob%2",
    "%u0041",
    "%%41",
];

const NO_ROUTES: &[&str] = &[
    "GET /",
    "GET /nowhere",
    "GET /users",
    "GET /users/",
    "GET /users/bob/",
    "GET /users/bob/status/",
    "GET /users/bob/nothing",
    "GET //users/bob/status",
    "GET /USERS/bob/status",
    "GET /livez/",
    "GET /livez%00",
    "GET /livez;x",
    "GET /%6Civez",
    "GET /users/bob/checkpoints/1/2",
    "GET /users/a/b/status",
    "GET /../../etc/passwd",
    "GET /.git/config",
    "GET /api/v1/presence",
    "GET /api/v1/analytics",
    "GET /api/v1/analytics/dau/2024-05-31",
    "FOO /nowhere",
];

const NO_METHODS: &[&str] = &[
    "PUT /users/bob/checkpoints",
    "PATCH /users/bob/checkpoints",
    "DELETE /users/bob/checkpoints",
    "OPTIONS /users/bob/checkpoints",
    "TRACE /users/bob/checkpoints",
    "FOO /users/bob/checkpoints",
    "get /users/bob/checkpoints",
    "GET /users/bob/heartbeat",
    "POST /users/bob/status",
    "GET /users/bob",
    "POST /users/bob",
    "GET /api/v1/presence/heartbeat",
    "GET /api/v1/presence/heartbeats",
    "POST /api/v1/presence/online-count",
    "POST /api/v1/presence/online-history",
    "GET /api/v1/analytics/events",
    "POST /api/v1/analytics/dau",
    "POST /api/v1/analytics/active-users",
    "GET /api/v1/analytics/dau/2024-05-31/recalculate",
    "POST /livez",
    "DELETE /readyz",
    "BREW /health",
];

/// Queries, by route and code.
const QUERIES: &[(&str, &str, &[&str])] = &[
    (
        "/users/bob/checkpoints",
        "INVALID_QUERY",
        &[
            "limit=",
            "limit=x",
            "limit=-1",
            "limit=1.0",
            "limit=1e3",
            "limit=0x10",
            "limit=99999999999999999999",
            "limit=1&limit=2",
            "limit=1&limit=1",
            "limit=%31%00",
            "limit=1%20",
            "limit=1&cursor=%FF",
            "x=%C0%80",
            "%ED%A0%80=1",
            "x=bob%E2%82&y=%AC",
            "limit=null",
            "from=",
            "from=x",
            "from=1.5",
            "from=1e3",
            "from=1e400",
            "from=NaN",
            "from=9223372036854775808",
            "from=1&from=1",
            "to=now",
            "to=2024-05-31",
            "cursor=1-1&cursor=1-1",
        ],
    ),
    ("/users/bob/checkpoints", "INVALID_LIMIT", &["limit=0", "limit=1001", "limit=18446744073709551615"]),
    (
        "/users/bob/checkpoints",
        "INVALID_TIMESTAMP",
        &["from=-1", "to=-1", "to=253402300800", "from=9223372036854775807", "from=-9223372036854775808"],
    ),
    ("/users/bob/checkpoints", "INVALID_WINDOW", &["from=2&to=1", "from=1717161600&to=0"]),
    (
        "/users/bob/checkpoints",
        "INVALID_CURSOR",
        &[
            "cursor=",
            "cursor=x",
            "cursor=-",
            "cursor=1-",
            "cursor=-1",
            "cursor=--",
            "cursor=1--1",
            "cursor=-1-1",
            "cursor=1-0",
            "cursor=1-x",
            "cursor=x-1",
            "cursor=1-1-1",
            "cursor=1.0-1",
            "cursor=1-1%20",
            "cursor=%00",
            "cursor=%EF%BF%BD",
            "cursor=1-9223372036854775808",
            "cursor=253402300800000-1",
            "cursor=99999999999999999999-1",
            "cursor='%20OR%201=1%20--",
        ],
    ),
    ("/users/bob/status", "INVALID_QUERY", &["from=x", "to=1.5", "from=1&from=2"]),
    ("/users/bob/status", "INVALID_WINDOW", &["from=2&to=1"]),
    ("/users/bob/status", "INVALID_TIMESTAMP", &["from=-1", "to=253402300800"]),
    (
        "/users/bob/summaries",
        "INVALID_TIME_ZONE",
        &[
            "tz=",
            "tz=Mars",
            "tz=../../etc/passwd",
            "tz=/etc/localtime",
            "tz=UTC%00",
            "tz=Europe",
            "tz=%EF%BF%BD",
        ],
    ),
    ("/users/bob/summaries", "TOO_MANY_DAYS", &["from=0&to=1717161600", "from=0&to=253402300799"]),
    ("/users/bob/summaries", "INVALID_QUERY", &["from=x", "tz=UTC&tz=UTC"]),
    ("/users/bob/summaries", "INVALID_TIMESTAMP", &["from=-1", "to=253402300800"]),
    (
        "/api/v1/presence/online-count",
        "INVALID_TIME_WINDOW",
        &[
            "windowSeconds=0",
            "windowSeconds=-5",
            "windowSeconds=abc",
            "windowSeconds=86401",
            "windowSeconds=",
            "windowSeconds=1.5",
            "windowSeconds=1e2",
            "windowSeconds=99999999999999999999",
            "windowSeconds=%00",
            "windowSeconds=5%20",
        ],
    ),
    ("/api/v1/presence/online-count", "INVALID_QUERY", &["windowSeconds=5&windowSeconds=5"]),
    ("/api/v1/presence/online-users", "INVALID_LIMIT", &["limit=0", "limit=1001"]),
    (
        "/api/v1/presence/online-users",
        "INVALID_QUERY",
        &["limit=x", "limit=-1", "limit=1.5", "cursor=u:a&cursor=u:a"],
    ),
    (
        "/api/v1/presence/online-users",
        "INVALID_CURSOR",
        &[
            "cursor=",
            "cursor=x",
            "cursor=u:",
            "cursor=u",
            "cursor=:bob",
            "cursor=i:short",
            "cursor=U:bob",
            "cursor=u:%00",
            "cursor=u:%20bob",
            "cursor=u:.",
            "cursor=x:bob",
            "cursor=u%EF%BF%BD:bob",
        ],
    ),
    (
        "/api/v1/presence/online-history",
        "INVALID_QUERY",
        &[
            "",
            "startTime=2024-05-31T00:00:00Z",
            "endTime=2024-05-31T00:00:00Z",
            "startTime=2024-05-31T00:00:00Z&startTime=2024-05-31T00:00:00Z&endTime=2024-05-31T00:00:00Z",
            "start_time=2024-05-31T00:00:00Z&end_time=2024-05-31T00:00:00Z",
        ],
    ),
    (
        "/api/v1/presence/online-history",
        "INVALID_TIMESTAMP",
        &[
            "startTime=&endTime=",
            "startTime=0&endTime=1717161600",
            "startTime=2024-05-31&endTime=2024-06-01",
            "startTime=2024-05-31T00:00:00&endTime=2024-06-01T00:00:00",
            "startTime=2024-05-31T00:00:00+02:00&endTime=2024-06-01T00:00:00Z",
            "startTime=2024-05-31T24:00:00Z&endTime=2024-06-01T00:00:00Z",
            "startTime=2024-02-30T00:00:00Z&endTime=2024-06-01T00:00:00Z",
            "startTime=1969-12-31T23:59:59Z&endTime=2024-06-01T00:00:00Z",
            "startTime=-2024-05-31T00:00:00Z&endTime=2024-06-01T00:00:00Z",
            "startTime=2024-05-31T00:00:00Z&endTime=%2B12024-06-01T00:00:00Z",
            "startTime=2024-05-31T00:00:00Z%00&endTime=2024-06-01T00:00:00Z",
            "startTime=%EF%BF%BD&endTime=2024-06-01T00:00:00Z",
            "startTime='%20OR%201=1%20--&endTime=2024-06-01T00:00:00Z",
        ],
    ),
    (
        "/api/v1/presence/online-history",
        "INVALID_WINDOW",
        &["startTime=2024-06-01T00:00:00Z&endTime=2024-05-31T23:59:59.999Z"],
    ),
    (
        "/api/v1/presence/online-history",
        "INVALID_INTERVAL",
        &[
            "startTime=2024-05-31T00:00:00Z&endTime=2024-06-01T00:00:00Z&interval=",
            "startTime=2024-05-31T00:00:00Z&endTime=2024-06-01T00:00:00Z&interval=2m",
            "startTime=2024-05-31T00:00:00Z&endTime=2024-06-01T00:00:00Z&interval=5M",
            "startTime=2024-05-31T00:00:00Z&endTime=2024-06-01T00:00:00Z&interval=300",
        ],
    ),
    (
        "/api/v1/presence/online-history",
        "TOO_MANY_POINTS",
        &[
            "startTime=1970-01-01T00:00:00Z&endTime=9999-12-31T23:59:59Z",
            "startTime=2024-05-01T00:00:00Z&endTime=2024-05-08T00:00:00Z&interval=1m",
        ],
    ),
    (
        "/api/v1/analytics/dau",
        "INVALID_DAY",
        &[
            "startDate=",
            "startDate=today",
            "endDate=2024-5-31",
            "endDate=20240531",
            "endDate=2024-02-30",
            "endDate=2023-02-29",
            "endDate=2024-13-01",
            "endDate=0000-01-01",
            "endDate=-2024-05-31",
            "endDate=%2B2024-05-31",
            "endDate=12024-05-31",
            "endDate=2024-05-31T00:00:00Z",
            "endDate=2024-05-31%20",
            "endDate=2024-05-31%00",
            "endDate=0001-01-03",
            "startDate=%EF%BF%BD",
            "startDate='%3B%20DROP%20TABLE%20x",
        ],
    ),
    (
        "/api/v1/analytics/dau",
        "INVALID_WINDOW",
        &["startDate=2024-05-31&endDate=2024-05-30", "startDate=9999-12-31"],
    ),
    (
        "/api/v1/analytics/dau",
        "TOO_MANY_DAYS",
        &["startDate=2023-05-31&endDate=2024-05-31", "startDate=0001-01-01&endDate=9999-12-31"],
    ),
    ("/api/v1/analytics/dau", "INVALID_QUERY", &["startDate=2024-05-31&startDate=2024-05-31"]),
    (
        "/api/v1/analytics/active-users",
        "INVALID_PERIOD",
        &[
            "period=",
            "period=year",
            "period=Week",
            "period=7",
            "period=30D",
            "period=week%00",
            "period=%EF%BF%BD",
        ],
    ),
    (
        "/api/v1/analytics/active-users",
        "INVALID_DAY",
        &[
            "date=",
            "date=now",
            "date=2024-02-30",
            "period=30d&date=0001-01-29",
            "period=week&date=9999-12-31",
            "period=week&date=0000-12-31",
        ],
    ),
    ("/api/v1/analytics/active-users", "INVALID_QUERY", &["date=2024-05-31&date=2024-05-31"]),
    ("/users/bob/checkpoints/0", "INVALID_CHECKPOINT_ID", &[""]),
    ("/users/bob/checkpoints/-1", "INVALID_CHECKPOINT_ID", &[""]),
    ("/users/bob/checkpoints/x", "INVALID_CHECKPOINT_ID", &[""]),
    ("/users/bob/checkpoints/1.0", "INVALID_CHECKPOINT_ID", &[""]),
    ("/users/bob/checkpoints/1e3", "INVALID_CHECKPOINT_ID", &[""]),
    ("/users/bob/checkpoints/%20", "INVALID_CHECKPOINT_ID", &[""]),
    ("/users/bob/checkpoints/9223372036854775808", "INVALID_CHECKPOINT_ID", &[""]),
];

/// Values of `Idempotency-Key` that name no request.
const KEYS: &[(&str, &[u8])] = &[
    ("empty", b""),
    ("a dot", b"."),
    ("two dots", b".."),
    ("Latin-1", b"caf\xe9"),
    ("UTF-8", "caf\u{e9}".as_bytes()),
    ("a byte that is never UTF-8", b"\xff"),
    ("a tab", b"a\tb"),
];

pub(super) fn cases() -> Vec<Case> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let body = r#"{"state":"Working"}"#;
    let mut cases = Vec::new();
    let long = ["x".repeat(129), encoded(&"😀".repeat(129)), encoded(&format!("e{}", "\u{301}".repeat(128)))];
    let users = USERS
        .iter()
        .map(|&user| (user, user.to_owned()))
        .chain(["129 letters", "129 emoji", "129 marks"].into_iter().zip(long));
    for (name, user) in users {
        let invalid = "INVALID_USER_ID";
        cases.push(Case::new(
            format!("user: {name}"),
            post(&format!("/users/{user}/checkpoints"), body),
            400,
            invalid,
        ));
        cases.push(Case::new(
            format!("heartbeat of user: {name}"),
            post(&format!("/users/{user}/heartbeat"), "{}"),
            400,
            invalid,
        ));
        cases.push(Case::new(
            format!("status of user: {name}"),
            get(&format!("/users/{user}/status")),
            400,
            invalid,
        ));
        let erase = format!("DELETE /users/{user} HTTP/1.1\r\nHost: a\r\n\r\n");
        cases.push(Case::new(format!("erasure of user: {name}"), erase, 400, invalid));
    }
    cases.push(Case::new("status of user: nothing", get("/users//status"), 400, "INVALID_USER_ID"));
    for path in NO_PATHS {
        let report = post(&format!("/users/{path}/checkpoints"), body);
        cases.push(Case::new(format!("path: {path}"), report, 400, "INVALID_PATH"));
    }
    for line in NO_ROUTES {
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        cases.push(Case::new(format!("route: {line}"), request, 404, "ROUTE_NOT_FOUND"));
    }
    for line in NO_METHODS {
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        cases.push(Case::new(format!("method: {line}"), request, 405, "METHOD_NOT_ALLOWED"));
    }
    for (path, code, queries) in QUERIES {
        for query in *queries {
            let target = if query.is_empty() { (*path).to_owned() } else { format!("{path}?{query}") };
            cases.push(Case::new(format!("query: {target}"), get(&target), 400, code));
        }
    }
    let junk = format!("/users/bob/checkpoints?cursor={}", "1".repeat(4096));
    cases.push(Case::new("query: a cursor of 4 KiB", get(&junk), 400, "INVALID_CURSOR"));
    for (path, code) in [
        ("/users/nobody/status", "USER_NOT_FOUND"),
        ("/users/nobody/export", "USER_NOT_FOUND"),
        ("/users/bob/checkpoints/7", "CHECKPOINT_NOT_FOUND"),
        ("/users/bob/checkpoints/%37", "CHECKPOINT_NOT_FOUND"),
        ("/users/bob/checkpoints/9223372036854775807", "CHECKPOINT_NOT_FOUND"),
    ] {
        cases.push(Case::new(format!("unknown: {path}"), get(path), 404, code));
    }
    for day in [
        "x",
        "2024-02-30",
        "2024-5-31",
        "0000-01-01",
        "%2B2024-05-31",
        "",
        "-2024-05-31",
        "2024-05-31%00",
        "..",
        "%20",
    ] {
        let line = format!("/api/v1/analytics/dau/{day}/recalculate");
        cases.push(Case::new(format!("day: {day}"), post(&line, ""), 400, "INVALID_DAY"));
    }
    let line = "/api/v1/analytics/dau/%FF/recalculate";
    cases.push(Case::new("day: no text", post(line, ""), 400, "INVALID_PATH"));
    let report = |key: &[u8]| {
        let head = b"POST /users/mallory/checkpoints HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 19\r\n";
        [head, b"Idempotency-Key: ".as_slice(), key, b"\r\n\r\n", body.as_bytes()].concat()
    };
    let long = "k".repeat(129);
    for (name, key) in
        KEYS.iter().copied().chain([("129 characters", long.as_bytes()), ("two", b"a\r\nIdempotency-Key: b")])
    {
        cases.push(Case::new(format!("key: {name}"), report(key), 400, "INVALID_EVENT_ID"));
    }
    cases
}
