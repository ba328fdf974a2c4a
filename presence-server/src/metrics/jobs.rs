//! What the jobs did.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

use presence_core::{StoreError, Timestamp};
use prometheus_client::encoding::DescriptorEncoder;
use tokio::time::Instant;

use super::{histogram::Histogram, text::Text};
use crate::traffic::Count;

/// What the server does by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Job {
    Flush,
    FlushMembers,
    Sweep,
    Evict,
    Summarise,
    Refold,
    CatchUp,
    Snapshot,
    Retain,
    RenewRooms,
    SettleRooms,
    RetainRooms,
    ChatHistory,
    SessionHistory,
    PeriodicSync,
    DataSync,
    ExpireEvents,
    Clock,
}

const JOBS: [(Job, &str); 18] = [
    (Job::Flush, "flush"),
    (Job::FlushMembers, "flush_members"),
    (Job::Sweep, "sweep"),
    (Job::Evict, "evict"),
    (Job::Summarise, "summarise"),
    (Job::Refold, "refold"),
    (Job::CatchUp, "catch_up"),
    (Job::Snapshot, "snapshot"),
    (Job::Retain, "retain"),
    (Job::RenewRooms, "renew_rooms"),
    (Job::SettleRooms, "settle_rooms"),
    (Job::RetainRooms, "retain_rooms"),
    (Job::ChatHistory, "chat_history"),
    (Job::SessionHistory, "session_history"),
    (Job::PeriodicSync, "periodic_sync"),
    (Job::DataSync, "data_sync"),
    (Job::ExpireEvents, "expire_events"),
    (Job::Clock, "clock"),
];

/// What all jobs did, by job.
#[derive(Debug, Default)]
pub(crate) struct Jobs([Steps; JOBS.len()]);

/// The steps of one job.
#[derive(Debug, Default)]
struct Steps {
    errors: Count,
    done: Count,
    durations: Histogram,
    /// In milliseconds; 0 before the first.
    last_success: AtomicI64,
}

impl Jobs {
    /// Takes a step of `job`, and counts what became of it; `now` is asked at its end.
    pub(crate) async fn step(
        &self,
        job: Job,
        step: impl Future<Output = Result<u64, StoreError>>,
        now: impl Fn() -> Timestamp,
    ) -> Result<u64, StoreError> {
        let begun = Instant::now();
        let result = step.await;
        let steps = JOBS.iter().zip(&self.0).find(|((each, _), _)| *each == job);
        if let Some((_, steps)) = steps {
            steps.durations.observe(begun.elapsed());
            match &result {
                Ok(done) => {
                    steps.done.add(*done);
                    steps.last_success.store(now().as_millis(), Relaxed);
                }
                Err(_) => steps.errors.add(1),
            }
        }
        result
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let steps = || JOBS.iter().map(|(_, name)| *name).zip(&self.0);
        let by_job =
            |count: fn(&Steps) -> u64| steps().map(move |(job, steps)| ([("job", job)], count(steps)));
        encoder.counters(
            "presence_job_runs",
            "Steps that a job took.",
            by_job(|steps| steps.durations.count()),
        )?;
        encoder.counters("presence_job_errors", "Steps that failed.", by_job(|steps| steps.errors.get()))?;
        encoder.counters(
            "presence_job_done",
            "What the steps did: users whose heartbeats were flushed, changes of members flushed, silences concluded, \
             members evicted, days summed up or counted, snapshots kept, rows let go of, records and rooms sent, events \
             given up.",
            by_job(|steps| steps.done.get()),
        )?;
        let mut durations =
            encoder.durations("presence_job_duration", "How long the steps of a job took.")?;
        for (job, steps) in steps() {
            steps.durations.encode(&mut durations, &[("job", job)])?;
        }
        let succeeded = |steps: &Steps| Timestamp::from_millis(steps.last_success.load(Relaxed));
        encoder.instants(
            "presence_job_last_success_timestamp",
            "When the last step that did not fail ended, since 1970.",
            steps().filter_map(|(job, steps)| {
                let at = succeeded(steps).ok().filter(|at| at.as_millis() > 0)?;
                Some(([("job", job)], at))
            }),
        )
    }
}
