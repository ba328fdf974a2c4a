//! How a statement gets to the server and back, also when the way there breaks.
//!
//! Most calls of the ports are one statement, which is its own transaction: one round trip, and nothing that a node can
//! leave open.

use std::{io, ops::DerefMut, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time::timeout;

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
}

/// What came of a statement.
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    /// The connection broke at the first attempt, so the statement may have been done before.
    pub(crate) is_repeated: bool,
}

impl Connections {
    /// A pool of our own; it opens connections when they are needed.
    pub(crate) fn new(config: &PostgresConfig, options: PgConnectOptions, max: u32) -> Self {
        let durability = match config.durability {
            // Where the server waits for more than its own disk, it goes on doing so.
            Durability::Fsync => RAISE_DURABILITY,
            Durability::Process => LOWER_DURABILITY,
        };
        let pool = PgPoolOptions::new()
            .max_connections(max)
            .acquire_timeout(config.acquire_timeout)
            .max_lifetime(Duration::from_secs(30 * 60))
            .idle_timeout(Duration::from_secs(10 * 60))
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let is_suspect = meta.idle_for > FRESH;
                Box::pin(async move {
                    if is_suspect {
                        try_out(connection).await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move { sqlx::query(durability).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options.disable_statement_logging());
        Self { pool, patience: config.statement_timeout.saturating_add(GRACE) }
    }

    /// The pool of an application.
    pub(crate) fn of(pool: PgPool, statement_timeout: Duration) -> Self {
        Self { pool, patience: statement_timeout.saturating_add(GRACE) }
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
        match self.borrow().await?.run_last(statement(), |row| take(&mut value, row)).await {
            Err(fault) if fault.is_lost() => {
                value = empty();
                let loan = self.borrow_tried().await?;
                loan.run_last(statement(), |row| take(&mut value, row)).await?;
                Ok(Answer { value, is_repeated: true })
            }
            done => done.map(|()| Answer { value, is_repeated: false }),
        }
    }

    /// All rows of a statement that is not repeated, because its answer counts.
    pub(crate) async fn once(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, Fault> {
        let mut rows = Vec::new();
        let push = |row| {
            rows.push(row);
            Ok(())
        };
        self.borrow_tried().await?.run_last(statement, push).await.map(|()| rows)
    }

    /// Borrows a connection. Unless it is given back it is closed, and with it whatever transaction it was in.
    pub(crate) async fn borrow(&self) -> Result<Loan, Fault> {
        Ok(Loan { connection: Some(self.pool.acquire().await?), patience: self.patience })
    }

    /// Borrows a connection that has just answered: for what is not run once more where it breaks. After a restart of
    /// the server all connections of the pool may be broken, and nobody has noticed yet.
    pub(crate) async fn borrow_tried(&self) -> Result<Loan, Fault> {
        for _ in 0..self.pool.options().get_max_connections() {
            let mut loan = self.borrow().await?;
            if try_out(loan.connection()?).await.is_ok() {
                return Ok(loan);
            }
        }
        // All that were there are closed by now.
        self.borrow().await
    }
}

/// Asks the server for a sign. Where none comes the pool closes the connection the hard way, without a farewell.
async fn try_out(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let silence = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(TRIAL, connection.ping()).await.map_err(silence)?
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

    /// Runs the last statement of a loan.
    async fn run_last(
        mut self,
        statement: Statement<'_>,
        take: impl FnMut(PgRow) -> Result<(), Fault> + Send,
    ) -> Result<(), Fault> {
        let done = self.run(statement, take).await;
        if done.as_ref().is_ok() || done.as_ref().is_err_and(Fault::spares_the_connection) {
            self.give_back();
        }
        done
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
