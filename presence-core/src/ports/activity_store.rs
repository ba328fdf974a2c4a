//! Where events and the facts they make are kept: the writing side.

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::{
    ActiveUsers, Appended, Event, Horizon, IdentityFold, NewEvent, Period, SightingPlace, StoreError,
    Timestamp,
};

/// What a day's figures are worth: how often they were saved, and what came since.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DayMark {
    /// The local day.
    pub day: NaiveDate,
    /// The version of its figures; 0 where there are none.
    pub version: i64,
    /// How often its sightings were changed. It only rises.
    pub changes: i64,
    /// How many of these changes are in its figures; below [`changes`](Self::changes) the day is stale.
    pub folded: i64,
}

impl DayMark {
    /// A day without figures and without sightings.
    #[must_use]
    pub const fn new(day: NaiveDate) -> Self {
        Self { day, version: 0, changes: 0, folded: 0 }
    }

    /// Whether something came that the figures do not have.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.changes > self.folded
    }
}

/// The marks of a period.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DayMarks {
    /// The first day whose events are all there; `None` where none were ever retired.
    pub kept_from: Option<NaiveDate>,
    /// The days that have figures, or had sightings, in order.
    pub days: Vec<DayMark>,
}

/// Figures to be saved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Figures {
    /// What they were folded from: the day as it was before the first sighting was read.
    pub mark: DayMark,
    /// What they are.
    pub active: ActiveUsers,
    /// When they were calculated.
    pub calculated_at: Timestamp,
    /// What others are told if they are saved.
    pub events: Vec<Event>,
}

/// How much was retired.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retired {
    /// Events of the log.
    pub events: u64,
    /// Sightings.
    pub sightings: u64,
}

/// Keeps the event log, the sightings that counted events make, and the figures of each day. It never judges: which
/// event counts, for which day, and what figures come of it is decided before and behind it.
///
/// Calls on one store may run at the same time, from several processes where the store is shared.
///
/// # Contract
///
/// Where the store keeps timelines too, what it knows of a user is one:
///
/// - `an_erasure_takes_events_and_sightings_along`: those of the user; its days become stale, and what other people did
///   on the same installs stays.
/// - `events_up_to_an_erasure_are_refused`: [`Appended::Erased`] for an event of an erased user that is stamped at or
///   before the erasure; later ones are stored.
/// - `an_export_holds_sightings_and_events`: by day and install, then by event id, and pages without gaps.
#[async_trait]
pub trait ActivityStore: Send + Sync {
    /// Stores each event with its sighting, or neither, with the durability of the store; one outcome per event, in
    /// order.
    ///
    /// # Contract
    ///
    /// - `an_event_is_stored_once`: a repetition under the same id with the same fingerprint writes nothing, also in the
    ///   same call.
    /// - `an_event_id_with_another_body_is_told`: [`Appended::Reused`], and nothing is written.
    /// - `event_ids_belong_to_a_person`: to the user, or to the install where there is none.
    /// - `sightings_merge_in_any_order`: as [`Sighting::merge`](crate::Sighting::merge) does.
    /// - `only_news_makes_a_day_stale`: a new sighting or a later region; not one that is known.
    /// - `racing_appends_store_each_event_once`.
    /// - `what_was_sent_comes_back_as_it_was`: names, ids and properties, whatever their characters.
    ///
    /// # Errors
    ///
    /// The store failed: none of the events is stored, or where the error is [`StoreError::Unavailable`], it is unknown.
    /// Appending again is safe.
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError>;

    /// At most `limit` days that are stale.
    ///
    /// # Contract
    ///
    /// - `stale_days_come_newest_first`: so that today is there however long the list is.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn stale(&self, limit: usize) -> Result<Vec<DayMark>, StoreError>;

    /// The marks of the days of a period, in one snapshot.
    ///
    /// # Contract
    ///
    /// - `marks_tell_what_figures_are_worth`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn day_marks(&self, period: Period) -> Result<DayMarks, StoreError>;

    /// Shows the fold at most `limit` sightings of a period after `after`, in order of their place, and tells where it
    /// stopped; `None` where no more are left.
    ///
    /// # Contract
    ///
    /// - `folding_in_pages_sees_each_sighting_once`.
    ///
    /// # Errors
    ///
    /// The store failed; what was folded is lost.
    async fn fold(
        &self,
        period: Period,
        after: Option<SightingPlace>,
        limit: usize,
        fold: IdentityFold,
    ) -> Result<(IdentityFold, Option<SightingPlace>), StoreError>;

    /// Saves figures if nobody else has saved some since their mark, and says whether it did.
    ///
    /// # Contract
    ///
    /// - `figures_are_saved_on_the_version_they_were_folded_on`, and add one to it.
    /// - `a_day_that_changed_while_it_was_folded_stays_stale`.
    /// - `racing_saves_write_one`.
    ///
    /// # Errors
    ///
    /// The store failed: nothing was saved, or where the error is [`StoreError::Unavailable`], it is unknown. Saving
    /// again is safe.
    async fn save(&self, figures: Figures) -> Result<bool, StoreError>;

    /// Removes at most `limit` events and sightings before a horizon, and says how many there were. The horizon moves
    /// with the first of them, and never back: from then on, what lies before it is kept in part at most.
    ///
    /// # Contract
    ///
    /// - `retiring_takes_slices_and_leaves_figures`.
    /// - `a_retired_day_is_as_it_was`: it takes no sighting and no figures, and is not stale. Its events are stored.
    ///
    /// # Errors
    ///
    /// The store failed; some may be removed. Retiring again is safe.
    async fn retire(&self, before: Horizon, limit: usize) -> Result<Retired, StoreError>;
}
