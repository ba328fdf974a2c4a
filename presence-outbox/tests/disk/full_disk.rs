//! A disk that is really full. As root a small one is mounted for it; elsewhere the simulated disk has to do
//! (`simulation::faults`), and that is said.

use std::{os::unix::fs::MetadataExt, path::Path, process::Command};

use futures_executor::block_on;
use presence_outbox::{EnqueueError, Outbox, OutboxConfig, TrackingEvent};

use crate::world::{Destination, event};

struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn of(path: &'a Path) -> Option<Self> {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(path);
        (is_root && mount.status().is_ok_and(|status| status.success())).then_some(Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0).status().is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_refuses_keeps_what_it_has_and_takes_more_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::of(folder.path()) else {
        return println!("not allowed to mount a small disk: the simulated one is tested alone");
    };
    let config = || OutboxConfig::new(folder.path());
    let open = |config| block_on(Outbox::<TrackingEvent>::open(config)).unwrap();
    // All of this disk is less than the reserve: that is refused before anything is written.
    let outbox = open(config());
    let refused = block_on(outbox.enqueue(&event(1))).unwrap_err();
    assert!(refused.is_retryable() && block_on(outbox.books()).unwrap().is_short_of_space, "{refused}");
    assert!(!folder.path().join("active.ndjson").exists());
    outbox.close();

    let outbox = open(config().reserve_bytes(0));
    let mut sink = outbox.sink("default").unwrap();
    let mut number = 0;
    for _ in 0..3 {
        let first = number;
        let refused = loop {
            // One in many is long, so that the disk is full in the middle of a line.
            let event =
                TrackingEvent { metadata_json: "x".repeat(number as usize * 37 % 5000), ..event(number) };
            match block_on(outbox.enqueue(&event)) {
                Ok(enqueued) => assert!(enqueued.is_enqueued() && number < first + 5000),
                Err(error) => break error,
            }
            number += 1;
        };
        assert!(number > first + 100 && refused.is_retryable(), "{refused}");
        let EnqueueError::Unavailable(cause) = refused else { panic!("{refused}") };
        assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
        assert!(block_on(outbox.books()).unwrap().is_failing);

        // Where the last event did not fit a smaller one may; what was answered goes out, and nothing else.
        drop(block_on(outbox.seal()));
        let glad = Destination::default();
        block_on(sink.flush(&glad)).unwrap();
        block_on(outbox.seal()).unwrap();
        block_on(sink.flush(&glad)).unwrap();
        assert_eq!(glad.accepted().concat(), (first..number).collect::<Vec<_>>());
    }
    let books = block_on(outbox.books()).unwrap();
    assert!(books.balance() && books.pending_bytes == 0 && books.failed == 3, "{books:#?}");
    drop((sink, outbox));
}
