//! What a failed `accept` means.

use std::io::ErrorKind;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// One client went away before it was accepted: the next one is no worse for it.
    Connection,
    /// The listener is no listener any more: trying again fails for ever.
    Listener,
    /// Out of descriptors or memory. `accept` fails at once each time, and without a pause the loop would spin.
    Resources,
}

impl Failure {
    pub(super) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted => Self::Connection,
            ErrorKind::InvalidInput | ErrorKind::NotConnected | ErrorKind::Unsupported => Self::Listener,
            _ => Self::Resources,
        }
    }
}

/// Pauses that double up to one second.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.last.map_or(FIRST_PAUSE, |last| last.saturating_mul(2).min(LONGEST_PAUSE));
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..10).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn only_a_lack_of_resources_pauses() {
        let no_more_files = std::io::Error::from_raw_os_error(24);
        assert_eq!(Failure::of(no_more_files.kind()), Failure::Resources);
        assert_eq!(Failure::of(ErrorKind::ConnectionAborted), Failure::Connection);
        assert_eq!(Failure::of(ErrorKind::InvalidInput), Failure::Listener);
    }
}
