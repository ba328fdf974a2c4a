//! The database's clock, for nodes that share it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use presence_core::{Clock, StoreError, Timestamp};
use sqlx::Row;
use tokio::time::Instant;

use crate::{PostgresStore, error::Fault};

/// The one place that asks the database for the time; no statement that reads or writes presence does.
pub(crate) const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// How many times a sample asks; the quickest answer counts.
const PROBES: usize = 3;

/// The time of the database, so that nodes whose own clocks differ stamp alike.
///
/// It is the node's monotonic clock plus an offset, so asking it costs nothing; the offset is measured by
/// [`PostgresClock::sample`], which wants to be called now and then: every 10 s keeps an ordinary oscillator within a
/// millisecond. An answer is off by at most half the round trip of the best probe. It never goes backwards: where the
/// database's clock was set back, time stands still here until that one has caught up.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use presence_core::Tracker;
/// use presence_sqlx::{PostgresClock, PostgresConfig, PostgresStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = PostgresConfig::new("postgres://presence@db.example/app")?;
/// let store = Arc::new(PostgresStore::connect(config).await?);
/// let clock = Arc::new(PostgresClock::new(store.clone()).await?);
/// let tracker = Tracker::new(store, clock.clone());
/// // From a job of yours:
/// clock.sample().await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresClock {
    store: Arc<PostgresStore>,
    epoch: Instant,
    /// What to add to the microseconds since `epoch`.
    offset: AtomicI64,
    /// The latest answer, in microseconds.
    latest: AtomicI64,
}

impl PostgresClock {
    /// The clock of the store's database, sampled once.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn new(store: Arc<PostgresStore>) -> Result<Self, StoreError> {
        let clock =
            Self { store, epoch: Instant::now(), offset: AtomicI64::new(0), latest: AtomicI64::new(0) };
        clock.sample().await?;
        Ok(clock)
    }

    /// Measures the offset anew.
    ///
    /// # Errors
    ///
    /// The database does not answer; the clock goes on with the offset it has.
    pub async fn sample(&self) -> Result<(), StoreError> {
        let mut best: Option<Probe> = None;
        for _ in 0..PROBES {
            let probe = self.probe().await?;
            best = Some(best.filter(|best| best.round_trip() <= probe.round_trip()).unwrap_or(probe));
        }
        if let Some(best) = best {
            self.offset.store(best.offset(), Ordering::Relaxed);
        }
        Ok(())
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let sent = self.elapsed();
        let rows = self.store.connections.rows(|| sqlx::query(NOW)).await?;
        let received = self.elapsed();
        let row = rows.first().ok_or(Fault::Call("a clock without an answer"))?;
        Ok(Probe { sent, received, database: row.try_get(0)? })
    }

    fn elapsed(&self) -> i64 {
        self.epoch.elapsed().as_micros().try_into().unwrap_or(i64::MAX)
    }
}

impl Clock for PostgresClock {
    fn now(&self) -> Timestamp {
        let now = self.elapsed().saturating_add(self.offset.load(Ordering::Relaxed));
        let now = now.max(self.latest.fetch_max(now, Ordering::Relaxed));
        Timestamp::from_millis(now.div_euclid(1000)).unwrap_or_default()
    }
}

impl fmt::Debug for PostgresClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresClock").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// One question for the time: when it was sent and answered by our clock, and the answer. In microseconds.
#[derive(Clone, Copy, Debug)]
struct Probe {
    sent: i64,
    received: i64,
    database: i64,
}

impl Probe {
    const fn round_trip(self) -> i64 {
        self.received.saturating_sub(self.sent)
    }

    /// How far the database's clock is ahead, supposing that the question took as long as the answer.
    const fn offset(self) -> i64 {
        self.database.saturating_sub(self.sent.saturating_add(self.round_trip() / 2))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use presence_postgres_testing::Database;

    use super::*;
    use crate::PostgresConfig;

    #[test]
    fn an_answer_is_taken_to_be_from_the_middle() {
        let probe = Probe { sent: 1_000, received: 3_000, database: 50_000 };
        assert_eq!((probe.round_trip(), probe.offset()), (2_000, 48_000));
        let behind = Probe { database: 500, ..probe };
        assert_eq!(behind.offset(), -1_500);
    }

    #[tokio::test]
    async fn it_tells_the_databases_time_and_never_goes_back() {
        let database = Database::create();
        let config = PostgresConfig::new(database.url()).unwrap();
        let store = Arc::new(PostgresStore::connect(config).await.unwrap());
        let before: i64 =
            database.psql("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)").parse().unwrap();
        let clock = PostgresClock::new(store).await.unwrap();
        let now = clock.now();
        let after: i64 =
            database.psql("SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)").parse().unwrap();
        // The best probe's own error is below the time that two calls of psql take.
        assert!((before..=after).contains(&now.as_millis()), "{before} {} {after}", now.as_millis());

        // The database's clock was an hour ahead when it was sampled, and is right again.
        let hour = Duration::from_secs(3600);
        clock.offset.fetch_add(3_600_000_000, Ordering::Relaxed);
        let ahead = clock.now();
        assert!(ahead >= now.saturating_add(hour));
        clock.sample().await.unwrap();
        let still = clock.now();
        assert!(still >= ahead && still < ahead.saturating_add(hour), "it stands still");
    }
}
