//! Days that are over, summed up once.
//!
//! Time before [`Session::last_state_change`] is closed: what it was spent on does not depend on the time, on the timeout,
//! on a silence that nobody has concluded or on beats in memory, and only a commit changes it. So the sum of a day
//! holds if the day ends by then, until a commit says that it does not:
//!
//! ```text
//! rows       W---I--|--W----------|-----O----|-------W------> now
//! days       |      |             |          |       ^ last_state_change
//! kept       [W 4 I3][W 11 I 2]   [O 5 W 6]  :  open, never kept
//! changed         ^ late report: this day is forgotten, and folded again
//! ```

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{Context, Facts, LocalDay, Session, StateType, Timestamp, UserId, Version, Window, Zone};

/// The most days of a user that one fold sums up.
const DAYS: usize = 366;

/// A day that is over, and the time in each state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClosedDay {
    /// When the day was; one of its pieces, where the clock went back over midnight. Whatever the zone, this is what was
    /// summed up.
    pub window: Window,
    /// Time per state, by state, in milliseconds; never empty.
    pub closed: Vec<(StateType, i64)>,
}

impl ClosedDay {
    /// No day that is kept is longer than this. So a day that an instant lies in begins at most this long before it.
    pub const LONGEST: Duration = Duration::from_secs(72 * 3600);
}

/// How far the days of a user are folded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The IANA name of the zone whose days they are.
    pub zone: String,
    /// The next fold begins with the day that holds this instant.
    pub resume_at: Timestamp,
    /// There is something to fold once [`Session::last_state_change`] has reached this instant.
    pub due_at: Timestamp,
}

/// Some days of a user, summed up: what [`SummaryCache::keep`](crate::SummaryCache::keep) takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fold {
    /// Whose days.
    pub user: UserId,
    /// The version of the session they were summed up on.
    pub version: Version,
    /// How far the user is folded with it.
    pub mark: Mark,
    /// The days, oldest first; may be empty. None ends after [`Mark::resume_at`].
    pub days: Vec<ClosedDay>,
    /// When they were summed up.
    pub at: Timestamp,
}

/// What a store has kept: what [`SummaryCache::kept`](crate::SummaryCache::kept) gives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// The version of the session at that time: the days are true of this version.
    pub version: Version,
    /// The days, oldest first.
    pub days: Vec<ClosedDay>,
}

/// Which days a fold is to sum up, before anybody has.
#[derive(Debug)]
pub(crate) struct Plan {
    session: Session,
    mark: Mark,
    pub(crate) windows: Vec<Window>,
}

impl Mark {
    /// Whether days of `session` are over that were not folded in `zone`.
    pub(crate) fn is_due(mark: Option<&Self>, session: &Session, zone: &Zone) -> bool {
        mark.is_none_or(|mark| mark.zone != zone.name() || session.last_state_change >= mark.due_at)
    }

    /// Where the next fold in `zone` begins to look for rows.
    pub(crate) fn start(mark: Option<&Self>, zone: &Zone) -> Timestamp {
        let mark = mark.filter(|mark| mark.zone == zone.name());
        let day = mark.map(|mark| zone.day(zone.date_of(mark.resume_at)));
        day.and_then(|day| Some(day.spans().first()?.from())).unwrap_or(Timestamp::MIN)
    }
}

impl Plan {
    /// The next days that are over, from the day of the first row at or after `start` on: before it nothing has changed.
    /// `context` is what a store loads about that instant. `None` for an unknown user.
    pub(crate) fn new(context: Context, start: Timestamp, zone: &Zone) -> Option<Self> {
        let session = context.session?;
        let end = session.last_state_change;
        let today = zone.date_of(end);
        let first = context.rows.iter().find(|row| row.at >= start).map(|row| zone.date_of(row.at));
        let mut dates =
            first.into_iter().flat_map(|first| first.iter_days()).take_while(|date| *date <= today);
        let days = dates.by_ref().take(DAYS).map(|date| zone.day(date));
        let days: Vec<LocalDay> = days.filter(|day| day_end(day).is_some_and(|to| to <= end)).collect();
        let due_at = match dates.next() {
            Some(_) => Timestamp::MIN,
            None => day_end(&zone.day(today)).unwrap_or(end),
        };
        let resume_at = days.iter().filter_map(day_end).max().unwrap_or(start);
        let spans =
            days.iter().flat_map(|day| day.spans()).filter(|span| span.length() <= ClosedDay::LONGEST);
        let mut windows: Vec<_> = spans.copied().collect();
        // Days in two pieces each hold a piece of the other.
        windows.sort_by_key(|window| window.from());
        Some(Self { session, mark: Mark { zone: zone.name().to_owned(), resume_at, due_at }, windows })
    }

    /// The fold, once the closed time of its windows is known. Where that is of another version than the plan, no store
    /// keeps the fold.
    pub(crate) fn fold(self, facts: Facts, at: Timestamp) -> Fold {
        let days = self.windows.into_iter().zip(facts.closed);
        let days = days.map(|(window, closed)| ClosedDay { window, closed }).filter(ClosedDay::has_change);
        let Session { user, version, .. } = self.session;
        Fold { user, version, mark: self.mark, days: days.collect(), at }
    }
}

impl ClosedDay {
    /// Whether the day had more to it than one state all the time. One without is found with a look at the row before it,
    /// so that years in one state take no space.
    fn has_change(&self) -> bool {
        match self.closed.as_slice() {
            [] => false,
            [(_, sum)] => u128::from(sum.unsigned_abs()) < self.window.length().as_millis(),
            _ => true,
        }
    }
}

impl Kept {
    /// Those of `windows` that are not kept, in order.
    pub(crate) fn missing(&self, windows: &[Window]) -> Vec<Window> {
        let kept: HashSet<_> = self.days.iter().map(|day| day.window).collect();
        windows.iter().filter(|window| !kept.contains(window)).copied().collect()
    }

    /// The facts of all `windows`: `facts` are those of the missing ones, of the same version.
    pub(crate) fn complete(self, windows: &[Window], facts: Facts) -> Facts {
        let mut days: HashMap<_, _> = self.days.into_iter().map(|day| (day.window, day.closed)).collect();
        let mut missing = facts.closed.into_iter();
        let closed = windows.iter().map(|window| match days.remove(window) {
            Some(closed) => closed,
            None => missing.next().unwrap_or_default(),
        });
        Facts { closed: closed.collect(), session: facts.session }
    }
}

/// When a day is over; `None` for one that its zone skipped.
fn day_end(day: &LocalDay) -> Option<Timestamp> {
    day.spans().last().map(|span| span.to())
}
