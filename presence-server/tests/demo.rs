//! The demo, as a stranger runs it: a real channel's morning, then a server that answers about it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/ubuntu-2005-06-27.ndjson");

fn demo(folder: &Path, trace: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    command.env_clear().current_dir(folder).args(["demo", trace, "--bind-address", "127.0.0.1:0"]);
    command
}

/// Killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let mut stream = TcpStream::connect(address).expect("a server that listens");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

#[test]
fn the_demo_shows_a_table_and_links_that_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Running(demo(folder.path(), TRACE).stdout(Stdio::piped()).spawn().expect("it starts"));
    let lines = BufReader::new(server.0.stdout.take().expect("piped")).lines();
    let shown: Vec<_> =
        lines.map(|line| line.expect("text")).take_while(|line| !line.starts_with("serving until")).collect();
    let text = shown.join("\n");
    assert!(text.contains("u0044      2h13m") && text.contains("194 users: online 74h"), "{text}");
    // Who only left was not active.
    assert!(text.contains("\nin all         192\n"), "{text}");
    assert!(text.contains("room demo: 1017 messages, 194 stays, 183 users at most"), "{text}");
    let hours: Vec<_> =
        shown.iter().filter(|line| line.contains('█')).filter(|line| line.contains(':')).collect();
    assert!((4..=5).contains(&hours.len()), "three hours and ten minutes: {hours:?}");
    assert!(folder.path().join("presence-demo.db").is_file());

    let links: Vec<_> = text.split_whitespace().filter(|word| word.starts_with("http://")).collect();
    assert!(links.len() >= 8, "{text}");
    for link in &links {
        let answer = get(link);
        assert!(answer.starts_with("HTTP/1.1 200"), "{link}: {answer}");
    }
    // The room of the demo is among what is known of a user, and can be joined.
    let known = get(links.iter().find(|link| link.contains("/export")).expect("all that is known"));
    assert!(
        known.contains(r#""kind":"room_message""#) && known.contains(r#""kind":"room_session""#),
        "{known}"
    );
    let room = text.lines().find_map(|line| line.strip_prefix("to join it: ws://")).expect("where to join");
    let (address, target) = room.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(address).expect("a server that listens");
    let request = format!(
        "GET /{target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("written");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("text");
    assert!(line.starts_with("HTTP/1.1 101"), "{line}");
    // Who is shown as online is online.
    let online = shown.iter().filter(|line| line.starts_with('u') && line.contains("  Online  ")).count();
    let roster = get(links.iter().find(|link| link.contains("online-users")).expect("a roster"));
    assert!(online > 0 && roster.matches("userId").count() >= online, "{roster}");
}

#[test]
fn the_demo_says_why_it_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let fails = |trace: &str, reason: &str| {
        let output = demo(folder.path(), trace).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(reason), "{said}");
    };
    fails("missing.ndjson", "missing.ndjson: No such file");
    std::fs::write(folder.path().join("empty.ndjson"), "\n").expect("written");
    fails("empty.ndjson", "the trace has no events");
    let line = r#"{"at": "2005-06-27T09:19:00Z", "user": "u1", "kind": "join"}"#;
    std::fs::write(folder.path().join("broken.ndjson"), format!("{line}\n\n{{\n")).expect("written");
    fails("broken.ndjson", "line 3: ");
    assert!(!folder.path().join("presence-demo.db").exists(), "nothing was opened");
}

#[test]
fn the_demo_leaves_a_store_alone_that_knows_somebody() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = r#"{"at": "2005-06-27T09:19:00Z", "user": "u1", "kind": "join"}"#;
    let trace = folder.path().join("one.ndjson");
    std::fs::write(&trace, line).expect("written");
    let mut first =
        Running(demo(folder.path(), "one.ndjson").stdout(Stdio::piped()).spawn().expect("it starts"));
    let lines = BufReader::new(first.0.stdout.take().expect("piped")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("serving until")));
    drop(first);
    let output = demo(folder.path(), "one.ndjson").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("knows u1 already"), "{said}");
}
