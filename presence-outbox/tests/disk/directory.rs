//! A directory from outside: listed, checked, and what was put aside brought back.

use std::{fs, path::Path};

use futures_executor::block_on;
use presence_outbox::{Directory, FileKind, OpenError, OutboxConfig, Requeued, SinkName};

use crate::world::{Destination, World, line};

const ID: &str = "1700000000000000-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d";

fn directory(world: &World) -> Directory {
    Directory::open(world.dir()).unwrap()
}

fn two_sinks(config: OutboxConfig) -> OutboxConfig {
    config.sink(SinkName::new("webhook").unwrap()).sink(SinkName::new("kafka").unwrap()).batch_size(4)
}

/// What is in a directory, byte by byte.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

/// W30.
#[test]
fn each_file_says_what_it_has_and_how_far_each_sink_is() {
    let world = World::new();
    let outbox = world.open(two_sinks);
    world.enqueue(&outbox, 1..=5);
    let picky = Destination::refusing(3);
    block_on(outbox.sink("webhook").unwrap().flush(&picky)).unwrap();
    let mut kafka = outbox.sink("kafka").unwrap();
    let batch = block_on(kafka.claim()).unwrap();
    block_on(kafka.ack_first(batch, 2)).unwrap();
    world.write(&format!("corrupt-{ID}-sealed-{ID}.ndjson"), b"{not-json}\n");
    world.write("notes.txt", b"mine");

    let listed = directory(&world).list().unwrap();
    let kinds: Vec<_> = listed.iter().map(|file| file.kind).collect();
    use FileKind::{Active, Corrupt, Dead, Foreign, Sealed};
    assert_eq!(kinds, [Active, Sealed, Corrupt, Dead, Foreign]);
    let [active, sealed, corrupt, dead, _] = &listed[..] else { panic!("{listed:#?}") };
    assert_eq!((active.events, active.sealed_micros, active.occurred_micros), (1, None, Some((1, 1))));
    assert_eq!((sealed.events, sealed.bad, sealed.bytes), (4, 0, world.read("sealed-").len() as u64));
    assert!(sealed.sealed_micros > Some(1_700_000_000_000_000));
    let cursors: Vec<_> = sealed.cursors.iter().map(|cursor| (cursor.sink.as_str(), cursor.lines)).collect();
    assert_eq!(cursors, [("kafka", 2), ("webhook", 4)]);
    assert_eq!((corrupt.events, corrupt.bad, corrupt.sealed_micros), (0, 1, Some(1_700_000_000_000_000)));
    let refusals: Vec<_> =
        dead.refusals.iter().map(|of| (of.sink.as_str(), of.reason.as_str(), of.events)).collect();
    assert_eq!(refusals, [("webhook", "not six", 1)]);
}

#[test]
fn a_directory_that_is_not_there_is_not_made_by_looking() {
    let world = World::new();
    assert_eq!(Directory::open(world.dir()).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert!(!world.dir().exists());
}

#[test]
fn a_check_names_every_fault_and_changes_nothing() {
    let world = World::new();
    let sealed = format!("sealed-{ID}.ndjson");
    let bad = b"{not-json}\n\n{\"event\":\"\xff\"}\n{\"event\":7,\"crc\":\"00000000\"}\n";
    world.write(&sealed, &[line(1).as_bytes(), bad].concat());
    world.write("active.ndjson", [&line(2), "{torn}\n", &line(3), "{\"event\":"].concat().as_bytes());
    world.write(&format!("ack-{ID}-whole.json"), b"{}");
    world.write(&format!("dead-{ID}.ndjson"), [&line(4), "\n"].concat().as_bytes());
    world.write(&format!("corrupt-{ID}-active.ndjson"), b"\xff\xff");
    world.write("ack-1700000000000001-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d-webhook.json", b"{}");
    world.write("tmp-sealed-1.ndjson", b"half");
    let before = contents(&world.dir());
    let checked = directory(&world).check().unwrap();
    let told: Vec<_> = checked.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            format!("ack-{ID}-whole.json: the cursor cannot be read; its sink begins the file anew"),
            "ack-1700000000000001-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d-webhook.json: is of no use any more; \
             the next start removes it"
                .to_owned(),
            "active.ndjson:2: the line is no JSON object with an event".to_owned(),
            "active.ndjson:4: the end is not finished; the next start puts it aside".to_owned(),
            format!("dead-{ID}.ndjson:1: the line is no dead letter"),
            format!("{sealed}:2: the line is no JSON object with an event"),
            format!("{sealed}:4: the line is not UTF-8"),
            format!("{sealed}:5: the line does not fit its checksum"),
            "tmp-sealed-1.ndjson: is of no use any more; the next start removes it".to_owned(),
        ]
    );
    assert!(checked.has_damage() && (checked.files, checked.lines) == (7, 12), "{checked:?}");
    assert_eq!(contents(&world.dir()), before);
}

#[test]
fn what_a_crash_leaves_is_no_damage() {
    let world = World::new();
    world.write("active.ndjson", [&line(1), &line(2)[..20]].concat().as_bytes());
    world.write("tmp-sealed-1.ndjson", b"half");
    let checked = directory(&world).check().unwrap();
    assert!(!checked.has_damage() && checked.problems.len() == 2, "{checked:?}");
}

#[test]
fn a_cursor_that_stands_nowhere_or_has_miscounted_is_found() {
    let world = World::new();
    let outbox = world.open(two_sinks);
    world.enqueue(&outbox, 1..=4);
    let mut kafka = outbox.sink("kafka").unwrap();
    let batch = block_on(kafka.claim()).unwrap();
    block_on(kafka.ack_first(batch, 2)).unwrap();
    drop(kafka);
    outbox.close();
    assert!(!directory(&world).check().unwrap().has_damage());

    // The file is another than the cursor was made for.
    let name = world.names().into_iter().find(|name| name.starts_with("sealed-")).unwrap();
    let content = world.read("sealed-");
    let told = |content: &[u8]| {
        world.write(&name, content);
        let problems = directory(&world).check().unwrap().problems;
        problems.into_iter().map(|problem| problem.kind.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&content[1..])[..1],
        ["the cursor does not stand behind a line; its sink begins the file anew"]
    );
    let split = [b" \n", &content[2..]].concat();
    assert_eq!(told(&split)[..1], ["the cursor says 2 lines and has passed 3"]);
}

/// 6.3: a whole file that the old code put aside is salvaged line by line.
#[test]
fn lines_that_can_be_read_come_back_and_the_others_stay() {
    let world = World::new();
    let whole =
        [&line(1), "{not-json}\r\n", "\r\n", "{\"event\":{\"future\":1},\"seq\":7}\n", line(2).trim_end()]
            .concat();
    world.write(&format!("corrupt-{ID}-sealed-1700000000000000-x.ndjson"), whole.as_bytes());
    let requeued = directory(&world).requeue().unwrap();
    assert_eq!((requeued.files, requeued.events, requeued.left), (1, 3, 1));
    assert_eq!(world.read("corrupt-"), b"{not-json}\r\n");
    // What nobody knows of stays in a line.
    let sealed = [&line(1), "{\"event\":{\"future\":1},\"seq\":7}\n", line(2).trim_end()].concat();
    assert_eq!(String::from_utf8(world.read("sealed-")).unwrap(), sealed);

    // There is nothing more to be had.
    let again = directory(&world).requeue().unwrap();
    assert_eq!((again.files, again.events, again.left), (0, 0, 1));
    assert_eq!(world.count("sealed-"), 1);

    // The event that this version does not know goes back to where it came from, under a name that is no longer.
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1, 2]]);
    outbox.close();
    assert_eq!(directory(&world).requeue().unwrap().events, 1);
    let outbox = world.open(|config| config);
    assert!(world.flush(&outbox).is_empty());
    let longest = world.names().iter().map(String::len).max().unwrap();
    assert!(longest <= "corrupt-".len() + ID.len() + 1 + "sealed-".len() + ID.len() + ".ndjson".len());
}

#[test]
fn a_dead_letter_comes_back_to_the_sink_that_refused_it() {
    let world = World::new();
    let outbox = world.open(two_sinks);
    world.enqueue(&outbox, 1..=4);
    block_on(outbox.sink("webhook").unwrap().flush(&Destination::refusing(3))).unwrap();
    assert_eq!(world.flush_to(&outbox, "kafka"), [vec![1, 2, 3, 4]]);
    outbox.close();
    assert_eq!(directory(&world).requeue().unwrap().events, 1);
    assert_eq!(world.count("dead-"), 0);

    let outbox = world.open(two_sinks);
    assert!(world.flush_to(&outbox, "kafka").is_empty());
    assert_eq!(world.flush_to(&outbox, "webhook"), [vec![3]]);
    let books = block_on(outbox.books()).unwrap();
    assert!(books.balance() && books.sinks.iter().all(|sink| sink.found == 1), "{books:#?}");
    assert_eq!(world.names(), ["LOCK"]);
    outbox.close();

    // Where that sink is no more, it is everybody's.
    world.write(
        &format!("dead-{ID}.ndjson"),
        line(5).replace("}\n", ",\"sink\":\"gone\",\"reason\":\"\"}\n").as_bytes(),
    );
    assert_eq!(directory(&world).requeue().unwrap().events, 1);
    let outbox = world.open(two_sinks);
    assert_eq!([world.flush_to(&outbox, "kafka"), world.flush_to(&outbox, "webhook")], [[[5]], [[5]]]);
}

/// A crash between the new file and the old one.
#[test]
fn what_came_back_and_is_still_where_it_was_does_not_come_back_twice() {
    let world = World::new();
    world.write(&format!("corrupt-{ID}-active.ndjson"), [&line(1), "{not-json}\n"].concat().as_bytes());
    let before = contents(&world.dir());
    directory(&world).requeue().unwrap();
    for (name, content) in before {
        fs::write(name, content).unwrap();
    }
    let requeued = directory(&world).requeue().unwrap();
    assert_eq!((requeued.events, world.count("sealed-")), (1, 1));
    assert_eq!(world.read("corrupt-"), b"{not-json}\n");
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [[1]]);
}

/// P15: whoever owns it is named, and nothing is touched.
#[test]
fn a_directory_in_use_is_not_requeued() {
    let world = World::new();
    world.write(&format!("corrupt-{ID}-active.ndjson"), line(1).as_bytes());
    let _outbox = world.open(|config| config);
    let before = contents(&world.dir());
    let refused = directory(&world).requeue().unwrap_err();
    assert!(matches!(refused, OpenError::Owned { holder: Some(holder) } if holder == std::process::id()));
    assert_eq!(contents(&world.dir()), before);
}

#[test]
fn a_directory_without_anything_aside_is_left_alone() {
    let world = World::new();
    world.write("active.ndjson", line(1).as_bytes());
    assert_eq!(directory(&world).requeue().unwrap(), Requeued::default());
    assert_eq!(world.names(), ["LOCK", "active.ndjson"]);
}
