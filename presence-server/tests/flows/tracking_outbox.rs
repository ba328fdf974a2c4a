//! PostgreSQL is away for a while, and apps that report do not notice.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use presence_core::{Clock, SystemClock};
use presence_postgres_testing::{Database, Server as Postgres, Stop};

use crate::server::{Client, PATIENCE, Server};

const APPS: usize = 8;
/// How many requests are answered while the database is away.
const AWAY: u64 = 2_000;
/// The longest that anybody may wait, in milliseconds.
const LONGEST: i64 = 1_000;
/// How long what waits may take to be stored after the database is back, in milliseconds.
const CATCHING_UP: i64 = 30_000;
/// Requests a second that come whether others are answered or not.
const RATE: i64 = 500;
/// How many of them may be on their way at once.
const LANES: i64 = 32;

const SETTINGS: [(&str, &str); 4] = [
    ("DATABASE_MAX_CONNECTIONS", "6"),
    ("TRACKING_OUTBOX_ENABLED", "1"),
    ("TRACKING_OUTBOX_RESERVE_BYTES", "0"),
    ("ACCESS_LOG", "0"),
];

fn now() -> i64 {
    SystemClock.now().as_millis()
}

fn until(answered: &AtomicU64, count: u64) {
    let begun = now();
    while answered.load(Ordering::SeqCst) < count {
        assert!(now() - begun < i64::try_from(PATIENCE.as_millis()).expect("small"), "the apps go on");
        thread::yield_now();
    }
}

/// An app tells that it was opened, and is answered that this is kept.
fn report(client: &mut Client, id: &str) {
    let body = format!(
        r#"{{"events":[{{"eventName":"app_session_start","installId":"install-{id}","clientTs":{},"eventId":"{id}"}}]}}"#,
        now() / 1000
    );
    let (status, body) = client.ask("POST /api/v1/analytics/events", &body).expect("an answer");
    assert_eq!((status, body.contains(r#""accepted":1"#)), (202, true), "{body}");
}

/// Waits until all of these are stored, each once and nothing else; says how long that is after `back`.
fn until_stored(database: &Database, sent: &[String], back: i64) -> i64 {
    let count = || database.psql("SELECT count(*) FROM presence.analytics_event_log").trim().parse::<usize>();
    loop {
        let stored = count().expect("a number");
        if stored >= sent.len() {
            break;
        }
        assert!(now() - back < CATCHING_UP, "{stored} of {} are stored", sent.len());
    }
    let took = now() - back;
    let rows = database.psql("SELECT event_id FROM presence.analytics_event_log");
    let once: BTreeSet<_> = rows.lines().map(str::to_owned).collect();
    assert_eq!(once, sent.iter().cloned().collect(), "nothing is lost, and nothing invented");
    assert_eq!(once.len(), rows.lines().count(), "nothing is there twice");
    took
}

#[test]
fn while_the_database_is_away_events_are_taken_and_each_is_stored_once() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [&SETTINGS[..], &[("TRACKING_OUTBOX_FLUSH_INTERVAL_MS", "100")]].concat();
    let server = Server::start_on(database.url(), folder.path(), &settings);
    let (answered, has_ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let slowest = Arc::new(Mutex::new(0));
    let apps: Vec<_> = (0..APPS)
        .map(|app| {
            let mut client = server.connect();
            let (answered, has_ended, slowest) = (answered.clone(), has_ended.clone(), slowest.clone());
            thread::spawn(move || {
                let mut sent = Vec::new();
                while !has_ended.load(Ordering::SeqCst) {
                    let id = format!("app-{app}-{}", sent.len());
                    let begun = now();
                    report(&mut client, &id);
                    let mut slowest = slowest.lock().expect("a lock");
                    *slowest = (now() - begun).max(*slowest);
                    drop(slowest);
                    sent.push(id);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                sent
            })
        })
        .collect();

    until(&answered, 500);
    for stop in [Stop::Fast, Stop::Immediate] {
        postgres.stop(stop);
        until(&answered, answered.load(Ordering::SeqCst) + AWAY);
        postgres.start_again();
        until(&answered, answered.load(Ordering::SeqCst) + 200);
    }
    let back = now();
    has_ended.store(true, Ordering::SeqCst);
    let sent: Vec<String> = apps.into_iter().flat_map(|app| app.join().expect("an app")).collect();
    let took = until_stored(&database, &sent, back);
    let slowest = *slowest.lock().expect("a lock");
    println!(
        "{} events, all stored once {took} ms after the last was sent; the slowest answer took {slowest} ms",
        sent.len()
    );
    assert!(slowest <= LONGEST, "{slowest} ms");
    assert_eq!(server.terminate(), Some(0));
}

/// For how long the database is away, in seconds: `PRESENCE_OUTAGE_SECS`, or a few.
fn outage() -> i64 {
    std::env::var("PRESENCE_OUTAGE_SECS").map_or(5, |secs| secs.parse().expect("a number of seconds"))
}

/// Waits for an instant of the schedule.
#[expect(
    clippy::disallowed_methods,
    reason = "requests come when they are due, and not when others are answered"
)]
fn until_due(due: i64) {
    thread::sleep(Duration::from_millis(u64::try_from(due - now()).unwrap_or(0)));
}

#[test]
fn five_hundred_requests_a_second_are_answered_within_a_second_while_the_database_is_away() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_on(database.url(), folder.path(), &SETTINGS);
    let has_ended = Arc::new(AtomicBool::new(false));
    let begun = now();
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let (mut client, has_ended) = (server.connect(), has_ended.clone());
            thread::spawn(move || {
                let (mut sent, mut slowest, mut number) = (Vec::new(), 0, lane);
                while !has_ended.load(Ordering::SeqCst) {
                    // An answer is as late as it comes after its request was due, whoever was waited for.
                    let due = begun + number * 1_000 / RATE;
                    until_due(due);
                    let id = format!("request-{number}");
                    report(&mut client, &id);
                    slowest = slowest.max(now() - due);
                    sent.push(id);
                    number += LANES;
                }
                (sent, slowest)
            })
        })
        .collect();

    until_due(begun + 2_000);
    postgres.stop(Stop::Fast);
    let away = now();
    until_due(away + outage() * 1_000);
    postgres.start_again();
    let back = now();
    until_due(back + 1_000);
    has_ended.store(true, Ordering::SeqCst);
    let (sent, slowest): (Vec<_>, Vec<_>) =
        lanes.into_iter().map(|lane| lane.join().expect("a lane")).unzip();
    let (sent, slowest) = (sent.concat(), slowest.into_iter().max().expect("lanes"));
    let lasted = now() - begun;
    let took = until_stored(&database, &sent, back);
    let pending = || {
        let (_, metrics) = server.connect().ask("GET /metrics", "").expect("an answer");
        let line = metrics.lines().find_map(|line| line.strip_prefix("tracking_outbox_pending_bytes "));
        line.map(str::to_owned).expect("a gauge")
    };
    while pending() != "0" {
        assert!(now() - back < CATCHING_UP, "{} bytes wait", pending());
    }
    println!(
        "{} requests in {lasted} ms, the database away for {} ms; the slowest answer came {slowest} ms after it was due; \
         all stored once {took} ms, and nothing waits {} ms after the database was back",
        sent.len(),
        back - away,
        now() - back
    );
    assert!(slowest <= LONGEST, "{slowest} ms");
    assert!(sent.len() as i64 >= (lasted - LONGEST) * RATE / 1_000, "{} requests in {lasted} ms", sent.len());
    assert_eq!(server.terminate(), Some(0));
}
