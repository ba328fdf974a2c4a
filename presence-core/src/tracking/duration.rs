//! How long a user was in which state.

use std::{collections::BTreeMap, time::Duration};

use crate::{Policy, Session, StateType, Timestamp, UserId, Window};

/// Time spent in one state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateDuration {
    /// The state.
    pub state: StateType,
    /// How long, to the millisecond; never zero.
    pub duration: Duration,
}

/// What a user is doing, since when, and how the time of a window was spent.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, StateType, Timestamp, Tracker, UserId, Window};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// clock.set(Timestamp::from_secs(1100)?);
/// let status = tracker.status(&alice, Window::all()).await?.expect("alice was recorded");
/// assert_eq!((status.current_state, status.since.as_secs()), (StateType::Offline, 1060));
/// let seconds: Vec<_> = status.durations.iter().map(|part| part.duration.as_secs()).collect();
/// assert_eq!(seconds, [60, 40]); // Working until the silence, Offline since
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// Whose status it is.
    pub user: UserId,
    /// The state now: Offline where the silence has lasted too long, whether or not a sweep has said so.
    pub current_state: StateType,
    /// When the current state began: the start of the latest run of equal states.
    pub since: Timestamp,
    /// The last sign of life; the first report where there was none.
    pub last_heartbeat: Timestamp,
    /// Time per state, longest first, then by name; states without time are left out.
    pub durations: Vec<StateDuration>,
}

/// The facts of a user's time in some windows, from one snapshot of a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The session.
    pub session: Session,
    /// Closed time per window asked for and state, in milliseconds: all of it before
    /// [`Session::last_state_change`].
    pub closed: Vec<Vec<(StateType, i64)>>,
}

/// Sums up closed time per state over some windows, row by row.
///
/// ```text
/// rows        W-------I---W-----------O
/// windows         [----------)[------)
/// sums            [WWW][I][W)[WW)
/// ```
///
/// A store feeds it the rows of a user in order, from the last one at or before the first window on.
///
/// ```
/// use presence_core::{StateType, Tally, Timestamp, Window};
///
/// let at = |secs| Timestamp::from_secs(secs).unwrap();
/// let mut tally = Tally::new(vec![Window::new(at(1050), at(1200))?]);
/// tally.row(at(1000), &StateType::Working);
/// tally.row(at(1100), &StateType::Idle);
/// tally.row(at(1160), &StateType::Working);
/// let sums = tally.finish(at(1400));
/// assert_eq!(sums[0], [(StateType::Idle, 60_000), (StateType::Working, 90_000)]);
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Debug)]
pub struct Tally {
    windows: Vec<Window>,
    sums: Vec<BTreeMap<StateType, i64>>,
    /// The first window that may still receive time.
    next: usize,
    open: Option<(Timestamp, StateType)>,
}

impl Tally {
    /// Sums over `windows`, which are in order and do not overlap.
    #[must_use]
    pub fn new(windows: Vec<Window>) -> Self {
        let sums = windows.iter().map(|_| BTreeMap::new()).collect();
        Self { windows, sums, next: 0, open: None }
    }

    /// Takes the next row: it closes the time of the row before.
    pub fn row(&mut self, at: Timestamp, state: &StateType) {
        self.close(at);
        match &mut self.open {
            Some((since, current)) if current == state => *since = at,
            open => *open = Some((at, state.clone())),
        }
    }

    /// Ends the last row at `end`, and gives the sums per window, by state.
    #[must_use]
    pub fn finish(mut self, end: Timestamp) -> Vec<Vec<(StateType, i64)>> {
        self.close(end);
        self.sums.into_iter().map(|sums| sums.into_iter().collect()).collect()
    }

    fn close(&mut self, at: Timestamp) {
        let Some((from, state)) = &self.open else { return };
        while let (Some(window), Some(sums)) = (self.windows.get(self.next), self.sums.get_mut(self.next)) {
            let length = at.min(window.to()).millis_since((*from).max(window.from()));
            if length > 0 {
                match sums.get_mut(state) {
                    Some(sum) => *sum = sum.saturating_add(length),
                    None => drop(sums.insert(state.clone(), length)),
                }
            }
            if at < window.to() {
                break;
            }
            self.next = self.next.saturating_add(1);
        }
    }
}

impl Facts {
    /// The status at `now`: `window` is the one window that was asked for.
    ///
    /// The time since the last change is open and counts up to now; where the silence has lasted longer than the
    /// timeout it is Offline from one timeout after the last sign of life on.
    #[must_use]
    pub fn status(mut self, window: Window, now: Timestamp, policy: &Policy) -> Status {
        let lapse = policy.lapse(&self.session, now);
        let closed = self.closed.drain(..).next().unwrap_or_default();
        let durations = self.with_open(closed, window, now, lapse);
        let Session { user, current_state, last_heartbeat, last_state_change, .. } = self.session;
        let (current_state, since) = match lapse {
            Some(at) => (StateType::Offline, at),
            None => (current_state, last_state_change),
        };
        Status { user, current_state, since, last_heartbeat, durations }
    }

    /// Time per state in each of `windows`, which were asked for, up to `now`.
    #[must_use]
    pub fn durations(
        mut self,
        windows: &[Window],
        now: Timestamp,
        policy: &Policy,
    ) -> Vec<Vec<StateDuration>> {
        let lapse = policy.lapse(&self.session, now);
        let closed: Vec<_> = self.closed.drain(..).collect();
        closed
            .into_iter()
            .zip(windows)
            .map(|(sums, window)| self.with_open(sums, *window, now, lapse))
            .collect()
    }

    fn with_open(
        &self,
        closed: Vec<(StateType, i64)>,
        window: Window,
        now: Timestamp,
        lapse: Option<Timestamp>,
    ) -> Vec<StateDuration> {
        let mut sums: BTreeMap<StateType, i64> = closed.into_iter().collect();
        let end = window.to().min(now);
        let live_end = lapse.unwrap_or(end).min(end);
        let mut add = |state: &StateType, from: Timestamp, to: Timestamp| {
            let length = to.millis_since(from.max(window.from()));
            if length > 0 {
                let sum = sums.entry(state.clone()).or_default();
                *sum = sum.saturating_add(length);
            }
        };
        add(&self.session.current_state, self.session.last_state_change, live_end);
        if let Some(lapse) = lapse {
            add(&StateType::Offline, lapse, end);
        }
        sorted(sums)
    }
}

/// Longest first, then by name, without zeros.
pub(crate) fn sorted(sums: impl IntoIterator<Item = (StateType, i64)>) -> Vec<StateDuration> {
    let mut durations: Vec<_> = sums
        .into_iter()
        .filter_map(|(state, sum)| Some((state, u64::try_from(sum).ok().filter(|sum| *sum > 0)?)))
        .map(|(state, sum)| StateDuration { state, duration: Duration::from_millis(sum) })
        .collect();
    durations.sort_by(|a, b| b.duration.cmp(&a.duration).then_with(|| a.state.cmp(&b.state)));
    durations
}
