//! What the log says, and what it never says.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    panic,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// Text of users that must not be in the log, as it is or decoded.
const CANARY: &str = "canary";

/// Requests whose paths, queries, headers and bodies hold what could break a line, and how each is answered.
const REQUESTS: [(&str, &str, u16); 11] = [
    ("POST /users/canary%0d%0a%1b%5b31m/checkpoints", r#"{"state":"Working"}"#, 400),
    ("POST /users/canary%0a{\"level\":\"INFO\"}/heartbeat", "", 400),
    ("POST /users/canary/checkpoints", r#"{"state":"canary\r\n\u001b[31m","content":{"canary":"\n"}}"#, 400),
    ("POST /users/canary/checkpoints", r#"{"state":"Working","content":{"canary":"\n\u001b"}}"#, 201),
    ("POST /users/canary/heartbeat", r#"{"canary\n":"#, 400),
    ("GET /users/canary/status?from=canary%0a%1b", "", 400),
    ("GET /users/canary/status?canary=%0d%0a", "", 200),
    ("GET /canary%0a/%1b[2J", "", 404),
    ("CANARY /users/canary/status", "", 405),
    ("GET /users/%00canary/checkpoints?cursor=canary%0a", "", 400),
    ("POST /api/v1/presence/heartbeats", r#"[{"installId":"canary\n\u001b"}]"#, 200),
];

/// Asks a real server, tells it to end, and gives all that it wrote.
fn log_of(settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    command.env_clear().envs([("BIND_ADDRESS", "127.0.0.1:0"), ("LOG_FORMAT", "json")]);
    let folder = tempfile::tempdir().expect("a folder");
    command.current_dir(folder.path()).envs(settings.iter().copied()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut text = String::new();
    let address = loop {
        let begin = text.len();
        assert!(log.read_line(&mut text).expect("text") > 0, "the server ended before it listened");
        if let Some((_, address)) = text[begin..].split_once("listening on http://") {
            break address.split('"').next().expect("an address").to_owned();
        }
    };
    // The log is read to its end, so that the server never waits for us.
    let rest = thread::spawn(move || {
        log.read_to_string(&mut text).expect("text");
        text
    });
    for (number, (line, body, status)) in REQUESTS.into_iter().enumerate() {
        assert_eq!(ask(&address, line, body, &format!("r-{number}")), status, "{line} {body}");
    }
    assert_eq!(ask(&address, "GET /livez", "", "canary\u{1b}[31m"), 400, "not a header's value");
    assert_eq!(ask(&address, "GET /livez", "", "canary not ours"), 200);
    assert_eq!(ask(&address, "GET /metrics", "", "metrics"), 200);
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
    assert!(told.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    rest.join().expect("read")
}

/// One request on a connection of its own; the status.
fn ask(address: &str, line: &str, body: &str, id: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("a server that listens");
    let head = format!(
        "{line} HTTP/1.1\r\nhost: canary\r\nuser-agent: canary\r\ncontent-type: application/json\r\n\
         idempotency-key: canary-{id}\r\nx-request-id: {id}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{line}: {answer}"))
}

/// The records of the access log.
fn requests(log: &str) -> Vec<Value> {
    let records = log.lines().map(|line| {
        let record: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("one line, one record: {line:?}"));
        assert!(record["level"].is_string() && record["fields"]["message"].is_string(), "{line}");
        record
    });
    records.filter(|record| record["target"] == "presence_server::access").collect()
}

#[test]
fn each_request_is_one_line_without_anything_of_the_client() {
    let log = log_of(&[]);
    assert!(!log.contains(CANARY) && !log.contains(&CANARY.to_uppercase()), "{log}");
    assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
    let lines: Vec<String> = (requests(&log).iter())
        .map(|record| {
            let field = |name: &str| record["fields"][name].to_string().replace('"', "");
            assert_eq!(record["level"], "INFO");
            assert!(record["fields"]["duration_ms"].as_f64().expect("a number") >= 0.0);
            let names = ["request.id", "request.method", "request.route", "status"];
            names.map(field).join(" ")
        })
        .collect();
    // The head with an escape in it: nothing of it is taken over, its id and method included.
    let (refused, lines) = lines.split_last().expect("lines");
    assert!(!refused.starts_with("r-") && refused.ends_with(" other none 400"), "{refused}");
    assert_eq!(
        lines,
        [
            "r-0 POST /users/{user_id}/checkpoints 400",
            "r-1 POST /users/{user_id}/heartbeat 400",
            "r-2 POST /users/{user_id}/checkpoints 400",
            "r-3 POST /users/{user_id}/checkpoints 201",
            "r-4 POST /users/{user_id}/heartbeat 400",
            "r-5 GET /users/{user_id}/status 400",
            "r-6 GET /users/{user_id}/status 200",
            "r-7 GET none 404",
            "r-8 other /users/{user_id}/status 405",
            "r-9 GET /users/{user_id}/checkpoints 400",
            "r-10 POST /api/v1/presence/heartbeats 200",
        ]
    );
}

#[test]
fn health_and_metrics_have_their_lines_at_debug() {
    let log = log_of(&[("RUST_LOG", "presence_server=debug")]);
    assert!(!log.contains(CANARY), "{log}");
    let requests = requests(&log);
    let debug: Vec<&Value> = requests.iter().filter(|record| record["level"] == "DEBUG").collect();
    let routes: Vec<&Value> = debug.iter().map(|record| &record["fields"]["request.route"]).collect();
    assert_eq!(routes, ["/livez", "/metrics"]);
    assert_eq!(requests.len(), REQUESTS.len() + 3, "and the head that is refused");
}

#[test]
fn the_access_log_can_be_switched_off() {
    for settings in
        [&[("ACCESS_LOG", "0")][..], &[("ACCESS_LOG", "0"), ("RUST_LOG", "presence_server=debug")]]
    {
        let log = log_of(settings);
        assert_eq!(requests(&log).len(), 0, "{log}");
        assert!(log.contains("listening on"), "{log}");
    }
}

/// Where a test's own subscriber writes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_is_logged_with_its_place_and_without_its_payload() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let default = panic::take_hook();
    panic::set_hook(Box::new(presence_server::log::panic));
    let line = line!() + 3;
    tracing::subscriber::with_default(subscriber, || {
        let secret = std::hint::black_box("canary\r\n");
        let caught = panic::catch_unwind(|| panic!("{secret}"));
        assert!(caught.is_err());
    });
    panic::set_hook(default);
    let text = String::from_utf8(lines.0.lock().expect("a lock").clone()).expect("text");
    assert!(!text.contains(CANARY), "{text}");
    let record: Value = serde_json::from_str(&text).expect("one record");
    assert_eq!(record["level"], "ERROR");
    assert_eq!(record["fields"]["panic.line"], line);
    assert!(record["fields"]["panic.file"].as_str().expect("a file").ends_with("tests/log.rs"));
    let thread = record["fields"]["panic.thread"].as_str().expect("a thread");
    assert!(thread.ends_with("a_panic_is_logged_with_its_place_and_without_its_payload"), "{thread}");
}
