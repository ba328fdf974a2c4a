//! Whether a silence is the users', or our own.

use std::time::Duration;

use crate::{Policy, Timestamp};

/// A watch over the users that nothing has interrupted.
///
/// Who was not listening cannot say that others were silent: after a start, a pause of the process, an outage of the
/// store or a step of the clock everybody looks silent for a moment. A sweep that asks [`may_conclude`](Self::may_conclude)
/// waits one timeout from there, so that those who are still there are heard first. The rows are the same either way,
/// for the stamp of a silence does not depend on when it is concluded; what waits is that somebody is told.
///
/// ```
/// use std::time::Duration;
/// use presence_core::{Policy, Timestamp, Vigil};
///
/// let mut vigil = Vigil::new(&Policy::default());
/// let start = Timestamp::from_secs(1_717_161_600)?;
/// for secs in 0..60 {
///     let since_start = Duration::from_secs(secs);
///     vigil.look(start.saturating_add(since_start), since_start);
///     assert!(!vigil.may_conclude());
/// }
/// let since_start = Duration::from_secs(60);
/// vigil.look(start.saturating_add(since_start), since_start);
/// assert!(vigil.may_conclude());
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug)]
pub struct Vigil {
    timeout: Duration,
    /// On the steady clock; `None` where the next look begins anew.
    began: Option<Duration>,
    last: Option<(Timestamp, Duration)>,
}

impl Vigil {
    /// A vigil that begins with the first look, and has lasted long enough after the timeout of `policy`.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self { timeout: policy.heartbeat_timeout.unwrap_or_default(), began: None, last: None }
    }

    /// Looks at the clock, and at one that never steps: `steady` counts from any fixed instant of this process. To be
    /// called several times in a timeout: more than half of one between two looks is a pause, and so is a clock that
    /// moved half of one more or less than the steady one. Shorter ones leave a user who sends twice in a timeout the
    /// time to be heard.
    pub fn look(&mut self, now: Timestamp, steady: Duration) {
        let is_long = |span: Duration| span.saturating_mul(2) > self.timeout;
        let is_broken = self.last.is_none_or(|(then, steady_then)| {
            let really = steady.saturating_sub(steady_then);
            let step = now.since(then).abs_diff(really.saturating_add(then.since(now)));
            is_long(really) || is_long(step)
        });
        if is_broken {
            self.began = None;
        }
        self.began.get_or_insert(steady);
        self.last = Some((now, steady));
    }

    /// Begins anew with the next look: what was reported could not be written.
    pub fn interrupt(&mut self) {
        self.began = None;
    }

    /// Whether the users were watched for a whole timeout up to the last look.
    #[must_use]
    pub fn may_conclude(&self) -> bool {
        let lasted = self.began.zip(self.last).map(|(began, (_, steady))| steady.saturating_sub(began));
        lasted.is_some_and(|lasted| lasted >= self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vigil with a timeout of 60 s, looked after once a second.
    struct Watch {
        vigil: Vigil,
        now: Timestamp,
        steady: Duration,
    }

    impl Watch {
        fn begun() -> Self {
            let now = Timestamp::from_secs(1_717_161_600).unwrap();
            Self { vigil: Vigil::new(&Policy::default()), now, steady: Duration::ZERO }.after(0)
        }

        fn after(mut self, secs: u64) -> Self {
            for _ in 0..secs {
                self = self.steps(1_000, 1_000);
            }
            self.steps(0, 0)
        }

        /// The clock and the steady one move apart, and then somebody looks.
        fn steps(mut self, clock_millis: i64, steady_millis: u64) -> Self {
            let millis = self.now.as_millis().checked_add(clock_millis).unwrap();
            self.now = Timestamp::from_millis(millis).unwrap();
            self.steady = self.steady.saturating_add(Duration::from_millis(steady_millis));
            self.vigil.look(self.now, self.steady);
            self
        }

        /// How many seconds pass until silence may be concluded.
        fn waits(mut self) -> u64 {
            let mut secs = 0_u64;
            while !self.vigil.may_conclude() {
                self = self.steps(1_000, 1_000);
                secs = secs.saturating_add(1);
            }
            secs
        }
    }

    #[test]
    fn a_start_waits_for_one_timeout() {
        assert_eq!(Watch::begun().waits(), 60);
        assert_eq!(Watch::begun().after(59).waits(), 1);
        assert_eq!(Watch::begun().after(600).waits(), 0);
    }

    #[test]
    fn a_pause_of_the_process_waits_for_one_timeout() {
        assert_eq!(Watch::begun().after(600).steps(30_001, 30_001).waits(), 60);
        assert_eq!(Watch::begun().after(600).steps(30_000, 30_000).waits(), 0);
    }

    #[test]
    fn a_step_of_the_clock_waits_for_one_timeout() {
        let day = 86_400_000;
        assert_eq!(Watch::begun().after(600).steps(day, 1_000).waits(), 60);
        assert_eq!(Watch::begun().after(600).steps(-day, 1_000).waits(), 60);
        assert_eq!(Watch::begun().after(600).steps(31_000, 1_000).waits(), 0);
        assert_eq!(Watch::begun().after(600).steps(31_001, 1_000).waits(), 60);
        assert_eq!(Watch::begun().after(600).steps(-29_000, 1_000).waits(), 0);
        assert_eq!(Watch::begun().after(600).steps(-29_001, 1_000).waits(), 60);
    }

    #[test]
    fn an_outage_of_the_store_waits_for_one_timeout_from_its_end() {
        let mut watch = Watch::begun().after(600);
        watch.vigil.interrupt();
        assert!(!watch.vigil.may_conclude());
        assert_eq!(watch.waits(), 61); // the end is seen with the next look
    }

    #[test]
    fn without_a_timeout_nothing_is_waited_for() {
        let mut vigil = Vigil::new(&Policy { heartbeat_timeout: None, ..Policy::default() });
        vigil.look(Timestamp::MIN, Duration::ZERO);
        assert!(vigil.may_conclude());
    }
}
