//! What an earlier process left, made whole: before anything is accepted, and without reading what is sealed.
//!
//! Each step leaves a directory in which the next start takes the same steps, so a crash in here is like one before.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use crate::{
    OutboxConfig, SealReason, Signal,
    crc32c::crc32c,
    cursor::Cursor,
    fs::{Entry, File, FileSystem, remove_if_there, replace},
    host::Now,
    kept::Kept,
    ledger::{Ledger, Segment, expiry},
    lines::Lines,
    quarantine::copy_range,
    random::Random,
    record::{Record, decode},
    segment::{ACTIVE, Name, SegmentId},
    telemetry::Telemetry,
};

/// What is in a directory once it is whole.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) ledger: Ledger,
    pub(crate) kept: Kept,
    /// How far each sink has come, in the order of the configuration.
    pub(crate) cursors: Vec<BTreeMap<SegmentId, Cursor>>,
}

pub(crate) fn recover<F: FileSystem>(
    fs: &F,
    config: &OutboxConfig,
    now: Now,
    random: &mut Random,
) -> io::Result<Recovered> {
    let entries = fs.entries()?;
    let last_micros = entries.iter().map(|entry| Name::of(&entry.name).micros()).max().unwrap_or_default();
    let (mut segments, mut kept) = (BTreeMap::new(), Kept::default());
    let mut elsewhere = Vec::new();
    for Entry { name, len } in &entries {
        match Name::of(name) {
            Name::Temporary => remove_if_there(fs, name)?,
            Name::Sealed(id) => drop(segments.insert(id, found(*len))),
            Name::SealedElsewhere(micros) => elsewhere.push((micros, name, *len)),
            named @ (Name::Corrupt { .. } | Name::Dead(_)) => kept.put(named.micros(), name.clone(), *len),
            Name::Active | Name::Cursor { .. } | Name::Foreign => {}
        }
    }
    elsewhere.sort();
    let mut last = None;
    for (micros, name, bytes) in elsewhere {
        // From here on every sealed file has an id of its own.
        let micros = last.map_or(micros, |last: u64| micros.max(last + 1));
        last = Some(micros);
        let id = SegmentId::new(micros, random.uuid());
        fs.rename(name, &id.sealed())?;
        segments.insert(id, found(bytes));
    }
    if last.is_some() {
        fs.sync()?;
    }
    let mut ledger = Ledger::new(last_micros.max(last.unwrap_or_default()));
    if entries.iter().any(|entry| entry.name == ACTIVE)
        && let Some((id, segment)) = settle_active(fs, &mut ledger, &mut kept, now, random, config)?
    {
        segments.insert(id, segment);
    }
    let mut last = Duration::ZERO;
    for (id, segment) in &mut segments {
        // None before an older one, whatever their names say.
        last = last.max(expiry(id.micros, now, config.retention));
        segment.expires_at = last;
    }
    let ledger = ledger.with(segments);
    let cursors = load_cursors(fs, config, &entries, &ledger)?;
    Ok(Recovered { ledger, kept, cursors })
}

/// A file that nobody has looked into.
const fn found(bytes: u64) -> Segment {
    Segment::new(bytes, 0, None, Duration::MAX)
}

/// Seals the file that was being written, up to its last whole event; what is behind that goes to quarantine, unless
/// it is nothing but zeros.
fn settle_active<F: FileSystem>(
    fs: &F,
    ledger: &mut Ledger,
    kept: &mut Kept,
    now: Now,
    random: &mut Random,
    config: &OutboxConfig,
) -> io::Result<Option<(SegmentId, Segment)>> {
    let file = fs.open(ACTIVE)?;
    let mut lines = Lines::new(&file, 0);
    let (mut count, mut good) = (0, Cursor::default());
    while let Some(line) = lines.next()? {
        count += 1;
        let is_event = |bytes| matches!(decode(bytes), Record::Event(_));
        if line.is_terminated && line.bytes.is_some_and(is_event) {
            good = Cursor { offset: line.end, lines: count };
        }
    }
    let end = lines.offset();
    if good.offset < end {
        if let Some(bits) = fingerprint(&file, good.offset)? {
            let id = match kept.find(ACTIVE, bits) {
                Some(id) => id,
                None => SegmentId::new(ledger.next_id(now, random).micros, bits),
            };
            let name = id.corrupt(ACTIVE);
            replace(fs, &name, |copy| copy_range(&file, good.offset, end, copy, 0))?;
            kept.put(id.micros, name.clone(), end - good.offset);
            config.telemetry.tell(&Signal::CorruptFile { lines: count - good.lines });
            for bytes in kept.shrink(fs, config.max_kept_bytes, &name)? {
                config.telemetry.tell(&Signal::KeptFileRemoved { bytes });
            }
        }
        file.set_len(good.offset)?;
    }
    if good.offset == 0 {
        fs.remove(ACTIVE)?;
        fs.sync()?;
        return Ok(None);
    }
    // An earlier process may have ended before it did.
    file.sync()?;
    let id = ledger.next_id(now, random);
    fs.rename(ACTIVE, &id.sealed())?;
    fs.sync()?;
    config.telemetry.tell(&Signal::Sealed { reason: SealReason::Startup });
    Ok(Some((id, Segment { lines: Some(good.lines), ..found(good.offset) })))
}

/// A number of what is in a file from `offset` on, so that the same rest gets the same name; `None` if there is
/// nothing in it but white space and zeros.
pub(crate) fn fingerprint<H: File>(file: &H, offset: u64) -> io::Result<Option<u128>> {
    let (mut at, mut piece) = (offset, vec![0; 64 << 10]);
    let (mut mixed, mut has_content) = (Random::new(offset), false);
    loop {
        let read = file.read_at(&mut piece, at)?;
        let found = piece.get(..read).unwrap_or_default();
        if found.is_empty() {
            return Ok(has_content.then(|| mixed.uuid()));
        }
        has_content |= found.iter().any(|byte| *byte != 0 && !byte.is_ascii_whitespace());
        mixed = Random::new(mixed.number() ^ u64::from(crc32c(found)) ^ ((read as u64) << 32));
        at += read as u64;
    }
}

/// Reads how far each sink has come; removes what is said of files that are gone.
fn load_cursors<F: FileSystem>(
    fs: &F,
    config: &OutboxConfig,
    entries: &[Entry],
    ledger: &Ledger,
) -> io::Result<Vec<BTreeMap<SegmentId, Cursor>>> {
    let mut cursors = vec![BTreeMap::new(); config.sinks.len()];
    let mut gone = BTreeSet::new();
    for Entry { name, .. } in entries {
        let Name::Cursor { segment, sink } = Name::of(name) else { continue };
        if !ledger.segments.contains_key(&segment) {
            gone.insert(name);
            continue;
        }
        let place = config.sinks.iter().position(|known| known.as_str() == sink);
        if let Some(own) = place.and_then(|place| cursors.get_mut(place))
            // One that cannot be read is none.
            && let Ok(Some(cursor)) = Cursor::load(fs, segment, sink)
        {
            own.insert(segment, cursor);
        }
    }
    for name in gone {
        remove_if_there(fs, name)?;
    }
    Ok(cursors)
}
