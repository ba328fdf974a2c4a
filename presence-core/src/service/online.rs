//! Who is online: asked of this process where it sees everybody, and of the shared live set where it does not.

use std::{collections::HashMap, time::Duration};

use futures_util::lock::Mutex;

use crate::{Beats, Error, LiveSet, Member, MemberRef, Page, StoreError, Timestamp};

/// How long a count of a shared live set is answered again.
const FRESH: Duration = Duration::from_secs(1);

/// Counts of a shared live set by window, and when they were counted. One question at a time: those who come meanwhile
/// take its answer.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<Duration, (Timestamp, u64)>>);

impl Beats {
    /// How many members were seen within `window` before now, both ends included; at most 86,400 s are known. Of a
    /// shared live set the answer may be a second old, and lack what other processes have not flushed.
    ///
    /// # Errors
    ///
    /// The shared live set failed.
    pub async fn online_count(&self, window: Duration) -> Result<u64, StoreError> {
        let Some((backing, Counts(counts))) = self.elsewhere() else {
            return Ok(self.live.count(self.tracker.now().saturating_sub(window)));
        };
        let mut counts = counts.lock().await;
        let now = self.tracker.now();
        counts.retain(|_, (counted, _)| *counted <= now && now.since(*counted) < FRESH);
        if let Some((_, count)) = counts.get(&window) {
            return Ok(*count);
        }
        // The answer from elsewhere has those too that only this process knows of.
        self.flush_members().await?;
        let count = backing.count(now.saturating_sub(window)).await?;
        counts.insert(window, (now, count));
        Ok(count)
    }

    /// The members that were seen within `window` before now, ordered as written, `limit` to a page. Of a shared live
    /// set the answer may lack what other processes have not flushed.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidLimit`](crate::Rejection::InvalidLimit) where `limit` is 0 or above 1000, or the shared live
    /// set failed.
    pub async fn online_users(
        &self,
        window: Duration,
        after: Option<&Member>,
        limit: usize,
    ) -> Result<Page<(Member, Timestamp), Member>, Error> {
        let since = self.tracker.now().saturating_sub(window);
        let ask = Page::<(Member, Timestamp), Member>::ask(limit)?;
        let members = match self.elsewhere() {
            Some((backing, _)) => {
                self.flush_members().await?;
                backing.list(since, after.cloned(), ask).await?
            }
            None => self.live.list(since, after.map(MemberRef::from), ask),
        };
        Ok(Page::cut(members, limit, |(member, _)| member.clone()))
    }

    fn elsewhere(&self) -> Option<(&dyn LiveSet, &Counts)> {
        Some((self.backing.as_deref()?, self.shared.as_ref()?))
    }
}
