#![doc = include_str!("../README.md")]

mod appender;
mod books;
mod config;
mod crc32c;
mod cursor;
mod dead;
mod directory;
mod erasure;
mod error;
mod fs;
mod fsck;
mod host;
mod kept;
mod ledger;
mod lines;
mod outbox;
mod progress;
mod quarantine;
mod queue;
mod random;
mod reader;
mod record;
mod recovery;
mod relay;
mod requeue;
mod retry;
mod segment;
mod sink;
mod telemetry;
mod tracking_event;
mod writer;

#[cfg(test)]
mod simulation;

pub use {
    books::{Books, SinkBooks},
    config::{Durability, InvalidSinkName, OutboxConfig, SinkName, WhenFull},
    directory::{Directory, FileKind, Refused, StoredCursor, StoredFile},
    erasure::{EraseError, Erased, Stored},
    error::{Closed, EnqueueError, OpenError, SinkError},
    fsck::{Checked, Problem, ProblemKind},
    outbox::{Enqueued, EnqueuedMany, Outbox},
    record::LineFault,
    requeue::Requeued,
    retry::Backoff,
    sink::{Batch, Deliver, DeliveryError, FlushError, Sink},
    telemetry::{DiscardReason, DropReason, SealReason, Signal, Telemetry},
    tracking_event::TrackingEvent,
};
