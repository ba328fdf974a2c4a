//! Why a server does not start.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use super::environment::Origin;

/// What is wrong with the arguments, the environment or `.env`. It names settings and never shows a value that could
/// be a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The arguments are not ones that the program has; the text says which ones it has.
    #[error("{0}")]
    Usage(String),
    /// A value is not one that the setting takes.
    #[error("{name} {reason} (set by {origin})")]
    #[non_exhaustive]
    BadValue {
        /// The variable, or the flag where the option has none.
        name: String,
        /// Who has set it.
        origin: Origin,
        /// What the setting takes.
        reason: String,
    },
    /// `BIND_ADDRESS` and `LISTEN_ADDR` name different addresses.
    #[error("BIND_ADDRESS is {bind} and LISTEN_ADDR is {listen}: set one of them, or both alike")]
    #[non_exhaustive]
    TwoAddresses {
        /// What `BIND_ADDRESS` says.
        bind: SocketAddr,
        /// What `LISTEN_ADDR` says.
        listen: SocketAddr,
    },
    /// Beats could reach the store only after the silence that they deny was concluded.
    #[error(
        "HEARTBEAT_FLUSH_INTERVAL_MS must be at most {}, a quarter of HEARTBEAT_TIMEOUT_SECS ({} s)",
        limit.as_millis(),
        timeout.as_secs()
    )]
    #[non_exhaustive]
    SlowFlush {
        /// The timeout.
        timeout: Duration,
        /// The longest interval that goes with it.
        limit: Duration,
    },
    /// Other machines would reach a server that does not ask everybody who they are.
    #[error(
        "refusing to listen on {bind}: other machines could reach it, and {missing} must be set for that; \
         or set BIND_ADDRESS to a loopback address such as 127.0.0.1:3000, or PRESENCE_INSECURE to 1 to allow it"
    )]
    #[non_exhaustive]
    Unprotected {
        /// Where it would listen.
        bind: SocketAddr,
        /// The settings that are not set.
        missing: &'static str,
    },
    /// A secret is set twice, and only one of the two could count.
    #[error("{name} and {name}_FILE are both set: set one of them")]
    #[non_exhaustive]
    TwoSecrets {
        /// The setting.
        name: &'static str,
    },
    /// Variables look like settings and are none.
    #[error("unknown: {}; see presence-server --help for the variables there are", names.join(", "))]
    #[non_exhaustive]
    UnknownVariables {
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// A line of `.env` is not `NAME=value`.
    #[error(
        "{}, line {line}: this is not NAME=value; quote a value that has spaces, quotes, # or $ in single quotes",
        path.display()
    )]
    #[non_exhaustive]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// Where the entry begins; the first line is 1.
        line: usize,
    },
    /// `.env` is there and cannot be read.
    #[error("{} cannot be read", path.display())]
    #[non_exhaustive]
    UnreadableFile {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl ConfigError {
    /// What the process ends with: 2 for wrong usage, 78 (`EX_CONFIG`) for everything else.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 78,
        }
    }
}
