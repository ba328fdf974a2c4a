//! Heartbeats and events that are refused by their place in a batch, heartbeats also alone.

/// Heartbeats: JSON values and their codes, at this time in Unix seconds.
pub(crate) fn items(now: i64) -> Vec<(String, &'static str)> {
    let good = |field: &str, value: &str| {
        let mut fields =
            vec![("installId", "\"phone-4711\""), ("appVersion", "\"1.2\""), ("clientTs", "1717161600")];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let text = |text: &str| format!("\"{text}\"");
    let mut items: Vec<(String, &str)> = Vec::new();
    for whole in [
        "7",
        "-0",
        "1e400",
        "null",
        "true",
        "\"phone-4711\"",
        "[]",
        "[[]]",
        "{}",
        r#"["phone-4711","1.2",1717161600]"#,
        r#"{"installId":"phone-4711"}"#,
        r#"{"installId":"phone-4711","appVersion":"1"}"#,
        r#"{"appVersion":"1","clientTs":1717161600}"#,
        r#"{"install_id":"phone-4711","app_version":"1","client_ts":1717161600}"#,
        r#"{"installId":"phone-4711","installId":"phone-4712","appVersion":"1","clientTs":1717161600}"#,
        r#"{"installId":"phone-4711","appVersion":"1","clientTs":1717161600,"clientTs":1717161601}"#,
    ] {
        items.push((whole.to_owned(), "INVALID_BODY"));
    }
    items.extend(shared(now, &good));
    for version in ["null", "1.2", "[]", "{}", "false", r#""\ud83d""#] {
        items.push((good("appVersion", version), "INVALID_BODY"));
    }
    for version in [String::new(), "1".repeat(65), "😀".repeat(65)] {
        items.push((good("appVersion", &text(&version)), "INVALID_APP_VERSION"));
    }
    items
}

/// Events: JSON values and their codes, at this time in Unix seconds.
pub(crate) fn events(now: i64) -> Vec<(String, &'static str)> {
    let good = |field: &str, value: &str| {
        let mut fields = vec![
            ("eventName", "\"app_session_start\""),
            ("installId", "\"phone-4711\""),
            ("clientTs", "1717161600"),
        ];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let text = |text: &str| format!("\"{text}\"");
    let mut items: Vec<(String, &str)> = Vec::new();
    for whole in [
        "7",
        "1e400",
        "null",
        "\"app_session_start\"",
        "[]",
        "{}",
        r#"["app_session_start","phone-4711",null,1717161600,null,null]"#,
        r#"{"eventName":"app_session_start","installId":"phone-4711"}"#,
        r#"{"eventName":"app_session_start","clientTs":1717161600}"#,
        r#"{"installId":"phone-4711","clientTs":1717161600}"#,
        r#"{"event_name":"app_session_start","install_id":"phone-4711","client_ts":1717161600}"#,
        r#"{"eventName":"a","eventName":"b","installId":"phone-4711","clientTs":1717161600}"#,
        r#"{"eventName":"a","installId":"phone-4711","clientTs":1717161600,"properties":{},"properties":{}}"#,
    ] {
        items.push((whole.to_owned(), "INVALID_BODY"));
    }
    items.extend(shared(now, &good));
    for name in ["null", "7", "[]", "{}", "true", r#""\ud800""#] {
        items.push((good("eventName", name), "INVALID_BODY"));
    }
    for name in
        ["", " ", "7days", "_start", "app-start", "app start", "app.start", "äpp", r"app\u0000", "*", "😀"]
    {
        items.push((good("eventName", &text(name)), "INVALID_EVENT_NAME"));
    }
    items.push((good("eventName", &text(&"x".repeat(65))), "INVALID_EVENT_NAME"));
    for id in ["7", "[]", "{}", "true", r#""\ud800""#] {
        items.push((good("eventId", id), "INVALID_BODY"));
    }
    for id in ["", " ", " e-1", "e-1 ", ".", "..", r"e\u00001", r"e\n1", r"\u0085e"] {
        items.push((good("eventId", &text(id)), "INVALID_EVENT_ID"));
    }
    items.push((good("eventId", &text(&"x".repeat(129))), "INVALID_EVENT_ID"));
    let nested = |depth: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    for properties in [
        "null",
        "7",
        "true",
        "\"{}\"",
        "[]",
        r#"[{"province":"Hunan"}]"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":"\u0000"}"#,
        r#"{"a\u0000":1}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1e400}"#,
        r#"{"a":18446744073709551616}"#,
        &nested(32),
        &nested(100),
        &nested(5000),
        &format!(r#"{{"a":"{}"}}"#, "x".repeat(16 * 1024)),
    ] {
        items.push((good("properties", properties), "INVALID_EVENT_PROPERTIES"));
    }
    items
}

/// What a heartbeat and an event have in common; `good` gives one with a field of this value.
fn shared(now: i64, good: &impl Fn(&str, &str) -> String) -> Vec<(String, &'static str)> {
    let text = |text: &str| format!("\"{text}\"");
    let mut items: Vec<(String, &str)> = Vec::new();
    for install in
        ["null", "7", "4711471147", "true", "[]", "{}", r#""\ud800phone-4711""#, r#""\udc00\ud800-4711""#]
    {
        items.push((good("installId", install), "INVALID_BODY"));
    }
    for install in [
        String::new(),
        "short-7".into(),
        "x".repeat(65),
        "with space".into(),
        " phone-4711".into(),
        "phone-4711 ".into(),
        r"phone\u00004711".into(),
        r"phone\n4711".into(),
        "phönix-4711".into(),
        "phone/../4711".into(),
        "phone:4711".into(),
        "😀😀😀😀😀😀😀😀".into(),
        "phone-4711\u{301}".into(),
        "ｐｈｏｎｅ４７１１".into(),
        "phone'; DROP TABLE x".into(),
    ] {
        items.push((good("installId", &text(&install)), "INVALID_INSTALL_ID"));
    }
    for stamp in [
        "null",
        "\"1717161600\"",
        "true",
        "[]",
        "{}",
        "1717161600.5",
        "1e400",
        "-1e400",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999999999999999",
    ] {
        items.push((good("clientTs", stamp), "INVALID_BODY"));
    }
    let millis = (now * 1000).to_string();
    for stamp in
        ["-1", "-9223372036854775808", "253402300800", "9007199254740993", "9223372036854775807", &millis]
    {
        items.push((good("clientTs", stamp), "INVALID_TIMESTAMP"));
    }
    for ahead in [400, 86_400] {
        items.push((good("clientTs", &(now + ahead).to_string()), "FUTURE_TIMESTAMP"));
    }
    for user in [
        "1.5",
        "9007199254740993.0",
        "1e19",
        "true",
        "[]",
        "{}",
        "[\"bob\"]",
        "9223372036854775808",
        "-9223372036854775809",
        r#""\ud800""#,
    ] {
        items.push((good("userId", user), "INVALID_BODY"));
    }
    for user in [
        String::new(),
        " ".into(),
        " bob".into(),
        "bob ".into(),
        ".".into(),
        "..".into(),
        r"bob\u0000".into(),
        r"b\nob".into(),
        r"\u0085bob".into(),
        r"bo\u007fb".into(),
        "\u{a0}bob".into(),
        "bob\u{3000}".into(),
        "x".repeat(129),
        "😀".repeat(129),
    ] {
        items.push((good("userId", &text(&user)), "INVALID_USER_ID"));
    }
    items
}
