//! The figures of days, counted once more from the event log and set beside what is stored.

use std::{collections::BTreeMap, fmt};

use chrono::NaiveDate;
use presence_core::{Activity, Audit, DailyActiveStats, Error, Rejection, StoreError};

use crate::{
    config::{Config, StoreUrl},
    storage::{Storage, StorageError},
};

/// What became of the days of an audit.
#[derive(Clone, Debug, Default)]
pub struct Audited {
    days: Vec<(NaiveDate, Finding)>,
}

/// What became of one day.
#[derive(Clone, Debug)]
enum Finding {
    Counted(Audit),
    /// Its events are no longer kept.
    Retired,
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// There is nothing to look at.
    #[error("there is nothing to audit: DATABASE_URL names no store that is there already")]
    NoStore,
    /// The store does not open, as that of a server that runs on a file.
    #[error("the store does not open")]
    Open(#[from] StorageError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Counts the days from `first` to `last`, both included, in the store that the configuration names; without them the
/// seven days up to today. Nothing is written. `progress` is told after each day how many of how many are done.
///
/// # Errors
///
/// [`AuditError`] says why there is none.
pub async fn audit(
    config: &Config,
    first: Option<NaiveDate>,
    last: Option<NaiveDate>,
    progress: impl FnMut(usize, usize),
) -> Result<Audited, AuditError> {
    let is_there = match config.store() {
        StoreUrl::Sqlite { path } => path.exists(),
        store => store.outlives_process(),
    };
    if !is_there {
        return Err(AuditError::NoStore);
    }
    let Storage { activity, beats, store, .. } = Storage::open(config).await?;
    let last = last.or(first).unwrap_or_else(|| activity.today());
    let first = first.unwrap_or_else(|| last.checked_sub_days(chrono::Days::new(6)).unwrap_or(last));
    let audited = audit_days(&activity, first, last, progress).await;
    drop((activity, beats));
    store.close().await;
    Ok(audited?)
}

async fn audit_days(
    activity: &Activity,
    first: NaiveDate,
    last: NaiveDate,
    mut progress: impl FnMut(usize, usize),
) -> Result<Audited, StoreError> {
    let mut days = Vec::new();
    let all = usize::try_from(last.signed_duration_since(first).num_days()).map_or(0, |days| days + 1);
    for day in first.iter_days().take(all) {
        let finding = match activity.audit(day).await {
            Ok(audit) => Finding::Counted(audit),
            Err(Error::Rejected(Rejection::EventsRetired)) => Finding::Retired,
            Err(Error::Rejected(rejection)) => return Err(StoreError::backend(rejection)),
            Err(Error::Store(error)) => return Err(error),
        };
        days.push((day, finding));
        progress(days.len(), all);
    }
    Ok(Audited { days })
}

impl Audited {
    /// On how many days something else is stored than what is counted, though nothing waits to be counted.
    #[must_use]
    pub fn differing(&self) -> usize {
        self.days.iter().filter(|(_, finding)| finding.verdict() == Verdict::Differs).count()
    }

    /// How many days were looked at.
    #[must_use]
    pub fn days(&self) -> usize {
        self.days.len()
    }
}

/// A table: a line for each day on which there is something.
impl fmt::Display for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "day           stored  version     counted")?;
        let mut by_verdict = BTreeMap::<Verdict, usize>::new();
        for (day, finding) in &self.days {
            let verdict = finding.verdict();
            *by_verdict.entry(verdict).or_default() += 1;
            if verdict != Verdict::Empty {
                writeln!(f, "{day}{finding}")?;
            }
        }
        let counts = by_verdict.iter().map(|(verdict, count)| format!("{count} {verdict}"));
        write!(f, "{}", counts.collect::<Vec<_>>().join(", "))
    }
}

/// What to say of a day.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Verdict {
    Agrees,
    Differs,
    Waits,
    Retired,
    Empty,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agrees => "agree",
            Self::Differs => "differ",
            Self::Waits => "wait to be counted anew",
            Self::Retired => "no longer kept",
            Self::Empty => "empty",
        })
    }
}

impl Finding {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Retired => Verdict::Retired,
            Self::Counted(audit) if audit.agrees() && audit.stored.is_none() => Verdict::Empty,
            Self::Counted(audit) if audit.agrees() => Verdict::Agrees,
            Self::Counted(Audit { is_stale: true, .. }) => Verdict::Waits,
            Self::Counted(_) => Verdict::Differs,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.verdict();
        let Self::Counted(Audit { folded, stored, .. }) = self else {
            return write!(f, "{:>10}{:>9}{:>12}  {verdict}", "-", "-", "-");
        };
        match stored {
            Some(DailyActiveStats { active, version, .. }) => write!(f, "{:>10}{version:>9}", active.count)?,
            None => write!(f, "{:>10}{:>9}", "-", "-")?,
        }
        write!(f, "{:>12}  {verdict}", folded.count)?;
        let Some(stored) = stored.as_ref().filter(|_| verdict == Verdict::Differs) else { return Ok(()) };
        let regions = [
            ("province", &stored.active.by_province, &folded.by_province),
            ("city", &stored.active.by_city, &folded.by_city),
        ];
        for (kind, stored, counted) in regions {
            let of = |sums: &BTreeMap<String, u64>, name: &String| sums.get(name).copied().unwrap_or(0);
            let names = stored.keys().chain(counted.keys().filter(|name| !stored.contains_key(*name)));
            for name in names.filter(|name| of(stored, name) != of(counted, name)) {
                let (stored, counted) = (of(stored, name), of(counted, name));
                write!(f, "\n{:>12}{stored:>8}{:>9}{counted:>12}  {kind} {name}", "", "")?;
            }
        }
        Ok(())
    }
}
