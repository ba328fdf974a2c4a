//! How a database becomes one of ours, and stays one.
//!
//! Each migration is one transaction under one lock, so that a crash leaves it applied or not, and of any number of
//! nodes that start at once one applies it while the others wait. Migrations only add, and one that was released is
//! never edited: the checksum tells.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::{OpenError, connection::Connections};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "checkpoints", sql: include_str!("../migrations/001_checkpoints.sql") }];

/// "PRESENCE": the number of the lock, one per database.
const LOCK: i64 = 0x5052_4553_454e_4345;

const SCHEMA_EXISTS: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
const TABLE_EXISTS: &str = "SELECT to_regclass('_presence_migrations') IS NOT NULL";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS _presence_migrations (
    version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
)";
const APPLIED: &str = "SELECT version, checksum FROM _presence_migrations ORDER BY version";
const HOLD: &str = "SELECT pg_advisory_xact_lock($1)";
const NO_TIMEOUT: &str = "SELECT set_config('statement_timeout', '0', true)";
const APPLY: &str = "INSERT INTO _presence_migrations (version, name, checksum) VALUES ($1, $2, $3)";

/// Applies what is missing, in this schema, which is created where it does not exist; without a name in the first one
/// of the search path.
pub(crate) async fn migrate(connections: &Connections, schema: Option<&str>) -> Result<(), OpenError> {
    let mut loan = connections.borrow().await?;
    run(loan.connection()?, schema, MIGRATIONS).await?;
    loan.give_back();
    Ok(())
}

async fn run(
    connection: &mut PgConnection,
    schema: Option<&str>,
    migrations: &[Migration],
) -> Result<(), OpenError> {
    // Nothing is written, nor waited for, where nothing is missing: so a node starts on a full disk too.
    if missing(connection, migrations).await?.is_empty() {
        return Ok(());
    }
    if let Some(schema) = schema {
        create_schema(connection, schema).await?;
    }
    for migration in migrations {
        let mut tx = connection.begin().await?;
        // Others wait for the whole of it, and it takes as long as it takes.
        tx.execute(sqlx::query(NO_TIMEOUT)).await?;
        tx.execute(sqlx::query(HOLD).bind(LOCK)).await?;
        tx.execute(sqlx::query(TABLE)).await?;
        // Looked up under the lock: another node may have been faster.
        let missing = missing(&mut tx, migrations).await?;
        if missing.contains(&migration.version) {
            tx.execute(sqlx::raw_sql(migration.sql)).await?;
            let Migration { version, name, sql } = migration;
            tx.execute(sqlx::query(APPLY).bind(version).bind(name).bind(checksum(sql))).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

async fn create_schema(connection: &mut PgConnection, schema: &str) -> Result<(), OpenError> {
    let mut tx = connection.begin().await?;
    tx.execute(sqlx::query(HOLD).bind(LOCK)).await?;
    // Looked up, because `IF NOT EXISTS` asks for the permission to create it even where it exists.
    let exists: bool = tx.fetch_one(sqlx::query(SCHEMA_EXISTS).bind(schema)).await?.try_get(0)?;
    if !exists {
        // The name was checked to be a plain word.
        tx.execute(sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA \"{schema}\"")))).await?;
    }
    Ok(tx.commit().await?)
}

/// The migrations that are not applied yet; an error where the database has others than these.
async fn missing(connection: &mut PgConnection, migrations: &[Migration]) -> Result<Vec<i64>, OpenError> {
    let mut missing: Vec<i64> = migrations.iter().map(|migration| migration.version).collect();
    let known = missing.last().copied().unwrap_or(0);
    let exists: bool = connection.fetch_one(sqlx::query(TABLE_EXISTS)).await?.try_get(0)?;
    if !exists {
        return Ok(missing);
    }
    for row in connection.fetch_all(sqlx::query(APPLIED)).await? {
        let (version, applied): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
        match migrations.iter().find(|migration| migration.version == version) {
            Some(migration) if checksum(migration.sql) == applied => missing.retain(|open| *open != version),
            Some(_) => return Err(OpenError::Altered { version }),
            None => return Err(OpenError::Newer { found: version, known }),
        }
    }
    Ok(missing)
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
