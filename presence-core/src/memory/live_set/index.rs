//! From a member's hash to its slot.
//!
//! Open addressing with the hash beside the slot: a lookup misses the cache once here, where a table with tags of
//! its own misses twice (8 to 16 % of a heartbeat, measured), and neither a probe nor a growth reads a slot in vain.

use std::array;

/// The number of tables. Each grows alone, so that no heartbeat waits for all members to be moved: at a million
/// members the longest growth moves 1/64 of them.
const TABLES: usize = 64;

/// A member by its hash and slot.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    slot: u32,
}

impl Entry {
    /// Nobody: no slot has this number.
    const VACANT: Self = Self { hash: 0, slot: u32::MAX };

    const fn is_vacant(self) -> bool {
        self.slot == u32::MAX
    }
}

/// The slots of all members, by hash.
#[derive(Debug)]
pub(super) struct Index {
    tables: [Table; TABLES],
}

impl Index {
    pub(super) fn new() -> Self {
        Self { tables: array::from_fn(|_| Table::default()) }
    }

    /// The slot under `hash` that `is_it` recognises.
    #[inline]
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let table = &self.tables[table_of(hash)];
        let position = table.find(hash, |entry| entry.hash == hash && is_it(entry.slot))?;
        Some(table.entries[position].slot)
    }

    /// Adds a slot that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        self.tables[table_of(hash)].insert(Entry { hash, slot });
    }

    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        let table = &mut self.tables[table_of(hash)];
        if let Some(position) = table.find(hash, |entry| entry.slot == slot) {
            table.remove(position);
        }
    }
}

/// The upper 6 bits choose the table, the lower ones the position there.
const fn table_of(hash: u32) -> usize {
    (hash >> 26) as usize
}

/// Entries at the position of their hash, or in the next free one after it. The length is a power of two, or zero.
#[derive(Debug, Default)]
struct Table {
    entries: Box<[Entry]>,
    length: usize,
}

impl Table {
    /// The position of the entry that `is_it` recognises.
    #[inline]
    fn find(&self, hash: u32, mut is_it: impl FnMut(Entry) -> bool) -> Option<usize> {
        let mut position = self.home(hash);
        loop {
            let entry = *self.entries.get(position)?; // none only where the table is empty
            if entry.is_vacant() {
                return None;
            }
            if is_it(entry) {
                return Some(position);
            }
            position = self.after(position);
        }
    }

    fn insert(&mut self, entry: Entry) {
        // At most three quarters full: beyond that, probes get long.
        if self.length >= (self.entries.len() / 4).saturating_mul(3) {
            let length = self.entries.len().saturating_mul(2).max(16);
            let entries = std::mem::replace(&mut self.entries, vec![Entry::VACANT; length].into());
            entries.into_iter().filter(|entry| !entry.is_vacant()).for_each(|entry| self.put(entry));
        }
        self.put(entry);
        self.length = self.length.saturating_add(1);
    }

    fn put(&mut self, entry: Entry) {
        let mut position = self.home(entry.hash);
        while !self.entries[position].is_vacant() {
            position = self.after(position);
        }
        self.entries[position] = entry;
    }

    /// Takes an entry out, and moves up those behind it that would no longer be found.
    fn remove(&mut self, position: usize) {
        let (mut gap, mut next) = (position, self.after(position));
        while !self.entries[next].is_vacant() {
            let entry = self.entries[next];
            let from_home = |position: usize| position.wrapping_sub(self.home(entry.hash)) & self.mask();
            if from_home(gap) < from_home(next) {
                self.entries[gap] = entry;
                gap = next;
            }
            next = self.after(next);
        }
        self.entries[gap] = Entry::VACANT;
        self.length = self.length.saturating_sub(1);
    }

    #[inline]
    const fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    #[inline]
    const fn after(&self, position: usize) -> usize {
        position.wrapping_add(1) & self.mask()
    }

    /// All ones, where the table is empty: no position.
    #[inline]
    const fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }
}
