#![doc = include_str!("../README.md")]

pub mod audit;
pub mod auth;
pub mod callbacks;
pub mod config;
mod cors;
mod deliveries;
pub mod demo;
mod extract;
mod front;
pub mod healthcheck;
pub mod jobs;
pub mod log;
mod metrics;
mod openapi;
pub mod outbox;
mod problem;
mod request_id;
mod router;
#[expect(unused_qualifications, reason = "what utoipa's macros write names its types in full")]
mod routes;
mod run;
pub mod serve;
mod state;
mod storage;
#[cfg(feature = "kafka")]
mod stream;
mod tracking_outbox;
mod traffic;
#[expect(unused_qualifications, reason = "what utoipa's macros write names its types in full")]
pub mod ws;

pub use front::Front;
pub use openapi::openapi;
pub use router::app;
pub use run::{RunError, Server, run};
pub use state::{AppState, Settings};
pub use storage::StorageError;
#[cfg(feature = "kafka")]
pub use stream::StreamError;
pub use tracking_outbox::TrackingOutbox;
pub use traffic::Traffic;
