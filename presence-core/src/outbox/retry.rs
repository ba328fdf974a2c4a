//! How long to leave a sink alone after it failed.

use std::time::Duration;

/// First some repetitions at a fixed distance, then waits that double, spread at random so that many senders do not
/// come at once.
///
/// ```
/// use std::time::Duration;
/// use presence_core::RetryPolicy;
///
/// let policy = RetryPolicy::default();
/// // The longest wait after each failure in a row; a smaller random number makes those after the third shorter.
/// let waits: Vec<_> = (1..=11).map(|failures| policy.wait(failures, u32::MAX).as_secs()).collect();
/// assert_eq!(waits, [5, 5, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
/// assert_eq!(policy.wait(4, 0), Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// How many repetitions come after `delay` each. Default 3.
    pub repeats: u32,
    /// How long they are apart. Default 5 s.
    pub delay: Duration,
    /// The longest wait of all, but never less than `delay`. Default 300 s.
    pub longest: Duration,
}

impl RetryPolicy {
    /// How long to wait after so many `failures` in a row: `delay` at first, and then between `delay` and a limit that
    /// doubles, as `random` decides.
    #[must_use]
    pub fn wait(&self, failures: u32, random: u32) -> Duration {
        let doublings = failures.saturating_sub(self.repeats);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let limit = self.delay.saturating_mul(factor).min(self.longest).max(self.delay);
        let spread = limit.saturating_sub(self.delay);
        let share = f64::from(random) / f64::from(u32::MAX);
        self.delay.saturating_add(spread.mul_f64(share).min(spread))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { repeats: 3, delay: Duration::from_secs(5), longest: Duration::from_secs(300) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_are_never_shorter_than_the_delay() {
        let policy = RetryPolicy::default();
        for failures in 1..100 {
            let longest = policy.wait(failures, u32::MAX);
            assert!(longest <= policy.longest && longest >= policy.wait(failures - 1, u32::MAX));
            assert_eq!(policy.wait(failures, 0), policy.delay);
            assert!(policy.wait(failures, u32::MAX / 2) <= longest);
        }
        let huge = RetryPolicy { repeats: 0, delay: Duration::MAX, longest: Duration::MAX };
        assert_eq!(huge.wait(u32::MAX, u32::MAX), Duration::MAX);
        let inverted = RetryPolicy { longest: Duration::ZERO, ..policy };
        assert_eq!(inverted.wait(50, u32::MAX), policy.delay);
    }
}
