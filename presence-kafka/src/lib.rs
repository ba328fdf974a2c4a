#![doc = include_str!("../README.md")]

mod body;
mod config;
mod error;
mod ingest;
mod item;
mod log;
mod reports;
mod sink;
mod topics;

pub use rdkafka;

pub use crate::{
    config::KafkaConfig,
    error::KafkaError,
    ingest::{IngestError, Ingested, KafkaIngest},
    sink::KafkaSink,
    topics::{BadPrefix, Topics},
};
