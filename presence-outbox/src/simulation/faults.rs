//! A disk that is full, read-only, or loses what it was told to keep: refusals, nothing answered lost, and an end of
//! it without anybody's help.

use std::{io::ErrorKind, time::Duration};

use super::{
    config,
    crash::Policy,
    disk::{Failing, SimDisk, SimFs},
    life::{NOW, append, drain, later},
    script::{event, parse},
};
use crate::{Durability, fs::FileSystem, random::Random, relay::Failure, writer::Opened};

fn open(disk: &SimDisk, durability: Durability) -> Opened<SimFs> {
    Opened::recover(disk.fs(), config(durability), NOW, 1).expect("a disk that works")
}

/// What is delivered after a power failure.
fn after_power_failure(disk: &SimDisk, durability: Durability) -> Vec<usize> {
    let image = Policy::Drop.image(&disk.state(), &mut Random::new(1));
    drain(&mut open(&SimDisk::of(image), durability), 0)
}

/// C-8, W5: the write stops in the middle of a line.
#[test]
fn a_full_disk_refuses_and_the_next_event_is_on_a_line_of_its_own() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, [0]).unwrap();
    disk.fail(Failing::Full);
    for _ in 0..10 {
        assert_eq!(append(&mut outbox, [7, 8]), Err(ErrorKind::StorageFull));
    }
    let books = outbox.relay.books();
    assert!(books.is_failing && (books.enqueued, books.failed) == (1, 20));
    disk.fail(Failing::Nothing);
    append(&mut outbox, [1]).unwrap();
    assert!(!outbox.relay.books().is_failing);
    assert_eq!(after_power_failure(&disk, Durability::Fsync), [0, 1]);
    outbox.appender.seal(NOW).unwrap();
    assert_eq!(drain(&mut outbox, 0), [0, 1]);
    assert!(disk.listing().keys().all(|name| !name.starts_with("corrupt-")));
}

/// A full disk is emptied by delivering, though nothing can be noted down on it.
#[test]
fn a_full_disk_does_not_stop_what_would_empty_it() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, 0..11).unwrap();
    disk.fail(Failing::Full);
    assert_eq!(drain(&mut outbox, 0), (0..11).collect::<Vec<_>>());
    assert_eq!(drain(&mut outbox, 1), (0..11).collect::<Vec<_>>());
    assert!(disk.listing().is_empty());
    assert!(outbox.relay.books().balance());
}

#[test]
fn a_read_only_disk_refuses_until_it_is_none() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, [0, 1]).unwrap();
    disk.fail(Failing::ReadOnly);
    assert_eq!(append(&mut outbox, [7]), Err(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(outbox.appender.seal(NOW).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    outbox.appender.tick(later(Duration::from_secs(5)));
    disk.fail(Failing::Nothing);
    append(&mut outbox, [2]).unwrap();
    // Nobody asks any more: the time that was put off comes.
    outbox.appender.tick(outbox.appender.deadline().map(later).unwrap());
    assert_eq!(drain(&mut outbox, 0), [0, 1, 2]);
}

/// W6, P14: the one thing that must not follow is an answer that the disk knows nothing of.
#[test]
fn what_a_failed_sync_lost_is_written_to_another_file_before_it_is_answered() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, [0, 1]).unwrap();
    disk.fail(Failing::Syncs(1));
    append(&mut outbox, [2]).unwrap();
    assert_eq!(after_power_failure(&disk, Durability::Fsync), [0, 1, 2]);
    // The file that failed holds what was answered before, and goes its way.
    assert_eq!(disk.listing().keys().filter(|name| name.starts_with("sealed-")).count(), 1);
    outbox.appender.seal(NOW).unwrap();
    assert_eq!(drain(&mut outbox, 0), [0, 1, 2]);
    assert!(outbox.relay.books().balance());
}

/// The same where the events fill a file of their own, whichever sync it is that fails.
#[test]
fn what_a_failed_sync_lost_of_a_whole_file_is_written_to_another() {
    for file_first in [false, true] {
        let disk = SimDisk::new();
        let mut outbox = open(&disk, Durability::Fsync);
        if file_first {
            append(&mut outbox, 0..4).unwrap();
        }
        disk.fail(Failing::Syncs(1));
        append(&mut outbox, 4..8).unwrap();
        disk.fail(Failing::Syncs(usize::MAX));
        assert_eq!(append(&mut outbox, 70..74), Err(ErrorKind::Other));
        disk.fail(Failing::Full);
        assert_eq!(append(&mut outbox, 80..84), Err(ErrorKind::StorageFull));
        disk.fail(Failing::Nothing);
        let expected: Vec<_> = (if file_first { 0 } else { 4 }..8).collect();
        assert_eq!(after_power_failure(&disk, Durability::Fsync), expected);
        assert_eq!(drain(&mut outbox, 0), expected);
        assert!(outbox.relay.books().balance());
        assert!(disk.listing().keys().all(|name| !name.starts_with("tmp-")));
    }
}

#[test]
fn a_disk_that_cannot_sync_refuses_and_works_again_when_it_can() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, [0]).unwrap();
    disk.fail(Failing::Syncs(usize::MAX));
    for _ in 0..5 {
        assert_eq!(append(&mut outbox, [7]), Err(ErrorKind::Other));
    }
    assert_eq!(after_power_failure(&disk, Durability::Fsync), [0]);
    disk.fail(Failing::Nothing);
    append(&mut outbox, [1]).unwrap();
    assert_eq!(after_power_failure(&disk, Durability::Fsync), [0, 1]);
    outbox.appender.seal(NOW).unwrap();
    assert_eq!(drain(&mut outbox, 0), [0, 1]);
}

/// What was answered before it was on disk is still owed to it.
#[test]
fn where_the_system_is_trusted_a_failed_sync_is_made_good_before_anything_else_is_taken() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Process);
    append(&mut outbox, [0]).unwrap();
    assert!(after_power_failure(&disk, Durability::Process).is_empty());
    let at = outbox.appender.deadline().unwrap();
    assert!(at <= Duration::from_millis(200));
    outbox.appender.tick(later(at));
    assert_eq!(drain(&mut outbox, 0), [0], "the interval sealed it");

    append(&mut outbox, [1]).unwrap();
    disk.fail(Failing::Syncs(1));
    let failed_at = outbox.appender.deadline().unwrap();
    outbox.appender.tick(later(failed_at));
    disk.fail(Failing::ReadOnly);
    assert_eq!(append(&mut outbox, [7]), Err(ErrorKind::ReadOnlyFilesystem));
    disk.fail(Failing::Nothing);
    let again = outbox.appender.deadline().unwrap();
    assert!(again > failed_at && again <= failed_at + Duration::from_secs(1));
    outbox.appender.tick(later(again));
    assert_eq!(after_power_failure(&disk, Durability::Process), [1]);
    append(&mut outbox, [2]).unwrap();
    outbox.appender.seal(NOW).unwrap();
    assert_eq!(drain(&mut outbox, 0), [1, 2]);
    assert!(outbox.relay.books().balance());
}

/// What the operating system still had is on disk once the next process is ready.
#[test]
fn what_a_killed_process_left_lasts_once_it_is_recovered() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Process);
    append(&mut outbox, [0]).unwrap();
    drop(outbox);
    let _next = open(&disk, Durability::Process);
    assert_eq!(after_power_failure(&disk, Durability::Process), [0]);
}

/// O10: what cannot be read now holds up nothing else.
#[test]
fn a_file_that_is_gone_holds_up_no_other() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, 0..4).unwrap();
    append(&mut outbox, 4..8).unwrap();
    let first = disk.listing().into_keys().next().unwrap();
    disk.fs().rename(&first, "elsewhere").unwrap();
    let claim = outbox.relay.claim(0, NOW, parse).unwrap();
    assert_eq!(claim.events[0].id, 4);
    assert!(outbox.relay.ack(0, claim.id, 4, NOW));
    assert!(outbox.relay.claim(0, NOW, parse).is_none());
    disk.fs().rename("elsewhere", &first).unwrap();
    let again = outbox.relay.claim_at(0, NOW).unwrap();
    assert_eq!(outbox.relay.claim(0, later(again), parse).unwrap().events[0].id, 0);
}

/// A dead letter is told once, whatever happens between the telling and the cursor.
#[test]
fn a_dead_letter_is_not_written_twice() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, 0..4).unwrap();
    let refuse_first = |outbox: &mut Opened<SimFs>| {
        let mut dead = 0;
        while dead == 0 {
            let claim = outbox.relay.claim(0, later(Duration::from_secs(600)), parse).unwrap();
            assert_eq!(claim.events[0].id, 0);
            let refused = Failure::Refused("no\n\"really\"".to_owned());
            assert!(outbox.relay.nack(0, claim.id, refused, NOW));
            dead = outbox.relay.books().sinks[0].dead;
        }
    };
    let letters = |disk: &SimDisk| {
        let listing = disk.listing();
        let (_, content) = listing.iter().find(|(name, _)| name.starts_with("dead-")).unwrap();
        String::from_utf8(content.clone()).unwrap()
    };
    let before = disk.state();
    refuse_first(&mut outbox);
    let told = letters(&disk);
    assert_eq!(told.lines().count(), 1);
    assert!(told.contains(r#""reason":"no\n\"really\"""#) && told.contains(r#""offset":0"#));

    // The machine stops when the letter is written and the cursor is not.
    let halted = SimDisk::of(before);
    halted.put(disk.listing().keys().find(|name| name.starts_with("dead-")).unwrap(), told.as_bytes());
    let mut outbox = open(&halted, Durability::Fsync);
    refuse_first(&mut outbox);
    assert_eq!(letters(&halted), told);
    assert_eq!(drain(&mut outbox, 0), [1, 2, 3]);
}

/// What could not be forgotten is still there as a whole, and is asked for again.
#[test]
fn an_erasure_that_the_disk_refuses_changes_nothing_of_that_file() {
    let disk = SimDisk::new();
    let mut outbox = open(&disk, Durability::Fsync);
    append(&mut outbox, 0..4).unwrap();
    let is_own = |line: &[u8]| event(line).is_some_and(|event| event.id == 2);
    let before = disk.listing();
    for failing in [Failing::Full, Failing::ReadOnly] {
        disk.fail(failing);
        outbox.relay.erase(&is_own).unwrap_err();
        disk.fail(Failing::Nothing);
        let mut left = disk.listing();
        left.retain(|name, _| !name.starts_with("tmp-"));
        assert_eq!(left, before);
    }
    assert_eq!(outbox.relay.erase(&is_own).unwrap().waiting, 1);
    assert_eq!(after_power_failure(&disk, Durability::Fsync), [0, 1, 3]);
    assert_eq!(drain(&mut outbox, 0), [0, 1, 3]);
}
