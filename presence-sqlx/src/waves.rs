//! Batches in which a key occurs more than once.
//!
//! A statement sees the tables as they were before it, so two items of one key cannot be in the same one. Core sends
//! each user once in a batch, so there is nearly always one wave.

use std::{collections::HashMap, hash::Hash};

/// The items in waves, each with its place: no wave has a key twice, and the items of a key follow each other in order.
pub(crate) fn waves<'a, T, K: Eq + Hash>(
    items: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Vec<Vec<(usize, &'a T)>> {
    let mut waves: Vec<Vec<(usize, &T)>> = Vec::new();
    let mut seen: HashMap<K, usize> = HashMap::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let wave = seen.entry(key(item)).or_default();
        if waves.len() == *wave {
            waves.push(Vec::with_capacity(if *wave == 0 { items.len() } else { 1 }));
        }
        if let Some(items) = waves.get_mut(*wave) {
            items.push((place, item));
        }
        *wave += 1;
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_a_key_follow_each_other() {
        let places = |keys: &str| -> Vec<Vec<usize>> {
            let items: Vec<_> = keys.chars().collect();
            let waves = waves(&items, |key| *key);
            waves.iter().map(|wave| wave.iter().map(|(place, _)| *place).collect()).collect()
        };
        assert_eq!(places(""), Vec::<Vec<usize>>::new());
        assert_eq!(places("abc"), [[0, 1, 2]]);
        assert_eq!(places("abacaab"), [vec![0, 1, 3], vec![2, 6], vec![4], vec![5]]);
    }
}
