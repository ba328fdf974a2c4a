//! A disk as a value: what is on it for good, what was asked since, and what each reader sees meanwhile.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::fs::{Entry, File, FileSystem};

/// A change of a file that nobody has synced.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }
}

/// A change of the directory that nobody has synced.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    Create { name: String, file: usize },
    Rename { from: String, to: String, file: usize },
    Remove { name: String, file: usize },
}

impl Naming {
    /// Applies it, where what it changes is there.
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, file } => drop(names.insert(name.clone(), *file)),
            Self::Rename { from, to, file } if names.get(from) == Some(file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove { name, file } if names.get(name) == Some(file) => drop(names.remove(name)),
            Self::Rename { .. } | Self::Remove { .. } => {}
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) durable: Vec<u8>,
    pub(super) seen: Vec<u8>,
    pub(super) pending: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) files: Vec<Inode>,
    pub(super) durable: BTreeMap<String, usize>,
    pub(super) seen: BTreeMap<String, usize>,
    pub(super) pending: Vec<Naming>,
}

impl State {
    /// What a reader sees: names and contents.
    pub(super) fn listing(&self) -> BTreeMap<String, Vec<u8>> {
        self.seen.iter().map(|(name, file)| (name.clone(), self.files[*file].seen.clone())).collect()
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Failing {
    #[default]
    Nothing,
    /// Every change after so many more: the machine stops.
    After(usize),
    /// One in so many changes, each in its own way.
    Sometimes(u64),
    /// Whatever takes room: the disk is full.
    Full,
    /// Whatever changes anything.
    ReadOnly,
    /// The next so many syncs, and what they would have made last is lost to the disk.
    Syncs(usize),
}

type Watch = Box<dyn FnMut(&State) + Send>;

struct Inner {
    state: State,
    failing: Failing,
    random: crate::random::Random,
    changes: usize,
    free: Option<u64>,
    watch: Option<Watch>,
}

/// A disk with one directory.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self::of(State::default())
    }

    pub(super) fn of(state: State) -> Self {
        let random = crate::random::Random::new(7);
        let inner = Inner { state, failing: Failing::Nothing, random, changes: 0, free: None, watch: None };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(crate) fn fs(&self) -> SimFs {
        SimFs(self.clone())
    }

    /// Looks at every state after a change.
    pub(super) fn watch(&self, watch: impl FnMut(&State) + Send + 'static) {
        self.lock().watch = Some(Box::new(watch));
    }

    pub(crate) fn fail(&self, failing: Failing) {
        self.lock().failing = failing;
    }

    /// How many bytes it says are free; nothing, if nobody said.
    pub(super) fn tell_free(&self, bytes: u64) {
        self.lock().free = Some(bytes);
    }

    /// How many changes were asked for.
    pub(super) fn changes(&self) -> usize {
        self.lock().changes
    }

    pub(super) fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// The names that are there, and what is in them.
    pub(crate) fn listing(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().state.listing()
    }

    /// Puts a file there, for good.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let state = &mut self.lock().state;
        let file = state.files.len();
        let (durable, seen) = (content.to_vec(), content.to_vec());
        state.files.push(Inode { durable, seen, pending: Vec::new() });
        state.durable.insert(name.to_owned(), file);
        state.seen.insert(name.to_owned(), file);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes a change, unless it is to fail, and lets the watcher look.
    fn change<T>(&self, kind: Kind, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.lock();
        inner.changes += 1;
        inner.verdict(kind)?;
        let done = change(&mut inner.state);
        if let Some(mut watch) = inner.watch.take() {
            watch(&inner.state);
            inner.watch = Some(watch);
        }
        done
    }
}

/// What a change is, for the sake of its failing.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    /// It takes room.
    Grow,
    Shrink,
    Sync,
}

impl Inner {
    fn verdict(&mut self, kind: Kind) -> io::Result<()> {
        let error = match &mut self.failing {
            Failing::After(0) => io::Error::other("the machine stopped"),
            Failing::After(left) => {
                *left -= 1;
                return Ok(());
            }
            Failing::Sometimes(chance) if self.random.number().is_multiple_of(*chance) => {
                io::Error::other("a bad moment")
            }
            Failing::Full if kind == Kind::Grow => io::ErrorKind::StorageFull.into(),
            Failing::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Failing::Syncs(left @ 1..) if kind == Kind::Sync => {
                *left -= 1;
                io::Error::other("lost in the cache")
            }
            _ => return Ok(()),
        };
        Err(error)
    }
}

/// The directory of a [`SimDisk`].
pub(crate) struct SimFs(SimDisk);

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs").finish_non_exhaustive()
    }
}

pub(crate) struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl FileSystem for SimFs {
    type File = SimFile;

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let state = &self.0.lock().state;
        let entry = |(name, file): (&String, &usize)| Entry {
            name: name.clone(),
            len: state.files[*file].seen.len() as u64,
        };
        Ok(state.seen.iter().map(entry).collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let file = self.0.change(Kind::Grow, |state| {
            if state.seen.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = state.files.len();
            state.files.push(Inode::default());
            state.seen.insert(name.to_owned(), file);
            state.pending.push(Naming::Create { name: name.to_owned(), file });
            Ok(file)
        })?;
        Ok(SimFile { disk: self.0.clone(), file })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let file = self.0.lock().state.seen.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile { disk: self.0.clone(), file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.change(Kind::Grow, |state| {
            let file = state.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.seen.insert(to.to_owned(), file);
            state.pending.push(Naming::Rename { from: from.to_owned(), to: to.to_owned(), file });
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.change(Kind::Shrink, |state| {
            let file = state.seen.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.pending.push(Naming::Remove { name: name.to_owned(), file });
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.0.change(Kind::Sync, |state| {
            let State { durable, pending, .. } = state;
            pending.drain(..).for_each(|naming| naming.apply(durable));
            Ok(())
        })
    }

    fn free(&self) -> io::Result<Option<u64>> {
        Ok(self.0.lock().free)
    }
}

impl SimFile {
    fn apply(&self, kind: Kind, change: &Change) -> io::Result<()> {
        self.disk.change(kind, |state| {
            let file = &mut state.files[self.file];
            change.apply(&mut file.seen);
            file.pending.push(change.clone());
            Ok(())
        })
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = offset as usize;
        let written = self.apply(Kind::Grow, &Change::Write { offset, bytes: bytes.to_vec() });
        if written.is_err() {
            // Some of it was written all the same.
            let mut inner = self.disk.lock();
            let part = bytes[..(inner.random.number() as usize) % bytes.len().max(1)].to_vec();
            if !part.is_empty() && inner.failing != Failing::ReadOnly && inner.failing != Failing::After(0) {
                let file = &mut inner.state.files[self.file];
                let change = Change::Write { offset, bytes: part };
                change.apply(&mut file.seen);
                file.pending.push(change);
            }
        }
        written
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.lock();
        let content = &inner.state.files[self.file].seen;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.apply(Kind::Shrink, &Change::SetLen(len as usize))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().state.files[self.file].seen.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.disk.change(Kind::Sync, |state| {
            let Inode { durable, pending, .. } = &mut state.files[self.file];
            pending.drain(..).for_each(|change| change.apply(durable));
            Ok(())
        });
        if synced.is_err() {
            // As real ones do: readers see the bytes, no later sync writes them, and none fails for them.
            self.disk.lock().state.files[self.file].pending.clear();
        }
        synced
    }
}
