//! The online count over time: a snapshot each minute, and the history made of them.

use std::{fmt, str::FromStr, time::Duration};

use crate::{Rejection, Timestamp, Window};

/// How far back a heartbeat counts as online: 1 to 86,400 whole seconds.
///
/// ```
/// use presence_core::TimeWindow;
///
/// assert_eq!(TimeWindow::from_secs(180)?.length().as_secs(), 180);
/// assert_eq!("180".parse(), TimeWindow::from_secs(180));
/// assert_eq!(TimeWindow::from_secs(0).unwrap_err().code(), "INVALID_TIME_WINDOW");
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct TimeWindow(u32);

impl TimeWindow {
    /// The window of this many seconds.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidTimeWindow`] outside 1 to 86,400.
    pub fn from_secs(secs: i64) -> Result<Self, Rejection> {
        match u32::try_from(secs) {
            Ok(secs @ 1..=86_400) => Ok(Self(secs)),
            _ => Err(Rejection::InvalidTimeWindow),
        }
    }

    /// How many seconds.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// How long.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl FromStr for TimeWindow {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        text.parse().map_err(|_| Rejection::InvalidTimeWindow).and_then(Self::from_secs)
    }
}

/// How many people were online at one minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OnlineSnapshot {
    /// The minute, seconds zero.
    pub at: Timestamp,
    /// How many were online.
    pub online_count: u64,
    /// The window of that count.
    pub window: TimeWindow,
}

impl OnlineSnapshot {
    /// The minute of an instant.
    #[must_use]
    pub fn minute(at: Timestamp) -> Timestamp {
        Interval::OneMinute.start(at)
    }
}

/// How far the points of a history lie apart. Buckets are aligned to it in UTC.
///
/// ```
/// use presence_core::Interval;
///
/// assert_eq!("5m".parse(), Ok(Interval::FiveMinutes));
/// assert_eq!(Interval::default().to_string(), "5m");
/// assert_eq!("2m".parse::<Interval>().unwrap_err().code(), "INVALID_INTERVAL");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Interval {
    /// `1m`: the snapshots as they are.
    OneMinute,
    /// `5m`, the default.
    #[default]
    FiveMinutes,
    /// `15m`.
    QuarterHour,
    /// `30m`.
    HalfHour,
    /// `1h`.
    Hour,
}

impl Interval {
    const ALL: [(Self, &'static str, i64); 5] = [
        (Self::OneMinute, "1m", 1),
        (Self::FiveMinutes, "5m", 5),
        (Self::QuarterHour, "15m", 15),
        (Self::HalfHour, "30m", 30),
        (Self::Hour, "1h", 60),
    ];

    fn millis(self) -> i64 {
        let minutes =
            Self::ALL.iter().find(|(interval, ..)| *interval == self).map_or(1, |(.., minutes)| *minutes);
        minutes.saturating_mul(60_000)
    }

    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_millis(self.millis().unsigned_abs())
    }

    /// The beginning of the bucket that holds an instant.
    #[must_use]
    pub fn start(self, at: Timestamp) -> Timestamp {
        let millis = at.as_millis();
        let within = millis.checked_rem_euclid(self.millis()).unwrap_or(0);
        // Not below zero, because a timestamp is not.
        Timestamp::from_millis(millis.saturating_sub(within)).unwrap_or_default()
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(interval, ..)| interval == self).map_or("", |(_, name, _)| name))
    }
}

impl FromStr for Interval {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        let found = Self::ALL.iter().find(|(_, name, _)| *name == text);
        found.map(|(interval, ..)| *interval).ok_or(Rejection::InvalidInterval)
    }
}

/// How many people were online in one bucket of a history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OnlinePoint {
    /// The beginning of the bucket; where the window begins inside it, that lies before the window.
    pub at: Timestamp,
    /// The mean of the snapshots in it that lie in the window, rounded half up.
    pub count: u64,
    /// The highest of them.
    pub peak: u64,
}

/// Gathers snapshots into the points of a history.
///
/// ```text
/// snapshots   10 20 30 40 50 | 60
/// buckets     12:00          | 12:05
/// count       30             | 60
/// peak        50             | 60
/// ```
///
/// ```
/// use presence_core::{Interval, OnlineHistory, OnlineSnapshot, TimeWindow, Timestamp, Window};
///
/// let mut history = OnlineHistory::new(Window::all(), Interval::Hour);
/// # assert_eq!(history.unwrap_err().code(), "TOO_MANY_POINTS");
/// # let day = Window::new(Timestamp::from_secs(0)?, Timestamp::from_secs(86_400)?)?;
/// # history = OnlineHistory::new(day, Interval::Hour);
/// # let mut history = history?;
/// for (minute, online_count) in [(0, 3), (1, 4)] {
///     let at = Timestamp::from_secs(minute * 60)?;
///     history.add(&OnlineSnapshot { at, online_count, window: TimeWindow::from_secs(180)? });
/// }
/// let points = history.finish();
/// assert_eq!((points[0].count, points[0].peak), (4, 4)); // 3.5 is rounded up
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Debug)]
pub struct OnlineHistory {
    window: Window,
    interval: Interval,
    points: Vec<OnlinePoint>,
    /// Of the last point, whose mean is not known before the next one begins.
    sum: u128,
    snapshots: u128,
}

impl OnlineHistory {
    /// The most points of one history.
    pub const POINTS: u64 = 10_000;

    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// [`Rejection::TooManyPoints`] where the window reaches over more than 10,000 buckets.
    pub fn new(window: Window, interval: Interval) -> Result<Self, Rejection> {
        let reach = window.to().millis_since(interval.start(window.from())).unsigned_abs();
        if reach > Self::POINTS.saturating_mul(interval.millis().unsigned_abs()) {
            return Err(Rejection::TooManyPoints);
        }
        Ok(Self { window, interval, points: Vec::new(), sum: 0, snapshots: 0 })
    }

    /// Adds a snapshot; they come in order of time. One outside the window is passed over.
    pub fn add(&mut self, snapshot: &OnlineSnapshot) {
        if !self.window.contains(snapshot.at) {
            return;
        }
        let at = self.interval.start(snapshot.at);
        if self.points.last().is_none_or(|point| point.at != at) {
            self.points.push(OnlinePoint { at, count: 0, peak: 0 });
            (self.sum, self.snapshots) = (0, 0);
        }
        self.sum = self.sum.saturating_add(snapshot.online_count.into());
        self.snapshots = self.snapshots.saturating_add(1);
        if let Some(point) = self.points.last_mut() {
            point.peak = point.peak.max(snapshot.online_count);
            let doubled = self.sum.saturating_mul(2).saturating_add(self.snapshots);
            let mean = doubled.checked_div(self.snapshots.saturating_mul(2)).unwrap_or_default();
            point.count = u64::try_from(mean).unwrap_or(u64::MAX);
        }
    }

    /// The points in order of time. Where nothing was counted there is none: missed minutes are not made up.
    #[must_use]
    pub fn finish(self) -> Vec<OnlinePoint> {
        self.points
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests count in small numbers")]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_secs(minute * 60).expect("an instant")
    }

    fn history(snapshots: &[(i64, u64)], window: (i64, i64), interval: Interval) -> Vec<(i64, u64, u64)> {
        let window = Window::new(minute(window.0), minute(window.1)).expect("in order");
        let mut history = OnlineHistory::new(window, interval).expect("few points");
        for (at, online_count) in snapshots {
            history.add(&OnlineSnapshot {
                at: minute(*at),
                online_count: *online_count,
                window: TimeWindow::from_secs(180).expect("a window"),
            });
        }
        history.finish().into_iter().map(|point| (point.at.as_secs() / 60, point.count, point.peak)).collect()
    }

    #[test]
    fn buckets_have_the_mean_and_the_peak() {
        let snapshots = [(720, 10), (721, 20), (722, 30), (723, 40), (724, 50), (725, 60)];
        assert_eq!(history(&snapshots, (720, 730), Interval::FiveMinutes), [(720, 30, 50), (725, 60, 60)]);
        assert_eq!(history(&snapshots, (720, 730), Interval::Hour), [(720, 35, 60)]);
        assert_eq!(history(&snapshots[..2], (0, 9999), Interval::OneMinute), [(720, 10, 10), (721, 20, 20)]);
        assert_eq!(
            history(&[(0, 1), (1, 2)], (0, 5), Interval::FiveMinutes),
            [(0, 2, 2)],
            "1.5 is rounded up"
        );
        assert_eq!(history(&[(0, 1), (1, 1), (2, 2)], (0, 5), Interval::FiveMinutes), [(0, 1, 2)]);
    }

    #[test]
    fn only_snapshots_in_the_window_count_and_buckets_stay_aligned() {
        let snapshots = [(720, 90), (722, 10), (724, 20), (725, 50)];
        assert_eq!(history(&snapshots, (722, 725), Interval::FiveMinutes), [(720, 15, 20)]);
        assert_eq!(history(&snapshots, (722, 722), Interval::FiveMinutes), []);
        let most = [(0, u64::MAX), (1, u64::MAX)];
        assert_eq!(history(&most, (0, 5), Interval::FiveMinutes), [(0, u64::MAX, u64::MAX)]);
    }

    #[test]
    fn a_history_has_at_most_ten_thousand_points() {
        let new = |from, to, interval| {
            OnlineHistory::new(Window::new(minute(from), minute(to)).expect("in order"), interval).err()
        };
        assert_eq!(new(0, 10_000, Interval::OneMinute), None);
        assert_eq!(new(0, 10_001, Interval::OneMinute), Some(Rejection::TooManyPoints));
        assert_eq!(new(0, 600_000, Interval::Hour), None);
        assert_eq!(new(1, 600_000, Interval::Hour), None);
        assert_eq!(
            new(59, 600_001, Interval::Hour),
            Some(Rejection::TooManyPoints),
            "it touches one bucket more"
        );
    }

    #[test]
    fn an_interval_is_read_as_it_is_written() {
        for (interval, name, minutes) in Interval::ALL {
            assert_eq!((name.parse(), interval.to_string()), (Ok(interval), name.to_owned()));
            assert_eq!(interval.length(), Duration::from_secs(60 * minutes.unsigned_abs()));
        }
        assert_eq!(
            OnlineSnapshot::minute(minute(7).saturating_add(Duration::from_millis(59_999))),
            minute(7)
        );
    }
}
