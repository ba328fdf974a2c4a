//! A file read line by line, as bytes, in bounded memory.

use std::io;

use crate::fs::File;

/// The longest line that is read: one that is longer cannot hold an event.
pub(crate) const LONGEST: usize = 1 << 20;
/// How much is read at a time, at first; then twice as much each time.
const FIRST: usize = 8 << 10;
/// And at last.
const CHUNK: usize = 128 << 10;

/// The lines of a file from an offset on.
#[derive(Debug)]
pub(crate) struct Lines<'a, H> {
    file: &'a H,
    buffer: Vec<u8>,
    /// The beginning of the next line in the buffer.
    next: usize,
    /// Where in the file the buffer begins.
    base: u64,
    chunk: usize,
    is_at_end: bool,
}

/// One line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) start: u64,
    /// Behind its line feed.
    pub(crate) end: u64,
    /// With its line feed; `None` where it is longer than [`LONGEST`].
    pub(crate) bytes: Option<&'a [u8]>,
    pub(crate) is_terminated: bool,
}

impl<'a, H: File> Lines<'a, H> {
    pub(crate) const fn new(file: &'a H, offset: u64) -> Self {
        Self { file, buffer: Vec::new(), next: 0, base: offset, chunk: FIRST, is_at_end: false }
    }

    /// Where the next line begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.base + self.next as u64
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let start = self.offset();
        let mut searched = self.next;
        loop {
            let unread = self.buffer.get(searched..).unwrap_or_default();
            if let Some(place) = unread.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.line(start, searched + place + 1, true)));
            }
            searched = self.buffer.len();
            if self.is_at_end {
                return Ok((self.next < searched).then(|| self.line(start, searched, false)));
            }
            if searched - self.next > LONGEST {
                return self.skip(start).map(Some);
            }
            let kept = searched - self.next;
            self.fill()?;
            searched = kept;
        }
    }

    fn line(&mut self, start: u64, until: usize, is_terminated: bool) -> Line<'_> {
        let bytes = self.buffer.get(self.next..until);
        self.next = until;
        Line {
            start,
            end: self.base + until as u64,
            bytes: bytes.filter(|bytes| bytes.len() <= LONGEST),
            is_terminated,
        }
    }

    /// Drops what was read, and reads on.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.next);
        self.base += self.next as u64;
        self.next = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + self.chunk, 0);
        let free = self.buffer.get_mut(filled..).unwrap_or_default();
        let read = self.file.read_at(free, self.base + filled as u64);
        self.buffer.truncate(filled + read.as_ref().copied().unwrap_or_default());
        let read = read?;
        self.is_at_end = read == 0 || self.base + (filled + read) as u64 >= self.file.len()?;
        self.chunk = (self.chunk * 2).min(CHUNK);
        Ok(())
    }

    /// Finds the end of a line that is too long, and keeps nothing of it.
    fn skip(&mut self, start: u64) -> io::Result<Line<'_>> {
        loop {
            self.next = self.buffer.len();
            self.fill()?;
            let place = self.buffer.iter().position(|byte| *byte == b'\n');
            if place.is_some() || self.is_at_end {
                self.next = place.map_or(self.buffer.len(), |place| place + 1);
                return Ok(Line { start, end: self.offset(), bytes: None, is_terminated: place.is_some() });
            }
        }
    }
}

/// How many lines a file has; one without a line feed at the end counts too.
pub(crate) fn count<H: File>(file: &H) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(file.len()?).unwrap_or(CHUNK).clamp(1, CHUNK)];
    let (mut offset, mut lines, mut last) = (0, 0, b'\n');
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        let found = buffer.get(..read).unwrap_or_default();
        let Some(&end) = found.last() else { return Ok(lines + u64::from(last != b'\n')) };
        lines += found.iter().filter(|byte| **byte == b'\n').count() as u64;
        last = end;
        offset += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{DiskFs, FileSystem};

    fn read(content: &[u8]) -> Vec<(u64, u64, Option<Vec<u8>>, bool)> {
        let dir = tempfile::tempdir().unwrap();
        let file = DiskFs::open(dir.path()).unwrap().create("a").unwrap();
        file.write_at(content, 0).unwrap();
        let mut lines = Lines::new(&file, 0);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.start, line.end, line.bytes.map(<[u8]>::to_vec), line.is_terminated));
        }
        assert_eq!(lines.offset(), content.len() as u64);
        assert_eq!(count(&file).unwrap(), all.len() as u64);
        all
    }

    #[test]
    fn lines_are_bytes_with_their_places() {
        assert_eq!(read(b""), []);
        assert_eq!(
            read(b"a\n\n\xff\xff\nlast"),
            [
                (0, 2, Some(b"a\n".to_vec()), true),
                (2, 3, Some(b"\n".to_vec()), true),
                (3, 6, Some(b"\xff\xff\n".to_vec()), true),
                (6, 10, Some(b"last".to_vec()), false),
            ]
        );
    }

    #[test]
    fn lines_reach_over_chunks_and_end_at_the_longest() {
        let line = |len: usize| [vec![b'x'; len - 1], vec![b'\n']].concat();
        // What is left of the bytes is their number: a line of a megabyte tells nobody anything.
        let places = |content: &[u8]| -> Vec<_> {
            let lines = read(content).into_iter();
            lines
                .map(|(start, end, bytes, end_found)| (start, end, bytes.map(|bytes| bytes.len()), end_found))
                .collect()
        };
        for len in [
            FIRST - 1,
            FIRST,
            FIRST + 1,
            3 * FIRST,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            LONGEST - 1,
            LONGEST,
            LONGEST + 1,
            LONGEST + CHUNK,
            3 * LONGEST,
        ] {
            let (end, whole) = (len as u64, (len <= LONGEST).then_some(len));
            let content = [line(len), b"end\n".to_vec()].concat();
            assert_eq!(places(&content), [(0, end, whole, true), (end, end + 4, Some(4), true)]);
            let whole = (len - 1 <= LONGEST).then_some(len - 1);
            assert_eq!(places(&content[..len - 1]), [(0, end - 1, whole, false)]);
        }
    }
}
