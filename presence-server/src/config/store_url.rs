//! Where everything is kept.

use std::{fmt, path::PathBuf, str::FromStr};

use presence_sqlx::PostgresConfig;

/// The store that `DATABASE_URL` names.
///
/// ```
/// use presence_server::config::StoreUrl;
///
/// assert_eq!("sqlite:presence.db".parse(), Ok(StoreUrl::Sqlite { path: "presence.db".into() }));
/// let url: StoreUrl = "postgres://me:hunter2@db/presence".parse().unwrap();
/// assert_eq!(url.to_string(), "postgres://me:***@db/presence");
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
    /// PostgreSQL.
    Postgres {
        /// Where it is, and who asks.
        url: PostgresUrl,
    },
}

/// The URL of a PostgreSQL database, shown without what may be secret: the password, and the values of parameters that
/// have no need to be seen.
#[derive(Clone, Eq, PartialEq)]
pub struct PostgresUrl(String);

/// Why a URL names no store. The URL is not in it, because it may hold a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreUrlError {
    /// It does not begin with a scheme.
    #[error("must begin with a scheme, as in sqlite:presence.db")]
    NoScheme,
    /// There is no such store.
    #[error(
        "has the scheme {scheme}, which is not supported; use sqlite:PATH or postgres://..., or leave it unset \
         for memory"
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
    /// It is not what PostgreSQL's clients understand.
    #[error(
        "must be postgres://USER:PASSWORD@HOST:PORT/DATABASE, with what is special in them percent-encoded"
    )]
    NotPostgres,
}

/// Parameters of a PostgreSQL URL that are shown as they are.
const SHOWN: [&str; 5] = ["application_name", "dbname", "host", "port", "sslmode"];

impl PostgresUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", ""));
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, place) = place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
        write!(f, "{scheme}://")?;
        match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, "")) => write!(f, "{user}@")?,
            Some((user, _)) => write!(f, "{user}:***@")?,
            None => {}
        }
        f.write_str(place)?;
        for (position, parameter) in
            parameters.split('&').filter(|parameter| !parameter.is_empty()).enumerate()
        {
            f.write_str(if position == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((name, _)) if !SHOWN.contains(&name) => write!(f, "{name}=***")?,
                _ => f.write_str(parameter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StoreUrl {
    /// Whether what is written is still there after the process has ended.
    #[must_use]
    pub fn outlives_process(&self) -> bool {
        match self {
            Self::Memory => false,
            Self::Sqlite { path } => path.as_os_str() != ":memory:",
            Self::Postgres { .. } => true,
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
        if ["postgres", "postgresql"].contains(&scheme.as_str()) {
            let url = format!("{scheme}:{rest}");
            let is_url = PostgresConfig::new(&url).is_ok() && !url.contains(char::is_control);
            return if is_url {
                Ok(Self::Postgres { url: PostgresUrl(url) })
            } else {
                Err(StoreUrlError::NotPostgres)
            };
        }
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

/// As it is written, except that [`StoreUrl::Memory`] is what is written as nothing, and that secrets are `***`.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite { path } => write!(f, "sqlite:{}", path.display()),
            Self::Postgres { url } => url.fmt(f),
        }
    }
}
