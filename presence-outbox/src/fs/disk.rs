//! The host's file system.

use std::{
    fs::{self, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use super::{Entry, File, FileSystem};
use crate::segment::LOCK;

/// A directory on disk.
#[derive(Debug)]
pub(crate) struct DiskFs {
    path: PathBuf,
    /// What is synced where names are to last.
    #[cfg(unix)]
    directory: fs::File,
    /// Whether its files are opened to be read and nothing else.
    is_looked_at: bool,
}

impl DiskFs {
    /// Opens the directory at `path`, and creates it where it is not there, for its owner alone.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let is_new = !path.exists();
        builder.create(path)?;
        Self::there(path, is_new, false)
    }

    /// Opens the directory at `path` to read it, and changes nothing.
    pub(crate) fn look_at(path: &Path) -> io::Result<Self> {
        Self::there(path, false, true)
    }

    fn there(path: &Path, is_new: bool, is_looked_at: bool) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let found = fs::metadata(&path)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions());
            if mode & 0o002 != 0 {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "everybody may write in the directory, so that nothing in it can be trusted",
                ));
            }
            let directory = fs::File::open(&path)?;
            // The directory's own name lasts too. Where its parent may not be read, its owner has seen to that.
            if is_new && let Some(parent) = path.parent().and_then(|parent| fs::File::open(parent).ok()) {
                parent.sync_all()?;
            }
            Ok(Self { path, directory, is_looked_at })
        }
        #[cfg(not(unix))]
        {
            let _ = is_new;
            Ok(Self { path, is_looked_at })
        }
    }

    /// Takes the right to the directory, or says who has it.
    pub(crate) fn lock(&self) -> Result<DirectoryLock, LockFault> {
        let mut file = private().read(true).create(true).truncate(false).open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.take(20).read_to_string(&mut holder);
                let holder = read.ok().and_then(|_| holder.trim().parse().ok());
                return Err(LockFault::Held(holder));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(DirectoryLock { _file: file })
    }
}

/// The right to a directory. It is the kernel's, so it ends with its process, however that ends. The file stays:
/// were it removed, one process could lock the removed file, and another one the next.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: fs::File,
}

/// Why a directory cannot be owned.
#[derive(Debug)]
pub(crate) enum LockFault {
    /// Another process has it, perhaps the one with this id.
    Held(Option<u32>),
    Io(io::Error),
}

impl From<io::Error> for LockFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl FileSystem for DiskFs {
    type File = fs::File;

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // One that is gone meanwhile was not ours. A name that is not UTF-8 is not ours either.
            let Ok(found) = entry.metadata() else { continue };
            if let Ok(name) = entry.file_name().into_string()
                && found.is_file()
            {
                entries.push(Entry { name, len: found.len() });
            }
        }
        Ok(entries)
    }

    fn create(&self, name: &str) -> io::Result<fs::File> {
        private().read(true).create_new(true).open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<fs::File> {
        let path = self.path.join(name);
        // A link that was put in the place of a file leads out of the directory.
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        private().read(true).write(!self.is_looked_at).open(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(unix)]
        return self.directory.sync_all();
        // Elsewhere a directory cannot be synced, and a rename is the file system's own to keep.
        #[cfg(not(unix))]
        Ok(())
    }

    fn free(&self) -> io::Result<Option<u64>> {
        #[cfg(unix)]
        {
            let told = rustix::fs::fstatvfs(&self.directory)?;
            Ok(Some(told.f_bavail.saturating_mul(told.f_frsize)))
        }
        #[cfg(not(unix))]
        Ok(None)
    }
}

impl File for fs::File {
    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self;
        file.seek(io::SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match std::os::unix::fs::FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    #[cfg(not(unix))]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut file = self;
        file.seek(io::SeekFrom::Start(offset))?;
        file.read(buffer)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DiskFs::open(dir.path()).unwrap();
        let first = fs.lock().unwrap();
        let Err(LockFault::Held(holder)) = DiskFs::open(dir.path()).unwrap().lock() else {
            panic!("two owners")
        };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        fs.lock().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_private_and_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("deep/outbox");
        let fs = DiskFs::open(&path).unwrap();
        let _lock = fs.lock().unwrap();
        drop(fs.create("sealed-1.ndjson").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(LOCK)), 0o600);
        assert_eq!(mode(&path.join("sealed-1.ndjson")), 0o600);

        fs::write(outer.path().join("secret"), "secret").unwrap();
        symlink(outer.path().join("secret"), path.join("sealed-2.ndjson")).unwrap();
        symlink("nowhere", path.join("sealed-3.ndjson")).unwrap();
        fs::create_dir(path.join("sealed-4.ndjson")).unwrap();
        let names: Vec<_> = fs.entries().unwrap().into_iter().map(|entry| entry.name).collect();
        assert!(names.len() == 2 && names.iter().any(|name| name == "sealed-1.ndjson"), "{names:?}");
        assert_eq!(fs.open("sealed-2.ndjson").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(fs.create("sealed-3.ndjson").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_everybody_may_write_in_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(DiskFs::open(dir.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_name_that_is_taken_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DiskFs::open(dir.path()).unwrap();
        let file = fs.create("a").unwrap();
        file.write_at(b"hello", 0).unwrap();
        assert_eq!(fs.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs.open("b").unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut read = [0; 8];
        let file = fs.open("a").unwrap();
        let count = File::read_at(&file, &mut read, 1).unwrap();
        assert_eq!(&read[..count], b"ello");
    }

    #[cfg(unix)]
    #[test]
    fn the_disk_tells_its_room() {
        let dir = tempfile::tempdir().unwrap();
        let free = DiskFs::open(dir.path()).unwrap().free().unwrap().unwrap();
        assert!(free > 1 << 20, "{free}");
    }
}
