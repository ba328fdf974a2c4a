//! Bodies that are no report, do not end, or say what a report cannot say.

use super::Case;
use crate::client::post;

const REPORT: &str = "/users/mallory/checkpoints";

/// Bytes that are no JSON object of ours.
const SHAPES: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("a blank", b" "),
    ("half an object", b"{"),
    ("half a string", br#"{"state":"Work"#),
    ("half an escape", br#"{"state":"Work\u00"}"#),
    ("an array", b"[]"),
    ("the values in order", br#"["Working",null,1,"e-1"]"#),
    ("a number", b"7"),
    ("a string", br#""Working""#),
    ("true", b"true"),
    ("null", b"null"),
    ("no state", b"{}"),
    ("another case", br#"{"State":"Working"}"#),
    ("a comma too many", br#"{"state":"Working",}"#),
    ("a comma too few", br#"{"state":"Working" "content":1}"#),
    ("a comment", br#"{"state":"Working"/* x */}"#),
    ("single quotes", b"{'state':'Working'}"),
    ("no quotes", b"{state:Working}"),
    ("two objects", br#"{"state":"Working"}{"state":"Idle"}"#),
    ("something behind", br#"{"state":"Working"} x"#),
    ("a NUL behind", b"{\"state\":\"Working\"}\0"),
    ("a NUL in front", b"\0{\"state\":\"Working\"}"),
    ("a byte order mark", b"\xef\xbb\xbf{\"state\":\"Working\"}"),
    ("UTF-16, little end first", b"\xff\xfe{\0\"\0s\0\"\0:\x001\0}\0"),
    ("UTF-16, big end first", b"\xfe\xff\0{\0\"\0s\0\"\0:\x001\0}"),
    ("UTF-16 without a mark", b"{\0\"\0s\0\"\0:\x001\0}\0"),
    ("Latin-1", b"{\"state\":\"Caf\xe9\"}"),
    ("an overlong slash", b"{\"state\":\"a\xc0\xafb\"}"),
    ("an overlong NUL", b"{\"state\":\"a\xc0\x80b\"}"),
    ("a surrogate in UTF-8", b"{\"state\":\"a\xed\xa0\x80b\"}"),
    ("half a character", b"{\"state\":\"a\xe2\x82\"}"),
    ("a character beyond Unicode", b"{\"state\":\"\xf4\x90\x80\x80\"}"),
    ("bytes that are never UTF-8", b"{\"state\":\"\xfe\xff\"}"),
    ("invalid bytes in a field nobody knows", b"{\"state\":\"Working\",\"x\":\"\xff\"}"),
    ("a line break in a string", b"{\"state\":\"Work\ning\"}"),
    ("a NUL in a string", b"{\"state\":\"Work\0ing\"}"),
    ("an escape nobody knows", br#"{"state":"\x41"}"#),
    ("half a pair", br#"{"state":"\ud83d"}"#),
    ("the other half", br#"{"state":"\ude00"}"#),
    ("a pair the wrong way", br#"{"state":"\ude00\ud83d"}"#),
    ("half a pair and a letter", br#"{"state":"\ud83dA"}"#),
    ("half a pair in a key", br#"{"state":"Working","\ud83d":1}"#),
    ("two states", br#"{"state":"Working","state":"Idle"}"#),
    ("two equal states", br#"{"state":"Working","state":"Working"}"#),
    ("two states, one escaped", br#"{"state":"Working","\u0073tate":"Idle"}"#),
    ("two stamps", br#"{"state":"Working","timestamp":1,"timestamp":2}"#),
    ("two contents", br#"{"state":"Working","content":1,"content":2}"#),
    ("two event ids", br#"{"state":"Working","event_id":"a","event_id":"b"}"#),
    ("state null", br#"{"state":null}"#),
    ("state a number", br#"{"state":7}"#),
    ("state a list", br#"{"state":["Working"]}"#),
    ("state an object", br#"{"state":{"Working":1}}"#),
    ("event id a number", br#"{"state":"Working","event_id":7}"#),
    ("event id a list", br#"{"state":"Working","event_id":["a"]}"#),
    ("content without end", br#"{"state":"Working","content":[1,2}"#),
    ("content that is a word", br#"{"state":"Working","content":undefined}"#),
    ("content that is no number", br#"{"state":"Working","content":NaN}"#),
    ("a zero in front", br#"{"state":"Working","content":01}"#),
    ("a point in front", br#"{"state":"Working","content":.5}"#),
    ("a point behind", br#"{"state":"Working","content":5.}"#),
];

const NO_STAMPS: &[&str] = &[
    "1.5",
    "9007199254740993.0",
    "1e19",
    "0.1",
    "1e400",
    "-1e400",
    "\"1717161600\"",
    "\"\"",
    "true",
    "[]",
    "[1]",
    "{}",
    "NaN",
    "Infinity",
    "-Infinity",
    "0x10",
    "01",
    "+1",
    "-",
    "1_000",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
];

/// Text inside the quotes of a state.
const STATES: &[&str] = &[
    "",
    " ",
    " Working",
    "Working ",
    r"\t",
    r"Working\n",
    r"Work\ning",
    r"Work\u0000ing",
    r"\u0000",
    r"Work\u001b[31ming",
    r"\u007f",
    r"\u0085",
    r"a\u009fb",
    "\u{a0}Working",
    "Working\u{3000}",
    "\u{2028}Working",
    "Working\u{2029}",
    r"\u2003Working",
    ".",
    "..",
];

const CONTENTS: &[(&str, &str)] = &[
    ("a key twice", r#"{"a":1,"a":1}"#),
    ("a key twice, one escaped", r#"{"a":1,"\u0061":2}"#),
    ("a key twice, deep down", r#"[{"x":{"a":1,"b":2,"a":3}}]"#),
    ("the empty key twice", r#"{"":1,"":2}"#),
    ("a NUL", r#""\u0000""#),
    ("a NUL in a key", r#"{"a\u0000":1}"#),
    ("half a pair", r#""\ud800""#),
    ("half a pair in a key", r#"{"\udfff":1}"#),
    ("a number too large", "1e400"),
    ("a number too small", "-1e400"),
    ("a whole number beyond 64 bits", "18446744073709551616"),
    ("a whole number below 64 bits", "-9223372036854775809"),
    ("a very long number", "[123456789012345678901234567890123456789012345678901234567890]"),
];

pub(super) fn cases(now: i64) -> Vec<Case> {
    let report = |body: &[u8]| post(REPORT, body);
    let with = |field: &str, value: &str| post(REPORT, format!(r#"{{"state":"Working","{field}":{value}}}"#));
    let mut cases = Vec::new();
    for (name, body) in SHAPES {
        cases.push(Case::new(format!("body: {name}"), report(body), 400, "INVALID_BODY"));
    }
    for stamp in NO_STAMPS {
        cases.push(Case::new(format!("stamp: {stamp}"), with("timestamp", stamp), 400, "INVALID_BODY"));
        let beat = post("/users/mallory/heartbeat", format!(r#"{{"timestamp":{stamp}}}"#));
        cases.push(Case::new(format!("stamp of a heartbeat: {stamp}"), beat, 400, "INVALID_BODY"));
    }
    let millis = (now * 1000).to_string();
    for stamp in
        ["-1", "-9223372036854775808", "253402300800", "9007199254740993", "9223372036854775807", &millis]
    {
        cases.push(Case::new(format!("stamp: {stamp}"), with("timestamp", stamp), 400, "INVALID_TIMESTAMP"));
    }
    for ahead in [400, 100_000] {
        let name = format!("stamp: {ahead} s ahead");
        cases.push(Case::new(name, with("timestamp", &(now + ahead).to_string()), 400, "FUTURE_TIMESTAMP"));
    }
    let long = [
        ("65 letters", "x".repeat(65)),
        ("65 emoji", "😀".repeat(65)),
        ("65 marks", format!("e{}", "\u{301}".repeat(64))),
    ];
    let states = STATES.iter().map(|&state| (state, state.to_owned())).chain(long);
    for (name, state) in states {
        let body = format!(r#"{{"state":"{state}"}}"#);
        cases.push(Case::new(format!("state: {name:?}"), report(body.as_bytes()), 400, "INVALID_STATE"));
        let beat = post("/users/mallory/heartbeat", body);
        cases.push(Case::new(format!("state of a heartbeat: {name:?}"), beat, 400, "INVALID_STATE"));
    }
    let long = [
        ("129 letters", "x".repeat(129)),
        ("129 emoji", "😀".repeat(129)),
        ("129 marks", format!("e{}", "\u{301}".repeat(128))),
    ];
    let ids = STATES.iter().map(|&id| (id, id.to_owned())).chain(long);
    for (name, id) in ids {
        cases.push(Case::new(
            format!("event id: {name:?}"),
            with("event_id", &format!("\"{id}\"")),
            400,
            "INVALID_EVENT_ID",
        ));
    }
    for (name, content) in CONTENTS {
        cases.push(Case::new(format!("content: {name}"), with("content", content), 400, "INVALID_CONTENT"));
    }
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [33, 100, 127, 128, 129, 8_000, 30_000] {
        cases.push(Case::new(
            format!("content: {depth} levels"),
            with("content", &nested(depth)),
            400,
            "INVALID_CONTENT",
        ));
    }
    let objects = format!("{}1{}", r#"{"a":"#.repeat(33), "}".repeat(33));
    cases.push(Case::new("content: 33 objects", with("content", &objects), 400, "INVALID_CONTENT"));
    let keys: Vec<_> = (0..=1000).map(|key| format!(r#"{{"{key}":0}}"#)).collect();
    let keys = format!("[{}]", keys.join(","));
    cases.push(Case::new("content: 1001 keys", with("content", &keys), 400, "INVALID_CONTENT"));
    let wide = format!("\"{}\"", "x".repeat(16 * 1024 - 1));
    cases.push(Case::new("content: 16 KiB and a byte", with("content", &wide), 400, "INVALID_CONTENT"));
    let grows = format!("[{}1e9]", "1e9,".repeat(4_000));
    cases.push(Case::new(
        "content: 16 KiB once written out",
        with("content", &grows),
        400,
        "INVALID_CONTENT",
    ));
    for (name, body) in [("30,000 levels", nested(30_000)), ("30,000 levels without end", "[".repeat(30_000))]
    {
        cases.push(Case::new(format!("body: {name}"), report(body.as_bytes()), 400, "INVALID_BODY"));
    }
    let objects = r#"{"a":"#.repeat(10_000);
    cases.push(Case::new(
        "body: 10,000 objects without end",
        report(objects.as_bytes()),
        400,
        "INVALID_BODY",
    ));
    cases.extend(lengths());
    cases.extend(types());
    cases.extend(chunks());
    cases.extend(batches());
    cases.extend(events());
    cases
}

/// Bodies that are too long, or shorter than they say.
fn lengths() -> Vec<Case> {
    let head = |target: &str, length: u64| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let too_large = "BODY_TOO_LARGE";
    let blanks = |count: usize| format!("{{\"state\":\"Working\"{}}}", " ".repeat(count - 19));
    let mut cases = vec![
        Case::new("length: 64 KiB and a byte", post(REPORT, blanks(64 * 1024 + 1)), 413, too_large),
        Case::new("length: 2 MiB", post(REPORT, blanks(2 * 1024 * 1024)), 413, too_large),
        Case::new(
            "length: a batch of 1 MiB and a byte",
            post("/api/v1/presence/heartbeats", " ".repeat(1024 * 1024 + 1)),
            413,
            too_large,
        ),
    ];
    for length in [65_537, 1 << 32, i64::MAX as u64] {
        cases.push(Case::new(
            format!("length: {length}, and no byte sent"),
            head(REPORT, length),
            413,
            too_large,
        ));
    }
    for sent in ["", "{", r#"{"state":"Working"}"#] {
        let bytes = format!("{}{sent}", head(REPORT, 100));
        cases.push(
            Case::new(format!("length: {} of 100, then the end", sent.len()), bytes, 400, "BODY_INCOMPLETE")
                .half_closed(),
        );
    }
    cases
}

fn types() -> Vec<Case> {
    let body = r#"{"state":"Working"}"#;
    let unsupported = [
        "",
        "Content-Type:\r\n",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonx\r\n",
        "Content-Type: application\r\n",
        "Content-Type: application/json, text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/json; charset=latin1\r\n",
        "Content-Type: application/json; charset=utf-16\r\n",
        "Content-Type: application/json; charset=\"utf-7\"\r\n",
        "Content-Type: \u{e9}\r\n",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "Content-Type: application/json\r\nContent-Encoding: br, gzip\r\n",
        "Content-Type: text/plain\r\nContent-Type: application/json\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        "Content-Type: application/json\r\nContent-Type: application/json\r\n",
    ];
    let case = |headers: &&str| {
        let request = format!(
            "POST {REPORT} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Case::new(format!("type: {headers:?}"), request, 415, "UNSUPPORTED_MEDIA_TYPE")
    };
    unsupported.iter().map(case).collect()
}

/// Chunks that are none, or do not end.
fn chunks() -> Vec<Case> {
    let json = r#"{"state":"Working"}"#;
    let request = |chunks: &str| {
        let head = format!("POST {REPORT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n");
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}")
    };
    let mut cases: Vec<_> = [
        ("a size that is no number", "zz\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("no size", "\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a negative size", "-1\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size with a plus", "+2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size with 0x", "0x2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size of 68 bits", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size of 64 bits", format!("ffffffffffffffff\r\n{json}")),
        ("a size of a kilobyte of digits", format!("{}13\r\n{json}\r\n0\r\n\r\n", "1".repeat(1024))),
        ("LF behind the size", format!("13\n{json}\r\n0\r\n\r\n")),
        ("a chunk longer than its size", format!("12\r\n{json}\r\n0\r\n\r\n")),
        ("a chunk without an end of line", format!("13\r\n{json}0\r\n\r\n")),
        ("extensions of 32 KiB", format!("13;{}\r\n{json}\r\n0\r\n\r\n", "x".repeat(32 * 1024))),
        (
            "extensions of 32 KiB, in pieces",
            format!("{}0\r\n\r\n", format!("1;{}\r\n \r\n", "x".repeat(1024)).repeat(32)),
        ),
        ("trailers of 32 KiB", format!("13\r\n{json}\r\n0\r\nX: {}\r\n\r\n", "y".repeat(32 * 1024))),
        ("1,000 trailers", format!("13\r\n{json}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(1000))),
        ("a trailer that is none", format!("13\r\n{json}\r\n0\r\nnonsense\0\r\n\r\n")),
    ]
    .map(|(name, chunks)| {
        Case::new(format!("chunks: {name}"), request(&chunks), 400, "BODY_INCOMPLETE").half_closed()
    })
    .into();
    for sent in
        ["", "1", "13\r\n", "13\r\n{", &format!("13\r\n{json}\r\n"), &format!("13\r\n{json}\r\n0\r\n")]
    {
        let case =
            Case::new(format!("chunks: {sent:?}, then the end"), request(sent), 400, "BODY_INCOMPLETE");
        cases.push(case.half_closed());
    }
    let long = format!("10001\r\n{}\r\n0\r\n\r\n", " ".repeat(65_537));
    cases.push(Case::new("chunks: 64 KiB and a byte", request(&long), 413, "BODY_TOO_LARGE"));
    let many = format!("{}0\r\n\r\n", "1\r\n \r\n".repeat(65_537));
    cases.push(Case::new("chunks: 64 KiB and a byte, one at a time", request(&many), 413, "BODY_TOO_LARGE"));
    cases.push(Case::new("chunks: none", request("0\r\n\r\n"), 400, "INVALID_BODY"));
    cases
}

/// Batches that are refused as a whole.
fn batches() -> Vec<Case> {
    let item = r#"{"installId":"phone-4711","appVersion":"1","clientTs":1717161600}"#;
    let many = format!("[{}{item}]", format!("{item},").repeat(1000));
    let invalid = "INVALID_BODY";
    [
        ("nothing", Vec::new(), invalid),
        ("an object", b"{}".to_vec(), invalid),
        ("a heartbeat", item.as_bytes().to_vec(), invalid),
        ("null", b"null".to_vec(), invalid),
        ("a string", b"\"[]\"".to_vec(), invalid),
        ("no end", format!("[{item}").into_bytes(), invalid),
        ("a comma too many", format!("[{item},]").into_bytes(), invalid),
        ("something behind", format!("[{item}]x").into_bytes(), invalid),
        ("a bad byte in one item", [format!("[{item},\"").as_bytes(), b"\xff\"]"].concat(), invalid),
        ("an item that is no JSON", format!("[{item},nonsense]").into_bytes(), invalid),
        ("100,000 levels", "[".repeat(100_000).into_bytes(), invalid),
        ("no items", b"[]".to_vec(), "INVALID_BATCH"),
        ("1,001 items", many.into_bytes(), "INVALID_BATCH"),
        ("1,001 small items", format!("[{}7]", "7,".repeat(1000)).into_bytes(), "INVALID_BATCH"),
    ]
    .map(|(name, body, code)| {
        Case::new(format!("batch: {name}"), post("/api/v1/presence/heartbeats", body), 400, code)
    })
    .into()
}

/// Batches of events that are refused as a whole.
fn events() -> Vec<Case> {
    let item = r#"{"eventName":"app_session_start","installId":"phone-4711","clientTs":1717161600}"#;
    let many = format!(r#"{{"events":[{}{item}]}}"#, format!("{item},").repeat(1000));
    let invalid = "INVALID_BODY";
    [
        ("nothing", Vec::new(), invalid),
        ("an array", format!("[{item}]").into_bytes(), invalid),
        ("an event", item.as_bytes().to_vec(), invalid),
        ("null", b"null".to_vec(), invalid),
        ("another case", format!(r#"{{"Events":[{item}]}}"#).into_bytes(), invalid),
        ("null for events", br#"{"events":null}"#.to_vec(), invalid),
        ("an object for events", format!(r#"{{"events":{item}}}"#).into_bytes(), invalid),
        ("events twice", format!(r#"{{"events":[{item}],"events":[{item}]}}"#).into_bytes(), invalid),
        ("no end", format!(r#"{{"events":[{item}]"#).into_bytes(), invalid),
        ("a comma too many", format!(r#"{{"events":[{item},]}}"#).into_bytes(), invalid),
        ("something behind", format!(r#"{{"events":[{item}]}}x"#).into_bytes(), invalid),
        ("a bad byte in one item", [br#"{"events":[""#.as_slice(), b"\xff\"]}"].concat(), invalid),
        ("an item that is no JSON", format!(r#"{{"events":[{item},nonsense]}}"#).into_bytes(), invalid),
        ("100,000 levels", format!(r#"{{"events":{}"#, "[".repeat(100_000)).into_bytes(), invalid),
        ("no items", br#"{"events":[]}"#.to_vec(), "INVALID_BATCH"),
        ("1,001 items", many.into_bytes(), "INVALID_BATCH"),
        (
            "1,001 small items",
            format!(r#"{{"events":[{}7]}}"#, "7,".repeat(1000)).into_bytes(),
            "INVALID_BATCH",
        ),
    ]
    .map(|(name, body, code)| {
        Case::new(format!("events: {name}"), post("/api/v1/analytics/events", body), 400, code)
    })
    .into_iter()
    .chain([Case::new(
        "events: 1 MiB and a byte",
        post("/api/v1/analytics/events", " ".repeat(1024 * 1024 + 1)),
        413,
        "BODY_TOO_LARGE",
    )])
    .collect()
}
