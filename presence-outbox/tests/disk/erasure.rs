//! What is to be forgotten is nowhere, and nobody else misses anything.

use std::fs;

use futures_executor::block_on;
use presence_outbox::{Directory, EraseError, Erased, Outbox, OutboxConfig, SinkName, Stored, TrackingEvent};

use crate::world::{self, NO_WAIT, World};

const ID: &str = "1700000000000000-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d";

/// Every third is Bob's.
fn event(number: u64) -> TrackingEvent {
    let user = if number.is_multiple_of(3) { "bob" } else { "alice" };
    TrackingEvent { user_id: Some(user.to_owned()), ..world::event(number) }
}

fn line(number: u64) -> String {
    format!("{{\"event\":{},\"seq\":{number}}}\n", serde_json::to_string(&event(number)).unwrap())
}

fn letter(number: u64) -> String {
    line(number).replace("\"seq\"", "\"sink\":\"webhook\",\"reason\":\"no\",\"offset\"")
}

fn enqueue(outbox: &Outbox<TrackingEvent>, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        assert!(block_on(outbox.enqueue(&event(number))).unwrap().is_enqueued());
    }
}

/// Bob is to be forgotten.
fn erase(outbox: &Outbox<TrackingEvent>) -> Result<Erased, EraseError> {
    block_on(outbox.erase(|line| match line {
        Stored::Event(event) => event.user_id.as_deref() == Some("bob"),
        Stored::Unreadable(bytes) => bytes.windows(3).any(|part| part == b"bob"),
        _ => false,
    }))
}

/// The kinds of files in which he still is.
fn with_bob(world: &World) -> Vec<String> {
    let has_bob = |name: &String| {
        let content = fs::read(world.dir().join(name)).unwrap();
        content.windows(3).any(|part| part == b"bob")
    };
    let mut kinds: Vec<_> = world.names().into_iter().filter(has_bob).collect();
    kinds.iter_mut().for_each(|name| name.truncate(name.find(['-', '.']).unwrap()));
    kinds.dedup();
    kinds
}

fn two_sinks(config: OutboxConfig) -> OutboxConfig {
    let config = config.sink(SinkName::new("webhook").unwrap()).sink(SinkName::new("kafka").unwrap());
    config.batch_size(4).backoff(NO_WAIT)
}

/// S32: active, sealed, corrupt and dead; each sink goes on where it was, in this process and in the next.
#[test]
fn what_is_erased_is_in_no_file_and_the_others_are_delivered() {
    for is_restarted in [false, true] {
        let world = World::new();
        world.write(&format!("corrupt-{ID}-active.ndjson"), b"{torn bob\n{torn\n");
        world.write(&format!("dead-{ID}.ndjson"), [letter(30), letter(31)].concat().as_bytes());
        let mut outbox = world.open(two_sinks);
        enqueue(&outbox, 1..=9);
        for (sink, accepted) in [("webhook", 4), ("kafka", 2)] {
            let mut sink = outbox.sink(sink).unwrap();
            let batch = block_on(sink.claim()).unwrap();
            block_on(sink.ack_first(batch, accepted)).unwrap();
        }
        assert_eq!(with_bob(&world), ["active", "corrupt", "dead", "sealed"]);

        let erased = erase(&outbox).unwrap();
        assert_eq!((erased.waiting, erased.aside, erased.unread), (3, 2, 0));
        assert!(with_bob(&world).is_empty());
        assert_eq!(world.told().erased, 5);
        assert_eq!(world.read("corrupt-"), b"{torn\n");
        assert_eq!(world.read("dead-"), letter(31).as_bytes());
        assert_eq!(erase(&outbox).unwrap(), Erased::default(), "again does no harm");
        assert!(!Directory::open(world.dir()).unwrap().check().unwrap().has_damage());
        if is_restarted {
            outbox.close();
            outbox = world.open(two_sinks);
        }
        assert_eq!(world.flush_to(&outbox, "webhook"), [vec![5, 7, 8]]);
        assert_eq!(world.flush_to(&outbox, "kafka"), [vec![4], vec![5, 7, 8]]);
        let books = block_on(outbox.books()).unwrap();
        assert!(books.balance(), "{books:#?}");
        assert_eq!([books.sinks[0].erased, books.sinks[1].erased], [2, 3]);
        assert_eq!(books.kept_bytes, 6 + letter(31).len() as u64);
        assert_eq!((world.count("sealed-"), world.count("ack-"), books.pending_bytes), (0, 0, 0));
    }
}

/// 6.3: what stays is what it was, byte by byte, whatever we know of it; the length tells where lines are.
#[test]
fn what_is_not_erased_stays_as_it_is() {
    let world = World::new();
    let (before, own) = ([&line(1), "\r\n"].concat(), line(3));
    let after = [&line(2).replace('\n', "\r\n"), line(4).trim_end()].concat();
    world.write("sealed-1.ndjson", [&before, &own, &after].map(String::as_bytes).concat().as_slice());
    let outbox = world.open(|config| config);
    assert_eq!(erase(&outbox).unwrap().waiting, 1);
    let blank = "\t".repeat(own.len() - 1) + "\n";
    assert_eq!(String::from_utf8(world.read("sealed-")).unwrap(), [before, blank, after].concat());
    assert_eq!(world.flush(&outbox), [vec![1, 2, 4]]);
}

#[test]
fn a_line_that_is_no_event_is_shown_as_it_is_and_one_that_is_too_long_is_counted() {
    let world = World::new();
    let long = format!("{{\"event\":\"{}\"}}\n", "x".repeat(3 << 20));
    let bad = "{\"event\":{\"user_id\":\"bob\"}}\n{bob\n{other\n";
    world.write("sealed-1.ndjson", [&line(1), bad, long.as_str()].concat().as_bytes());
    let outbox = world.open(|config| config);
    let erased = erase(&outbox).unwrap();
    assert_eq!((erased.waiting, erased.aside, erased.unread), (2, 0, 1));
    assert_eq!(world.flush(&outbox), [vec![1]]);
    assert_eq!(world.read("corrupt-"), ["{other\n", &long].concat().as_bytes());
    assert!(block_on(outbox.books()).unwrap().balance());
}

#[test]
fn a_file_that_is_kept_for_nothing_else_goes() {
    let world = World::new();
    world.write(&format!("dead-{ID}.ndjson"), [line(3), line(6)].concat().as_bytes());
    let outbox = world.open(|config| config);
    assert_eq!(erase(&outbox).unwrap().aside, 2);
    assert_eq!(world.names(), ["LOCK"]);
    assert_eq!(block_on(outbox.books()).unwrap().kept_files, 0);
    outbox.close();
    assert!(matches!(erase(&outbox), Err(EraseError::Closed)));
}
