//! Pages of longer lists.

use std::{fmt, str::FromStr};

use crate::{CheckpointId, Rejection, Timestamp};

/// The most items of a page.
const PAGE: usize = 1000;

/// A page of a longer list.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, StateType, Timestamp, Tracker, UserId, Window};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// for state in ["Working", "Gaming", "Reading"] {
///     tracker.record(Envelope::checkpoint(alice.clone(), StateType::new(state)?)).await?;
/// }
/// let first = tracker.history(&alice, Window::all(), None, 2).await?;
/// let second = tracker.history(&alice, Window::all(), first.next, 2).await?;
/// assert_eq!((first.items.len(), second.items.len(), second.next), (2, 1, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<T, C> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// How many items to ask for, to know whether there is another page.
    pub(crate) fn ask(limit: usize) -> Result<usize, Rejection> {
        if (1..=PAGE).contains(&limit) { Ok(limit.saturating_add(1)) } else { Err(Rejection::InvalidLimit) }
    }

    /// Cuts what was asked for to the page.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> C) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(place);
        Self { items, next }
    }
}

/// A place in a history: after the row of this instant and id.
///
/// ```
/// use presence_core::Cursor;
///
/// let cursor: Cursor = "1717161600000-42".parse()?;
/// assert_eq!(cursor.to_string(), "1717161600000-42");
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor {
    pub(crate) at: Timestamp,
    pub(crate) id: CheckpointId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.as_millis(), self.id)
    }
}

impl FromStr for Cursor {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        let (at, id) = text.split_once('-').ok_or(Rejection::InvalidCursor)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| Rejection::InvalidCursor);
        let at = Timestamp::from_millis(number(at)?).map_err(|_| Rejection::InvalidCursor)?;
        let id = CheckpointId::new(number(id)?).map_err(|_| Rejection::InvalidCursor)?;
        Ok(Self { at, id })
    }
}
