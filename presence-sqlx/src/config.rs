//! How a store is opened.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::postgres::PgConnectOptions;

use crate::OpenError;

/// When a write is answered.
///
/// An answered write survives the end of the process, and of the server's, in both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Durability {
    /// After the server's disk says that it has it: an answered write survives a loss of power there. Where the server
    /// waits for replicas as well, so does the answer. One flush serves all writes that wait together.
    #[default]
    Fsync,
    /// After the server has it in memory: a crash of the server can take the last fraction of a second, but never
    /// breaks the data. The order stays: what is lost is an end, never a middle.
    Process,
}

/// What [`PostgresStore::connect`](crate::PostgresStore::connect) needs to know.
///
/// ```
/// use presence_sqlx::{Durability, PostgresConfig};
///
/// let config = PostgresConfig::new("postgres://me:hunter2@db.example/presence?sslmode=verify-full")?
///     .schema("presence")
///     .max_connections(20)
///     .durability(Durability::Fsync);
/// assert!(!format!("{config:?}").contains("hunter2"));
/// # Ok::<(), presence_sqlx::OpenError>(())
/// ```
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) server: PgConnectOptions,
    pub(crate) schema: String,
    pub(crate) durability: Durability,
    pub(crate) max_connections: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
}

impl PostgresConfig {
    /// A store in the database that `url` names: `postgres://user:password@host:port/database`.
    ///
    /// What it leaves out comes from the variables that `libpq` reads (`PGHOST`, `PGPASSWORD`, ...) and from
    /// `~/.pgpass`. A connection is encrypted where the server can; `?sslmode=verify-full` insists on it, and on the
    /// right server.
    ///
    /// # Errors
    ///
    /// [`OpenError::Url`] where it is no such URL.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(OpenError::Url);
        }
        // The reason is dropped, because it may quote a part of the URL.
        let server = PgConnectOptions::from_str(url).map_err(|_| OpenError::Url)?;
        Ok(Self {
            server,
            schema: "presence".to_owned(),
            durability: Durability::default(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        })
    }

    /// The schema that holds the tables; `presence` where nothing is said. It is created where it does not exist. Its
    /// name is 1 to 63 lower-case letters, digits or `_`, and does not begin with a digit or `pg_`.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// When a write is answered; [`Durability::Fsync`] where nothing is said.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The most connections at once; 10 where nothing is said, and at least 1. Writes of one process share one, so
    /// this is about how many questions are answered at once. From 6 on, two of them are for batches of a few users.
    #[must_use]
    pub const fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = if max == 0 { 1 } else { max };
        self
    }

    /// How long a call waits for a connection, also while the server is away; 5 s where nothing is said.
    #[must_use]
    pub const fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// How long a statement may take before the server gives it up; 30 s where nothing is said. In whole milliseconds,
    /// and at least one.
    #[must_use]
    pub const fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Whether the schema can be one, without quotes wherever it is named.
    pub(crate) fn check_schema(&self) -> Result<(), OpenError> {
        let name = self.schema.as_bytes();
        let is_word = name.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let begins_well = name.first().is_some_and(|first| !first.is_ascii_digit());
        if is_word && begins_well && name.len() <= 63 && !name.starts_with(b"pg_") {
            Ok(())
        } else {
            Err(OpenError::Schema)
        }
    }

    /// What every connection is opened with, for those who bring a pool of their own.
    ///
    /// ```no_run
    /// use presence_sqlx::{PostgresConfig, PostgresStore, sqlx::postgres::PgPoolOptions};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = PostgresConfig::new("postgres://presence@db.example/app")?;
    /// let pool = PgPoolOptions::new().max_connections(20).connect_with(config.connect_options()).await?;
    /// let store = PostgresStore::from_pool(pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        let millis = self.statement_timeout.as_millis().clamp(1, i32::MAX.unsigned_abs().into()).to_string();
        let server = self.server.clone();
        let named = server.get_application_name().is_some();
        let server = if named { server } else { server.application_name("presence") };
        // The statements are static and name tables without a schema, so the schema is where a connection looks.
        server.options([
            ("search_path", self.schema.as_str()),
            ("statement_timeout", millis.as_str()),
            // Of a transaction whose node has gone silent.
            ("idle_in_transaction_session_timeout", millis.as_str()),
            // Compiling costs more than any of our statements.
            ("jit", "off"),
            // A batch is planned for its size: planned once for all sizes, PostgreSQL assumes ten rows, and compares
            // every row of a large batch with every other.
            ("plan_cache_mode", "force_custom_plan"),
            // Every statement walks an index in its order, and stops early. PostgreSQL knows how many rows a user has
            // on average, and for one with a million would now and then rather read and sort all of them; and for a
            // thousand users it would read a table of a hundred thousand.
            ("enable_bitmapscan", "off"),
            ("enable_seqscan", "off"),
            // A batch of ten thousand looks ten thousand users up: a merge reads the index from end to end for it.
            ("enable_mergejoin", "off"),
            ("random_page_cost", "1.1"),
        ])
    }
}

impl PostgresConfig {
    /// What connections for batches of a few users are opened with. To plan `LOAD` and `COMMIT` costs as much as to write
    /// some twenty users. Planned once they are planned for ten users, which is right for a few; and for tables of any
    /// size, because what they look up they look up by key.
    pub(crate) fn quick_options(&self) -> PgConnectOptions {
        self.connect_options().options([("plan_cache_mode", "force_generic_plan")])
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("host", &self.server.get_host())
            .field("port", &self.server.get_port())
            .field("database", &self.server.get_database())
            .field("schema", &self.schema)
            .field("durability", &self.durability)
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_of_postgresql_is_taken() {
        for url in ["", "sqlite:presence.db", "mysql://me:hunter2@db/a", "postgres://db:hunter2/a"] {
            let error = PostgresConfig::new(url).unwrap_err();
            assert!(matches!(error, OpenError::Url), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
        assert!(PostgresConfig::new("postgresql://db/a").is_ok());
    }

    #[test]
    fn a_schema_is_a_word() {
        let config = PostgresConfig::new("postgres://db/a").unwrap();
        let long = "a".repeat(64);
        for name in ["", "1a", "a-b", "a b", "a\"b", "A", "é", "pg_a", &long] {
            assert!(matches!(config.clone().schema(name).check_schema(), Err(OpenError::Schema)), "{name}");
        }
        for name in ["presence", "_a1", "user", &long[1..]] {
            assert!(config.clone().schema(name).check_schema().is_ok(), "{name}");
        }
    }
}
