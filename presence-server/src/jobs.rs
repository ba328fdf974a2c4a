//! What the server does by itself: flush, sweep, forget. Each job is a step that a test can take.

use std::{future::Future, time::Duration};

use presence_core::StoreError;
use tokio_util::sync::CancellationToken;

use crate::AppState;

/// How many silences or members one step concludes or forgets before it lets others write.
const STEP: usize = 1_000;

/// Writes the heartbeats that are in memory; says of how many users.
///
/// # Errors
///
/// The store failed; what was not written stays in memory.
pub async fn flush(state: &AppState) -> Result<u64, StoreError> {
    state.beats().flush().await.map(|flush| flush.beats)
}

/// Concludes all silences that are due; says how many.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn sweep(state: &AppState) -> Result<u64, StoreError> {
    let mut lapsed = 0_u64;
    loop {
        let sweep = state.beats().sweep(STEP).await?;
        lapsed = lapsed.saturating_add(sweep.lapsed);
        if !sweep.more {
            return Ok(lapsed);
        }
    }
}

/// Forgets members whom no window reaches any more; says how many.
///
/// # Errors
///
/// The store failed; the next step goes on.
pub async fn evict(state: &AppState) -> Result<u64, StoreError> {
    state.beats().evict(STEP).await
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
