//! What the server does by itself: flush, sweep, sum up, forget. Each job is a step that a test can take.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use presence_core::{StoreError, Vigil};
use presence_sqlx::PostgresClock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{AppState, metrics::Job};

/// How many silences or members one step concludes or forgets before it lets others write.
const STEP: usize = 1_000;

/// Writes the heartbeats that are in memory; says of how many users.
///
/// # Errors
///
/// The store failed; what was not written stays in memory.
pub async fn flush(state: &AppState) -> Result<u64, StoreError> {
    let flush = async { state.beats().flush().await.map(|flush| flush.beats) };
    step(state, Job::Flush, flush).await
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

/// Takes a step at every interval until `stop`. A failed step is logged, and taken again at the next interval.
pub(crate) async fn every<F>(
    name: &'static str,
    interval: Duration,
    stop: CancellationToken,
    mut step: impl FnMut() -> F,
) where
    F: Future<Output = Result<u64, StoreError>>,
{
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match step().await {
            Ok(done) => tracing::debug!(job = name, done, "step"),
            Err(error) => tracing::error!(job = name, %error, "step failed"),
        }
    }
}
