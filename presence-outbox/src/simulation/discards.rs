//! Files that go before everybody had them: their time is over, or newer events need the room.

use std::time::Duration;

use super::{
    config,
    disk::{SimDisk, SimFs},
    life::{self, NOW, append, drain, later},
    script::parse,
};
use crate::{Durability, OutboxConfig, WhenFull, host::Now, relay::Failure, writer::Opened};

const HOUR: Duration = Duration::from_secs(3600);

fn open(disk: &SimDisk, change: impl FnOnce(OutboxConfig) -> OutboxConfig, now: Now) -> Opened<SimFs> {
    Opened::recover(disk.fs(), change(config(Durability::Fsync)), now, 1).unwrap()
}

fn expired(outbox: &Opened<SimFs>) -> [u64; 2] {
    let books = outbox.relay.books();
    assert!(books.balance(), "{books:#?}");
    [0, 1].map(|sink| books.sinks[sink].expired)
}

/// W22, P11: what nobody came for goes, and is counted for each who missed it.
#[test]
fn what_waited_longer_than_files_are_kept_goes_and_is_counted() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, |config| config.retention(HOUR), NOW);
    append(&mut outbox, 0..4).unwrap();
    let claim = outbox.relay.claim(0, NOW, parse).unwrap();
    assert!(outbox.relay.ack(0, claim.id, 3, NOW));
    assert_eq!(outbox.relay.maintain_at(), Some(HOUR));

    let nearly = later(HOUR - Duration::from_micros(1));
    assert!(!outbox.relay.maintain(nearly));
    assert_eq!(expired(&outbox), [0, 0]);
    outbox.relay.maintain(later(HOUR));
    assert_eq!(expired(&outbox), [1, 4]);
    assert!(disk.listing().is_empty() && outbox.relay.books().pending_bytes == 0);
    assert!(drain(&mut outbox, 1).is_empty());
}

#[test]
fn a_batch_that_is_out_is_not_taken_away() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, |config| config.retention(HOUR), NOW);
    append(&mut outbox, 0..4).unwrap();
    append(&mut outbox, 4..8).unwrap();
    let claim = outbox.relay.claim(0, NOW, parse).unwrap();
    while outbox.relay.maintain(later(HOUR)) {}
    assert_eq!(expired(&outbox), [4, 4], "the other file");
    assert_eq!(outbox.relay.maintain_at(), None, "nothing to be done until it is settled");
    assert!(outbox.relay.ack(0, claim.id, 2, later(HOUR)));
    outbox.relay.maintain(later(HOUR));
    assert_eq!(expired(&outbox), [6, 8]);
    assert!(outbox.relay.claim(1, later(HOUR), parse).is_none());
}

/// P8: a clock that steps is no reason to throw anything away.
#[test]
fn the_clock_on_the_wall_is_asked_at_the_start_alone() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, |config| config.retention(HOUR), NOW);
    append(&mut outbox, 0..4).unwrap();
    let stepped = Now { micros: NOW.micros * 2, ..NOW };
    assert!(!outbox.relay.maintain(stepped));
    assert_eq!(expired(&outbox), [0, 0]);

    // The next process knows no better. What was half of its time there waits for the other half.
    let half = Now { micros: NOW.micros + 1_800_000_000, ..NOW };
    let outbox = open(&disk, |config| config.retention(HOUR), half);
    assert_eq!(outbox.relay.maintain_at(), Some(HOUR / 2));
    let mut outbox = open(&disk, |config| config.retention(HOUR), stepped);
    outbox.relay.maintain(stepped);
    assert_eq!(expired(&outbox), [4, 4]);
}

#[test]
fn a_name_that_tells_no_time_counts_as_new_and_so_does_what_follows_it() {
    let disk = SimDisk::new();
    append(&mut open(&disk, |config| config, NOW), 4..8).unwrap();
    disk.put("sealed-1.ndjson", b"{\"event\":{\"id\":0,\"text\":\"\"}}\n");
    let next_day = Now { micros: NOW.micros + 86_400_000_000, ..NOW };
    let mut outbox = open(&disk, |config| config.retention(HOUR), next_day);
    while outbox.relay.maintain(next_day) {}
    assert_eq!(outbox.relay.maintain_at(), Some(HOUR));
    assert_eq!(drain(&mut outbox, 0), [0, 4, 5, 6, 7]);
    let mut outbox = open(&disk, |config| config.retention(Duration::MAX), next_day);
    assert_eq!(outbox.relay.maintain_at(), None, "for ever");
    assert_eq!(drain(&mut outbox, 1), [0, 4, 5, 6, 7]);
}

/// A refusal counts against the event that was refused.
#[test]
fn the_event_behind_a_file_that_went_is_judged_by_itself() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, |config| config.retention(HOUR).batch_size(1), NOW);
    append(&mut outbox, [0]).unwrap();
    let refused = || Failure::Refused("no".to_owned());
    let claim = outbox.relay.claim(0, NOW, parse).unwrap();
    assert!(outbox.relay.nack(0, claim.id, refused(), NOW));
    outbox.relay.maintain(later(HOUR));
    assert!(outbox.appender.append(&[&life::encoded([1])], later(HOUR))[0].is_ok());
    let claim = outbox.relay.claim(0, later(HOUR * 3 / 2), parse).unwrap();
    assert!(outbox.relay.nack(0, claim.id, refused(), later(HOUR * 3 / 2)));
    assert_eq!((expired(&outbox), outbox.relay.books().sinks[0].dead), ([1, 1], 0));
}

#[test]
fn the_oldest_make_room_where_that_is_asked_for() {
    let disk = SimDisk::new();
    let size = life::encoded([0, 1, 2, 3]).bytes.len() as u64;
    let full = |config: OutboxConfig| config.max_bytes(2 * size).when_full(WhenFull::DropOldest);
    let mut outbox = open(&disk, full, NOW);
    let of = |ids: [usize; 4]| ids.map(|id| id * 130); // all of one length but for the digits
    for ids in [of([0, 1, 2, 3]), of([0, 1, 2, 3]), of([0, 1, 2, 3])] {
        append(&mut outbox, ids).unwrap();
    }
    let books = outbox.relay.books();
    assert!(books.pending_bytes <= 2 * size && books.dropped == 0, "{books:#?}");
    assert!(books.balance() && books.pending_files == 3, "not removed yet, and given to nobody");
    while outbox.relay.maintain(NOW) {}
    let books = outbox.relay.books();
    assert!(books.balance(), "{books:#?}");
    assert_eq!([books.sinks[0].evicted, books.sinks[1].evicted], [4, 4]);
    assert_eq!(drain(&mut outbox, 0).len(), 8);

    // What would not fit into an empty directory evicts nobody.
    append(&mut outbox, (0..40).map(|id| id * 130)).unwrap();
    let books = outbox.relay.books();
    assert!(books.dropped > 0 && books.pending_bytes <= 2 * size, "{books:#?}");
}

/// S41: the reserve is not for events; whoever asks is told, and it is over by itself.
#[test]
fn the_reserve_of_the_disk_is_left_alone() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, |config| config.reserve_bytes(1000), NOW);
    append(&mut outbox, 0..4).unwrap();
    let line = life::encoded([4]).bytes.len() as u64;
    disk.tell_free(999 + line);
    assert_eq!(append(&mut outbox, [4]), Err(std::io::ErrorKind::StorageFull));
    disk.tell_free(999);
    assert_eq!(append(&mut outbox, [4]), Err(std::io::ErrorKind::StorageFull));
    let books = outbox.relay.books();
    assert!(books.is_short_of_space && !books.is_failing);
    assert_eq!((books.enqueued, books.failed, books.dropped), (4, 2, 0));
    // Delivering goes on, which is what makes room.
    assert_eq!(drain(&mut outbox, 0), [0, 1, 2, 3]);
    disk.tell_free(1000 + line);
    assert!(!outbox.relay.books().is_short_of_space, "nobody had to ask for it");
    append(&mut outbox, [4]).unwrap();
    outbox.appender.seal(NOW).unwrap();
    assert_eq!(drain(&mut outbox, 0), [4]);
}
