//! How a store is opened.

use std::path::{Path, PathBuf};

/// When a write is answered.
///
/// An answered write survives the end of the process in both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Durability {
    /// After the disk says that it has it: an answered write survives a loss of power. One flush serves all writes
    /// that wait together.
    #[default]
    Fsync,
    /// After the operating system has it: a loss of power can take the last writes, but never breaks the file. The
    /// order stays: what is lost is an end, never a middle.
    Process,
}

/// What [`SqliteStore::open_with`](crate::SqliteStore::open_with) needs to know.
///
/// ```
/// use presence_sqlite::{Durability, SqliteConfig};
///
/// let config = SqliteConfig::new("presence.db").durability(Durability::Process).readers(4);
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) readers: usize,
    pub(crate) vacuum_on_erase: bool,
}

impl SqliteConfig {
    /// A store in the file at `path`, which is created where it does not exist; `:memory:` is a store that ends with
    /// the process.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), durability: Durability::default(), readers: 2, vacuum_on_erase: true }
    }

    /// When a write is answered; [`Durability::Fsync`] where nothing is said.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How many threads answer queries beside the writer, each on a connection of its own with a cache of up to
    /// 16 MiB; 2 where nothing is said. With 0, and in memory, the writer answers them between its commits.
    #[must_use]
    pub const fn readers(mut self, readers: usize) -> Self {
        self.readers = readers;
        self
    }

    /// Whether an erasure rewrites the whole file before it is answered; `true` where nothing is said.
    ///
    /// SQLite overwrites rows that are deleted, but where a page was split before, a copy of a row can stay in the
    /// unused part of a page: in a test, of one row in a hundred. Only a rewrite removes it. It takes about a second
    /// per 100 MB, in which nothing else is written; as much free space as the file, beside it and in the directory for
    /// temporary files. Erasures that wait together share one. Without it, call
    /// [`SqliteStore::vacuum`](crate::SqliteStore::vacuum) when there is time.
    #[must_use]
    pub const fn vacuum_on_erase(mut self, vacuum: bool) -> Self {
        self.vacuum_on_erase = vacuum;
        self
    }

    /// The path of the file; `None` in memory.
    pub(crate) fn file(&self) -> Option<&Path> {
        (self.path.as_os_str() != ":memory:").then_some(&self.path)
    }
}
