//! What a store has to do, and what it has done.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a store's threads have to do, and have done since it was opened; see [`SqliteStore::workload`].
///
/// [`SqliteStore::workload`]: crate::SqliteStore::workload
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Workload {
    /// How many jobs wait for the thread that writes: writes, and reads that need what was just written. At most
    /// 1,024; beyond, callers wait to put theirs in.
    pub waiting_jobs: usize,
    /// How many queries wait for a reader; at most 256.
    pub waiting_reads: usize,
    /// How many readers are at work.
    pub busy_readers: usize,
    /// How many transactions were committed.
    pub commits: u64,
    /// How many jobs those were.
    pub committed_jobs: u64,
    /// How many rows those jobs inserted, changed or deleted.
    pub committed_rows: u64,
}

/// What the threads count while they work.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) busy_readers: AtomicUsize,
    commits: AtomicU64,
    jobs: AtomicU64,
    rows: AtomicU64,
}

impl Counts {
    /// A transaction with so many jobs and rows was committed.
    pub(crate) fn commit(&self, jobs: usize, rows: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn workload(&self, waiting_jobs: usize, waiting_reads: usize) -> Workload {
        Workload {
            waiting_jobs,
            waiting_reads,
            busy_readers: self.busy_readers.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            committed_jobs: self.jobs.load(Ordering::Relaxed),
            committed_rows: self.rows.load(Ordering::Relaxed),
        }
    }
}
