//! What the outbox asks of a file system: one directory, and files in it.

use std::{fmt, io};

mod disk;

pub(crate) use disk::{DirectoryLock, DiskFs, LockFault};

/// A directory. Names are names in it, never paths.
///
/// Between two calls the machine may stop. What is then left of a directory is what it was at the last
/// [`FileSystem::sync`], and any part of what was asked since.
pub(crate) trait FileSystem: fmt::Debug + Send + Sync + 'static {
    type File: File;

    /// The regular files that are there. Links and directories are not: nothing in them is ours.
    fn entries(&self) -> io::Result<Vec<Entry>>;
    /// Makes a new file that only its owner may read, and fails where the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file that is there, to read and write.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what was created, renamed and removed last.
    fn sync(&self) -> io::Result<()>;
    /// How many bytes this process may still take; `None` where nobody can tell.
    fn free(&self) -> io::Result<Option<u64>>;
}

/// An open file. What was written lasts from [`File::sync`] on, and may last before, in part.
pub(crate) trait File: fmt::Debug + Send {
    /// Writes all of `bytes` at `offset`, or fails, and may have written some.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads at `offset` into `buffer`, and says how much; nothing at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Makes the content last.
    fn sync(&self) -> io::Result<()>;
}

/// A regular file of a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) len: u64,
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there<F: FileSystem>(fs: &F, name: &str) -> io::Result<()> {
    match fs.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes the file `name` hold what `write` writes, whole or not at all: under another name first, then renamed. It
/// lasts once this is answered.
pub(crate) fn replace<F: FileSystem>(
    fs: &F,
    name: &str,
    write: impl FnOnce(&F::File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = format!("{}{name}", crate::segment::TEMPORARY);
    // One that a failed attempt left.
    remove_if_there(fs, &temporary)?;
    let file = fs.create(&temporary)?;
    let written = write(&file).and_then(|()| file.sync()).and_then(|()| fs.rename(&temporary, name));
    if written.is_err() {
        // It takes room and nothing else; the next start removes it too.
        let _ = fs.remove(&temporary);
    }
    written?;
    fs.sync()
}
