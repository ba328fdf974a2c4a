//! Which events count, for which day, and how long they are kept.

use std::{fmt, time::Duration};

use chrono::NaiveDate;

use crate::{EventName, LocalDay, Rejection, Timestamp, Zone};

/// Which events make their people active.
///
/// ```
/// use presence_core::CountedEvents;
///
/// assert_eq!(CountedEvents::parse("*")?, CountedEvents::Every);
/// assert!(matches!(CountedEvents::parse("app_session_start")?, CountedEvents::Named(_)));
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CountedEvents {
    /// Those of this name.
    Named(EventName),
    /// All of them.
    Every,
}

impl CountedEvents {
    /// Parses an event name, or `*` for every event.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidEventName`] where it is neither.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        if text == "*" { Ok(Self::Every) } else { EventName::new(text).map(Self::Named) }
    }
}

/// As [`parse`](CountedEvents::parse) takes it.
impl fmt::Display for CountedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Every => f.write_str("*"),
        }
    }
}

/// The settings of active users. A change of [`zone`](Self::zone) or [`counted`](Self::counted) takes effect on events
/// that come after it: what was counted stays as it was.
///
/// ```
/// use presence_core::{ActivityPolicy, CountedEvents, Zone};
///
/// let policy = ActivityPolicy {
///     counted: CountedEvents::parse("page_view")?,
///     zone: Zone::new("Asia/Shanghai")?,
///     ..ActivityPolicy::default()
/// };
/// assert_eq!(policy.late_window.map(|window| window.as_secs()), Some(72 * 3600));
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug)]
pub struct ActivityPolicy {
    /// Which events count. Default: those named `app_session_start`.
    pub counted: CountedEvents,
    /// The zone whose days are reported. Default UTC.
    pub zone: Zone,
    /// An event older than this when it arrives is stored and not counted. `None`: counted however old it is, and no
    /// day is ever final; for replaying what happened earlier. Default 72 h.
    pub late_window: Option<Duration>,
    /// A stamp up to this far ahead of the clock is taken as now; beyond, it is refused. Default 300 s.
    pub max_future: Duration,
    /// How old the figures of a day are at least before a refold counts it anew, so that a busy day is not counted all
    /// the time. Default zero.
    pub refold_after: Duration,
    /// How long events are kept; older ones are not counted when they come. Figures stay. `None`: for ever. Default
    /// `None`.
    pub keep_events: Option<Duration>,
    /// How long snapshots of the online count are kept. `None`: for ever. Default `None`.
    pub keep_snapshots: Option<Duration>,
}

impl ActivityPolicy {
    /// Whether an event of this name and instant, which arrived at `created_at`, makes its person active.
    #[must_use]
    pub fn counts(&self, name: &EventName, at: Timestamp, created_at: Timestamp) -> bool {
        let is_counted = match &self.counted {
            CountedEvents::Every => true,
            CountedEvents::Named(counted) => counted == name,
        };
        let age = created_at.since(at);
        is_counted && [self.late_window, self.keep_events].iter().flatten().all(|limit| age <= *limit)
    }

    /// The local day of an instant.
    #[must_use]
    pub fn day_of(&self, at: Timestamp) -> NaiveDate {
        self.zone.date_of(at)
    }

    /// Whether nothing that comes can change the figures of a day any more: it is over, and so is the late window
    /// after it. A day that the zone skipped never was.
    #[must_use]
    pub fn is_over(&self, day: &LocalDay, now: Timestamp) -> bool {
        let end = day.spans().iter().map(|span| span.to()).max();
        end.zip(self.late_window).is_some_and(|(end, window)| now >= end.saturating_add(window))
    }

    /// From where on events are kept at `now`: the beginning of a day, so that no day is kept in part.
    #[must_use]
    pub fn horizon(&self, now: Timestamp) -> Option<Horizon> {
        let cutoff = now.saturating_sub(self.keep_events?);
        let day = self.day_of(cutoff);
        let at = self.zone.day(day).spans().iter().map(|span| span.from()).min()?;
        Some(Horizon { day, at })
    }
}

impl Default for ActivityPolicy {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
        Self {
            counted: CountedEvents::parse("app_session_start").unwrap_or(CountedEvents::Every),
            zone: Zone::utc(),
            late_window: Some(hours(72)),
            max_future: Duration::from_secs(300),
            refold_after: Duration::ZERO,
            keep_events: None,
            keep_snapshots: None,
        }
    }
}

/// From where on events are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Horizon {
    /// The first day that is kept.
    pub day: NaiveDate,
    /// Its first instant.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(text.parse().expect("a time")).expect("in range")
    }

    #[test]
    fn an_event_counts_by_its_name_and_within_the_late_window() {
        let start = EventName::new("app_session_start").expect("a name");
        let click = EventName::new("click").expect("a name");
        let policy = ActivityPolicy::default();
        let (happened, now) = (at("2025-01-01T00:00:00Z"), at("2025-01-04T00:00:00Z"));
        assert!(policy.counts(&start, happened, now), "72 h, to the millisecond");
        assert!(!policy.counts(&start, happened, now.saturating_add(Duration::from_millis(1))));
        assert!(!policy.counts(&click, now, now));
        let every = ActivityPolicy { counted: CountedEvents::Every, late_window: None, ..policy };
        assert!(every.counts(&click, Timestamp::MIN, now));
        let kept = ActivityPolicy { keep_events: Some(Duration::from_secs(60)), ..every };
        assert!(!kept.counts(&click, happened, now), "its day may be gone already");
    }

    #[test]
    fn a_day_is_over_when_its_late_window_has_passed() {
        let policy =
            ActivityPolicy { zone: Zone::new("Asia/Shanghai").expect("a zone"), ..ActivityPolicy::default() };
        let day = policy.zone.day("2025-01-01".parse().expect("a day"));
        assert!(!policy.is_over(&day, at("2025-01-04T15:59:59.999Z")));
        assert!(policy.is_over(&day, at("2025-01-04T16:00:00Z")));
        let replay = ActivityPolicy { late_window: None, ..policy };
        assert!(!replay.is_over(&day, Timestamp::MAX), "anything may still come");
    }

    #[test]
    fn whole_days_are_kept() {
        let week = Some(Duration::from_secs(7 * 86_400));
        let zone = Zone::new("Asia/Shanghai").expect("a zone");
        let policy = ActivityPolicy { zone, keep_events: week, ..ActivityPolicy::default() };
        let horizon = policy.horizon(at("2025-01-10T17:00:00Z")).expect("a horizon");
        assert_eq!(horizon.day.to_string(), "2025-01-04");
        assert_eq!(horizon.at, at("2025-01-03T16:00:00Z"));
        assert_eq!(ActivityPolicy::default().horizon(Timestamp::MAX), None);
    }
}
