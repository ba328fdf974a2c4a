//! Text once, and small numbers everywhere behind it.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

/// Keeps names, each with a value of 64 bits, and finds them again.
///
/// A record is the value and behind it the text, in words, the last one filled up with a byte that no text has. So a
/// name is found with two reads from memory that are not in the cache, one of the table and one of the record, and that
/// is what it costs. What is equal is equal text, not an equal hash. Up to 32 GiB of records.
#[derive(Debug)]
pub(super) struct Names {
    hasher: RandomState,
    /// The upper half is the hash of a name, the lower half the place of its record plus one; 0 where there is none. The
    /// hash is enough to move it when the table grows. The length is a power of two.
    table: Vec<u64>,
    words: Vec<u64>,
    len: usize,
}

/// Where the record of a name is. It never moves.
pub(super) type Place = u32;

/// No place: no record is that far behind.
pub(super) const NONE: Place = u32::MAX;

/// No byte of UTF-8.
const END: u8 = 0xff;

impl Names {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::default(), table: vec![0; 16], words: Vec::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn hash(&self, name: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name.as_bytes());
        // The upper half mixes best. A table has up to 2^32 places, so that half is enough to tell them.
        hasher.finish() >> 32
    }

    /// The place where a search for this hash looks first; reading it brings it into the cache.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> Place {
        let entry = self.table.get((hash & self.mask()) as usize).copied().unwrap_or_default();
        (entry as u32).wrapping_sub(1)
    }

    /// The place of a name that is there; else where in the table it belongs.
    #[inline]
    pub(super) fn find(&self, hash: u64, name: &str) -> Result<Place, u64> {
        let mask = self.mask();
        let mut slot = hash & mask;
        loop {
            match self.table.get(slot as usize).copied() {
                None | Some(0) => return Err(slot),
                Some(entry) if entry >> 32 == hash => {
                    let place = (entry as u32).wrapping_sub(1);
                    if self.is(place, name) {
                        return Ok(place);
                    }
                }
                Some(_) => {}
            }
            slot = slot.wrapping_add(1) & mask;
        }
    }

    /// The place of a name; a new one gets `value`.
    #[inline]
    pub(super) fn place(&mut self, hash: u64, name: &str, value: u64) -> Place {
        match self.find(hash, name) {
            Ok(place) => place,
            Err(slot) => self.add(name, hash, slot, value),
        }
    }

    /// Whether this is the place of this name.
    #[inline]
    pub(super) fn is(&self, place: Place, name: &str) -> bool {
        let record = self.words.get((place as usize).saturating_add(1)..).unwrap_or_default();
        let mut stored = record.iter();
        in_words(name).all(|word| stored.next() == Some(&word))
    }

    #[inline]
    pub(super) fn value(&self, place: Place) -> Option<u64> {
        self.words.get(place as usize).copied()
    }

    #[inline]
    pub(super) fn set(&mut self, place: Place, value: u64) {
        if let Some(word) = self.words.get_mut(place as usize) {
            *word = value;
        }
    }

    /// The values and places of all records, in the order in which they came.
    pub(super) fn records(&self) -> impl Iterator<Item = (Place, u64)> {
        let mut next = 0_usize;
        std::iter::from_fn(move || {
            let place = next;
            let value = *self.words.get(place)?;
            next = next.saturating_add(1);
            while self.words.get(next).is_some_and(|word| !ends(*word)) {
                next = next.saturating_add(1);
            }
            next = next.saturating_add(1);
            Some((place as Place, value))
        })
    }

    /// The name at this place; empty where there is none.
    pub(super) fn name(&self, place: Place) -> String {
        let record = self.words.get((place as usize).saturating_add(1)..).unwrap_or_default();
        let bytes = record.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != END);
        // It came as text.
        String::from_utf8(bytes.collect()).unwrap_or_default()
    }

    fn mask(&self) -> u64 {
        (self.table.len() as u64).wrapping_sub(1)
    }

    #[cold]
    fn add(&mut self, name: &str, hash: u64, slot: u64, value: u64) -> Place {
        let place = u32::try_from(self.words.len()).unwrap_or(NONE);
        self.words.push(value);
        self.words.extend(in_words(name));
        self.len = self.len.saturating_add(1);
        if let Some(entry) = self.table.get_mut(slot as usize) {
            *entry = hash << 32 | u64::from(place.wrapping_add(1));
        }
        // At most three quarters full: probes stay short.
        if self.len.saturating_mul(4) > self.table.len().saturating_mul(3) {
            self.grow();
        }
        place
    }

    fn grow(&mut self) {
        let doubled = vec![0; self.table.len().saturating_mul(2)];
        let old = std::mem::replace(&mut self.table, doubled);
        let mask = self.mask();
        for entry in old.into_iter().filter(|entry| *entry != 0) {
            let mut slot = (entry >> 32) & mask;
            while self.table.get(slot as usize).is_some_and(|other| *other != 0) {
                slot = slot.wrapping_add(1) & mask;
            }
            if let Some(free) = self.table.get_mut(slot as usize) {
                *free = entry;
            }
        }
    }
}

/// The text in words, the last one filled up; a word of its own where nothing is left to fill.
#[inline]
fn in_words(name: &str) -> impl Iterator<Item = u64> {
    let (whole, rest) = name.as_bytes().as_chunks::<8>();
    let mut last = [END; 8];
    last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    whole.iter().map(|word| u64::from_le_bytes(*word)).chain([u64::from_le_bytes(last)])
}

/// Whether this is the last word of a text.
const fn ends(word: u64) -> bool {
    word.to_le_bytes()[7] == END
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(names: &mut Names, name: &str, value: u64) -> Place {
        let hash = names.hash(name);
        names.place(hash, name, value)
    }

    #[test]
    fn a_name_keeps_its_place_however_many_follow() {
        let mut names = Names::new();
        // Of 1 to 24 bytes, so that words are filled to each length.
        let name = |number: u32| {
            let text = format!("{:x}-日本-0123456789", number.wrapping_mul(2_654_435_761));
            text.chars().take(1 + number as usize % 20).collect::<String>() + &format!("{number}")
        };
        let places: Vec<_> =
            (0..100_000).map(|number| place(&mut names, &name(number), number.into())).collect();
        assert_eq!(names.len(), 100_000);
        for number in (0..100_000).rev() {
            assert_eq!(place(&mut names, &name(number), 7), places[number as usize]);
            assert_eq!(names.value(places[number as usize]), Some(number.into()));
            assert_eq!(names.name(places[number as usize]), name(number));
        }
        assert!(names.records().eq(places.iter().copied().zip(0..)));
    }

    #[test]
    fn names_that_begin_alike_are_apart() {
        let mut names = Names::new();
        let alike =
            ["", "a", "ab", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghijklmnop", "abcdefghijklmnopq"];
        let places = alike.map(|name| place(&mut names, name, 0));
        for (name, at) in alike.iter().zip(places) {
            assert!(alike.iter().all(|other| names.is(at, other) == (other == name)), "{name}");
            assert_eq!(names.name(at), *name);
        }
        assert_eq!(names.len(), alike.len());
        assert_eq!(names.find(names.hash("abc"), "abc").ok(), None);
    }
}
