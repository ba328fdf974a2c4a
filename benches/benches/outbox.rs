//! The directory outbox beside a bare loop: `cargo bench --bench outbox` prints one table.
//!
//! The directory is made where temporary files are; that has to be a disk for the figures to mean anything.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use futures_executor::block_on;
use presence_benches::table::{self, median};
use presence_outbox::{Outbox, OutboxConfig};
use serde::{Deserialize, Serialize};

const CALLERS: u64 = 64;
const PAIRS: usize = 7;
const MEASURED: Duration = Duration::from_secs(1);

fn main() {
    table::head();
    // First, while this process has no memory that was given back and could be taken again unseen.
    backlog();
    callers();
    bulk();
}

#[derive(Deserialize, Serialize)]
struct Event {
    event_id: u64,
    kind: String,
    user_id: String,
    room: String,
    at: u64,
    session_seconds: u32,
}

fn event(number: u64) -> Event {
    Event {
        event_id: number,
        kind: "presence.checkpoint".to_owned(),
        user_id: format!("{:08x}-0000-4000-8000-00000000abcd", number % 1000),
        room: "room-17".to_owned(),
        at: 1_700_000_000_000 + number,
        session_seconds: 30,
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Durable events a second of callers that each wait for theirs.
fn rate(callers: u64, enqueue: impl Fn(u64) + Sync) -> f64 {
    let start = now();
    let events: u64 = thread::scope(|scope| {
        let enqueue = &enqueue;
        let one = |caller| {
            let mut events = 0;
            while start.elapsed() < MEASURED {
                enqueue(caller + events * callers);
                events += 1;
            }
            events
        };
        let threads: Vec<_> = (0..callers).map(|caller| scope.spawn(move || one(caller))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a caller")).sum()
    });
    events as f64 / start.elapsed().as_secs_f64()
}

/// What one would write by hand: whoever comes first writes and syncs for all that have gathered.
struct Bare {
    file: File,
    state: Mutex<Gathered>,
    changed: Condvar,
}

#[derive(Default)]
struct Gathered {
    lines: Vec<u8>,
    last: u64,
    durable: u64,
    is_writing: bool,
}

impl Bare {
    fn open(dir: &Path) -> Self {
        let file = File::create(dir.join("bare.ndjson")).expect("a file");
        Self { file, state: Mutex::default(), changed: Condvar::new() }
    }

    fn append(&self, events: &[Event]) {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event).expect("JSON");
            lines.push(b'\n');
        }
        let mut state = self.state.lock().expect("no panic");
        state.lines.extend_from_slice(&lines);
        state.last += 1;
        let own = state.last;
        while state.durable < own {
            if state.is_writing {
                state = self.changed.wait(state).expect("no panic");
                continue;
            }
            state.is_writing = true;
            let (lines, last) = (std::mem::take(&mut state.lines), state.last);
            drop(state);
            (&self.file).write_all(&lines).expect("a disk");
            self.file.sync_data().expect("a disk");
            state = self.state.lock().expect("no panic");
            (state.durable, state.is_writing) = (last, false);
            self.changed.notify_all();
        }
    }
}

fn open(dir: &Path) -> Outbox<Event> {
    // The files of the backlog have names of long ago.
    let config = OutboxConfig::new(dir).max_bytes(u64::MAX).retention(Duration::MAX);
    block_on(Outbox::open(config)).expect("an outbox")
}

fn callers() {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = open(&folder.path().join("outbox"));
        let by_hand = Bare::open(folder.path());
        let own =
            || rate(CALLERS, |n| assert!(block_on(outbox.enqueue(&event(n))).expect("a disk").is_enqueued()));
        let other = || rate(CALLERS, |n| by_hand.append(&[event(n)]));
        // In turn, each first as often as the other.
        if pair % 2 == 0 {
            ours.push(own());
            bare.push(other());
        } else {
            bare.push(other());
            ours.push(own());
        }
    }
    let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    table::row(
        "durable, 64 callers, beside a bare group commit",
        &format!("{:.0} k/s", median(ours) / 1e3),
        &format!("{:.0} k/s", median(bare) / 1e3),
        &format!("{:.2}", median(ratios)),
        ">= 0.6",
    );
}

/// Durable events a second of two callers, each with many in a call: one writes its lines while the other's are on
/// their way to the disk.
fn bulk_rate(enqueue: impl Fn(&[Event]) + Sync) -> f64 {
    const MANY: u64 = 10_000;
    const CALLS: u64 = 40;
    let events: Vec<_> = (0..MANY).map(event).collect();
    let start = now();
    thread::scope(|scope| {
        let call = || (0..CALLS).for_each(|_| enqueue(&events));
        scope.spawn(call);
        scope.spawn(call);
    });
    (2 * CALLS * MANY) as f64 / start.elapsed().as_secs_f64()
}

fn bulk() {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = open(&folder.path().join("outbox"));
        let by_hand = Bare::open(folder.path());
        ours.push(bulk_rate(|events| {
            assert_eq!(block_on(outbox.enqueue_many(events)).expect("a disk").dropped, 0);
        }));
        bare.push(bulk_rate(|events| by_hand.append(events)));
    }
    let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    table::row(
        "durable, in bulk: 2 callers, 10,000 in a call",
        &format!("{:.2} M/s", median(ours) / 1e6),
        &format!("{:.2} M/s", median(bare) / 1e6),
        &format!("{:.2}", median(ratios)),
        ">= 1 M/s",
    );
}

/// The memory of this process that is resident, in MiB.
fn resident() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096.0 / f64::from(1 << 20)
}

fn backlog() {
    const BYTES: u64 = 1 << 30;
    const BATCH: u64 = 500;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("outbox");
    fs::create_dir(&dir).expect("a folder");
    let (mut bytes, mut events) = (0, 0);
    while bytes < BYTES {
        let mut lines = Vec::new();
        for number in events..events + BATCH {
            writeln!(lines, "{{\"event\":{}}}", serde_json::to_string(&event(number)).expect("JSON"))
                .expect("memory");
        }
        let name = format!(
            "sealed-{:016}-00000000-0000-4000-8000-000000000000.ndjson",
            1_700_000_000_000_000 + events
        );
        fs::write(dir.join(name), &lines).expect("a disk");
        bytes += lines.len() as u64;
        events += BATCH;
    }
    let before = resident();
    let start = now();
    let outbox = open(&dir);
    let opened = start.elapsed();
    table::row(
        "a backlog of 1 GiB: from start to ready",
        &format!("{:.2} s", opened.as_secs_f64()),
        "",
        "",
        "< 5 s",
    );

    let mut sink = outbox.sink("default").expect("a sink");
    let (start, mut delivered, mut most) = (now(), 0, resident());
    while let Some(batch) = block_on(sink.try_claim()).expect("an outbox") {
        delivered += batch.events().len() as u64;
        most = most.max(resident());
        block_on(sink.ack(batch)).expect("an outbox");
    }
    let rate = delivered as f64 / start.elapsed().as_secs_f64();
    assert_eq!(delivered, events, "all of it");
    let books = block_on(outbox.books()).expect("an outbox");
    assert!(books.balance() && books.pending_bytes == 0);
    table::row(
        "the same: events delivered and settled",
        &format!("{:.0} k/s", rate / 1e3),
        "",
        "",
        ">= 50 k/s",
    );
    table::row("the same: memory it took", &format!("{:.1} MiB", most - before), "", "", "< 16 MiB");
}
