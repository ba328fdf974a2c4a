//! How a statement gets to the server and back, also when the way there breaks.
//!
//! Most calls of the ports are one statement, which is its own transaction: one round trip, and nothing that a node can
//! leave open.

use std::{
    ops::DerefMut,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time::{Instant, timeout};

use crate::{Durability, PostgresConfig, error::Fault};

/// A statement with its arguments.
pub(crate) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// How long a connection may have been idle before it is tried out: a firewall may have forgotten it.
const FRESH: Duration = Duration::from_secs(30);
/// How long trying out a connection, or taking it back, may take.
const TRIAL: Duration = Duration::from_secs(2);
/// How much longer than a statement may take its answer may be under way.
const GRACE: Duration = Duration::from_secs(5);

const RAISE_DURABILITY: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";
const LOWER_DURABILITY: &str = "SELECT set_config('synchronous_commit', 'off', false)";

/// The connections of a store.
pub(crate) struct Connections {
    pool: PgPool,
    /// How long an answer may take.
    patience: Duration,
    trouble: Arc<Trouble>,
}

/// When a connection was last lost: whoever has been idle since before that is tried out, for the server may have been
/// restarted.
struct Trouble {
    epoch: Instant,
    millis: AtomicU64,
}

impl Trouble {
    fn new() -> Self {
        Self { epoch: Instant::now(), millis: AtomicU64::new(0) }
    }

    fn report(&self) {
        let now = self.epoch.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.millis.fetch_max(now, Ordering::Relaxed);
    }

    fn is_suspect(&self, idle_for: Duration) -> bool {
        let last = Duration::from_millis(self.millis.load(Ordering::Relaxed));
        idle_for > FRESH || self.epoch.elapsed().saturating_sub(idle_for) <= last
    }
}

/// What came of a statement.
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    /// The connection broke at the first attempt, so the statement may have been done before.
    pub(crate) is_repeated: bool,
}

impl Connections {
    /// A pool of our own; it opens connections when they are needed.
    pub(crate) fn new(config: &PostgresConfig) -> Self {
        let trouble = Arc::new(Trouble::new());
        let durability = match config.durability {
            // Where the server waits for more than its own disk, it goes on doing so.
            Durability::Fsync => RAISE_DURABILITY,
            Durability::Process => LOWER_DURABILITY,
        };
        let suspects = Arc::clone(&trouble);
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            .max_lifetime(Duration::from_secs(30 * 60))
            .idle_timeout(Duration::from_secs(10 * 60))
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let is_suspect = suspects.is_suspect(meta.idle_for);
                Box::pin(async move { if is_suspect { try_out(connection).await } else { Ok(true) } })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move { sqlx::query(durability).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(config.connect_options().disable_statement_logging());
        // The first is what waits for a connection, then the server, then the network.
        Self { pool, patience: config.statement_timeout.saturating_add(GRACE), trouble }
    }

    /// The pool of an application.
    pub(crate) fn of(pool: PgPool, statement_timeout: Duration) -> Self {
        Self { pool, patience: statement_timeout.saturating_add(GRACE), trouble: Arc::new(Trouble::new()) }
    }

    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// All rows of a statement that may be repeated.
    pub(crate) async fn rows<'q>(
        &self,
        statement: impl Fn() -> Statement<'q> + Send,
    ) -> Result<Vec<PgRow>, Fault> {
        let push = |rows: &mut Vec<PgRow>, row| {
            rows.push(row);
            Ok(())
        };
        self.fold(statement, Vec::new, push).await.map(|answer| answer.value)
    }

    /// Runs a statement, and takes its rows one by one. Where the connection breaks on the way, it runs once more on
    /// another one, from the beginning.
    pub(crate) async fn fold<'q, T: Send>(
        &self,
        statement: impl Fn() -> Statement<'q> + Send,
        empty: impl Fn() -> T + Send,
        mut take: impl FnMut(&mut T, PgRow) -> Result<(), Fault> + Send,
    ) -> Result<Answer<T>, Fault> {
        let mut value = empty();
        match self.run(statement(), |row| take(&mut value, row)).await {
            Err(fault) if fault.is_lost() => {
                value = empty();
                self.run(statement(), |row| take(&mut value, row)).await?;
                Ok(Answer { value, is_repeated: true })
            }
            done => done.map(|()| Answer { value, is_repeated: false }),
        }
    }

    async fn run(
        &self,
        statement: Statement<'_>,
        take: impl FnMut(PgRow) -> Result<(), Fault> + Send,
    ) -> Result<(), Fault> {
        let mut loan = self.borrow().await?;
        let done = loan.run(statement, take).await;
        match &done {
            Err(fault) if !fault.spares_the_connection() => self.trouble.report(),
            _ => loan.give_back(),
        }
        done
    }

    /// Borrows a connection for several statements. Unless it is given back, it is closed, and with it whatever
    /// transaction it was in.
    pub(crate) async fn borrow(&self) -> Result<Loan, Fault> {
        let acquired = self.pool.acquire().await.map_err(Fault::from);
        let connection = acquired.inspect_err(|fault| {
            if fault.is_lost() {
                self.trouble.report();
            }
        })?;
        Ok(Loan { connection: Some(connection), patience: self.patience })
    }
}

async fn try_out(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // An error closes it the hard way, without waiting for an answer.
    timeout(TRIAL, connection.ping())
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(true)
}

/// A connection on loan.
///
/// The pool takes a connection back by asking it for a sign, without a limit: where the network has gone silent it
/// would wait for ever, and the place of the connection would be lost (transact-rs/sqlx#4349). So only what has just
/// worked is given back, within a limit; everything else, and what is given up half way, is closed at once.
pub(crate) struct Loan {
    connection: Option<PoolConnection<Postgres>>,
    patience: Duration,
}

impl Loan {
    /// Runs a statement to its end, which is after its commit where it is its own transaction.
    pub(crate) async fn run(
        &mut self,
        statement: Statement<'_>,
        mut take: impl FnMut(PgRow) -> Result<(), Fault> + Send,
    ) -> Result<(), Fault> {
        let Some(connection) = &mut self.connection else {
            return Err(Fault::Call("a loan without connection"));
        };
        let answer = async {
            let mut rows = statement.fetch(connection.deref_mut());
            while let Some(row) = rows.try_next().await? {
                take(row)?;
            }
            Ok(())
        };
        timeout(self.patience, answer).await.unwrap_or(Err(Fault::Silent))
    }

    /// All rows of a statement.
    pub(crate) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, Fault> {
        let mut rows = Vec::new();
        let push = |row| {
            rows.push(row);
            Ok(())
        };
        self.run(statement, push).await.map(|()| rows)
    }

    /// The connection itself.
    pub(crate) fn connection(&mut self) -> Result<&mut PgConnection, Fault> {
        self.connection.as_deref_mut().ok_or(Fault::Call("a loan without connection"))
    }

    /// Gives the connection back, for others to use.
    pub(crate) fn give_back(mut self) {
        if let Some(mut connection) = self.connection.take() {
            tokio::spawn(async move { timeout(TRIAL, connection.return_to_pool()).await });
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_was_idle_when_a_connection_was_lost_is_tried_out() {
        let (trouble, second) = (Trouble::new(), Duration::from_secs(1));
        tokio::time::advance(10 * second).await;
        assert!(!trouble.is_suspect(9 * second), "nothing has happened yet");
        assert!(trouble.is_suspect(31 * second), "but this is too long");
        trouble.report();
        tokio::time::advance(5 * second).await;
        assert!(trouble.is_suspect(5 * second), "idle since that moment");
        assert!(trouble.is_suspect(9 * second), "and since before it");
        assert!(!trouble.is_suspect(4 * second), "used since");
    }
}
