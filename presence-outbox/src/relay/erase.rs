//! Events that are to be forgotten, wherever they are.

use std::io;

use super::Relay;
use crate::{
    Erased, Signal,
    fs::{FileSystem, remove_if_there},
    lines::Lines,
    quarantine::{copy_lines, copy_without},
    record::{Record, decode},
};

impl<F: FileSystem> Relay<F> {
    /// Takes out every line that `is_erased`, of sealed files and of those that are kept for people.
    ///
    /// In a sealed file the line becomes white space of the same length, so that every cursor stays where it is and is
    /// right, before the new file has the name and after; whoever comes by passes it. In the others nobody has a place,
    /// and the line goes. Each file changes as a whole, so that a crash leaves some that are done and some that are not.
    pub(crate) fn erase(&mut self, is_erased: &dyn Fn(&[u8]) -> bool) -> io::Result<Erased> {
        let is_erased = |line: Option<&[u8]>| {
            line.is_some_and(|line| {
                !matches!(decode(line), Record::Blank | Record::Erased) && is_erased(line)
            })
        };
        let mut erased = Erased::default();
        let segments: Vec<_> = self.shared.lock().segments.keys().copied().collect();
        for id in segments {
            let name = id.sealed();
            let Some(file) = self.there(&name)? else { continue };
            let found = Found::of(&file, is_erased)?;
            erased.unread += found.unread;
            if found.erased > 0 {
                copy_without(&*self.fs, &name, &file, is_erased)?;
                erased.waiting += found.erased;
                self.shared.tell(&Signal::Erased { lines: found.erased });
            }
        }
        for (micros, name) in self.kept.names() {
            let Some(file) = self.there(&name)? else { continue };
            let found = Found::of(&file, is_erased)?;
            erased.unread += found.unread;
            if found.erased == 0 {
                continue;
            }
            if found.left == 0 {
                remove_if_there(&*self.fs, &name)?;
                self.fs.sync()?;
                self.kept.remove(micros, &name);
            } else {
                let (_, bytes) = copy_lines(&*self.fs, &name, &file, 0, |line| !is_erased(line))?;
                self.kept.put(micros, name.clone(), bytes);
            }
            erased.aside += found.erased;
            self.shared.tell(&Signal::Erased { lines: found.erased });
        }
        Ok(erased)
    }

    fn there(&self, name: &str) -> io::Result<Option<F::File>> {
        match self.fs.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }
}

/// How many lines of a file are to go, stay, and cannot be judged.
#[derive(Debug, Default)]
struct Found {
    erased: u64,
    left: u64,
    unread: u64,
}

impl Found {
    fn of<H: crate::fs::File>(file: &H, is_erased: impl Fn(Option<&[u8]>) -> bool) -> io::Result<Self> {
        let (mut found, mut lines) = (Self::default(), Lines::new(file, 0));
        while let Some(line) = lines.next()? {
            if is_erased(line.bytes) {
                found.erased += 1;
            } else {
                found.left += 1;
                found.unread += u64::from(line.bytes.is_none());
            }
        }
        Ok(found)
    }
}
