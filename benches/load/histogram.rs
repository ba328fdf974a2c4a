//! Durations, counted by size.

use std::time::Duration;

/// Buckets to a doubling: a quantile is at most 1/64 above the truth.
const STEPS: u64 = 64;

/// How many durations there were of which length: from 1 ns up, in 64 buckets to a doubling.
///
/// ```
/// use std::time::Duration;
/// use presence_benches::load::Histogram;
///
/// let mut histogram = Histogram::default();
/// (1..=100).for_each(|millis| histogram.add(Duration::from_millis(millis)));
/// let median = histogram.quantile(0.5);
/// assert!((50.0..51.0).contains(&(median.as_secs_f64() * 1e3)), "{median:?}");
/// assert_eq!(histogram.quantile(1.0), Duration::from_millis(100));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        let bucket = bucket_of(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.longest = self.longest.max(duration);
    }

    /// Counts what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// The duration that a `part` (0 to 1) of all do not exceed; zero where there is none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = ((self.total as f64 * part).ceil() as u64).max(1);
        let mut counted = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            counted += count;
            if counted >= rank {
                return Duration::from_nanos(end_of(bucket)).min(self.longest);
            }
        }
        self.longest
    }

    /// The longest of all.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}

/// Below 64 ns each has its own; above, the 6 bits after the highest one choose.
fn bucket_of(nanos: u64) -> usize {
    let doublings = nanos.checked_ilog2().unwrap_or(0).saturating_sub(STEPS.ilog2());
    (u64::from(doublings) * STEPS + (nanos >> doublings)) as usize
}

/// The last nanosecond of a bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let doublings = (bucket / STEPS).saturating_sub(1);
    let step = bucket - doublings * STEPS;
    step.saturating_add(1).checked_shl(doublings as u32).map_or(u64::MAX, |end| end.wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for bucket in 0..3000 {
            let end = end_of(bucket);
            assert_eq!((bucket_of(end), bucket_of(end + 1)), (bucket, bucket + 1), "at {end}");
            assert!(bucket == 0 || end > last);
            assert!((end - last) as f64 <= 1.0 + last as f64 / 64.0, "{last} to {end}");
            last = end;
        }
    }

    #[test]
    fn what_two_have_counted_is_one() {
        let (mut odd, mut even, mut all) = (Histogram::default(), Histogram::default(), Histogram::default());
        for number in 1..=10_000 {
            let duration = Duration::from_micros(number);
            if number % 2 == 0 {
                even.add(duration)
            } else {
                odd.add(duration)
            }
            all.add(duration);
        }
        odd.merge(&even);
        for part in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(odd.quantile(part), all.quantile(part));
            let exact = (10_000.0 * part).max(1.0) / 1e6;
            let ratio = all.quantile(part).as_secs_f64() / exact;
            assert!((0.999..1.017).contains(&ratio), "{part}: {ratio}");
        }
        assert_eq!(odd.longest(), Duration::from_millis(10));
    }
}
