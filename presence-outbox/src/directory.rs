//! A directory as somebody sees it from outside: what is in it, what is wrong with it, and what was put aside brought
//! back.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    LineFault, OpenError, Requeued,
    cursor::Cursor,
    dead::Letter,
    fs::{DiskFs, Entry, File, FileSystem},
    fsck::{self, Checked},
    host::HostClock,
    lines::Lines,
    record::{Record, decode, fault},
    requeue::requeue,
    segment::{LOCK, Name},
    writer::own,
};

/// The directory of an outbox, looked at from outside: by hand, or by a tool.
///
/// ```
/// use presence_outbox::{Directory, FileKind, Outbox, OutboxConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("outbox");
/// # futures_executor::block_on(async {
/// let outbox = Outbox::<String>::open(OutboxConfig::new(&path)).await?;
/// assert!(outbox.enqueue(&"hello".to_owned()).await?.is_enqueued());
///
/// let directory = Directory::open(&path)?;
/// let [active] = &directory.list()?[..] else { panic!("one file") };
/// assert_eq!((active.kind, active.events), (FileKind::Active, 1));
/// assert!(!directory.check()?.has_damage());
/// // Only its owner may change it.
/// assert!(directory.requeue().is_err());
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    fs: DiskFs,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum FileKind {
    /// It is being written.
    Active,
    /// It waits to be delivered.
    Sealed,
    /// Lines that could not be read.
    Corrupt,
    /// Events that a sink refused for good.
    Dead,
    /// How far a sink has come in a file that is gone. The next start removes it.
    Cursor,
    /// It was never finished. The next start removes it.
    Temporary,
    /// It is nobody's here.
    Foreign,
}

impl FileKind {
    /// As it is shown: `active`, `sealed`, `corrupt`, `dead`, `cursor`, `temporary` or `foreign`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Sealed => "sealed",
            Self::Corrupt => "corrupt",
            Self::Dead => "dead",
            Self::Cursor => "cursor",
            Self::Temporary => "temporary",
            Self::Foreign => "foreign",
        }
    }
}

/// A file of a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: FileKind,
    /// How long it is.
    pub bytes: u64,
    /// Lines with an event.
    pub events: u64,
    /// Lines that no event can be read from.
    pub bad: u64,
    /// When it was sealed, in microseconds since 1970, as its name says; of `corrupt-*` and `dead-*` files, when the
    /// file was that the lines are from.
    pub sealed_micros: Option<u64>,
    /// The least and the greatest member `occurred_at_micros` of its events, where they have one.
    pub occurred_micros: Option<(i64, i64)>,
    /// How far each sink has come, by name; a sink that is not named has not begun, or begins anew.
    pub cursors: Vec<StoredCursor>,
    /// Of a `dead-*` file: who refused events, and why.
    pub refusals: Vec<Refused>,
}

/// How far a sink has come in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoredCursor {
    /// Which sink.
    pub sink: String,
    /// How many lines it is done with.
    pub lines: u64,
}

/// Events that were refused for one reason.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refused {
    /// By whom.
    pub sink: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub events: u64,
}

#[derive(Deserialize)]
struct Occurred {
    occurred_at_micros: i64,
}

impl Directory {
    /// The directory at `path`, which has to be there. Nothing in it is changed.
    ///
    /// # Errors
    ///
    /// It cannot be read, or everybody may write in it.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self { fs: DiskFs::look_at(&path)?, path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it, oldest first within each kind. Every line is read. Its owner may go on meanwhile: files that are
    /// gone before they were read are left out.
    ///
    /// # Errors
    ///
    /// The directory, or a file of ours, cannot be read.
    pub fn list(&self) -> io::Result<Vec<StoredFile>> {
        let mut entries = self.fs.entries()?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut files = Vec::new();
        for entry in entries.iter().filter(|entry| entry.name != LOCK) {
            match self.look(entry, &entries) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => files.extend(file?),
            }
        }
        files.sort_by_key(|file| file.kind);
        Ok(files)
    }

    /// Reads every line and cursor, and says what is wrong. Nothing is changed. Its owner may go on meanwhile; what it
    /// is just writing is then told as unfinished.
    ///
    /// # Errors
    ///
    /// The directory cannot be read. A file that cannot be is one of the problems.
    pub fn check(&self) -> io::Result<Checked> {
        fsck::check(&self.fs)
    }

    /// Puts dead letters, and lines of `corrupt-*` files that can be read by now, back into sealed files; what cannot be
    /// read stays. A dead letter is for the sink that refused it and for no other. What is brought back counts as new:
    /// it waits behind all other events, and as long as those may. Whether more waits then than may is not looked at.
    ///
    /// # Errors
    ///
    /// Somebody owns the directory, and nothing was changed; or the disk failed, and the next attempt goes on. No event
    /// is lost; after a crash one that was delivered meanwhile may be brought back again.
    pub fn requeue(&self) -> Result<Requeued, OpenError> {
        let (fs, lock) = own(&self.path)?;
        let requeued = requeue(&fs, HostClock::start().now());
        drop(lock);
        requeued.map_err(|source| OpenError::Io { dir: self.path.clone(), source })
    }

    fn look(&self, entry: &Entry, entries: &[Entry]) -> io::Result<Option<StoredFile>> {
        let name = Name::of(&entry.name);
        let kind = match name {
            Name::Active => FileKind::Active,
            Name::Sealed(_) | Name::SealedElsewhere(_) => FileKind::Sealed,
            Name::Corrupt { .. } => FileKind::Corrupt,
            Name::Dead(_) => FileKind::Dead,
            Name::Temporary => FileKind::Temporary,
            Name::Foreign => FileKind::Foreign,
            Name::Cursor { segment, .. } => {
                let sealed = segment.sealed();
                if entries.iter().any(|entry| entry.name == sealed) {
                    return Ok(None);
                }
                FileKind::Cursor
            }
        };
        let mut file = StoredFile {
            name: entry.name.clone(),
            kind,
            bytes: entry.len,
            events: 0,
            bad: 0,
            sealed_micros: Some(name.micros()).filter(|micros| *micros > 0),
            occurred_micros: None,
            cursors: Vec::new(),
            refusals: Vec::new(),
        };
        if matches!(kind, FileKind::Active | FileKind::Sealed | FileKind::Corrupt | FileKind::Dead) {
            let opened = self.fs.open(&entry.name)?;
            file.bytes = opened.len()?;
            file.read_lines(&opened)?;
        }
        if let Name::Sealed(id) = name {
            let cursors = entries.iter().filter_map(|entry| match Name::of(&entry.name) {
                Name::Cursor { segment, sink } if segment == id => Some(sink),
                _ => None,
            });
            for sink in cursors {
                let cursor = Cursor::load(&self.fs, id, sink).ok().flatten();
                file.cursors
                    .extend(cursor.map(|cursor| StoredCursor { sink: sink.to_owned(), lines: cursor.lines }));
            }
        }
        Ok(Some(file))
    }
}

impl StoredFile {
    fn read_lines<H: File>(&mut self, file: &H) -> io::Result<()> {
        let mut lines = Lines::new(file, 0);
        let mut refused = BTreeMap::<(String, String), u64>::new();
        while let Some(line) = lines.next()? {
            let bytes = line.bytes.unwrap_or_default();
            let json = match decode(bytes) {
                Record::Blank | Record::Erased if line.bytes.is_some() => continue,
                Record::Event(json) => json,
                Record::Blank | Record::Erased | Record::Bad => {
                    self.bad += 1;
                    continue;
                }
            };
            self.events += 1;
            if let Ok(Occurred { occurred_at_micros: at }) = serde_json::from_str(json) {
                let (least, most) = self.occurred_micros.unwrap_or((at, at));
                self.occurred_micros = Some((least.min(at), most.max(at)));
            }
            if self.kind == FileKind::Dead
                && let Ok(Letter { sink, reason }) = serde_json::from_slice(bytes)
            {
                *refused.entry((sink, reason)).or_default() += 1;
            }
        }
        let refused = refused.into_iter();
        self.refusals = refused.map(|((sink, reason), events)| Refused { sink, reason, events }).collect();
        Ok(())
    }
}

/// What is wrong with a line, if anything.
pub(crate) fn judge(line: Option<&[u8]>) -> Option<LineFault> {
    let Some(line) = line else { return Some(LineFault::TooLong) };
    (decode(line) == Record::Bad).then(|| fault(line))
}
