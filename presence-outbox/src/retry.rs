//! How long to wait after a failure.

use std::time::Duration;

/// Doubling waits with full jitter: after the n-th failure in a row a sink is left alone for a random time of up to
/// `first * 2^(n-1)`, and never more than `longest`.
///
/// ```
/// use std::time::Duration;
/// use presence_outbox::Backoff;
///
/// let backoff = Backoff::default();
/// assert_eq!((backoff.first, backoff.longest), (Duration::from_secs(1), Duration::from_secs(30)));
/// // The longest wait after each failure; a smaller random number makes it shorter.
/// let waits: Vec<_> = (1..=7).map(|failures| backoff.wait(failures, u64::MAX).as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
/// assert_eq!(backoff.wait(3, u64::MAX / 2).as_millis(), 2000);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// The longest wait after the first failure. Default 1 s.
    pub first: Duration,
    /// The longest wait of all. Default 30 s.
    pub longest: Duration,
}

impl Backoff {
    /// How long to wait after so many `failures` in a row, as `random` decides; nothing after none.
    #[must_use]
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let limit = self.first.saturating_mul(factor).min(self.longest);
        let nanos = limit.as_nanos().min(u128::from(u64::MAX));
        Duration::from_nanos(((nanos * (u128::from(random) + 1)) >> 64) as u64)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread_evenly() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(0, u64::MAX), Duration::ZERO);
        for failures in 1..100 {
            let longest = backoff.wait(failures, u64::MAX);
            assert!(longest <= backoff.longest && longest >= backoff.wait(failures - 1, u64::MAX));
            assert_eq!(backoff.wait(failures, 0), Duration::ZERO);
            let half = backoff.wait(failures, u64::MAX / 2);
            assert!(half.abs_diff(longest / 2) < Duration::from_micros(1));
        }
        assert!(backoff.wait(u32::MAX, u64::MAX) > Duration::from_millis(29_999));
        let huge = Backoff { first: Duration::MAX, longest: Duration::MAX };
        assert!(huge.wait(9, u64::MAX) > Duration::from_secs(500 * 365 * 86_400));
    }
}
