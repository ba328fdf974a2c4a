//! Files that nobody reads any more but people: lines that cannot be read, and dead letters. They have a cap.

use std::{collections::BTreeMap, io};

use crate::{
    fs::{FileSystem, remove_if_there},
    segment::{Name, SegmentId},
};

/// The `corrupt-*` and `dead-*` files of a directory, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<(u64, String), u64>);

impl Kept {
    /// A file is there, with so many bytes.
    pub(crate) fn put(&mut self, micros: u64, name: String, bytes: u64) {
        self.0.insert((micros, name), bytes);
    }

    /// A file is gone.
    pub(crate) fn remove(&mut self, micros: u64, name: &str) {
        self.0.remove(&(micros, name.to_owned()));
    }

    /// All of them, with the times in their names.
    pub(crate) fn names(&self) -> Vec<(u64, String)> {
        self.0.keys().cloned().collect()
    }

    pub(crate) fn has(&self, micros: u64, name: &str) -> bool {
        self.0.contains_key(&(micros, name.to_owned()))
    }

    /// The id of the quarantine of `original` that holds what `bits` stand for.
    pub(crate) fn find(&self, original: &str, bits: u128) -> Option<SegmentId> {
        let ids = self.0.keys().filter_map(|(_, name)| match Name::of(name) {
            Name::Corrupt { id, original: found } if found == original => id,
            _ => None,
        });
        ids.into_iter().find(|id| *id == SegmentId::new(id.micros, bits))
    }

    /// How many bytes they have together.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().sum()
    }

    /// How many there are.
    pub(crate) fn files(&self) -> u64 {
        self.0.len() as u64
    }

    /// Removes the oldest, but never `newest`, until they have at most `limit` bytes; says how many bytes each had.
    pub(crate) fn shrink<F: FileSystem>(&mut self, fs: &F, limit: u64, newest: &str) -> io::Result<Vec<u64>> {
        let mut removed = Vec::new();
        while self.bytes() > limit {
            let Some(oldest) = self.0.keys().find(|(_, name)| name != newest).cloned() else { break };
            remove_if_there(fs, &oldest.1)?;
            removed.extend(self.0.remove(&oldest));
        }
        Ok(removed)
    }
}
