//! The one fold that defines a timeline.
//!
//! What is remembered of a user are marks in order of time: reports, and the signs of life that bound a live span.
//! Between two marks life was unbroken, or there was a silence. The timeline is the fold over them:
//!
//! ```text
//! reports        W                    I           O
//! signs of life  |  .  .  .  .  |     |  .  .     .        | heartbeats
//! gaps             unbroken       silence  unbroken
//! timeline       W-----------------O--I-----------O--------W----
//!                                  ^ timeout               ^ wake
//! ```
//!
//! A sign inside an unbroken span says nothing new and is forgotten; so a span is two marks at most, however many
//! heartbeats made it.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use crate::{Checkpoint, CheckpointId, Session, Source, StateType, Timestamp, is_alive};

/// Where a mark stands: its instant, then the order of arrival. Signs of life come first in their instant (0), so that
/// a heartbeat never wakes somebody who says Offline in the same one.
type Key = (Timestamp, u64);

/// What is remembered of one user, over the part of history that was loaded.
#[derive(Debug)]
pub(crate) struct Timeline {
    timeout: Option<Duration>,
    marks: BTreeMap<Key, Mark>,
    /// How time went on after the last mark.
    tail: Gap,
    /// Whether the user was live before the first mark, in history that was not loaded.
    starts_live: bool,
    arrivals: u64,
}

#[derive(Debug)]
struct Mark {
    /// How time passed between the mark before and this one; without meaning where the user was not live then.
    gap: Gap,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Report {
        state: StateType,
        row: Origin,
    },
    /// A sign of life, with what it would wake to, and the wake that it was stored as.
    Sign {
        state: Option<StateType>,
        row: Option<CheckpointId>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gap {
    Unbroken,
    /// A silence that was concluded: Offline from `at`, under the timeout that was in force then.
    Silent {
        at: Timestamp,
        row: Option<CheckpointId>,
    },
}

/// Where a report comes from: the store, or the envelope of this number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    Stored(CheckpointId),
    Arrived(usize),
}

/// A row of the timeline as the fold sees it.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) at: Timestamp,
    pub(crate) state: &'a StateType,
    pub(crate) source: Source,
    pub(crate) proof_at: Option<Timestamp>,
    /// The row it is stored as, or the envelope it came with; `None` for a conclusion that is new.
    pub(crate) origin: Option<Origin>,
}

impl Mark {
    const fn is_live(&self) -> bool {
        match &self.kind {
            Kind::Report { state, .. } => state.is_live(),
            Kind::Sign { .. } => true,
        }
    }
}

impl Timeline {
    /// The marks behind `rows`, a contiguous part of the timeline; `session` where they reach its end.
    pub(crate) fn new(rows: &[Checkpoint], session: Option<&Session>, timeout: Option<Duration>) -> Self {
        let mut this = Self {
            timeout,
            marks: BTreeMap::new(),
            tail: Gap::Unbroken,
            starts_live: rows.first().is_some_and(|row| row.source == Source::Timeout),
            arrivals: 1,
        };
        for row in rows {
            match row.source {
                Source::Client => {
                    let kind = Kind::Report { state: row.state.clone(), row: Origin::Stored(row.id) };
                    let key = this.arrival(row.at);
                    this.append(key, kind);
                }
                Source::Wake => {
                    let kind = Kind::Sign { state: Some(row.state.clone()), row: Some(row.id) };
                    this.append((row.at, 0), kind);
                }
                Source::Timeout => {
                    this.append_sign(row.proof_at.unwrap_or(row.at));
                    this.tail = Gap::Silent { at: row.at, row: Some(row.id) };
                }
            }
        }
        if let Some(session) = session.filter(|session| session.current_state.is_live()) {
            this.append_sign(session.last_heartbeat);
        }
        this
    }

    fn arrival(&mut self, at: Timestamp) -> Key {
        let key = (at, self.arrivals);
        self.arrivals = self.arrivals.saturating_add(1);
        key
    }

    fn append(&mut self, key: Key, kind: Kind) {
        let gap = std::mem::replace(&mut self.tail, Gap::Unbroken);
        self.marks.insert(key, Mark { gap, kind });
    }

    /// The last sign of the span that ends the marks so far, unless a mark stands there already.
    fn append_sign(&mut self, at: Timestamp) {
        if self.marks.last_key_value().is_none_or(|(last, _)| last.0 < at) {
            self.append((at, 0), Kind::Sign { state: None, row: None });
        }
    }

    /// Takes a sign of life; `state` is what it brings to a silent or new user.
    ///
    /// ```text
    /// before   |......|  silence  |....|       before   |......|  silence  |....|
    /// sign                 ^                   sign            ^
    /// after    |......|  s |  s   |....|       after    |......·.|  s      |....|
    /// ```
    pub(crate) fn sign(&mut self, at: Timestamp, state: Option<StateType>) {
        let mut same = self.marks.range((at, 0)..=(at, u64::MAX)).map(|(_, mark)| mark.is_live());
        let stands_there = same.next();
        if stands_there == Some(true) || same.any(|live| live) {
            return;
        }
        let key = (at, 0);
        let (before, after) = self.split(key);
        if stands_there.is_some() {
            // Offline in the same instant: there is nothing to wake to, but life may have lasted until then.
            if before == Gap::Unbroken {
                self.set_gap_after(key, Gap::Unbroken);
            }
        } else {
            self.marks.insert(key, Mark { gap: before, kind: Kind::Sign { state, row: None } });
            self.set_gap_after(key, after);
        }
        self.tidy_around(key);
    }

    /// Takes a run of signs without a silence between them.
    pub(crate) fn life(
        &mut self,
        first: (Timestamp, Option<StateType>),
        last: (Timestamp, Option<StateType>),
    ) {
        let (from, to) = ((first.0, u64::MAX), (last.0, 0));
        self.sign(first.0, first.1);
        self.sign(last.0, last.1);
        if from < to {
            for (_, mark) in self.marks.range_mut((Excluded(from), Excluded((last.0, u64::MAX)))) {
                mark.gap = Gap::Unbroken;
            }
            let within: Vec<Key> = self.marks.range((first.0, 0)..=to).map(|(key, _)| *key).collect();
            within.into_iter().for_each(|key| self.tidy_around(key));
        }
    }

    /// Takes a report; gives the report in force where this one is redundant, and then it is only a sign of life.
    pub(crate) fn report(&mut self, at: Timestamp, state: &StateType, arrived: usize) -> Option<Origin> {
        if state.is_live()
            && let Some((in_force, row)) = self.reported_state(at)
            && in_force == state
        {
            self.sign(at, None);
            return Some(row);
        }
        let key = self.arrival(at);
        let (before, after) = self.split(key);
        let kind = Kind::Report { state: state.clone(), row: Origin::Arrived(arrived) };
        self.marks.insert(key, Mark { gap: before, kind });
        self.set_gap_after(key, if state.is_live() { after } else { Gap::Unbroken });
        self.tidy_around(key);
        None
    }

    /// Concludes the silence after the last sign where that lies before `cutoff`.
    pub(crate) fn settle(&mut self, cutoff: Option<Timestamp>) {
        let open = self.tail == Gap::Unbroken;
        if let Some((last, mark)) = self.marks.last_key_value()
            && let (Some(cutoff), Some(timeout)) = (cutoff, self.timeout)
            && open
            && mark.is_live()
            && last.0 < cutoff
        {
            self.tail = Gap::Silent { at: last.0.saturating_add(timeout), row: None };
        }
    }

    /// The rows that the marks amount to, in order.
    pub(crate) fn fold(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::with_capacity(self.marks.len());
        let mut live = self.starts_live;
        let mut last = None;
        let silence = |gap: Gap, proof_at| match gap {
            Gap::Silent { at, row } => Some(Entry {
                at,
                state: &StateType::Offline,
                source: Source::Timeout,
                proof_at,
                origin: row.map(Origin::Stored),
            }),
            Gap::Unbroken => None,
        };
        for (&(at, _), mark) in &self.marks {
            if live && let Some(timeout) = silence(mark.gap, last) {
                entries.push(timeout);
                live = false;
            }
            match &mark.kind {
                Kind::Report { state, row } => {
                    let origin = Some(*row);
                    entries.push(Entry { at, state, source: Source::Client, proof_at: None, origin });
                    live = state.is_live();
                }
                Kind::Sign { state, row } if !live => {
                    let state = state.as_ref().unwrap_or(&StateType::Online);
                    let origin = row.map(Origin::Stored);
                    entries.push(Entry { at, state, source: Source::Wake, proof_at: None, origin });
                    live = true;
                }
                Kind::Sign { .. } => {}
            }
            last = Some(at);
        }
        if live {
            entries.extend(silence(self.tail, last));
        }
        entries
    }

    /// The report in force at `at`, where it has been in force without a silence and the user is still live.
    fn reported_state(&self, at: Timestamp) -> Option<(&StateType, Origin)> {
        let mut back = self.marks.range(..=(at, u64::MAX)).rev();
        let (key, mut mark) = back.next()?;
        let last_seen = key.0;
        let unbroken = match self.gap_after((at, u64::MAX)) {
            Some(Gap::Unbroken) => true,
            Some(Gap::Silent { at: offline, .. }) => at <= offline,
            None => self.judge(last_seen, at) == Gap::Unbroken,
        };
        if !unbroken {
            return None;
        }
        loop {
            match &mark.kind {
                Kind::Report { state, row } => return state.is_live().then_some((state, *row)),
                // A sign that follows a silence, or nobody, is a conclusion: it wakes.
                Kind::Sign { .. } if mark.gap != Gap::Unbroken => return None,
                Kind::Sign { .. } => mark = back.next()?.1,
            }
        }
    }

    /// How time passed over the place of `key`, up to the next mark; `None` where it is open there.
    fn gap_after(&self, key: Key) -> Option<Gap> {
        match self.marks.range((Excluded(key), Unbounded)).next() {
            Some((_, mark)) => Some(mark.gap),
            None => Some(self.tail).filter(|tail| *tail != Gap::Unbroken),
        }
    }

    fn set_gap_after(&mut self, key: Key, gap: Gap) {
        match self.marks.range_mut((Excluded(key), Unbounded)).next() {
            Some((_, mark)) => mark.gap = gap,
            None => self.tail = gap,
        }
    }

    /// The gaps on both sides of a mark that comes to stand at `key`.
    fn split(&self, key: Key) -> (Gap, Gap) {
        let before = self.marks.range(..key).next_back();
        let after = self.marks.range((Excluded(key), Unbounded)).next();
        let to_next = after.map_or(Gap::Unbroken, |(next, _)| self.judge(key.0, next.0));
        match before {
            Some((last, mark)) if mark.is_live() => match self.gap_after(key) {
                Some(Gap::Unbroken) => (Gap::Unbroken, Gap::Unbroken),
                // The silence stands if it had begun; it keeps the timeout it was concluded with.
                Some(silence @ Gap::Silent { at, .. }) if key.0 > at => (silence, to_next),
                Some(Gap::Silent { .. }) => (Gap::Unbroken, to_next),
                None => (self.judge(last.0, key.0), to_next),
            },
            _ => (Gap::Unbroken, to_next),
        }
    }

    /// How time passed between two signs that nothing is known between.
    fn judge(&self, last: Timestamp, next: Timestamp) -> Gap {
        match self.timeout {
            Some(timeout) if !is_alive(last, next, timeout) => {
                Gap::Silent { at: last.saturating_add(timeout), row: None }
            }
            _ => Gap::Unbroken,
        }
    }

    /// Forgets the signs at and beside `key` that say nothing any more.
    fn tidy_around(&mut self, key: Key) {
        let before = self.marks.range(..key).next_back().map(|(key, _)| *key);
        let after = self.marks.range((Excluded(key), Unbounded)).next().map(|(key, _)| *key);
        [Some(key), before, after].into_iter().flatten().for_each(|key| self.tidy(key));
    }

    fn tidy(&mut self, key: Key) {
        let before = self.marks.range(..key).next_back().map(|(_, mark)| mark.is_live());
        let after = self.marks.range((Excluded(key), Unbounded)).next();
        let next =
            after.filter(|(_, mark)| mark.gap == Gap::Unbroken).map(|(key, mark)| (*key, mark.is_live()));
        let Some(Mark { gap, kind: Kind::Sign { state, row } }) = self.marks.get_mut(&key) else { return };
        let gap = *gap;
        let is_inside = gap == Gap::Unbroken && before.unwrap_or(self.starts_live);
        if is_inside {
            // It wakes nobody, so what it would have woken to is not remembered.
            (*state, *row) = (None, None);
        }
        if let Some((next, is_live)) = next
            && (is_inside || is_live && next.0 == key.0)
        {
            self.marks.remove(&key);
            if let Some(mark) = self.marks.get_mut(&next) {
                mark.gap = gap;
            }
        }
    }
}
