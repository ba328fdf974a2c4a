//! Instants, windows of time, and local days.
//!
//! [`Timestamp`] is the only instant inside: whole milliseconds since the Unix epoch. Each wire keeps its own unit and
//! converts at its edge, flooring. Zone rules come from bundled IANA data, never from the host's files.

use std::{fmt, time::Duration};

use chrono::{DateTime, Days, NaiveDate, Utc};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::Rejection;

/// An instant: whole milliseconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
///
/// ```
/// use presence_core::Timestamp;
///
/// let at = Timestamp::from_secs(1_717_161_600)?;
/// assert_eq!(at.as_millis(), 1_717_161_600_000);
/// assert_eq!(at.to_string(), "2024-05-31T13:20:00.000Z");
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant: the Unix epoch.
    pub const MIN: Self = Self(0);
    /// The latest instant: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The instant `millis` milliseconds after the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidTimestamp`] where it lies outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    pub fn from_millis(millis: i64) -> Result<Self, Rejection> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(Rejection::InvalidTimestamp)
        }
    }

    /// The instant `secs` seconds after the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidTimestamp`] where it lies outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    pub fn from_secs(secs: i64) -> Result<Self, Rejection> {
        secs.checked_mul(1000).ok_or(Rejection::InvalidTimestamp).and_then(Self::from_millis)
    }

    /// The instant of a chrono date and time, floored to the millisecond.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidTimestamp`] where it lies outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    pub fn from_datetime(at: DateTime<Utc>) -> Result<Self, Rejection> {
        Self::from_millis(at.timestamp_millis())
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, floored.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The same instant as a chrono date and time in UTC.
    #[must_use]
    pub fn to_datetime(self) -> DateTime<Utc> {
        // The range of Timestamp lies well inside chrono's, so the default is never taken.
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// This instant plus `span`, at most [`Timestamp::MAX`]; parts of a millisecond are dropped.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)).min(Self::MAX.0))
    }

    /// This instant minus `span`, at least [`Timestamp::MIN`]; parts of a millisecond are dropped.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)).max(Self::MIN.0))
    }

    /// The time from `earlier` to here; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }

    /// Milliseconds from `earlier` to here, negative where `earlier` is later. Both ends are within
    /// [`Timestamp::MAX`], so the difference always fits.
    pub(crate) const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A span in whole milliseconds; spans beyond 292 million years are cut there.
fn millis(span: Duration) -> i64 {
    span.as_millis().try_into().unwrap_or(i64::MAX)
}

impl From<Timestamp> for i64 {
    fn from(at: Timestamp) -> Self {
        at.0
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = Rejection;

    fn try_from(millis: i64) -> Result<Self, Rejection> {
        Self::from_millis(millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_datetime().format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

/// A half-open window of time: `from` belongs to it, `to` does not.
///
/// ```text
/// checkpoints   W-------I---W-----------O
/// window            [----------)
/// counted           [WWW][I][W)
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    /// The window from `from` to `to`; empty where they are equal.
    ///
    /// ```
    /// # use presence_core::{Timestamp, Window};
    /// let (ten, twenty) = (Timestamp::from_secs(10)?, Timestamp::from_secs(20)?);
    /// assert!(Window::new(ten, twenty)?.contains(ten));
    /// assert!(!Window::new(ten, twenty)?.contains(twenty));
    /// assert_eq!(Window::new(twenty, ten).unwrap_err().code(), "INVALID_WINDOW");
    /// # Ok::<(), presence_core::Rejection>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidWindow`] where `to` lies before `from`.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, Rejection> {
        if from <= to { Ok(Self { from, to }) } else { Err(Rejection::InvalidWindow) }
    }

    /// All of time.
    #[must_use]
    pub const fn all() -> Self {
        Self { from: Timestamp::MIN, to: Timestamp::MAX }
    }

    /// The first instant of the window.
    #[must_use]
    pub const fn from(self) -> Timestamp {
        self.from
    }

    /// The first instant after the window.
    #[must_use]
    pub const fn to(self) -> Timestamp {
        self.to
    }

    /// Whether `at` belongs to the window.
    #[must_use]
    pub fn contains(self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// How long the window is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }

    /// What both windows hold; empty where they do not meet.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        let from = self.from.max(other.from);
        Self { from, to: self.to.min(other.to).max(from) }
    }
}

/// A time zone by its IANA name, with the rules of the bundled database.
///
/// ```
/// use presence_core::Zone;
///
/// let zone = Zone::new("Asia/Shanghai")?;
/// let day = zone.day("2025-01-02".parse()?);
/// assert_eq!(day.spans()[0].from().to_string(), "2025-01-01T16:00:00.000Z");
/// assert_eq!(Zone::new("Mars/Olympus").unwrap_err().code(), "INVALID_TIME_ZONE");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// The zone of an IANA name such as `Europe/Berlin`; letter case does not matter.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidTimeZone`] where the bundled database has no such zone.
    pub fn new(name: &str) -> Result<Self, Rejection> {
        let rules = TimeZoneDatabase::bundled().get(name).map_err(|_| Rejection::InvalidTimeZone)?;
        // A name that stands for not knowing one is no zone.
        let known = rules.iana_name().filter(|_| !rules.is_unknown()).ok_or(Rejection::InvalidTimeZone)?;
        Ok(Self { name: known.to_owned(), rules })
    }

    /// Coordinated Universal Time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// The names of all zones in the bundled database.
    pub fn names() -> impl Iterator<Item = String> {
        let names: Vec<String> =
            TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
        names.into_iter()
    }

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The local date at `at`.
    #[must_use]
    pub fn date_of(&self, at: Timestamp) -> NaiveDate {
        let offset = self.rules.to_offset(instant(at)).seconds();
        let local = at.as_millis().saturating_add(i64::from(offset).saturating_mul(1000));
        DateTime::from_timestamp_millis(local).unwrap_or_default().date_naive()
    }

    /// The instants at which the zone changes its offset inside `window`, oldest first.
    #[must_use]
    pub fn changes(&self, window: Window) -> Vec<Timestamp> {
        self.rules
            .following(instant(window.from))
            .filter_map(|change| Timestamp::from_millis(change.timestamp().as_millisecond()).ok())
            .take_while(|at| *at < window.to)
            .collect()
    }

    /// The local day `date`: the set of instants whose local date it is.
    ///
    /// Most days are one span of 24 hours; a change of the clock makes days of 23, 23.5, 24.5 or 25 hours, a zone
    /// that crosses the date line skips a day (no span) or lives one for 48, and a clock set back over midnight
    /// gives a day two spans.
    #[must_use]
    pub fn day(&self, date: NaiveDate) -> LocalDay {
        // Offsets stay within 26 hours of UTC, so the day lies inside this reach, cut into runs of one offset.
        const REACH: i64 = 26 * 3_600_000;
        let midnight = utc_midnight(date);
        let next = utc_midnight(date.checked_add_days(Days::new(1)).unwrap_or(date));
        let clamp = |at: i64| Timestamp(at.clamp(Timestamp::MIN.0, Timestamp::MAX.0));
        let reach =
            Window { from: clamp(midnight.saturating_sub(REACH)), to: clamp(next.saturating_add(REACH)) };

        let mut edges = vec![reach.from];
        edges.extend(self.changes(reach));
        edges.push(reach.to);
        let mut spans: Vec<Window> = Vec::new();
        for edge in edges.windows(2) {
            let [from, to] = [edge[0], edge[1]];
            let offset = i64::from(self.rules.to_offset(instant(from)).seconds()).saturating_mul(1000);
            let local = Window {
                from: clamp(midnight.saturating_sub(offset)),
                to: clamp(next.saturating_sub(offset)),
            };
            let part = local.intersect(Window { from, to });
            match spans.last_mut() {
                _ if part.from == part.to => {}
                Some(last) if last.to == part.from => last.to = part.to,
                _ => spans.push(part),
            }
        }
        LocalDay { date, spans }
    }

    /// The local days from `first` to `last`, both included, oldest first.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidWindow`] where `last` lies before `first`; [`Rejection::TooManyDays`] above 366 days.
    pub fn days(&self, first: NaiveDate, last: NaiveDate) -> Result<Vec<LocalDay>, Rejection> {
        if last < first {
            return Err(Rejection::InvalidWindow);
        }
        if last.signed_duration_since(first).num_days() >= 366 {
            return Err(Rejection::TooManyDays);
        }
        Ok(first.iter_days().take_while(|date| *date <= last).map(|date| self.day(date)).collect())
    }
}

/// Milliseconds from the Unix epoch to 00:00 UTC of `date`; chrono's whole range fits.
fn utc_midnight(date: NaiveDate) -> i64 {
    date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
}

/// The same instant for jiff, whose range reaches to the end of the year 9999 less a day's worth of offsets.
fn instant(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX)
}

/// One local day of a zone: its date, and the instants that belong to it.
///
/// ```
/// use presence_core::Zone;
///
/// let day = Zone::new("Europe/Berlin")?.day("2025-03-30".parse()?); // the clock goes forward
/// assert_eq!(day.length().as_secs(), 23 * 3600);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalDay {
    date: NaiveDate,
    spans: Vec<Window>,
}

impl LocalDay {
    /// The date on the calendar.
    #[must_use]
    pub const fn date(&self) -> NaiveDate {
        self.date
    }

    /// When the day is, oldest span first: one for nearly every day, none for a day that the zone skipped.
    #[must_use]
    pub fn spans(&self) -> &[Window] {
        &self.spans
    }

    /// How long the day is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.spans.iter().map(|span| span.length()).sum()
    }
}
