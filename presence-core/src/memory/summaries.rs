//! The days of one user that were summed up.

use std::collections::BTreeMap;

use crate::{ClosedDay, Fold, Mark, StateType, Timestamp, Window};

#[derive(Debug, Default)]
pub(super) struct Summaries {
    mark: Option<Mark>,
    /// Every day that is kept ends by then.
    summarised_to: Timestamp,
    /// End and sums of each day, by its beginning.
    days: BTreeMap<Timestamp, (Timestamp, Vec<(StateType, i64)>)>,
}

impl Summaries {
    pub(super) const fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    pub(super) fn keep(&mut self, Fold { mark, days, .. }: Fold) {
        if self.mark.as_ref().is_some_and(|before| before.zone != mark.zone) {
            *self = Self::default();
        }
        self.summarised_to = self.summarised_to.max(mark.resume_at);
        self.mark = Some(mark);
        if let (Some(first), Some(last)) = (days.first(), days.last()) {
            let (from, to) = (first.window.from(), last.window.to());
            self.days.retain(|start, _| *start < from || *start >= to);
        }
        for ClosedDay { window, closed } in days {
            self.days.insert(window.from(), (window.to(), closed));
        }
    }

    pub(super) fn forget(&mut self, changed: Window) {
        if changed.from() >= self.summarised_to {
            return;
        }
        if let Some(mark) = &mut self.mark {
            mark.resume_at = mark.resume_at.min(changed.from());
            mark.due_at = Timestamp::MIN;
        }
        self.days.retain(|start, (end, _)| *start >= changed.to() || *end <= changed.from());
    }

    pub(super) fn within(&self, within: Window) -> impl Iterator<Item = ClosedDay> {
        let days =
            self.days.range(within.from()..within.to()).filter(move |(_, (end, _))| *end <= within.to());
        days.filter_map(|(start, (end, closed))| {
            Some(ClosedDay { window: Window::new(*start, *end).ok()?, closed: closed.clone() })
        })
    }
}
