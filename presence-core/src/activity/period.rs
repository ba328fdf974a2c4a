//! Runs of days: a day, a week, a month.

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::Rejection;

/// Some days on end, both ends included, at most 366 of them.
///
/// ```
/// use presence_core::Period;
///
/// let day = "2026-11-21".parse()?; // a Saturday
/// let ends = |period: Period| (period.first().to_string(), period.last().to_string());
/// assert_eq!(ends(Period::week(day)?), ("2026-11-16".to_owned(), "2026-11-22".to_owned()));
/// assert_eq!(ends(Period::month(day)?), ("2026-11-01".to_owned(), "2026-11-30".to_owned()));
/// assert_eq!(ends(Period::trailing(7, day)?), ("2026-11-15".to_owned(), "2026-11-21".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Period {
    first: NaiveDate,
    last: NaiveDate,
}

/// The most days of a period.
const DAYS: i64 = 366;

impl Period {
    /// From `first` to `last`, both included.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidDay`] outside the years 1 to 9999, [`Rejection::InvalidWindow`] where `last` lies before
    /// `first`, [`Rejection::TooManyDays`] above 366 days.
    pub fn new(first: NaiveDate, last: NaiveDate) -> Result<Self, Rejection> {
        if [first, last].iter().any(|day| !(1..=9999).contains(&day.year())) {
            return Err(Rejection::InvalidDay);
        }
        if last < first {
            return Err(Rejection::InvalidWindow);
        }
        if last.signed_duration_since(first).num_days() >= DAYS {
            return Err(Rejection::TooManyDays);
        }
        Ok(Self { first, last })
    }

    /// One day.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidDay`] outside the years 1 to 9999.
    pub fn day(day: NaiveDate) -> Result<Self, Rejection> {
        Self::new(day, day)
    }

    /// The calendar week of a day, Monday to Sunday.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidDay`] where it reaches outside the years 1 to 9999.
    pub fn week(of: NaiveDate) -> Result<Self, Rejection> {
        let since_monday = Days::new(of.weekday().num_days_from_monday().into());
        let first = of.checked_sub_days(since_monday).ok_or(Rejection::InvalidDay)?;
        Self::new(first, first.checked_add_days(Days::new(6)).ok_or(Rejection::InvalidDay)?)
    }

    /// The calendar month of a day.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidDay`] outside the years 1 to 9999.
    pub fn month(of: NaiveDate) -> Result<Self, Rejection> {
        let first = of.with_day(1).ok_or(Rejection::InvalidDay)?;
        let next = first.checked_add_months(Months::new(1)).and_then(|next| next.pred_opt());
        Self::new(first, next.ok_or(Rejection::InvalidDay)?)
    }

    /// As many days, `last` the last of them.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidWindow`] for no days, [`Rejection::TooManyDays`] above 366, [`Rejection::InvalidDay`] where
    /// they reach outside the years 1 to 9999.
    pub fn trailing(days: u16, last: NaiveDate) -> Result<Self, Rejection> {
        let before = days.checked_sub(1).ok_or(Rejection::InvalidWindow)?;
        Self::new(last.checked_sub_days(Days::new(before.into())).ok_or(Rejection::InvalidDay)?, last)
    }

    /// The first day.
    #[must_use]
    pub const fn first(self) -> NaiveDate {
        self.first
    }

    /// The last day.
    #[must_use]
    pub const fn last(self) -> NaiveDate {
        self.last
    }

    /// All of them, in order.
    pub fn days(self) -> impl Iterator<Item = NaiveDate> {
        self.first.iter_days().take_while(move |day| *day <= self.last)
    }

    /// Whether a day is one of them.
    #[must_use]
    pub fn contains(self, day: NaiveDate) -> bool {
        self.first <= day && day <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn ends(period: Result<Period, Rejection>) -> (String, String) {
        let period = period.expect("a period");
        (period.first().to_string(), period.last().to_string())
    }

    fn text(first: &str, last: &str) -> (String, String) {
        (first.to_owned(), last.to_owned())
    }

    #[test]
    fn weeks_go_from_monday_to_sunday_and_over_the_turn_of_the_year() {
        for of in ["2025-12-29", "2026-01-01", "2026-01-04"] {
            assert_eq!(ends(Period::week(day(of))), text("2025-12-29", "2026-01-04"));
        }
        assert_eq!(ends(Period::week(day("2026-01-05"))), text("2026-01-05", "2026-01-11"));
    }

    #[test]
    fn months_have_the_days_of_the_calendar() {
        assert_eq!(ends(Period::month(day("2024-02-10"))), text("2024-02-01", "2024-02-29"));
        assert_eq!(ends(Period::month(day("2025-02-28"))), text("2025-02-01", "2025-02-28"));
        assert_eq!(ends(Period::month(day("2025-12-31"))), text("2025-12-01", "2025-12-31"));
    }

    #[test]
    fn trailing_days_end_with_the_day() {
        assert_eq!(ends(Period::trailing(30, day("2025-03-01"))), text("2025-01-31", "2025-03-01"));
        assert_eq!(ends(Period::trailing(1, day("2025-03-01"))), text("2025-03-01", "2025-03-01"));
        assert_eq!(Period::trailing(0, day("2025-03-01")), Err(Rejection::InvalidWindow));
        assert_eq!(Period::trailing(367, day("2025-03-01")), Err(Rejection::TooManyDays));
    }

    #[test]
    fn periods_are_limited() {
        assert!(Period::new(day("2024-01-01"), day("2024-12-31")).is_ok());
        assert_eq!(Period::new(day("2024-01-01"), day("2025-01-01")), Err(Rejection::TooManyDays));
        assert_eq!(Period::new(day("2024-01-02"), day("2024-01-01")), Err(Rejection::InvalidWindow));
        assert_eq!(Period::day(NaiveDate::MAX), Err(Rejection::InvalidDay));
        assert_eq!(Period::week(NaiveDate::MIN), Err(Rejection::InvalidDay));
        assert_eq!(Period::week(day("9999-12-31")), Err(Rejection::InvalidDay), "it ends in 10000");
        assert_eq!(Period::month(NaiveDate::MAX), Err(Rejection::InvalidDay));
        assert_eq!(ends(Period::month(day("9999-12-31"))), text("9999-12-01", "9999-12-31"));
    }
}
