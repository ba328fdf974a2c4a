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

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "checkpoints", sql: include_str!("../migrations/001_checkpoints.sql") },
    Migration {
        version: 2,
        name: "state_summaries",
        sql: include_str!("../migrations/002_state_summaries.sql"),
    },
    Migration { version: 3, name: "activity", sql: include_str!("../migrations/003_activity.sql") },
    Migration { version: 4, name: "rooms", sql: include_str!("../migrations/004_rooms.sql") },
    Migration { version: 5, name: "outbox", sql: include_str!("../migrations/005_outbox.sql") },
    Migration { version: 6, name: "outbox_keys", sql: include_str!("../migrations/006_outbox_keys.sql") },
    Migration { version: 7, name: "minutes", sql: include_str!("../migrations/007_minutes.sql") },
];

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
    let mut loan = connections.borrow_tried().await?;
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

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use presence_core::{
        ActivityStore, Behind, CheckpointQuery, Feed, RoomFeed, RoomId, SummaryCache, UserId, Version,
        Window, conformance::outbox::letters_with_keys,
    };
    use presence_postgres_testing::Database;

    use super::*;
    use crate::{PostgresConfig, PostgresStore};

    const NEXT: Migration = Migration {
        version: MIGRATIONS.len() as i64 + 1,
        name: "more",
        sql: "CREATE TABLE more (a INTEGER)",
    };

    async fn connect(database: &Database) -> PgConnection {
        let config = PostgresConfig::new(database.url()).unwrap();
        PgConnection::connect_with(&config.connect_options()).await.unwrap()
    }

    async fn migrated(database: &Database) -> PgConnection {
        let mut connection = connect(database).await;
        run(&mut connection, Some("presence"), MIGRATIONS).await.unwrap();
        connection
    }

    fn key(database: &Database) -> String {
        database.psql("SELECT encode(erasure_key, 'hex') FROM presence.store_meta")
    }

    #[tokio::test]
    async fn migrating_again_changes_nothing() {
        let database = Database::create();
        let mut connection = migrated(&database).await;
        let first = key(&database);
        run(&mut connection, Some("presence"), MIGRATIONS).await.unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(key(&database), first);
    }

    #[tokio::test]
    async fn a_database_of_an_earlier_version_keeps_its_rows() {
        for version in 1..MIGRATIONS.len() {
            keeps_its_rows(version).await;
        }
    }

    async fn keeps_its_rows(version: usize) {
        let database = Database::create();
        let mut connection = connect(&database).await;
        run(&mut connection, Some("presence"), &MIGRATIONS[..version]).await.unwrap();
        database.psql(
            "INSERT INTO presence.checkpoints (id, user_id, state, timestamp, source)
             VALUES (nextval('presence.checkpoint_id'), 'alice', 'Working', 1000, 'client');
             INSERT INTO presence.user_sessions VALUES ('alice', 'Working', 1000, 1000, 1000, 1)",
        );
        let store = PostgresStore::connect(PostgresConfig::new(database.url()).unwrap()).await.unwrap();
        let alice = UserId::new("alice").unwrap();
        assert_eq!(store.history(&alice, Window::all(), None, 10).await.unwrap().len(), 1);
        let kept = store.kept(&alice, Window::all()).await.unwrap().unwrap();
        assert_eq!((kept.version, kept.days.len()), (Version(1), 0));
        assert_eq!(store.stale(10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn letters_that_wait_have_the_keys_of_their_events() {
        let database = Database::create();
        let mut connection = connect(&database).await;
        run(&mut connection, Some("presence"), &MIGRATIONS[..5]).await.unwrap();
        let (bodies, keys): (Vec<_>, Vec<_>) = letters_with_keys().into_iter().unzip();
        for (number, body) in (1_i64..).zip(bodies) {
            for sql in [
                "INSERT INTO outbox VALUES ('all', $1, 5, $2)",
                "INSERT INTO dead_letters VALUES ('all', $1, 5, 'no', $2)",
            ] {
                connection.execute(sqlx::query(sql).bind(number).bind(body)).await.unwrap();
            }
        }
        run(&mut connection, Some("presence"), MIGRATIONS).await.unwrap();
        for table in ["outbox", "dead_letters"] {
            let found = database.psql(&format!("SELECT key FROM presence.{table} ORDER BY number"));
            assert_eq!(found.lines().collect::<Vec<_>>(), keys);
        }
    }

    #[tokio::test]
    async fn stays_that_ended_before_they_were_numbered_have_numbers() {
        let database = Database::create();
        let mut connection = connect(&database).await;
        run(&mut connection, Some("presence"), &MIGRATIONS[..4]).await.unwrap();
        database.psql(
            "INSERT INTO presence.rooms (id, name, created_at, last_action, alive_at)
             VALUES ('lobby', 'Lobby', 1, 1, 9), ('other', 'Other', 1, 1, 9);
             INSERT INTO presence.room_sessions (room_id, number, user_id, nickname, join_time, leave_time)
             VALUES ('lobby', 1, 'alice', 'A', 1, 5), ('lobby', 2, 'bob', 'B', 2, 4), ('lobby', 3, 'carol', 'C', 3, NULL)",
        );
        let store = PostgresStore::connect(PostgresConfig::new(database.url()).unwrap()).await.unwrap();
        let behind = store.behind(Feed::Sessions, None, 10).await.unwrap();
        let room = RoomId::new("lobby").unwrap();
        assert_eq!(behind, [Behind { room: room.clone(), copied: 0, last: 2 }]);
        let ended = store.sessions_after(&room, 0, 2, 10).await.unwrap();
        let ended: Vec<_> = ended.iter().map(|(end, session)| (*end, session.number)).collect();
        assert_eq!(ended, [(1, 2), (2, 1)]);
    }

    #[tokio::test]
    async fn sixteen_nodes_that_start_at_once_migrate_once() {
        let database = Database::create();
        let config = PostgresConfig::new(database.url()).unwrap().max_connections(1);
        let starts = (0..16).map(|_| tokio::spawn(PostgresStore::connect(config.clone())));
        for start in join_all(starts).await {
            start.unwrap().unwrap();
        }
        let applied =
            database.psql("SELECT version, name FROM presence._presence_migrations ORDER BY version");
        assert_eq!(
            applied,
            "1|checkpoints\n2|state_summaries\n3|activity\n4|rooms\n5|outbox\n6|outbox_keys\n7|minutes"
        );
        assert_eq!(database.psql("SELECT count(*) FROM presence.store_meta"), "1");
    }

    #[tokio::test]
    async fn a_migration_that_is_killed_half_way_leaves_nothing() {
        let database = Database::create();
        let mut connection = connect(&database).await;
        let sql = "CREATE TABLE a (b INTEGER); SELECT pg_terminate_backend(pg_backend_pid()); CREATE TABLE c (d INTEGER)";
        let killed = Migration { version: 1, name: "killed", sql };
        assert!(run(&mut connection, Some("presence"), &[killed]).await.is_err());
        assert_eq!(database.psql("SELECT to_regclass('presence.a') IS NULL"), "t");
        let mut connection = migrated(&database).await;
        // The same in a later one, whose predecessors stay.
        let killed = Migration { sql, ..NEXT };
        let first =
            MIGRATIONS.iter().map(|&Migration { version, name, sql }| Migration { version, name, sql });
        let all: Vec<_> = first.clone().chain([killed]).collect();
        assert!(run(&mut connection, Some("presence"), &all).await.is_err());
        assert_eq!(database.psql("SELECT to_regclass('presence.a') IS NULL"), "t");
        let all: Vec<_> = first.chain([NEXT]).collect();
        run(&mut connect(&database).await, Some("presence"), &all).await.unwrap();
        assert_eq!(
            database.psql("SELECT max(version) FROM presence._presence_migrations"),
            NEXT.version.to_string()
        );
    }

    #[tokio::test]
    async fn a_newer_database_is_refused() {
        let database = Database::create();
        let mut connection = migrated(&database).await;
        database.psql(&format!(
            "INSERT INTO presence._presence_migrations VALUES ({}, 'more', '')",
            NEXT.version
        ));
        let refused = run(&mut connection, Some("presence"), MIGRATIONS).await;
        let Err(OpenError::Newer { found, known }) = refused else { panic!("{refused:?}") };
        assert_eq!((found, known), (NEXT.version, NEXT.version - 1));
    }

    #[tokio::test]
    async fn an_altered_migration_is_refused() {
        let database = Database::create();
        let mut connection = migrated(&database).await;
        let altered = Migration { version: 1, name: "checkpoints", sql: "SELECT 1" };
        let refused = run(&mut connection, Some("presence"), &[altered, NEXT]).await;
        assert!(matches!(refused, Err(OpenError::Altered { version: 1 })), "{refused:?}");
    }

    #[tokio::test]
    async fn two_schemas_of_a_database_are_two_stores() {
        let database = Database::create();
        for schema in ["one", "user"] {
            let config = PostgresConfig::new(database.url()).unwrap().schema(schema);
            PostgresStore::connect(config).await.unwrap();
        }
        let keys = "SELECT (SELECT erasure_key FROM one.store_meta) <> (SELECT erasure_key FROM \"user\".store_meta)";
        assert_eq!(database.psql(keys), "t");
    }

    #[tokio::test]
    async fn a_role_that_may_not_create_schemas_uses_the_one_it_was_given() {
        let database = Database::create();
        // A name of its own, because all databases of a server share its roles.
        let role = format!("{}_role", database.name());
        database.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'"));
        let mut config = PostgresConfig::new(database.url()).unwrap();
        config.server = config.server.username(&role).password("hunter2");
        let refused = PostgresStore::connect(config.clone()).await;
        assert!(matches!(&refused, Err(OpenError::Refused { code, .. }) if code == "42501"), "{refused:?}");
        database.psql(&format!("CREATE SCHEMA presence AUTHORIZATION {role}"));
        PostgresStore::connect(config).await.unwrap();
        database.psql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    }
}
