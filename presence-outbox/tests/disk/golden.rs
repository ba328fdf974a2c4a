//! Directories as others wrote them, and as we did: `tests/golden` is never written again, only added to.
//!
//! - `seed`: the first outbox of this format. Plain lines, blank ones, CRLF, members that nobody here knows, a torn end,
//!   and a whole file put aside for one bad line.
//! - `0.1`: all that this version writes. Checksums, cursors, a dead letter, a line put aside, and one erased.

use std::{fs, path::Path, time::Duration};

use futures_executor::block_on;
use presence_outbox::{Directory, Outbox, OutboxConfig, SinkName, Stored, TrackingEvent};

use crate::world::{Destination, World};

/// A copy of such a directory.
fn golden(name: &str) -> World {
    let world = World::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        world.write(path.file_name().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
    }
    world
}

/// What was written long ago waits all the same.
fn open(world: &World) -> Outbox<TrackingEvent> {
    world.open(|config| two_sinks(config).retention(Duration::MAX))
}

fn two_sinks(config: OutboxConfig) -> OutboxConfig {
    let config = config.sink(SinkName::new("webhook").unwrap()).sink(SinkName::new("kafka").unwrap());
    config.batch_size(4)
}

/// T20, W26, 6.3.
#[test]
fn a_directory_of_the_first_outbox_is_delivered() {
    let world = golden("seed");
    let outbox = open(&world);
    for sink in ["webhook", "kafka"] {
        assert_eq!(world.flush_to(&outbox, sink), [vec![1, 2, 3], vec![4], vec![5, 6]]);
    }
    let books = block_on(outbox.books()).unwrap();
    assert!(
        books.balance() && books.sinks.iter().all(|sink| (sink.found, sink.blank) == (9, 3)),
        "{books:#?}"
    );
    let aside: Vec<_> = world.names().into_iter().filter(|name| name.ends_with("-active.ndjson")).collect();
    assert_eq!((aside.len(), world.count("corrupt-"), world.count("sealed-")), (1, 2, 0));
}

/// What it put aside as a whole comes back line by line, with all that stands in a line.
#[test]
fn a_file_that_the_first_outbox_put_aside_is_salvaged() {
    let world = golden("seed");
    let requeued = Directory::open(world.dir()).unwrap().requeue().unwrap();
    assert_eq!((requeued.files, requeued.events, requeued.left), (1, 2, 1));
    assert_eq!(world.read("corrupt-"), b"{\"event\":{\"event_id\":\"9\",\"eve\n");
    let newest = world.names().into_iter().rfind(|name| name.starts_with("sealed-")).unwrap();
    let text = fs::read_to_string(world.dir().join(newest)).unwrap();
    assert!(text.contains("\"campaign\":\"spring\"") && text.ends_with("}\r\n"), "{text}");
    let outbox = open(&world);
    // They count as new, and what was being written was sealed after them.
    assert_eq!(world.flush_to(&outbox, "kafka"), [vec![1, 2, 3], vec![4], vec![8, 10], vec![5, 6]]);
}

/// What is rewritten keeps what we do not know.
#[test]
fn what_is_erased_from_a_directory_of_the_first_outbox_costs_nothing_else() {
    let world = golden("seed");
    let outbox = open(&world);
    let erased = outbox.erase(|line| matches!(line, Stored::Event(event) if event.event_id == "1"));
    assert_eq!(block_on(erased).unwrap().waiting, 1);
    let first = world.names().into_iter().find(|name| name.starts_with("sealed-")).unwrap();
    let text = fs::read_to_string(world.dir().join(first)).unwrap();
    assert!(text.starts_with('\t') && text.contains("\"campaign\":\"spring\"") && text.contains("\r\n\r\n"));
    assert_eq!(world.flush_to(&outbox, "webhook"), [vec![2, 3], vec![4], vec![5, 6]]);
}

#[test]
fn a_directory_of_this_version_goes_on_where_it_was() {
    let world = golden("0.1");
    let directory = Directory::open(world.dir()).unwrap();
    assert!(!directory.check().unwrap().has_damage());
    let outbox = open(&world);
    assert_eq!(world.flush_to(&outbox, "webhook"), [vec![9], vec![10]]);
    assert_eq!(world.flush_to(&outbox, "kafka"), [vec![3, 4], vec![5, 7, 8], vec![9], vec![10]]);
    let books = block_on(outbox.books()).unwrap();
    assert!(books.balance(), "{books:#?}");
    assert_eq!([books.sinks[0].erased, books.sinks[1].erased], [0, 1]);
    outbox.close();
    assert_eq!(directory.requeue().unwrap().events, 1);
    let outbox = open(&world);
    assert!(world.flush_to(&outbox, "kafka").is_empty());
    assert_eq!(world.flush_to(&outbox, "webhook"), [vec![3]]);
}

/// The same events are the same bytes: whoever reads the old ones reads the new ones. A change of this format needs a
/// directory of its own beside these.
#[test]
fn what_is_written_today_is_what_was_written_then() {
    let (old, new) = (golden("0.1"), World::new());
    let outbox = new.open(two_sinks);
    new.enqueue(&outbox, 1..=4);
    block_on(outbox.sink("webhook").unwrap().flush(&Destination::refusing(3))).unwrap();
    let content = |world: &World, prefix: &str| {
        let name = world.names().into_iter().find(|name| name.starts_with(prefix)).unwrap();
        fs::read_to_string(world.dir().join(name)).unwrap()
    };
    assert_eq!(content(&new, "sealed-"), content(&old, "sealed-"));
    // The letter names its file, which has a name of its own each time.
    let letter = |world: &World| {
        let text = content(world, "dead-");
        let (begin, end) = (text.find("sealed-").unwrap(), text.find(".ndjson").unwrap());
        [&text[..begin], &text[end..]].concat()
    };
    assert_eq!(letter(&new), letter(&old));
    new.enqueue(&outbox, [10]);
    assert_eq!(content(&new, "active"), content(&old, "active"));
}
