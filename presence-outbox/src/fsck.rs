//! Whether every line and every cursor of a directory is what it should be.

use std::{collections::BTreeSet, fmt, io};

use crate::{
    cursor::Cursor,
    dead::Letter,
    directory::judge,
    fs::{Entry, File, FileSystem},
    lines::Lines,
    record::{LineFault, Record, decode},
    segment::{Name, SegmentId},
};

/// So many problems are told one by one.
const TOLD: usize = 1000;

/// What a check found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// Files of ours that were read.
    pub files: u64,
    /// Lines in them.
    pub lines: u64,
    /// What is wrong, in the order of names; the first 1,000.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub untold: u64,
}

impl Checked {
    /// Whether something is lost, or would be repeated, though nobody crashed.
    #[must_use]
    pub fn has_damage(&self) -> bool {
        self.untold > 0 || self.problems.iter().any(|problem| problem.kind.is_damage())
    }

    fn tell(&mut self, file: &str, line: Option<u64>, kind: ProblemKind) {
        if self.problems.len() < TOLD {
            self.problems.push(Problem { file: file.to_owned(), line, kind });
        } else {
            self.untold += u64::from(kind.is_damage());
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// In which file.
    pub file: String,
    /// In which line, from 1.
    pub line: Option<u64>,
    /// What it is.
    pub kind: ProblemKind,
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// No event can be read from a line. It will be quarantined, and is not delivered.
    Line(LineFault),
    /// A line of a `dead-*` file is no dead letter.
    Letter,
    /// The end of `active.ndjson` is no whole line: it is being written, or was when its process ended. The next start
    /// puts it aside; nobody was told that it is kept.
    Unfinished,
    /// A cursor cannot be read: its sink begins the file anew.
    CursorUnreadable,
    /// A cursor does not stand behind a line: its sink begins the file anew.
    CursorMisplaced,
    /// A cursor has passed another number of lines than it says: the books are wrong by the difference.
    CursorMiscounted {
        /// What it says.
        says: u64,
        /// What it has passed.
        passed: u64,
    },
    /// The next start removes the file; nobody misses anything.
    Leftover,
    /// The file cannot be read.
    Unreadable(io::ErrorKind),
}

impl ProblemKind {
    /// Whether something is lost, or would be repeated, though nobody crashed.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        !matches!(self, Self::Unfinished | Self::Leftover)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(fault) => write!(f, "the line {fault}"),
            Self::Letter => f.write_str("the line is no dead letter"),
            Self::Unfinished => f.write_str("the end is not finished; the next start puts it aside"),
            Self::CursorUnreadable => f.write_str("the cursor cannot be read; its sink begins the file anew"),
            Self::CursorMisplaced => {
                f.write_str("the cursor does not stand behind a line; its sink begins the file anew")
            }
            Self::CursorMiscounted { says, passed } => {
                write!(f, "the cursor says {says} lines and has passed {passed}")
            }
            Self::Leftover => f.write_str("is of no use any more; the next start removes it"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

/// Reads everything, and changes nothing.
pub(crate) fn check<F: FileSystem>(fs: &F) -> io::Result<Checked> {
    let mut entries = fs.entries()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let sealed: BTreeSet<SegmentId> = entries
        .iter()
        .filter_map(|entry| match Name::of(&entry.name) {
            Name::Sealed(id) => Some(id),
            _ => None,
        })
        .collect();
    let mut checked = Checked::default();
    for Entry { name, .. } in &entries {
        match check_file(fs, name, &sealed, &mut checked) {
            Ok(()) => {}
            // Its owner goes on meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => checked.tell(name, None, ProblemKind::Unreadable(error.kind())),
        }
    }
    Ok(checked)
}

fn check_file<F: FileSystem>(
    fs: &F,
    name: &str,
    sealed: &BTreeSet<SegmentId>,
    checked: &mut Checked,
) -> io::Result<()> {
    let of = Name::of(name);
    match of {
        Name::Foreign => return Ok(()),
        Name::Temporary => checked.tell(name, None, ProblemKind::Leftover),
        Name::Cursor { segment, sink } if sealed.contains(&segment) => {
            check_cursor(fs, name, segment, sink, checked)?;
        }
        Name::Cursor { .. } => checked.tell(name, None, ProblemKind::Leftover),
        Name::Active | Name::Sealed(_) | Name::SealedElsewhere(_) | Name::Corrupt { .. } | Name::Dead(_) => {
            check_lines(name, &of, &fs.open(name)?, checked)?;
        }
    }
    checked.files += 1;
    Ok(())
}

fn check_lines<H: File>(name: &str, of: &Name<'_>, file: &H, checked: &mut Checked) -> io::Result<()> {
    let mut lines = Lines::new(file, 0);
    let mut number = 0;
    // Of the active file what is behind the last event is no harm until an event follows.
    let mut held_back = Vec::new();
    while let Some(line) = lines.next()? {
        number += 1;
        let fault = judge(line.bytes).map(ProblemKind::Line);
        match of {
            // That is what is kept there.
            Name::Corrupt { .. } => {}
            Name::Dead(_) => {
                let is_blank = line.bytes.is_some_and(|line| decode(line) == Record::Blank);
                let letter = serde_json::from_slice::<Letter>(line.bytes.unwrap_or_default());
                let fault = fault.or_else(|| (!is_blank && letter.is_err()).then_some(ProblemKind::Letter));
                fault.into_iter().for_each(|kind| checked.tell(name, Some(number), kind));
            }
            Name::Active if fault.is_some() || !line.is_terminated => {
                held_back.push((number, fault));
            }
            Name::Active => {
                for (line, fault) in held_back.drain(..) {
                    fault.into_iter().for_each(|kind| checked.tell(name, Some(line), kind));
                }
            }
            _ => fault.into_iter().for_each(|kind| checked.tell(name, Some(number), kind)),
        }
    }
    if let Some((line, _)) = held_back.first() {
        checked.tell(name, Some(*line), ProblemKind::Unfinished);
    }
    checked.lines += number;
    Ok(())
}

fn check_cursor<F: FileSystem>(
    fs: &F,
    name: &str,
    segment: SegmentId,
    sink: &str,
    checked: &mut Checked,
) -> io::Result<()> {
    let Some(cursor) = Cursor::read(fs, segment, sink)? else {
        checked.tell(name, None, ProblemKind::CursorUnreadable);
        return Ok(());
    };
    if Cursor::load(fs, segment, sink)?.is_none() {
        checked.tell(name, None, ProblemKind::CursorMisplaced);
        return Ok(());
    }
    let file = fs.open(&segment.sealed())?;
    let (mut lines, mut passed) = (Lines::new(&file, 0), 0);
    while lines.offset() < cursor.offset && lines.next()?.is_some() {
        passed += 1;
    }
    if passed != cursor.lines {
        checked.tell(name, None, ProblemKind::CursorMiscounted { says: cursor.lines, passed });
    }
    Ok(())
}
