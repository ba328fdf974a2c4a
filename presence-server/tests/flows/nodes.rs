//! Three nodes on one database: users fall silent, beat through whichever node answers, and one node is killed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use presence_core::{Clock, SystemClock};
use presence_postgres_testing::Database;

use crate::server::{Client, PATIENCE, Server};

/// All in milliseconds, as rows have it.
const TIMEOUT: i64 = 2_000;
/// How far the clock of a test may be from the database's as the nodes know it.
const SKEW: i64 = 100;
/// How long before it is killed a node may hold beats that it has not written: many flushes, on a busy machine.
const UNFLUSHED: i64 = 2_000;

const SILENT: usize = 2_000;
/// Of those, so many say what they do; the others beat once, as many at once as a gateway sends.
const REPORTING: usize = 200;
const GATEWAY: usize = 100;
const BEATING: usize = 200;
const ON_THE_EDGE: usize = 50;
/// How often each of those on the edge goes on or falls silent.
const STEPS: usize = 4;

fn now() -> i64 {
    SystemClock.now().as_millis()
}

/// The latest second that no node takes for its current one: a stamp in that would be taken as now.
fn exact_second() -> i64 {
    (now() - 1_000 - SKEW).div_euclid(1_000)
}

/// Somebody who asks any of the nodes, and another one where that breaks.
struct Somebody {
    addresses: Arc<Mutex<[String; 3]>>,
    clients: [Option<Client>; 3],
    random: u64,
    /// A connection broke: what that node held in memory may be lost.
    has_lost: bool,
}

impl Somebody {
    fn new(addresses: &Arc<Mutex<[String; 3]>>, seed: u64) -> Self {
        Self { addresses: Arc::clone(addresses), clients: [None, None, None], random: seed, has_lost: false }
    }

    /// An answer, and the node that gave it.
    fn ask(&mut self, line: &str, body: &str) -> (u16, String, usize) {
        for _ in 0..10_000 {
            // SplitMix64's step is enough to choose by.
            self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let node = (self.random >> 33) as usize % 3;
            if self.clients[node].is_none() {
                let address = self.addresses.lock().expect("a lock")[node].clone();
                self.clients[node] = Client::connect(&address).ok();
            }
            match self.clients[node].as_mut().map(|client| client.ask(line, body)) {
                Some(Ok((status, body))) => return (status, body, node),
                Some(Err(_)) => {
                    self.clients[node] = None;
                    self.has_lost = true;
                }
                None => thread::yield_now(),
            }
        }
        panic!("no node answers: {line}");
    }

    fn beat(&mut self, user: &str, stamp: Option<i64>) -> usize {
        let body = stamp.map(|secs| format!(r#"{{"timestamp":{secs}}}"#)).unwrap_or_default();
        let (status, answer, node) = self.ask(&format!("POST /users/{user}/heartbeat"), &body);
        assert_eq!(status, 200, "{answer}");
        node
    }
}

/// A beat that was acknowledged: when it was sent, when it was answered, and by which node.
type Acknowledged = (i64, i64, usize);

/// Users who beat all the time, until they are told to stop; what was acknowledged of each.
fn beating(mut by: Somebody, users: &[String], stop: &AtomicBool) -> BTreeMap<String, Vec<Acknowledged>> {
    let mut acknowledged: BTreeMap<String, Vec<Acknowledged>> = BTreeMap::new();
    while !stop.load(Ordering::SeqCst) {
        for user in users {
            let sent = now();
            let node = by.beat(user, None);
            acknowledged.entry(user.clone()).or_default().push((sent, now(), node));
        }
    }
    acknowledged
}

/// Users whose next sign comes one, two or three seconds after the last: alive, just alive, and silent. Each step is
/// told; all stamps of each are given back.
fn on_the_edge(mut by: Somebody, progress: &mpsc::Sender<()>) -> BTreeMap<String, Vec<i64>> {
    let mut signs: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let first = exact_second();
    for number in 0..ON_THE_EDGE {
        let user = format!("edge-{number}");
        by.beat(&user, Some(first));
        signs.insert(user, vec![first]);
    }
    while signs.values().any(|stamps| stamps.len() <= STEPS) {
        for (number, (user, stamps)) in signs.iter_mut().enumerate() {
            let (count, last) = (stamps.len(), stamps[stamps.len() - 1]);
            let next = last + 1 + ((number + count * 7) % 3) as i64;
            if count > STEPS || next > exact_second() {
                // Whoever waits asks, so that the nodes have something to do.
                by.ask("GET /api/v1/presence/online-count", "");
            } else {
                by.beat(user, Some(next));
                stamps.push(next);
                progress.send(()).expect("somebody listens");
            }
        }
        // Whoever is not sure whether a beat was kept repeats it.
        if std::mem::take(&mut by.has_lost) {
            for (user, stamps) in &signs {
                for stamp in stamps.iter().rev().take(2).rev() {
                    by.beat(user, Some(*stamp));
                }
            }
        }
    }
    signs
}

/// Users who are heard of once: their rows to be, and when which node answered.
fn silent(mut by: Somebody) -> BTreeMap<String, (Vec<Row>, i64, usize)> {
    let mut silent = BTreeMap::new();
    for number in 0..REPORTING {
        let (user, at) = (format!("silent-{number}"), exact_second());
        // A node may have been killed before it answered: the request is repeated under its id.
        let report = format!(r#"{{"state":"Working","timestamp":{at},"event_id":"e"}}"#);
        let (status, body, node) = by.ask(&format!("POST /users/{user}/checkpoints"), &report);
        assert_eq!(status, 201, "{body}");
        let working = ("Working".to_owned(), "client".to_owned(), at * 1_000, None);
        silent.insert(user, (vec![working, offline(at * 1_000)], now(), node));
    }
    let users: Vec<_> = (REPORTING..SILENT).map(|number| format!("silent-{number}")).collect();
    for users in users.chunks(GATEWAY) {
        let at = exact_second();
        let beat = |user: &String| {
            format!(r#"{{"installId":"of-{user}","appVersion":"1","clientTs":{at},"userId":"{user}"}}"#)
        };
        let beats: Vec<_> = users.iter().map(beat).collect();
        let (status, body, node) =
            by.ask("POST /api/v1/presence/heartbeats", &format!("[{}]", beats.join(",")));
        assert!(status == 200 && body.starts_with(&format!(r#"{{"accepted":{GATEWAY},"#)), "{body}");
        let life = || vec![wake(at * 1_000), offline(at * 1_000)];
        silent.extend(users.iter().map(|user| (user.clone(), (life(), now(), node))));
    }
    silent
}

/// A row: state, source, instant, and the last sign of life before a silence.
type Row = (String, String, i64, Option<i64>);

fn rows(database: &Database) -> BTreeMap<String, Vec<Row>> {
    let text = database.psql(
        "SELECT user_id, state, source, timestamp, proof_at FROM presence.checkpoints ORDER BY user_id, timestamp, id",
    );
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for line in text.lines() {
        let [user, state, source, at, proof_at] = line.split('|').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let row =
            (state.to_owned(), source.to_owned(), at.parse().expect("an instant"), proof_at.parse().ok());
        rows.entry(user.to_owned()).or_default().push(row);
    }
    rows
}

fn offline(last_sign: i64) -> Row {
    ("Offline".to_owned(), "timeout".to_owned(), last_sign + TIMEOUT, Some(last_sign))
}

fn wake(at: i64) -> Row {
    ("Online".to_owned(), "wake".to_owned(), at, None)
}

/// What is to be kept of somebody who gave these signs, in milliseconds.
fn life_of(signs: &[i64]) -> Vec<Row> {
    let mut life = vec![wake(signs[0])];
    for pair in signs.windows(2) {
        if pair[1] - pair[0] > TIMEOUT {
            life.extend([offline(pair[0]), wake(pair[1])]);
        }
    }
    life.extend(signs.last().map(|last| offline(*last)));
    life
}

#[test]
fn three_nodes_conclude_each_silence_once_at_its_instant_and_one_that_is_killed_takes_nothing_along() {
    let (database, folder) = (Database::create(), tempfile::tempdir().expect("a folder"));
    let settings = [
        ("HEARTBEAT_TIMEOUT_SECS", "2"),
        ("HEARTBEAT_FLUSH_INTERVAL_MS", "100"),
        ("DETECT_OFFLINE_INTERVAL_SECS", "1"),
        ("ACCESS_LOG", "0"),
    ];
    let start = || Server::start_on(database.url(), folder.path(), &settings);
    let [mut first, second, third] = [start(), start(), start()];
    let addresses = [&first, &second, &third].map(|node| node.address.clone());
    let addresses = Arc::new(Mutex::new(addresses));
    let stop = Arc::new(AtomicBool::new(false));

    let beaters: Vec<_> = (0..4)
        .map(|part| {
            let users: Vec<_> = (0..BEATING / 4).map(|number| format!("beating-{part}-{number}")).collect();
            let (by, stop) = (Somebody::new(&addresses, part), Arc::clone(&stop));
            thread::spawn(move || beating(by, &users, &stop))
        })
        .collect();
    let (progress, steps) = mpsc::channel();
    let edge = {
        let by = Somebody::new(&addresses, 4);
        thread::spawn(move || on_the_edge(by, &progress))
    };
    let silent = {
        let by = Somebody::new(&addresses, 5);
        thread::spawn(move || silent(by))
    };

    let wait_for = |count: usize| {
        for _ in 0..count {
            steps.recv_timeout(PATIENCE).expect("those on the edge go on");
        }
    };
    wait_for(ON_THE_EDGE);
    let killed_at = now();
    first.child.kill().expect("it runs");
    wait_for(ON_THE_EDGE);
    drop(first);
    let first = start();
    addresses.lock().expect("a lock")[0].clone_from(&first.address);
    let restarted_at = now();

    let signs = edge.join().expect("those on the edge");
    let silent = silent.join().expect("the silent");
    stop.store(true, Ordering::SeqCst);
    let acknowledged: BTreeMap<_, _> =
        beaters.into_iter().flat_map(|beater| beater.join().expect("a beater")).collect();
    assert_eq!(acknowledged.len(), BEATING);

    let alive = "SELECT count(*) FROM presence.user_sessions WHERE current_state <> 'Offline'";
    let given_up_at = now() + PATIENCE.as_millis() as i64;
    while database.psql(alive) != "0" {
        assert!(now() < given_up_at, "{} are still alive", database.psql(alive));
    }

    // By now the last beat is two seconds old: it was a timeout before the last silence was concluded. Who was there
    // last is written by a flush, so the killed node took along who had just come, and did not come again.
    let counts = [&first, &second, &third].map(|node| {
        let asked = node.connect().ask("GET /api/v1/presence/online-count?windowSeconds=86400", "");
        let count: serde_json::Value = serde_json::from_str(&asked.expect("an answer").1).expect("JSON");
        count["count"].as_u64().expect("a number") as usize
    });
    let all = SILENT + BEATING + ON_THE_EDGE;
    let unflushed = killed_at - UNFLUSHED..=restarted_at;
    let lost =
        silent.values().filter(|(_, answered, node)| *node == 0 && unflushed.contains(answered)).count();
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    assert!((all - lost..=all).contains(&counts[0]), "{counts:?} of {all}, of whom {lost} may be lost");

    let rows = rows(&database);
    assert_eq!(rows.len(), SILENT + BEATING + ON_THE_EDGE);
    for (user, (life, ..)) in &silent {
        assert_eq!(rows[user], *life, "{user}");
    }
    for (user, seconds) in &signs {
        let signs: Vec<_> = seconds.iter().map(|secs| secs * 1_000).collect();
        assert_eq!(rows[user], life_of(&signs), "{user}: {seconds:?}");
    }
    let mut lapses = 0;
    for (user, beats) in &acknowledged {
        let offline: Vec<_> = rows[user].iter().filter(|(state, ..)| state == "Offline").collect();
        lapses += offline.len();
        let mut proofs: Vec<_> = offline.iter().map(|(.., proof_at)| *proof_at).collect();
        proofs.dedup();
        assert_eq!(proofs.len(), offline.len(), "{user}: {offline:?}");
        for (_, source, at, proof_at) in &offline {
            let proof_at = proof_at.expect("the last sign of life");
            assert_eq!((source.as_str(), *at), ("timeout", proof_at + TIMEOUT), "{user}");
            let contradicts = |(sent, answered, node): &&Acknowledged| {
                let is_kept = *node != 0 || *answered < killed_at - UNFLUSHED || *sent > restarted_at;
                is_kept && *sent > proof_at + SKEW && *answered < at - SKEW
            };
            let contradiction = beats.iter().find(contradicts);
            assert!(contradiction.is_none(), "{user} was Offline at {at}, and beat: {contradiction:?}");
        }
        let (_, _, at, _) = offline.last().expect("all are silent in the end");
        let (sent, answered, _) = beats.last().expect("a beat");
        assert!((sent + TIMEOUT - SKEW..=answered + TIMEOUT + SKEW).contains(at), "{user}: {at}, {sent}");
    }
    let beats: usize = acknowledged.values().map(Vec::len).sum();
    let killed_for = Duration::from_millis((restarted_at - killed_at).unsigned_abs());
    println!(
        "{SILENT} silences, {ON_THE_EDGE} users on the edge, {beats} beats of {BEATING} others with {lapses} silences; \
         a node was away for {killed_for:?}"
    );
    assert_eq!([first, second, third].map(Server::terminate), [Some(0); 3]);
}

#[test]
fn nodes_on_one_database_give_the_same_answers_and_one_that_is_killed_takes_nothing_along() {
    let (database, folder) = (Database::create(), tempfile::tempdir().expect("a folder"));
    let more = [("HEARTBEAT_FLUSH_INTERVAL_MS", "100")];
    let nodes = [0; 3].map(|_| Server::start_on(database.url(), folder.path(), &more));
    let [mut first, mut second, mut third] = [0, 1, 2].map(|node: usize| nodes[node].connect());
    for number in 0..30 {
        let path = format!("POST /users/user-{number}/checkpoints");
        assert_eq!(first.ask(&path, r#"{"state":"Working","event_id":"e-1"}"#).expect("an answer").0, 201);
        let (status, body) = second.ask(&format!("GET /users/user-{number}/status"), "").expect("an answer");
        assert!(status == 200 && body.contains(r#""current_state":"Working""#), "{body}");
        let (status, again) = third.ask(&path, r#"{"state":"Working","event_id":"e-1"}"#).expect("an answer");
        assert_eq!(status, 201, "the answer of the first time: {again}");
    }
    // The first node tells of its own members before it asks; the others were not asked yet.
    for node in [&mut first, &mut second, &mut third] {
        let (_, body) = node.ask("GET /api/v1/presence/online-count", "").expect("an answer");
        assert!(body.starts_with(r#"{"count":30,"#), "{body}");
    }
    let [killed, second_node, third_node] = nodes;
    drop(killed);
    let history = |client: &mut Client, number: usize| {
        client.ask(&format!("GET /users/user-{number}/checkpoints"), "").expect("an answer").1
    };
    for number in 0..30 {
        let rows = history(&mut second, number);
        assert_eq!(rows.matches(r#""state":"Working""#).count(), 1, "{rows}");
        assert_eq!(rows, history(&mut third, number));
    }
    assert_eq!(second.ask("DELETE /users/user-0", "").expect("an answer").0, 200);
    assert_eq!(third.ask("GET /users/user-0/status", "").expect("an answer").0, 404);
    assert_eq!((second_node.terminate(), third_node.terminate()), (Some(0), Some(0)));
    let kept = database.psql("SELECT count(*) FROM presence.checkpoints");
    assert_eq!(kept.trim(), "29");
}
