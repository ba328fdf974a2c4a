//! One owner per file.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::OpenError;

/// The right to open one database file, held by a lock on a file beside it.
///
/// The lock is the kernel's, so it ends with its process, however that ends. The lock file itself stays: removing it
/// would let one process lock the removed file, and another one the next.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    path: PathBuf,
    _file: File,
}

impl OwnerLock {
    /// Takes the lock of the database at `path`, or says who has it. Then creates the database file, where there is
    /// none.
    pub(crate) fn acquire(path: &Path) -> Result<Self, OpenError> {
        let path = canonical(path).map_err(OpenError::Io)?;
        let mut name = path.clone().into_os_string();
        name.push("-lock");
        let mut file = private().read(true).create(true).open(&name).map_err(OpenError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Owned { holder: holder(&mut file) }),
            Err(TryLockError::Error(error)) => return Err(OpenError::Io(error)),
        }
        check(&path)?;
        let created = sign(&mut file).and_then(|()| create(&path));
        created.map_err(OpenError::Io)?;
        Ok(Self { path, _file: file })
    }

    /// The one path of the database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The one path of a file, whether or not it exists: links resolved, so that no two names have two owners.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    // As many links as Linux follows.
    for _ in 0..40 {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")))?;
        match fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => {
                let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
                return Ok(parent.join(name));
            }
        }
    }
    Err(io::Error::other("too many links"))
}

/// Files that only their owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Makes the empty file that SQLite takes for a new database. Only a file that did not exist is ever opened and
/// closed here: closing one that SQLite has open would end its locks.
fn create(path: &Path) -> io::Result<()> {
    match private().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// Refuses what cannot be owned: a directory, and a file with a second name.
fn check(path: &Path) -> Result<(), OpenError> {
    let Ok(found) = fs::metadata(path) else { return Ok(()) };
    if found.is_dir() {
        return Err(OpenError::Io(ErrorKind::IsADirectory.into()));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&found) > 1 {
        return Err(OpenError::HardLinked);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let first = OwnerLock::acquire(&path).unwrap();
        let Err(OpenError::Owned { holder }) = OwnerLock::acquire(&path) else { panic!("two owners") };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        OwnerLock::acquire(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_does_not_make_a_second_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.db"), dir.path().join("b.db"));
        std::os::unix::fs::symlink("a.db", &link).unwrap();
        let by_link = OwnerLock::acquire(&link).unwrap();
        assert_eq!(by_link.path(), fs::canonicalize(&path).unwrap());
        assert!(matches!(OwnerLock::acquire(&path), Err(OpenError::Owned { .. })));
        drop(by_link);
        fs::hard_link(&path, dir.path().join("c.db")).unwrap();
        assert!(matches!(OwnerLock::acquire(&path), Err(OpenError::HardLinked)));
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let _lock = OwnerLock::acquire(&dir.path().join("a.db")).unwrap();
        for name in ["a.db", "a.db-lock"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
