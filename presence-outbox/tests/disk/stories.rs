//! The outbox as its users see it, on a real disk.

use std::{fs, sync::mpsc, thread, time::Duration};

use futures_executor::block_on;
use presence_outbox::{
    Backoff, DeliveryError, DropReason, EnqueueError, Enqueued, FlushError, Outbox, Signal, SinkName,
    Telemetry, TrackingEvent, WhenFull,
};

use crate::world::{self, Destination, Told, World, line};

/// OB-28.
#[test]
fn a_full_batch_is_sealed_and_the_next_event_begins_a_new_file() {
    let world = World::new();
    let outbox = world.open(|config| config.batch_size(2));
    world.enqueue(&outbox, [1, 2]);
    assert!(!world.has("active.ndjson"));
    assert_eq!(world.count("sealed-"), 1);
    world.enqueue(&outbox, [3]);
    assert!(world.has("active.ndjson"));
    assert_eq!(world.count("sealed-"), 1);
}

/// OB-29.
#[test]
fn an_event_beyond_the_maximum_is_dropped_and_nothing_is_written() {
    let world = World::new();
    let outbox = world.open(|config| config.max_bytes(1));
    let dropped = block_on(outbox.enqueue(&world::event(1))).unwrap();
    assert_eq!(dropped, Enqueued::Dropped { reason: DropReason::MaxBytes });
    assert!(!world.has("active.ndjson"));
    let books = block_on(outbox.books()).unwrap();
    assert_eq!((books.enqueued, books.dropped, books.pending_bytes), (0, 1, 0));
}

/// OB-30.
#[test]
fn a_file_that_is_not_json_is_quarantined_by_a_flush_though_the_destination_is_away() {
    let world = World::new();
    world.write("sealed-1.ndjson", b"{not-json}\n");
    let outbox = world.open(|config| config);
    let mut sink = outbox.sink("default").unwrap();
    let away = Destination::away();
    assert_eq!(block_on(sink.flush(&away)).unwrap(), 0);
    assert_eq!(away.calls(), 0);
    assert_eq!((world.count("sealed-"), world.count("corrupt-")), (0, 1));
    assert_eq!(world.read("corrupt-"), b"{not-json}\n");
}

/// OB-31.
#[test]
fn the_size_of_the_directory_is_what_is_active_and_sealed() {
    let world = World::new();
    world.write("active.ndjson", b"{\"event\":1}\n");
    world.write("sealed-1.ndjson", b"123456");
    world.write("corrupt-1-x-sealed-0.ndjson", b"1234567890");
    world.write("notes.txt", b"1234567890");
    let outbox = Outbox::<u64>::open(world.config());
    let books = block_on(async { outbox.await.unwrap().books().await }).unwrap();
    assert_eq!(books.pending_bytes, 12 + 6);
}

/// OB-2, OB-18.
#[test]
fn a_line_is_an_event_in_an_object() {
    let world = World::new();
    let outbox = world.open(|config| config.checksums(false));
    world.enqueue(&outbox, [1]);
    let expected = concat!(
        r#"{"event":{"event_id":"1","event_key":"login","scope_kind":"app","scope_id":"7","user_id":"u1","#,
        r#""metadata_json":"{}","occurred_at_micros":1}}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(world.read("active.ndjson")).unwrap(), expected);
}

/// OB-3.
#[test]
fn a_disabled_outbox_is_none() {
    let world = World::new();
    let disabled = Outbox::<TrackingEvent>::configured(world.config().enabled(false));
    assert!(block_on(disabled).unwrap().is_none());
    assert!(!world.dir().exists());
    assert!(block_on(Outbox::<TrackingEvent>::configured(world.config())).unwrap().is_some());
}

/// C-1.
#[test]
fn what_a_process_left_is_sealed_at_the_start_and_delivered() {
    let world = World::new();
    world.write("active.ndjson", [line(1), line(2), line(3)].concat().as_bytes());
    let outbox = world.open(|config| config);
    assert_eq!(world.signals(), ["sealed startup"]);
    assert_eq!(world.flush(&outbox), [vec![1, 2, 3]]);
    assert_eq!(world.names(), ["LOCK"]);
    assert_eq!(block_on(outbox.books()).unwrap().pending_bytes, 0);
}

/// C-2.
#[test]
fn an_empty_active_file_is_removed() {
    let world = World::new();
    world.write("active.ndjson", b"");
    let outbox = world.open(|config| config);
    assert_eq!(world.names(), ["LOCK"]);
    assert!(world.flush(&outbox).is_empty());
    assert_eq!(world.signals(), [""; 0]);
}

/// C-3, OB-36.
#[test]
fn a_torn_tail_costs_that_line() {
    let world = World::new();
    let torn = &line(3)[..20];
    world.write("active.ndjson", [&line(1), &line(2), torn].concat().as_bytes());
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1, 2]]);
    assert_eq!(world.read("corrupt-"), torn.as_bytes());
    assert!(
        world.names().iter().any(|name| name.starts_with("corrupt-") && name.ends_with("-active.ndjson"))
    );
}

#[test]
fn zeros_at_the_end_are_no_corruption() {
    let world = World::new();
    world.write("active.ndjson", [line(1).as_bytes(), &[0; 5000]].concat().as_slice());
    world.write("sealed-1.ndjson", [line(0).as_bytes(), &[0; 5000]].concat().as_slice());
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![0], vec![1]]);
    assert_eq!(world.names(), ["LOCK"]);
    assert!(block_on(outbox.books()).unwrap().balance());
}

/// C-4, OB-38.
#[test]
fn a_batch_that_was_not_acknowledged_is_delivered_again() {
    let world = World::new();
    let outbox = world.open(|config| config.batch_size(3));
    world.enqueue(&outbox, [1, 2, 3]);
    let mut sink = outbox.sink("default").unwrap();
    let batch = block_on(sink.claim()).unwrap();
    assert_eq!(world::ids(batch.events()), [1, 2, 3]);
    drop((batch, sink));
    outbox.close();
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1, 2, 3]]);
}

/// C-5, OB-11, OB-14.
#[test]
fn while_the_destination_is_away_files_stay_and_then_go_in_order() {
    let world = World::new();
    let outbox = world.open(|config| config.batch_size(2).backoff(world::NO_WAIT));
    world.enqueue(&outbox, [1, 2, 3, 4, 5, 6]);
    let mut sink = outbox.sink("default").unwrap();
    let away = Destination::away();
    let failed = block_on(sink.flush(&away)).unwrap_err();
    assert!(matches!(failed, FlushError::Delivery(DeliveryError::Retry { .. })));
    assert_eq!((away.calls(), world.count("sealed-")), (1, 3));
    drop(sink);
    assert_eq!(world.flush(&outbox), [vec![1, 2], vec![3, 4], vec![5, 6]]);
}

/// C-6, OB-13, but by lines: a good line beside a bad one is delivered.
#[test]
fn a_bad_line_costs_that_line_and_no_other() {
    let world = World::new();
    world.write("sealed-1.ndjson", line(1).as_bytes());
    world.write("sealed-2.ndjson", [&line(2), "{\"event\":\n", "\n", &line(3)].concat().as_bytes());
    world.write("sealed-3.ndjson", line(4).as_bytes());
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1], vec![2, 3], vec![4]]);
    assert_eq!(world.read("corrupt-"), b"{\"event\":\n");
    let books = block_on(outbox.books()).unwrap();
    assert_eq!((books.corrupt_files, books.pending_bytes), (1, 0));
    let sink = &books.sinks[0];
    assert_eq!((sink.found, sink.delivered, sink.quarantined, sink.blank), (6, 4, 1, 1));
    assert!(books.balance());
}

/// C-7, OB-5.
#[test]
fn as_many_bytes_as_the_maximum_may_wait_and_room_comes_back() {
    let world = World::new();
    let size = line(1).len() as u64;
    let outbox = world.open(|config| config.batch_size(2).checksums(false).max_bytes(2 * size));
    world.enqueue(&outbox, [1, 2]);
    assert!(!block_on(outbox.enqueue(&world::event(3))).unwrap().is_enqueued());
    assert_eq!(world.flush(&outbox), [vec![1, 2]]);
    world.enqueue(&outbox, [4]);
}

#[test]
fn of_many_events_the_first_that_fit_are_kept() {
    let world = World::new();
    let size = line(1).len() as u64;
    let outbox = world.open(|config| config.checksums(false).max_bytes(3 * size + 1));
    let events: Vec<_> = (1..6).map(world::event).collect();
    let many = block_on(outbox.enqueue_many(&events)).unwrap();
    assert_eq!((many.enqueued, many.dropped), (3, 2));
    block_on(outbox.seal()).unwrap();
    assert_eq!(world.flush(&outbox), [vec![1, 2, 3]]);
}

/// C-9, OB-35.
#[test]
fn bytes_that_are_no_text_are_quarantined_and_later_files_delivered() {
    let world = World::new();
    world.write("sealed-1.ndjson", b"{\"event\":\"\xff\"}\n");
    world.write("sealed-2.ndjson", line(1).as_bytes());
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1]]);
    assert_eq!(world.read("corrupt-"), b"{\"event\":\"\xff\"}\n");
}

/// W24: one line can be any length, and what reads it cannot.
#[test]
fn a_line_of_three_megabytes_is_put_aside_as_it_is() {
    let world = World::new();
    let long = format!("{{\"event\":\"{}\"}}\n", "x".repeat(3 << 20));
    world.write("sealed-1.ndjson", [&line(1), long.as_str(), &line(2)].concat().as_bytes());
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1], vec![2]]);
    assert_eq!(world.read("corrupt-"), long.as_bytes());
}

/// W25: a bit that turned inside a string.
#[test]
fn a_turned_bit_is_found() {
    let world = World::new();
    let outbox = world.open(|config| config.batch_size(2));
    world.enqueue(&outbox, [1, 2]);
    outbox.close();
    let name = world.names().into_iter().find(|name| name.starts_with("sealed-")).unwrap();
    let mut bytes = world.read("sealed-");
    let place = bytes.windows(5).position(|part| part == b"login").unwrap();
    bytes[place] ^= 1;
    world.write(&name, &bytes);
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![2]]);
    assert_eq!(world.count("corrupt-"), 1);
}

/// W10.
#[cfg(unix)]
#[test]
fn what_is_no_file_stops_nobody() {
    let world = World::new();
    fs::create_dir_all(world.dir().join("sealed-0.ndjson")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.dir().join("sealed-1.ndjson")).unwrap();
    world.write("sealed-2.ndjson", line(1).as_bytes());
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1]]);
}

/// W29, P17: each sink at its own pace, over a restart too.
#[test]
fn a_sink_that_is_behind_holds_up_no_other() {
    let world = World::new();
    let sink = |name| SinkName::new(name).unwrap();
    let two = |config: presence_outbox::OutboxConfig| {
        config.sink(sink("webhook")).sink(sink("kafka")).batch_size(2)
    };
    let outbox = world.open(two);
    world.enqueue(&outbox, [1, 2, 3, 4]);
    assert_eq!(world.flush_to(&outbox, "webhook"), [vec![1, 2], vec![3, 4]]);
    assert_eq!(world.count("sealed-"), 2);
    outbox.close();
    let outbox = world.open(two);
    assert!(world.flush_to(&outbox, "webhook").is_empty());
    assert_eq!(world.flush_to(&outbox, "kafka"), [vec![1, 2], vec![3, 4]]);
    assert_eq!(world.names(), ["LOCK"]);
}

/// W12, OB-37.
#[test]
fn the_one_event_that_is_refused_is_found_and_becomes_a_dead_letter() {
    let world = World::new();
    let outbox = world.open(|config| config.batch_size(8));
    world.enqueue(&outbox, 1..=8);
    let mut sink = outbox.sink("default").unwrap();
    let picky = Destination::refusing(6);
    assert_eq!(block_on(sink.flush(&picky)).unwrap(), 7);
    assert_eq!(picky.accepted().concat(), [1, 2, 3, 4, 5, 7, 8]);
    let dead: serde_json::Value = serde_json::from_slice(&world.read("dead-")).unwrap();
    assert_eq!((&dead["event"]["event_id"], &dead["reason"]), (&"6".into(), &"not six".into()));
    let books = block_on(outbox.books()).unwrap();
    assert_eq!((books.sinks[0].delivered, books.sinks[0].dead), (7, 1));
    assert!(books.balance());
}

#[test]
fn what_was_accepted_in_part_comes_again_in_part() {
    let world = World::new();
    let outbox = world.open(|config| config.batch_size(4).backoff(world::NO_WAIT));
    world.enqueue(&outbox, 1..=4);
    let mut sink = outbox.sink("default").unwrap();
    let batch = block_on(sink.claim()).unwrap();
    block_on(sink.ack_first(batch, 3)).unwrap();
    drop(sink);
    outbox.close();
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![4]]);
}

/// OB-41: after a failure nothing is given, whoever asks and whatever comes.
#[test]
fn a_sink_that_failed_is_left_alone_for_as_long_as_it_asked() {
    let world = World::new();
    let outbox = world.open(|config| config.batch_size(1));
    world.enqueue(&outbox, [1]);
    let mut sink = outbox.sink("default").unwrap();
    let batch = block_on(sink.claim()).unwrap();
    block_on(sink.nack(batch, DeliveryError::Retry { after: Duration::from_secs(3600) })).unwrap();
    world.enqueue(&outbox, [2]);
    assert!(block_on(sink.try_claim()).unwrap().is_none());
    let books = block_on(outbox.books()).unwrap();
    assert_eq!((books.sinks[0].failures, books.sinks[0].pending), (1, 2));
}

/// OB-10: nobody calls, and it is sealed all the same.
#[test]
fn what_waits_is_sealed_after_the_interval() {
    let world = World::new();
    let outbox = world.open(|config| config.flush_interval(Duration::from_millis(10)));
    let mut sink = outbox.sink("default").unwrap();
    world.enqueue(&outbox, [1]);
    // It waits for the file, not for a time.
    let batch = block_on(sink.claim()).unwrap();
    assert_eq!(world::ids(batch.events()), [1]);
    assert_eq!(world.signals(), ["sealed flush_interval"]);
}

/// OB-39, P15.
#[test]
fn a_directory_has_one_owner() {
    let world = World::new();
    let outbox = world.open(|config| config);
    let second = block_on(Outbox::<TrackingEvent>::open(world.config())).unwrap_err();
    let process = std::process::id().to_string();
    assert!(second.to_string().contains(&process), "{second}");
    let sink = outbox.sink("default").unwrap();
    drop(outbox);
    assert!(block_on(Outbox::<TrackingEvent>::open(world.config())).is_err(), "a sink owns it too");
    drop(sink);
    block_on(Outbox::<TrackingEvent>::open(world.config())).unwrap();
}

/// OB-40: what was answered is sealed, and claims that wait end.
#[test]
fn an_end_in_order_seals_and_lets_everybody_go() {
    let world = World::new();
    let outbox = world.open(|config| config);
    let mut sink = outbox.sink("default").unwrap();
    let waiting = thread::spawn(move || block_on(sink.claim()).map(|batch| world::ids(batch.events())));
    world.enqueue(&outbox, [1]);
    outbox.close();
    // It may have had what the end sealed, which is then not settled.
    assert!(waiting.join().unwrap().is_none_or(|ids| ids == [1]));
    assert!(!world.has("active.ndjson"));
    assert!(block_on(outbox.enqueue(&world::event(2))).is_err());
    let outbox = world.open(|config| config);
    assert_eq!(world.flush(&outbox), [vec![1]]);
}

#[test]
fn a_sink_has_one_user_at_a_time() {
    let world = World::new();
    let outbox = world.open(|config| config);
    let sink = outbox.sink("default").unwrap();
    assert_eq!(outbox.sink("default").unwrap_err().to_string(), "the sink is in use");
    assert_eq!(outbox.sink("other").unwrap_err().to_string(), "there is no sink of this name");
    drop(sink);
    outbox.sink("default").unwrap();
}

#[test]
fn what_is_refused_at_the_door_is_not_written() {
    let world = World::new();
    let outbox = world.open(|config| config.max_event_bytes(300));
    let large = TrackingEvent { metadata_json: "x".repeat(300), ..world::event(1) };
    let refused = block_on(outbox.enqueue(&large)).unwrap_err();
    assert!(refused.to_string().contains("300 are the most") && !refused.is_retryable(), "{refused}");
    assert!(!world.has("active.ndjson"));
}

/// OB-10: for ever, over failures, until the outbox is closed.
#[test]
fn what_is_enqueued_is_delivered_by_whoever_runs() {
    let world = World::new();
    let soon = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(2) };
    let outbox = world.open(|config| config.batch_size(2).backoff(soon));
    let mut sink = outbox.sink("default").unwrap();
    let (tell, told) = mpsc::channel();
    let running = thread::spawn(move || {
        let destination = Destination::failing(3, tell);
        block_on(sink.run(&destination));
        destination.calls()
    });
    world.enqueue(&outbox, 1..=4);
    assert_eq!((told.recv().unwrap(), told.recv().unwrap()), (vec![1, 2], vec![3, 4]));
    outbox.close();
    assert_eq!(running.join().unwrap(), 3 + 2);
    // The end may have come before the last batch was settled.
    let left = world.flush(&world.open(|config| config));
    assert!(left.is_empty() || left == [vec![3, 4]], "{left:?}");
}

/// OB-20 to OB-22.
#[test]
fn whoever_counts_is_told() {
    let world = World::new();
    world.write("sealed-1.ndjson", b"{not-json}\n");
    let size = line(1).len() as u64;
    let outbox = world
        .open(|config| config.batch_size(2).checksums(false).max_bytes(3 * size).backoff(world::NO_WAIT));
    assert_eq!(world.told(), Told { pending_bytes: 11, pending_files: 1, ..Told::default() });
    world.enqueue(&outbox, [1, 2]);
    assert!(!block_on(outbox.enqueue(&world::event(3))).unwrap().is_enqueued());
    let told = world.told();
    assert_eq!((told.enqueued, told.dropped), (2, vec![("max_bytes", 1)]));
    assert_eq!((told.pending_bytes, told.pending_files), (11 + 2 * size, 2));

    let mut sink = outbox.sink("default").unwrap();
    assert!(block_on(sink.flush(&Destination::away())).is_err());
    assert_eq!(block_on(sink.flush(&Destination::refusing(1))).unwrap(), 1);
    let told = world.told();
    assert_eq!((told.pending_bytes, told.pending_files, told.corrupt_lines), (0, 0, 1));
    assert_eq!(told.dead, ["default"]);
    let name = || "default".to_owned();
    let refused = [(name(), 0, 0, true), (name(), 0, 0, true), (name(), 0, 0, true)];
    assert_eq!(told.flushed, [&refused[..], &[(name(), 1, size, false)]].concat());
    assert_eq!(world.signals(), ["sealed batch_size"]);
}

/// W27: a thread that ends by a fault is no silent stall.
#[test]
fn a_listener_that_panics_ends_the_outbox_and_hangs_nobody() {
    struct Panics;
    impl Telemetry for Panics {
        fn tell(&self, signal: &Signal<'_>) {
            assert!(!matches!(signal, Signal::Enqueued { .. }), "on purpose");
        }
    }
    let world = World::new();
    let outbox = world.open(|config| config.telemetry(Panics));
    let mut sink = outbox.sink("default").unwrap();
    let waiting = thread::spawn(move || block_on(sink.claim()).is_none());
    assert!(matches!(block_on(outbox.enqueue(&world::event(1))), Err(EnqueueError::Closed)));
    assert!(waiting.join().unwrap());
    drop(outbox);
    // It was on disk, and it is delivered, though nobody was told so.
    assert_eq!(world.flush(&world.open(|config| config)), [vec![1]]);
}

/// W22.
#[test]
fn what_is_kept_for_people_has_a_cap() {
    let world = World::new();
    for number in 1..=4 {
        world.write(&format!("sealed-{number}.ndjson"), &[&[b'x'; 99][..], b"\n"].concat());
    }
    let outbox = world.open(|config| config.max_kept_bytes(250));
    assert!(world.flush(&outbox).is_empty());
    let books = block_on(outbox.books()).unwrap();
    assert_eq!((books.kept_files, books.kept_bytes, books.removed_files), (2, 200, 2));
    let kept = world.names().into_iter().filter(|name| name.starts_with("corrupt-"));
    assert!(kept.into_iter().all(|name| name.contains("0003-") || name.contains("0004-")));
}

/// P11: on the host's clock, with a file of 2020, one whose name tells no time, and one of now; nobody asks for it.
#[test]
fn what_is_older_than_the_retention_is_removed_and_told() {
    struct Tells(mpsc::Sender<(String, u64)>);
    impl Telemetry for Tells {
        fn tell(&self, signal: &Signal<'_>) {
            if let Signal::Discarded { sink, reason, events } = signal {
                self.0.send((format!("{sink} {}", reason.as_str()), *events)).unwrap();
            }
        }
    }
    let world = World::new();
    world.write("sealed-1600000000000000-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d.ndjson", line(1).as_bytes());
    world.write("sealed-1.ndjson", line(2).as_bytes());
    let (tell, told) = mpsc::channel();
    let soon = Duration::from_millis(10);
    let outbox = world.open(|config| config.retention(soon).batch_size(1).telemetry(Tells(tell)));
    let expired = ("default retention".to_owned(), 1);
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [expired.clone(), expired.clone()]);
    world.enqueue(&outbox, [3]);
    assert_eq!(told.recv().unwrap(), expired);
    assert!(world.flush(&outbox).is_empty());
    let books = block_on(outbox.books()).unwrap();
    assert!(books.balance(), "{books:#?}");
    assert_eq!((books.sinks[0].found, books.enqueued, books.sinks[0].expired), (2, 1, 3));
    assert_eq!(world.names(), ["LOCK"]);
}

#[test]
fn the_oldest_give_way_where_that_is_configured() {
    let world = World::new();
    let size = line(1).len() as u64;
    let outbox = world.open(|config| {
        config.batch_size(1).checksums(false).max_bytes(3 * size).when_full(WhenFull::DropOldest)
    });
    world.enqueue(&outbox, 1..=5);
    assert_eq!(world.flush(&outbox), [[3], [4], [5]]);
    let books = block_on(outbox.books()).unwrap();
    assert_eq!((books.dropped, books.sinks[0].evicted), (0, 2));
    assert_eq!(world.told().discarded, vec![("default".to_owned(), "max_bytes", 1); 2]);
    // One that is larger than all that may wait makes nobody go.
    let large = TrackingEvent { metadata_json: "x".repeat(1000), ..world::event(6) };
    world.enqueue(&outbox, [7]);
    assert!(!block_on(outbox.enqueue(&large)).unwrap().is_enqueued());
    assert_eq!(world.flush(&outbox), [[7]]);
}

/// 410: its events are kept, nobody else is held up, and it goes on when somebody says so, or at the next start.
#[test]
fn a_sink_whose_destination_is_gone_gets_nothing_until_it_is_enabled() {
    let world = World::new();
    let sink = |name| SinkName::new(name).unwrap();
    let two = |config: presence_outbox::OutboxConfig| {
        config.sink(sink("webhook")).sink(sink("kafka")).batch_size(2)
    };
    let outbox = world.open(two);
    world.enqueue(&outbox, 1..=4);
    let mut webhook = outbox.sink("webhook").unwrap();
    let failed = block_on(webhook.flush(&Destination::gone())).unwrap_err();
    assert!(matches!(failed, FlushError::Delivery(DeliveryError::Gone)));
    assert_eq!(world.told().disabled, ["webhook"]);
    assert!(block_on(webhook.try_claim()).unwrap().is_none());
    assert_eq!(world.flush_to(&outbox, "kafka"), [vec![1, 2], vec![3, 4]]);
    let books = block_on(outbox.books()).unwrap();
    assert!(books.sinks[0].is_disabled && !books.sinks[1].is_disabled && books.balance());
    assert_eq!((books.sinks[0].pending, world.count("sealed-")), (4, 2));

    // Whoever waits gets them then.
    let waiting = thread::spawn(move || {
        let batch = block_on(webhook.claim()).unwrap();
        let ids = world::ids(batch.events());
        block_on(webhook.nack(batch, DeliveryError::Gone)).unwrap();
        ids
    });
    block_on(outbox.enable("webhook")).unwrap();
    assert_eq!(waiting.join().unwrap(), [1, 2]);
    assert_eq!(block_on(outbox.enable("nobody")).unwrap_err().to_string(), "there is no sink of this name");
    outbox.close();
    assert_eq!(block_on(outbox.enable("webhook")).unwrap_err().to_string(), "the outbox is closed");
    let outbox = world.open(two);
    assert_eq!(world.flush_to(&outbox, "webhook"), [vec![1, 2], vec![3, 4]]);
}
