//! What was put aside, brought back: dead letters, and lines that could not be read and now can.

use std::io;

use crate::{
    fs::{FileSystem, remove_if_there},
    host::Now,
    ledger::Ledger,
    lines::Lines,
    quarantine::copy_lines,
    random::Random,
    record::{Record, decode},
    recovery::fingerprint,
    segment::{Name, SegmentId, mixed},
};

/// What was brought back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Requeued {
    /// `corrupt-*` and `dead-*` files that something was brought back from.
    pub files: u64,
    /// Events that are in sealed files again.
    pub events: u64,
    /// Lines that no event can be read from, in files that stay.
    pub left: u64,
}

/// Brings back what can be read, file by file, each as a sealed file of its own; what cannot stays where it is.
///
/// The new file lasts before the old one is changed, and its name follows from what the old one is and has. So a crash
/// between the two is found out by the next attempt, which writes nothing twice.
pub(crate) fn requeue<F: FileSystem>(fs: &F, now: Now) -> io::Result<Requeued> {
    let mut entries = fs.entries()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = entries.iter().map(|entry| Name::of(&entry.name)).collect();
    let mut ledger = Ledger::new(names.iter().map(Name::micros).max().unwrap_or_default());
    let mut done = Requeued::default();
    for (entry, name) in entries.iter().zip(&names) {
        if !matches!(name, Name::Corrupt { .. } | Name::Dead(_)) {
            continue;
        }
        let file = fs.open(&entry.name)?;
        let Some(bits) = fingerprint(&file, 0)? else { continue };
        let (mut events, mut left, mut lines) = (0, 0, Lines::new(&file, 0));
        while let Some(line) = lines.next()? {
            events += u64::from(is_event(line.bytes));
            left += u64::from(is_left(line.bytes));
        }
        done.left += left;
        if events == 0 {
            continue;
        }
        let bits = mixed(bits, &entry.name);
        let mut known = names.iter().filter_map(|name| match name {
            Name::Sealed(id) => Some(*id),
            _ => None,
        });
        if !known.any(|id| id == SegmentId::new(id.micros, bits)) {
            // The clock decides how long it waits for its sinks, so it is a file of now.
            let id = SegmentId::new(ledger.next_id(now, &mut Random::new(0)).micros, bits);
            copy_lines(fs, &id.sealed(), &file, 0, is_event)?;
        }
        if left == 0 {
            remove_if_there(fs, &entry.name)?;
            fs.sync()?;
        } else {
            copy_lines(fs, &entry.name, &file, 0, is_left)?;
        }
        (done.files, done.events) = (done.files + 1, done.events + events);
    }
    Ok(done)
}

fn is_event(line: Option<&[u8]>) -> bool {
    line.is_some_and(|line| matches!(decode(line), Record::Event(_)))
}

/// One that is too long to be read stays too.
fn is_left(line: Option<&[u8]>) -> bool {
    line.is_none_or(|line| decode(line) == Record::Bad)
}
