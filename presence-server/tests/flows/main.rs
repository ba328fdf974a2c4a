//! The real server, as a process on a real port and a real file.

mod active_users;
mod callbacks;
mod disks;
mod nodes;
mod outages;
mod receiver;
mod server;
mod tracking_outbox;
mod turns;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::server::{Acknowledged, Server, export, walked};

/// Writers that report until the server is gone or they are told to stop.
fn writers(
    server: &Server,
    count: u64,
    prefix: &str,
    acknowledged: &Acknowledged,
    stop: &Arc<AtomicBool>,
) -> Vec<thread::JoinHandle<()>> {
    let writers = (0..count).map(|writer| {
        let (mut client, user) = (server.connect(), format!("{prefix}-{writer}"));
        let (acknowledged, stop) = (acknowledged.clone(), Arc::clone(stop));
        thread::spawn(move || {
            for number in 0.. {
                let state = if number % 2 == 0 { "Working" } else { "Idle" };
                let body = format!(r#"{{"state":"{state}","content":{number}}}"#);
                let answer = client.ask(&format!("POST /users/{user}/checkpoints"), &body);
                match answer {
                    Ok((201, _)) => acknowledged.add(&user, number),
                    Ok((status, body)) => panic!("{status} {body}"),
                    Err(_) => return,
                }
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        })
    });
    writers.collect()
}

/// Everything acknowledged is there once, in order, and beside it at most the report that was under way.
fn assert_kept(server: &Server, acknowledged: &Acknowledged) -> usize {
    let acknowledged = acknowledged.numbers();
    for (user, numbers) in acknowledged.iter() {
        let (_, export) = export(server, user);
        let records = export.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let rows: Vec<serde_json::Value> =
            records.filter(|record: &serde_json::Value| record["kind"] == "checkpoint").collect();
        let kept: Vec<_> = rows.iter().filter_map(|row| row["content"].as_u64()).collect();
        let next = numbers.len() as u64;
        let extra: Vec<_> = kept.iter().filter(|number| **number >= next).collect();
        assert_eq!(kept.get(..numbers.len()), Some(numbers.as_slice()), "{user}");
        assert!(extra.is_empty() || extra == [&next], "{user}: {extra:?} after {next}");
    }
    acknowledged.values().map(Vec::len).sum()
}

#[test]
fn a_killed_server_loses_nothing_it_acknowledged() {
    const KILLS: u64 = 30;
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("presence.db");
    let acknowledged = Acknowledged::default();
    for kill in 0..KILLS {
        let mut server = Server::start(&database, &[("HEARTBEAT_TIMEOUT_SECS", "0")]);
        let stop = Arc::new(AtomicBool::new(false));
        let before = acknowledged.count();
        let writers = writers(&server, 32, &format!("round{kill}"), &acknowledged, &stop);
        // Killed after a number of answers that differs from round to round, from the very first on.
        acknowledged.wait_for(before + 1 + (kill * kill) as usize);
        server.child.kill().expect("it runs");
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    }
    let server = Server::start(&database, &[("HEARTBEAT_TIMEOUT_SECS", "0")]);
    let kept = assert_kept(&server, &acknowledged);
    println!("{KILLS} kills under 32 writers: {kept} acknowledged, all kept once");
}

#[test]
fn a_server_that_is_told_to_end_finishes_what_it_began_and_writes_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("presence.db");
    // No flush by itself within the test: what is in memory is written at the end or not at all.
    let settings = [("HEARTBEAT_TIMEOUT_SECS", "86400"), ("HEARTBEAT_FLUSH_INTERVAL_MS", "3600000")];
    let server = Server::start(&database, &settings);
    let (acknowledged, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let writers = writers(&server, 8, "writer", &acknowledged, &stop);
    let mut client = server.connect();
    let beat = |secs: u64| format!(r#"{{"timestamp":{secs}}}"#);
    let (status, _) = client.ask("POST /users/alice/heartbeat", &beat(1_700_000_000)).expect("an answer");
    assert_eq!(status, 200);
    let (_, body) = client.ask("POST /users/alice/heartbeat", &beat(1_700_000_100)).expect("an answer");
    assert!(body.contains(r#""last_heartbeat":1700000100"#), "{body}");
    assert_eq!(server.terminate(), Some(0));
    stop.store(true, Ordering::SeqCst);
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));

    let server = Server::start(&database, &settings);
    let kept = assert_kept(&server, &acknowledged);
    println!("{kept} acknowledged before the end, all kept");
    let (_, export) = export(&server, "alice");
    assert!(export.contains(r#""last_heartbeat":1700000100000"#), "the pending beat was written: {export}");
}

#[test]
fn the_walk_through_works_as_written() {
    let shown = walked("checkpoints.sh");
    let status = shown.lines().last().expect("a status");
    assert!(
        status.contains(r#""current_state":"Offline""#)
            && status.contains(r#"{"state":"Gaming","duration_secs":3}"#),
        "{status}"
    );
}

#[test]
fn a_second_server_on_the_same_file_ends_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("presence.db");
    let server = Server::start(&database, &[]);
    let mut second = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    second.env_clear().current_dir(folder.path()).env("BIND_ADDRESS", "127.0.0.1:0");
    let output =
        second.env("DATABASE_URL", format!("sqlite:{}", database.display())).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(reason.contains(&server.child.id().to_string()), "it names the owner: {reason}");
}

#[test]
fn the_healthcheck_says_whether_the_server_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("presence.db"), &[]);
    let check = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
        command.env_clear().args(["healthcheck", "--url", &format!("http://{address}/livez")]);
        command.output().expect("it starts").status.code()
    };
    assert_eq!(check(&server.address), Some(0));
    let address = server.address.clone();
    drop(server);
    assert_eq!(check(&address), Some(1));
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    server.env_clear().current_dir(folder.path()).env("BIND_ADDRESS", "127.0.0.1:0");
    let url = "postgres://me:hunter2canary@127.0.0.1:1/presence";
    let output = server.env("DATABASE_URL", url).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the store does not open") && !said.contains("hunter2canary"), "{said}");
}
