//! Keys whose events a sink does not take now, and how the others go around them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{KeySpan, RetryPolicy, Timestamp};

/// How many keys are held at most. Where more fail it is the sink that does, and it is left alone.
const MOST: usize = 64;
/// After all keys: each begins with a letter of ASCII.
const END: &str = "\u{10ffff}";

/// The keys that are held: of each the oldest letter is tried from time to time, and everything else waits behind it.
#[derive(Debug, Default)]
pub(crate) struct Held {
    keys: BTreeMap<String, Rest>,
    /// The key up to which the others had their turn.
    turn: String,
}

#[derive(Debug)]
struct Rest {
    failures: u32,
    until: Timestamp,
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether all of them are held.
    pub(crate) fn has_all(&self, keys: &BTreeSet<String>) -> bool {
        keys.iter().all(|key| self.keys.contains_key(key))
    }

    /// When the first of them is tried again.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.keys.values().map(|rest| rest.until).min()
    }

    /// Where the letters lie that come next: the oldest of each key whose time has come, and then those of all others, by
    /// key, so that what is held need not be passed over. They begin after the key that had its turn last.
    pub(crate) fn spans(&self, now: Timestamp, limit: usize) -> Vec<KeySpan> {
        let span = |from: &str, before: &str, limit| KeySpan {
            from: from.to_owned(),
            before: before.to_owned(),
            limit,
        };
        let due = self.keys.iter().filter(|(_, rest)| rest.until <= now);
        let mut spans: Vec<_> = due.map(|(key, _)| span(key, &after(key), 1)).collect();
        let mut add = |from: &str, before: &str| {
            let mut from = from.to_owned();
            for held in self.keys.keys().filter(|held| held.as_str() < before) {
                if *held >= from {
                    spans.push(span(&from, held, limit));
                    from = after(held);
                }
            }
            spans.push(span(&from, before, limit));
        };
        let turn = after(&self.turn);
        add(&turn, END);
        add("", &turn);
        spans.retain(|span| span.from < span.before);
        spans
    }

    /// Keys have come to nothing: they are held until then, and those that are held before are counted once more.
    pub(crate) fn hold(&mut self, keys: BTreeSet<String>, until: Timestamp) {
        for key in keys {
            if let Some(rest) = self.keys.get_mut(&key) {
                *rest = Rest { failures: rest.failures.saturating_add(1), until };
            } else if self.keys.len() < MOST {
                self.keys.insert(key, Rest { failures: 1, until });
            }
        }
    }

    /// Keys that are held have failed again, each for itself.
    pub(crate) fn fail(&mut self, keys: &BTreeSet<String>, now: Timestamp, retry: RetryPolicy, random: u32) {
        for (_, rest) in self.keys.iter_mut().filter(|(key, _)| keys.contains(*key)) {
            rest.failures = rest.failures.saturating_add(1);
            rest.until = now.saturating_add(retry.wait(rest.failures, random));
        }
    }

    /// These keys were delivered, in this order, as far as they are not among those that are to come `later`.
    pub(crate) fn deliver(&mut self, keys: &[String], later: &BTreeSet<String>) {
        if let Some(last) = keys.last().filter(|key| !self.keys.contains_key(*key)) {
            self.turn.clone_from(last);
        }
        for key in keys.iter().filter(|key| !later.contains(*key)) {
            self.keys.remove(key);
        }
    }

    /// All that was asked for at `now` has come: whichever key was due and is not among these has nothing left.
    pub(crate) fn keep(&mut self, keys: &[String], now: Timestamp) {
        self.keys.retain(|key, rest| rest.until > now || keys.contains(key));
    }
}

/// The first key that may come after this one: none has a control character in it.
fn after(key: &str) -> String {
    format!("{key}\u{1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs).unwrap()
    }

    fn set(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    /// In how many of these spans the key lies.
    fn places(spans: &[KeySpan], key: &str) -> usize {
        spans.iter().filter(|span| span.from.as_str() <= key && key < span.before.as_str()).count()
    }

    #[test]
    fn what_is_not_held_lies_in_one_span_whoever_is_held_and_whoevers_turn_it_is() {
        let keys = ["-", "d:1", "i:a", "r:lobby", "u:a", "u:z 日本"];
        for held in 0..1 << keys.len() {
            for turn in [&keys[..], &["", "e", "u:a ", "zz"]].concat() {
                let is_held = |index: usize| held >> index & 1 == 1;
                let names: Vec<_> =
                    (0..keys.len()).filter(|index| is_held(*index)).map(|i| keys[i]).collect();
                let mut state = Held { turn: turn.to_owned(), ..Held::default() };
                state.hold(set(&names), at(10));
                let (before, due) = (state.spans(at(9), 500), state.spans(at(10), 500));
                for (index, key) in keys.iter().enumerate() {
                    let expected = usize::from(!is_held(index));
                    assert_eq!(places(&before, key), expected, "{names:?} {turn:?} {key:?}");
                    assert_eq!(places(&due, key), 1, "{names:?} {turn:?} {key:?}");
                }
                let heads = due.iter().filter(|span| span.limit == 1).count();
                assert_eq!(heads, names.len(), "of a key that is due, the oldest");
            }
        }
    }

    #[test]
    fn turns_go_on_after_the_key_that_came_last() {
        let mut held = Held::default();
        held.hold(set(&["u:b"]), at(10));
        held.deliver(&["u:a".to_owned(), "u:c".to_owned()], &set(&[]));
        let first = &held.spans(at(0), 500)[0];
        assert_eq!(first.from, "u:c\u{1}");
        // A try of what is held is nobody's turn.
        held.deliver(&["u:b".to_owned()], &set(&["u:b"]));
        assert_eq!(&held.spans(at(0), 500)[0], first);
    }

    #[test]
    fn a_key_is_left_alone_for_longer_and_longer_and_forgotten_where_nothing_is_left_of_it() {
        let mut held = Held::default();
        held.hold(set(&["u:a"]), at(5));
        let mut waits = Vec::new();
        for _ in 0..5 {
            held.fail(&set(&["u:a"]), at(0), RetryPolicy::default(), u32::MAX);
            waits.extend(held.until().map(|until| until.since(at(0)).as_secs()));
        }
        assert_eq!(waits, [5, 5, 10, 20, 40]);
        held.keep(&[], at(39));
        assert!(!held.is_empty());
        held.keep(&["u:a".to_owned()], at(40));
        assert!(!held.is_empty());
        held.keep(&[], at(40));
        assert!(held.is_empty());
    }

    #[test]
    fn no_more_are_held_than_a_claim_can_go_around() {
        let mut held = Held::default();
        held.hold((0..1000).map(|number| format!("u:{number}")).collect(), at(5));
        assert_eq!(held.spans(at(5), 500).iter().filter(|span| span.limit == 1).count(), MOST);
    }
}
