//! What the server does by itself: flush, sweep, sum up, count, forget. Each job is a step that a test can take.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use presence_core::{Feed, Retained, StoreError, TimeWindow, Timestamp, Vigil};
use presence_sqlx::PostgresClock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    AppState,
    callbacks::{HistoryBatches, Progress, RoomSync},
    metrics::Job,
};

/// How many silences or members one step concludes or forgets before it lets others write.
const STEP: usize = 1_000;
/// How many days one step counts anew: more than have news in a late window of 72 h.
const DAYS: usize = 8;
/// How many days back are looked at for those on which nobody came.
const MISSED_DAYS: u16 = 7;

/// Writes the heartbeats that are in memory; says of how many users.
///
/// # Errors
///
/// The store failed; what was not written stays in memory.
pub async fn flush(state: &AppState) -> Result<u64, StoreError> {
    let flush = async { state.beats().flush_beats().await.map(|flush| flush.beats) };
    step(state, Job::Flush, flush).await
}

/// Writes what changed of the online members; says of how many.
///
/// # Errors
///
/// The store failed; what was not written stays in memory.
pub async fn flush_members(state: &AppState) -> Result<u64, StoreError> {
    step(state, Job::FlushMembers, state.beats().flush_members()).await
}

/// Brings events of apps from the tracking outbox to the store until `stop`, and then for 5 s what is left.
pub async fn bring_events(state: &AppState, stop: &CancellationToken) {
    if let Some(outbox) = state.tracking_outbox() {
        outbox.run(state.activity(), stop).await;
    }
}

/// Concludes all silences that are due; says how many.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn sweep(state: &AppState) -> Result<u64, StoreError> {
    let sweep = async {
        let mut lapsed = 0_u64;
        loop {
            let sweep = state.beats().sweep(STEP).await?;
            lapsed = lapsed.saturating_add(sweep.lapsed);
            if !sweep.more {
                return Ok(lapsed);
            }
        }
    };
    step(state, Job::Sweep, sweep).await
}

/// The server's own watch over its users, kept by the jobs: each flush looks at the clocks, and a sweep concludes nothing
/// until the watch has lasted a whole timeout. See [`Vigil`].
#[derive(Clone, Debug)]
pub struct Watch {
    state: AppState,
    begun: Instant,
    vigil: Arc<Mutex<Vigil>>,
}

impl Watch {
    /// A watch that begins now, at the start of the jobs.
    #[must_use]
    pub fn begin(state: AppState) -> Self {
        let vigil = Arc::new(Mutex::new(Vigil::new(state.tracker().policy())));
        let watch = Self { state, begun: Instant::now(), vigil };
        watch.look();
        watch
    }

    /// [`flush`], and a look at the clocks.
    ///
    /// # Errors
    ///
    /// As of [`flush`]; the watch begins anew.
    pub async fn flush(&self) -> Result<u64, StoreError> {
        self.look();
        self.unless_away(flush(&self.state).await)
    }

    /// [`sweep`] where the watch has lasted long enough; nothing where it has not.
    ///
    /// # Errors
    ///
    /// As of [`sweep`]; the watch begins anew.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        if !self.look() {
            return Ok(0);
        }
        self.unless_away(sweep(&self.state).await)
    }

    /// Whether silence may be concluded now.
    fn look(&self) -> bool {
        let mut vigil = self.vigil();
        vigil.look(self.state.tracker().now(), self.begun.elapsed());
        vigil.may_conclude()
    }

    fn unless_away(&self, done: Result<u64, StoreError>) -> Result<u64, StoreError> {
        if done.as_ref().is_err_and(StoreError::is_retryable) {
            self.vigil().interrupt();
        }
        done
    }

    fn vigil(&self) -> std::sync::MutexGuard<'_, Vigil> {
        self.vigil.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets members whom no window reaches any more; says how many.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn evict(state: &AppState) -> Result<u64, StoreError> {
    step(state, Job::Evict, state.beats().evict(STEP)).await
}

/// Sums up the days that are over, in the zone of reporting days; says how many. A user whose stored data is corrupt
/// stops nobody else.
///
/// # Errors
///
/// The store failed, or somebody's data is corrupt; the next step goes on.
pub async fn summarise(state: &AppState) -> Result<u64, StoreError> {
    let summarise = async {
        let (mut days, mut corrupt, mut after) = (0_u64, None, None);
        loop {
            let step = state.tracker().summarise(&state.settings().zone, after.as_ref(), STEP).await?;
            days = days.saturating_add(step.days);
            corrupt = step.corrupt.or(corrupt);
            after = step.next;
            if after.is_none() {
                return corrupt.map_or(Ok(days), Err);
            }
        }
    };
    step(state, Job::Summarise, summarise).await
}

/// Counts the days anew on which something came, the newest first, and says how many it counted. A day whose figures are
/// young waits, as [`refold_after`](presence_core::ActivityPolicy::refold_after) says.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn refold(state: &AppState) -> Result<u64, StoreError> {
    let refold = async { state.activity().refold(DAYS).await.map(|refold| refold.days) };
    step(state, Job::Refold, refold).await
}

/// Gives figures to those of the last seven days on which nobody came; says to how many.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn catch_up(state: &AppState) -> Result<u64, StoreError> {
    step(state, Job::CatchUp, state.activity().catch_up(MISSED_DAYS)).await
}

/// Keeps how many are online in this minute; says 1, or 0 where somebody was faster.
///
/// # Errors
///
/// The store failed: the minute may stay without.
pub async fn snapshot(state: &AppState) -> Result<u64, StoreError> {
    let snapshot = async {
        let length = state.tracker().policy().online_window;
        let window = TimeWindow::from_secs(i64::try_from(length.as_secs()).unwrap_or(i64::MAX));
        let window = window.map_err(StoreError::backend)?;
        let count = state.beats().online_count(length).await?;
        state.activity().snapshot(count, window).await.map(u64::from)
    };
    step(state, Job::Snapshot, snapshot).await
}

/// Lets go of events, sightings and snapshots that are older than they are kept, slice by slice; says of how many.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn retain(state: &AppState) -> Result<u64, StoreError> {
    let retain = async {
        let mut gone = 0_u64;
        loop {
            let Retained { events, sightings, snapshots, more } = state.activity().retain(STEP).await?;
            gone = [gone, events, sightings, snapshots].into_iter().fold(0, u64::saturating_add);
            if !more {
                return Ok(gone);
            }
        }
    };
    step(state, Job::Retain, retain).await
}

/// Asks the database for the time, by which all its servers stamp.
///
/// # Errors
///
/// The store failed; the clock runs on from the last answer.
pub async fn sample(state: &AppState, clock: &PostgresClock) -> Result<u64, StoreError> {
    step(state, Job::Clock, async { clock.sample().await.map(|()| 1) }).await
}

/// Takes a step of a job, and counts it.
async fn step(
    state: &AppState,
    job: Job,
    step: impl Future<Output = Result<u64, StoreError>>,
) -> Result<u64, StoreError> {
    state.metrics().jobs.step(job, step, || state.tracker().now()).await
}

/// When the next step of a job is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rhythm {
    /// So long after the last one began; at once, where that one took longer.
    Every(Duration),
    /// So long after the last one began, and longer where that one took long: at most half of the time is work.
    Yielding(Duration),
    /// So long after the last one ended, and longer where that one took long: at most a twentieth of the time is work.
    Sparing(Duration),
    /// At each multiple of the interval by the wall clock, so that nodes meet, and a minute's step is taken in its first
    /// second.
    OnTheClock(Duration),
}

impl Rhythm {
    /// How long to wait after a step that took `took`, at `now`.
    fn pause(self, took: Duration, now: Timestamp) -> Duration {
        match self {
            Self::Every(interval) => interval.saturating_sub(took),
            Self::Yielding(interval) => interval.saturating_sub(took).max(took),
            Self::Sparing(interval) => interval.max(took.saturating_mul(19)),
            Self::OnTheClock(interval) => {
                let past = now.since(Timestamp::MIN).as_nanos().checked_rem(interval.as_nanos()).unwrap_or(0);
                interval.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(0)))
            }
        }
    }

    /// The same before the first step.
    fn delay(self, now: Timestamp) -> Duration {
        match self {
            Self::Every(_) | Self::Yielding(_) | Self::Sparing(_) => Duration::ZERO,
            Self::OnTheClock(_) => self.pause(Duration::ZERO, now),
        }
    }
}

/// Takes a step whenever `rhythm` says, until `stop`. A failed step is logged, and taken again the next time.
pub(crate) async fn repeat<F>(
    name: &'static str,
    rhythm: Rhythm,
    now: impl Fn() -> Timestamp,
    stop: CancellationToken,
    mut step: impl FnMut() -> F,
) where
    F: Future<Output = Result<u64, StoreError>>,
{
    let mut pause = rhythm.delay(now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let begun = Instant::now();
        match step().await {
            Ok(done) => tracing::debug!(job = name, done, "step"),
            Err(error) => tracing::error!(job = name, %error, "step failed"),
        }
        pause = rhythm.pause(begun.elapsed(), now());
    }
}

/// Tells the others which rooms are open here, and hears whom they erased; says how many rooms there are.
///
/// # Errors
///
/// The store failed; the leases end when they would have.
pub async fn renew_rooms(state: &AppState) -> Result<u64, StoreError> {
    let renew = async {
        let rooms = state.hub().renew().await?;
        state.hub().hear_erasures(state.tracker()).await?;
        Ok(rooms)
    };
    step(state, Job::RenewRooms, renew).await
}

/// Ends the stays in rooms whose server is gone; says how many rooms there were.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn settle_rooms(state: &AppState) -> Result<u64, StoreError> {
    step(state, Job::SettleRooms, state.hub().settle()).await
}

/// Lets go of what rooms no longer keep; says how many rows there were.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn retain_rooms(state: &AppState) -> Result<u64, StoreError> {
    let retain = async { state.hub().rooms().retain(STEP).await.map(|retired| retired.total()) };
    step(state, Job::RetainRooms, retain).await
}

/// Sends what the copies of the rooms' histories lack, in one run; says how many records there were. It waits between
/// attempts.
///
/// # Errors
///
/// The store failed; the next run goes on.
pub async fn send_history(state: &AppState, batches: &HistoryBatches, feed: Feed) -> Result<u64, StoreError> {
    let job = match feed {
        Feed::Messages => Job::ChatHistory,
        Feed::Sessions => Job::SessionHistory,
    };
    step(state, job, whole_run(|| batches.step())).await
}

/// Sends the state of all open rooms once; says of how many. It waits between attempts.
///
/// # Errors
///
/// The store failed; the next run begins with the room that it was about.
pub async fn sync_rooms(state: &AppState, sync: &RoomSync) -> Result<u64, StoreError> {
    let job = if sync.name() == "periodic_sync" { Job::PeriodicSync } else { Job::DataSync };
    step(state, job, whole_run(|| sync.step())).await
}

async fn whole_run<F>(mut step: impl FnMut() -> F) -> Result<u64, StoreError>
where
    F: Future<Output = Result<Progress, StoreError>>,
{
    let mut sent = 0_u64;
    loop {
        match step().await? {
            Progress::Sent(records) => sent = sent.saturating_add(records),
            Progress::Again(after) => tokio::time::sleep(after).await,
            Progress::Refused => {}
            Progress::Done | Progress::GivenUp | Progress::Elsewhere | Progress::Gone => return Ok(sent),
        }
    }
}

/// Gives up events that have waited, or lain dead, for longer than `retention`; says how many there were.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn expire_events(state: &AppState, retention: Duration) -> Result<u64, StoreError> {
    let expire = async {
        let Some(outbox) = state.outbox() else { return Ok(0) };
        let before = state.tracker().now().saturating_sub(retention);
        let mut expired = 0_u64;
        loop {
            let gone = outbox.outbox.expire(before, STEP).await?;
            expired = expired.saturating_add(gone);
            if gone < STEP as u64 {
                return Ok(expired);
            }
        }
    };
    step(state, Job::ExpireEvents, expire).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_begins_again_when_its_rhythm_says() {
        let (at, secs) = (|millis| Timestamp::from_millis(millis).unwrap(), Duration::from_secs);
        let every = Rhythm::Every(secs(60));
        assert_eq!((every.delay(at(0)), every.pause(secs(10), at(0))), (secs(0), secs(50)));
        assert_eq!(every.pause(secs(61), at(0)), secs(0));

        let yielding = Rhythm::Yielding(secs(1));
        assert_eq!((yielding.delay(at(0)), yielding.pause(secs(0), at(0))), (secs(0), secs(1)));
        assert_eq!(yielding.pause(secs(3), at(0)), secs(3), "as long as it worked");

        let sparing = Rhythm::Sparing(secs(1));
        assert_eq!((sparing.delay(at(0)), sparing.pause(secs(0), at(0))), (secs(0), secs(1)));
        assert_eq!(sparing.pause(secs(3), at(0)), secs(57), "3 s of 60 are a twentieth");

        let minutely = Rhythm::OnTheClock(secs(60));
        assert_eq!(minutely.delay(at(1_717_161_617_250)), Duration::from_millis(42_750));
        assert_eq!(minutely.pause(secs(5), at(1_717_161_605_000)), secs(55));
        assert_eq!(minutely.pause(secs(0), at(1_717_161_600_000)), secs(60), "the next, not this one again");
        assert_eq!(minutely.pause(secs(0), at(1_717_161_659_999)), Duration::from_millis(1));
    }
}
