//! The loaded slice of a timeline, and what a new fold over it changes beyond it: the session and the totals.

use std::collections::BTreeMap;

use crate::{
    Ask, Checkpoint, Context, Event, Session, Source, StateType, Timestamp, UserId, Version, Window,
    tracking::timeline::{Entry, Origin},
};

/// The slice of a timeline that a decision looks at.
///
/// Three rows after the last envelope hold all that it can change: a timeout that moves, the wake after it, and the
/// row up to which that wake counts. Two rows before the first hold all that it follows from: a timeout, and the state
/// before it. The last instant is whole, so that a run or span that began by then holds the last row.
pub(crate) struct Slice<'a> {
    context: &'a Context,
    user: &'a UserId,
    /// Whether the rows reach the end of the timeline.
    is_open: bool,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(context: &'a Context, ask: &'a Ask) -> Self {
        let later = context.rows.iter().rev().take_while(|row| row.at > ask.last).count();
        Self { context, user: &ask.user, is_open: later < 3 }
    }

    fn session(&self) -> Option<&'a Session> {
        self.context.session.as_ref()
    }

    /// The session, where the slice reaches the end that it describes.
    pub(crate) fn open_session(&self) -> Option<&'a Session> {
        self.session().filter(|_| self.is_open)
    }

    /// Whether the slice ends in a silence that was concluded.
    pub(crate) fn ends_in_silence(&self) -> bool {
        self.is_open && self.context.rows.last().is_some_and(|row| row.source == Source::Timeout)
    }

    /// The conclusions that no longer hold. Reports always do.
    pub(crate) fn withdrawn(&self, entries: &[Entry<'_>]) -> Vec<&'a Checkpoint> {
        let mut kept: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry.origin {
                Some(Origin::Stored(id)) => Some(id),
                _ => None,
            })
            .collect();
        kept.sort_unstable();
        self.context.rows.iter().filter(|row| kept.binary_search(&row.id).is_err()).collect()
    }

    /// The session after the fold; `None` where there is nothing to describe.
    pub(crate) fn session_after(
        &self,
        entries: &[Entry<'_>],
        last_sign: Option<Timestamp>,
    ) -> Option<Session> {
        let last = entries.last()?;
        let before = self.session();
        // Where the slice ends early, it tells about the current run and span only if they reach into it.
        let holds = |since: fn(&Session) -> Timestamp| {
            self.is_open || before.is_some_and(|session| since(session) <= last.at)
        };
        let mut after = before.cloned().unwrap_or_else(|| Session {
            user: self.user.clone(),
            current_state: last.state.clone(),
            live_since: last.at,
            last_heartbeat: last_sign.unwrap_or(last.at),
            last_state_change: last.at,
            version: Version(0),
        });
        if self.is_open {
            after.current_state = last.state.clone();
        }
        if holds(|session| session.last_state_change) {
            after.last_state_change = self.start(entries, trailing(entries, |state| state == last.state));
        }
        if after.current_state.is_live() && last.state.is_live() && holds(|session| session.live_since) {
            let first = trailing(entries, StateType::is_live);
            let known = before.filter(|session| session.current_state.is_live() && first == 0);
            let known = known.map(|session| session.live_since).filter(|since| *since <= entries[0].at);
            // Before the slice nothing is known: later than the truth is safe, earlier would not be.
            after.live_since = known.unwrap_or(entries[first].at);
        }
        after.last_heartbeat = last_sign.map_or(after.last_heartbeat, |sign| sign.max(after.last_heartbeat));
        Some(after)
    }

    /// When the entry at `index` begins to count: its run may have begun before the slice.
    fn start(&self, entries: &[Entry<'_>], index: usize) -> Timestamp {
        let is_loaded = self.context.rows.first().map(|row| Origin::Stored(row.id)) == entries[index].origin;
        let run_start = self.context.run_start.filter(|_| index == 0 && is_loaded);
        run_start.unwrap_or(entries[index].at)
    }

    /// What the fold adds to the closed time of each state; see [`Commit::totals`](crate::Commit::totals).
    pub(crate) fn totals(&self, entries: &[Entry<'_>], after: &Session) -> Vec<(StateType, i64)> {
        let mut sums = BTreeMap::new();
        for (sign, spans) in [(-1, self.closed_before()), (1, self.closed_after(entries, after))] {
            for span in spans {
                let sum: &mut i64 = sums.entry(span.state).or_default();
                *sum = sum.saturating_add(span.to.millis_since(span.from).saturating_mul(sign));
            }
        }
        sums.into_iter().filter(|(_, sum)| *sum != 0).map(|(state, sum)| (state.clone(), sum)).collect()
    }

    /// Which closed time the fold changes; see [`Commit::changed`](crate::Commit::changed).
    pub(crate) fn changed(&self, entries: &[Entry<'_>], after: &Session) -> Option<Window> {
        // What lies behind that was open, and nobody has summed it up.
        let end = self.session()?.last_state_change;
        let changed = difference(&self.closed_before(), &self.closed_after(entries, after))?;
        Window::new(changed.from(), changed.to().min(end))
            .ok()
            .filter(|changed| changed.from() < changed.to())
    }

    /// The closed time of the loaded rows.
    fn closed_before(&self) -> Vec<Span<'_>> {
        let (Some(session), Some(first)) = (self.session(), self.context.rows.first()) else {
            return Vec::new();
        };
        let start = self.context.run_start.unwrap_or(first.at);
        self.closed(self.context.rows.iter().map(|row| (row.at, &row.state)), start, session)
    }

    /// The closed time after the fold.
    fn closed_after<'e>(&self, entries: &[Entry<'e>], after: &Session) -> Vec<Span<'e>> {
        if entries.is_empty() {
            return Vec::new();
        }
        let rows = entries.iter().map(|entry| (entry.at, entry.state));
        self.closed(rows, self.start(entries, 0), after)
    }

    /// The spans of rows up to where `session` says that closed time ends, or the slice does; the first of them counts
    /// from `start`.
    fn closed<'r>(
        &self,
        rows: impl Iterator<Item = (Timestamp, &'r StateType)>,
        start: Timestamp,
        session: &Session,
    ) -> Vec<Span<'r>> {
        let mut spans: Vec<Span<'r>> = Vec::new();
        let mut last: Option<(Timestamp, &StateType)> = None;
        let mut close = |last: Option<(Timestamp, &'r StateType)>, to: Timestamp| {
            let Some((from, state)) = last else { return };
            let to = to.min(session.last_state_change);
            match spans.last_mut() {
                _ if from >= to => {}
                Some(span) if span.state == state => span.to = to,
                _ => spans.push(Span { from, to, state }),
            }
        };
        for (at, state) in rows {
            close(last, at);
            last = Some((last.map_or(start, |_| at), state));
        }
        if self.is_open {
            close(last, Timestamp::MAX);
        }
        spans
    }

    /// Every change of the current state, in order, and what became of conclusions.
    pub(crate) fn events(
        &self,
        entries: &[Entry<'_>],
        after: &Session,
        withdrawn: &[&Checkpoint],
    ) -> Vec<Event> {
        let before = self.session();
        let mut events = self.changes(entries, after);
        if let Some(first) = withdrawn.first() {
            let is_new = |entry: &&Entry<'_>| entry.source.is_conclusion() && entry.origin.is_none();
            let new: Vec<_> = entries.iter().filter(is_new).collect();
            let from = new.first().map_or(first.at, |entry| entry.at.min(first.at));
            let last = withdrawn.iter().map(|row| row.at).chain(new.iter().map(|entry| entry.at)).max();
            events.push(Event::TimelineCorrected {
                user: self.user.clone(),
                from,
                to: entries.iter().map(|entry| entry.at).find(|at| Some(*at) > last),
                before: withdrawn.iter().map(|row| (row.at, row.state.clone())).collect(),
                after: new.iter().map(|entry| (entry.at, entry.state.clone())).collect(),
                version: before.map_or(Version(0), |session| session.version),
            });
        }
        events
    }

    /// The states that came one after the other behind what is stored, up to the one that is current now.
    fn changes(&self, entries: &[Entry<'_>], after: &Session) -> Vec<Event> {
        let Some(last) = entries.last() else { return Vec::new() };
        let version = self.session().map_or(Version(0), |session| session.version);
        let is_stored = |entry: &Entry<'_>| matches!(entry.origin, Some(Origin::Stored(_)));
        let new = entries.iter().rposition(is_stored).map_or(0, |last| last.saturating_add(1));
        // Where the slice ends early, nothing in it is current. Where a conclusion was withdrawn, the current run may have
        // begun before.
        let new = entries.iter().skip(new).filter(|_| self.is_open);
        let new = new.map(|entry| (entry.state, entry.at.min(after.last_state_change), entry.source));
        let current = (&after.current_state, after.last_state_change, last.source);
        let mut before = self.session().map(|session| &session.current_state);
        let mut events = Vec::new();
        for (state, at, source) in new.chain([current]) {
            if before != Some(state) {
                let (user, before, after) = (after.user.clone(), before.cloned(), state.clone());
                events.push(Event::StateChanged { user, before, after, at, source, version });
            }
            before = Some(state);
        }
        events
    }
}

/// The index at which the unbroken run of matching states begins that ends the entries.
fn trailing(entries: &[Entry<'_>], matches: impl Fn(&StateType) -> bool) -> usize {
    let run = entries.iter().rev().take_while(|entry| matches(entry.state)).count();
    entries.len().saturating_sub(run)
}

/// Time in one state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Span<'s> {
    from: Timestamp,
    to: Timestamp,
    state: &'s StateType,
}

/// From the first to the last instant at which two rows of spans differ. In each, spans follow each other without gaps,
/// and neighbours differ in state.
///
/// ```text
/// before   WWWWIIIIIWWWWO
/// after    WWWWIISSIWWWWO
/// differ         [--)
/// ```
fn difference(before: &[Span<'_>], after: &[Span<'_>]) -> Option<Window> {
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    let (before, after) = (before.get(same..)?, after.get(same..)?);
    let from = match (before.first(), after.first()) {
        (Some(before), Some(after)) if before.from == after.from && before.state == after.state => {
            before.to.min(after.to)
        }
        (Some(before), Some(after)) => before.from.min(after.from),
        (Some(only), None) | (None, Some(only)) => only.from,
        (None, None) => return None,
    };
    let same = before.iter().rev().zip(after.iter().rev()).take_while(|(before, after)| before == after);
    let same = same.count();
    let to = match (before.iter().nth_back(same), after.iter().nth_back(same)) {
        (Some(before), Some(after)) if before.to == after.to && before.state == after.state => {
            before.from.max(after.from)
        }
        (Some(before), Some(after)) => before.to.max(after.to),
        (Some(only), None) | (None, Some(only)) => only.to,
        // All that is left is equal from behind too, so nothing differs.
        (None, None) => return None,
    };
    Window::new(from, to).ok()
}
