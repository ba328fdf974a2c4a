//! How far a sink has come in a sealed file.

use std::io;

use serde::{Deserialize, Serialize};

use crate::{
    crc32c::crc32c,
    fs::{File, FileSystem, replace},
    segment::SegmentId,
};

/// Everything before `offset`, which is `lines` lines, is settled.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Cursor {
    pub(crate) offset: u64,
    pub(crate) lines: u64,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    #[serde(flatten)]
    cursor: Cursor,
    crc: u32,
}

impl Cursor {
    /// The longest cursor that is read.
    const LONGEST: u64 = 256;

    fn crc(self, segment: SegmentId) -> u32 {
        crc32c(format!("{segment} {} {}", self.offset, self.lines).as_bytes())
    }

    /// Makes it last.
    pub(crate) fn store<F: FileSystem>(self, fs: &F, segment: SegmentId, sink: &str) -> io::Result<()> {
        let text = serde_json::to_vec(&Stored { cursor: self, crc: self.crc(segment) })?;
        replace(fs, &segment.cursor(sink), |file| file.write_at(&text, 0))
    }

    /// Reads one. It counts only if it is whole and stands behind a line of its file; without it the sink begins
    /// anew, which repeats events and loses none.
    pub(crate) fn load<F: FileSystem>(fs: &F, segment: SegmentId, sink: &str) -> io::Result<Option<Self>> {
        let Some(cursor) = Self::read(fs, segment, sink)? else { return Ok(None) };
        Ok(cursor.is_at_line(&fs.open(&segment.sealed())?)?.then_some(cursor))
    }

    /// Reads one that is whole, wherever it stands.
    pub(crate) fn read<F: FileSystem>(fs: &F, segment: SegmentId, sink: &str) -> io::Result<Option<Self>> {
        let mut text = [0; Self::LONGEST as usize];
        let read = fs.open(&segment.cursor(sink))?.read_at(&mut text, 0)?;
        let text = text.get(..read).unwrap_or_default();
        let stored = serde_json::from_slice(text).ok();
        let is_whole = |stored: &Stored| stored.crc == stored.cursor.crc(segment);
        Ok(stored.filter(is_whole).map(|stored| stored.cursor))
    }

    /// Whether it stands behind a line of its file, or at its beginning or end.
    fn is_at_line<H: File>(self, file: &H) -> io::Result<bool> {
        let mut last = [0];
        Ok(match self.offset.checked_sub(1) {
            None => true,
            Some(before) => {
                file.read_at(&mut last, before)? == 1 && (last == *b"\n" || self.offset == file.len()?)
            }
        })
    }
}
