use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use super::verdict::Verdict;

/// Where a connection is between its requests: told by the exchange, read by the socket and the shutdown.
///
/// Relaxed is enough: hyper polls the socket and calls the handler in one task, and what other tasks change (a body
/// that a handler took elsewhere) is only ever a hint.
#[derive(Debug, Default)]
pub(super) struct Progress {
    heads: AtomicU64,
    answers: AtomicU64,
    is_upgraded: AtomicBool,
    has_unread: AtomicBool,
    verdict: AtomicU8,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Accepted, no request yet.
    Fresh,
    Answering,
    Idle,
    Upgraded,
}

impl Progress {
    pub(super) fn stage(&self) -> Stage {
        let heads = self.heads();
        if self.is_upgraded.load(Relaxed) {
            Stage::Upgraded
        } else if heads == 0 {
            Stage::Fresh
        } else if heads == self.answers.load(Relaxed) {
            Stage::Idle
        } else {
            Stage::Answering
        }
    }

    /// The number of requests so far.
    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Relaxed)
    }

    /// Whether the client may still be sending a body that nobody will read.
    pub(super) fn has_unread(&self) -> bool {
        self.has_unread.load(Relaxed)
    }

    pub(super) fn leave_unread(&self) {
        self.has_unread.store(true, Relaxed);
    }

    pub(super) fn upgrade(&self) {
        self.is_upgraded.store(true, Relaxed);
    }

    /// Keeps what the socket saw in a head for the request that hyper makes of it.
    pub(super) fn judge(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Relaxed);
    }

    /// Begins the exchange of the head judged last. hyper reads no head that has no verdict; if it found one, what it
    /// found would be no request.
    pub(super) fn begin(self: &Arc<Self>) -> (Answering, Verdict) {
        self.heads.fetch_add(1, Relaxed);
        self.has_unread.store(false, Relaxed);
        let verdict = Verdict::from_u8(self.verdict.swap(0, Relaxed)).unwrap_or(Verdict::Malformed);
        (Answering(Arc::clone(self)), verdict)
    }
}

/// An answer that is not sent yet; travels with it, and ends the exchange when dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Progress>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answers.fetch_add(1, Relaxed);
    }
}
