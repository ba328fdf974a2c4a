//! The directory of an outbox, shown to people.

use std::fmt;

use chrono::DateTime;
use presence_outbox::{Checked, FileKind, Requeued, StoredFile};

/// What is in a directory, as a table.
#[derive(Clone, Debug)]
pub struct Listing(pub Vec<StoredFile>);

/// What a check found, a line for each problem.
#[derive(Clone, Debug)]
pub struct Findings(pub Checked);

/// What was brought back.
#[derive(Clone, Copy, Debug)]
pub struct Back(pub Requeued);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<9} {:>8} {:>5} {:>11}  {:<20}  {:<20}  {:<20}  file",
            "kind", "events", "bad", "bytes", "sealed", "oldest event", "newest event"
        )?;
        for file in &self.0 {
            let sealed = file.sealed_micros.and_then(|micros| i64::try_from(micros).ok());
            let (oldest, newest) = file.occurred_micros.unzip();
            let count = |count: u64| if has_lines(file) { count.to_string() } else { "-".to_owned() };
            writeln!(
                f,
                "{:<9} {:>8} {:>5} {:>11}  {:<20}  {:<20}  {:<20}  {}",
                file.kind.as_str(),
                count(file.events),
                count(file.bad),
                file.bytes,
                instant(sealed),
                instant(oldest),
                instant(newest),
                visible(&file.name)
            )?;
            for cursor in &file.cursors {
                writeln!(f, "{:>18} {}: {}", "", cursor.sink, lines_done(cursor.lines))?;
            }
            for of in &file.refusals {
                writeln!(f, "{:>18} {}: {} refused, {:?}", "", visible(&of.sink), of.events, of.reason)?;
            }
        }
        let sum = |kinds: &[FileKind], of: fn(&StoredFile) -> u64| {
            self.0.iter().filter(|file| kinds.contains(&file.kind)).map(of).sum::<u64>()
        };
        let (waiting, aside) = ([FileKind::Active, FileKind::Sealed], [FileKind::Corrupt]);
        write!(
            f,
            "{} events in {} bytes wait, {} are dead, {} lines are aside",
            sum(&waiting, |file| file.events),
            sum(&waiting, |file| file.bytes),
            sum(&[FileKind::Dead], |file| file.events),
            sum(&aside, |file| file.events + file.bad)
        )
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { files, lines, problems, untold, .. } = &self.0;
        for problem in problems {
            writeln!(f, "{}", visible(&problem.to_string()))?;
        }
        if *untold > 0 {
            writeln!(f, "and {untold} more")?;
        }
        let verdict = if self.0.has_damage() { "damaged" } else { "no damage" };
        write!(f, "{files} files, {lines} lines: {verdict}")
    }
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requeued { files, events, left, .. } = self.0;
        write!(f, "{events} events of {files} files wait again, {left} lines cannot be read and stay")
    }
}

fn has_lines(file: &StoredFile) -> bool {
    !matches!(file.kind, FileKind::Cursor | FileKind::Temporary | FileKind::Foreign)
}

fn lines_done(lines: u64) -> String {
    format!("{lines} {} done", if lines == 1 { "line" } else { "lines" })
}

/// An instant in UTC, to the second.
fn instant(micros: Option<i64>) -> String {
    let at = micros.and_then(DateTime::from_timestamp_micros);
    at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A text that no terminal takes for orders.
fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            let escaped = letter.is_control().then(|| letter.escape_default());
            let plain = escaped.is_none().then_some(letter);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
