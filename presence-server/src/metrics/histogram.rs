//! How long things took.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::encoding::{EncodeLabelSet, MetricEncoder};

/// The upper ends of the buckets, in nanoseconds: from a heartbeat in memory to an answer that is given up.
const BOUNDS: [u64; 17] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Durations, counted by buckets of 50 us to 10 s. Two additions each: prometheus-client's own takes a lock, which a
/// heartbeat would meet on every core.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    /// Those that took longer than the last bucket.
    above: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().zip(&self.buckets).find(|(bound, _)| nanos <= **bound);
        bucket.map_or(&self.above, |(_, bucket)| bucket).fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().chain([&self.above]).map(|count| count.load(Relaxed)).sum()
    }

    /// Writes it, unless it is empty.
    pub(super) fn encode(
        &self,
        encoder: &mut MetricEncoder<'_>,
        labels: &impl EncodeLabelSet,
    ) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|nanos| seconds(*nanos)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().chain([&self.above]).map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Of the buckets as they were read, so that the two agree while others count on.
        let count = buckets.iter().map(|(_, count)| count).sum();
        if count == 0 {
            return Ok(());
        }
        let sum = seconds(self.nanos.load(Relaxed));
        encoder.encode_family(labels)?.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
