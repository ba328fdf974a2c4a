//! The figures of a day.

use chrono::NaiveDate;

use crate::{ActiveUsers, Timestamp};

/// How many people were active on a day, as it was calculated last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DailyActiveStats {
    /// The local day.
    pub day: NaiveDate,
    /// How many people, and where.
    pub active: ActiveUsers,
    /// When it was calculated.
    pub calculated_at: Timestamp,
    /// How often it was calculated: 1 at first.
    pub version: i64,
    /// Whether nothing that comes can change it: the day and its late window are over, and all that came is counted.
    /// Erasing somebody who was there changes it all the same.
    pub is_final: bool,
}

/// A day refolded from the event log, beside what is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audit {
    /// What the day's events come to.
    pub folded: ActiveUsers,
    /// What is stored; `None` where the day was never calculated.
    pub stored: Option<DailyActiveStats>,
    /// Whether something came that is not calculated yet, so that the two may differ.
    pub is_stale: bool,
}

impl Audit {
    /// Whether both say the same. A day without events need not be stored.
    #[must_use]
    pub fn agrees(&self) -> bool {
        match &self.stored {
            Some(stored) => stored.active == self.folded,
            None => self.folded == ActiveUsers::default(),
        }
    }
}
