//! The real server as a process: what starts, and what it shows of its secrets.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use aws_lc_rs::digest;
use serde_json::json;

use crate::forge::{HEADER, KEY, SECRET, claims_with, scoped, signed};

fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    command.env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server that runs, and everything it writes.
struct Running {
    child: Child,
    port: u16,
    written: Option<JoinHandle<String>>,
}

impl Running {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = command(variables).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut written = String::new();
        let port = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("text") > 0, "it ended before it listened: {written}");
            written.push_str(&line);
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let port = rest.split_once(':').expect("a port").1;
                break port
                    .split(|c: char| !c.is_ascii_digit())
                    .next()
                    .expect("digits")
                    .parse()
                    .expect("a port");
            }
        };
        let mut stdout = child.stdout.take().expect("piped");
        let written = std::thread::spawn(move || {
            log.read_to_string(&mut written).expect("text");
            stdout.read_to_string(&mut written).expect("text");
            written
        });
        Self { child, port, written: Some(written) }
    }

    /// The status of one request.
    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a server that listens");
        let mut head = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let request =
            format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    }

    /// Tells it to end; all that it wrote.
    fn end(mut self) -> String {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill").success());
        let status = self.child.wait().expect("it ends");
        let written = self.written.take().expect("it runs").join().expect("read");
        assert!(status.success(), "{status}: {written}");
        written
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token for an hour from now on: this server has the clock of the host.
fn fresh(scope: &str) -> String {
    let now = presence_core::Clock::now(&presence_core::SystemClock).as_secs();
    let claims = json!({"exp": now + 3600, "scope": scope, "jti": "canaryjti"});
    signed(HEADER, &claims_with("alice", &claims))
}

#[test]
fn no_secret_is_in_any_log_nor_among_the_arguments() {
    let variables = [
        ("BIND_ADDRESS", "0.0.0.0:0"),
        ("JWT_SECRET", SECRET),
        ("ADMIN_API_KEY", KEY),
        ("RUST_LOG", "trace"),
        ("LOG_FORMAT", "json"),
    ];
    let server = Running::start(&variables);
    let (user, admin, old) = (fresh(""), fresh("admin"), scoped("alice", ""));
    let another = signed(HEADER, "canary-of-claims");
    let wrong = "canarywrong-8ZrT5uQ9wLc2hNf7eJbA6vd3sY0kqX1m";
    let garbage = "canarygarbage.canarygarbage.canarygarbage";
    let status = |answer: &str| answer.split(' ').nth(1).map(str::to_owned).expect("a status");
    let mut shown = String::new();
    let beat = r#"{"state":"Working","content":{"note":"canarycontent"}}"#;
    for (token, expected) in
        [(&user, "201"), (&admin, "200"), (&old, "401"), (&another, "401"), (&garbage.to_owned(), "401")]
    {
        let bearer = format!("Bearer {token}");
        let answer = server.ask("POST /users/alice/checkpoints", &[("Authorization", &bearer)], beat);
        assert_eq!(status(&answer), expected, "{answer}");
        if expected == "401" {
            shown.push_str(&answer);
        }
        let line = format!("GET /users/alice/status?access_token={token}");
        assert_eq!(status(&server.ask(&line, &[], "")), "401");
        let bearer = format!("Basic {token}");
        let answer = server.ask("GET /users/alice/status", &[("Authorization", &bearer)], "");
        assert_eq!(status(&answer), "401");
        shown.push_str(&answer);
    }
    // The twelfth wrong key of an address meets a closed door, which says nothing of it either.
    for index in 0..12 {
        let answer = server.ask("GET /openapi.json", &[("X-Api-Key", wrong)], "");
        assert_eq!(status(&answer), if index < 10 { "401" } else { "429" }, "{answer}");
        shown.push_str(&answer);
    }
    #[cfg(target_os = "linux")]
    let arguments = std::fs::read(format!("/proc/{}/cmdline", server.child.id())).expect("a process");
    #[cfg(target_os = "linux")]
    shown.push_str(&String::from_utf8_lossy(&arguments));
    shown.push_str(&server.end());
    assert!(shown.contains("a token is refused"), "it was listened to closely");
    let check = command(&variables).arg("check-config").output().expect("it runs");
    let checked = String::from_utf8(check.stdout).expect("text");
    assert!(checked.contains("JWT_SECRET=***\n") && checked.contains("ADMIN_API_KEY=***\n"), "{checked}");
    shown.push_str(&checked);
    shown.push_str(&String::from_utf8_lossy(&check.stderr));

    let hex = digest::digest(&digest::SHA256, KEY.as_bytes());
    let hex: String = hex.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&user, &admin, &old, &another].map(|token| {
        let mut parts = token.split('.').skip(1).map(str::to_owned);
        [parts.next().expect("claims"), parts.next().expect("a signature")]
    });
    let canaries = [SECRET, KEY, wrong, garbage, "canary", &hex].map(str::to_owned);
    let canaries: Vec<_> = canaries.into_iter().chain(parts.into_iter().flatten()).collect();
    assert!(canaries.len() >= 12, "{}", canaries.len());
    for canary in canaries {
        assert!(!shown.contains(&canary), "{canary} in {shown}");
    }
}

#[test]
fn a_key_or_a_token_counts_on_a_real_port() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), format!("{SECRET}\n")).expect("written");
    let server = Running::start(&[
        ("BIND_ADDRESS", "0.0.0.0:0"),
        ("JWT_SECRET_FILE", secret.path().to_str().expect("text")),
        ("ADMIN_API_KEY", KEY),
    ]);
    let bearer = format!("Bearer {}", fresh(""));
    for (line, headers, expected) in [
        ("GET /health", vec![], "200"),
        ("GET /users/alice/status", vec![], "401"),
        ("GET /users/alice/status", vec![("Authorization", bearer.as_str())], "404"),
        ("GET /users/bob/status", vec![("Authorization", &bearer)], "403"),
        ("GET /docs/", vec![], "401"),
        ("GET /docs/", vec![("X-Api-Key", KEY)], "200"),
        ("GET /openapi.json", vec![("Authorization", &bearer)], "401"),
    ] {
        let answer = server.ask(line, &headers, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{line} {headers:?}: {answer}");
    }
    server.end();
}

#[test]
fn eight_configurations_start_or_end_with_78_and_the_reason() {
    for (bind, jwt, key, expected) in [
        ("127.0.0.1:0", "", "", None),
        ("127.0.0.1:0", SECRET, "", None),
        ("127.0.0.1:0", "", KEY, None),
        ("127.0.0.1:0", SECRET, KEY, None),
        ("0.0.0.0:0", "", "", Some("JWT_SECRET and ADMIN_API_KEY must be set")),
        ("0.0.0.0:0", SECRET, "", Some(", and ADMIN_API_KEY must be set")),
        ("0.0.0.0:0", "", KEY, Some(", and JWT_SECRET must be set")),
        ("0.0.0.0:0", SECRET, KEY, None),
    ] {
        let variables = [("BIND_ADDRESS", bind), ("JWT_SECRET", jwt), ("ADMIN_API_KEY", key)];
        let Some(reason) = expected else {
            let server = Running::start(&variables);
            let open = server.ask("GET /api/v1/presence/online-count", &[], "");
            let expected = if jwt.is_empty() { "HTTP/1.1 200" } else { "HTTP/1.1 401" };
            assert!(open.starts_with(expected), "{variables:?}: {open}");
            let docs = server.ask("GET /openapi.json", &[], "");
            let expected = if bind.starts_with("127") { "HTTP/1.1 200" } else { "HTTP/1.1 401" };
            assert!(docs.starts_with(expected), "{variables:?}: {docs}");
            assert!(!server.end().contains("PRESENCE_INSECURE"), "{variables:?}");
            continue;
        };
        let output = command(&variables).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(reason) && !said.contains("canary"), "{said}");

        let insecure = [&variables[..], &[("PRESENCE_INSECURE", "1")]].concat();
        let server = Running::start(&insecure);
        let docs = server.ask("GET /openapi.json", &[], "");
        assert!(docs.starts_with("HTTP/1.1 401"), "{variables:?}: {docs}");
        let said = server.end();
        assert!(said.contains("PRESENCE_INSECURE: without "), "it says so: {said}");
    }
}

#[test]
fn secrets_that_can_be_guessed_do_not_start() {
    for name in ["JWT_SECRET", "ADMIN_API_KEY"] {
        for sample in [
            "your_secret_api_key",
            "secret",
            "changeme",
            "test",
            "a-string-secret-at-least-256-bits-long",
            "vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            let output =
                command(&[(name, sample), ("BIND_ADDRESS", "127.0.0.1:0")]).output().expect("it runs");
            let said = String::from_utf8(output.stderr).expect("text");
            assert_eq!(output.status.code(), Some(78), "{said}");
            assert!(said.starts_with(&format!("error: {name} must ")), "{said}");
            assert!(sample == "test" || sample == "secret" || !said.contains(sample), "{said}");
        }
    }
}
