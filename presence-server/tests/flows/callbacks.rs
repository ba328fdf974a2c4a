//! What leaves a real server: to every kind of receiver, and through fifty crashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    receiver::{
        Behaviour::{self, Drip, Endless, Hang, Reset, Says},
        Receiver, SECRET,
    },
    server::{Acknowledged, Client, KEY, PATIENCE, Server, export},
    writers,
};

/// The books of a sink, by the name of the figure.
pub(crate) type Books = BTreeMap<String, u64>;

fn books(client: &mut Client, sink: &str) -> Books {
    let (status, answer) = client.manage("GET /management/outbox", "").expect("an answer");
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let sinks = answer["sinks"].as_array().expect("sinks");
    let sink = sinks.iter().find(|books| books["sink"] == sink).unwrap_or_else(|| panic!("{sink}: {answer}"));
    let figures = sink.as_object().expect("figures").iter();
    figures.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
}

/// Asks until the books are as `is` says.
pub(crate) fn settled(client: &mut Client, sink: &str, is: impl Fn(&Books) -> bool) -> Books {
    let begun = Instant::now();
    loop {
        let books = books(client, sink);
        if is(&books) {
            return books;
        }
        assert!(begun.elapsed() < PATIENCE, "{books:?}");
    }
}

/// A figure of `/metrics`.
fn figure(client: &mut Client, sample: &str) -> f64 {
    let (status, text) = client.manage("GET /metrics", "").expect("an answer");
    assert_eq!(status, 200, "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().expect("a number")
}

fn says(status: &str, headers: &str) -> Behaviour {
    Says(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 6\r\n\r\ncanary"))
}

/// Receivers that take it in the end, by what they do first.
fn animals() -> Vec<(&'static str, Behaviour)> {
    let status = |line| says(line, "");
    vec![
        ("500", status("500 Oh")),
        ("502", status("502 Bad Gateway")),
        ("408", status("408 Request Timeout")),
        ("425", status("425 Too Early")),
        ("429 with seconds", says("429 Too Many Requests", "Retry-After: 1\r\n")),
        ("503 with seconds", says("503 Busy", "Retry-After: 1\r\n")),
        ("503 with nonsense", says("503 Busy", "Retry-After: canary\r\n")),
        ("never answers", Hang),
        (
            "a head drop by drop",
            Drip("HTTP/1.1 200 OK\r\nX-Slow: canary canary canary canary canary canary canary\r\n\r\n"),
        ),
        ("500 without an end", Endless("HTTP/1.1 500 Oh\r\n\r\n")),
        ("resets before it has read", Reset { is_read: false }),
        ("resets when it has taken it", Reset { is_read: true }),
        ("half a head", Says("HTTP/1.1 20".to_owned())),
        ("another protocol", Says("SSH-2.0-canary\r\n".to_owned())),
        ("a huge header", Says(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)))),
    ]
}

struct World {
    server: Server,
    sick: Receiver,
    healthy: Receiver,
    _folder: tempfile::TempDir,
}

impl World {
    /// A server whose rooms are told to one receiver, and whose users to another.
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (sick, healthy) = (Receiver::start(), Receiver::start());
        let server = Server::start(
            &folder.path().join("presence.db"),
            &[
                ("ADMIN_API_KEY", KEY),
                ("CALLBACK_SECRET", SECRET),
                ("CALLBACK_ALLOW_PRIVATE", "1"),
                ("CALLBACK_RETRY_DELAY_SECONDS", "0"),
                ("CALLBACK_TIMEOUT_SECONDS", "3"),
                ("ROOM_EVENT_CALLBACK_URL", &sick.url()),
                ("EVENT_CALLBACK_URL", &healthy.url()),
                ("EVENT_CALLBACK_KINDS", "state_changed"),
            ],
        );
        Self { server, sick, healthy, _folder: folder }
    }

    /// Makes a room; its id.
    fn room(&self, client: &mut Client) -> String {
        let made = client.manage("POST /management/rooms", r#"{"room_name":"Lobby"}"#).expect("an answer");
        assert_eq!(made.0, 200, "{made:?}");
        let made: Value = serde_json::from_str(&made.1).expect("JSON");
        made["room_id"].as_str().expect("an id").to_owned()
    }

    /// Reports a user, and sees that it is told within two seconds.
    fn neighbour_is_well(&self, client: &mut Client, user: &str) {
        let report = format!("POST /users/{user}/checkpoints");
        let begun = Instant::now();
        let (status, answer) = client.ask(&report, r#"{"state":"Working"}"#).expect("an answer");
        assert_eq!(status, 201, "{answer}");
        self.healthy.wait_for(user, |received| {
            received.iter().any(|received| received.json()["data"]["user"] == user)
        });
        assert!(begun.elapsed() < Duration::from_secs(2), "{user}: {:?}", begun.elapsed());
    }
}

#[test]
fn every_receiver_is_understood_and_keeps_no_other_waiting() {
    let world = World::start();
    let mut client = world.server.connect();
    let animals = animals();
    for (index, (name, behaviour)) in animals.iter().enumerate() {
        world.sick.expect(behaviour.clone());
        let room = world.room(&mut client);
        // While the first attempt fails.
        world.neighbour_is_well(&mut client, &format!("user-{index}"));
        let is_of_room = |received: &&crate::receiver::Received| received.json()["room_id"] == room.as_str();
        world
            .sick
            .wait_for(name, |received| received.iter().filter(is_of_room).any(|received| received.is_taken));
        let received = world.sick.received();
        let attempts: Vec<_> = received.iter().filter(is_of_room).collect();
        assert!(attempts.iter().all(|attempt| attempt.id == attempts[0].id), "{name}");
        assert!(attempts.iter().all(|attempt| attempt.body == attempts[0].body), "{name}");
        let is_read = !matches!(behaviour, Reset { is_read: false });
        assert_eq!(attempts.len(), 1 + usize::from(is_read), "{name}");
        if name.ends_with("with seconds") {
            let waited = attempts[1].at.duration_since(attempts[0].at);
            assert!(waited >= Duration::from_millis(900), "{name}: {waited:?}");
        }
    }
    let count = animals.len() as u64;
    let told = settled(&mut client, "room_events", |books| books["pending"] == 0);
    assert_eq!((told["delivered"], told["dead"]), (count, 0));

    // What is refused lies dead until an operator sends it again, and a redirect leads nowhere.
    let elsewhere = Receiver::start();
    let refusals = [
        says("400 Bad Request", ""),
        says("401 Unauthorized", ""),
        says("301 Moved", &format!("Location: http://{}/\r\n", elsewhere.address)),
    ];
    for (index, refusal) in refusals.iter().enumerate() {
        world.sick.expect(refusal.clone());
        world.room(&mut client);
        world.neighbour_is_well(&mut client, &format!("neighbour-{index}"));
        settled(&mut client, "room_events", |books| books["dead"] == index as u64 + 1);
    }
    assert_eq!(elsewhere.connections(), 0);
    let letters = "/management/outbox/room_events/dead-letters";
    let (_, page) = client.manage(&format!("GET {letters}?limit=2"), "").expect("an answer");
    let page: Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!(page["dead_letters"][1]["reason"], "the receiver answered 401");
    assert_eq!(page["dead_letters"][1]["event"]["kind"], "room_created");
    let next = format!("GET {letters}?limit=2&cursor={}", page["next_cursor"]);
    let (_, rest) = client.manage(&next, "").expect("an answer");
    let rest: Value = serde_json::from_str(&rest).expect("JSON");
    assert_eq!(rest["dead_letters"][0]["reason"], "the receiver answered 301");
    assert!(rest["dead_letters"].as_array().expect("letters").len() == 1 && rest["next_cursor"].is_null());
    let requeue = "POST /management/outbox/room_events/requeue";
    let one = format!(r#"{{"numbers":[{}]}}"#, page["dead_letters"][0]["number"]);
    assert_eq!(client.manage(requeue, &one).expect("an answer").1, r#"{"requeued":1}"#);
    assert_eq!(client.manage(requeue, "").expect("an answer").1, r#"{"requeued":2}"#);
    let told = settled(&mut client, "room_events", |books| books["pending"] + books["dead"] == 0);
    assert_eq!(told["delivered"], count + 3);
    // Every attempt of a letter had the same name and the same body.
    assert_eq!(world.sick.by_id().len() as u64, count + 3);

    // Who is gone is asked no more, and nobody else minds.
    world.sick.expect(says("410 Gone", ""));
    world.room(&mut client);
    world.neighbour_is_well(&mut client, "last");
    let asked = |received: &[crate::receiver::Received]| {
        received.iter().filter(|received| !received.is_taken).count()
    };
    let before = animals.iter().filter(|(_, does)| !matches!(does, Reset { is_read: false })).count() + 4;
    world.sick.wait_for("410", |received| asked(received) == before);
    world.room(&mut client);
    world.neighbour_is_well(&mut client, "very-last");
    assert_eq!(asked(&world.sick.received()), before);
    assert_eq!(books(&mut client, "room_events")["pending"], 2);
    assert_eq!(figure(&mut client, r#"presence_sink_gone{sink="room_events"}"#), 1.0);
    assert_eq!(figure(&mut client, r#"presence_sink_gone{sink="events"}"#), 0.0);
    for (outcome, expected) in [("delivered", count + 3), ("refused", 3), ("gone", 1), ("failed", count)] {
        let name =
            format!(r#"presence_callback_attempts_total{{callback="room_events",outcome="{outcome}"}}"#);
        assert_eq!(figure(&mut client, &name), expected as f64, "{outcome}");
    }
    let waited = figure(&mut client, r#"presence_callback_duration_seconds_count{callback="room_events"}"#);
    assert_eq!(waited, (2 * count + 7) as f64);
    assert_eq!(world.server.terminate(), Some(0));
}

#[test]
fn a_hanging_receiver_delays_neither_its_neighbour_nor_the_end() {
    let world = World::start();
    let mut client = world.server.connect();
    (0..8).for_each(|_| world.sick.expect(Hang));
    for number in 0..8 {
        world.room(&mut client);
        world.neighbour_is_well(&mut client, &format!("user-{number}"));
    }
    world.sick.wait_for("four at once", |received| received.len() >= 4);
    let begun = Instant::now();
    assert_eq!(world.server.terminate(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_killed_server_tells_everything_it_acknowledged() {
    const KILLS: u64 = 50;
    let folder = tempfile::tempdir().expect("a folder");
    let (database, receiver) = (folder.path().join("presence.db"), Receiver::start());
    let url = receiver.url();
    let settings = [
        ("HEARTBEAT_TIMEOUT_SECS", "0"),
        ("ADMIN_API_KEY", KEY),
        ("CALLBACK_SECRET", SECRET),
        ("CALLBACK_ALLOW_PRIVATE", "1"),
        ("EVENT_CALLBACK_URL", &*url),
        ("EVENT_CALLBACK_KINDS", "state_changed"),
    ];
    let acknowledged = Acknowledged::default();
    for kill in 0..KILLS {
        let mut server = Server::start(&database, &settings);
        let stop = Arc::new(AtomicBool::new(false));
        let before = acknowledged.count();
        let writers = writers(&server, 8, &format!("round{kill}"), &acknowledged, &stop);
        // Killed after a number of answers, or of deliveries, that differs from round to round.
        let told = receiver.received().len();
        acknowledged.wait_for(before + 1 + (kill * 7 % 83) as usize);
        if kill % 2 == 0 {
            let enough = told + (kill * 5 % 61) as usize;
            receiver.wait_for("deliveries", |received| received.len() > enough);
        }
        server.child.kill().expect("it runs");
        stop.store(true, Ordering::SeqCst);
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    }
    let server = Server::start(&database, &settings);
    let mut client = server.connect();
    let books = settled(&mut client, "events", |books| books["pending"] == 0);

    let mut of_user = BTreeMap::<String, (BTreeSet<String>, Vec<u64>)>::new();
    for received in receiver.received() {
        let body = received.json();
        assert_eq!(body["type"], "state_changed");
        let user = body["data"]["user"].as_str().expect("a user").to_owned();
        let (ids, versions) = of_user.entry(user).or_default();
        if ids.insert(received.id) {
            versions.push(body["data"]["version"].as_u64().expect("a version"));
        }
    }
    for (user, numbers) in acknowledged.numbers().iter() {
        let (ids, versions) = &of_user[user];
        assert!(versions.is_sorted() && versions.len() >= numbers.len(), "{user}: {versions:?}");
        let (_, export) = export(&server, user);
        let rows = export.lines().filter(|line| line.contains(r#""kind":"checkpoint""#)).count();
        assert_eq!(ids.len(), rows, "{user}: each row is told, and nothing else");
    }
    let (told, ids) = (receiver.received().len(), receiver.by_id().len() as u64);
    assert_eq!((books["delivered"], books["accepted"]), (ids, ids));
    assert_eq!(books["dead"] + books["expired"] + books["erased"], 0);
    drop(client);
    assert_eq!(server.terminate(), Some(0));

    // A new process reads the books for its first scrape.
    let server = Server::start(&database, &settings);
    let mut client = server.connect();
    for (figure_of, name) in [
        ("accepted", "presence_outbox_accepted_total"),
        ("delivered", "presence_outbox_delivered_total"),
        ("pending", "presence_outbox_pending"),
        ("dead", "presence_outbox_dead"),
        ("expired", "presence_outbox_expired_total"),
        ("erased", "presence_outbox_erased_total"),
    ] {
        let shown = figure(&mut client, &format!(r#"{name}{{sink="events"}}"#));
        assert_eq!(shown, books[figure_of] as f64, "{name}");
    }
    println!("{KILLS} kills: {} acknowledged, {ids} told, in {told} requests", acknowledged.count());
}
