//! What comes through the port, counted where it happens.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use presence_core::Timestamp;

use crate::request_id::RequestIds;

/// What one server's port has seen, and the ids of its requests: shared by the accept loop and the routes, and shown at
/// `/metrics`.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(crate) ids: RequestIds,
    /// Connections that got a slot.
    pub(crate) accepted: Count,
    /// Connections whose socket is closed again.
    pub(crate) closed: Count,
    /// Connections for which there was no slot.
    pub(crate) refused: Count,
    /// Connections on which something came that is no HTTP, or a head beyond its limits.
    pub(crate) malformed: Count,
    /// Connections that were closed because their client took too long.
    pub(crate) timed_out: Count,
    /// Connections whose answer was not delivered when the server ended.
    pub(crate) cut: Count,
    /// Requests whose handler panicked.
    pub(crate) panics: Count,
    /// Problems that were answered, by code.
    problems: Mutex<BTreeMap<&'static str, u64>>,
}

impl Traffic {
    /// Counts from zero; request ids begin with `start`, which makes them unlikely to repeat in another process.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { ids: RequestIds::new(start.as_millis().unsigned_abs()), ..Self::default() }
    }

    /// Counts problems of one code. Codes are a fixed set, so that this stays small; the lock is one of failures only.
    pub(crate) fn refuse(&self, code: &'static str, count: u64) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let problems = problems.entry(code).or_default();
        *problems = problems.saturating_add(count);
    }

    /// The problems so far, by code.
    pub(crate) fn problems(&self) -> BTreeMap<&'static str, u64> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
