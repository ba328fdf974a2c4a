//! `room_client` as a program: what it prints, and what others hear of it.

use std::{net::SocketAddr, path::Path, process::Stdio};

use presence_core::{ClientFrame, UserId};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::support::{Member, PATIENCE, ROOM, Way, server};

struct Client {
    program: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Client {
    fn join(server: SocketAddr, user: &str, nickname: &str) -> Self {
        Self::start(&format!("ws://{server}/ws/rooms/{ROOM}"), user, nickname)
    }

    fn start(room: &str, user: &str, nickname: &str) -> Self {
        // The examples are built beside the tests.
        let test = std::env::current_exe().expect("a test has a path");
        let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
        let path = folder.join("examples").join(format!("room_client{}", std::env::consts::EXE_SUFFIX));
        let mut program = Command::new(path)
            .args([room, "--user", user, "--nickname", nickname])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it is built by `cargo test` or `cargo build --examples`");
        let stdin = program.stdin.take();
        let stdout = BufReader::new(program.stdout.take().expect("piped")).lines();
        let stderr = BufReader::new(program.stderr.take().expect("piped")).lines();
        Self { program, stdin, stdout, stderr }
    }

    async fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it has not ended");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// What it prints up to a line, without who comes and goes.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let next = timeout(PATIENCE, self.stdout.next_line()).await;
            let next = next.unwrap_or_else(|_| panic!("{last} is never printed: {lines:?}"));
            let line = next.expect("text").unwrap_or_else(|| panic!("it ends without {last}: {lines:?}"));
            let is_last = line == last;
            if !line.starts_with("* ") || line.starts_with("* you are") {
                lines.push(line);
            }
            if is_last {
                return lines;
            }
        }
    }

    async fn complaint(&mut self) -> String {
        let line = timeout(PATIENCE, self.stderr.next_line()).await.expect("it complains");
        line.expect("text").expect("a line")
    }

    /// Whether it was content when it ended.
    async fn ended(&mut self) -> bool {
        timeout(PATIENCE, self.program.wait()).await.expect("it ends").expect("a status").success()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_said_and_what_is_said_is_printed() {
    let server = server("http://127.0.0.1:8000").await;
    let mut bob = Member::join(server, "bob").await;
    let mut alice = Client::join(server, "alice", "Alice & 爱丽丝");
    alice.until("* you are Alice & 爱丽丝").await;
    alice.say("hello, 大家好").await;
    bob.until("hello, 大家好").await;
    bob.say("a bell \u{7} and a colour \u{1b}[31m").await;
    let printed = alice.until("bob: a bell \u{fffd} and a colour \u{fffd}[31m").await;
    assert_eq!(printed.first().map(String::as_str), Some("Alice & 爱丽丝: hello, 大家好"));

    alice.stdin = None; // its end
    assert!(alice.ended().await);
    bob.until("UserLeft").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_cut_off_comes_back_and_prints_what_it_missed_once() {
    let server = server("http://127.0.0.1:8000").await;
    let way = Way::to(server).await;
    let mut bob = Member::join(server, "bob").await;
    let mut alice = Client::join(way.address, "alice", "Alice");
    alice.until("* you are Alice").await;
    bob.say("one").await;
    alice.until("bob: one").await;

    way.cut();
    let complaint = alice.complaint().await;
    assert!(complaint.starts_with("not connected ("), "{complaint}");
    bob.say("two").await;
    bob.say("three").await;
    bob.until("three").await;
    way.mend();
    bob.say("four").await;
    let printed = alice.until("bob: four").await;
    assert_eq!(printed, ["* you are Alice", "bob: two", "bob: three", "bob: four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_kicked_or_finds_no_room_does_not_come_back() {
    let server = server("http://127.0.0.1:8000").await;
    let mut root = Member::join(server, "root").await;
    let mut eve = Client::join(server, "eve", "Eve");
    eve.until("* you are Eve").await;
    root.send(&ClientFrame::KickUser { user_id: UserId::new("eve").expect("a user") }).await;
    eve.until("! you are out").await;
    let complaint = eve.complaint().await;
    assert!(complaint.starts_with("out: "), "{complaint}");
    assert!(!eve.ended().await);

    let mut lost = Client::start(&format!("ws://{server}/ws/rooms/nowhere"), "eve", "Eve");
    assert_eq!(lost.complaint().await, "out: the server answers 404 Not Found");
    assert!(!lost.ended().await);
}
