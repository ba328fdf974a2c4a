//! How often a user may speak in a room.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;

use crate::UserId;

/// The fewest users that are looked through for those who need not be remembered.
const SWEPT: usize = 64;

/// Lets each user through once per interval.
///
/// ```text
/// interval 3   said      0      1    2.999   3      5.9    6
///              answer    yes   2 s   1 ms   yes   100 ms  yes
/// ```
///
/// What is refused does not begin an interval. Time is that of a clock that never steps.
#[derive(Debug)]
pub(crate) struct RateLimit {
    interval: Duration,
    /// When each user was let through last. Who has waited long enough is not kept for long.
    last: HashMap<UserId, Duration, RandomState>,
    /// How many there are when it is next looked who may go: twice as many as last time.
    sweep_at: usize,
}

impl RateLimit {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, last: HashMap::default(), sweep_at: SWEPT }
    }

    /// Lets a user through, or says how long it has to wait.
    pub(crate) fn admit(&mut self, user: &UserId, uptime: Duration) -> Result<(), Duration> {
        if self.interval.is_zero() {
            return Ok(());
        }
        if let Some(last) = self.last.get_mut(user) {
            let passed = uptime.saturating_sub(*last);
            if passed < self.interval {
                return Err(self.interval.saturating_sub(passed));
            }
            *last = uptime;
            return Ok(());
        }
        if self.last.len() >= self.sweep_at {
            self.last.retain(|_, last| uptime.saturating_sub(*last) < self.interval);
            self.sweep_at = self.last.len().saturating_mul(2).max(SWEPT);
        }
        self.last.insert(user.clone(), uptime);
        Ok(())
    }

    pub(crate) fn forget(&mut self, user: &UserId) {
        self.last.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_is_forgotten() {
        let mut limit = RateLimit::new(Duration::from_secs(3));
        for n in 0..10_000_u64 {
            let user = UserId::new(format!("u{n}")).unwrap();
            assert_eq!(limit.admit(&user, Duration::from_millis(n * 100)), Ok(()));
        }
        // 30 of them have spoken in the last three seconds.
        assert!(limit.last.len() <= SWEPT, "{}", limit.last.len());
    }

    #[test]
    fn an_interval_of_zero_limits_nobody_and_remembers_nobody() {
        let mut limit = RateLimit::new(Duration::ZERO);
        let user = UserId::new("alice").unwrap();
        for _ in 0..3 {
            assert_eq!(limit.admit(&user, Duration::ZERO), Ok(()));
        }
        assert!(limit.last.is_empty());
    }
}
