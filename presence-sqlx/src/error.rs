//! What can go wrong, as the ports say it: no text of ours holds SQL, a stored value or a password.

use std::fmt;

use presence_core::{Rejection, StoreError};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Why a store could not be opened. The database is as it was, but for migrations that were applied whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no PostgreSQL. It is not in this error, because it may hold a password.
    #[error("the URL is not like postgres://user:password@host:port/database")]
    Url,
    /// The schema's name is not 1 to 63 lower-case letters, digits or `_`, or begins with a digit or `pg_`.
    #[error(
        "a schema is 1 to 63 lower-case letters, digits or '_', and begins with neither a digit nor 'pg_'"
    )]
    Schema,
    /// The server is there, but does not let us in: the user, the password, the database or a permission is wrong.
    #[error("the server refuses: {message} (SQLSTATE {code})")]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// What the server says about it.
        message: String,
    },
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
    /// The database cannot be reached, read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Server(Server { code, message: Some(message), .. }) if is_refusal(&code) => {
                Self::Refused { code, message }
            }
            fault => Self::Store(fault.into()),
        }
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Fault::from(error).into()
    }
}

/// Whether the message of a SQLSTATE is about the server and what it holds. Others are about data, and may quote what a
/// user has sent: wrong values, violated constraints, whatever a trigger raises.
fn speaks_of_the_server(code: &str) -> bool {
    let classes = ["08", "25", "28", "3D", "40", "42", "53", "55", "57", "58", "XX"];
    code.get(..2).is_some_and(|class| classes.contains(&class))
}

/// Login, database, permission.
fn is_refusal(code: &str) -> bool {
    code.starts_with("28") || matches!(code, "3D000" | "42501")
}

/// What the server says about a statement. The detail, the hint and the context that come along are dropped: they quote
/// values and SQL.
#[derive(Debug)]
pub(crate) struct Server {
    code: String,
    /// Without a message where it could quote a value.
    message: Option<String>,
    /// It is the server's last word on this connection.
    is_fatal: bool,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{message} (SQLSTATE {})", self.code),
            None => write!(f, "SQLSTATE {}", self.code),
        }
    }
}

/// What stops a piece of work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Server(Server),
    /// The way to the server, or the driver.
    #[error(transparent)]
    Driver(sqlx::Error),
    /// The server has not answered, although it should have given up by itself.
    #[error("the server does not answer")]
    Silent,
    /// The connection broke while a commit was under way, and it cannot be told any more whether it was written.
    #[error("it is unknown whether the commit was written")]
    Unknown,
    /// A stored value does not parse; the column that holds it.
    #[error("{column}: {reason}")]
    Value { column: &'static str, reason: Box<dyn std::error::Error + Send + Sync> },
    /// The caller contradicts itself.
    #[error("{0}")]
    Call(&'static str),
}

impl Fault {
    pub(crate) fn rejected(column: &'static str) -> impl FnOnce(Rejection) -> Self {
        move |reason| Self::Value { column, reason: reason.into() }
    }

    pub(crate) fn unknown(column: &'static str) -> Self {
        Self::Value { column, reason: "unknown name".into() }
    }

    /// Whether the connection is gone: what was under way on it may have been done or not, and another connection may
    /// work.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            // The administrator or a crash ended it, or the server is going down.
            Self::Server(server) => server.is_fatal || server.code.starts_with("08"),
            Self::Driver(error) => {
                matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed)
            }
            _ => false,
        }
    }

    /// Whether the connection can be used again.
    pub(crate) fn spares_the_connection(&self) -> bool {
        !self.is_lost() && !matches!(self, Self::Silent)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(error) = &error else { return Self::Driver(error) };
        let code = error.code().unwrap_or_default().into_owned();
        let message = speaks_of_the_server(&code).then(|| error.message().to_owned());
        let is_fatal = error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic));
        Self::Server(Server { code, message, is_fatal })
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Server(server) => match verdict(&server.code) {
                Verdict::Later => Self::unavailable(fault),
                Verdict::Damaged => Self::corrupt(fault),
                Verdict::Never => Self::backend(fault),
            },
            Fault::Driver(error) => match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Self::unavailable(fault),
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::corrupt(fault),
                _ => Self::backend(fault),
            },
            Fault::Silent | Fault::Unknown => Self::unavailable(fault),
            Fault::Value { .. } => Self::corrupt(fault),
            Fault::Call(_) => Self::backend(fault),
        }
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    /// The same may work later, without anybody repairing anything.
    Later,
    /// What is stored is damaged.
    Damaged,
    /// Somebody has to repair something first, or the call is wrong.
    Never,
}

/// Sorts a SQLSTATE by what a caller can do.
fn verdict(code: &str) -> Verdict {
    match code {
        // Serialisation failures and deadlocks; whether a statement was done is unknown; a lock or an object that
        // somebody holds; read-only, as while a replica takes over; a transaction that was left alone for too long.
        "40001" | "40P01" | "40003" | "55P03" | "55006" | "25006" | "25P03" => Verdict::Later,
        "XX001" | "XX002" => Verdict::Damaged,
        // The connection; resources such as memory, disk and connections; an operator's intervention, which is a
        // timeout, a shutdown or a start; the server's own system.
        _ => match code.get(..2) {
            Some("08" | "53" | "57" | "58") => Verdict::Later,
            _ => Verdict::Never,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, is_fatal: bool) -> Fault {
        Fault::Server(Server { code: code.to_owned(), message: None, is_fatal })
    }

    #[test]
    fn errors_say_what_a_caller_can_do() {
        let later = [
            "08006", "53100", "53300", "57014", "57P01", "57P03", "58030", "25006", "40P01", "40001", "55P03",
        ];
        for code in later {
            assert!(StoreError::from(server(code, false)).is_retryable(), "{code}");
        }
        for code in ["XX001", "XX002"] {
            assert!(matches!(server(code, false).into(), StoreError::Corrupt(_)), "{code}");
        }
        for code in ["23505", "42P01", "42501", "22001", "28P01", "XX000", "", "é"] {
            assert!(matches!(server(code, false).into(), StoreError::Backend(_)), "{code}");
        }
        assert!(StoreError::from(Fault::Unknown).is_retryable());
        assert!(matches!(Fault::unknown("checkpoints.source").into(), StoreError::Corrupt(_)));
    }

    #[test]
    fn a_lost_connection_is_told_from_a_failed_statement() {
        assert!(server("57P01", true).is_lost() && server("57P02", true).is_lost());
        assert!(!server("57014", false).is_lost() && !server("40P01", false).is_lost());
        assert!(Fault::from(sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into())).is_lost());
        assert!(!Fault::from(sqlx::Error::PoolTimedOut).is_lost(), "nothing was sent");
        assert!(!Fault::Silent.is_lost() && !Fault::Silent.spares_the_connection());
    }
}
