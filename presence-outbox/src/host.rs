//! The host's clocks and its randomness: nothing else here asks for them.

use std::{
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// An instant, told by both clocks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Now {
    /// Microseconds since 1970, for names. They may step.
    pub(crate) micros: u64,
    /// Time since some fixed moment, for intervals. It only rises.
    pub(crate) tick: Duration,
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock(Instant);

impl HostClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { micros: since_epoch.as_micros().try_into().unwrap_or(u64::MAX), tick: self.0.elapsed() }
    }
}

/// A number that no other start gets.
#[expect(clippy::disallowed_types, reason = "this is where randomness comes from")]
pub(crate) fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
