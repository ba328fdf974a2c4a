#![doc = include_str!("../README.md")]

mod activity_query;
mod activity_store;
mod append;
mod checkpoint_query;
mod checkpoint_store;
mod clock;
mod codec;
mod commit;
mod config;
mod connection;
mod day;
mod eraser;
mod error;
mod live_set;
mod load;
mod migrate;
mod outbox;
#[cfg(test)]
mod plans;
mod room_batch;
mod room_feed;
mod room_query;
mod room_store;
mod sightings;
mod snapshot_store;
mod store;
mod summary_cache;
mod wakes;
mod waves;

pub use sqlx;

pub use crate::{
    clock::PostgresClock,
    config::{Durability, PostgresConfig},
    error::OpenError,
    store::PostgresStore,
    wakes::Wakes,
};
