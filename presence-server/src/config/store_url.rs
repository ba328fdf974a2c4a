//! Where everything is kept.

use std::{fmt, path::PathBuf, str::FromStr};

/// The store that `DATABASE_URL` names.
///
/// ```
/// use presence_server::config::StoreUrl;
///
/// assert_eq!("sqlite:presence.db".parse(), Ok(StoreUrl::Sqlite { path: "presence.db".into() }));
/// let error = "postgres://me:hunter2@db/presence".parse::<StoreUrl>().unwrap_err();
/// assert!(!error.to_string().contains("hunter2"));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// Memory of the process, gone with it.
    #[default]
    Memory,
    /// SQLite.
    Sqlite {
        /// The file; `:memory:` is gone with the process.
        path: PathBuf,
    },
}

/// Why a URL names no store. The URL is not in it, because it may hold a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreUrlError {
    /// It does not begin with a scheme.
    #[error("must begin with a scheme, as in sqlite:presence.db")]
    NoScheme,
    /// There is no such store.
    #[error(
        "has the scheme {scheme}, which is not supported yet; use sqlite:PATH, or leave it unset for memory"
    )]
    #[non_exhaustive]
    Unsupported {
        /// The scheme, in lower case.
        scheme: String,
    },
    /// It is not the path of a file that SQLite could mean.
    #[error(
        "must be sqlite:PATH or sqlite::memory:, without a user, a host, parameters or control characters"
    )]
    NotAPath,
}

impl StoreUrl {
    /// Whether what is written is still there after the process has ended.
    #[must_use]
    pub fn outlives_process(&self) -> bool {
        match self {
            Self::Memory => false,
            Self::Sqlite { path } => path.as_os_str() != ":memory:",
        }
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once(':').ok_or(StoreUrlError::NoScheme)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return Err(StoreUrlError::NoScheme);
        }
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "sqlite" {
            return Err(StoreUrlError::Unsupported { scheme });
        }
        // `sqlite://` is how others write it; what follows is a path all the same.
        let path = rest.strip_prefix("//").unwrap_or(rest);
        // Somebody who names a user and a host means another database, and may show a password.
        let authority = path.split('/').next().unwrap_or_default();
        // A file named `x.db?mode=rwc` or `:memory` is nobody's wish.
        let is_path = !path.is_empty()
            && !authority.contains('@')
            && !path.contains(|c: char| c == '?' || c.is_control())
            && (!path.starts_with(':') || path == ":memory:");
        if is_path { Ok(Self::Sqlite { path: path.into() }) } else { Err(StoreUrlError::NotAPath) }
    }
}

/// As it is written, except that [`StoreUrl::Memory`] is what is written as nothing.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite { path } => write!(f, "sqlite:{}", path.display()),
        }
    }
}
