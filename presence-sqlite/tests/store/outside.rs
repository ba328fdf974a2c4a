//! Another process writes to the file: refused, killed, and watched through its system calls.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures_executor::block_on;
use presence_core::{CheckpointQuery, Window};
use presence_sqlite::SqliteStore;

use crate::{files::content, support::user};

/// A program of the examples, built beside the tests.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let path = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is built by `cargo test` or `cargo build --examples`", path.display());
    path
}

fn acknowledge(path: &Path, prefix: &str, writers: u64, each: u64, durability: &str) -> Command {
    let mut command = Command::new(program("acknowledge"));
    command.arg(path).args([prefix, &writers.to_string(), &each.to_string(), durability]);
    command
}

#[test]
fn a_second_owner_in_another_process_is_refused_and_touches_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("presence.db");
    let store = block_on(SqliteStore::open(&path)).expect("a store");
    let before = content(folder.path());
    let refused = acknowledge(&path, "a", 1, 1, "fsync").output().expect("it starts");
    assert!(!refused.status.success());
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(reason.contains(&std::process::id().to_string()), "it names the owner: {reason}");
    assert!(content(folder.path()) == before, "something was touched");
    block_on(store.close());
    let taken = acknowledge(&path, "a", 1, 1, "fsync").output().expect("it starts");
    assert!(taken.status.success(), "a closed store owns nothing");
}

/// What a process acknowledged: for each writer the numbers and ids, in order.
type Acknowledged = BTreeMap<String, Vec<(u64, i64)>>;

/// Runs writers until so many lines came, and kills them there.
fn killed_after(path: &Path, prefix: &str, lines: usize) -> Acknowledged {
    let mut child =
        acknowledge(path, prefix, 8, 0, "fsync").stdout(Stdio::piped()).spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut acknowledged = Acknowledged::new();
    let (mut line, mut count) = (String::new(), 0);
    // After the kill what is left in the pipe is read as well: it was acknowledged.
    while output.read_line(&mut line).expect("text") > 0 {
        let mut words = line.split_whitespace().map(|word| word.parse::<i64>().expect("a number"));
        let (writer, number, id) = (words.next(), words.next(), words.next());
        let entry = acknowledged.entry(format!("{prefix}-{}", writer.expect("a writer"))).or_default();
        entry.push((number.expect("a number").unsigned_abs(), id.expect("an id")));
        line.clear();
        count += 1;
        if count == lines {
            child.kill().expect("it runs");
        }
    }
    child.wait().expect("it ends");
    acknowledged
}

/// Everything acknowledged is there once, and beside it at most the one report of each writer that was under way.
fn assert_kept(store: &SqliteStore, acknowledged: &Acknowledged) {
    for (name, reports) in acknowledged {
        let rows = block_on(store.history(&user(name), Window::all(), None, 1_000_000)).expect("it works");
        let rows: Vec<_> = rows
            .iter()
            .rev()
            .map(|row| (row.content.as_ref().and_then(|content| content.as_str().parse().ok()), row.id.get()))
            .collect();
        let expected: Vec<_> = reports.iter().map(|(number, id)| (Some(*number), *id)).collect();
        let (kept, under_way) = rows.split_at(expected.len().min(rows.len()));
        assert_eq!(kept, expected, "{name}");
        let next = reports.len() as u64;
        let invented: Vec<_> = under_way.iter().filter(|(number, _)| *number != Some(next)).collect();
        assert!(under_way.len() <= 1 && invented.is_empty(), "{name}: {under_way:?} after {next}");
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged_and_invents_nothing() {
    const KILLS: usize = 30;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("presence.db");
    let mut all = Acknowledged::new();
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    for kill in 0..KILLS {
        // Spread over the first two thousand answers, from the very first on.
        let round = killed_after(&path, &format!("round{kill}"), 1 + kill * kill * 2);
        acknowledged += round.values().map(Vec::len).sum::<usize>();
        #[expect(clippy::disallowed_methods, reason = "how long a recovery takes is what is promised")]
        let start = Instant::now();
        let store = block_on(SqliteStore::open(&path)).expect("open again, without anybody's help");
        slowest = slowest.max(start.elapsed());
        all.extend(round);
        assert_kept(&store, &all);
        block_on(store.close());
    }
    println!("{KILLS} kills, {acknowledged} acknowledged, slowest opening {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "open again within five seconds, not {slowest:?}");
}

/// What a trace of system calls says about the answers of a process.
struct Trace {
    answers: usize,
    syncs: usize,
    /// Answers without a whole sync between them and the answer before of the same writer.
    unsynced: usize,
}

/// Watches a process that writes, from outside.
fn traced(durability: &str) -> Trace {
    const WRITERS: usize = 64;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=write,fsync,fdatasync", "-o"]).arg(&log).arg(program("acknowledge"));
    command.arg(folder.path().join("presence.db")).args(["a", &WRITERS.to_string(), "40", durability]);
    let status = command.stdout(Stdio::null()).status().expect("strace: install the package strace");
    assert!(status.success(), "the traced process ended well");
    let log = std::fs::read_to_string(log).expect("a trace");

    let mut trace = Trace { answers: 0, syncs: 0, unsynced: 0 };
    let mut begun: BTreeMap<&str, usize> = BTreeMap::new();
    // The last sync that is over, by the line in which it began: what was written before that line is on disk.
    let mut synced_from = 0;
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in (1..).zip(log.lines()) {
        let (process, call) = line.trim_start().split_once(' ').expect("a process and its call");
        let call = call.trim_start();
        if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            begun.insert(process, number);
        }
        let is_sync =
            call.contains("fsync(") || call.contains("fdatasync(") || call.contains("sync resumed>");
        if is_sync && call.ends_with("= 0") {
            trace.syncs += 1;
            synced_from = begun[process].max(synced_from);
        }
        if let Some(answer) = call.strip_prefix("write(1, \"") {
            trace.answers += 1;
            let writer = answer.split(' ').next().expect("a writer");
            let before = answered.insert(writer, number).unwrap_or(0);
            trace.unsynced += usize::from(synced_from <= before);
        }
    }
    println!(
        "{durability}: {} answers, {} syncs, {} answers unsynced",
        trace.answers, trace.syncs, trace.unsynced
    );
    assert_eq!(trace.answers, WRITERS * 40, "every answer was seen");
    trace
}

#[test]
fn every_answer_comes_after_a_sync_and_one_sync_serves_many() {
    let trace = traced("fsync");
    assert_eq!(trace.unsynced, 0, "an answer before its sync");
    assert!(trace.answers >= 8 * trace.syncs, "{} answers for {} syncs", trace.answers, trace.syncs);
}

#[test]
fn a_process_that_does_not_wait_for_the_disk_is_told_apart() {
    let trace = traced("process");
    assert!(trace.unsynced > trace.answers / 2, "the check sees it: {} of {}", trace.unsynced, trace.answers);
}
