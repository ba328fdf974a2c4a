//! What can go wrong, and what happened to the events.

use std::{io, path::PathBuf, sync::Arc};

/// An outbox that did not open. What was in the directory is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory; with its id, where it could be read.
    #[error("the directory is in use{}", .holder.map(|id| format!(" by process {id}")).unwrap_or_default())]
    Owned {
        /// The process that has it.
        holder: Option<u32>,
    },
    /// The directory cannot be made, read or written.
    #[error("the directory {} cannot be used", .dir.display())]
    Io {
        /// Which directory.
        dir: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

/// An event that was not enqueued, and not because it was one too many: see [`Enqueued`](crate::Enqueued).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The event cannot be written as JSON. Nothing was written.
    #[error("the event cannot be written as JSON")]
    Json(#[source] Arc<serde_json::Error>),
    /// The event is larger than [`OutboxConfig::max_event_bytes`](crate::OutboxConfig::max_event_bytes). Nothing was
    /// written.
    #[error("the event has {bytes} bytes, and {limit} are the most")]
    TooLarge {
        /// How many bytes its JSON has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// 16 MiB of events wait for the disk already. Nothing was written.
    #[error("too many events wait for the disk")]
    Busy,
    /// The disk is full or read-only, or fails. The event is not kept; where the disk failed while it was being
    /// written, a crash right after may still bring it to light.
    #[error("the outbox cannot be written")]
    Unavailable(#[source] Arc<io::Error>),
    /// The outbox was closed. Nothing was written.
    #[error("the outbox is closed")]
    Closed,
}

impl EnqueueError {
    /// Whether the same event may be taken later without anybody changing it.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable(_))
    }
}

/// The outbox was closed, or ended by a fault of its own: there is nothing more to be had from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the outbox is closed")]
pub struct Closed;

/// A sink that cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// No sink of this name was configured.
    #[error("there is no sink of this name")]
    Unknown,
    /// Somebody has it: a sink has one user at a time, so that its events stay in order.
    #[error("the sink is in use")]
    InUse,
    /// The outbox was closed.
    #[error("the outbox is closed")]
    Closed,
}
