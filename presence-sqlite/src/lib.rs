#![doc = include_str!("../README.md")]

mod activity_query;
mod activity_store;
mod append;
mod checkpoint_query;
mod checkpoint_store;
mod codec;
mod commit;
mod config;
mod connection;
mod eraser;
mod error;
mod job;
mod latch;
mod live_set;
mod load;
mod lock;
mod migrate;
mod outbox;
#[cfg(test)]
mod plans;
mod queue;
mod readers;
mod room_batch;
mod room_feed;
mod room_query;
mod room_records;
mod room_store;
mod snapshot_store;
mod store;
mod summary_cache;
mod workload;
mod writer;

pub use rusqlite;

pub use crate::{
    config::{Durability, SqliteConfig},
    error::OpenError,
    store::SqliteStore,
    workload::Workload,
};
