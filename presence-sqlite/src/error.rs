//! What can go wrong, as the ports say it: no text of ours holds SQL or a path.

use std::io;

use presence_core::{Rejection, StoreError};
use rusqlite::{ErrorCode, ffi, types::FromSqlError};

/// Why a store could not be opened. The file is as it was, but for migrations that were applied whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The linked SQLite can lose committed pages: it is older than 3.51.3, or it is 3.52.0.
    #[error("SQLite 3.51.3 or newer is needed, except 3.52.0; {found} is linked")]
    Outdated {
        /// The version that is linked.
        found: &'static str,
    },
    /// Another store has the file open, in this process or another one. Nothing was touched.
    #[error("the file belongs to {}", process(*holder))]
    Owned {
        /// The process that has it, as far as it has said so.
        holder: Option<u32>,
    },
    /// The file is not a database, or the database of something else. Nothing was touched.
    #[error("the file is not a presence database")]
    Foreign,
    /// The database was written by a newer version of this library. Nothing was touched.
    #[error("the database has migration {found}, this version knows {known}")]
    Newer {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration that this version knows.
        known: i64,
    },
    /// A migration that was applied is not the one that this version knows. Nothing was touched.
    #[error("migration {version} of the database is another one")]
    Altered {
        /// The migration.
        version: i64,
    },
    /// The file has more than one name (hard links), so that two stores could each own a name. Nothing was touched.
    #[error("the file has more than one name")]
    HardLinked,
    /// The file or its lock cannot be opened or created.
    #[error("the file cannot be opened")]
    Io(#[source] io::Error),
    /// The database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                Self::Foreign
            }
            _ => Self::Store(fault.into()),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Fault::from(error).into()
    }
}

/// What stops a piece of work on a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value does not parse; the column that holds it.
    #[error("{column}: {reason}")]
    Value { column: &'static str, reason: Box<dyn std::error::Error + Send + Sync> },
    /// The caller contradicts itself.
    #[error("{0}")]
    Call(&'static str),
    /// Readers kept the log from being emptied.
    #[error("the log is in use")]
    LogInUse,
}

impl Fault {
    pub(crate) fn value(column: &'static str) -> impl FnOnce(FromSqlError) -> Self {
        move |reason| Self::Value { column, reason: reason.into() }
    }

    pub(crate) fn rejected(column: &'static str) -> impl FnOnce(Rejection) -> Self {
        move |reason| Self::Value { column, reason: reason.into() }
    }

    pub(crate) fn unknown(column: &'static str) -> Self {
        Self::Value { column, reason: "unknown name".into() }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sqlite(error) => store_error(error),
            Fault::Value { .. } => Self::corrupt(fault),
            Fault::Call(_) => Self::backend(fault),
            Fault::LogInUse => Self::unavailable(fault),
        }
    }
}

/// Sorts an error of SQLite by what a caller can do.
fn store_error(error: rusqlite::Error) -> StoreError {
    use ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(
            Code::DatabaseBusy
            | Code::DatabaseLocked
            | Code::SystemIoFailure
            | Code::DiskFull
            | Code::CannotOpen
            | Code::ReadOnly
            | Code::PermissionDenied
            | Code::OutOfMemory
            | Code::FileLockingProtocolFailed
            | Code::OperationInterrupted,
        ) => StoreError::unavailable(without_sql(error)),
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => StoreError::corrupt(without_sql(error)),
        Some(_) => StoreError::backend(without_sql(error)),
        None => match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => StoreError::corrupt(error),
            error => StoreError::backend(error),
        },
    }
}

/// The same error without the text of the statement.
fn without_sql(error: rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqlInputError { error: ffi::Error { code, extended_code }, msg, .. } => {
            rusqlite::Error::SqliteFailure(ffi::Error { code, extended_code }, Some(msg))
        }
        error => error,
    }
}

/// The store has been closed, or its thread has ended.
pub(crate) fn stopped() -> StoreError {
    StoreError::unavailable("the store is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> StoreError {
        Fault::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)).into()
    }

    #[test]
    fn errors_say_what_a_caller_can_do() {
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_CANTOPEN] {
            assert!(failure(code).is_retryable(), "{code}");
        }
        assert!(failure(ffi::SQLITE_READONLY).is_retryable());
        assert!(matches!(failure(ffi::SQLITE_CORRUPT), StoreError::Corrupt(_)));
        assert!(matches!(failure(ffi::SQLITE_NOTADB), StoreError::Corrupt(_)));
        assert!(matches!(failure(ffi::SQLITE_CONSTRAINT), StoreError::Backend(_)));
        assert!(matches!(Fault::unknown("checkpoints.source").into(), StoreError::Corrupt(_)));
    }

    #[test]
    fn no_error_shows_sql() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let error = conn.prepare("SELECT secret FROM nowhere").unwrap_err();
        let error = StoreError::from(Fault::from(error));
        let cause = std::error::Error::source(&error).unwrap();
        assert!(!format!("{error} {cause} {cause:?}").contains("secret"), "{cause}");
    }
}
