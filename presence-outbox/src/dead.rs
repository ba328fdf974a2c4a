//! Dead letters: what a sink refused for good, and why.

use std::{io, ops::Range};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    SinkName,
    fs::{File, FileSystem},
    lines::Lines,
    record::{Record, decode},
    segment::SegmentId,
};

/// The most characters of a reason that are kept.
const REASON: usize = 512;

/// Who refused which event.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    pub(crate) sink: &'a SinkName,
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) reason: &'a str,
}

/// A line of a `dead-*` file. With its member `event` it is a line of an outbox too.
#[derive(Serialize)]
struct Line<'a> {
    event: &'a RawValue,
    sink: &'a str,
    reason: String,
    from: String,
    offset: u64,
}

#[derive(Deserialize)]
struct Place {
    offset: u64,
}

/// What a dead letter says of its event.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Letter {
    pub(crate) sink: String,
    pub(crate) reason: String,
}

/// Appends the event in `file` at `place` to the dead letters in the file `name`, unless it is there already, and says
/// how many bytes that file has then. It lasts once this is answered.
pub(crate) fn bury<F: FileSystem>(
    fs: &F,
    name: &str,
    file: &F::File,
    place: Range<u64>,
    refusal: &Refusal<'_>,
) -> io::Result<u64> {
    let mut lines = Lines::new(file, place.start);
    let line = lines.next()?.and_then(|line| line.bytes).unwrap_or_default();
    let Record::Event(event) = decode(line) else { return Err(io::ErrorKind::InvalidData.into()) };
    let line = Line {
        event: serde_json::from_str(event)?,
        sink: refusal.sink.as_str(),
        reason: refusal.reason.chars().take(REASON).collect(),
        from: refusal.segment.sealed(),
        offset: refusal.offset,
    };
    let mut text = serde_json::to_vec(&line)?;
    text.push(b'\n');

    let letters = match fs.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs.create(name)?,
        opened => opened?,
    };
    let mut end = 0;
    let mut written = Lines::new(&letters, 0);
    while let Some(line) = written.next()? {
        let known = line.bytes.and_then(|bytes| serde_json::from_slice::<Place>(bytes).ok());
        match known {
            // An earlier attempt came as far; whether it lasts is not known.
            Some(Place { offset }) if offset == refusal.offset && line.is_terminated => {
                let (start, line) = (line.start, line.bytes.unwrap_or_default().to_vec());
                letters.write_at(&line, start)?;
                letters.sync()?;
                fs.sync()?;
                return letters.len();
            }
            _ if line.is_terminated => end = line.end,
            // What a crash left of a line.
            _ => {}
        }
    }
    letters.set_len(end)?;
    letters.write_at(&text, end)?;
    letters.sync()?;
    fs.sync()?;
    Ok(end + text.len() as u64)
}
