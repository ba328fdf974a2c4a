//! Text once, and small numbers everywhere behind it.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

/// Numbers names in the order in which they come, and keeps a value beside each.
///
/// All text lies in one buffer, each name behind the one before; a table of 8 bytes a place finds it. What is equal is
/// equal text, not an equal hash. Up to 4 billion names.
#[derive(Debug)]
pub(super) struct Names<T> {
    hasher: RandomState,
    /// The upper half of a place is the hash of a name, the lower half its number plus one; 0 where there is none. The
    /// hash is enough to move it when the table grows. The length is a power of two.
    table: Vec<u64>,
    entries: Vec<Entry<T>>,
    text: Vec<u8>,
}

#[derive(Debug)]
struct Entry<T> {
    end: usize,
    value: T,
}

impl<T: Copy> Names<T> {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::default(), table: vec![0; 16], entries: Vec::new(), text: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of a name; a new one gets `value`.
    #[inline]
    pub(super) fn number(&mut self, name: &str, value: T) -> u32 {
        // The upper half mixes best. A table has up to 2^32 places, so that half is enough to tell them.
        let hash = self.hasher.hash_one(name.as_bytes()) >> 32;
        let mask = self.mask();
        let mut place = hash & mask;
        loop {
            match self.table.get(place as usize).copied() {
                None | Some(0) => break,
                Some(entry) if entry >> 32 == hash => {
                    let number = (entry as u32).wrapping_sub(1);
                    if self.is(number, name) {
                        return number;
                    }
                }
                Some(_) => {}
            }
            place = place.wrapping_add(1) & mask;
        }
        self.add(name, hash, place, value)
    }

    /// Whether this number is this name's.
    #[inline]
    pub(super) fn is(&self, number: u32, name: &str) -> bool {
        self.bytes(number) == name.as_bytes()
    }

    #[inline]
    pub(super) fn value_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize).map(|entry| &mut entry.value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = T> {
        self.entries.iter().map(|entry| entry.value)
    }

    /// The names in order of their numbers.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.entries.len()).map(|number| self.name(number as u32))
    }

    /// The name of this number; empty where there is none.
    pub(super) fn name(&self, number: u32) -> &str {
        // It came as text, and is cut where it ended.
        std::str::from_utf8(self.bytes(number)).unwrap_or_default()
    }

    #[inline]
    fn bytes(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start =
            number.checked_sub(1).and_then(|before| self.entries.get(before)).map_or(0, |entry| entry.end);
        let end = self.entries.get(number).map_or(start, |entry| entry.end);
        self.text.get(start..end).unwrap_or_default()
    }

    fn mask(&self) -> u64 {
        (self.table.len() as u64).wrapping_sub(1)
    }

    #[cold]
    fn add(&mut self, name: &str, hash: u64, place: u64, value: T) -> u32 {
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.text.extend_from_slice(name.as_bytes());
        self.entries.push(Entry { end: self.text.len(), value });
        if let Some(slot) = self.table.get_mut(place as usize) {
            *slot = hash << 32 | u64::from(number.wrapping_add(1));
        }
        // At most three quarters full: probes stay short.
        if self.entries.len().saturating_mul(4) > self.table.len().saturating_mul(3) {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        let doubled = vec![0; self.table.len().saturating_mul(2)];
        let old = std::mem::replace(&mut self.table, doubled);
        let mask = self.mask();
        for entry in old.into_iter().filter(|entry| *entry != 0) {
            let mut place = (entry >> 32) & mask;
            while self.table.get(place as usize).is_some_and(|other| *other != 0) {
                place = place.wrapping_add(1) & mask;
            }
            if let Some(slot) = self.table.get_mut(place as usize) {
                *slot = entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_however_many_follow() {
        let mut names = Names::new();
        let name = |number: u32| format!("name-{}", number.wrapping_mul(2_654_435_761));
        for number in 0..100_000 {
            assert_eq!(names.number(&name(number), number), number);
        }
        for number in (0..100_000).rev() {
            assert_eq!(names.number(&name(number), 0), number);
            assert_eq!(names.value_mut(number).copied(), Some(number));
        }
        assert_eq!(names.len(), 100_000);
        assert!(names.names().zip(0..).all(|(text, number)| text == name(number)));
        assert_eq!(names.number("", 7), 100_000, "an empty name is a name too");
        assert_eq!(names.number("", 8), 100_000);
    }
}
