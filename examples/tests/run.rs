//! Every example runs, and asserts what it shows.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

#[expect(dead_code, reason = "its main runs as a program, below")]
#[path = "../custom_store.rs"]
mod custom_store_conformance;

/// The examples are built beside the tests.
fn example(name: &str) -> Command {
    Command::new(built(&format!("examples/{name}")))
}

/// A program beside the tests.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{} is built by `cargo test --workspace` or `cargo build --workspace --examples --bins`",
        path.display()
    );
    path
}

fn output(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("an example that starts");
    let stdout = String::from_utf8(stdout).expect("text");
    assert!(status.success(), "{stdout}\n{}", String::from_utf8_lossy(&stderr));
    stdout
}

#[test]
fn quickstart() {
    assert!(output(example("quickstart")).starts_with("alice is Gaming since "));
}

#[test]
fn active_users() {
    let shown = output(example("active_users"));
    let lines: Vec<_> = shown.lines().take(7).collect();
    let days =
        ["2026-11-16  3 people", "2026-11-17  2 people", "2026-11-18  3", "2026-11-19  2", "2026-11-20  3"];
    let rest = ["the week    3 people", "the event log says 3 for 2026-11-20: agreed"];
    let expected = days.iter().chain(&rest);
    assert!(lines.iter().zip(expected).all(|(line, begin)| line.starts_with(begin)), "{shown}");
    assert_eq!(shown.lines().skip(7).filter(|line| line.ends_with("at most")).count(), 5, "{shown}");
}

#[test]
fn embed_sqlite() {
    let shown = output(example("embed_sqlite"));
    assert!(shown.ends_with("alice is Offline since 2026-11-21T09:31:00.000Z\n"), "{shown}");
}

#[test]
fn embed_axum() {
    assert!(output(example("embed_axum")).contains("hello from somebody else's application"));
}

#[test]
fn embed_axum_postgres() {
    let database = presence_postgres_testing::Database::create();
    let mut command = example("embed_axum_postgres");
    command.env("DATABASE_URL", database.url());
    let shown = output(command);
    assert!(shown.contains(&format!("hello from {}", database.name())), "{shown}");
    assert_eq!(database.psql("SELECT count(*) FROM presence.user_sessions"), "2", "in the schema of its own");
}

#[test]
fn outbox() {
    assert!(output(example("outbox")).ends_with("4 delivered, 1 refused, 0 bytes wait\n"));
}

#[test]
fn callback_receiver() {
    let mut script = Command::new("sh");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("callback_receiver.sh"));
    script.env("SERVER", built("presence-server")).env("SERVER_ADDRESS", "127.0.0.1:0");
    script.env("RECEIVER", built("examples/callback_receiver")).env("RECEIVER_ADDRESS", "127.0.0.1:0");
    script.env("CLIENT", built("examples/room_client"));
    let shown = output(script);
    let (_, table) = shown.split_once("COUNT").expect("a table");
    let rows: Vec<_> = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(
        rows,
        [
            ["1", "/api/chat-history", "ChatHistoryBatch"],
            ["1", "/api/periodic-sync", "PeriodicSync"],
            ["1", "/api/room-events", "RoomClosed"],
            ["1", "/api/room-events", "RoomCreated"],
            ["1", "/api/room-events", "UserJoined"],
            ["1", "/api/room-events", "UserLeft"],
            ["1", "/api/session-history", "SessionHistoryBatch"],
            ["2", "/sync/room", "RoomData"],
        ],
        "{shown}"
    );
    let copy = r#""is_closed":true,"members":[],"messages":1,"name":"Lobby","#;
    assert!(shown.contains(copy) && shown.contains(r#""refused":0,"repeated":0"#), "{shown}");
}

#[test]
fn embed_room() {
    let shown = output(example("embed_room"));
    assert!(shown.ends_with("[[\"alice\",\"all in\"],[\"house\",\"place your bets\"]]\n"), "{shown}");
}

#[test]
fn custom_store() {
    assert_eq!(output(example("custom_store")).lines().count(), 2);
}

fn replay(arguments: &[&str]) -> Command {
    let trace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/ubuntu-2005-06-27.ndjson");
    let mut command = example("trace_replay");
    command.arg(trace).args(arguments);
    command
}

#[test]
fn trace_replay_prints_a_table_and_the_hours() {
    let shown = output(replay(&["--timeout", "900", "--top", "5"]));
    assert!(shown.contains("and 189 more") && shown.contains("194 users: online "), "{shown}");
    assert!(shown.contains("\n2005-06-27     192\nin all         192\n"), "{shown}");
    let hours = shown.split_once("online, by the hour").expect("a picture").1.lines().skip(1);
    let begins: Vec<_> = hours.filter_map(|line| line.get(..11)).collect();
    assert_eq!(begins, ["06-27 09:00", "06-27 10:00", "06-27 11:00", "06-27 12:00"], "{shown}");
}

#[test]
fn trace_replay_gives_one_line_of_json_a_user_the_same_in_memory_and_in_sqlite_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("presence.db");
    let file = file.to_str().expect("a path in UTF-8");
    let memory = output(replay(&["--timeout", "900", "--json"]));
    assert_eq!(output(replay(&["--timeout", "900", "--json", "--store", file])), memory);
    assert_eq!(output(replay(&["--timeout", "900", "--json", "--store", file])), memory, "replayed again");

    assert_eq!(memory.lines().count(), 194);
    let trace = include_str!("../data/ubuntu-2005-06-27.ndjson");
    let instant = |line: Option<&str>| {
        let event: serde_json::Value = serde_json::from_str(line.expect("an event")).expect("JSON");
        let at = event["at"].as_str().and_then(|at| at.parse().ok()).expect("an instant");
        presence_core::Timestamp::from_datetime(at).expect("in range")
    };
    let span = instant(trace.lines().next_back()).since(instant(trace.lines().next()));
    for line in memory.lines() {
        let life: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let durations = life["durations_ms"].as_object().expect("an object");
        let sum: u64 = durations.values().map(|duration| duration.as_u64().expect("milliseconds")).sum();
        assert!(life["user"].is_string() && u128::from(sum) <= span.as_millis(), "{line}");
        assert!(life["offline_rows"].is_u64(), "{line}");
    }
}

#[test]
fn trace_replay_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.ndjson");
    std::fs::write(&file, "{\"at\": \"2005-06-27T09:19:00Z\", \"user\": \"\", \"kind\": \"join\"}\n")
        .expect("written");
    let mut command = example("trace_replay");
    let Output { status, stderr, .. } =
        command.arg(&file).args(["--timeout", "60"]).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && stderr.contains("line 1: a user id is 1 to 128 characters"), "{stderr}");
}
