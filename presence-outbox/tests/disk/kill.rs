//! C-10: a process is killed while it enqueues, again and again; everything that it said was enqueued is delivered.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use futures_executor::block_on;
use presence_outbox::{Outbox, OutboxConfig, TrackingEvent};

use crate::world::{World, event};

const DIR: &str = "PRESENCE_OUTBOX_TEST_DIR";
const KILLS: u64 = 12;
/// A process numbers its events from its own number on, times this.
const NUMBERS: u64 = 1_000_000;

/// Not a test of its own: what the other one starts and kills.
#[test]
fn a_process_that_enqueues() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let (dir, first) = dir.split_once('\n').unwrap();
    let outbox = block_on(Outbox::<TrackingEvent>::open(OutboxConfig::new(dir).batch_size(20))).unwrap();
    for number in first.parse::<u64>().unwrap().. {
        assert!(block_on(outbox.enqueue(&event(number))).unwrap().is_enqueued());
        println!("enqueued {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn what_a_killed_process_said_was_enqueued_is_delivered() {
    let world = World::new();
    let mut said = BTreeSet::new();
    for kill in 1..=KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::a_process_that_enqueues", "--nocapture", "--test-threads", "1"])
            .env(DIR, format!("{}\n{}", world.dir().display(), kill * NUMBERS))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut numbers =
            lines.by_ref().filter_map(|line| line.unwrap().split_once("enqueued ")?.1.parse::<u64>().ok());
        // Somewhere, which is another place each time.
        said.extend(numbers.by_ref().take(usize::try_from(kill * 37).unwrap()));
        child.kill().unwrap();
        said.extend(numbers);
        child.wait().unwrap();
    }
    assert!(said.len() as u64 >= (1..=KILLS).map(|kill| kill * 37).sum());

    let outbox = world.open(|config| config);
    let delivered = world.flush(&outbox).concat();
    let distinct: BTreeSet<_> = delivered.iter().copied().collect();
    assert!(delivered.is_sorted() && distinct.len() == delivered.len(), "in order, and each once");
    assert!(said.is_subset(&distinct), "lost: {:?}", said.difference(&distinct).collect::<Vec<_>>());
    // Of each process at most the one event whose answer it did not live to tell is there too.
    assert!((distinct.len() - said.len()) as u64 <= KILLS);
    assert!(block_on(outbox.books()).unwrap().balance());
}
