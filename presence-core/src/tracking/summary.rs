//! How the time of each day was spent.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::{LocalDay, StateDuration, Window, tracking::duration::sorted};

/// How a user spent one local day.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, ManualClock, MemoryStore, StateType, Timestamp, Tracker, UserId, Zone};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
/// clock.set(Timestamp::from_secs(1050)?);
/// let zone = Zone::new("Europe/Berlin")?;
/// let days = tracker.summaries(&alice, "1970-01-01".parse()?, "1970-01-31".parse()?, &zone).await?;
/// assert_eq!(days.len(), 1); // days without time are left out
/// assert_eq!(days[0].durations[0].duration.as_secs(), 50);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DaySummary {
    /// The day.
    pub day: LocalDay,
    /// Time per state, longest first, then by name; states without time are left out.
    pub durations: Vec<StateDuration>,
}

impl DaySummary {
    /// The date on the calendar.
    #[must_use]
    pub const fn date(&self) -> NaiveDate {
        self.day.date()
    }

    /// The spans of `days` in order of time, each with the number of its day: what a summary asks a store for.
    pub(crate) fn windows(days: &[LocalDay]) -> Vec<(usize, Window)> {
        let spans = days.iter().enumerate();
        let mut windows: Vec<_> =
            spans.flat_map(|(n, day)| day.spans().iter().map(move |span| (n, *span))).collect();
        windows.sort_by_key(|(_, span)| span.from());
        windows
    }

    /// Puts the durations of the spans together, day by day; days without time are left out.
    pub(crate) fn of(
        days: Vec<LocalDay>,
        spans: impl Iterator<Item = (usize, Vec<StateDuration>)>,
    ) -> Vec<Self> {
        let mut sums: Vec<BTreeMap<_, i64>> = days.iter().map(|_| BTreeMap::new()).collect();
        for (number, durations) in spans {
            for StateDuration { state, duration } in durations {
                let sum = sums[number].entry(state).or_default();
                *sum = sum.saturating_add(duration.as_millis().try_into().unwrap_or(i64::MAX));
            }
        }
        let summaries = days.into_iter().zip(sums);
        summaries
            .map(|(day, sums)| Self { day, durations: sorted(sums) })
            .filter(|summary| !summary.durations.is_empty())
            .collect()
    }
}
