//! PostgreSQL is away for a while, and apps that report do not notice.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use presence_core::{Clock, SystemClock};
use presence_postgres_testing::{Server as Postgres, Stop};

use crate::server::{PATIENCE, Server};

const APPS: usize = 8;
/// How many requests are answered while the database is away.
const AWAY: u64 = 2_000;
/// The longest that anybody may wait, in milliseconds.
const LONGEST: i64 = 1_000;
/// How long what waits may take to be stored after the database is back, in milliseconds.
const CATCHING_UP: i64 = 30_000;

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

#[test]
fn while_the_database_is_away_events_are_taken_and_each_is_stored_once() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("DATABASE_MAX_CONNECTIONS", "6"),
        ("TRACKING_OUTBOX_ENABLED", "1"),
        ("TRACKING_OUTBOX_FLUSH_INTERVAL_MS", "100"),
        ("TRACKING_OUTBOX_RESERVE_BYTES", "0"),
        ("ACCESS_LOG", "0"),
    ];
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
                    let body = format!(
                        r#"{{"events":[{{"eventName":"app_session_start","installId":"install-{app}","clientTs":{},"eventId":"{id}"}}]}}"#,
                        now() / 1000
                    );
                    let begun = now();
                    let (status, body) = client.ask("POST /api/v1/analytics/events", &body).expect("an answer");
                    assert_eq!((status, body.contains(r#""accepted":1"#)), (202, true), "{body}");
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
    let stored = || {
        let rows = database.psql("SELECT event_id FROM presence.analytics_event_log");
        rows.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    while stored().len() < sent.len() {
        assert!(now() - back < CATCHING_UP, "{} of {} are stored", stored().len(), sent.len());
    }
    let took = now() - back;
    let rows = stored();
    let once: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(once, sent.into_iter().collect(), "nothing is lost, and nothing invented");
    assert_eq!(once.len(), rows.len(), "nothing is there twice");
    let slowest = *slowest.lock().expect("a lock");
    println!(
        "{} events, all stored once {took} ms after the last was sent; the slowest answer took {slowest} ms",
        rows.len()
    );
    assert!(slowest <= LONGEST, "{slowest} ms");
    assert_eq!(server.terminate(), Some(0));
}
